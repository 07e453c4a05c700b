//! Heat maps of values whose size is read off a colour bar.

use ndarray::ArrayView2;

use crate::canvas::{Canvas, Rect, Rgb, mixed};
use crate::plot::{Axes, Axis, PlotError};

/// From dark to light, so that the order is seen in grey too.
const RAMP: [Rgb; 6] = [
    [20, 18, 62],
    [58, 44, 130],
    [124, 52, 140],
    [196, 72, 108],
    [242, 136, 72],
    [250, 226, 140],
];

/// A logarithmic scale of colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourScale {
    from: f64,
    to: f64,
}

impl ColourScale {
    /// Ratios from `from` to `to`, both positive; what lies outside has the colour of the end.
    pub const fn logarithmic(from: f64, to: f64) -> Self {
        Self { from, to }
    }

    /// The colour of a value; of one that is not positive that of the lower end.
    pub fn colour(&self, value: f64) -> Rgb {
        let share = (value / self.from).ln() / (self.to / self.from).ln();
        let place = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
        // NaN, of a negative value, is the lower end.
        let (low, rest) = (place as usize, place - place.floor());
        let at = |index: usize| RAMP[index.min(RAMP.len() - 1)];
        mixed(at(low), at(low + 1), if rest.is_nan() { 0.0 } else { rest })
    }

    /// Fills a panel with a table, NaN left out: the first row lies at the bottom, and each pixel has
    /// the colour of the cell that it lies in.
    pub fn fill(&self, canvas: &mut Canvas, panel: Rect, values: ArrayView2<'_, f64>) {
        let (rows, columns) = values.dim();
        let cell = |at: i32, of: i32, cells: usize| {
            ((f64::from(at) + 0.5) / f64::from(of) * cells as f64) as usize
        };
        for up in 0..panel.height {
            for across in 0..panel.width {
                let place = (
                    cell(up, panel.height, rows),
                    cell(across, panel.width, columns),
                );
                let Some(value) = values.get(place).filter(|value| !value.is_nan()) else {
                    continue;
                };
                let (x, y) = (panel.x + across, panel.bottom() - 1 - up);
                canvas.blend(x, y, self.colour(*value), 1.0);
            }
        }
    }

    /// Draws the colour bar with its ticks within `area`, upright.
    ///
    /// # Errors
    ///
    /// As [`Axes::new`].
    pub fn bar(
        &self,
        canvas: &mut Canvas,
        area: Rect,
        name: &str,
        scale: i32,
    ) -> Result<(), PlotError> {
        let x = Axis::linear("", 0.0, 1.0).with_ticks(&[]);
        let y = Axis::logarithmic(name, self.from, self.to);
        let axes = Axes::new(area, "", x, y, scale)?;
        axes.draw(canvas);
        let panel = axes.panel();
        for up in 0..panel.height {
            let share = (f64::from(up) + 0.5) / f64::from(panel.height);
            let value = self.from * (self.to / self.from).powf(share);
            let row = Rect::new(panel.x, panel.bottom() - 1 - up, panel.width, 1);
            canvas.rect(row, self.colour(value), 1.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_grow_lighter_with_the_value_and_stay_at_the_ends() {
        let scale = ColourScale::logarithmic(1e-3, 10.0);
        let light = |value: f64| {
            scale
                .colour(value)
                .iter()
                .map(|c| u32::from(*c))
                .sum::<u32>()
        };
        let values = [1e-3, 3e-3, 1e-2, 0.1, 1.0, 3.0, 10.0];
        assert!(
            values
                .windows(2)
                .all(|pair| light(pair[0]) < light(pair[1]))
        );
        assert_eq!(scale.colour(1e-9), RAMP[0]);
        assert_eq!(scale.colour(1e9), RAMP[RAMP.len() - 1]);
        assert_eq!(scale.colour(-1.0), RAMP[0]);
    }

    #[test]
    fn the_first_row_of_a_table_lies_at_the_bottom_and_nan_is_left_out() {
        let mut canvas = Canvas::new(10, 10, [255; 3]);
        let scale = ColourScale::logarithmic(1.0, 100.0);
        let table = ndarray::array![[1.0, 100.0], [f64::NAN, 10.0]];
        scale.fill(&mut canvas, Rect::new(1, 1, 8, 8), table.view());
        assert_eq!(canvas.pixel(2, 8), Some(scale.colour(1.0)));
        assert_eq!(canvas.pixel(8, 8), Some(scale.colour(100.0)));
        assert_eq!(canvas.pixel(2, 2), Some([255; 3]));
        assert_eq!(canvas.pixel(8, 2), Some(scale.colour(10.0)));
    }
}
