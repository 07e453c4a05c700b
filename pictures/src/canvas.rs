//! An RGB canvas: anti-aliased lines and discs, text, greyscale images, and a PNG in the end.
//!
//! All of it is in pixels, y downward, the centre of the upper left pixel at (0.5, 0.5). Whatever
//! falls outside of the canvas, or of the region that [`Canvas::clipped`] sets, is left out.

use std::error::Error;
use std::fs::{File, create_dir_all};
use std::io::BufWriter;
use std::path::Path;

use ndarray::ArrayView2;

use super::font;

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// Paper.
pub const WHITE: Rgb = [255, 255, 255];
/// Text and outlines.
pub const INK: Rgb = [30, 34, 42];
/// Tick marks and secondary text.
pub const GREY: Rgb = [120, 126, 138];
/// Grid lines.
pub const PALE: Rgb = [226, 229, 235];
/// What marks a value that is not finite, so that it cannot pass for a shade.
pub const ALARM: Rgb = [255, 0, 160];

/// Six colours that readers with any colour vision tell apart (Okabe and Ito, "Color universal
/// design", 2008; their yellow, too light for lines on paper, is left out).
pub const PALETTE: [Rgb; 6] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
];

/// A region of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Columns.
    pub width: i32,
    /// Rows.
    pub height: i32,
}

impl Rect {
    /// The region of `width`×`height` pixels whose upper left corner is (`x`, `y`).
    pub const fn new(x: i32, y: i32, width: i32, height: i32) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The first column to the right of the region.
    pub const fn right(self) -> i32 {
        self.x + self.width
    }

    /// The first row below the region.
    pub const fn bottom(self) -> i32 {
        self.y + self.height
    }

    /// Whether the pixel belongs to the region.
    pub const fn contains(self, x: i32, y: i32) -> bool {
        x >= self.x && x < self.right() && y >= self.y && y < self.bottom()
    }

    /// What both regions share; empty (width or height 0) if nothing.
    pub fn intersection(self, other: Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let width = (self.right().min(other.right()) - x).max(0);
        let height = (self.bottom().min(other.bottom()) - y).max(0);
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The region without a border of `margin` pixels.
    pub const fn inset(self, margin: i32) -> Self {
        Self::new(
            self.x + margin,
            self.y + margin,
            self.width - 2 * margin,
            self.height - 2 * margin,
        )
    }

    /// Equal cells of a table of `columns`×`rows`, `gap` pixels apart, row by row.
    pub fn split(self, columns: i32, rows: i32, gap: i32) -> Vec<Self> {
        let width = (self.width - gap * (columns - 1)) / columns.max(1);
        let height = (self.height - gap * (rows - 1)) / rows.max(1);
        let cell = |row, column| {
            Self::new(
                self.x + column * (width + gap),
                self.y + row * (height + gap),
                width,
                height,
            )
        };
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| cell(row, column)))
            .collect()
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Colour.
    pub colour: Rgb,
    /// Width in pixels.
    pub width: f64,
    /// Opacity, 0 to 1.
    pub alpha: f64,
}

impl Stroke {
    /// An opaque line.
    pub const fn new(colour: Rgb, width: f64) -> Self {
        Self {
            colour,
            width,
            alpha: 1.0,
        }
    }

    /// The same line, `alpha` opaque.
    pub const fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }
}

/// The form of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A filled circle.
    Disc,
    /// A circle.
    Ring,
    /// A filled square.
    Square,
    /// A filled square on its corner.
    Diamond,
    /// Two crossing diagonals.
    Cross,
}

/// A mark at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marker {
    /// Form.
    pub shape: Shape,
    /// Half its width, in pixels.
    pub radius: f64,
    /// Colour.
    pub colour: Rgb,
    /// Opacity, 0 to 1.
    pub alpha: f64,
}

impl Marker {
    /// An opaque mark.
    pub const fn new(shape: Shape, radius: f64, colour: Rgb) -> Self {
        Self {
            shape,
            radius,
            colour,
            alpha: 1.0,
        }
    }

