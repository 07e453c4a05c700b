//! Exponential Adams methods in λ, of data or noise: RES, log-ρ DEIS.

use super::exponential::{Estimate, Rule, Slope, down_size};
use super::extrapolation::{Bounds, bounded};
use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::memory::Listed;
use crate::plan::Plan;
use crate::posterior::{Kappa, StridedPosterior};

/// Exponential Adams–Bashforth of orders 1 to 4: the polynomial in λ through the last estimates,
/// integrated exactly. One evaluation a step.
///
/// ```text
/// data:   x_s = (σ_s/σ_t) x_t + α_s Σ w_j D_j     w_j = ∫₀ʰ e^−(h−v) l_j(v) dv
/// noise:  x_s = (α_s/α_t) x_t − σ_s Σ w_j E_j     w_j = ∫₀ʰ e^(h−v) l_j(v) dv
/// ```
///
/// with l_j the Lagrange basis on the knots' λ. Order 1 is DDIM in both forms.
///
/// - [`data(2)`](Self::data) is RES multistep (Zhang, Takeuchi, Liu and others (2023), "Improved
///   Order Analysis and Design of Exponential Integrator for Diffusion Models Sampling") and the
///   exact form of DPM-Solver++(2M); `data(3)` is the corrected 3M.
/// - [`noise`](Self::noise) is log-ρ DEIS (Zhang and Chen (2022), "Fast Sampling of Diffusion Models
///   with Exponential Integrator"), which diffusers' DEIS implements.
///
/// Both converge with their order from an exact start. From the usual first-order first step a
/// method of order 3 or 4 is second order, unless [`warmed_up`](Self::warmed_up) takes that step by
/// a single-step method. Onto σ_s = 0, and from or after α_t = 0, the step is first order; the
/// former returns α_s D.
///
/// **With noise**, [`with_kappa`](Self::with_kappa) takes the deterministic step to the level
/// (α_s, κσ_s), of size h − ln κ, and adds σ_s √(1 − κ²) ζ. Distances between estimates are then
/// sums of these sizes too, as in ComfyUI's res_multistep_ancestral. With κ = r^(τ²) the size is
/// (1 + τ²)h on every step, and the method is the exact form of SDE-DPM-Solver++: of second order in
/// distribution.
///
/// The noise form with noise is for short steps. Every E_j holds the fresh noise of its own state,
/// which weights of alternating signs add up instead of averaging it: on steps of 0.1 to 0.6 in λ it
/// is worse than first order, the more so the higher the order. The data form has no such limit.
///
/// ComfyUI takes ln σ for −λ. On a flow, where α is not 1, that is another variable: the same order,
/// not the same samples.
///
/// ```
/// use diffusion_sampler::{Grid, posterior::Kappa, schedule::RectifiedFlow};
/// use diffusion_sampler::solver::{ExponentialAdams, Path, Solver};
///
/// let flow = RectifiedFlow::shifted(3.0)?;
/// let grid = Grid::trailing(&flow, 20)?;
/// let path = Path::new(&flow, &grid)?;
/// let third = ExponentialAdams::data(3)?.warmed_up().plan(&path)?;
/// assert_eq!((third.evaluations(), third.slots()), (21, 2));
/// let ancestral = ExponentialAdams::data(2)?.with_kappa(Kappa::Eta(1.0)).plan(&path)?;
/// assert!(ancestral.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "RES")]
#[doc(alias = "res_multistep")]
#[doc(alias = "res_multistep_ancestral")]
#[doc(alias = "DEIS")]
#[doc(alias = "log_rho")]
#[doc(alias = "DEISMultistepScheduler")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialAdams {
    pub(super) estimate: Estimate,
    pub(super) order: usize,
    pub(super) kappa: Kappa,
    pub(super) warmed_up: bool,
    pub(super) bounds: Bounds,
}

bounded!(ExponentialAdams);

