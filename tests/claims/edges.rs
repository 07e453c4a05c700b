//! Rows 1 to 5: the strided posterior on its own.

use std::error::Error;

use diffusion_sampler::{Kappa, NoiseLevel, StridedPosterior};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    Ok(vec![onto_clean()?])
}

fn onto_clean() -> Result<Claim, Box<dyn Error>> {
    let from = NoiseLevel::new(1.0, 0.6, 0.8)?;
    let posterior = StridedPosterior::new(from, NoiseLevel::clean(), Kappa::Ddpm)?;
    let error = (posterior.data_coefficient() - 1.0).abs() + posterior.state_coefficient().abs();
    Ok(Claim::new(
        "onto σ = 0 the step returns D",
        "limit",
        error,
        Accept::Below(1e-300),
    ))
}
