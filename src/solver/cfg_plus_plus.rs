//! Multistep solvers that extrapolate the unconditional estimate under CFG++.

use super::exponential::{Slope, down_size};
use super::extrapolation::{Bounds, bounded};
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// The second-order multistep solvers of ComfyUI's "cfg_pp" samplers, for use with
/// [`PlusPlus`](crate::guidance::PlusPlus) guidance.
///
/// CFG++ has two estimates of x₀: the guided D and the unconditional U = (x − σE)/α, E the
/// unconditional estimate of ε. With r' = κr, q the ratio of the previous step's size to this one's:
///
/// ```text
/// first order   x_s = α_s D + κσ_s E + σ_s √(1 − κ²) ζ
/// dpmpp_2m      + α_s (1 − r')/(2q) (D − U₋₁)
/// RES           x_s = (κσ_s/σ_t)(α_t D + σ_t E) + α_s (1 − r') U + α_s w (U − U₋₁) + noise
///               w = zφ₂(−z)/q,  z = h − ln κ
/// ```
///
/// A plan's x on the right-hand side is α_t D + σ_t E, so that U takes the true x, kept in a slot: a
/// stage without evaluation, which reads no model, keeps it. Where the guidance has one estimate,
/// U = D, these are DPM-Solver++(2M) and RES multistep exactly. The first step, a step onto σ_s = 0
/// and a step from or after α_t = 0 are first order; RES's own second-order step gives D less weight
/// than its first-order one, as ComfyUI has it.
///
/// From ComfyUI's `sample_dpmpp_2m_cfg_pp` and `res_multistep` (there with ln σ for −λ, which on a
/// flow is another variable); CFG++ is Chung et al. (2024), "CFG++: Manifold-constrained Classifier
/// Free Guidance for Diffusion Models".
///
/// ```
/// use diffusion_sampler::{Grid, posterior::Kappa, schedule::TableSchedule};
/// use diffusion_sampler::solver::{CfgPlusPlus, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let path = Path::new(&schedule, &grid)?;
/// assert_eq!(CfgPlusPlus::multistep().plan(&path)?.evaluations(), 20);
/// let ancestral = CfgPlusPlus::res().with_kappa(Kappa::Eta(1.0));
/// assert!(ancestral.plan(&path)?.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "cfg_pp")]
#[doc(alias = "dpmpp_2m_cfg_pp")]
#[doc(alias = "res_multistep_cfg_pp")]
#[doc(alias = "res_multistep_ancestral_cfg_pp")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CfgPlusPlus {
    pub(super) rule: Rule,
    pub(super) kappa: Kappa,
    pub(super) bounds: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Multistep,
    Res,
}

bounded!(CfgPlusPlus);

/// The slot of the last E; those before it take the states in turn.
const NOISE: usize = 2;

impl CfgPlusPlus {
    /// DPM-Solver++(2M) under CFG++: dpmpp_2m_cfg_pp.
    pub fn multistep() -> Self {
        Self::new(Rule::Multistep)
    }

    /// RES multistep under CFG++: res_multistep_cfg_pp.
    pub fn res() -> Self {
        Self::new(Rule::Res)
    }

    fn new(rule: Rule) -> Self {
        Self {
            rule,
            kappa: Kappa::Ddim,
            bounds: Bounds::default(),
        }
    }

    /// The ancestral form: a deterministic step to (α_s, κσ_s), then noise; distances are counted in
    /// these steps, see [`ExponentialAdams`](super::ExponentialAdams::with_kappa). With
    /// [`res`](Self::res) and η = 1 it is res_multistep_ancestral_cfg_pp.
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }

    fn slope(&self) -> Slope {
        match self.rule {
            Rule::Multistep => Slope::Midpoint,
            Rule::Res => Slope::Exact,
        }
    }

    /// The update of second order. U = x/α − ρE from the slots, of this step and the one before.
    fn second(
        &self,
        posterior: &StridedPosterior,
        weight: f64,
        (now, before): ((usize, f64), (usize, f64, f64)),
    ) -> Update {
        let (alpha, state) = (posterior.to().alpha(), posterior.state_coefficient());
        let (old_slot, old_alpha, old_rho) = before;
        let mut update = Update {
            state,
            data: posterior.data_coefficient() + alpha * weight,
            history: vec![
                (old_slot, -alpha * weight / old_alpha),
                (NOISE, alpha * weight * old_rho),
            ],
            noise: posterior.gamma(),
            store: None,
        };
        if self.rule == Rule::Res {
            // All of D but what is in the state is U = x/α_t − (αD + σE)/α_t + D.
            let (slot, from_alpha) = now;
            let share = update.data / from_alpha;
            update.state -= share;
            update.history.push((slot, share));
        }
        update
    }
}

impl Solver for CfgPlusPlus {
    /// # Errors
    ///
    /// As [`StridedPosterior::new`] for κ.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = path
            .edges()
            .map(|(from, to)| StridedPosterior::new(from, to, self.kappa))
            .all_listed()?;
        let sizes: Vec<f64> = posteriors.iter().map(down_size).listed()?;
        let noisy = posteriors.iter().any(|posterior| posterior.gamma() > 0.0);
        let policy = self.bounds.policy(2, self.slope(), noisy);
        let used = |index: usize| {
            let before = index.checked_sub(1).map(|before| -sizes[before]);
            let held = before
                .filter(|place| place.is_finite())
                .map(|place| (0, place));
            let size = sizes.get(index).copied().unwrap_or(f64::INFINITY);
            let older = policy.older(size, held.as_slice(), sizes.len() - index);
            older.first().map(|node| node.1)
        };
        let mut steps = crate::memory::reserve(&[sizes.len()])?;
        for (index, posterior) in posteriors.iter().enumerate() {
            let (from, to) = (posterior.from(), posterior.to());
            let slot = index % 2;
            let mut update = Update::from(posterior.transition());
            let place = used(index);
            let before = index.checked_sub(1).and_then(|index| posteriors.get(index));
            if let (Some(place), Some(before)) = (place, before) {
                let (weight, before) = (-self.slope().weight(sizes[index]) / place, before.from());
                let old = (1 - slot, before.alpha(), before.rho());
                update = self.second(posterior, weight, ((slot, from.alpha()), old));
            }
            let later = used(index + 1).is_some();
            let mut stages = crate::memory::reserve(&[2])?;
            if later || (place.is_some() && self.rule == Rule::Res) {
                let keep = Update {
                    state: 1.0,
                    ..Update::default()
                };
                stages.push(Stage::without_model(keep.storing(Store::state(slot))));
            }
            update.store = later.then(|| Store::noise(NOISE));
            stages.push(Stage::evaluating(from, update));
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        Plan::of_steps(steps)
    }

    fn order(&self) -> usize {
        2
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "ComfyUI; Chung et al. 2024";
    let ancestral = CfgPlusPlus::res().with_kappa(Kappa::Eta(1.0));
    vec![
        Entry::new("2M for CFG++", CfgPlusPlus::multistep(), source),
        Entry::new("RES multistep for CFG++", CfgPlusPlus::res(), source),
        Entry::new("RES multistep for CFG++, ancestral", ancestral, source),
    ]
}
