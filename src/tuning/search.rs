//! A spacing that is searched, not chosen.

use super::searched::{FixedSpacing, SearchedSpacing};
use super::surrogate::Surrogate;
use super::task::Task;
use crate::error::{Error, require};
use crate::grid::{Grid, Spacing, spacings};
use crate::sampler::Sampler;
use crate::schedule::NoiseSchedule;
use crate::solver::Solver;

/// Searches the inner knots of a grid for a solver and a number of steps, on a [`Surrogate`] of the
/// data: the network is never called.
///
/// The grid starts at the schedule's last time and ends at the clean level. Its K − 1 inner knots
/// move in λ between the noisiest and the least noisy level; the search begins with the best of the
/// fixed spacings ([`spacings`]), uniform λ and keyed perturbations of them, and follows each by a
/// pattern search. A spacing whose plan multiplies errors
/// ([`StabilityReport::warnings`](crate::stability::StabilityReport::warnings)) is never taken: it
/// would be exact for the exact model only. The number of errors that are computed is bounded, and
/// the answer is the same every time, bit for bit.
///
/// | option | default |
/// |---|---|
/// | [`with_evaluations`](Self::with_evaluations) | at most 2000 errors |
/// | [`with_seed`](Self::with_seed) | 0, of the perturbations |
/// | [`on_table`](Self::on_table) | knots anywhere; on a table only at its knots |
/// | [`keeping_last_knot`](Self::keeping_last_knot) | the last noisy knot moves too |
/// | [`moving_first_knot`](Self::moving_first_knot) | the run starts at the last time |
/// | [`with_bounds`](Self::with_bounds) | the stability report's |
///
/// **The guard.** What is best on the surrogate need not be best on the data. The answer's grid is
/// the searched one only where it beats every stable fixed spacing on the surrogate and on a second
/// one, which the search has not seen: the other half of the sample, another seed's mixture, a
/// [tilted](super::Spectrum::tilted) spectrum. Otherwise it is refused, and the answer is the fixed
/// one that is best on the second. A fixed spacing that starts below the last time is not among the
/// searched ones, and at one or two steps it is often the best.
///
/// ```
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
/// use diffusion_sampler::tuning::{SpacingSearch, Spectrum, Surrogate};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let solver = DpmSolverPlusPlus::new();
/// let spectrum = Spectrum::images();
/// let known = Surrogate::gaussian(&spectrum.gaussian(16)?)?;
/// let held_out = Surrogate::gaussian(&spectrum.tilted(0.1)?.gaussian(16)?)?;
/// let search = SpacingSearch::new(&schedule, &solver, 6).with_evaluations(200);
/// let found = search.run(&known, &held_out)?;
/// println!("{found}");
/// assert_eq!(found.grid().steps(), 6);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Others minimise a bound on a KL divergence between the continuous process and its steps (Sabour,
/// Fidler and Kreis 2024, "Align Your Steps"), or the distance to a finer run of the network by
/// dynamic programming over its steps (Pei, Hu and Gu 2025, "Optimal Stepsize for Diffusion
/// Sampling"). Here the quantity is the sampler's own error, with its history and noise, on data for
/// which it is exact.
#[derive(Clone, Copy, Debug)]
pub struct SpacingSearch<'a> {
    pub(super) schedule: &'a dyn NoiseSchedule,
    solver: &'a dyn Solver,
    pub(super) steps: usize,
    pub(super) evaluations: usize,
    pub(super) seed: u64,
    pub(super) table: bool,
    pub(super) first_knot: bool,
    pub(super) last_knot: bool,
    bounds: [f64; 3],
}

impl<'a> SpacingSearch<'a> {
    /// A search for `solver` in `steps` steps of `schedule`.
    pub fn new(schedule: &'a dyn NoiseSchedule, solver: &'a dyn Solver, steps: usize) -> Self {
        Self {
            schedule,
            solver,
            steps,
            evaluations: 2000,
            seed: 0,
            table: false,
            first_knot: false,
            last_knot: true,
            bounds: [3.0, 5.0, 100.0],
        }
    }

    /// The same with at most this many errors computed, beside one for each fixed spacing and for
    /// each of seven starts.
    #[must_use]
    pub fn with_evaluations(self, evaluations: usize) -> Self {
        Self {
            evaluations,
            ..self
        }
    }

