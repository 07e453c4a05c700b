//! Spacings in λ and in ρ.

use super::ramps::Noisy;
use super::{Grid, SigmaRange};
use crate::error::{Error, require_all, require_positive};
use crate::memory::Listed;
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

    /// K levels with ν^(1/`exponent`) uniform over `range`, then clean; ν is the range's measure, ρ
    /// or a flow's sigma (Karras et al. 2022, ρ with exponent 7).
    ///
    /// # Errors
    ///
    /// As [`uniform_lambda`](Self::uniform_lambda), and [`Error::InvalidParameter`] unless
    /// `exponent` is positive and finite.
    #[doc(alias("get_sigmas_karras", "use_karras_sigmas"))]
    pub fn karras(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        exponent: f64,
    ) -> Result<Self, Error> {
        require_positive("exponent", exponent)?;
        let range = range.into();
        let (noisy, clean) = range.logs();
        // ln ν = p ln(a + (b − a)u) with a = ν_max^(1/p), b = ν_min^(1/p), divided by a under the
        // logarithm: nothing overflows for any exponent.
        let drop = libm::expm1((clean - noisy) / exponent);
        Self::of_ramp(schedule, steps, range, Noisy::Finite, |u| {
            range.lambda_of_log(noisy + exponent * libm::log1p(drop * u))
        })
    }

    /// K levels with ln ν = ln ν_min + (ln ν_max − ln ν_min)(1 − u)^`power`, u uniform from 0 to 1,
    /// then clean; ν is the range's measure, ρ or a flow's sigma.
    ///
    /// Power 1 is geometric: k-diffusion's `get_sigmas_exponential` (in ρ uniform in λ), and EDM's
    /// "VE" discretisation. Any other is its `get_sigmas_polyexponential`.
    ///
    /// # Errors
    ///
    /// As [`karras`](Self::karras).
    #[doc(alias("polyexponential", "use_exponential_sigmas"))]
    #[doc(alias("get_sigmas_exponential", "get_sigmas_polyexponential"))]
    pub fn exponential(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        power: f64,
    ) -> Result<Self, Error> {
        require_positive("power", power)?;
        let range = range.into();
        let (noisy, clean) = range.logs();
        Self::of_ramp(schedule, steps, range, Noisy::Finite, |u| {
            range.lambda_of_log(clean + (noisy - clean) * libm::pow(1.0 - u, power))
        })
    }

    /// Any λ's of the schedule, strictly increasing; +∞ is clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::LambdaOutOfRange`],
    /// [`Error::NoiseNotDecreasing`].
    pub fn from_lambdas(schedule: &dyn NoiseSchedule, lambdas: &[f64]) -> Result<Self, Error> {
        Self::of_lambdas(schedule, lambdas.iter().copied())
    }

    /// Any ρ = σ/α of the schedule, strictly decreasing; 0 is clean. EDM and k-diffusion call ρ
    /// sigma.
    ///
    /// # Errors
    ///
    /// As [`from_lambdas`](Self::from_lambdas), and [`Error::InvalidEntry`] for a ρ that is
    /// negative or not a number.
    #[doc(alias("sigmas", "append_zero"))]
    pub fn from_rhos(schedule: &dyn NoiseSchedule, rhos: &[f64]) -> Result<Self, Error> {
        require_all("rhos", rhos, |_, rho| rho >= 0.0, "at least 0")?;
        let lambdas: Vec<f64> = rhos.iter().map(|&rho| -libm::log(rho)).listed()?;
        Self::from_lambdas(schedule, &lambdas)
    }

    /// Any σ/(α + σ) of the schedule, strictly decreasing, in 0..1: what flow models call sigma. 1
    /// is pure noise, 0 is clean. The list need not be a flow's schedule's: ρ = s/(1 − s).
    ///
    /// On an unshifted flow the levels have the given σ to the bit, and α = 1 − σ: give lists that
    /// are shifted already to [`RectifiedFlow::new`](crate::schedule::RectifiedFlow::new). On any
    /// other schedule σ is that of the nearest time. [`FlowSigmas`](super::FlowSigmas) makes the
    /// lists that libraries have.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::from_flow_sigmas(&RectifiedFlow::new(), &[1.0, 0.75, 0.25, 0.0])?;
    /// assert_eq!((grid.levels()[1].alpha(), grid.levels()[1].sigma()), (0.25, 0.75));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_lambdas`](Self::from_lambdas), and [`Error::InvalidEntry`] for a value outside 0
    /// to 1.
    #[doc(alias = "sigmas")]
    pub fn from_flow_sigmas(schedule: &dyn NoiseSchedule, sigmas: &[f64]) -> Result<Self, Error> {
        let within = |_, sigma: f64| (0.0..=1.0).contains(&sigma);
        require_all("flow sigmas", sigmas, within, "between 0 and 1")?;
        let times = sigmas
            .iter()
            .map(|&sigma| schedule.time_of_flow_sigma(sigma));
        Self::of_times_checked(schedule, times)
    }
}
