//! What is unknown of each element of Gaussian data at a level.

use super::{Gaussian, Oracle};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{self, Copied};
use crate::posterior::ElementErrors;

impl Gaussian {
    /// The exact errors of the exact model, element by element: the diagonal of Cov\[x₀ given
    /// x_t\], which does not depend on x_t. For independent elements M_{t,i} = v_iσ²/(α²v_i + σ²).
    ///
    /// # Errors
    ///
    /// As [`ElementErrors::new`]; [`Error::InvalidParameter`] for an α or σ out of the oracle's
    /// range.
    pub fn element_errors(&self, levels: &[NoiseLevel]) -> Result<ElementErrors, Error> {
        let x = memory::repeated(0.0, self.dim())?;
        let mut errors = memory::reserve(&[levels.len(), x.len()])?;
        for level in levels {
            match self.independent(level)? {
                Some(own) => memory::extend(&mut errors, own)?,
                None => memory::extend(
                    &mut errors,
                    self.posterior_covariance(&x, level)?.diag().iter().copied(),
                )?,
            }
        }
        ElementErrors::new(x.len(), levels.copy()?, errors)
    }
}
