//! Single-step DPM-Solvers whose nodes are the grid's own knots.

use super::single_step::{Gains, Rule};
use super::{Entry, Path, SecondOrderForm, Solver};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// Single-step DPM-Solver++ and DPM-Solver on groups of edges: steps of order 1, 2 and 3 over one,
/// two and three edges, each from the group's first knot. One evaluation an edge.
///
/// diffusers' `DPMSolverSinglestepScheduler`. With h = λ_s − λ_t from the group's first knot t, and
/// D_j at the knots within, at λ_t + r_j h:
///
/// ```text
/// 1   x_s = (σ_s/σ_t) x + α_s (1 − e^−h) D                                                 (DDIM)
/// 2   x_s = as 1 + α_s (1 − e^−h)(D₁ − D)/(2r₁)                       midpoint; exact: hφ₂(−h)/r₁
/// 3   x_s = as 1 + α_s hφ₂(−h)(D₂ − D)/r₂                  midpoint; exact: through D, D₁ and D₂
/// ```
///
/// Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver++: Fast Solver for Guided Sampling of
/// Diffusion Probabilistic Models". [`in_noise_form`](Self::in_noise_form) interpolates E in the
/// same way. The state at a knot within a group is the lower-order one.
///
/// Where the path ends at σ = 0, or its number of edges is no multiple of the order, the orders of
/// the last edges are lower: 1, 2, …, 1, 1 for order 2 and K even, 1, 2, …, 1 for K odd; 1, 2, 3, …
/// and 1, 2, 1 (K = 3n), 1 (K = 3n + 1) or 1, 2 (K = 3n + 2) for order 3; the one onto σ = 0 is
/// always first order. [`lower_order_final`](Self::lower_order_final) does so on every path.
///
/// On edges of equal size take a multistep solver, which has the same order with every edge. A knot
/// within 1/16 of a step of another gives no difference quotient: the group ends there, and another
/// begins (diffusers divides by any distance). The convergence order is that of the groups, without
/// lower ones at the end.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{GroupedSinglestep, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let plan = GroupedSinglestep::order(2)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 1));
/// assert!(GroupedSinglestep::order(4).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("DPMSolverSinglestepScheduler", "DPM++ 2S", "dpmsolver++"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupedSinglestep {
    pub(super) order: usize,
    pub(super) form: SecondOrderForm,
    pub(super) noise: bool,
    pub(super) lower_order_final: bool,
}

/// The shortest distance between two estimates, in steps, over which a difference is taken: as in
/// [`DpmSolverPlusPlus`](super::DpmSolverPlusPlus).
const MIN_RATIO: f64 = 1.0 / 16.0;

impl GroupedSinglestep {
    /// DPM-Solver++ of this order, in its published form.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is 1, 2 or 3.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1, 2 or 3")?;
        Ok(Self::of(order))
    }

    fn of(order: usize) -> Self {
        Self {
            order,
            form: SecondOrderForm::Midpoint,
            noise: false,
            lower_order_final: false,
        }
    }

    /// The same with other weights; [`Exact`](SecondOrderForm::Exact) is diffusers' "heun".
    #[must_use]
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self { form, ..self }
    }

    /// The same with E interpolated in the place of D: DPM-Solver.
    #[must_use]
    pub fn in_noise_form(self) -> Self {
        Self {
            noise: true,
            ..self
        }
    }

    /// The same with lower orders at the end of every path.
    #[must_use]
    pub fn lower_order_final(self) -> Self {
        Self {
            lower_order_final: true,
            ..self
        }
    }

    /// The orders of K edges.
    fn orders(&self, steps: usize, clean: bool) -> Result<Vec<usize>, Error> {
        let mut orders: Vec<usize> = (0..steps).map(|index| index % self.order + 1).listed()?;
        // A last group that is complete ends one order lower, and the last edge is its own.
        if let Some(last) = orders.last_mut()
            && (clean || (self.lower_order_final && *last == self.order))
        {
            *last = 1;
        }
        Ok(orders)
    }

    /// The orders of a path's edges, which are the last of the part's list; a path longer than the
    /// list is grouped by its own length.
    pub(crate) fn orders_along(&self, path: &Path<'_>, part: Part) -> Result<Vec<usize>, Error> {
        let edges = path.grid().steps() + usize::from(part.idle_end);
        let total = part.total.max(edges);
        let mut orders = self.orders(total, path.grid().end().is_clean())?;
        orders.drain(..total - edges);
        Ok(orders)
    }
}

