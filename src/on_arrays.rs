//! The posterior and the predictions on arrays. Their scalars are in `posterior.rs` and
//! `prediction.rs`, which name no arrays.

use ndarray::{ArrayRef, Dimension};

use crate::apply::{affine, apply, batch_of};
use crate::error::Error;
use crate::kernel;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::noise::{Demand, Interval, NoiseSource, StepNoise, Stream};
use crate::posterior::StridedPosterior;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::special::LOG_TAU;

impl Prediction {
    /// The training target in place: `noise`, which holds ε, becomes what the network should return
    /// for x_t = αx₀ + σε, with one level for the batch or one per sample.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Prediction};
    /// use ndarray::array;
    ///
    /// let (data, mut target) = (array![[0.5f64]], array![[2.0]]);
    /// let levels = [NoiseLevel::new(0.3, 0.7, 0.3)?];
    /// Prediction::Flow.target_in_place(&mut target, &data, &levels)?;
    /// assert_eq!(target[[0, 0]], 1.5);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`target`](Self::target) and [`diffuse_with`](crate::forward::diffuse_with).
    pub fn target_in_place<A: Real, D: Dimension>(
        &self,
        noise: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
        levels: &[NoiseLevel],
    ) -> Result<(), Error> {
        let forms = levels
            .iter()
            .map(|level| {
                let target = self.target(level)?;
                Ok(affine(target.noise, target.data, 0.0))
            })
            .all_listed()?;
        apply(&forms, noise, &[data], None).map(drop)
    }

    /// Converts a model's output in place to another prediction: o ← a·o + b·x, with one level for
    /// the batch or one per sample.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Prediction};
    /// use ndarray::array;
    ///
    /// let levels = [NoiseLevel::new(0.3, 0.8, 0.6)?];
    /// // x = 0.8 x₀ + 0.6 ε with x₀ = 0.5 and ε = 2.
    /// let (x, mut output) = (array![[1.6f64]], array![[2.0]]);
    /// Prediction::Noise.convert_in_place(&mut output, &x, Prediction::Data, &levels)?;
    /// assert!((output[[0, 0]] - 0.5).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`convert_to`](Self::convert_to) and [`diffuse_with`](crate::forward::diffuse_with).
    pub fn convert_in_place<A: Real, D: Dimension>(
        &self,
        output: &mut ArrayRef<A, D>,
        x: &ArrayRef<A, D>,
        target: Prediction,
        levels: &[NoiseLevel],
    ) -> Result<(), Error> {
        let forms = levels
            .iter()
            .map(|level| {
                let linear = self.convert_to(target, level)?;
                Ok(affine(linear.output, linear.x, 0.0))
            })
            .all_listed()?;
        apply(&forms, output, &[x], None).map(drop)
    }
}

impl StridedPosterior {
    /// The mean of q(x_s | x_t, x₀) in place: `x` holds x_t and becomes c_t x_t + c_0 x₀.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`].
    pub fn mean_in_place<A: Real, D: Dimension>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
    ) -> Result<(), Error> {
        let form = affine(self.state_coefficient(), self.data_coefficient(), 0.0);
        apply(&[form], x, &[data], None).map(drop)
    }

    /// A sample of q(x_s | x_t, x₀) in place: `x` holds x_t and becomes x_s. `step` keys the noise,
    /// which is that of a run's step of this number.
    ///
    /// # Errors
    ///
    /// As [`mean_in_place`](Self::mean_in_place); what the source's [`check`](NoiseSource::check)
    /// refuses.
    pub fn sample_in_place<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        let q = self.transition();
        let intervals = [Interval::new(self.from().lambda(), self.to().lambda())];
        let (samples, elements) = batch_of(x)?;
        let noisy = &intervals[..usize::from(q.noise != 0.0)];
        let steps = u64::from(step)..u64::from(step) + noisy.len() as u64;
        noise.check(
            &Demand::batch(samples, elements, steps, Stream::Step(0)).with_intervals(noisy),
        )?;
        let mut fill = StepNoise::new(noise, step, Stream::Step(0), &intervals);
        let form = affine(q.state, q.data, q.noise);
        apply(&[form], x, &[data], Some(&mut fill)).map(drop)
    }

    /// ln q(x_s | x_t, x₀) of every sample, in nats.
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0, where there is no density; as
    /// [`mean_in_place`](Self::mean_in_place).
    pub fn log_density<A: Real, D: Dimension>(
        &self,
        x_s: &ArrayRef<A, D>,
        x_t: &ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
    ) -> Result<Vec<f64>, Error> {
        if self.gamma() == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from().time(),
                to: self.to().time(),
            });
        }
        let terms = [
            (self.state_coefficient(), x_t),
            (self.data_coefficient(), data),
        ];
        let mut values = kernel::squared_residuals(x_s, &terms)?;
        let dim = x_s.len() / values.len().max(1);
        // From γ, not from γ², which underflows first.
        let norm = dim as f64 * (0.5 * LOG_TAU + libm::log(self.gamma()));
        for value in &mut values {
            *value = -0.5 * (*value / self.gamma()) / self.gamma() - norm;
        }
        Ok(values)
    }
}
