//! DPM-Solver++, single-step, and its ancestral form.

use super::exponential_rk::{Rate, Tableau};
use super::{Entry, Path, Solver};
use crate::error::{Error, require_non_negative};
use crate::plan::Plan;
use crate::posterior::Kappa;

/// DPM-Solver++(2S) and (3S): two or three evaluations a step, order 2 or 3 without any history.
///
/// With h = λ_s − λ_t and nodes at λ_t + c_i h, c₁ = ½ for two stages, c₁ = ⅓ and c₂ = ⅔ for three:
///
/// ```text
/// x₁  = (σ₁/σ_t) x_t + α₁ (1 − e^(−c₁h)) D₀
/// 2S  x_s = (σ_s/σ_t) x_t + α_s (1 − e^−h) (D₀ + (D₁ − D₀)/(2c₁))
/// 3S  x₂  = (σ₂/σ_t) x_t + α₂ ((1 − e^(−c₂h)) D₀ + (c₂²/c₁) h φ₂(−c₂h) (D₁ − D₀))
///     x_s = (σ_s/σ_t) x_t + α_s ((1 − e^−h) D₀ + hφ₂(−h)/c₂ (D₂ − D₀))
/// ```
///
/// Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver++: Fast Solver for Guided Sampling of
/// Diffusion Probabilistic Models". A step onto σ_s = 0 or from α_t = 0 is first order, and so is
/// one too short for a level of the schedule within it. A path of bare levels has no nodes. For
/// c₂ other than ⅔ the weights are those of [`ExponentialRungeKutta`](super::ExponentialRungeKutta),
/// which keep order 3.
///
/// # Ancestral
///
/// With a policy κ ([`with_kappa`](Self::with_kappa)) each step goes deterministically to less
/// noise than the grid's, (α_s, κσ_s), and adds noise σ_s√(1 − κ²): h becomes h − ln κ, in every
/// formula above. With [`Kappa::Eta`] it is k-diffusion's `dpmpp_2s_ancestral`. Adding noise to an
/// exact sample at the lower level gives an exact one at the grid's, so the order in distribution
/// is the deterministic solver's. With η = 1 the node of two stages is the step's end itself; nodes
/// beyond it ask for levels below the grid's.
///
/// ```
/// use diffusion_sampler::{Grid, posterior::Kappa, schedule::TableSchedule};
/// use diffusion_sampler::solver::{DpmSolverPlusPlusSinglestep, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::karras(&schedule, 10, schedule.lambda_range(), 7.0)?;
/// let path = Path::new(&schedule, &grid)?;
/// let solver = DpmSolverPlusPlusSinglestep::order(2)?;
/// assert_eq!(solver.plan(&path)?.evaluations(), 19);
/// let ancestral = solver.with_kappa(Kappa::Eta(1.0));
/// assert!(ancestral.plan(&path)?.is_stochastic());
/// # use diffusion_sampler::schedule::NoiseSchedule;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("DPM++ 2S a", "dpmpp_2s_ancestral", "DPMSolverSinglestepScheduler"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmSolverPlusPlusSinglestep {
    pub(super) tableau: Tableau,
    pub(super) kappa: Kappa,
    pub(super) noise_scale: f64,
}

impl DpmSolverPlusPlusSinglestep {
    const fn new(tableau: Tableau, kappa: Kappa) -> Self {
        Self {
            tableau,
            kappa,
            noise_scale: 1.0,
        }
    }

    /// DPM-Solver++(2S) for order 2, (3S) for order 3.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for another order.
    pub fn order(order: usize) -> Result<Self, Error> {
        Ok(Self::new(Tableau::plus_plus(order)?, Kappa::Ddim))
    }

    /// The same with other nodes, as fractions of the step in λ: c₁ for order 2, c₁ and c₂ for
    /// order 3.
    ///
    /// # Errors
    ///
    /// As [`ExponentialRungeKutta::with_nodes`](super::ExponentialRungeKutta::with_nodes).
    pub fn with_nodes(self, nodes: &[f64]) -> Result<Self, Error> {
        let tableau = self.tableau.with_nodes(nodes)?;
        Ok(Self { tableau, ..self })
    }

    /// The ancestral form: noise is added after each step, by this policy. κ = 0 leaves a
    /// first-order step.
    #[must_use]
    #[doc(alias("ancestral", "eta"))]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
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

impl Solver for DpmSolverPlusPlusSinglestep {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] for a node between the knots of a path of bare levels;
    /// [`Error::LambdaOutOfRange`] for one below the schedule's last level, which ancestral steps
    /// can ask for; what [`StridedPosterior::new`](crate::posterior::StridedPosterior::new) refuses
    /// of the policy.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let rate = Rate::Ancestral(self.kappa);
        self.tableau.plan(path, rate, self.noise_scale)
    }

    fn order(&self) -> usize {
        self.tableau.stages()
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let entry = |name, tableau, kappa, source| {
        Entry::new(
            name,
            DpmSolverPlusPlusSinglestep::new(tableau, kappa),
            source,
        )
    };
    let (two, three) = (Tableau::PLUS_PLUS_2S, Tableau::PLUS_PLUS_3S);
    let (source, ancestral) = ("Lu et al. 2022", "k-diffusion, dpmpp_2s_ancestral");
    vec![
        entry("DPM-Solver++(2S)", two, Kappa::Ddim, source),
        entry("DPM-Solver++(3S)", three, Kappa::Ddim, source),
        entry("DPM-Solver++(2S) ancestral", two, Kappa::Ddpm, ancestral),
    ]
}