/// A group of edges, as far as it goes: its knots, and the gains of the state at the last.
struct Group {
    knots: Vec<NoiseLevel>,
    gains: Gains,
}

impl Group {
    fn at(knot: NoiseLevel) -> Self {
        Self {
            knots: vec![knot],
            gains: Gains::default(),
        }
    }

    /// Whether the knots and `to` are far enough from each other.
    fn reaches(&self, to: &NoiseLevel) -> bool {
        let least = MIN_RATIO * step_size(&self.knots[0], to);
        // Not `<`: NaN where the group starts at α = 0.
        least.is_finite()
            && self
                .knots
                .windows(2)
                .all(|pair| step_size(&pair[0], &pair[1]) >= least)
    }
}

/// How a path is a part of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    /// The number of edges of the whole list, of which the path has the last ones.
    pub(crate) total: usize,
    /// Whether an edge of no length is to come, from the last knot to itself.
    pub(crate) idle_end: bool,
    /// Whether a group goes on over any ratio of its edges.
    pub(crate) unbounded: bool,
}

impl GroupedSinglestep {
    /// The plan of a part of a list.
    pub(crate) fn plan_part(&self, path: &Path<'_>, part: Part) -> Result<Plan, Error> {
        let rule = Rule::of(self.noise, self.form);
        let orders = self.orders_along(path, part)?;
        let mut group = Group::at(path.grid().start());
        let mut steps = crate::memory::reserve(&[orders.len()])?;
        for (index, (from, to)) in path.edges().enumerate() {
            let alone = orders.get(index) == Some(&1);
            let reaches = part.unbounded || group.reaches(&to);
            if alone || group.knots.len() > self.order || !reaches {
                group = Group::at(from);
            }
            let update = match rule.update(&group.knots, group.gains, to)? {
                Some((update, gains)) => {
                    group.gains = gains;
                    update
                }
                None => {
                    group = Group::at(from);
                    StridedPosterior::new(from, to, Kappa::Ddim)?
                        .transition()
                        .into()
                }
            };
            let slot = group.knots.len() - 1;
            let kept = (slot + 1 < self.order).then(|| Store::data(slot));
            let update = Update {
                store: kept,
                ..update
            };
            group.knots.push(to);
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
        }
        // An edge of no length that ends a group takes its last knot again, by all its estimates.
        let again = part.idle_end && orders.last().is_some_and(|&order| order > 1);
        let to = path.grid().end();
        if again
            && (2..=self.order).contains(&group.knots.len())
            && let Some(last) = steps.last_mut()
            && let Some((update, _)) = rule.update(&group.knots, group.gains, to)?
        {
            last.stages.push(Stage::evaluating(to, update));
        }
        Plan::new(steps, self.order - 1)
    }
}

impl Solver for GroupedSinglestep {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let whole = Part {
            total: path.grid().steps(),
            idle_end: false,
            unbounded: false,
        };
        self.plan_part(path, whole)
    }

    /// With lower orders at the end at most 2: the last edge is of first order.
    fn order(&self) -> usize {
        if self.lower_order_final {
            self.order.min(2)
        } else {
            self.order
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Lu et al. 2022; diffusers, DPMSolverSinglestepScheduler";
    let [second, third] = [2, 3].map(GroupedSinglestep::of);
    let exact = SecondOrderForm::Exact;
    vec![
        Entry::new("grouped DPM-Solver++(2S)", second, source),
        Entry::new("grouped DPM-Solver++(3S)", third, source),
        Entry::new(
            "grouped DPM-Solver++(3S), exact",
            third.with_form(exact),
            source,
        ),
        Entry::new("grouped DPM-Solver-2", second.in_noise_form(), source),
        Entry::new("grouped DPM-Solver-3", third.in_noise_form(), source),
    ]
}
