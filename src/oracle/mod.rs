//! Exact denoisers: data distributions whose posterior mean, score and class posteriors are known
//! in closed form.

mod adapter;
mod check;
mod distance;
mod draws;
mod element_errors;
mod empirical;
mod gaussian;
mod mixture;
mod moments;
mod positions;
mod softmax;

use std::sync::Arc;

use ndarray::Array2;

pub use adapter::{ExactClassifier, ExactDenoiser};
pub use distance::frechet_distance;
pub use draws::Draws;
pub use empirical::Empirical;
pub use gaussian::Gaussian;
pub use mixture::{FittedMixture, GaussianMixture, MixtureFit};
pub use moments::sample_moments;
pub use positions::PositionDenoiser;

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
pub(crate) use check::{Scales, in_range};

/// A data distribution that is known exactly, and with it every distribution of the noisy x_t = αx₀
/// + σε.
///
/// | method | quantity | at σ = 0 | at α = 0 |
/// |---|---|---|---|
/// | [`data_estimate`](Self::data_estimate) | D = E\[x₀ given x_t = x\] | x/α | mean of the data |
/// | [`score`](Self::score) | ∇ₓ ln p_t(x) = (αD − x)/σ² | of the data, if it has a density | −x/σ² |
/// | [`log_density`](Self::log_density) | ln p_t(x), in nats | of the data, if it has a density | of N(0, σ²I) |
/// | [`posterior_covariance`](Self::posterior_covariance) | Cov\[x₀ given x_t = x\] = (σ²/α) ∂D/∂x | 0 | covariance of the data |
/// | [`posterior_variance`](Self::posterior_variance) | its trace, E\[\|x₀ − D\|² given x_t = x\] | 0 | trace of the covariance |
///
/// D and the score determine each other (Tweedie's formula; Efron 2011, "Tweedie's Formula and
/// Selection Bias"), but both are computed without the cancellation that deriving one from the
/// other brings where σ is small.
///
/// Oracles are immutable plain data in f64; a point is a slice of length [`dim`](Self::dim), an
/// image its elements in row-major order. [`denoiser`](Self::denoiser) makes one a
/// [`Denoiser`](crate::Denoiser) of batches of any element type and dimension. Sums have a fixed
/// order and exponentials come from `libm`: the bits are the same on every machine.
///
/// **Ranges.** Entries of points and means up to 1e30, variances 0 or between 1e-60 and 1e60, α and
/// σ 0 or between 1e-30 and 1e30: within these every result is a number, however far out in the
/// tails, and beyond them there is an error. Responsibilities below 1e-30 count as 0.
///
/// ```
/// use diffusion_sampler::{Denoiser, NoiseLevel, Prediction, Query, oracle::{Gaussian, Oracle}};
/// use ndarray::Array4;
///
/// let images = Gaussian::isotropic(&[0.5; 12], 0.04)?; // 3 channels of 2×2 pixels
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let x = Array4::<f32>::ones((5, 3, 2, 2));
/// let mut noise = Array4::<f32>::zeros((5, 3, 2, 2));
/// images.denoiser(Prediction::Noise).denoise(&x, &Query::new(&level), &mut noise)?;
/// assert!((noise[[4, 2, 1, 1]] - (0.6 * 0.6 / (0.64 * 0.04 + 0.36)) as f32).abs() < 1e-6);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// All methods: [`Error::WrongLength`] for a point or output whose length is not
/// [`dim`](Self::dim); [`Error::InvalidEntry`] for an entry, [`Error::InvalidParameter`] for an α
/// or σ outside the ranges. Score and density: [`Error::InvalidParameter`] at σ = 0 when the data
/// has no density.
pub trait Oracle {
    /// The dimension d of a point.
    fn dim(&self) -> usize;

    /// The mean \[d\] and covariance \[d, d\] of the data: what [`frechet_distance`] compares.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`].
    fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Error>;

    /// Writes D = E\[x₀ given x_t = `x`\] to `out`.
    ///
    /// `scratch` grows to the size that is needed and holds nothing between calls; kept, it makes
    /// calls free of allocation.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn data_estimate_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error>;

    /// Writes ∇ₓ ln p_t(x) to `out`; `scratch` as for
    /// [`data_estimate_into`](Self::data_estimate_into).
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn score_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error>;

    /// ln p_t(x), in nats.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn log_density(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error>;

    /// Cov\[x₀ given x_t = `x`\], shape \[d, d\].
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn posterior_covariance(&self, x: &[f64], level: &NoiseLevel) -> Result<Array2<f64>, Error>;

    /// The trace of Cov\[x₀ given x_t = `x`\], which is E\[|x₀ − D|² given x_t = x\]. The oracles of
    /// this crate sum it without the matrix.
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn posterior_variance(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        Ok(self.posterior_covariance(x, level)?.diag().sum())
    }

    /// D = E\[x₀ given x_t = `x`\].
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn data_estimate(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let mut out = crate::memory::repeated(0.0, self.dim())?;
        self.data_estimate_into(x, level, &mut Vec::new(), &mut out)?;
        Ok(out)
    }

    /// ∇ₓ ln p_t(x).
    ///
    /// # Errors
    ///
    /// See the [trait](Self#errors).
    fn score(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let mut out = crate::memory::repeated(0.0, self.dim())?;
        self.score_into(x, level, &mut Vec::new(), &mut out)?;
        Ok(out)
    }