impl ExponentialAdams {
    /// The method of this order in data form; 2 is RES.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    pub fn data(order: usize) -> Result<Self, Error> {
        Self::new(Estimate::Data, order)
    }

    /// The method of this order in noise form: log-ρ DEIS.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    #[doc(alias = "DEIS")]
    pub fn noise(order: usize) -> Result<Self, Error> {
        Self::new(Estimate::Noise, order)
    }

    pub(super) fn new(estimate: Estimate, order: usize) -> Result<Self, Error> {
        require((1..=4).contains(&order), "order", order as f64, "1 to 4")?;
        Ok(Self {
            estimate,
            order,
            kappa: Kappa::Ddim,
            warmed_up: false,
            bounds: Bounds::default(),
        })
    }

    /// The ancestral form: a deterministic step to (α_s, κσ_s), then noise.
    #[doc(alias = "ancestral")]
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }

    /// The stochastic form with constant noise rate τ, κ = r^(τ²).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a τ that is negative or not finite.
    pub fn with_tau(self, tau: f64) -> Result<Self, Error> {
        require_non_negative("tau", tau)?;
        Ok(self.with_kappa(Kappa::Tau(tau)))
    }

    /// Takes the first step of orders 3 and 4 by a single-step method: 2S with one more evaluation
    /// for order 3, 3S with two for order 4, whose last estimate then serves the next steps. The
    /// whole run has the method's order then. The path must have a schedule. Nothing changes for
    /// orders 1 and 2 and with noise.
    #[must_use]
    pub fn warmed_up(self) -> Self {
        Self {
            warmed_up: true,
            ..self
        }
    }
}

impl Solver for ExponentialAdams {
    /// # Errors
    ///
    /// As [`StridedPosterior::new`] for κ; [`Error::PathWithoutSchedule`] where a warm-up needs a
    /// level off the grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = path
            .edges()
            .map(|(from, to)| StridedPosterior::new(from, to, self.kappa))
            .all_listed()?;
        let sizes: Vec<f64> = posteriors.iter().map(down_size).listed()?;
        let noisy = self.kappa.is_stochastic();
        let rule = Rule {
            estimate: self.estimate,
            slope: Slope::Exact,
            published: false,
            warmed_up: self.warmed_up,
            extrapolation: self.bounds.policy(self.order, Slope::Exact, noisy),
            noise_tau: 0.0,
        };
        Plan::of_steps(rule.steps(path, &posteriors, &sizes, 1.0)?)
    }

    /// With noise at most 2, in noise form 1.
    fn order(&self) -> usize {
        let most = match (self.kappa.is_stochastic(), self.estimate) {
            (false, _) => self.order,
            (true, Estimate::Data) => 2,
            (true, Estimate::Noise) => 1,
        };
        self.bounds.order(self.order.min(most))
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let (res, deis) = ("Zhang et al. 2023", "Zhang and Chen 2022, log-ρ form");
    let adams = |estimate, order| ExponentialAdams {
        estimate,
        order,
        kappa: Kappa::Ddim,
        warmed_up: false,
        bounds: Bounds::default(),
    };
    let data = |order| adams(Estimate::Data, order);
    let noise = |order| adams(Estimate::Noise, order);
    vec![
        Entry::new("RES multistep", data(2), res),
        Entry::new(
            "RES multistep, ancestral",
            data(2).with_kappa(Kappa::Eta(1.0)),
            res,
        ),
        Entry::new(
            "RES multistep, ancestral with eta 0.5",
            data(2).with_kappa(Kappa::Eta(0.5)),
            res,
        ),
        Entry::new("exponential Adams 4", data(4), res),
        Entry::new("exponential Adams 4, warmed up", data(4).warmed_up(), res),
        Entry::new("DEIS log-rho 2", noise(2), deis),
        Entry::new("DEIS log-rho 3", noise(3), deis),
        Entry::new("DEIS log-rho 4, warmed up", noise(4).warmed_up(), deis),
        Entry::new(
            "DEIS log-rho 2, ancestral",
            noise(2).with_kappa(Kappa::Ddpm),
            deis,
        ),
    ]
}