    /// The same mark, `alpha` opaque.
    pub const fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// How much of the pixel whose centre lies at (`dx`, `dy`) from the mark is covered.
    fn coverage(&self, dx: f64, dy: f64) -> f64 {
        /// Width of the lines of ring and cross.
        const LINE: f64 = 2.0;
        let (ax, ay) = (dx.abs(), dy.abs());
        let distance = match self.shape {
            Shape::Disc => dx.hypot(dy) - self.radius,
            Shape::Ring => (dx.hypot(dy) - self.radius + LINE / 2.0).abs() - LINE / 2.0,
            Shape::Square => ax.max(ay) - self.radius,
            Shape::Diamond => (ax + ay - self.radius) / f64::sqrt(2.0),
            Shape::Cross => {
                let off = (ax - ay).abs() / f64::sqrt(2.0) - LINE / 2.0;
                off.max(ax.max(ay) - self.radius)
            }
        };
        (0.5 - distance).clamp(0.0, 1.0)
    }
}

/// Where text lies relative to its anchor, along its own direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// It begins there.
    Start,
    /// Its middle is there.
    Centre,
    /// It ends there.
    End,
}

/// How text is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Canvas pixels to a pixel of the font; a line is nine of them high.
    pub scale: i32,
    /// Colour.
    pub colour: Rgb,
    /// What the anchor means.
    pub align: Align,
    /// Whether it runs from below upward.
    pub upward: bool,
}

impl Text {
    /// Text that begins at its anchor.
    pub const fn new(scale: i32, colour: Rgb) -> Self {
        Self {
            scale,
            colour,
            align: Align::Start,
            upward: false,
        }
    }

    /// The same, aligned otherwise.
    pub const fn aligned(self, align: Align) -> Self {
        Self { align, ..self }
    }

    /// The same, running upward.
    pub const fn upward(self) -> Self {
        Self {
            upward: true,
            ..self
        }
    }
}

/// Width of a line of text.
pub fn text_width(text: &str, scale: i32) -> i32 {
    let advance = |character| glyph_width(character) + font::SPACING;
    let columns: i32 = text.chars().map(advance).sum();
    scale * (columns - font::SPACING).max(0)
}

/// Height of a line of text, with what hangs below the baseline.
pub const fn text_height(scale: i32) -> i32 {
    scale * font::LINE
}

/// Height of capitals and digits.
pub const fn capital_height(scale: i32) -> i32 {
    scale * font::ASCENT
}

/// The characters that the font lacks; they are drawn as boxes.
pub fn missing_glyphs(text: &str) -> String {
    text.chars()
        .filter(|&character| !font::knows(character))
        .collect()
}

/// A picture in the making.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: i32,
    height: i32,
    // 0 to 255, but not rounded: thousands of faint lines add up only so.
    pixels: Vec<[f32; 3]>,
    clip: Rect,
    // Coverage of the shape that is being drawn, and where it is not 0.
    mask: Vec<f32>,
    touched: Vec<usize>,
}

