//! RePaint's resampling: down, up again, and down once more.

use super::repeated::Parts;
use super::{Path, Solver};
use crate::error::{Error, require};
use crate::plan::Plan;

/// RePaint's resampling around any solver: at every `jump_length`-th knot, counted from the clean
/// end, the run goes up by `jump_length` knots and comes down again, `resamplings` − 1 times.
///
/// Up is the forward process itself, x_t = (α_t/α_s) x_s + √β_{t|s} z, in one step without the
/// model ([`Transition::forward_step`](crate::posterior::Transition::forward_step)): the same distribution as knot by knot. Down is the solver's
/// plan of each stretch, so that a multistep solver begins its history anew after every jump.
///
/// The steps alone sample the data, slowly. With the known part put back after every step down
/// ([`Inpaint`](crate::editing::Inpaint)) the unknown part gets several looks at it, which mends
/// the disagreement of plain replacement. Where K ≤ `jump_length` nothing is repeated. With J =
/// ⌈K/`jump_length`⌉ − 1 places, K + J (`resamplings` − 1) `jump_length` steps down for a solver of
/// one evaluation a step: the published 250 steps with jumps of 10 and 10 resamplings take 2410
/// evaluations.
///
/// Lugmayr, Danelljan, Romero, Yu, Timofte and Van Gool (2022), "RePaint: Inpainting using Denoising
/// Diffusion Probabilistic Models". Jumps are taken at the knots 0, `jump_length`, 2 `jump_length`
/// …, below K − `jump_length`, counted from the clean end, as in the authors' schedule and in
/// diffusers' `RePaintScheduler`, whose `eta` is that of the solver within:
/// `FirstOrder::new(Kappa::Eta(eta))`. (Where that scheduler skips network times, K < T, its jumps up
/// take betas from other knots than those they lead over.)
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{FirstOrder, Path, RePaint, Solver};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 6)?;
/// let solver = RePaint::new(FirstOrder::ddpm(), 2, 2)?;
/// let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
/// let knot = |step: &diffusion_sampler::plan::Step| (6.0 * step.to.time() / 1000.0).round();
/// let knots: Vec<f64> = plan.steps().iter().map(knot).collect();
/// assert_eq!(knots, [5.0, 4.0, 3.0, 2.0, 4.0, 3.0, 2.0, 1.0, 0.0, 2.0, 1.0, 0.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "RePaintScheduler")]
#[doc(alias = "resampling")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RePaint<S> {
    pub(super) solver: S,
    pub(super) jump_length: usize,
    pub(super) resamplings: usize,
}

impl<S: Solver> RePaint<S> {
    /// Resampling around `solver`: jumps over `jump_length` knots (10 in the paper), every stretch
    /// taken `resamplings` times (10 in the paper; 1 is the solver alone).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless both are at least 1.
    pub fn new(solver: S, jump_length: usize, resamplings: usize) -> Result<Self, Error> {
        let at_least_one =
            |name, value: usize| require(value > 0, name, value as f64, "at least 1");
        at_least_one("jump_length", jump_length)?;
        at_least_one("resamplings", resamplings)?;
        Ok(Self {
            solver,
            jump_length,
            resamplings,
        })
    }

    /// How many jumps are made on a grid of K steps.
    fn jumps(&self, steps: usize) -> usize {
        let places = steps
            .saturating_sub(self.jump_length)
            .div_ceil(self.jump_length);
        places.saturating_mul(self.resamplings - 1)
    }
}

impl<S: Solver> Solver for RePaint<S> {
    /// # Errors
    ///
    /// What the solver refuses; [`Error::GivenHistory`] for one whose plans need given slots;
    /// [`Error::StepCount`] for a plan of more than 2²⁴ steps;
    /// [`Error::EdgeOverflow`] where α_t/α_s of a jump overflows.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let grid = path.grid();
        let total = grid.steps();
        let jumps = self.jumps(total);
        let steps = jumps.saturating_mul(self.jump_length.saturating_add(1));
        let mut parts = Parts::of(steps.saturating_add(total))?;
        let level = |left: usize| grid.levels()[total - left];
        let down = |from: usize, to: usize| {
            let section = grid.section(total - from..total - to)?;
            self.solver.plan(&path.on(&section))
        };
        // From `from` knots above the end down to each place, and up again from there.
        let mut from = total;
        let places = (0..total.saturating_sub(self.jump_length)).step_by(self.jump_length);
        for place in places.rev() {
            let top = place + self.jump_length;
            for _ in 1..self.resamplings {
                parts.down(&down(from, place)?)?;
                parts.up(level(place), level(top))?;
                from = top;
            }
        }
        parts.down(&down(from, 0)?)?;
        parts.whole()
    }

    fn order(&self) -> usize {
        self.solver.order()
    }
}
