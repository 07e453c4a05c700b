//! Adams–Bashforth methods with the steps' own sizes: LMS, ρAB-DEIS.

use super::slopes::{Axis, MIN_RATIO, Slopes, on_nodes_apart};
use super::weights::polynomial;
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::plan::Plan;

/// The linear multistep method (LMS): the exact integral of the polynomial through the last k
/// estimates E of ε, in ρ = σ/α. One evaluation a step, order k where the first k − 1 steps are
/// exact.
///
/// ```text
/// x_s/α_s = x_t/α_t + (ρ_s − ρ_t) Σ_j w_j E_j        w_j = ∫₀¹ l_j(u) du
/// ```
///
/// with l_j the Lagrange basis on u_j = (ρ_j − ρ_t)/(ρ_s − ρ_t): 0 at the step's start, negative at
/// the knots before it. It is k-diffusion's `lms` (order 4), diffusers' LMSDiscreteScheduler, the
/// Adams–Bashforth method of variable steps, and ρAB-DEIS of Zhang and Chen (2023), "Fast Sampling
/// of Diffusion Models with Exponential Integrator" (ComfyUI's `deis_mode = "rhoab"` with
/// `max_order` k − 1).
///
/// The order grows with the steps taken: 1, 2, …, k. With this start every order from 3 on converges
/// with order 2. The step onto σ_s = 0 returns D, as in ComfyUI;
/// [`extrapolated_end`](Self::extrapolated_end) is the published form. The level α_t = 0 is left by
/// a first-order step and enters no later one. Knots nearer than 1/16 of the step to one another do
/// not both enter, and the order is lower there.
///
/// Use it with many steps and without strong guidance: in ρ the steps at high noise are long, and
/// extrapolation over them overshoots where the exponential forms
/// ([`DpmSolverPlusPlus`](super::DpmSolverPlusPlus)) do not.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
/// use diffusion_sampler::solver::{LinearMultistep, Path, Solver};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 20, edm.lambda_range(), 7.0)?;
/// let plan = LinearMultistep::order(4)?.plan(&Path::new(&edm, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 3));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "LMS")]
#[doc(alias = "lms")]
#[doc(alias = "LMSDiscreteScheduler")]
#[doc(alias = "Adams-Bashforth")]
#[doc(alias = "rhoab")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearMultistep {
    pub(super) order: usize,
    pub(super) axis: Axis,
    pub(super) extrapolated_end: bool,
}

impl LinearMultistep {
    /// The method of this order; 1 is DDIM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=4).contains(&order), "order", order as f64, "1 to 4")?;
        Ok(Self {
            order,
            axis: Axis::Rho,
            extrapolated_end: false,
        })
    }

    /// The same rule for the velocity E − D in flow time σ/(α + σ): what ComfyUI's sampler of this
    /// name does with a flow model. A start at α = 0 is then a knot as any other.
    #[must_use]
    pub fn in_flow_time(self) -> Self {
        Self {
            axis: Axis::FlowTime,
            ..self
        }
    }

    /// Extrapolates onto σ_s = 0 too, as k-diffusion and diffusers do. That step is often much
    /// longer in ρ than those before it, and then multiplies what a network adds to E.
    #[must_use]
    pub fn extrapolated_end(self) -> Self {
        Self {
            extrapolated_end: true,
            ..self
        }
    }
}

impl Solver for LinearMultistep {
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
            on_nodes_apart(&self.axis.nodes(from, to, past), MIN_RATIO, polynomial)
        })
    }

    fn order(&self) -> usize {
        self.order
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Adams–Bashforth; Zhang and Chen 2023 (ρAB-DEIS)";
    let named = [(2, "LMS 2"), (3, "LMS 3"), (4, "LMS 4")];
    let in_flow_time = |solver: LinearMultistep| solver.in_flow_time();
    let entry = |(order, name)| {
        Some(Entry::new(
            name,
            LinearMultistep::order(order).ok()?,
            source,
        ))
    };
    let flow = LinearMultistep::order(3).ok().map(in_flow_time);
    let flow = flow.map(|solver| Entry::new("LMS 3 in flow time", solver, source));
    named.into_iter().filter_map(entry).chain(flow).collect()
}
