//! DDIM, DDPM and the rest of the κ family.

use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::plan::{Plan, Step, Update};
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};

/// The first-order solver: x₀ in the strided posterior q(x_s | x_t, x₀) is replaced by the model's
/// estimate D.
///
/// x_s = (σ_s/σ_t) κ x_t + α_s (1 − κ r) D + √v_p z on every edge; onto σ_s = 0 it is α_s D. With κ
/// = 1 this is DDIM, which is also Euler's method in ρ, flow matching's Euler step, DPM-Solver-1
/// and DPM-Solver++-1; with κ = r it is DDPM's ancestral sampler; see [`Kappa`] for the others.
/// Song, Meng and Ermon (2021), "Denoising Diffusion Implicit Models".
///
/// ```
/// use diffusion_sampler::{Grid, posterior::{Kappa, ReverseVariance}, schedule::TableSchedule};
/// use diffusion_sampler::solver::{FirstOrder, Path, Solver};
///
/// let schedule = TableSchedule::cosine(1000)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let path = Path::new(&schedule, &grid)?;
/// assert!(!FirstOrder::ddim().plan(&path)?.is_stochastic());
/// let fixed_large = FirstOrder::new(Kappa::Ddpm).with_reverse_variance(ReverseVariance::FixedLarge);
/// assert!(fixed_large.plan(&path)?.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "DDIM")]
#[doc(alias = "DDPM")]
#[doc(alias = "Euler")]
#[doc(alias = "eta")]
#[derive(Clone, Debug, PartialEq)]
pub struct FirstOrder {
    pub(super) kappas: Kappas,
    pub(super) reverse_variance: ReverseVariance,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kappas {
    Same(Kappa),
    PerEdge(Vec<Kappa>),
}

impl FirstOrder {
    /// The same policy on every edge.
    pub fn new(kappa: Kappa) -> Self {
        Self {
            kappas: Kappas::Same(kappa),
            reverse_variance: ReverseVariance::Posterior,
        }
    }

    /// DDIM: κ = 1, deterministic.
    #[doc(alias = "Euler")]
    pub fn ddim() -> Self {
        Self::new(Kappa::Ddim)
    }

    /// DDPM's ancestral sampler: κ = r.
    #[doc(alias = "ancestral")]
    pub fn ddpm() -> Self {
        Self::new(Kappa::Ddpm)
    }

    /// Euler ancestral as ComfyUI chooses it, with η = 1: [`Kappa::Ancestral`]. On a flow it is the
    /// rectified-flow form; everywhere else it is DDPM's κ = r.
    ///
    /// With CFG++ ([`PlusPlus`](crate::guidance::PlusPlus)) ComfyUI takes the general form on a flow
    /// too: `euler_ancestral_cfg_pp` is [`Kappa::CappedEta`] with η = 1, and `euler_cfg_pp` is
    /// [`ddim`](Self::ddim).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Sampler, schedule::RectifiedFlow, solver::FirstOrder};
    ///
    /// let flow = RectifiedFlow::shifted(3.0)?;
    /// let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 20)?, &FirstOrder::ancestral())?;
    /// assert!(sampler.plan().is_stochastic());
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[doc(alias("euler_ancestral", "Euler a", "EulerAncestralDiscreteScheduler"))]
    pub fn ancestral() -> Self {
        Self::new(Kappa::Ancestral(1.0))
    }

    /// A policy for each edge, from the noisy end; explicit γ's are given this way.
    pub fn per_edge(kappas: Vec<Kappa>) -> Self {
        Self {
            kappas: Kappas::PerEdge(kappas),
            reverse_variance: ReverseVariance::Posterior,
        }
    }

    /// The same solver with another reverse variance v_p.
    #[must_use]
    pub fn with_reverse_variance(self, reverse_variance: ReverseVariance) -> Self {
        Self {
            reverse_variance,
            ..self
        }
    }
}

impl Solver for FirstOrder {
    /// # Errors
    ///
    /// [`Error::GammaOutOfRange`] and [`Error::InvalidParameter`] as [`StridedPosterior::new`] and
    /// its [`reverse_variance`](StridedPosterior::reverse_variance); [`Error::WrongLength`] unless
    /// there is one policy per edge.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let edges = path.edges();
        if let Kappas::PerEdge(kappas) = &self.kappas
            && kappas.len() != edges.len()
        {
            return Err(Error::WrongLength {
                name: "kappa policies",
                expected: edges.len(),
                found: kappas.len(),
            });
        }
        let steps = edges.enumerate().map(|(index, (from, to))| {
            let kappa = match &self.kappas {
                Kappas::Same(kappa) => *kappa,
                Kappas::PerEdge(kappas) => kappas[index],
            };
            let posterior = StridedPosterior::new(from, to, kappa)?;
            let noise = match self.reverse_variance {
                ReverseVariance::Posterior => posterior.gamma(),
                policy => posterior.reverse_variance(policy)?.sqrt(),
            };
            let update = Update::from(posterior.transition()).with_noise(noise);
            Ok(Step::simple(from, to, update))
        });
        Plan::new(steps.collect::<Result<_, Error>>()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let ddim = "Song, Meng and Ermon 2021";
    vec![
        Entry::new("DDIM", FirstOrder::ddim(), ddim),
        Entry::new("DDPM", FirstOrder::ddpm(), "Ho, Jain and Abbeel 2020"),
        Entry::new("DDIM with eta 0.5", FirstOrder::new(Kappa::Eta(0.5)), ddim),
        Entry::new(
            "constant tau 0.7",
            FirstOrder::new(Kappa::Tau(0.7)),
            "Lu et al. 2022",
        ),
        Entry::new(
            "fresh noise",
            FirstOrder::new(Kappa::Fresh),
            "Song et al. 2023",
        ),
        Entry::new(
            "Euler ancestral with eta 1.2, capped",
            FirstOrder::new(Kappa::CappedEta(1.2)),
            "Crowson, k-diffusion, get_ancestral_step",
        ),
        Entry::new(
            "Euler ancestral of flows",
            FirstOrder::new(Kappa::FlowEta(1.0)),
            "ComfyUI, sample_euler_ancestral_RF",
        ),
    ]
}
