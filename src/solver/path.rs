//! What a solver plans along: a schedule and a grid.

use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::schedule::NoiseSchedule;

/// What a solver plans along: the knots of a grid, and the schedule between them.
///
/// A solver that needs levels off the grid (midpoints, churned levels) asks
/// [`at_lambda`](Self::at_lambda) or [`at_time`](Self::at_time). A grid of bare levels has no
/// schedule ([`without_schedule`](Self::without_schedule)); there both refuse.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::VariancePreserving, solver::Path};
///
/// let schedule = VariancePreserving::default();
/// let grid = Grid::trailing(&schedule, 4)?;
/// let path = Path::new(&schedule, &grid)?;
/// let (from, to) = path.edges().next().expect("a grid has an edge");
/// let middle = path.at_lambda(0.5 * (from.lambda() + to.lambda()))?;
/// assert!(middle.time() < from.time() && middle.time() > to.time());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    schedule: Option<&'a dyn NoiseSchedule>,
    grid: &'a Grid,
}

/// How far λ of a knot may lie from the schedule's at the same time, relative to max(1, |λ|):
/// a thousand times what rounding makes of a table.
const SAME_LAMBDA: f64 = 1e-9;

impl<'a> Path<'a> {
    /// The path of a grid that was made from `schedule`.
    ///
    /// # Errors
    ///
    /// [`Error::ScheduleMismatch`] where a knot of the grid is not the schedule's level at its
    /// time.
    pub fn new(schedule: &'a dyn NoiseSchedule, grid: &'a Grid) -> Result<Self, Error> {
        for knot in grid.levels() {
            let mismatch = |found: f64| Error::ScheduleMismatch {
                time: knot.time(),
                grid_lambda: knot.lambda(),
                schedule_lambda: found,
            };
            let own = schedule
                .level(knot.time())
                .map_err(|_| mismatch(f64::NAN))?;
            // Of the same λ, but of another scale, is another schedule too.
            let near = |own: f64, knot: f64| {
                own == knot || (own - knot).abs() <= SAME_LAMBDA * own.abs().max(1.0)
            };
            if !(near(own.lambda(), knot.lambda()) && near(own.log_alpha(), knot.log_alpha())) {
                return Err(mismatch(own.lambda()));
            }
        }
        Ok(Self {
            schedule: Some(schedule),
            grid,
        })
    }

    /// The path of a grid of bare levels, of no schedule or of several.
    pub fn without_schedule(grid: &'a Grid) -> Self {
        Self {
            schedule: None,
            grid,
        }
    }

