//! DPM-Solver-1, -2 and -3, single-step, and DPM-Solver-fast.

use super::ancestral::Ancestral;
use super::single_step::{self, Pair, Rule};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Step};
use crate::posterior::{Kappa, step_size};

/// DPM-Solver-1, -2 and -3: exponential integrators of ε, from knot to knot, with nodes of their own
/// between. As many evaluations a step as the order.
///
/// With h = λ_s − λ_t, nodes at λ_t + r_j h, and E_j at the node's state u_j:
///
/// ```text
/// 1   x_s = (α_s/α_t) x − σ_s (e^h − 1) E                                                  (DDIM)
/// 2   u₁ as 1 to r₁ = 1/2    x_s = (α_s/α_t) x − σ_s (e^h − 1) E − σ_s (e^h − 1)(E₁ − E)/(2r₁)
/// 3   u₁ as 1 to r₁ = 1/3    u₂ = (α₂/α_t) x − σ₂ (e^(r₂h) − 1) E − σ₂ (r₂/r₁) r₂h φ₂(r₂h)(E₁ − E)
///     r₂ = 2/3               x_s = (α_s/α_t) x − σ_s (e^h − 1) E − σ_s hφ₂(h)(E₂ − E)/r₂
/// ```
///
/// φ₂(h) = (e^h − 1 − h)/h². Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver: A Fast ODE Solver
/// for Diffusion Probabilistic Model Sampling in Around 10 Steps", Algorithms 1 and 2. A step onto
/// σ_s = 0, from α_t = 0, or so wide that a weight overflows is first order, with one evaluation.
///
/// Weights grow like e^h: on wide steps, data are overshot. Order 3 pays from some twenty evaluations
/// on; below, take a multistep solver. The steps of [`AdaptiveDpm`](crate::run::AdaptiveDpm) are
/// these.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{LambdaRange, VariancePreserving}};
/// use diffusion_sampler::solver::{DpmSolverSinglestep, Path, Solver};
///
/// let schedule = VariancePreserving::default();
/// let grid = Grid::uniform_lambda(&schedule, 10, LambdaRange::new(-4.0, 4.0)?)?;
/// let plan = DpmSolverSinglestep::order(3)?.plan(&Path::new(&schedule, &grid)?)?;
/// // The last of the ten steps is the one onto the clean end.
/// assert_eq!((plan.evaluations(), plan.slots()), (9 * 3 + 1, 2));
/// assert!(DpmSolverSinglestep::order(4).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("DPM-Solver", "DPM-Solver-2", "DPM-Solver-3", "dpmsolver"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmSolverSinglestep {
    pub(super) order: usize,
    pub(super) kappa: Kappa,
}

impl DpmSolverSinglestep {
    /// The solver of this order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is 1, 2 or 3.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1, 2 or 3")?;
        let kappa = Kappa::Ddim;
        Ok(Self { order, kappa })
    }

    /// The same solver in ancestral form: a step to κρ_s, then noise. As in k-diffusion, κρ_s is at
    /// least ρ of the run's last knot with noise, so that the step onto it adds none.
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }
}

impl Solver for DpmSolverSinglestep {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] from order 2 on: the nodes are no knots; what
    /// [`StridedPosterior::new`](crate::posterior::StridedPosterior::new) refuses of the policy.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        plan(path, self.kappa, |_| self.order)
    }

    fn order(&self) -> usize {
        self.order
    }
}

/// A plan with steps of the orders that `order` gives by their index.
fn plan(path: &Path<'_>, kappa: Kappa, order: impl Fn(usize) -> usize) -> Result<Plan, Error> {
    let floor = path.last_noisy();
    let step = |(index, (from, to)): (usize, (NoiseLevel, NoiseLevel))| {
        let Ancestral { down, noise } = Ancestral::above(from, to, kappa, floor)?;
        let levels = levels(path, order(index), from, (down, to))?;
        let mut stages = single_step::stages(Rule::published(order(index)), &levels)?;
        if let Some(last) = stages.last_mut() {
            last.update.noise = noise;
        }
        Ok(Step { from, to, stages })
    };
    Plan::of_steps(path.edges().enumerate().map(step).all_listed()?)
}

/// Start, nodes and end of a step to `down`; `to` is the knot that it is for.
fn levels(
    path: &Path<'_>,
    order: usize,
    from: NoiseLevel,
    (down, to): (NoiseLevel, NoiseLevel),
) -> Result<Vec<NoiseLevel>, Error> {
    let h = step_size(&from, &down);
    let fractions: &[f64] = match order {
        2 if h.is_finite() => &[0.5],
        3 if h.is_finite() => &[1.0 / 3.0, 2.0 / 3.0],
        _ => &[],
    };
    let nodes = fractions
        .iter()
        .map(|fraction| path.near(from.lambda() + fraction * h, to));
    let ends = [Ok(from)].into_iter().chain(nodes).chain([Ok(down)]);
    ends.all_listed()
}

