//! iPNDM: Adams–Bashforth coefficients of even steps, on any steps.

use super::slopes::{Axis, MIN_RATIO, Slopes, Weights, even_adams, on_nodes_apart};
use super::weights::polynomial;
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::plan::Plan;

/// iPNDM: a DDIM step with E' = Σ w_j E_j, the weights those of Adams and Bashforth for even steps.
/// One evaluation a step.
///
/// | order | E' |
/// |---|---|
/// | 2 | (3E − E₋₁)/2 |
/// | 3 | (23E − 16E₋₁ + 5E₋₂)/12 |
/// | 4 | (55E − 59E₋₁ + 37E₋₂ − 9E₋₃)/24 |
///
/// Zhang and Chen (2023), "Fast Sampling of Diffusion Models with Exponential Integrator", after the
/// pseudo linear multistep method of Liu, Ren, Lin and Zhao (2022). This is ComfyUI's `ipndm`
/// (`max_order` 4). diffusers' IPNDMScheduler is this on the grid of σ = sin²(πk/2K), α² + σ² = 1,
/// with velocity prediction and [`extrapolated_end`](Self::extrapolated_end); it starts at α = 0
/// and there drops D from its first step.
///
/// Steps of a diffusion grid are uneven in ρ, where these weights are exact to order 1 and nearly so
/// to 2: the order of convergence is 2 for every order from 2 on.
/// [`variable_steps`](Self::variable_steps) takes the steps as they are.
///
/// The step onto σ_s = 0 returns D. The level α_t = 0 is left by a first-order step and enters no
/// later one.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{Ipndm, Path, Solver}};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 12)?;
/// let plan = Ipndm::order(4)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (12, 3));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "ipndm")]
#[doc(alias = "ipndm_v")]
#[doc(alias = "IPNDMScheduler")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ipndm {
    pub(super) order: usize,
    pub(super) steps: Steps,
    pub(super) axis: Axis,
    pub(super) extrapolated_end: bool,
}

/// What the weights take the steps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    Even,
    Variable,
    VariableAsPublished,
}

impl Ipndm {
    /// iPNDM of this order; 1 is DDIM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=4).contains(&order), "order", order as f64, "1 to 4")?;
        Ok(Self {
            order,
            steps: Steps::Even,
            axis: Axis::Rho,
            extrapolated_end: false,
        })
    }

    /// iPNDM-v: the Adams–Bashforth weights of the steps as they are. It then equals
    /// [`LinearMultistep`](super::LinearMultistep), limits included.
    #[must_use]
    pub fn variable_steps(self) -> Self {
        Self {
            steps: Steps::Variable,
            ..self
        }
    }

    /// iPNDM-v as diff-sampler and ComfyUI's `ipndm_v` (order 4) publish it. Orders 1 and 2 are those
    /// of [`variable_steps`](Self::variable_steps). From order 3 on it is not Adams and Bashforth's
    /// method: the second difference's weight is right for even steps only, by a bracket; the third
    /// one's is 11/24 in place of 9/24 even there, by a sign; and at order 4 the weights sum to one
    /// only where the ratios of the last three steps are equal, by an index (elsewhere it misses the
    /// mean in flow time). On smooth grids order 3 nevertheless converges with order 3, and order 4 with
    /// order 2, or 3 where neighbouring steps have one ratio.
    #[must_use]
    pub fn variable_steps_as_published(self) -> Self {
        Self {
            steps: Steps::VariableAsPublished,
            ..self
        }
    }

    /// The same weights for the velocity E − D in flow time σ/(α + σ): what ComfyUI's `ipndm` and
    /// `ipndm_v` do with a flow model. A start at α = 0 is then a knot as any other.
    #[must_use]
    pub fn in_flow_time(self) -> Self {
        Self {
            axis: Axis::FlowTime,
            ..self
        }
    }

    /// The step onto σ_s = 0 is made with E' too, as in diffusers; else it returns D.
    #[must_use]
    pub fn extrapolated_end(self) -> Self {
        Self {
            extrapolated_end: true,
            ..self
        }
    }
}

/// The weights that are published for variable steps, on the nodes 0, u₁, u₂, u₃.
fn published(nodes: &[f64]) -> Weights {
    let node = |j: usize| nodes.get(j).copied().unwrap_or_default();
    // The step, and the three before it, newest first.
    let (h, h1, h2, h3) = (1.0, -node(1), node(1) - node(2), node(2) - node(3));
    let first = h / (2.0 * h1);
    if nodes.len() < 2 {
        return [1.0, 0.0, 0.0, 0.0, 0.0];
    }
    if nodes.len() < 3 {
        return [1.0 + first, -first, 0.0, 0.0, 0.0];
    }
    // The weights of the differences, as published; a and b carry them to the slopes. The last a
    // would be h₂/h₃ in the right method.
    let second = 0.5 * (1.0 - h / (3.0 * (h + h1)) * (h * (h + h1)) / (h1 * (h1 + h2)));
    let a = h1 / h2;
    if nodes.len() < 4 {
        return [
            1.0 + first + second,
            -first - (1.0 + a) * second,
            a * second,
            0.0,
            0.0,
        ];
    }
    let third = (0.5 * (1.0 - h / (3.0 * (h + h1)))
        // Equivalent mutant: replace * with / (2): h is 1.
        + (1.0 - h / (2.0 * (h + h1))) * h / (6.0 * (h + h1 + h2)))
        * (h * (h + h1) * (h + h1 + h2))
        / (h1 * (h1 + h2) * (h1 + h2 + h3));
    let b = h1 * (h1 + h2) / (h2 * (h2 + h3));
    [
        1.0 + first + second + third,
        -first - (1.0 + a) * second - (1.0 + a + b) * third,
        a * second + (a + b * (1.0 + h2 / h3)) * third,
        -b * a * third,
        0.0,
    ]
}

impl Solver for Ipndm {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let slopes = Slopes {
            axis: self.axis,
            depth: self.order - 1,
            extrapolated_end: self.extrapolated_end,
        };
        slopes.plan(path, |from, to, past| {
            let nodes = || self.axis.nodes(from, to, past);
            match self.steps {
                Steps::Even => even_adams(past.len() + 1, 0.0),
                Steps::Variable => on_nodes_apart(&nodes(), MIN_RATIO, polynomial),
                Steps::VariableAsPublished => on_nodes_apart(&nodes(), MIN_RATIO, published),
            }
        })
    }

    fn order(&self) -> usize {
        match self.steps {
            Steps::Variable => self.order,
            Steps::VariableAsPublished if self.order == 3 => 3,
            Steps::Even | Steps::VariableAsPublished => self.order.min(2),
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Zhang and Chen 2023 (iPNDM)";
    let named = [(2, "iPNDM 2"), (3, "iPNDM 3"), (4, "iPNDM 4")];
    let even = |(order, name)| Some(Entry::new(name, Ipndm::order(order).ok()?, source));
    let published = |solver: Ipndm| solver.variable_steps_as_published();
    let published = Ipndm::order(4).ok().map(published);
    let published = published.map(|solver| Entry::new("iPNDM-v 4, as published", solver, source));
    named
        .into_iter()
        .filter_map(even)
        .chain(published)
        .collect()
}
