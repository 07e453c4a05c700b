//! Spacings in λ and in ρ.

use super::{Grid, MAX_STEPS};
use crate::error::{Error, require_all, require_positive};
use crate::schedule::{LambdaRange, NoiseSchedule};

impl Grid {
    /// K levels uniform in λ = ln(α/σ) over `range`, then clean; one step goes from the noisy end
    /// straight to clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] at 0 or more than 2²⁴ steps, [`Error::UnboundedLambda`] where an end of
    /// `range` is infinite, [`Error::LambdaOutOfRange`] where the schedule does not reach it.
    pub fn uniform_lambda(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
    ) -> Result<Self, Error> {
        Self::exponential(schedule, steps, range, 1.0)
    }

    /// K levels with ρ^(1/`exponent`) uniform over `range`, then clean (Karras et al. 2022,
    /// exponent 7).
    ///
    /// # Errors
    ///
    /// As [`uniform_lambda`](Self::uniform_lambda), and [`Error::InvalidParameter`] unless
    /// `exponent` is positive and finite.
    pub fn karras(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        exponent: f64,
    ) -> Result<Self, Error> {
        require_positive("exponent", exponent)?;
        // −p ln(a + (b − a)u) with a = e^(−λ_noisy/p), b = e^(−λ_clean/p), divided by a under the
        // logarithm: nothing overflows for any exponent.
        let drop = libm::expm1((range.noisy() - range.clean()) / exponent);
        Self::of_ramp(schedule, steps, range, |u| {
            range.noisy() - exponent * libm::log1p(drop * u)
        })
    }

    /// K levels with λ = λ_clean − (λ_clean − λ_noisy)(1 − u)^`power`, u uniform from 0 to 1, then
    /// clean: k-diffusion's (poly)exponential ramp of ρ. Power 1 is uniform in λ.
    ///
    /// # Errors
    ///
    /// As [`karras`](Self::karras).
    pub fn exponential(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        power: f64,
    ) -> Result<Self, Error> {
        require_positive("power", power)?;
        let span = range.clean() - range.noisy();
        Self::of_ramp(schedule, steps, range, |u| {
            range.clean() - span * libm::pow(1.0 - u, power)
        })
    }

    /// Any λ's of the schedule, strictly increasing; +∞ is clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::LambdaOutOfRange`],
    /// [`Error::NoiseNotDecreasing`].
    pub fn from_lambdas(schedule: &dyn NoiseSchedule, lambdas: &[f64]) -> Result<Self, Error> {
        let own = schedule.lambda_range();
        Self::of_times_checked(
            schedule,
            lambdas
                .iter()
                .map(|&lambda| schedule.time_of_lambda(own.snap(lambda))),
        )
    }

    /// Any ρ = σ/α of the schedule, strictly decreasing; 0 is clean. EDM and k-diffusion call ρ
    /// sigma.
    ///
    /// # Errors
    ///
    /// As [`from_lambdas`](Self::from_lambdas), and [`Error::InvalidEntry`] for a ρ that is
    /// negative or not a number.
    pub fn from_rhos(schedule: &dyn NoiseSchedule, rhos: &[f64]) -> Result<Self, Error> {
        require_all("rhos", rhos, |_, rho| rho >= 0.0, "at least 0")?;
        let lambdas: Vec<f64> = rhos.iter().map(|&rho| -libm::log(rho)).collect();
        Self::from_lambdas(schedule, &lambdas)
    }

    /// K levels at λ(u), u = 0..1, then clean. The ends are the range's own, exactly.
    fn of_ramp(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        ramp: impl Fn(f64) -> f64,
    ) -> Result<Self, Error> {
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(Error::StepCount {
                steps,
                min: 1,
                max: MAX_STEPS,
            });
        }
        if !(range.noisy().is_finite() && range.clean().is_finite()) {
            return Err(Error::UnboundedLambda {
                noisy: range.noisy(),
                clean: range.clean(),
            });
        }
        let own = schedule.lambda_range();
        let lambdas = (0..=steps).map(|k| match k {
            0 => range.noisy(),
            k if k == steps => f64::INFINITY,
            k if k == steps - 1 => range.clean(),
            k => ramp(k as f64 / (steps - 1) as f64),
        });
        Self::of_times_checked(
            schedule,
            lambdas.map(|lambda| schedule.time_of_lambda(own.snap(lambda))),
        )
    }
}
