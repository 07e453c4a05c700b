//! The 8×8 handwritten digits of `tests/data`.

use std::error::Error;
use std::io::Cursor;

use ndarray::{Array2, ArrayView2, s};

/// Pixels along one side of a digit.
pub const SIDE: usize = 8;

/// The ink of a fully black pixel.
pub const INK: f64 = 16.0;

const PIXELS: usize = SIDE * SIDE;

/// All digits in the order of the source.
#[derive(Clone, Debug)]
pub struct Digits {
    /// One row an image (1797×64), its pixels row by row, from 0 (paper) to 16 (ink).
    pub pixels: Array2<f64>,
    /// The digit, 0 to 9, that each row shows.
    pub labels: Vec<usize>,
}

impl Digits {
    /// Decodes the file that is compiled into the program.
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let file = Cursor::new(include_bytes!("digits.png"));
        let mut reader = png::Decoder::new(file).read_info()?;
        let layout = (reader.info().color_type, reader.info().bit_depth);
        if layout != (png::ColorType::Grayscale, png::BitDepth::Eight) {
            return Err(format!("digits.png: expected 8-bit greyscale, found {layout:?}").into());
        }
        let (width, height) = (reader.info().width as usize, reader.info().height as usize);
        if width != PIXELS + 1 {
            return Err(
                format!("digits.png: expected {} columns, found {width}", PIXELS + 1).into(),
            );
        }
        let mut bytes = vec![0; width * height];
        reader.next_frame(&mut bytes)?;
        let table = Array2::from_shape_vec((height, width), bytes)?;
        let pixels = table.slice(s![.., ..PIXELS]).mapv(f64::from);
        let labels = table
            .column(PIXELS)
            .iter()
            .map(|&label| usize::from(label))
            .collect();
        Ok(Self { pixels, labels })
    }

    /// How many digits there are.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The images on the scale that diffusion models use: −1 is paper, 1 is ink.
    pub fn signed(&self) -> Array2<f64> {
        self.pixels.mapv(|value| 2.0 * value / INK - 1.0)
    }

    /// The rows that show `label`, in their order.
    pub fn rows_of(&self, label: usize) -> Vec<usize> {
        (0..self.count())
            .filter(|&row| self.labels[row] == label)
            .collect()
    }

    /// Image `row` as the canvas draws it: 8×8, from 0 (paper) to 1 (ink).
    pub fn image(&self, row: usize) -> Result<Array2<f64>, Box<dyn Error>> {
        let view: ArrayView2<'_, f64> = self.pixels.row(row).into_shape_with_order((SIDE, SIDE))?;
        Ok(view.mapv(|value| value / INK))
    }
}
