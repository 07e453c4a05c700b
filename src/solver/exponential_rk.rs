//! Exponential Runge–Kutta methods on D, with and without noise: SEEDS, exponential Heun, RES.

use super::weights::moment;
use super::{Entry, Path, SecondOrderForm, Solver};
use crate::error::{Error, require, require_length, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Explicit exponential Runge–Kutta methods with two or three stages, on the equation of constant
/// noise rate τ: SEEDS, exponential Heun and RES.
///
/// In λ the state obeys dx/dλ = (d ln σ/dλ − τ²) x + (1 + τ²) α D plus noise of rate τ. With p =
/// 1 + τ², z = ph and nodes 0 = c₀ < c₁ (< c₂) ≤ 1 within the step, σ_i and α_i at λ_t + c_i h:
///
/// ```text
/// x_i = (σ_i/σ_t) e^(−τ²c_i h) x_t + α_i ((1 − e^(−c_i z)) D₀ + Σ_(j≥1) a_ij (D_j − D₀)) + σ_i Y_i
/// two stages     b₁ = (1 − e^−z)/(2c₁)  (midpoint)   or   zφ₂(−z)/c₁  (exact)
/// three stages   b₁ = zφ₂(−z) (3c₂ − 2)/(3c₁(c₂ − c₁)),   b₂ = zφ₂(−z) (2 − 3c₁)/(3c₂(c₂ − c₁))
///                a₂₁ = z(γc₁ φ₂(−c₁z) + (c₂²/c₁) φ₂(−c₂z)),   γ = c₂(3c₂ − 2)/(c₁(2 − 3c₁))
/// ```
///
/// D_i is the model's answer on x_i, and the step's end is the last line with its b in the place of
/// a. Y is one path of the noise: between two nodes it decays by κ = e^(−τ²δ), δ = λ_j − λ_i, and
/// gains a new normal, Y_j = κY_i + √(1 − κ²) z_j. So stage i (from 0) draws one normal, for the
/// interval from its node to the next; on a [`BrownianPath`](crate::noise::BrownianPath) they are
/// increments of one path. Where τ = 0 nothing is drawn.
///
/// | constructor | nodes | weights | τ | evaluations a step |
/// |---|---|---|---|---|
/// | [`seeds`](Self::seeds)`(2)` | ½ | midpoint | 1 | 2 |
/// | [`seeds`](Self::seeds)`(3)` | ⅓, ⅔ | exact | 1 | 3 |
/// | [`heun`](Self::heun) | 1 | exact | 0 | 2 |
/// | [`res`](Self::res)`(2)` | ½ | exact | 0 | 2 |
/// | [`res`](Self::res)`(3)` | ½, 1 | exact | 0 | 3 |
///
/// The order is the number of stages where τ = 0. With noise the distribution of Gaussian data has
/// order 2, with three stages too: ∫ D dλ along a path has a random part of size h^(3/2) that no
/// weights on the increments of the path alone can follow. Strong order along a path is 1.
///
/// A step onto σ_s = 0 or from α_t = 0 is first order and takes one evaluation; so is one too short
/// for a level of the schedule within it. A node within a step needs a path with a schedule.
///
/// Use these where evaluations of a stiff, guided model may not be reused over steps: they keep
/// their order over any step ratio, as [`DpmSolverPlusPlus`](super::DpmSolverPlusPlus) does not.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
/// use diffusion_sampler::solver::{ExponentialRungeKutta, Path, Solver};
///
/// let flow = RectifiedFlow::shifted(3.0)?;
/// let grid = Grid::trailing(&flow, 10)?;
/// let path = Path::new(&flow, &grid)?;
/// let plan = ExponentialRungeKutta::seeds(2)?.with_tau(0.5)?.plan(&path)?;
/// // The first step leaves pure noise and the last reaches the clean end.
/// assert_eq!((plan.evaluations(), plan.slots()), (18, 1));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Hochbruck and Ostermann (2005), "Explicit Exponential Runge–Kutta Methods for Semilinear
/// Parabolic Problems" (weights); Gonzalez et al. (2023), "SEEDS: Exponential SDE Solvers for Fast
/// High-Quality Sampling from Diffusion Models"; Zhang, Song and Chen (2023), "Improved Order
/// Analysis and Design of Exponential Integrator for Diffusion Models Sampling" (RES).
#[doc(alias("SEEDS", "seeds_2", "seeds_3", "exp_heun_2_x0", "res_2s", "res_3s"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialRungeKutta {
    pub(super) tableau: Tableau,
    pub(super) tau: f64,
    pub(super) noise_scale: f64,
}

impl ExponentialRungeKutta {
    const fn new(tableau: Tableau, tau: f64) -> Self {
        Self {
            tableau,
            tau,
            noise_scale: 1.0,
        }
    }

