//! Restart sampling around any solver.

use super::repeated::Parts;
use super::{Path, Solver};
use crate::error::{Error, require, require_non_negative, require_positive};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::Plan;

/// Karras et al.'s exponent, by which the knots of a repeated part are spaced.
const KARRAS: f64 = 7.0;

/// Restart sampling: an inner solver, and parts of the path that are run again after noise is added
/// back. Xu et al. (2023), "Restart Sampling for Improving Generative Processes".
///
/// Where a run reaches the knot nearest to ρ_min of an interval, the forward process leads back up to
/// the knot nearest to ρ_max, x_t = (α_t/α_s) x_s + √β_{t|s} z, and the inner solver comes down
/// again, in `steps` steps uniform in ρ^(1/7) between the two; `repeats` times. The noise wipes out
/// errors that the run has gathered, and contracts it to the right distribution; the steps down are
/// as exact as the inner solver's. Up-edges take no evaluation. The order is the inner solver's, for
/// a number of steps that grows in every part.
///
/// A solver with a history starts anew in each part. A noise source that gives each interval of λ
/// once ([`BrownianPath`](crate::noise::BrownianPath)) refuses such a plan when a run is started
/// ([`Error::PathRetraced`]). An interval may begin at the clean end (ρ_min = 0).
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
/// use diffusion_sampler::solver::{Heun, Path, Restart, Solver};
///
/// // AUTOMATIC1111's "Restart" with 30 steps: 21 on the grid, 9 in one repetition.
/// let solver = Restart::of_steps(Heun::new(), 30);
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 30 - solver.extra_steps(), edm.lambda_range(), 7.0)?;
/// let plan = solver.plan(&Path::new(&edm, &grid)?)?;
/// assert_eq!((plan.steps().len(), plan.evaluations()), (31, 59));
/// assert_eq!(plan.steps().iter().filter(|step| step.from.rho() < step.to.rho()).count(), 1);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Restart<S> {
    pub(super) inner: S,
    pub(super) intervals: Vec<Interval>,
    /// A grid of fewer steps is run by the inner solver alone.
    pub(super) least_steps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) rho_min: f64,
    pub(super) rho_max: f64,
    pub(super) repeats: usize,
    pub(super) steps: usize,
}

impl<S: Solver> Restart<S> {
    /// The inner solver alone, until intervals are added.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            intervals: Vec::new(),
            least_steps: 0,
        }
    }

    /// AUTOMATIC1111's choice for `total` steps, with which it runs [`Heun`](super::Heun): the
    /// interval from ρ = 0.1 to 2, once in 9 steps from 20 on, twice in ⌊`total`/4⌋ from 36 on,
    /// none below. The grid gets what is left: `total` − [`extra_steps`](Self::extra_steps).
    pub fn of_steps(inner: S, total: usize) -> Self {
        let (repeats, steps) = match total {
            0..20 => return Self::new(inner),
            20..36 => (1, 9),
            _ => (2, total / 4),
        };
        let interval = Interval {
            rho_min: 0.1,
            rho_max: 2.0,
            repeats,
            steps,
        };
        Self {
            intervals: vec![interval],
            ..Self::new(inner)
        }
    }

    /// The same with one interval more: from the knot nearest to ρ = `rho_min` up to the one nearest
    /// to `rho_max`, then down in `steps` steps, `repeats` times. (ρ = σ/α is what EDM and
    /// k-diffusion call sigma.)
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `rho_min` < `rho_max`, both finite;
    /// [`Error::StepCount`] for no steps or no repeats.
    pub fn with_interval(
        mut self,
        rho_min: f64,
        rho_max: f64,
        repeats: usize,
        steps: usize,
    ) -> Result<Self, Error> {
        require_non_negative("rho_min of a restart", rho_min)?;
        require_positive("rho_max of a restart", rho_max)?;
        require(
            rho_max > rho_min,
            "rho_max of a restart",
            rho_max,
            "greater than rho_min",
        )?;
        for count in [repeats, steps] {
            if count == 0 {
                return Err(Error::StepCount {
                    steps: count,
                    min: 1,
                    max: usize::MAX,
                });
            }
        }
        self.intervals.push(Interval {
            rho_min,
            rho_max,
            repeats,
            steps,
        });
        Ok(self)
    }

    /// The same on grids of at least `steps` steps; shorter ones are run by the inner solver alone, as
    /// they leave no room for an interval.
    #[must_use]
    pub fn on_grids_from(self, steps: usize) -> Self {
        Self {
            least_steps: steps,
            ..self
        }
    }

    /// How many steps down the intervals add to those of the grid ([`usize::MAX`] where no number can
    /// hold them).
    pub fn extra_steps(&self) -> usize {
        let extra = |interval: &Interval| interval.repeats.saturating_mul(interval.steps);
        let extra = self.intervals.iter().map(extra);
        extra.fold(0, usize::saturating_add)
    }
}

