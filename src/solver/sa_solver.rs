//! SA-Solver: stochastic Adams methods with a corrector.

use super::exponential::{Estimate, Slope};
use super::extrapolation::{Bounds, bounded};
use super::predictor_corrector::{Corrector, Lowering, PredictorCorrector};
use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::Plan;

/// SA-Solver: an exponential Adams predictor and corrector with noise at the rate τ, which may be
/// confined to an interval.
///
/// ```text
/// x_s = (σ_s/σ_t) e^(−τ²h) x_t + α_s Σ w_j D_j + σ_s √(1 − e^(−2τ²h)) ζ
/// w_j = ∫₀ʰ p e^(−p(h−v)) l_j(v) dv,  p = 1 + τ²
/// ```
///
/// The predictor's nodes are the step's start and older knots, the corrector's the step's end too;
/// their numbers are the two orders. Both share the step's noise. Xue, Yi, Luo, Zhang, Sun, Li and Ma
/// (2023), "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models".
///
/// One evaluation a step (PEC): correction and next prediction are one update, and the state between
/// steps is the predicted one. [`evaluating_twice`](Self::evaluating_twice) evaluates the corrected
/// state too (PECE): 2K − 1 evaluations. Onto σ_s = 0 the step returns D. From or after α_t = 0 a
/// step is first order and is not corrected.
///
/// Without noise the order is that of the corrector or one more than the predictor's, whichever is
/// less; with noise the distribution converges with order 2 at most.
///
/// | library | here |
/// |---|---|
/// | ComfyUI's sa_solver | `new(3, 4, 1.0)?.ending_within(0.2, 0.8)?.lower_order_before_clean_end()` |
/// | ComfyUI's sa_solver_pece | the same, `.evaluating_twice()` |
/// | diffusers' SASolver | `new(2, 2, 1.0)?.starting_within(0.2, 0.8)?.simple().lower_order_final()` |
///
/// and `.unbounded()` where steps differ by more than a factor of 2: theirs extrapolate over any.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{Path, SaSolver, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let path = Path::new(&schedule, &grid)?;
/// let solver = SaSolver::new(3, 4, 1.0)?.within_rho(0.5, 5.0)?;
/// assert_eq!(solver.plan(&path)?.evaluations(), 20);
/// assert_eq!(solver.evaluating_twice().plan(&path)?.evaluations(), 39);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "SASolverScheduler")]
#[doc(alias = "sa_solver")]
#[doc(alias = "sa_solver_pece")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaSolver {
    pub(super) predictor: usize,
    pub(super) corrector: usize,
    pub(super) tau: f64,
    pub(super) within: Within,
    pub(super) estimate: Estimate,
    pub(super) simple: bool,
    pub(super) evaluates_twice: bool,
    pub(super) before_clean_end: bool,
    pub(super) bounds: Bounds,
}

/// Where there is noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Within {
    All,
    /// Steps that end at a ρ in this range.
    EndRho(f64, f64),
    /// Steps that start at a model time in this range.
    StartTime(f64, f64),
    /// Steps that end between these fractions of the schedule.
    End(f64, f64),
    /// Steps that start between these fractions of the network's times.
    Start(f64, f64),
}

/// How far beyond an end of a range of fractions a level may lie, relative to it: rounding.
const ROUNDING: f64 = 1e-9;

impl Within {
    /// The range on this path, in place of fractions.
    fn on(self, path: &Path<'_>) -> Result<Self, Error> {
        let (below, above) = (1.0 - ROUNDING, 1.0 + ROUNDING);
        match self {
            Self::End(low, high) => {
                let (low, high) = (path.at_fraction(low)?, path.at_fraction(high)?);
                Ok(Self::EndRho(below * low.rho(), above * high.rho()))
            }
            Self::Start(low, high) => {
                let times = path.model_times()?;
                Ok(Self::StartTime(below * low * times, above * high * times))
            }
            known => Ok(known),
        }
    }