    /// SEEDS with two or three stages, τ = 1. At τ = 0 they are DPM-Solver++(2S) and (3S).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for another order.
    pub fn seeds(order: usize) -> Result<Self, Error> {
        Ok(Self::new(Tableau::plus_plus(order)?, 1.0))
    }

    /// Exponential Heun: a first-order step, and D interpolated between both ends.
    ///
    /// The name's other weights, (D₀ + D₁)/2, are [`SecondOrderForm::Midpoint`]. No level between
    /// the knots is needed. With [`with_tau`](Self::with_tau) it is the stochastic form.
    #[doc(alias("exp_heun_2_x0", "exp_heun_2_x0_sde"))]
    pub fn heun() -> Self {
        Self::new(Tableau::HEUN, 0.0)
    }

    /// RES, single-step, with two or three stages.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for another order.
    pub fn res(order: usize) -> Result<Self, Error> {
        require_stages(order)?;
        let tableau = match order {
            2 => Tableau::RES_2S,
            _ => Tableau::RES_3S,
        };
        Ok(Self::new(tableau, 0.0))
    }

    /// The same with another noise rate τ; its square is k-diffusion's and ComfyUI's eta.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `tau` is finite and at least 0.
    #[doc(alias = "eta")]
    pub fn with_tau(self, tau: f64) -> Result<Self, Error> {
        require_non_negative("tau", tau)?;
        Ok(Self { tau, ..self })
    }

    /// The same with other nodes, as fractions of the step in λ: c₁ for two stages, c₁ and c₂ for
    /// three.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for another number of nodes; [`Error::InvalidEntry`] unless 0 < c₁ (<
    /// c₂) ≤ 1; [`Error::InvalidParameter`] where c₁ = ⅔ of three stages: no such method has order
    /// 3.
    #[doc(alias("r", "r_1", "r_2", "c2", "c3"))]
    pub fn with_nodes(self, nodes: &[f64]) -> Result<Self, Error> {
        let tableau = self.tableau.with_nodes(nodes)?;
        Ok(Self { tableau, ..self })
    }

    /// The same with other weights, where there are two stages; with three they are always exact.
    #[must_use]
    #[doc(alias = "solver_type")]
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self {
            tableau: Tableau {
                form,
                ..self.tableau
            },
            ..self
        }
    }

    /// The same with all noise scaled. With a factor other than 1 samples have too much noise or
    /// too little, whatever the number of steps.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is finite and at least 0.
    #[doc(alias = "s_noise")]
    pub fn with_noise_scale(self, noise_scale: f64) -> Result<Self, Error> {
        require_non_negative("noise scale", noise_scale)?;
        Ok(Self {
            noise_scale,
            ..self
        })
    }
}

impl Solver for ExponentialRungeKutta {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] for a node between the knots of a path of bare levels.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let rate = Rate::Constant(self.tau);
        self.tableau.plan(path, rate, self.noise_scale)
    }

    fn order(&self) -> usize {
        if self.tau > 0.0 {
            2
        } else {
            self.tableau.stages
        }
    }
}

fn require_stages(order: usize) -> Result<(), Error> {
    require(
        matches!(order, 2 | 3),
        "order",
        order as f64,
        "2 or 3 for a single-step solver",
    )
}

/// Nodes and weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tableau {
    pub(super) stages: usize,
    pub(super) nodes: [f64; 2],
    pub(super) form: SecondOrderForm,
}

/// How noise enters a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    /// At every stage, with constant τ.
    Constant(f64),
    /// At the step's end only: a deterministic step to (α_s, κσ_s) before it.
    Ancestral(Kappa),
}

/// A node of a step: the level, and what leads there.
struct Row {
    level: NoiseLevel,
    /// The factor on the state of the node before.
    state: f64,
    /// The weights of D₀, D₁, D₂, as from the step's start.
    data: [f64; 3],
    noise: f64,
}

impl Tableau {
    const HEUN: Self = Self::two(1.0, SecondOrderForm::Exact);
    const RES_2S: Self = Self::two(0.5, SecondOrderForm::Exact);
    const RES_3S: Self = Self::three(0.5, 1.0);
    pub(super) const PLUS_PLUS_2S: Self = Self::two(0.5, SecondOrderForm::Midpoint);
    pub(super) const PLUS_PLUS_3S: Self = Self::three(1.0 / 3.0, 2.0 / 3.0);

    const fn two(node: f64, form: SecondOrderForm) -> Self {
        Self {
            stages: 2,
            nodes: [node, 0.0],
            form,
        }
    }

    const fn three(first: f64, second: f64) -> Self {
        Self {
            stages: 3,
            nodes: [first, second],
            form: SecondOrderForm::Exact,
        }
    }