    /// This oracle as a denoiser that returns `prediction`. An oracle behind a `&`, [`Box`] or
    /// [`Arc`] is an oracle too, to be shared by several denoisers.
    fn denoiser(self, prediction: Prediction) -> ExactDenoiser<Self>
    where
        Self: Sized,
    {
        ExactDenoiser::new(self, prediction)
    }

    /// This oracle as a denoiser of arrays whose positions along `axis` are independent draws of its
    /// data, each at a level of its own: of tokens, of frames.
    fn position_denoiser(self, axis: usize, prediction: Prediction) -> PositionDenoiser<Self>
    where
        Self: Sized,
    {
        PositionDenoiser::new(self, axis, prediction)
    }
}

/// An [`Oracle`] whose data carries class labels: exact class posteriors and their gradients.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::{Empirical, LabelledOracle, Oracle}};
/// use ndarray::array;
///
/// let data = Empirical::labelled(&array![[-1.0], [1.0], [2.0]], vec![0, 1, 1])?;
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let gradient = data.class_gradient(&[0.1], &level, 1)?;
/// let scores = (data.condition(1)?.score(&[0.1], &level)?, data.score(&[0.1], &level)?);
/// assert!((gradient[0] - (scores.0[0] - scores.1[0])).abs() < 1e-14);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub trait LabelledOracle: Oracle {
    /// The label of each component or data point.
    fn labels(&self) -> &[usize];

    /// The number of labels: they are 0..count.
    fn label_count(&self) -> usize;

    /// ln p(y given x_t = `x`) for every label y; −∞ for a label that nothing carries.
    ///
    /// # Errors
    ///
    /// As [`Oracle::log_density`].
    fn class_log_posterior(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error>;

    /// Writes ∇ₓ ln p(y = `label` given x_t = x), the score of the class minus the score, to `out`;
    /// `scratch` as for [`Oracle::data_estimate_into`].
    ///
    /// # Errors
    ///
    /// As [`Oracle::score_into`]; [`Error::UnknownLabel`] for a label that nothing carries.
    fn class_gradient_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        label: usize,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error>;

    /// ∇ₓ ln p(y = `label` given x_t = x).
    ///
    /// # Errors
    ///
    /// As [`class_gradient_into`](Self::class_gradient_into).
    fn class_gradient(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        label: usize,
    ) -> Result<Vec<f64>, Error> {
        let mut out = crate::memory::repeated(0.0, self.dim())?;
        self.class_gradient_into(x, level, label, &mut Vec::new(), &mut out)?;
        Ok(out)
    }

    /// The classifier whose gradient is ∇ₓ ln p(y = `label` given x_t).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLabel`] for a label that nothing carries.
    fn classifier(self, label: usize) -> Result<ExactClassifier<Self>, Error>
    where
        Self: Sized,
    {
        ExactClassifier::new(self, label)
    }
}

/// Checks a point, an output of the same length, and a level.
fn checked(
    oracle: &impl Oracle,
    x: &[f64],
    level: &NoiseLevel,
    out: &[f64],
) -> Result<Scales, Error> {
    check::point("x", x, oracle.dim())?;
    check::length("out", out.len(), oracle.dim())?;
    Scales::of(level)
}

/// Something carries the label.
fn require_label(oracle: &impl LabelledOracle, label: usize) -> Result<(), Error> {
    if oracle.labels().contains(&label) {
        Ok(())
    } else {
        Err(Error::UnknownLabel {
            label,
            count: oracle.label_count(),
        })
    }
}

/// Pointers to an oracle are oracles.
macro_rules! forward {
    ($pointer:ty) => {
        impl<O: Oracle + ?Sized> Oracle for $pointer {
            fn dim(&self) -> usize {
                (**self).dim()
            }

            fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Error> {
                (**self).moments()
            }

            fn data_estimate_into(
                &self,
                x: &[f64],
                level: &NoiseLevel,
                scratch: &mut Vec<f64>,
                out: &mut [f64],
            ) -> Result<(), Error> {
                (**self).data_estimate_into(x, level, scratch, out)
            }

            fn score_into(
                &self,
                x: &[f64],
                level: &NoiseLevel,
                scratch: &mut Vec<f64>,
                out: &mut [f64],
            ) -> Result<(), Error> {
                (**self).score_into(x, level, scratch, out)
            }

            fn log_density(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
                (**self).log_density(x, level)
            }

            fn posterior_covariance(
                &self,
                x: &[f64],
                level: &NoiseLevel,
            ) -> Result<Array2<f64>, Error> {
                (**self).posterior_covariance(x, level)
            }

            fn posterior_variance(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
                (**self).posterior_variance(x, level)
            }
        }

        impl<O: LabelledOracle + ?Sized> LabelledOracle for $pointer {
            fn labels(&self) -> &[usize] {
                (**self).labels()
            }

            fn label_count(&self) -> usize {
                (**self).label_count()
            }

            fn class_log_posterior(
                &self,
                x: &[f64],
                level: &NoiseLevel,
            ) -> Result<Vec<f64>, Error> {
                (**self).class_log_posterior(x, level)
            }

            fn class_gradient_into(
                &self,
                x: &[f64],
                level: &NoiseLevel,
                label: usize,
                scratch: &mut Vec<f64>,
                out: &mut [f64],
            ) -> Result<(), Error> {
                (**self).class_gradient_into(x, level, label, scratch, out)
            }
        }
    };
}

forward!(&O);
forward!(Box<O>);
forward!(Arc<O>);