    fn contains(&self, from: &NoiseLevel, to: &NoiseLevel) -> bool {
        match *self {
            Self::EndRho(low, high) => (low..=high).contains(&to.rho()),
            Self::StartTime(low, high) => (low..=high).contains(&from.model_time()),
            _ => true,
        }
    }
}

/// A range of fractions.
fn require_fractions(low: f64, high: f64) -> Result<(), Error> {
    require(low >= 0.0, "low fraction", low, "at least 0")?;
    let within = (low..=1.0).contains(&high);
    require(within, "high fraction", high, "from the low one to 1")
}

bounded!(SaSolver);

impl SaSolver {
    /// A predictor with 1 to 4 nodes, a corrector with 1 to 4, or 0 for none, and noise at the rate
    /// τ everywhere.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for other numbers, and for a τ that is negative or above 1e9.
    pub fn new(predictor: usize, corrector: usize, tau: f64) -> Result<Self, Error> {
        let nodes = 1..=4;
        require(
            nodes.contains(&predictor),
            "predictor order",
            predictor as f64,
            "1 to 4",
        )?;
        require(
            corrector <= 4,
            "corrector order",
            corrector as f64,
            "0 to 4",
        )?;
        require_non_negative("tau", tau)?;
        require(tau <= 1e9, "tau", tau, "at most 1e9")?;
        Ok(Self {
            predictor,
            corrector,
            tau,
            within: Within::All,
            estimate: Estimate::Data,
            simple: false,
            evaluates_twice: false,
            before_clean_end: false,
            bounds: Bounds::default(),
        })
    }

    /// Noise only on steps that end between these fractions of the schedule, 0 its least noisy level
    /// and 1 the noisiest: in index on a table, in ln σ where α is 1 (EDM, VE), elsewhere in time, a
    /// flow's before its shift. ComfyUI's default is 0.2 to 0.8, its percentages 80 to 20. The path
    /// must have a schedule.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ low ≤ high ≤ 1.
    #[doc(alias = "percent_to_sigma")]
    pub fn ending_within(self, low: f64, high: f64) -> Result<Self, Error> {
        require_fractions(low, high)?;
        Ok(Self {
            within: Within::End(low, high),
            ..self
        })
    }

    /// Noise only on steps that start between these fractions of the network's times: of the number
    /// of indices on a table, elsewhere of its [`model_time`](NoiseLevel::model_time) at the last
    /// time, a flow's after its shift. diffusers' default is 0.2 to 0.8, its times 200 to 800 of
    /// 1000. The path must have a schedule.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ low ≤ high ≤ 1.
    #[doc(alias = "tau_func")]
    pub fn starting_within(self, low: f64, high: f64) -> Result<Self, Error> {
        require_fractions(low, high)?;
        Ok(Self {
            within: Within::Start(low, high),
            ..self
        })
    }

    /// Noise only on steps that end at a ρ in \[low, high\].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ low ≤ high.
    pub fn within_rho(self, low: f64, high: f64) -> Result<Self, Error> {
        require(low >= 0.0, "low rho", low, "at least 0")?;
        require(high >= low, "high rho", high, "at least the low rho")?;
        Ok(Self {
            within: Within::EndRho(low, high),
            ..self
        })
    }

    /// Noise only on steps that start at a time of the network's in \[low, high\]: what counts as a
    /// time is the schedule's choice, see [`starting_within`](Self::starting_within).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless low ≤ high.
    pub fn within_model_time(self, low: f64, high: f64) -> Result<Self, Error> {
        require(!low.is_nan(), "low time", low, "a number")?;
        require(high >= low, "high time", high, "at least the low time")?;
        Ok(Self {
            within: Within::StartTime(low, high),
            ..self
        })
    }

    /// Rules of two nodes with half of z = (1 + τ²)h as the slope's weight in place of the exact
    /// zφ₂(−z), as diffusers has them always and ComfyUI by its option `simple_order_2`.
    #[doc(alias = "simple_order_2")]
    #[must_use]
    pub fn simple(self) -> Self {
        Self {
            simple: true,
            ..self
        }
    }