    /// DPM-Solver++(2S) or (3S).
    pub(super) fn plus_plus(order: usize) -> Result<Self, Error> {
        require_stages(order)?;
        Ok(match order {
            2 => Self::PLUS_PLUS_2S,
            _ => Self::PLUS_PLUS_3S,
        })
    }

    pub(super) fn stages(&self) -> usize {
        self.stages
    }

    /// Those of the stages after the first.
    #[cfg(feature = "serde")]
    pub(super) fn nodes(&self) -> &[f64] {
        let [first, _] = &self.nodes;
        match self.stages {
            2 => std::slice::from_ref(first),
            _ => &self.nodes,
        }
    }

    pub(super) fn with_nodes(self, nodes: &[f64]) -> Result<Self, Error> {
        require_length("nodes", self.stages - 1, nodes.len())?;
        let mut own = [0.0; 2];
        let mut before = 0.0;
        for (index, (own, &value)) in own.iter_mut().zip(nodes).enumerate() {
            if !(value > before && value <= 1.0) {
                return Err(Error::InvalidEntry {
                    name: "nodes",
                    index,
                    value,
                    requirement: "above the one before, above 0 and at most 1",
                });
            }
            before = value;
            *own = value;
        }
        if let [first, _] = *nodes {
            require(
                // Equivalent mutant: replace > with >=: a node at the bound is either.
                (2.0 - 3.0 * first).abs() > 1e-6,
                "first node",
                first,
                "other than 2/3 for order 3",
            )?;
        }
        Ok(Self { nodes: own, ..self })
    }

    /// γ with 2(γc₁ + c₂) = 3(γc₁² + c₂²).
    fn gamma(&self) -> f64 {
        let [first, second] = self.nodes;
        second * (3.0 * second - 2.0) / (first * (2.0 - 3.0 * first))
    }

    /// The weights of D₁ and D₂ in the state at node `index` (1, 2; `stages` is the step's end),
    /// relative to α there.
    fn weights(&self, index: usize, z: f64) -> [f64; 2] {
        let [first, second] = self.nodes;
        match (self.stages, index) {
            (2, 2) if self.form == SecondOrderForm::Midpoint => {
                [-libm::expm1(-z) / (2.0 * first), 0.0]
            }
            (2, 2) => [moment(1, z) / first, 0.0],
            (3, 2) => {
                // z(γc₁ φ₂(−c₁z) + (c₂²/c₁) φ₂(−c₂z)).
                let near = self.gamma() * moment(1, first * z);
                [near + second / first * moment(1, second * z), 0.0]
            }
            (3, 3) => {
                let common = moment(1, z) / (3.0 * (second - first));
                let (at_first, at_second) = (3.0 * second - 2.0, 2.0 - 3.0 * first);
                [common * at_first / first, common * at_second / second]
            }
            _ => [0.0; 2],
        }
    }

    /// The plan of all steps along a path.
    pub(super) fn plan(
        &self,
        path: &Path<'_>,
        rate: Rate,
        noise_scale: f64,
    ) -> Result<Plan, Error> {
        let steps = path
            .edges()
            .map(|(from, to)| {
                let mut step = self.step(path, (from, to), rate)?;
                for stage in &mut step.stages {
                    stage.update.noise *= noise_scale;
                }
                Ok(step)
            })
            .all_listed()?;
        let stages = steps.iter().map(|step| step.stages.len()).max();
        Plan::new(steps, stages.unwrap_or(1) - 1)
    }

    fn step(
        &self,
        path: &Path<'_>,
        (from, to): (NoiseLevel, NoiseLevel),
        rate: Rate,
    ) -> Result<Step, Error> {
        let kappa = match rate {
            Rate::Constant(tau) => Kappa::Tau(tau),
            Rate::Ancestral(kappa) => kappa,
        };
        let whole = StridedPosterior::new(from, to, kappa)?;
        let Some(rows) = self.rows(path, &whole, rate)? else {
            let update = Update::from(whole.transition());
            return Ok(Step::simple(from, to, update));
        };
        // x_i = f x_{i−1} + Σ (w_ij − f w_{i−1,j}) D_j + noise: what the state at one node says of
        // the step's start and of the path's noise so far serves the next.
        let mut before = ([0.0; 3], from);
        let mut stages = crate::memory::reserve(&[rows.len()])?;
        for (index, row) in rows.iter().enumerate() {
            let weight = |j: usize| row.data[j] - row.state * before.0[j];
            let update = Update {
                state: row.state,
                data: weight(index),
                history: (0..index).map(|slot| (slot, weight(slot))).listed()?,
                noise: row.noise,
                store: (index + 1 < rows.len()).then(|| Store::data(index)),
            };
            stages.push(Stage::evaluating(before.1, update));
            before = (row.data, row.level);
        }
        Ok(Step { from, to, stages })
    }

