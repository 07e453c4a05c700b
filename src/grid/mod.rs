//! Grids: which noise levels a run visits.

mod flow_sigmas;
mod indices;
mod lambda;
mod linear_in_rho;
mod parts;
mod published;
mod ramps;
mod range;
mod spacing;
#[cfg(feature = "serde")]
mod stored;
mod time;

pub use flow_sigmas::FlowSigmas;
pub use published::AlignYourSteps;
pub use range::SigmaRange;
pub use spacing::{Spacing, SpacingEntry, spacings};

use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::posterior::{Kappa, StridedPosterior};
use crate::schedule::NoiseSchedule;

/// The knots of a run: K + 1 levels of strictly decreasing noise make K steps.
///
/// A step is an edge between two neighbouring knots; nothing is ever looked up by time. Every
/// constructor gives exactly the number of steps requested, or a typed error; none clamps. With u_k
/// = (K − k)/K, k = 0..K:
///
/// | constructor | knots |
/// |---|---|
/// | [`trailing`](Self::trailing) | round(T u_k) |
/// | [`leading`](Self::leading) | network index (K − 1 − k)⌊T/K⌋ + offset, then clean |
/// | [`linspace`](Self::linspace) | network index round(linspace(T − 1, 0, K)), then clean |
/// | [`leading_without_least`](Self::leading_without_least), [`linspace_without_least`](Self::linspace_without_least) | the same for K + 1 indices, of which the least is left out |
/// | [`linspace_linear_in_rho`](Self::linspace_linear_in_rho) | network index linspace(T − 1, 0, K) with ρ linear between knots, then clean |
/// | [`quadratic`](Self::quadratic) | T u_k², on a table rounded and never below K − k |
/// | [`ddim_quadratic`](Self::ddim_quadratic) | network index ⌊linspace(√(0.8 T), 0, K)²⌋, then clean |
/// | [`uniform_lambda`](Self::uniform_lambda) | K levels uniform in λ, then clean |
/// | [`karras`](Self::karras) | K levels uniform in ρ^(1/7), then clean |
/// | [`exponential`](Self::exponential) | K levels with ln ρ along a power ramp, then clean |
/// | [`normal`](Self::normal), [`sgm_uniform`](Self::sgm_uniform), [`simple`](Self::simple), [`ddim_uniform`](Self::ddim_uniform), [`beta_indices`](Self::beta_indices), [`smoothstep`](Self::smoothstep), [`lcm`](Self::lcm), [`turbo`](Self::turbo) | network indices, as the libraries have them that made the names known |
/// | [`kl_optimal`](Self::kl_optimal), [`arctan`](Self::arctan), [`laplace`](Self::laplace), [`beta_sigmas`](Self::beta_sigmas), [`linear_quadratic`](Self::linear_quadratic), [`bong_tangent`](Self::bong_tangent), [`edm_vp`](Self::edm_vp), [`iddpm`](Self::iddpm), [`align_your_steps`](Self::align_your_steps) | ramps and tables of ρ or of a flow's σ |
/// | [`sway`](Self::sway), [`sway_in_time`](Self::sway_in_time) | times bent towards one end |
/// | [`from_times`](Self::from_times), [`from_indices`](Self::from_indices), [`from_indices_linear_in_rho`](Self::from_indices_linear_in_rho), [`from_lambdas`](Self::from_lambdas), [`from_rhos`](Self::from_rhos), [`from_flow_sigmas`](Self::from_flow_sigmas), [`from_levels`](Self::from_levels) | the list given |
///
/// Rounding is to the nearest integer, ties to even, of the exact quotient. `leading` and
/// `linspace` are then the grids of the Python libraries whose checkpoints use these spacings.
/// `trailing` differs from diffusers at 50 of the 1000 values of K for T = 1000: diffusers rounds a
/// float ramp (`arange` with the step T/K), whose last digits move some ties.
///
/// A grid can be cut and joined: [`section`](Self::section), [`then`](Self::then),
/// [`starting_at`](Self::starting_at), [`ending_at`](Self::ending_at),
/// [`without_clean_end`](Self::without_clean_end); [`on`](Self::on) takes it to another schedule.
/// [`Spacing`] has them by name, [`FlowSigmas`] the lists of σ that libraries make for flows.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 4)?;
/// let times: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
/// assert_eq!(times, [1000.0, 750.0, 500.0, 250.0, 0.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias("timestep_spacing", "timesteps", "sigmas"))]
pub struct Grid {
    levels: Vec<NoiseLevel>,
    /// v_T of a run that starts at each knot, so that parts of a grid know theirs.
    start_variances: Vec<f64>,
}

impl Grid {
    /// Any levels of strictly decreasing noise, and the variance of the initial distribution at the
    /// first.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::NoiseNotDecreasing`],
    /// [`Error::InvalidParameter`] for a variance that is negative or not finite.
    pub fn from_levels(levels: Vec<NoiseLevel>, start_variance: f64) -> Result<Self, Error> {
        let start_variances = crate::memory::repeated(start_variance, levels.len())?;
        Self::checked(levels, start_variances)
    }

