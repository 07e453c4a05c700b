//! DDIM, DDPM and the rest of the κ family.

use super::{Entry, Path, Solver};
use crate::error::{Error, require_length};
use crate::memory::{self, Listed};
use crate::noise::NoiseScales;
use crate::plan::{Plan, Step, Update};
use crate::posterior::{
    AnalyticVariance, DiagonalVariance, Kappa, ReverseVariance, StridedPosterior,
};

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
    pub(super) variance: Variance,
}

/// v_p by a policy, or by what the model knows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Variance {
    Policy(ReverseVariance),
    Analytic(AnalyticVariance),
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
            variance: Variance::Policy(ReverseVariance::Posterior),
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
    /// With CFG++ ([`PlusPlus`](crate::guidance::PlusPlus)) ComfyUI takes the general form on a
    /// flow too: `euler_ancestral_cfg_pp` is [`Kappa::CappedEta`] with η = 1, and `euler_cfg_pp` is
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
            variance: Variance::Policy(ReverseVariance::Posterior),
        }
    }

    /// The same solver with another reverse variance v_p.
    #[must_use]
    pub fn with_reverse_variance(self, reverse_variance: ReverseVariance) -> Self {
        Self {
            variance: Variance::Policy(reverse_variance),
            ..self
        }
    }

    /// The same solver with the best reverse variance for what the model knows at each level,
    /// instead of another: Analytic-DPM, and Analytic-DDIM for κ = 1. Planning asks it for the
    /// level that each edge leaves.
    #[doc(alias("Analytic-DPM", "Analytic-DDIM"))]
    #[must_use]
    pub fn with_analytic_variance(self, variance: AnalyticVariance) -> Self {
        Self {
            variance: Variance::Analytic(variance),
            ..self
        }
    }

    /// The plan with a reverse variance for each element, in place of the solver's own, and the
    /// scales that [`ScaledNoise`](crate::noise::ScaledNoise) needs for it: the plan's noise is the
    /// root of the mean variance v̄, and the factor of element i is √(v_i/v̄). See there for an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`plan`](Solver::plan) and [`DiagonalVariance::of`]; [`Error::InvalidParameter`] for 0
    /// elements.
    pub fn plan_diagonal(
        &self,
        path: &Path<'_>,
        variance: &DiagonalVariance,
    ) -> Result<(Plan, NoiseScales), Error> {
        let dim = variance.dim();
        let mut factors = Vec::new();
        let steps = self.posteriors(path)?.into_iter().map(|posterior| {
            let variances = variance.of(&posterior)?;
            let mean = variances.iter().sum::<f64>() / dim.max(1) as f64;
            let factor = |v: &f64| match mean > 0.0 {
                true => (v / mean).sqrt(),
                false => 1.0,
            };
            memory::extend(&mut factors, variances.iter().map(factor))?;
            Ok(step(&posterior, mean.sqrt()))
        });
        let plan = Plan::new(steps.all_listed()?, 0)?;
        Ok((plan, NoiseScales::new(dim, factors)?))
    }

    /// q on every edge.
    fn posteriors(&self, path: &Path<'_>) -> Result<Vec<StridedPosterior>, Error> {
        let edges = path.edges();
        if let Kappas::PerEdge(kappas) = &self.kappas {
            require_length("kappa policies", edges.len(), kappas.len())?;
        }
        let kappa = |index: usize| match &self.kappas {
            Kappas::Same(kappa) => *kappa,
            Kappas::PerEdge(kappas) => kappas[index],
        };
        let posterior = |(index, (from, to))| StridedPosterior::new(from, to, kappa(index));
        edges.enumerate().map(posterior).all_listed()
    }

    /// √v_p on an edge.
    fn noise(&self, posterior: &StridedPosterior) -> Result<f64, Error> {
        match &self.variance {
            // γ itself: not the root of its square.
            Variance::Policy(ReverseVariance::Posterior) => Ok(posterior.gamma()),
            Variance::Policy(policy) => Ok(posterior.reverse_variance(*policy)?.sqrt()),
            Variance::Analytic(variance) => Ok(variance.of(posterior)?.sqrt()),
        }
    }
}

/// The mean of q with D for x₀, and this noise.
fn step(posterior: &StridedPosterior, noise: f64) -> Step {
    let update = Update::from(posterior.transition()).with_noise(noise);
    Step::simple(posterior.from(), posterior.to(), update)
}

impl Solver for FirstOrder {
    /// # Errors
    ///
    /// [`Error::GammaOutOfRange`] and [`Error::InvalidParameter`] as [`StridedPosterior::new`] and
    /// its [`reverse_variance`](StridedPosterior::reverse_variance); [`Error::WrongLength`] unless
    /// there is one policy per edge; as [`AnalyticVariance::of`].
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = self.posteriors(path)?.into_iter();
        let steps = posteriors.map(|posterior| Ok(step(&posterior, self.noise(&posterior)?)));
        Plan::new(steps.all_listed()?, 0)
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