impl Canvas {
    /// An empty canvas of at least one pixel.
    pub fn new(width: i32, height: i32, background: Rgb) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let count = width as usize * height as usize;
        Self {
            width,
            height,
            pixels: vec![background.map(f32::from); count],
            clip: Rect::new(0, 0, width, height),
            mask: vec![0.0; count],
            touched: Vec::new(),
        }
    }

    /// The whole canvas.
    pub const fn area(&self) -> Rect {
        Rect::new(0, 0, self.width, self.height)
    }

    /// Draws with everything outside of `region` left out.
    pub fn clipped(&mut self, region: Rect, draw: impl FnOnce(&mut Self)) {
        let outer = self.clip;
        self.clip = outer.intersection(region);
        draw(self);
        self.clip = outer;
    }

    /// The colour of a pixel, if it is on the canvas.
    pub fn pixel(&self, x: i32, y: i32) -> Option<Rgb> {
        let inside = self.area().contains(x, y);
        inside.then(|| self.pixels[self.index(x, y)].map(|value| value.round() as u8))
    }

    /// Mixes `colour` into a pixel; `alpha` 1 replaces it.
    pub fn blend(&mut self, x: i32, y: i32, colour: Rgb, alpha: f64) {
        if self.clip.contains(x, y) {
            let index = self.index(x, y);
            self.mix(index, colour, alpha as f32);
        }
    }

    /// Fills a region.
    pub fn rect(&mut self, region: Rect, colour: Rgb, alpha: f64) {
        let region = region.intersection(self.clip);
        for y in region.y..region.bottom() {
            for x in region.x..region.right() {
                self.blend(x, y, colour, alpha);
            }
        }
    }

    /// Draws a frame of `width` pixels just outside of a region, which stays untouched.
    pub fn frame(&mut self, region: Rect, width: i32, colour: Rgb) {
        let outer = region.inset(-width);
        self.rect(
            Rect {
                height: width,
                ..outer
            },
            colour,
            1.0,
        );
        self.rect(
            Rect {
                y: region.bottom(),
                height: width,
                ..outer
            },
            colour,
            1.0,
        );
        self.rect(
            Rect {
                x: outer.x,
                width,
                ..region
            },
            colour,
            1.0,
        );
        self.rect(
            Rect {
                x: region.right(),
                width,
                ..region
            },
            colour,
            1.0,
        );
    }

    /// Draws a straight line with round ends.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.polyline(&[from, to], stroke);
    }

    /// Draws a line through points, with round joints. Where it crosses itself it gets no darker. A
    /// point that is not finite leaves a gap.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        for pair in points.windows(2) {
            self.cover_segment(pair[0], pair[1], stroke.width);
        }
        self.flush(stroke.colour, stroke.alpha);
    }

    /// Draws a filled circle.
    pub fn disc(&mut self, centre: (f64, f64), radius: f64, colour: Rgb, alpha: f64) {
        self.marker(
            centre,
            Marker::new(Shape::Disc, radius, colour).with_alpha(alpha),
        );
    }

    /// Draws a mark; one at a point that is not finite is left out.
    pub fn marker(&mut self, centre: (f64, f64), marker: Marker) {
        let (x, y) = centre;
        if !(x.is_finite() && y.is_finite()) {
            return;
        }
        let reach = marker.radius + 1.0;
        for row in floor_ceil(y - reach, y + reach, self.clip.y, self.clip.bottom()) {
            for column in floor_ceil(x - reach, x + reach, self.clip.x, self.clip.right()) {
                let covered =
                    marker.coverage(f64::from(column) + 0.5 - x, f64::from(row) + 0.5 - y);
                self.blend(column, row, marker.colour, covered * marker.alpha);
            }
        }
    }

    /// Draws a line of text and returns the region that it was given.
    ///
    /// Level text hangs from `y` and is aligned on `x`. Upward text has its left side at `x` and is
    /// aligned on `y`, its start being at the bottom.
    pub fn text(&mut self, x: i32, y: i32, text: &str, style: Text) -> Rect {
        let (length, thickness) = (text_width(text, style.scale), text_height(style.scale));
        let before = match style.align {
            Align::Start => 0,
            Align::Centre => length / 2,
            Align::End => length,
        };
        let region = if style.upward {
            Rect::new(x, y + before - length, thickness, length)
        } else {
            Rect::new(x - before, y, length, thickness)
        };
        let mut along = 0;
        for character in text.chars() {
            let glyph = Glyph::new(character);
            for down in 0..thickness {
                for right in 0..glyph.width * style.scale {
                    let covered = glyph.coverage(right, down, style.scale);
                    let (column, row) = if style.upward {
                        (region.x + down, region.bottom() - 1 - along - right)
                    } else {
                        (region.x + along + right, region.y + down)
                    };
                    self.blend(column, row, style.colour, covered);
                }
            }
            along += (glyph.width + font::SPACING) * style.scale;
        }
        region
    }

    /// Draws a greyscale image, each of its pixels `factor`×`factor` large and mixed from `paper`
    /// (0) and `ink` (1), and returns the region that it covers.
    ///
    /// Values outside of 0 to 1 are drawn as the nearer end, those that are not finite in
    /// [`ALARM`]. `smooth` blends between the pixels.
    pub fn image(&mut self, x: i32, y: i32, values: ArrayView2<'_, f64>, look: ImageLook) -> Rect {
        let (rows, columns) = values.dim();
        let region = Rect::new(
            x,
            y,
            columns as i32 * look.factor,
            rows as i32 * look.factor,
        );
        let seen = region.intersection(self.clip);
        for row in seen.y..seen.bottom() {
            for column in seen.x..seen.right() {
                let down = (f64::from(row - y) + 0.5) / f64::from(look.factor);
                let right = (f64::from(column - x) + 0.5) / f64::from(look.factor);
                let value = if look.smooth {
                    bilinear(values, down, right)
                } else {
                    values[[down as usize, right as usize]]
                };
                let colour = if value.is_finite() {
                    mixed(look.paper, look.ink, value)
                } else {
                    ALARM
                };
                self.blend(column, row, colour, 1.0);
            }
        }
        region
    }

    /// Writes the canvas as a PNG, after creating the folders that lead to it.
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<(), Box<dyn Error>> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            create_dir_all(folder)?;
        }
        let file = BufWriter::new(File::create(path)?);
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        // Few colours in flat areas: differences between pixels repeat less than the pixels do.
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flatten()
            .map(|value| value.round() as u8)
            .collect();
        writer.write_image_data(&bytes)?;
        writer.finish()?;
        Ok(())
    }

    fn index(&self, x: i32, y: i32) -> usize {
        y as usize * self.width as usize + x as usize
    }

    fn mix(&mut self, index: usize, colour: Rgb, alpha: f32) {
        for (value, new) in self.pixels[index].iter_mut().zip(colour) {
            *value += (f32::from(new) - *value) * alpha.clamp(0.0, 1.0);
        }
    }

    /// Raises the mask to what a segment with round ends covers.
    fn cover_segment(&mut self, from: (f64, f64), to: (f64, f64), width: f64) {
        let ((x0, y0), (x1, y1)) = (from, to);
        if ![x0, y0, x1, y1].iter().all(|value| value.is_finite()) {
            return;
        }
        // A line thinner than a pixel is drawn one pixel wide and fainter.
        let (half, strength) = (width.max(1.0) / 2.0, width.clamp(0.0, 1.0));
        let reach = half + 1.0;
        let (dx, dy) = (x1 - x0, y1 - y0);
        for row in floor_ceil(
            y0.min(y1) - reach,
            y0.max(y1) + reach,
            self.clip.y,
            self.clip.bottom(),
        ) {
            let y = f64::from(row) + 0.5;
            // The part of the segment that is close enough to this row bounds the columns.
            let (mut first, mut last) = (0.0, 1.0);
            if dy != 0.0 {
                let (a, b) = ((y - reach - y0) / dy, (y + reach - y0) / dy);
                (first, last) = (a.min(b).clamp(0.0, 1.0), a.max(b).clamp(0.0, 1.0));
            }
            let (a, b) = (x0 + first * dx, x0 + last * dx);
            for column in floor_ceil(
                a.min(b) - reach,
                a.max(b) + reach,
                self.clip.x,
                self.clip.right(),
            ) {
                let x = f64::from(column) + 0.5;
                let distance = distance_to_segment((x - x0, y - y0), (dx, dy));
                let covered = ((half + 0.5 - distance).clamp(0.0, 1.0) * strength) as f32;
                let index = self.index(column, row);
                if covered > self.mask[index] {
                    if self.mask[index] == 0.0 {
                        self.touched.push(index);
                    }
                    self.mask[index] = covered;
                }
            }
        }
    }

    /// Mixes `colour` in wherever the mask is set, and clears it.
    fn flush(&mut self, colour: Rgb, alpha: f64) {
        while let Some(index) = self.touched.pop() {
            let covered = std::mem::take(&mut self.mask[index]);
            self.mix(index, colour, covered * alpha as f32);
        }
    }
}