    /// A grid of at least one step, which every solver can take: noise decreases, and the
    /// coefficients of each edge are finite.
    fn checked(levels: Vec<NoiseLevel>, start_variances: Vec<f64>) -> Result<Self, Error> {
        if levels.len() < 2 {
            return Err(Error::StepCount {
                steps: levels.len().saturating_sub(1),
                min: 1,
                max: usize::MAX,
            });
        }
        for (index, pair) in levels.windows(2).enumerate() {
            let (before, lambda) = (pair[0].lambda(), pair[1].lambda());
            if lambda.partial_cmp(&before) != Some(std::cmp::Ordering::Greater) {
                return Err(Error::NoiseNotDecreasing {
                    knot: index + 1,
                    lambda_before: before,
                    lambda,
                });
            }
            StridedPosterior::new(pair[0], pair[1], Kappa::Ddim)?;
        }
        require_non_negative("start_variance", start_variances[0])?;
        Ok(Self {
            levels,
            start_variances,
        })
    }

    /// The knots, from the noisy to the clean end.
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// K, the number of steps: one less than the number of knots.
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }

    /// The first knot, where there is most noise.
    pub fn start(&self) -> NoiseLevel {
        self.levels[0]
    }

    /// The last knot.
    pub fn end(&self) -> NoiseLevel {
        self.levels[self.steps()]
    }

    /// v_T, the variance of the initial distribution N(0, v_T I).
    pub fn start_variance(&self) -> f64 {
        self.start_variances[0]
    }

    /// The first knot with less noise than `level`, any level; `None` where no knot has less: where a
    /// sample, or a token with a level of its own, goes next.
    ///
    /// A knot whose ρ = σ/α is that of the level to one millionth counts as the level itself: a σ that
    /// has been a network's time in f32 does not stay where it is.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, NoiseLevel, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    /// let between = NoiseLevel::new(0.6, 0.4, 0.6)?;
    /// assert_eq!(grid.next_below(&between), Some(grid.levels()[2]));
    /// assert_eq!(grid.next_below(&grid.levels()[2]), Some(grid.levels()[3]));
    /// assert_eq!(grid.next_below(&grid.end()), None);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn next_below(&self, level: &NoiseLevel) -> Option<NoiseLevel> {
        let lambda = level.lambda() + SAME_KNOT;
        let first = self.levels.partition_point(|knot| knot.lambda() <= lambda);
        self.levels.get(first).copied()
    }

    /// The steps as edges (from, to), from the noisy to the clean end.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 4)?;
    /// assert!(grid.edges().all(|(from, to)| from.time() - to.time() == 250.0));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn edges(
        &self,
    ) -> impl ExactSizeIterator<Item = (NoiseLevel, NoiseLevel)> + DoubleEndedIterator + '_ {
        self.levels.windows(2).map(|pair| (pair[0], pair[1]))
    }

    fn of_times(
        schedule: &dyn NoiseSchedule,
        times: impl Iterator<Item = f64>,
    ) -> Result<Self, Error> {
        Self::of_times_checked(schedule, times.map(Ok))
    }

    fn of_times_checked(
        schedule: &dyn NoiseSchedule,
        times: impl Iterator<Item = Result<f64, Error>>,
    ) -> Result<Self, Error> {
        Self::of_levels(schedule, times.map(|time| schedule.level(time?)))
    }

    /// Levels of a schedule.
    fn of_levels(
        schedule: &dyn NoiseSchedule,
        levels: impl Iterator<Item = Result<NoiseLevel, Error>>,
    ) -> Result<Self, Error> {
        let levels = levels.all_listed()?;
        let start_variances = levels
            .iter()
            .map(|level| schedule.start_variance(level))
            .listed()?;
        Self::checked(levels, start_variances)
    }
}

/// Two levels whose λ differ by less are one knot, rounded.
const SAME_KNOT: f64 = 1e-6;

/// The most steps of a grid of a continuous schedule: a plan of more does not fit into memory, and
/// the count comes from the caller.
pub(crate) const MAX_STEPS: usize = 1 << 24;

/// Grids are equal when their levels are, and v_T at the first.
impl PartialEq for Grid {
    fn eq(&self, other: &Self) -> bool {
        self.levels == other.levels && self.start_variance() == other.start_variance()
    }
}

impl<'a> IntoIterator for &'a Grid {
    type Item = &'a NoiseLevel;
    type IntoIter = std::slice::Iter<'a, NoiseLevel>;

    fn into_iter(self) -> Self::IntoIter {
        self.levels.iter()
    }
}

/// A table of the grid: one line a knot.
impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:>4} {:>12} {:>12} {:>13} {:>13} {:>10}",
            "knot", "time", "model time", "alpha", "sigma", "lambda"
        )?;
        for (knot, level) in self.into_iter().enumerate() {
            writeln!(
                f,
                "{knot:>4} {:>12.5} {:>12.5} {:>13.6e} {:>13.6e} {:>10.5}",
                level.time(),
                level.model_time(),
                level.alpha(),
                level.sigma(),
                level.lambda()
            )?;
        }
        Ok(())
    }
}