/// A step of an adaptive run from one level to another, by orders p and p − 1.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedStep {
    pub(crate) pair: Pair,
    /// The noise that the step ends with.
    pub(crate) noise: f64,
}

impl EmbeddedStep {
    /// The step of this order, to no less noise than the path's last knot with noise; `None` where a
    /// weight overflows.
    pub(crate) fn new(
        path: &Path<'_>,
        order: usize,
        (from, to): (NoiseLevel, NoiseLevel),
        kappa: Kappa,
    ) -> Result<Option<Self>, Error> {
        let Ancestral { down, noise } = Ancestral::above(from, to, kappa, path.last_noisy())?;
        let pair = Pair::new(&levels(path, order, from, (down, to))?)?;
        Ok(pair.map(|pair| Self { pair, noise }))
    }
}

/// DPM-Solver-fast: steps of [`DpmSolverSinglestep`] whose orders 3, 3, …, and lower ones at the
/// end, use up a number of evaluations.
///
/// | evaluations n, steps K = ⌊n/3⌋ + 1 | orders |
/// |---|---|
/// | n = 3(K − 1), for K ≥ 2 | 3 (K − 2 times), 2, 1 |
/// | n = 3(K − 1) + 1 | 3 (K − 1 times), 1 |
/// | n = 3(K − 1) + 2 | 3 (K − 1 times), 2 |
///
/// k-diffusion's `dpm_fast`, after Lu et al. (2022), whose grid is uniform in λ with K
/// steps and without a clean end ([`steps`](Self::steps)); any other will do. The order of
/// convergence is 2, since the last step is first order, or second.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{LambdaRange, VariancePreserving}};
/// use diffusion_sampler::solver::{DpmFast, Path, Solver};
///
/// let schedule = VariancePreserving::default();
/// let range = LambdaRange::new(-4.0, 4.0)?;
/// let knots = DpmFast::steps(20) + 1;
/// let grid = Grid::uniform_lambda(&schedule, knots, range)?.without_clean_end()?;
/// let plan = DpmFast::evaluations(20)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.steps().len(), plan.evaluations()), (7, 20));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("dpm_fast", "DPM fast", "DPM-Solver-fast"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmFast {
    pub(super) evaluations: Option<usize>,
    pub(super) kappa: Kappa,
}

impl Default for DpmFast {
    fn default() -> Self {
        Self::new()
    }
}

impl DpmFast {
    /// On a path of any K steps: 3(K − 1) evaluations, or 1 where K = 1.
    pub fn new() -> Self {
        Self {
            evaluations: None,
            kappa: Kappa::Ddim,
        }
    }

    /// This many evaluations, on a path of [`steps`](Self::steps) steps. They are fewer where a step
    /// of higher order falls back to one: onto a clean end, and from α = 0.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for 0.
    pub fn evaluations(evaluations: usize) -> Result<Self, Error> {
        require(
            evaluations > 0,
            "evaluations",
            evaluations as f64,
            "at least 1",
        )?;
        Ok(Self {
            evaluations: Some(evaluations),
            ..Self::new()
        })
    }

    /// The number of steps for a number of evaluations, ⌊n/3⌋ + 1.
    pub fn steps(evaluations: usize) -> usize {
        evaluations / 3 + 1
    }

    /// The same solver in ancestral form, as
    /// [`DpmSolverSinglestep::with_kappa`].
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }
}

impl Solver for DpmFast {
    /// # Errors
    ///
    /// [`Error::StepCount`] unless the path has the steps that the evaluations need;
    /// [`Error::PathWithoutSchedule`]: the nodes are no knots.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.grid().steps();
        let evaluations = self.evaluations.unwrap_or((3 * (steps - 1)).max(1));
        let needed = Self::steps(evaluations);
        if steps != needed {
            return Err(Error::StepCount {
                steps,
                min: needed,
                max: needed,
            });
        }
        plan(path, self.kappa, |index| {
            match (evaluations % 3, steps - index) {
                (0, left @ 1..=2) => left,
                (rest @ 1..=2, 1) => rest,
                _ => 3,
            }
        })
    }

    /// 2: the last step's first order costs one.
    fn order(&self) -> usize {
        2
    }
}

pub(super) fn entries() -> Vec<Entry> {
    // DPM-Solver-1 is DDIM, and DPM-Solver-2 is DPM-2: both are in the list.
    let third = DpmSolverSinglestep {
        order: 3,
        kappa: Kappa::Ddim,
    };
    let source = "Lu et al. 2022, Algorithm 2";
    vec![
        Entry::new("DPM-Solver-3", third, source),
        Entry::new("DPM-Solver-fast", DpmFast::new(), "Lu et al. 2022"),
        Entry::new(
            "DPM-Solver-fast, ancestral",
            DpmFast::new().with_kappa(Kappa::Ddpm),
            "k-diffusion, dpm_fast with eta",
        ),
    ]
}
