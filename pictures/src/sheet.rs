//! A table of greyscale images with headings.

use ndarray::ArrayView2;

use super::canvas::{
    Align, Canvas, INK, ImageLook, PALE, Rect, Text, capital_height, text_height, text_width,
};
use super::plot::PlotError;

/// Headings and measures of a table of images. An empty title or empty headings take no room.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Above all.
    pub title: String,
    /// One above each column.
    pub columns: Vec<String>,
    /// One at the left of each row.
    pub rows: Vec<String>,
    /// How each image is drawn.
    pub look: ImageLook,
    /// Pixels between images, at least.
    pub gap: i32,
    /// Scale of the text.
    pub text: i32,
}

impl Sheet {
    /// A table in which each pixel of an image is drawn `factor`×`factor` large.
    pub fn new(title: &str, columns: &[&str], rows: &[&str], factor: i32) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (columns, rows) = (owned(columns), owned(rows));
        Self {
            title: title.into(),
            columns,
            rows,
            look: ImageLook::new(factor),
            gap: 6,
            text: 2,
        }
    }

    /// Width and height of the table for images of this shape (rows, columns).
    pub fn size(&self, shape: (usize, usize)) -> (i32, i32) {
        let (left, top) = self.margins();
        let (across, down) = self.pitch(shape);
        let width = left + across * self.columns.len() as i32 - self.gap;
        let height = top + down * self.rows.len() as i32 - self.gap;
        (width.max(text_width(&self.title, self.text)), height)
    }

    /// Draws the images, given row by row, with the upper left corner of the table at (`x`, `y`),
    /// and returns the region that the table covers.
    ///
    /// # Errors
    ///
    /// [`PlotError::CountMismatch`] unless there is one image for each pair of headings.
    pub fn draw(
        &self,
        canvas: &mut Canvas,
        x: i32,
        y: i32,
        images: &[ArrayView2<'_, f64>],
    ) -> Result<Rect, PlotError> {
        let expected = self.rows.len() * self.columns.len();
        if images.len() != expected {
            return Err(PlotError::CountMismatch {
                expected,
                found: images.len(),
            });
        }
        let shape = images.iter().fold((0, 0), |most, image| {
            let (rows, columns) = image.dim();
            (rows.max(most.0), columns.max(most.1))
        });
        let (width, height) = self.size(shape);
        let (left, top) = self.margins();
        let (across, down) = self.pitch(shape);
        let (wide, high) = (
            shape.1 as i32 * self.look.factor,
            shape.0 as i32 * self.look.factor,
        );
        let style = Text::new(self.text, INK);
        canvas.text(x + width / 2, y, &self.title, style.aligned(Align::Centre));
        let cell_x =
            |column: usize| x + left + column as i32 * across + (across - self.gap - wide) / 2;
        let cell_y = |row: usize| y + top + row as i32 * down + (down - self.gap - high) / 2;
        for (column, name) in self.columns.iter().enumerate() {
            let above = y + top - text_height(self.text) - self.text;
            canvas.text(
                cell_x(column) + wide / 2,
                above,
                name,
                style.aligned(Align::Centre),
            );
        }
        for (row, name) in self.rows.iter().enumerate() {
            let beside = cell_y(row) + (high - capital_height(self.text)) / 2;
            canvas.text(
                x + left - 4 * self.text,
                beside,
                name,
                style.aligned(Align::End),
            );
        }
        for (index, image) in images.iter().enumerate() {
            let (row, column) = (index / self.columns.len(), index % self.columns.len());
            let region = canvas.image(cell_x(column), cell_y(row), image.view(), self.look);
            canvas.frame(region, 1, PALE);
        }
        Ok(Rect::new(x, y, width, height))
    }

    /// A canvas that holds just the table with a border of `margin` pixels.
    ///
    /// # Errors
    ///
    /// As [`Sheet::draw`].
    pub fn render(&self, margin: i32, images: &[ArrayView2<'_, f64>]) -> Result<Canvas, PlotError> {
        let shape = images.first().map_or((0, 0), |image| image.dim());
        let (width, height) = self.size(shape);
        let mut canvas = Canvas::new(width + 2 * margin, height + 2 * margin, self.look.paper);
        self.draw(&mut canvas, margin, margin, images)?;
        Ok(canvas)
    }

    /// What the headings take at the left and at the top.
    fn margins(&self) -> (i32, i32) {
        let widest = self
            .rows
            .iter()
            .map(|name| text_width(name, self.text))
            .max()
            .unwrap_or(0);
        let left = if widest > 0 {
            widest + 4 * self.text
        } else {
            0
        };
        let headed = self.columns.iter().any(|name| !name.is_empty());
        let title = if self.title.is_empty() {
            0
        } else {
            text_height(self.text) + 4 * self.text
        };
        (
            left,
            title
                + if headed {
                    text_height(self.text) + self.text
                } else {
                    0
                },
        )
    }

    /// From one image to the next, across and down: wide enough for the headings too.
    fn pitch(&self, shape: (usize, usize)) -> (i32, i32) {
        let heading = self
            .columns
            .iter()
            .map(|name| text_width(name, self.text) + 2 * self.text)
            .max()
            .unwrap_or(0);
        let label = if self.rows.iter().all(String::is_empty) {
            0
        } else {
            text_height(self.text)
        };
        let factor = self.look.factor;
        (
            (shape.1 as i32 * factor).max(heading) + self.gap,
            (shape.0 as i32 * factor).max(label) + self.gap,
        )
    }
}