impl<S: Solver> Solver for Restart<S> {
    /// # Errors
    ///
    /// The inner solver's; [`Error::InvalidParameter`] where the knots nearest to the ends of an
    /// interval are one, so that there is nothing to repeat; [`Error::PathWithoutSchedule`] and
    /// [`Error::LambdaOutOfRange`] for levels between them; [`Error::NoiseNotDecreasing`] where an
    /// interval has not as many levels in f64 as steps; [`Error::StepCount`] for a plan of more
    /// than 2²⁴ steps; [`Error::GivenHistory`] for an inner solver whose plans need given slots.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let grid = path.grid();
        if grid.steps() < self.least_steps || self.intervals.is_empty() {
            return self.inner.plan(path);
        }
        let mut places = self
            .intervals
            .iter()
            .map(|interval| interval.place(grid.levels()))
            .all_listed()?;
        places.sort_by_key(|place| place.low);
        let ups = self.intervals.iter().map(|interval| interval.repeats);
        let steps = ups.fold(self.extra_steps(), usize::saturating_add);
        let mut parts = Parts::of(steps.saturating_add(grid.steps()))?;
        let mut at = 0;
        for place in places {
            if place.low > at {
                let section = grid.section(at..place.low)?;
                parts.down(&self.inner.plan(&path.on(&section))?)?;
                at = place.low;
            }
            let again = place.knots(path)?;
            let down = self.inner.plan(&path.on(&again))?;
            for _ in 0..place.interval.repeats {
                parts.up(again.end(), again.start())?;
                parts.down(&down)?;
            }
        }
        if at < grid.steps() {
            let section = grid.section(at..grid.steps())?;
            parts.down(&self.inner.plan(&path.on(&section))?)?;
        }
        parts.whole()
    }

    fn order(&self) -> usize {
        self.inner.order()
    }
}

/// An interval on a grid: its knots by number, `high` before `low`.
struct Place {
    interval: Interval,
    high: usize,
    low: usize,
}

impl Interval {
    fn place(&self, levels: &[NoiseLevel]) -> Result<Place, Error> {
        let nearest = |rho: f64| {
            let distance = |level: &NoiseLevel| (level.rho() - rho).abs();
            let knots = levels.iter().enumerate();
            knots
                .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)))
                .map_or(0, |(knot, _)| knot)
        };
        let (high, low) = (nearest(self.rho_max), nearest(self.rho_min));
        require(
            high < low,
            "rho_max of a restart",
            self.rho_max,
            "nearest to a knot above the one nearest to rho_min",
        )?;
        Ok(Place {
            interval: *self,
            high,
            low,
        })
    }
}

impl Place {
    /// From the noisy knot down to the other, uniform in ρ^(1/7).
    fn knots(&self, path: &Path<'_>) -> Result<Grid, Error> {
        let levels = path.grid().levels();
        let (high, low) = (levels[self.high], levels[self.low]);
        let steps = self.interval.steps;
        let root = |level: NoiseLevel| libm::pow(level.rho(), 1.0 / KARRAS);
        let (from, to) = (root(high), root(low));
        let between = (1..steps).map(|k| {
            let ramp = from + (to - from) * (k as f64 / steps as f64);
            path.at_lambda(-KARRAS * libm::log(ramp))
        });
        let knots = std::iter::once(Ok(high))
            .chain(between)
            .chain(std::iter::once(Ok(low)));
        Grid::from_levels(knots.all_listed()?, path.grid().start_variance())
    }
}