/// How [`Canvas::image`] draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLook {
    /// Canvas pixels to a pixel of the image.
    pub factor: i32,
    /// Whether to blend between pixels.
    pub smooth: bool,
    /// The colour of 0.
    pub paper: Rgb,
    /// The colour of 1.
    pub ink: Rgb,
}

impl ImageLook {
    /// Dark on white, in sharp pixels.
    pub const fn new(factor: i32) -> Self {
        Self {
            factor,
            smooth: false,
            paper: WHITE,
            ink: INK,
        }
    }

    /// The same, blended.
    pub const fn smooth(self) -> Self {
        Self {
            smooth: true,
            ..self
        }
    }
}

/// The colour at `share` of the way from one to the other.
pub fn mixed(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|i| {
        (f64::from(from[i]) * (1.0 - share) + f64::from(to[i]) * share).round() as u8
    })
}

/// The value at (`down`, `right`), where the centre of the first pixel is (0.5, 0.5); constant
/// beyond the outer centres.
pub fn bilinear(values: ArrayView2<'_, f64>, down: f64, right: f64) -> f64 {
    let (rows, columns) = values.dim();
    let (row, below) = neighbours(down, rows);
    let (column, beside) = neighbours(right, columns);
    let (next_row, next_column) = ((row + 1).min(rows - 1), (column + 1).min(columns - 1));
    let upper = values[[row, column]] * (1.0 - beside) + values[[row, next_column]] * beside;
    let lower =
        values[[next_row, column]] * (1.0 - beside) + values[[next_row, next_column]] * beside;
    upper * (1.0 - below) + lower * below
}

