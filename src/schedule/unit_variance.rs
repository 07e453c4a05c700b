//! Any schedule, rescaled to α² + σ² = 1.

use super::{LambdaRange, NoiseSchedule};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::special::softplus;

/// A schedule rescaled to α² + σ² = 1, with the same ρ = σ/α at every time: α' = 1/√(1 + ρ²), σ' =
/// ρ/√(1 + ρ²).
///
/// A network that was trained variance-preserving sees x' = x/√(α² + σ²): what diffusers' Euler
/// classes call scaling the model's input. As a schedule of its own, predictions and guidance need
/// no further scaling, and a run starts from N(0, I).
///
/// Stable Video Diffusion is `UnitVariance::of(Edm::new(0.002, 700.0)?).with_edm_noise()`, a v
/// prediction: ρ to 700, time ¼ ln ρ.
///
/// Times and [tables](NoiseSchedule::table_len) are the schedule's. So is the network's
/// [`model_time`](NoiseLevel::model_time), unless it is ¼ ln ρ:
/// [`with_edm_noise`](Self::with_edm_noise).
///
/// ```
/// use diffusion_sampler::schedule::{Edm, NoiseSchedule, UnitVariance};
///
/// let level = UnitVariance::of(Edm::default()).level(0.75)?;
/// assert!((level.alpha() - 0.8).abs() < 1e-15 && (level.sigma() - 0.6).abs() < 1e-15);
/// assert_eq!((level.time(), level.model_time()), (0.75, 0.75));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("scale_model_input", "variance preserving"))]
pub struct UnitVariance<S> {
    pub(super) schedule: S,
    pub(super) edm_noise: bool,
}

impl<S: NoiseSchedule> UnitVariance<S> {
    /// The schedule, rescaled; a reference to a schedule is one too.
    pub fn of(schedule: S) -> Self {
        Self {
            schedule,
            edm_noise: false,
        }
    }

    /// The same with the network's time ¼ ln ρ = −λ/4, EDM's c_noise
    /// ([`Prediction::edm_noise`](crate::Prediction::edm_noise)); it is −∞ at the clean end, where
    /// no network is asked. `timestep_type` "continuous" of configuration files.
    #[must_use]
    pub fn with_edm_noise(self) -> Self {
        Self {
            edm_noise: true,
            ..self
        }
    }

    /// The schedule as it was.
    pub fn schedule(&self) -> &S {
        &self.schedule
    }

    fn rescaled(&self, level: NoiseLevel) -> NoiseLevel {
        let lambda = level.lambda();
        let model_time = match self.edm_noise {
            true => -0.25 * lambda,
            false => level.model_time(),
        };
        // What has unit variance already keeps its λ to the bit: a table's knots are found by it.
        if (level.marginal_variance(1.0) - 1.0).abs() <= 4.0 * f64::EPSILON {
            return level.with_model_time(model_time);
        }
        let norm = libm::hypot(level.alpha(), level.sigma());
        let values = (level.alpha() / norm, level.sigma() / norm);
        // ln α' = −½ ln(1 + e^−2λ), ln σ' = −½ ln(1 + e^2λ); 0 −, so that ln 1 is not −0.
        let log = |x: f64| 0.0 - 0.5 * softplus(x);
        let logs = (log(-2.0 * lambda), log(2.0 * lambda));
        NoiseLevel::from_parts(level.time(), values, logs).with_model_time(model_time)
    }

    /// λ of the rescaled level at the schedule's λ: the same but for rounding.
    fn own(&self, lambda: f64) -> f64 {
        let rescaled = self
            .schedule
            .time_of_lambda(lambda)
            .and_then(|time| self.level(time));
        rescaled.map_or(lambda, |level| level.lambda())
    }
}

impl<S: NoiseSchedule> NoiseSchedule for UnitVariance<S> {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        Ok(self.rescaled(self.schedule.level(time)?))
    }

    fn last_time(&self) -> f64 {
        self.schedule.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        let (own, inner) = (self.lambda_range(), self.schedule.lambda_range());
        if lambda == own.noisy() {
            return Ok(self.last_time());
        }
        if lambda == own.clean() {
            return self.schedule.time_of_lambda(inner.clean());
        }
        LambdaRange::up_to_clean(own.noisy())?.check(lambda)?;
        self.schedule.time_of_lambda(inner.snap(lambda))
    }

    fn lambda_range(&self) -> LambdaRange {
        let inner = self.schedule.lambda_range();
        let last = self.level(self.last_time());
        LambdaRange {
            noisy: last.map_or(inner.noisy(), |level| level.lambda()),
            clean: self.own(inner.clean()),
        }
    }

    fn table_len(&self) -> Option<usize> {
        self.schedule.table_len()
    }

    fn knot_time(&self, knot: f64) -> Result<f64, Error> {
        self.schedule.knot_time(knot)
    }

    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        Ok(self.rescaled(self.schedule.knot_level(knot)?))
    }
}
