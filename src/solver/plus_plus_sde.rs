//! DPM++ SDE.

use super::exponential_rk::node_level;
use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// DPM++ SDE, k-diffusion's `dpmpp_sde`: an ancestral step to the node λ_t + rh, and one over the
/// whole step with D interpolated. Two evaluations a step, order 2 in distribution.
///
/// With κ(e) of [`Kappa::Eta`] on an edge e, c the node, h = λ_s − λ_t:
///
/// ```text
/// x_c = (σ_c/σ_t) κ(t,c) x_t + α_c (1 − κ(t,c) e^(−rh)) D₀ + σ_c √(1 − κ(t,c)²) z₁
/// x_s = (σ_s/σ_t) κ(t,s) x_t + α_s (1 − κ(t,s) e^−h) (D₀ + (D_c − D₀)/(2r)) + σ_s √(1 − κ(t,s)²) ζ
/// ζ = √q z₁ + √(1 − q) z₂,   q = (1 − e^(−rh))/(1 − e^−h)
/// ```
///
/// k-diffusion reads both noises off one Brownian tree in ρ = σ/α, where the two intervals overlap:
/// q = (ρ_t − ρ_c)/(ρ_t − ρ_s) is the square of their correlation. z₁ and z₂ are the normals that
/// stages 0 and 1 of the step draw. ComfyUI's tree runs in σ, which is another correlation on a
/// flow. The diffusion itself has κ(c,s)²(1 − κ(t,c)²)/(1 − κ(t,s)²) in the place of q: with it, and
/// η = 1, the step is [`ExponentialRungeKutta::seeds`](super::ExponentialRungeKutta::seeds)`(2)`.
/// Both have order 2 in distribution and 1 along a path.
///
/// A step onto σ_s = 0 or from α_t = 0 takes one evaluation, and so does one too short for a level
/// of the schedule within it. A node within a step needs a path with a schedule.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, TableSchedule}};
/// use diffusion_sampler::solver::{DpmPlusPlusSde, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::karras(&schedule, 10, schedule.lambda_range(), 7.0)?;
/// let plan = DpmPlusPlusSde::new().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (19, 1));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Crowson's k-diffusion, `sample_dpmpp_sde`; Lu et al. (2022), "DPM-Solver++: Fast Solver for
/// Guided Sampling of Diffusion Probabilistic Models".
#[doc(alias("DPM++ SDE", "dpmpp_sde", "DPMSolverSDEScheduler"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmPlusPlusSde {
    pub(super) node: f64,
    pub(super) eta: f64,
    pub(super) noise_scale: f64,
}

impl Default for DpmPlusPlusSde {
    fn default() -> Self {
        Self::new()
    }
}

impl DpmPlusPlusSde {
    /// DPM++ SDE with r = ½ and η = 1.
    pub fn new() -> Self {
        Self {
            node: 0.5,
            eta: 1.0,
            noise_scale: 1.0,
        }
    }

    /// The same with another η; 0 is DPM-Solver++(2S).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `eta` is finite and at least 0.
    pub fn with_eta(self, eta: f64) -> Result<Self, Error> {
        require_non_negative("eta", eta)?;
        Ok(Self { eta, ..self })
    }

    /// The same with another node r, as a fraction of the step in λ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `node` ≤ 1.
    #[doc(alias = "r")]
    pub fn with_node(self, node: f64) -> Result<Self, Error> {
        require(
            node > 0.0 && node <= 1.0,
            "node",
            node,
            "above 0 and at most 1",
        )?;
        Ok(Self { node, ..self })
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

    fn step(&self, path: &Path<'_>, from: NoiseLevel, to: NoiseLevel) -> Result<Step, Error> {
        let kappa = Kappa::Eta(self.eta);
        let whole = StridedPosterior::new(from, to, kappa)?;
        let h = whole.step_size();
        let node = match h.is_finite() {
            true => node_level(path, &whole, self.node * h)?,
            false => None,
        };
        let Some(node) = node else {
            let update = Update::from(whole.transition());
            let noise = self.noise_scale * update.noise;
            return Ok(Step::simple(from, to, update.with_noise(noise)));
        };
        let half = StridedPosterior::new(from, node, kappa)?;
        // x_s = slot + f x_c + …: x_c holds z₁ already. f = √q σ_s √(1 − κ(t,s)²)/(σ_c √(1 −
        // κ(t,c)²)), in which η cancels and the differences divide.
        let rh = half.step_size();
        let sums = (1.0 + libm::exp(-h)) / (1.0 + libm::exp(-rh));
        let recovered = to.sigma() / node.sigma() * sums.sqrt();
        // 1 − q.
        let fresh = libm::exp(-rh) * libm::expm1(rh - h) / libm::expm1(-h);
        let at_node = whole.data_coefficient() / (2.0 * self.node);
        let slot = Store::linear(
            0,
            whole.state_coefficient() - recovered * half.state_coefficient(),
            whole.data_coefficient() - at_node - recovered * half.data_coefficient(),
        );
        let first = Update::from(half.transition())
            .with_noise(self.noise_scale * half.gamma())
            .storing(slot);
        let second = Update {
            state: recovered,
            data: at_node,
            history: vec![(0, 1.0)],
            noise: self.noise_scale * whole.gamma() * fresh.max(0.0).sqrt(),
            store: None,
        };
        let stages = vec![
            Stage::evaluating(from, first),
            Stage::evaluating(node, second),
        ];
        Ok(Step { from, to, stages })
    }
}

impl Solver for DpmPlusPlusSde {
    /// # Errors
    ///
    /// [`Error::EtaOutOfRange`] for an η above 1 that a step does not allow;
    /// [`Error::PathWithoutSchedule`] for a node between the knots of a path of bare levels.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| self.step(path, from, to));
        Plan::of_steps(steps.all_listed()?)
    }

    fn order(&self) -> usize {
        2
    }
}

pub(super) fn entries() -> Vec<Entry> {
    vec![Entry::new(
        "DPM++ SDE",
        DpmPlusPlusSde::new(),
        "k-diffusion, dpmpp_sde",
    )]
}
