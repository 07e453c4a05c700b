//! The weak order of a solver, without a sample drawn.

use crate::error::Error;
use crate::grid::Grid;
use crate::memory::{self, Listed};
use crate::oracle::Gaussian;
use crate::schedule::NoiseSchedule;
use crate::solver::{Path, Solver};

/// The errors of a solver in distribution on Gaussian data, with K and 2K steps, from the exact
/// distribution at the start: of stochastic solvers too, without Monte Carlo.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WeakOrder {
    /// K and 2K.
    pub steps: [usize; 2],
    /// The errors of both, see [`weak_errors`].
    pub errors: [Vec<f64>; 2],
}

impl WeakOrder {
    /// The largest magnitude of the errors, with K and with 2K steps; NaN where one of them is, as
    /// that of a variance which is 0 in the data and in the result.
    pub fn largest(&self) -> [f64; 2] {
        let larger = |l: f64, e: &f64| {
            if l.is_nan() || l > e.abs() {
                l
            } else {
                e.abs()
            }
        };
        let largest = |errors: &Vec<f64>| errors.iter().fold(0.0, larger);
        [largest(&self.errors[0]), largest(&self.errors[1])]
    }

    /// log₂(e_K/e_2K): the order that is seen between the two. NaN where both are 0
    /// or one is NaN.
    pub fn slope(&self) -> f64 {
        let [coarse, fine] = self.largest();
        libm::log2(coarse / fine)
    }
}

/// The weak order of `solver` on Gaussian `data`, with `steps` and twice as many steps, each on the
/// grid that `grid` makes: the largest relative error of a variance, or of a mean in its
/// deviations.
///
/// The grids must lead between the same two levels, and the steps be short, for the slope to say
/// something. A solver may show a higher order on one variance alone: give several.
///
/// ```
/// use diffusion_sampler::{Grid, moments::weak_order, oracle::Gaussian};
/// use diffusion_sampler::{schedule::{LambdaRange, VariancePreserving}, solver::FirstOrder};
///
/// let schedule = VariancePreserving::default();
/// let lambdas = |steps: usize| -> Vec<f64> {
///     (0..=steps).map(|k| -3.0 + 6.0 * k as f64 / steps as f64).collect()
/// };
/// let grid = |steps| Grid::from_lambdas(&schedule, &lambdas(steps));
/// let data = Gaussian::diagonal(&[0.0; 4], &[0.05, 0.3, 1.0, 3.0])?;
/// let order = weak_order(&FirstOrder::ddpm(), &schedule, grid, &data, 160)?;
/// assert!((order.slope() - 1.0).abs() < 0.05);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// As [`weak_errors`]; what `grid` refuses.
pub fn weak_order(
    solver: &dyn Solver,
    schedule: &dyn NoiseSchedule,
    grid: impl Fn(usize) -> Result<Grid, Error>,
    data: &Gaussian,
    steps: usize,
) -> Result<WeakOrder, Error> {
    let steps = [steps, steps.saturating_mul(2)];
    let errors = |steps| {
        let grid = grid(steps)?;
        weak_errors(solver, &Path::new(schedule, &grid)?, data)
    };
    Ok(WeakOrder {
        steps,
        errors: [errors(steps[0])?, errors(steps[1])?],
    })
}

/// The errors of one run in distribution, from the exact distribution of `data` at the path's
/// start: for every axis v/v* − 1, then for every axis (m − m*)/√v*, with m* and v* of the data at
/// the path's end. The mean's error alone for an axis of variance 0 there would be infinite or NaN.
///
/// # Errors
///
/// As [`Plan::moments`](crate::plan::Plan::moments); what the solver refuses.
pub fn weak_errors(
    solver: &dyn Solver,
    path: &Path<'_>,
    data: &Gaussian,
) -> Result<Vec<f64>, Error> {
    let plan = solver.plan(path)?;
    let initial = data.at_level(&plan.start())?;
    let states = plan.moments(data, &initial)?;
    let exact = data.at_level(&plan.end())?;
    // A plan has a step.
    let last = states.last().unwrap_or(&initial);
    let pairs = last.variances().iter().zip(exact.variances());
    let mut errors: Vec<f64> = pairs.map(|(v, w)| v / w - 1.0).listed()?;
    let means = last.to_axes(last.mean())?.into_iter();
    let means = means
        .zip(exact.to_axes(exact.mean())?)
        .zip(exact.variances());
    for ((m, n), w) in means {
        memory::push(&mut errors, (m - n) / w.sqrt())?;
    }
    Ok(errors)
}
