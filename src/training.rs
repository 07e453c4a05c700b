//! Loss weights.

use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;
use crate::prediction::Prediction;

/// The weight of a training loss at a level.
///
/// Weights are defined on the data error |x₀ − D|²; [`on_output`](Self::on_output) translates them
/// to the network's own
/// |output − target|², which differs by a factor for every prediction.
///
/// | variant | weight on \|x₀ − D\|² |
/// |---|---|
/// | [`Simple`](Self::Simple) | that of the plain loss on the output: snr for ε, 1 for x₀, snr + 1 for v (VP) |
/// | [`Snr`](Self::Snr) | snr = (α/σ)², the plain ε loss |
/// | [`MinSnr`](Self::MinSnr) | min(snr, cap) (Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"; cap 5) |
/// | [`Omega`](Self::Omega) | ω of an edge, from [`StridedPosterior::elbo_weight`](crate::posterior::StridedPosterior::elbo_weight): the loss is then a bound on −ln p for the grid that the edges make |
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, training::LossWeight};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// assert_eq!(LossWeight::Simple.on_output(Prediction::Velocity, &level)?, 1.0);
/// let snr = (0.8f64 / 0.6).powi(2);
/// assert!((LossWeight::Simple.on_data(Prediction::Velocity, &level)? - (snr + 1.0)).abs() < 1e-14);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LossWeight {
    /// 1 on the network's own output.
    Simple,
    /// snr on the data error.
    Snr,
    /// min(snr, cap) on the data error.
    MinSnr(f64),
    /// An edge's ω on the data error.
    Omega(f64),
}

impl LossWeight {
    /// The weight on |x₀ − D|².
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`] where the prediction determines no D;
    /// [`Error::InvalidParameter`] for a cap or ω that is not positive, and for an infinite weight
    /// at σ = 0.
    pub fn on_data(&self, prediction: Prediction, level: &NoiseLevel) -> Result<f64, Error> {
        let weight = match *self {
            Self::Simple => prediction.data_weight(level)?,
            Self::Snr => level.snr(),
            Self::MinSnr(cap) => {
                require_positive("cap of the snr", cap)?;
                level.snr().min(cap)
            }
            Self::Omega(omega) => {
                require_positive("omega", omega)?;
                omega
            }
        };
        require(
            weight.is_finite(),
            "loss weight",
            weight,
            "finite, at a level with sigma > 0",
        )?;
        Ok(weight)
    }

    /// The weight on the network's own |output − target|².
    ///
    /// # Errors
    ///
    /// As [`on_data`](Self::on_data); [`Error::InvalidParameter`] for a weight that overflows.
    pub fn on_output(&self, prediction: Prediction, level: &NoiseLevel) -> Result<f64, Error> {
        if *self == Self::Simple {
            prediction.data(level)?;
            return Ok(1.0);
        }
        let slope = prediction.data(level)?.output;
        let weight = self.on_data(prediction, level)? * slope * slope;
        require(weight.is_finite(), "loss weight", weight, "finite")?;
        Ok(weight)
    }
}