    /// PECE: evaluates the model on the corrected state too.
    #[doc(alias = "use_pece")]
    #[must_use]
    pub fn evaluating_twice(self) -> Self {
        Self {
            evaluates_twice: true,
            ..self
        }
    }

    /// No higher order than there are steps left before that onto a clean end, for the corrector as
    /// for the predictor: ComfyUI's rule. Takes the place of
    /// [`lower_order_final`](Self::lower_order_final), which is diffusers'.
    #[must_use]
    pub fn lower_order_before_clean_end(self) -> Self {
        Self {
            before_clean_end: true,
            ..self
        }
    }

    /// The noise form, diffusers' `algorithm_type = "noise_prediction"`; see
    /// [`DpmSolver`](super::DpmSolver) for its noise and its limits.
    ///
    /// It is for short steps. Where noise dominates, E of the predicted state feeds back, and with one
    /// node each every error, and the noise of every step, grows from step to step unless h < 0.48, or
    /// at τ = 1 h < 0.28; with more nodes earlier. The data form has no such limit.
    #[must_use]
    pub fn in_noise(self) -> Self {
        Self {
            estimate: Estimate::Noise,
            ..self
        }
    }

    /// The plan, with a correction of the state at the end by one more evaluation.
    pub(crate) fn plan_to(&self, path: &Path<'_>, corrects_end: bool) -> Result<Plan, Error> {
        let within = self.within.on(path)?;
        let slope = if self.simple {
            Slope::Linear
        } else {
            Slope::Exact
        };
        let lowering = match (self.before_clean_end, self.bounds.lower_order_final) {
            (true, _) if path.grid().end().is_clean() => Lowering::NoisySteps,
            (false, true) => Lowering::Steps,
            _ => Lowering::Off,
        };
        let corrector = match self.corrector {
            0 => Corrector::None,
            nodes => Corrector::Nodes(nodes),
        };
        let rule = PredictorCorrector {
            estimate: self.estimate,
            slope,
            predictor: self.bounds.policy(self.predictor, slope, self.tau > 0.0),
            corrector,
            evaluates_twice: self.evaluates_twice,
            without: &[],
            lowering,
            corrects_end,
        };
        let tau = |(from, to)| {
            if within.contains(&from, &to) {
                self.tau
            } else {
                0.0
            }
        };
        let taus: Vec<f64> = path.edges().map(tau).listed()?;
        Plan::of_steps(rule.steps(path, &taus)?)
    }
}

impl Solver for SaSolver {
    /// # Errors
    ///
    /// [`Error::TimeWithoutSchedule`] where fractions of a schedule are asked for.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        self.plan_to(path, false)
    }

    fn order(&self) -> usize {
        let order = match self.corrector {
            0 => self.predictor,
            nodes => nodes.min(self.predictor + 1),
        };
        let order = self.bounds.order(order);
        if self.tau > 0.0 { order.min(2) } else { order }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Xue et al. 2023";
    let solver = |predictor, corrector, tau| SaSolver {
        predictor,
        corrector,
        tau,
        within: Within::All,
        estimate: Estimate::Data,
        simple: false,
        evaluates_twice: false,
        before_clean_end: false,
        bounds: Bounds::default(),
    };
    vec![
        Entry::new("SA-Solver 2/2", solver(2, 2, 1.0), source),
        Entry::new("SA-Solver 2/2, simple", solver(2, 2, 1.0).simple(), source),
        Entry::new("SA-Solver 3/4", solver(3, 4, 1.0), source),
        Entry::new(
            "SA-Solver 3/4, PECE",
            solver(3, 4, 1.0).evaluating_twice(),
            source,
        ),
        Entry::new("SA-Solver 2/3, without noise", solver(2, 3, 0.0), source),
        Entry::new(
            "SA-Solver 2/2, PECE, without noise",
            solver(2, 2, 0.0).evaluating_twice(),
            source,
        ),
        Entry::new(
            "SA-Solver 2/2, noise form",
            solver(2, 2, 1.0).in_noise(),
            source,
        ),
    ]
}
