//! Images to train on, and images that the network never sees.

use ndarray::{Array2, Axis};

use crate::Result;
use crate::digits::Digits;

/// Every tenth image is held out.
const HELD_OUT: usize = 10;

/// Images from −1 to 1, one a row, with their digits.
pub struct Images {
    pub pixels: Array2<f32>,
    pub labels: Vec<usize>,
}

/// The two parts of the data.
pub struct Split {
    pub training: Images,
    pub held_out: Images,
    /// The training part as the data set itself holds it.
    pub digits: Digits,
}

impl Split {
    pub fn load() -> Result<Self> {
        let all = Digits::load()?;
        let (held, trained): (Vec<usize>, Vec<usize>) =
            (0..all.count()).partition(|row| row % HELD_OUT == HELD_OUT - 1);
        let part = |rows: &[usize]| Digits {
            pixels: all.pixels.select(Axis(0), rows),
            labels: rows.iter().map(|&row| all.labels[row]).collect(),
        };
        let images = |digits: &Digits| Images {
            pixels: digits.signed().mapv(|value| value as f32),
            labels: digits.labels.clone(),
        };
        let digits = part(&trained);
        Ok(Self {
            training: images(&digits),
            held_out: images(&part(&held)),
            digits,
        })
    }
}
