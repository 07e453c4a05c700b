//! Grids.

use proptest::collection::vec;
use proptest::prelude::*;

use super::schedules;
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::schedule::{LambdaRange, NoiseSchedule};
use crate::testing::AnySchedule;

/// What a grid is made from, whatever the schedule.
#[derive(Clone, Debug)]
struct Draw {
    kind: usize,
    steps: usize,
    /// Karras's exponent, or the power of an exponential ramp.
    exponent: f64,
    /// Shares of the whole, for lists.
    shares: Vec<f64>,
    part: Part,
}

/// What becomes of the grid.
#[derive(Clone, Debug)]
enum Part {
    Whole,
    WithoutCleanEnd,
    /// From this share of the steps on: image to image.
    From(f64),
}

fn draws() -> impl Strategy<Value = Draw> {
    let steps = prop_oneof![2 => Just(1usize), 8 => 1..=12usize, 2 => 13..=60usize];
    let parts = prop_oneof![
        4 => Just(Part::Whole),
        1 => Just(Part::WithoutCleanEnd),
        1 => (0.0..1.0).prop_map(Part::From),
    ];
    let shares = vec(0.001..1.0, 1..12);
    // A tuple shrinks from the left and never goes back: what the number of steps depends on first.
    (parts, 0..11usize, shares, 0.5..10.0, steps).prop_map(
        |(part, kind, shares, exponent, steps)| Draw {
            kind,
            steps,
            exponent,
            shares,
            part,
        },
    )
}

/// Grids with their schedules: any of [`schedules`](super::schedules), and [`grids_of`] it.
///
/// ```
/// use diffusion_sampler::{Sampler, solver::FirstOrder};
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::grids};
///
/// proptest! {
///     fn every_grid_makes_a_sampler((schedule, grid) in grids()) {
///         let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
///         prop_assert_eq!(sampler.plan().steps().len(), grid.steps());
///     }
/// }
/// every_grid_makes_a_sampler();
/// ```
pub fn grids() -> BoxedStrategy<(AnySchedule, Grid)> {
    (schedules(), draws())
        .prop_filter_map("grid", |(schedule, draw)| {
            let grid = draw.grid(&schedule)?;
            Some((schedule, grid))
        })
        .boxed()
}

/// Grids of one schedule, which may be your own: every spacing that it allows (on a table trailing,
/// leading, linspace, both quadratic ones; everywhere uniform λ, exponential, Karras, lists of times and of
/// λ), whole, without the clean end, or from a later step on. K from 1 to 60, and at most T.
///
/// ```
/// use diffusion_sampler::schedule::RectifiedFlow;
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::grids_of};
///
/// proptest! {
///     fn noise_falls(grid in grids_of(RectifiedFlow::new())) {
///         prop_assert!(grid.edges().all(|(from, to)| from.sigma() > to.sigma()));
///     }
/// }
/// noise_falls();
/// ```
pub fn grids_of(schedule: impl NoiseSchedule + 'static) -> BoxedStrategy<Grid> {
    draws()
        .prop_filter_map("grid", move |draw| draw.grid(&schedule))
        .boxed()
}

impl Draw {
    /// The grid of the kind drawn; trailing where the schedule, or this K, has none.
    fn grid(&self, schedule: &dyn NoiseSchedule) -> Option<Grid> {
        let steps = self.steps.min(schedule.table_len().unwrap_or(usize::MAX));
        let grid = self
            .spaced(schedule, steps)
            .or_else(|_| Grid::trailing(schedule, steps))
            .ok()?;
        match self.part {
            Part::Whole => Some(grid),
            // A grid of one step onto the clean end stays.
            Part::WithoutCleanEnd => grid.without_clean_end().ok().or(Some(grid)),
            Part::From(share) => {
                let first = (share * grid.steps() as f64) as usize;
                grid.section(first..grid.steps()).ok()
            }
        }
    }

    fn spaced(&self, schedule: &dyn NoiseSchedule, steps: usize) -> Result<Grid, Error> {
        match self.kind {
            0 => Grid::trailing(schedule, steps),
            1 => Grid::leading(schedule, steps, 1).or_else(|_| Grid::leading(schedule, steps, 0)),
            2 => Grid::linspace(schedule, steps),
            3 => Grid::quadratic(schedule, steps),
            4 => Grid::uniform_lambda(schedule, steps, finite_range(schedule)?),
            5 => Grid::exponential(schedule, steps, finite_range(schedule)?, self.exponent),
            6 => Grid::karras(schedule, steps, finite_range(schedule)?, self.exponent),
            7 => self.times(schedule, true),
            8 => self.times(schedule, false),
            9 => Grid::ddim_quadratic(schedule, steps),
            _ => self.lambdas(schedule),
        }
    }

    /// A list of times, from the last one down to clean or to the least drawn.
    fn times(&self, schedule: &dyn NoiseSchedule, clean: bool) -> Result<Grid, Error> {
        let last = schedule.last_time();
        let mut times: Vec<f64> = self.shares.iter().map(|share| share * last).collect();
        times.push(last);
        times.extend(clean.then_some(0.0));
        times.sort_by(|a, b| b.total_cmp(a));
        times.dedup();
        Grid::from_times(schedule, &times)
    }

    /// A list of λ's, from the noisy end of a finite range up to clean.
    fn lambdas(&self, schedule: &dyn NoiseSchedule) -> Result<Grid, Error> {
        let range = finite_range(schedule)?;
        let span = range.clean() - range.noisy();
        let mut lambdas: Vec<f64> = self
            .shares
            .iter()
            .map(|share| range.noisy() + share * span)
            .collect();
        lambdas.extend([range.noisy(), f64::INFINITY]);
        lambdas.sort_by(f64::total_cmp);
        lambdas.dedup();
        Grid::from_lambdas(schedule, &lambdas)
    }
}

/// The schedule's range of λ, cut where it is infinite: at 0.999 and at 0.001 of its time, or at
/// the knots next to the ends.
fn finite_range(schedule: &dyn NoiseSchedule) -> Result<LambdaRange, Error> {
    let (own, last) = (schedule.lambda_range(), schedule.last_time());
    let lambda = |time: f64| schedule.level(time).map(|level: NoiseLevel| level.lambda());
    let (late, early) = match schedule.table_len() {
        Some(_) => (last - 1.0, 1.0),
        None => (0.999 * last, 0.001 * last),
    };
    let noisy = if own.noisy().is_finite() {
        own.noisy()
    } else {
        lambda(late)?
    };
    let clean = if own.clean().is_finite() {
        own.clean()
    } else {
        lambda(early)?
    };
    LambdaRange::new(noisy, clean)
}
