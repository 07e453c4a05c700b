//! DPM-Solver++(2S), ancestral, for CFG++.

use super::exponential_rk::node_level;
use super::{Entry, Path, Solver};
use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// DPM-Solver++(2S), ancestral, for [`PlusPlus`](crate::guidance::PlusPlus) guidance: ComfyUI's
/// `dpmpp_2s_ancestral_cfg_pp`. Two evaluations a step.
///
/// Both stages follow the unconditional estimate U, to (α_s, κσ_s); then the guidance of the step's
/// start is added, and noise. With h' = λ_s − λ_t − ln κ and the node c at λ_t + h'/2:
///
/// ```text
/// x_c = (σ_c/σ_t) x_t + α_c (1 − e^(−h'/2)) U_t
/// x_s = κ(σ_s/σ_t) x_t + α_s (1 − e^−h') U_c + α_s (D_t − U_t) + σ_s √(1 − κ²) z
/// ```
///
/// An update knows D and, in the place of x, αD + σE = x + α(D − U) (see
/// [`Update`]). So two stages without the model keep x itself in slots, and U = D −
/// ((αD + σE) − x)/α. Where α_t is small against σ_t that difference loses digits: a step from ρ_t
/// above 1000 is first order, α_s D + κσ_s E.
///
/// Without two estimates (no guidance, or one that moves both) it is
/// [`DpmSolverPlusPlusSinglestep`](super::DpmSolverPlusPlusSinglestep)`::order(2)` with the same κ,
/// whose order it has. A step onto σ_s = 0 takes one evaluation and gives D.
///
/// ```
/// use diffusion_sampler::{Grid, posterior::Kappa, schedule::{NoiseSchedule, TableSchedule}};
/// use diffusion_sampler::solver::{CfgPlusPlusSinglestep, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::karras(&schedule, 10, schedule.lambda_range(), 7.0)?;
/// let plan = CfgPlusPlusSinglestep::new(Kappa::Eta(1.0)).plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (19, 3));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// ComfyUI, `sample_dpmpp_2s_ancestral_cfg_pp`; Chung et al. (2024), "CFG++: Manifold-constrained
/// Classifier Free Guidance for Diffusion Models".
#[doc(alias("dpmpp_2s_ancestral_cfg_pp", "CFG++"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CfgPlusPlusSinglestep {
    pub(super) kappa: Kappa,
    pub(super) noise_scale: f64,
}

/// The largest ρ_t from which U is formed: its rounding is ρ_t times that of x.
const MAX_RHO: f64 = 1e3;

impl CfgPlusPlusSinglestep {
    /// The solver with this noise policy; [`Kappa::Ddim`] adds none.
    pub fn new(kappa: Kappa) -> Self {
        Self {
            kappa,
            noise_scale: 1.0,
        }
    }

    /// The same with all noise scaled.
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
        let whole = StridedPosterior::new(from, to, self.kappa)?;
        let noise = self.noise_scale * whole.gamma();
        let distance = whole.step_size() - libm::log(whole.kappa());
        let node = match distance.is_finite() && from.rho() <= MAX_RHO {
            true => node_level(path, &whole, 0.5 * distance)?,
            false => None,
        };
        let Some(node) = node else {
            let update = Update::from(whole.transition()).with_noise(noise);
            return Ok(Step::simple(from, to, update));
        };
        let keep = |slot| Update {
            state: 1.0,
            store: Some(Store::state(slot)),
            ..Update::default()
        };
        let half = StridedPosterior::new(from, node, Kappa::Ddim)?.data_coefficient();
        let first = Update {
            state: -half / from.alpha(),
            data: half,
            history: vec![(0, node.alpha() / from.alpha())],
            noise: 0.0,
            store: Some(Store::linear(1, 1.0, 0.0)),
        };
        let (all, guided) = (whole.data_coefficient(), to.alpha() / from.alpha());
        let second = Update {
            state: -all / node.alpha(),
            data: all,
            history: vec![
                (0, whole.state_coefficient() - guided),
                (1, guided),
                (2, all / node.alpha()),
            ],
            noise,
            store: None,
        };
        let stages = vec![
            Stage::without_model(keep(0)),
            Stage::evaluating(from, first),
            Stage::without_model(keep(2)),
            Stage::evaluating(node, second),
        ];
        Ok(Step { from, to, stages })
    }
}

impl Solver for CfgPlusPlusSinglestep {
    /// # Errors
    ///
    /// As [`DpmSolverPlusPlusSinglestep`](super::DpmSolverPlusPlusSinglestep)'s.
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
        "DPM-Solver++(2S) ancestral for CFG++",
        CfgPlusPlusSinglestep::new(Kappa::Ddpm),
        "ComfyUI, dpmpp_2s_ancestral_cfg_pp; Chung et al. 2024",
    )]
}