    /// The nodes and the end of a step; `None` where it is first order.
    fn rows(
        &self,
        path: &Path<'_>,
        whole: &StridedPosterior,
        rate: Rate,
    ) -> Result<Option<Vec<Row>>, Error> {
        let (from, to, h) = (whole.from(), whole.to(), whole.step_size());
        // The distance in λ that the deterministic part goes, and p.
        let (distance, p, stage_kappa) = match rate {
            Rate::Constant(tau) => (h, 1.0 + tau * tau, Kappa::Tau(tau)),
            Rate::Ancestral(_) => (h - libm::log(whole.kappa()), 1.0, Kappa::Ddim),
        };
        if !distance.is_finite() {
            return Ok(None);
        }
        let row = |index, level: NoiseLevel, state, data: f64, noise| {
            let weights = self.weights(index, p * distance);
            let [first, second] = weights.map(|weight| level.alpha() * weight);
            Row {
                level,
                state,
                data: [data - first - second, first, second],
                noise,
            }
        };
        let (mut before, mut rows) = (from, crate::memory::reserve(&[self.stages])?);
        for (index, &node) in self.nodes.iter().enumerate().take(self.stages - 1) {
            let Some(level) = node_level(path, whole, node * distance)? else {
                return Ok(None);
            };
            let data = StridedPosterior::new(from, level, stage_kappa)?.data_coefficient();
            let last = StridedPosterior::new(before, level, stage_kappa)?;
            let (state, noise) = (last.state_coefficient(), last.gamma());
            rows.push(row(index + 1, level, state, data, noise));
            before = level;
        }
        let (state, noise) = match rate {
            Rate::Constant(_) => {
                let last = StridedPosterior::new(before, to, stage_kappa)?;
                (last.state_coefficient(), last.gamma())
            }
            Rate::Ancestral(_) => {
                let state = to.sigma() / before.sigma() * whole.kappa();
                (state, whole.gamma())
            }
        };
        let data = whole.data_coefficient();
        rows.push(row(self.stages, to, state, data, noise));
        Ok(Some(rows))
    }
}

/// The level `offset` in λ behind the start of a step; `None` where the schedule does not resolve
/// it. The step's end is no new level.
pub(super) fn node_level(
    path: &Path<'_>,
    step: &StridedPosterior,
    offset: f64,
) -> Result<Option<NoiseLevel>, Error> {
    let (from, h) = (step.from(), step.step_size());
    if (offset - h).abs() <= 1e-9 * h + 1e-14 {
        return Ok(Some(step.to()));
    }
    let level = path.at_lambda(from.lambda() + offset)?;
    let reached = level.lambda() - from.lambda();
    Ok(((reached - offset).abs() <= 1e-3 * offset).then_some(level))
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = |name, tableau, tau, source| {
        Entry::new(name, ExponentialRungeKutta::new(tableau, tau), source)
    };
    let (seeds, res) = ("Gonzalez et al. 2023", "Zhang, Song and Chen 2023");
    let heun = "Hochbruck and Ostermann 2005";
    vec![
        entry("SEEDS-2", Tableau::PLUS_PLUS_2S, 1.0, seeds),
        entry("SEEDS-3", Tableau::PLUS_PLUS_3S, 1.0, seeds),
        entry("exponential Heun", Tableau::HEUN, 0.0, heun),
        entry("exponential Heun SDE", Tableau::HEUN, 1.0, seeds),
        entry("RES-2s", Tableau::RES_2S, 0.0, res),
        entry("RES-3s", Tableau::RES_3S, 0.0, res),
    ]
}

#[cfg(test)]
mod tests {
    use super::node_level;
    use crate::error::Error;
    use crate::grid::Grid;
    use crate::level::NoiseLevel;
    use crate::posterior::{Kappa, StridedPosterior};
    use crate::solver::Path;

    #[test]
    fn a_node_within_rounding_of_the_end_is_the_end() -> Result<(), Error> {
        // A path without a schedule has no other level.
        for h in [1.0, 1e-6, 1e-10] {
            let (from, to) = (
                NoiseLevel::from_logs(2.0, 0.0, h)?,
                NoiseLevel::from_logs(1.0, 0.0, 0.0)?,
            );
            let grid = Grid::from_levels(vec![from, to], 1.0)?;
            let path = Path::without_schedule(&grid);
            let step = StridedPosterior::new(from, to, Kappa::Ddim)?;
            for rounding in [-5e-15, 0.0, 5e-15, -5e-10 * h, 5e-10 * h] {
                let found = node_level(&path, &step, h + rounding);
                assert_eq!(found, Ok(Some(to)), "{h} and {rounding:e}");
            }
            for offset in [0.5 * h, 0.99 * h, 1.01 * h] {
                let refused = node_level(&path, &step, offset);
                assert!(
                    matches!(refused, Err(Error::PathWithoutSchedule { .. })),
                    "{h}, {offset}"
                );
            }
        }
        Ok(())
    }
}
