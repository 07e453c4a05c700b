//! By how much each element's noise of each step is scaled.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use crate::error::{Error, require, require_all, require_length};

/// A factor for each element at each step, for [`ScaledNoise`](super::ScaledNoise). A clone shares
/// the table.
///
/// ```
/// use diffusion_sampler::noise::NoiseScales;
///
/// // Two steps on samples of three elements.
/// let scales = NoiseScales::new(3, vec![1.0, 0.5, 2.0, 1.0, 1.0, 0.0])?;
/// assert_eq!((scales.steps(), scales.step(1)), (2, Some(&[1.0, 1.0, 0.0][..])));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseScales {
    pub(super) dim: usize,
    factors: Arc<Vec<f64>>,
    fingerprint: u64,
}

impl NoiseScales {
    /// The factors of `dim` elements, one step's behind the other.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for `dim` = 0; [`Error::WrongLength`] unless the length is a
    /// multiple of `dim`; [`Error::InvalidEntry`] for a factor that is negative or not finite.
    pub fn new(dim: usize, factors: Vec<f64>) -> Result<Self, Error> {
        require(dim > 0, "elements of a sample", 0.0, "at least 1")?;
        let whole = factors.len() / dim * dim;
        require_length("noise scales", whole, factors.len())?;
        let valid = |_, factor: f64| factor.is_finite() && factor >= 0.0;
        require_all("noise scales", &factors, valid, "finite and at least 0")?;
        let of = Fingerprint::of_kind(dim as u64);
        let of = factors.iter().fold(of, |of, factor| of.number(*factor));
        Ok(Self {
            dim,
            factors: Arc::new(factors),
            fingerprint: of.value(),
        })
    }

    /// The number of elements of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// That of the table, made once.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.factors.len() / self.dim
    }

    /// The factors of a step, one for each element.
    pub fn step(&self, step: usize) -> Option<&[f64]> {
        let start = step.checked_mul(self.dim)?;
        self.factors.get(start..start.checked_add(self.dim)?)
    }
}