    /// The same with other perturbations.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same with knots of the table only: for networks that take whole indices.
    #[must_use]
    pub fn on_table(self) -> Self {
        Self {
            table: true,
            ..self
        }
    }

    /// The same with the last noisy knot at the least noisy level, from where D is returned.
    #[must_use]
    pub fn keeping_last_knot(self) -> Self {
        Self {
            last_knot: false,
            ..self
        }
    }

    /// The same with a first knot that moves too: the run may start below the last time, from the
    /// same initial distribution. What that does to the mean of the data a surrogate knows only where
    /// it has one.
    #[must_use]
    pub fn moving_first_knot(self) -> Self {
        Self {
            first_knot: true,
            ..self
        }
    }

    /// The same with other bounds of stability: see
    /// [`StabilityReport::with_bounds`](crate::stability::StabilityReport::with_bounds). Infinite
    /// ones are no bounds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless all are positive.
    pub fn with_bounds(self, state: f64, model: f64, percent: f64) -> Result<Self, Error> {
        let names = [
            "bound of state errors",
            "bound of model errors",
            "bound of the distance",
        ];
        for (name, bound) in names.into_iter().zip([state, model, percent]) {
            require(bound > 0.0, name, bound, "positive")?;
        }
        Ok(Self {
            bounds: [state, model, percent],
            ..self
        })
    }

    /// The search on `known`, and the guard on `held_out`.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for no steps, and for as many as the schedule has no knots for;
    /// [`Error::SpacingNeedsTable`] for a search on the table of a schedule without one;
    /// [`Error::EmptyList`] where no fixed spacing gives a grid, and where none of the starts is
    /// stable; what the surrogates refuse of the solver.
    pub fn run(&self, known: &Surrogate, held_out: &Surrogate) -> Result<SearchedSpacing, Error> {
        let max = self.schedule.table_len().filter(|_| self.table);
        let max = max.unwrap_or(MOST);
        if !(1..=max).contains(&self.steps) {
            return Err(Error::StepCount {
                steps: self.steps,
                min: 1,
                max,
            });
        }
        if self.table && self.schedule.table_len().is_none() {
            return Err(Error::SpacingNeedsTable {
                spacing: "searched on the table",
            });
        }
        let (fixed, refused) = self.fixed(known, held_out)?;
        let mut task = Task::new(self, known)?;
        let best = task.search_from(&fixed)?;
        let grid = task.grid(&best.knots)?;
        let held = held_out.error(&self.sampler(&grid)?)?;
        let used = task.used();
        SearchedSpacing::new((grid, best.value, held), fixed, refused, used)
    }

    pub(super) fn sampler(&self, grid: &Grid) -> Result<Sampler, Error> {
        Sampler::new(self.schedule, grid, self.solver)
    }

    /// The fixed spacings with their errors, and those that have no grid here.
    #[allow(clippy::type_complexity)]
    fn fixed(
        &self,
        known: &Surrogate,
        held_out: &Surrogate,
    ) -> Result<(Vec<FixedSpacing>, Vec<(Spacing, Error)>), Error> {
        let (mut fixed, mut refused) = (Vec::new(), Vec::new());
        for entry in spacings() {
            let found = entry
                .spacing
                .grid(self.schedule, self.steps)
                .and_then(|grid| {
                    let sampler = self.sampler(&grid)?;
                    let error = known.error(&sampler)?;
                    let held_out = held_out.error(&sampler)?;
                    let stable = self.is_stable(&sampler, known)?;
                    Ok(FixedSpacing {
                        spacing: entry.spacing,
                        grid,
                        error,
                        held_out,
                        stable,
                    })
                });
            match found {
                Ok(found) => fixed.push(found),
                Err(error) => refused.push((entry.spacing, error)),
            }
        }
        match refused.first() {
            // All of them, for one reason: the solver or the surrogate's.
            Some((_, error)) if fixed.is_empty() => Err(error.clone()),
            _ => Ok((fixed, refused)),
        }
    }

    pub(super) fn is_stable(&self, sampler: &Sampler, known: &Surrogate) -> Result<bool, Error> {
        let [state, model, percent] = self.bounds.map(|bound| bound.min(f64::MAX));
        let report = sampler.stability(known.moments())?;
        let report = report.with_bounds(state, model, percent)?;
        Ok(report.warnings()?.is_empty())
    }
}

/// The most steps: the knots keep a distance, and so many have no room to be searched.
const MOST: usize = 1000;
