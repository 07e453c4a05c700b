//! The ends of a ramp, and what it is a ramp of.

use crate::error::{Error, require, require_positive};
use crate::schedule::{LambdaRange, NoiseSchedule};
use crate::special::softplus;

/// The range of noise that a ramp covers, and the measure in which it is laid: what other libraries
/// call sigma.
///
/// | made by | what falls from `max` to `min` |
/// |---|---|
/// | [`rhos`](Self::rhos), a [`LambdaRange`] | ρ = σ/α: k-diffusion's and EDM's sigma |
/// | [`flow`](Self::flow) | σ/(α + σ) = ρ/(1 + ρ): the sigma of a flow, in 0..1; 1 is pure noise |
/// | [`of`](Self::of) | the one of the two that is the schedule's own |
///
/// The same formula gives another grid in the other measure. ComfyUI and diffusers apply theirs to
/// the flow's sigma when the model is a flow, and to ρ otherwise.
///
/// ```
/// use diffusion_sampler::{Grid, grid::SigmaRange, schedule::{RectifiedFlow, Sublevels}};
///
/// let flow = RectifiedFlow::new();
/// // As ComfyUI has it: from pure noise to the least noisy of 1000 levels.
/// let range = SigmaRange::of(&Sublevels::of(flow, 1000)?)?;
/// let grid = Grid::karras(&flow, 8, range, 7.0)?;
/// assert_eq!(grid.start().sigma(), 1.0);
/// assert!((grid.levels()[7].sigma() - 0.001).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("sigma_min", "sigma_max"))]
pub struct SigmaRange {
    measure: Measure,
    /// ln of the measure at the noisy and at the clean end.
    logs: (f64, f64),
    lambdas: LambdaRange,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Rho,
    Flow,
}

impl SigmaRange {
    /// ρ = σ/α from `max` down to `min`: σ_max and σ_min of k-diffusion and EDM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `min` < `max`, both finite.
    pub fn rhos(max: f64, min: f64) -> Result<Self, Error> {
        Ok(LambdaRange::of_rhos(max, min)?.into())
    }

    /// σ/(α + σ) from `max` down to `min`: σ of a flow; 1 is pure noise.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `min` < `max` ≤ 1.
    pub fn flow(max: f64, min: f64) -> Result<Self, Error> {
        require_positive("largest flow sigma", max)?;
        require(max <= 1.0, "largest flow sigma", max, "at most 1")?;
        require(
            min > 0.0 && min < max,
            "smallest flow sigma",
            min,
            "positive and less than the largest",
        )?;
        let lambda = |sigma: f64| libm::log1p(-sigma) - libm::log(sigma);
        Ok(Self {
            measure: Measure::Flow,
            logs: (libm::log(max), libm::log(min)),
            lambdas: LambdaRange::new(lambda(max), lambda(min))?,
        })
    }

    /// From the last time of a schedule to its least noisy level, in its own measure: the flow's
    /// sigma where α + σ = 1, ρ elsewhere.
    ///
    /// The least noisy level is that of [`lambda_range`](NoiseSchedule::lambda_range), or, where
    /// that is clean, knot 1 of the table: a continuous schedule needs
    /// [`Sublevels`](crate::schedule::Sublevels).
    ///
    /// # Errors
    ///
    /// [`Error::UnboundedLambda`] where there is no least noisy level; those of the schedule.
    pub fn of(schedule: &dyn NoiseSchedule) -> Result<Self, Error> {
        let own = schedule.lambda_range();
        let clean = match schedule.table_len() {
            _ if own.clean().is_finite() => own.clean(),
            Some(_) => schedule.level(schedule.knot_time(1.0)?)?.lambda(),
            None => {
                return Err(Error::UnboundedLambda {
                    noisy: own.noisy(),
                    clean: own.clean(),
                });
            }
        };
        let lambdas = LambdaRange::new(own.noisy(), clean)?;
        if !is_flow(schedule)? {
            return Ok(lambdas.into());
        }
        // ln of 1/(1 + e^λ).
        let log = |lambda: f64| -softplus(lambda);
        Ok(Self {
            measure: Measure::Flow,
            logs: (log(lambdas.noisy()), log(lambdas.clean())),
            lambdas,
        })
    }

    /// λ at the two ends.
    pub fn lambdas(&self) -> LambdaRange {
        self.lambdas
    }

    /// ln of the measure at the noisy and the clean end.
    pub(super) fn logs(&self) -> (f64, f64) {
        self.logs
    }

    /// The measure at the noisy and the clean end.
    pub(super) fn ends(&self) -> (f64, f64) {
        (libm::exp(self.logs.0), libm::exp(self.logs.1))
    }

    /// λ where ln of the measure is `log`; −∞ from pure noise on, which no second knot can be.
    pub(super) fn lambda_of_log(&self, log: f64) -> f64 {
        match self.measure {
            Measure::Rho => -log,
            Measure::Flow if log >= 0.0 => f64::NEG_INFINITY,
            Measure::Flow => libm::log(-libm::expm1(log)) - log,
        }
    }

    /// λ where the measure is `value`.
    pub(super) fn lambda_of(&self, value: f64) -> f64 {
        match self.measure {
            Measure::Rho => -libm::log(value),
            // Equivalent mutant: replace match guard value >= 1.0 with false: the formula is −∞ at 1
            // too, and no share of ν_max ≤ 1 is more.
            Measure::Flow if value >= 1.0 => f64::NEG_INFINITY,
            Measure::Flow => libm::log1p(-value) - libm::log(value),
        }
    }
}

/// A range of ρ = e^−λ.
impl From<LambdaRange> for SigmaRange {
    fn from(lambdas: LambdaRange) -> Self {
        Self {
            measure: Measure::Rho,
            logs: (-lambdas.noisy(), -lambdas.clean()),
            lambdas,
        }
    }
}

/// Whether a schedule is a flow, α + σ = 1: at the middle of its time, where no other schedule has
/// this sum.
fn is_flow(schedule: &dyn NoiseSchedule) -> Result<bool, Error> {
    let middle = schedule.level(0.5 * schedule.last_time())?;
    // Equivalent mutant: replace < with <= (2): no schedule is that near to a flow and none.
    Ok(middle.alpha() < 1.0 && (middle.alpha() + middle.sigma() - 1.0).abs() < 1e-12)
}
