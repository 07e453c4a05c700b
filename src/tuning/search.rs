//! A spacing that is searched, not chosen.

use super::pattern::{CLOSE, Found, improve, put_in_order};
use super::searched::{FixedSpacing, SearchedSpacing};
use super::surrogate::{Reach, Surrogate};
use crate::error::{Error, require};
use crate::grid::{Grid, Spacing, spacings};
use crate::noise::{KeyedNoise, NoiseKey, Stream};
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
/// the searched one only where it beats *every* fixed spacing on a second surrogate, which the search
/// has not seen: the other half of the sample, another seed's mixture, a
/// [tilted](super::Spectrum::tilted) spectrum. Otherwise it is refused, and the answer is the best
/// fixed one.
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
    schedule: &'a dyn NoiseSchedule,
    solver: &'a dyn Solver,
    steps: usize,
    evaluations: usize,
    seed: u64,
    table: bool,
    first_knot: bool,
    last_knot: bool,
    bounds: [f64; 3],
}

/// So many of the fixed spacings are improved, and as many perturbations of the best as below.
const STARTS: usize = 4;
const PERTURBED: usize = 2;
/// The best so many of the starts are followed to the end.
const FOLLOWED: usize = 2;
/// How far a perturbation moves a knot, in mean gaps.
const SPREAD: f64 = 0.3;

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

    /// The same with at most this many errors computed, beside one for each fixed spacing.
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
    /// [`Error::EmptyList`] where no fixed spacing gives a grid; what the surrogates refuse of the
    /// solver.
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
        let mut task = Task {
            search: self,
            known,
            reach: Reach::of(self.schedule)?,
            used: 0,
        };
        let best = task.search_from(&fixed)?;
        let grid = task.grid(&best.knots)?;
        let held = held_out.error(&self.sampler(&grid)?)?;
        let used = task.used;
        SearchedSpacing::new((grid, best.value, held), fixed, refused, used)
    }

    fn sampler(&self, grid: &Grid) -> Result<Sampler, Error> {
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

    fn is_stable(&self, sampler: &Sampler, known: &Surrogate) -> Result<bool, Error> {
        let [state, model, percent] = self.bounds.map(|bound| bound.min(f64::MAX));
        let report = sampler.stability(known.moments())?;
        let report = report.with_bounds(state, model, percent)?;
        Ok(report.warnings().is_empty())
    }
}

/// The most steps: the knots keep a distance, and so many have no room to be searched.
const MOST: usize = 1000;

/// A search on its way: knots are places in the reach, from 0 to 1.
struct Task<'a> {
    search: &'a SpacingSearch<'a>,
    known: &'a Surrogate,
    reach: Reach,
    used: usize,
}