    /// The grid.
    pub fn grid(&self) -> &'a Grid {
        self.grid
    }

    /// The edges (from, to), from the noisy end.
    pub fn edges(
        &self,
    ) -> impl ExactSizeIterator<Item = (NoiseLevel, NoiseLevel)> + DoubleEndedIterator + 'a {
        self.grid.levels().windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// The schedule's level at λ = ln(α/σ), on the grid or off it.
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`]; [`Error::PathWithoutSchedule`] where there is none.
    pub fn at_lambda(&self, lambda: f64) -> Result<NoiseLevel, Error> {
        let schedule = self.schedule.ok_or(Error::PathWithoutSchedule { lambda })?;
        schedule.level(schedule.time_of_lambda(lambda)?)
    }

    /// The schedule's level at a time, on the grid or off it.
    ///
    /// ```
    /// use diffusion_sampler::{Error, Grid, schedule::RectifiedFlow, solver::Path};
    ///
    /// let flow = RectifiedFlow::new();
    /// let grid = Grid::trailing(&flow, 4)?;
    /// assert_eq!(Path::new(&flow, &grid)?.at_time(0.3)?.sigma(), 0.3);
    /// let refused = Path::without_schedule(&grid).at_time(0.3);
    /// assert_eq!(refused, Err(Error::TimeWithoutSchedule { time: 0.3 }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`]; [`Error::TimeWithoutSchedule`] where there is none.
    pub fn at_time(&self, time: f64) -> Result<NoiseLevel, Error> {
        let schedule = self.schedule.ok_or(Error::TimeWithoutSchedule { time })?;
        schedule.level(time)
    }

    /// The level at a fraction of the schedule from its least noisy level to the noisiest: in index
    /// on a table, in λ where α is 1, elsewhere in time.
    pub(super) fn at_fraction(&self, fraction: f64) -> Result<NoiseLevel, Error> {
        let schedule = self.schedule()?;
        if let Some(knots) = schedule.table_len() {
            let knot = 1.0 + fraction * (knots as f64 - 1.0);
            return schedule.level(schedule.knot_time(knot)?);
        }
        let last = schedule.level(schedule.last_time())?;
        let range = schedule.lambda_range();
        if last.alpha() == 1.0 && range.clean().is_finite() {
            let lambda = range.clean() + fraction * (range.noisy() - range.clean());
            return self.at_lambda(lambda.clamp(range.noisy(), range.clean()));
        }
        schedule.level(fraction * schedule.last_time())
    }

    /// The network's times: their number on a table, elsewhere the largest one, which a network
    /// that counts from noise to data has at the clean end.
    pub(super) fn model_times(&self) -> Result<f64, Error> {
        let schedule = self.schedule()?;
        match schedule.table_len() {
            Some(knots) => Ok(knots as f64),
            None => {
                let ends = (schedule.level(schedule.last_time())?, schedule.level(0.0)?);
                Ok(ends.0.model_time().max(ends.1.model_time()))
            }
        }
    }

    fn schedule(&self) -> Result<&'a dyn NoiseSchedule, Error> {
        let time = self.grid.start().time();
        self.schedule.ok_or(Error::TimeWithoutSchedule { time })
    }

    /// Whether the schedule is a table, whose times are the network's indices + 1.
    pub(super) fn is_table(&self) -> bool {
        self.schedule
            .is_some_and(|schedule| schedule.table_len().is_some())
    }

    /// The path of another grid of levels of the same schedule.
    pub(super) fn on<'b>(&self, grid: &'b Grid) -> Path<'b>
    where
        'a: 'b,
    {
        Path {
            schedule: self.schedule,
            grid,
        }
    }

    /// The last knot that is not clean.
    pub(crate) fn last_noisy(&self) -> NoiseLevel {
        let knots = self.grid.levels();
        let last = knots.iter().rev().find(|knot| !knot.is_clean());
        *last.unwrap_or(&knots[0])
    }

    /// The schedule's level at λ, or `knot` where λ is its own to rounding.
    pub(super) fn near(&self, lambda: f64, knot: NoiseLevel) -> Result<NoiseLevel, Error> {
        let own = knot.lambda();
        if (lambda - own).abs() <= 1e-13 * own.abs().max(1.0) {
            return Ok(knot);
        }
        self.at_lambda(lambda)
    }

    /// λ at the schedule's noisy end; `lambda` is what the caller wants there.
    pub(super) fn noisiest(&self, lambda: f64) -> Result<f64, Error> {
        let schedule = self.schedule.ok_or(Error::PathWithoutSchedule { lambda })?;
        Ok(schedule.lambda_range().noisy())
    }
}

#[cfg(test)]
mod tests {
    use super::Path;
    use crate::error::Error;
    use crate::grid::Grid;
    use crate::level::NoiseLevel;

    #[test]
    fn a_knot_serves_where_lambda_is_its_own_to_rounding() -> Result<(), Error> {
        // A path without a schedule has no other level. One unit in the last place is 2e-16 of λ.
        let knots = [-50.0, 0.01, 50.0].map(|lambda| NoiseLevel::from_logs(-lambda, 0.0, -lambda));
        let knots: Vec<NoiseLevel> = knots.into_iter().collect::<Result<_, _>>()?;
        let grid = Grid::from_levels(knots.clone(), 1.0)?;
        let path = Path::without_schedule(&grid);
        for knot in knots {
            let size = knot.lambda().abs().max(1.0);
            for near in [-2e-14, 0.0, 2e-14] {
                let lambda = knot.lambda() + near * size;
                assert_eq!(path.near(lambda, knot), Ok(knot), "{lambda}");
            }
            for far in [-1e-12, 1e-12] {
                let lambda = knot.lambda() + far * size;
                assert_eq!(
                    path.near(lambda, knot),
                    Err(Error::PathWithoutSchedule { lambda })
                );
            }
        }
        Ok(())
    }
}