/// The pixel whose centre lies before `position`, and the share of the next.
fn neighbours(position: f64, count: usize) -> (usize, f64) {
    let place = (position - 0.5).clamp(0.0, (count - 1) as f64);
    (place.floor() as usize, place.fract())
}

/// Distance of a point from the segment between the origin and `end`.
fn distance_to_segment(point: (f64, f64), end: (f64, f64)) -> f64 {
    let length = end.0 * end.0 + end.1 * end.1;
    let along = if length > 0.0 {
        (point.0 * end.0 + point.1 * end.1) / length
    } else {
        0.0
    };
    let along = along.clamp(0.0, 1.0);
    (point.0 - along * end.0).hypot(point.1 - along * end.1)
}

/// The whole pixels from `low` to `high` within `first..end`.
fn floor_ceil(low: f64, high: f64, first: i32, end: i32) -> std::ops::Range<i32> {
    // `as` saturates, so coordinates beyond i32 are safe.
    let low = (low.floor() as i32).max(first);
    low..(high.ceil() as i32).min(end)
}

fn glyph_width(character: char) -> i32 {
    font::picture(character)
        .split(' ')
        .next()
        .map_or(0, |row| row.len() as i32)
}

/// A glyph as the lines that a round pen draws: one between each two neighbouring pixels of its
/// picture.
///
/// Enlarged pixels would be staircases. Drawn with a pen as wide as one pixel, level and upright
/// strokes are the same and the slanted ones straight.
struct Glyph {
    width: i32,
    // From a pixel, a step (columns, rows) to its neighbour.
    lines: Vec<((i32, i32), (i32, i32))>,
    dots: Vec<(i32, i32)>,
}

impl Glyph {
    fn new(character: char) -> Self {
        let rows: Vec<&[u8]> = font::picture(character)
            .split(' ')
            .map(str::as_bytes)
            .collect();
        let set = |column: i32, row: i32| {
            let found = usize::try_from(row).ok().and_then(|row| rows.get(row));
            let found = found.and_then(|row| row.get(usize::try_from(column).ok()?));
            found == Some(&b'#')
        };
        let mut glyph = Self {
            width: glyph_width(character),
            lines: Vec::new(),
            dots: Vec::new(),
        };
        for row in 0..rows.len() as i32 {
            for column in (0..glyph.width).filter(|&column| set(column, row)) {
                let from = (column, row);
                for step in [(1, 0), (0, 1)] {
                    if set(column + step.0, row + step.1) {
                        glyph.lines.push((from, step));
                    }
                }
                // A diagonal counts only where no corner pixel joins the two.
                for side in [-1, 1] {
                    if set(column + side, row + 1)
                        && !set(column + side, row)
                        && !set(column, row + 1)
                    {
                        glyph.lines.push((from, (side, 1)));
                    }
                }
                let alone = (-1..=1).all(|down| {
                    (-1..=1)
                        .all(|right| (down, right) == (0, 0) || !set(column + right, row + down))
                });
                if alone {
                    glyph.dots.push(from);
                }
            }
        }
        glyph
    }

    /// How much of a canvas pixel the glyph covers.
    fn coverage(&self, right: i32, down: i32, scale: i32) -> f64 {
        if self.dots.contains(&(right / scale, down / scale)) {
            return 1.0;
        }
        let size = f64::from(scale);
        let mut covered: f64 = 0.0;
        for &((column, row), (columns, rows)) in &self.lines {
            let x = f64::from(right) + 0.5 - (f64::from(column) + 0.5) * size;
            let y = f64::from(down) + 0.5 - (f64::from(row) + 0.5) * size;
            let distance =
                distance_to_segment((x, y), (f64::from(columns) * size, f64::from(rows) * size));
            covered = covered.max((size / 2.0 + 0.5 - distance).clamp(0.0, 1.0));
        }
        covered
    }
}