impl Task<'_> {
    /// How many knots move.
    fn moving(&self) -> usize {
        let inner = self.search.steps - 1;
        let kept = usize::from(!self.search.last_knot && inner > 0);
        inner - kept + self.first()
    }

    /// Whether the first knot is one of them.
    fn first(&self) -> usize {
        usize::from(self.search.first_knot)
    }

    /// The grid of moving knots.
    fn grid(&self, knots: &[f64]) -> Result<Grid, Error> {
        let (search, reach) = (self.search, &self.reach);
        let mut lambdas: Vec<f64> = knots
            .iter()
            .map(|place| reach.noisy + reach.length() * place)
            .collect();
        if self.moving() - self.first() < search.steps - 1 {
            lambdas.push(reach.clean);
        }
        let mut start = search.schedule.last_time();
        if search.first_knot {
            let first = lambdas.remove(0);
            // The noisy end of the reach is the last time, or, where that has no λ, next to it.
            if knots[0] > 2.0 * CLOSE {
                start = search.schedule.time_of_lambda(first)?;
            }
        }
        let grid = reach.grid_from(search.schedule, start, &lambdas)?;
        if search.table {
            on_table(search.schedule, &grid)
        } else {
            Ok(grid)
        }
    }

    /// The places of a grid's moving knots.
    fn places(&self, grid: &Grid) -> Vec<f64> {
        let inner = grid
            .levels()
            .iter()
            .skip(1 - self.first())
            .take(self.moving());
        let place =
            |lambda: f64| ((lambda - self.reach.noisy) / self.reach.length()).clamp(0.0, 1.0);
        let mut places: Vec<f64> = inner.map(|level| place(level.lambda())).collect();
        put_in_order(&mut places);
        places
    }

    /// The error at knots; `None` where it is not less than `bound`, or the plan is not stable.
    fn value(&mut self, knots: &[f64], bound: f64) -> Option<f64> {
        self.used += 1;
        // What cannot be planned there is no candidate; the fixed spacings tell why.
        let sampler = self.search.sampler(&self.grid(knots).ok()?).ok()?;
        let error = self.known.error(&sampler).ok()?;
        let better = error < bound && self.search.is_stable(&sampler, self.known).ok()?;
        better.then_some(error)
    }

    fn search_from(&mut self, fixed: &[FixedSpacing]) -> Result<Found, Error> {
        let total = self.search.evaluations;
        let mut found: Vec<Found> = Vec::new();
        for knots in self.starts(fixed) {
            if let Some(value) = self.value(&knots, f64::INFINITY) {
                found.push(Found { knots, value });
            }
        }
        let each = total.saturating_sub(self.used) / (2 * found.len().max(1));
        for start in &mut found {
            improve(start, each, |knots, bound| self.value(knots, bound));
        }
        found.sort_by(|a, b| a.value.total_cmp(&b.value));
        let followed = found.len().min(FOLLOWED);
        for (place, start) in found.iter_mut().take(followed).enumerate() {
            let share = total.saturating_sub(self.used) / (followed - place);
            improve(start, share, |knots, bound| self.value(knots, bound));
        }
        found.sort_by(|a, b| a.value.total_cmp(&b.value));
        let none = Error::EmptyList {
            name: "stable spacings to search from",
        };
        found.into_iter().next().ok_or(none)
    }

    /// The best stable fixed spacings, then uniform λ, then perturbations of the best.
    fn starts(&self, fixed: &[FixedSpacing]) -> Vec<Vec<f64>> {
        let mut order: Vec<&FixedSpacing> = fixed.iter().filter(|f| f.stable).collect();
        order.sort_by(|a, b| a.error.total_cmp(&b.error));
        let mut starts: Vec<Vec<f64>> = Vec::new();
        for spacing in order {
            let places = self.places(&spacing.grid);
            if starts.len() < STARTS && !starts.contains(&places) {
                starts.push(places);
            }
        }
        let count = self.moving();
        let uniform = (1..=count).map(|k| k as f64 / count.max(1) as f64);
        let mut uniform: Vec<f64> = uniform.collect();
        put_in_order(&mut uniform);
        starts.push(uniform);
        let noise = KeyedNoise::new(self.search.seed);
        for index in 0..PERTURBED {
            let mut z = vec![0.0; count];
            noise.fill_row(NoiseKey::new(index as u64, 0, Stream::User(2)), &mut z);
            let base = &starts[0];
            let gap = SPREAD / (count + 1) as f64;
            let mut places: Vec<f64> = base.iter().zip(&z).map(|(p, z)| p + gap * z).collect();
            put_in_order(&mut places);
            starts.push(places);
        }
        starts
    }
}

/// The same grid with its knots at different whole knots of the table.
fn on_table(schedule: &dyn NoiseSchedule, grid: &Grid) -> Result<Grid, Error> {
    let last = schedule.table_len().unwrap_or(0);
    let noisy = grid.steps();
    let mut times = Vec::with_capacity(noisy + 1);
    let mut below = last + 1;
    for (k, level) in grid.levels().iter().take(noisy).enumerate() {
        // Below the one before it, and with room for those that follow.
        let nearest = nearest_knot(schedule, last, level.time())?;
        below = nearest.min(below - 1).max(noisy - k);
        times.push(schedule.knot_time(below as f64)?);
    }
    times.push(0.0);
    Grid::from_times(schedule, &times)
}

/// The knot of the table, 1 to `last`, whose time is nearest.
fn nearest_knot(schedule: &dyn NoiseSchedule, last: usize, time: f64) -> Result<usize, Error> {
    let (mut low, mut high) = (1, last);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if schedule.knot_time(middle as f64)? <= time {
            low = middle;
        } else {
            high = middle;
        }
    }
    let distance = |knot: usize| Ok((schedule.knot_time(knot as f64)? - time).abs());
    let (below, above): (f64, f64) = (distance(low)?, distance(high)?);
    Ok(if below <= above { low } else { high })
}
