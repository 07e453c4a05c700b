//! A continuous schedule seen as a table.

use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::{Error, require_positive};
use crate::level::NoiseLevel;

/// A schedule with a table of n of its levels: what the spacings over network indices (leading,
/// linspace, simple, SGM-uniform …) need, and a continuous schedule has not.
///
/// Levels and times stay the schedule's own, so that a grid made with this is a grid of the
/// schedule itself. Only the knots are added, numbered from the clean end, 1 to n:
///
/// | schedule | knot k |
/// |---|---|
/// | a table | its own, whatever n is |
/// | finite λ at both ends (EDM, VE) | λ uniform: knot 1 at the clean end of [`lambda_range`](NoiseSchedule::lambda_range), knot n at the noisy one |
/// | any other (flow, VP in continuous time) | time k T/n, T the last time |
///
/// With n = 1000 these are the tables that ComfyUI makes for its EDM and flow models
/// (`ModelSamplingContinuousEDM`, `ModelSamplingDiscreteFlow`).
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{RectifiedFlow, Sublevels}};
///
/// let flow = RectifiedFlow::shifted(3.0)?;
/// let grid = Grid::simple(&Sublevels::of(flow, 1000)?, 4)?;
/// let times: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
/// assert_eq!(times, [1.0, 0.75, 0.5, 0.25, 0.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sublevels<S> {
    pub(super) schedule: S,
    pub(super) count: usize,
}

/// The most knots: what a grid can have steps.
const MAX_COUNT: usize = 1 << 24;

impl<S: NoiseSchedule> Sublevels<S> {
    /// The schedule with a table of `count` levels; a reference to a schedule is one too.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `count` ≤ 2²⁴; [`Error::InvalidParameter`] where the noise of
    /// knot 1 underflows, as knot 0 is the clean one; and the errors of the schedule.
    pub fn of(schedule: S, count: usize) -> Result<Self, Error> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::StepCount {
                steps: count,
                min: 1,
                max: MAX_COUNT,
            });
        }
        let table = Self { schedule, count };
        let sigma = table.knot_level(1.0)?.sigma();
        require_positive("noise of knot 1", sigma)?;
        Ok(table)
    }

    /// The schedule.
    pub fn schedule(&self) -> &S {
        &self.schedule
    }
}

impl<S: NoiseSchedule> NoiseSchedule for Sublevels<S> {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        self.schedule.level(time)
    }

    fn last_time(&self) -> f64 {
        self.schedule.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.schedule.time_of_lambda(lambda)
    }

    fn time_of_flow_sigma(&self, sigma: f64) -> Result<f64, Error> {
        self.schedule.time_of_flow_sigma(sigma)
    }

    fn lambda_range(&self) -> LambdaRange {
        self.schedule.lambda_range()
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        self.schedule.start_variance(level)
    }

    fn table_len(&self) -> Option<usize> {
        Some(self.schedule.table_len().unwrap_or(self.count))
    }

    fn knot_time(&self, knot: f64) -> Result<f64, Error> {
        let last = self.count as f64;
        let (noisy, clean) = (self.lambda_range().noisy(), self.lambda_range().clean());
        if self.schedule.table_len().is_some() {
            return self.schedule.knot_time(knot);
        }
        check_time(knot, last)?;
        if knot == 0.0 {
            Ok(0.0)
        } else if knot == last {
            Ok(self.last_time())
        } else if noisy.is_finite() && clean.is_finite() {
            // Exact at knot 1; at the last it was taken above.
            let share = (knot - 1.0) / (last - 1.0);
            self.time_of_lambda(clean + (noisy - clean) * share)
        } else {
            Ok(self.last_time() * (knot / last))
        }
    }

    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        if self.schedule.table_len().is_some() {
            return self.schedule.knot_level(knot);
        }
        self.level(self.knot_time(knot)?)
    }
}
