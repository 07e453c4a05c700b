//! A search of spacings on its way.

use super::pattern::{CLOSE, Found, improve, put_in_order};
use super::search::SpacingSearch;
use super::searched::FixedSpacing;
use super::surrogate::{Reach, Surrogate};
use crate::error::Error;
use crate::grid::Grid;
use crate::noise::{KeyedNoise, NoiseKey, Stream};
use crate::schedule::NoiseSchedule;

/// So many of the fixed spacings are improved, and as many perturbations of the best as below.
const STARTS: usize = 4;
const PERTURBED: usize = 2;
/// The best so many of the starts are followed to the end.
const FOLLOWED: usize = 2;
/// How far a perturbation moves a knot, in mean gaps.
const SPREAD: f64 = 0.3;

/// A search on its way: knots are places in the reach, from 0 to 1.
pub(super) struct Task<'a> {
    search: &'a SpacingSearch<'a>,
    known: &'a Surrogate,
    reach: Reach,
    used: usize,
}

impl<'a> Task<'a> {
    pub(super) fn new(search: &'a SpacingSearch<'a>, known: &'a Surrogate) -> Result<Self, Error> {
        Ok(Self {
            search,
            known,
            reach: Reach::of(search.schedule)?,
            used: 0,
        })
    }

    /// How many errors were computed.
    pub(super) fn used(&self) -> usize {
        self.used
    }

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
    pub(super) fn grid(&self, knots: &[f64]) -> Result<Grid, Error> {
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

    pub(super) fn search_from(&mut self, fixed: &[FixedSpacing]) -> Result<Found, Error> {
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
