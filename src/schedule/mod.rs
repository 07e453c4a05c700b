//! Noise schedules: α and σ as functions of time.

mod edm;
mod flow;
mod model_time;
pub mod mu;
#[cfg(feature = "serde")]
mod stored;
mod sublevels;
mod table;
mod unit_variance;
mod variance_exploding;
mod variance_preserving;

pub use edm::Edm;
pub use flow::RectifiedFlow;
pub use model_time::ModelTime;
pub use sublevels::Sublevels;
pub use table::TableSchedule;
pub use unit_variance::UnitVariance;
pub use variance_exploding::VarianceExploding;
pub use variance_preserving::VariancePreserving;

use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;

/// A noise schedule: the levels α(t), σ(t) of the forward process, from t = 0, which is clean, to
/// the last time.
///
/// λ = ln(α/σ) decreases strictly in t. Schedules are immutable plain data.
///
/// | schedule | α | σ | time |
/// |---|---|---|---|
/// | [`TableSchedule`] | √ᾱ | √(1 − ᾱ) | knots 0..T of a table of betas or ᾱ, and all times between |
/// | [`VariancePreserving`] | exp(−½∫β) | √(1 − α²) | 0..1 |
/// | [`VarianceExploding`] | 1 | σ_min (σ_max/σ_min)^t | 0..1 |
/// | [`Edm`] | 1 | t | 0..σ_max |
/// | [`RectifiedFlow`] | 1 − σ | shifted t | 0..1 |
///
/// [`Sublevels`] gives a continuous one a table of its levels, [`UnitVariance`] takes any to α² +
/// σ² = 1.
///
/// The extending guide in `docs/` shows a custom schedule; these four methods are all it needs.
#[doc(alias("scheduler", "sigma"))]
pub trait NoiseSchedule: std::fmt::Debug + Send + Sync {
    /// The level at `time`. Time 0 is clean: α = 1, σ = 0.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`] unless 0 ≤ `time` ≤ [`last_time`](Self::last_time).
    fn level(&self, time: f64) -> Result<NoiseLevel, Error>;

    /// The last time, where there is most noise.
    fn last_time(&self) -> f64;

    /// The time at which λ = ln(α/σ) has the given value; +∞ is the clean time 0. Also after
    /// rounding it lies in 0..=[`last_time`](Self::last_time), so that [`level`](Self::level) takes
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] for a λ that the schedule does not reach.
    #[doc(alias = "sigma_to_t")]
    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error>;

    /// The time at which σ/(α + σ), a flow's σ, has the given value; 0 is clean, 1 is pure noise.
    ///
    /// As provided it goes through λ. A schedule whose σ is a simple function of time can have it
    /// exactly.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `sigma` ≤ 1, [`Error::LambdaOutOfRange`] for one that
    /// the schedule does not reach.
    fn time_of_flow_sigma(&self, sigma: f64) -> Result<f64, Error> {
        check_flow_sigma(sigma)?;
        let lambda = libm::log1p(-sigma) - libm::log(sigma);
        self.time_of_lambda(self.lambda_range().snap(lambda))
    }

    /// λ at the last time and at the least noisy level that the schedule trains: knot 1 of a table,
    /// σ_min where there is one, +∞ for a continuous schedule that reaches the clean state.
    fn lambda_range(&self) -> LambdaRange;

    /// v_T, the variance of the initial distribution N(0, v_T I) of a run that starts at `level`: 1
    /// unless the schedule says otherwise. Where that is σ², it is +∞ where it overflows, which grids
    /// refuse.
    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        // Equivalent mutant: replace body with 1.0: the body is that.
        let _ = level;
        1.0
    }

    /// T, where the schedule is a table of T knots that a network was trained on.
    fn table_len(&self) -> Option<usize> {
        None
    }

    /// The time of knot `knot` of the table, 0 (clean) to T. Between two knots: where λ = ln(α/σ),
    /// interpolated linearly between theirs, has its value, as the tables of k-diffusion and
    /// ComfyUI have it; in the cells at the ends, where one of the two is infinite, the time
    /// linearly.
    ///
    /// Only a schedule with a [`table_len`](Self::table_len) is asked. As provided, times are knot
    /// numbers.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`] for a knot that the table does not have.
    fn knot_time(&self, knot: f64) -> Result<f64, Error> {
        check_time(knot, self.last_time())?;
        let below = knot.floor();
        let share = knot - below;
        if share == 0.0 {
            return Ok(knot);
        }
        let (low, high) = (self.level(below)?, self.level(below + 1.0)?);
        if !(low.lambda().is_finite() && high.lambda().is_finite()) {
            return Ok(knot);
        }
        self.time_of_lambda(low.lambda() + (high.lambda() - low.lambda()) * share)
    }

    /// The level at [`knot_time`](Self::knot_time). On a [`TableSchedule`] its
    /// [`model_time`](NoiseLevel::model_time) is exactly `knot` − 1, the network's index.
    ///
    /// # Errors
    ///
    /// As [`knot_time`](Self::knot_time).
    #[doc(alias = "t_to_sigma")]
    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        self.level(self.knot_time(knot)?)
    }
}

/// Pointers to a schedule are schedules.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: NoiseSchedule + ?Sized> NoiseSchedule for $pointer {
            fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
                (**self).level(time)
            }

            fn last_time(&self) -> f64 {
                (**self).last_time()
            }

            fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
                (**self).time_of_lambda(lambda)
            }

            fn time_of_flow_sigma(&self, sigma: f64) -> Result<f64, Error> {
                (**self).time_of_flow_sigma(sigma)
            }

            fn lambda_range(&self) -> LambdaRange {
                (**self).lambda_range()
            }

            fn start_variance(&self, level: &NoiseLevel) -> f64 {
                (**self).start_variance(level)
            }

            fn table_len(&self) -> Option<usize> {
                (**self).table_len()
            }

            fn knot_time(&self, knot: f64) -> Result<f64, Error> {
                (**self).knot_time(knot)
            }

            fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
                (**self).knot_level(knot)
            }
        }
    )*};
}

forward!(&S, Box<S>, std::sync::Arc<S>);

/// λ at the noisy and at the clean end of a grid, `noisy` < `clean`.
///
/// ```
/// use diffusion_sampler::schedule::{LambdaRange, NoiseSchedule, TableSchedule, VariancePreserving};
///
/// let whole = TableSchedule::linear(1000, 1e-4, 0.02)?.lambda_range();
/// assert!((whole.clean() - 4.605).abs() < 1e-3);
/// // A schedule that reaches the clean state has no least noisy level: the cut must be explicit.
/// let cut = LambdaRange::of_times(&VariancePreserving::default(), 1.0, 1e-3)?;
/// assert!(cut.clean().is_finite());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LambdaRange {
    noisy: f64,
    clean: f64,
}

impl LambdaRange {
    /// The range from `noisy` up to `clean`; ends may be infinite, grids refuse those.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `noisy` < `clean`.
    pub fn new(noisy: f64, clean: f64) -> Result<Self, Error> {
        require(
            noisy < clean,
            "clean end of the lambda range",
            clean,
            "greater than the noisy end",
        )?;
        Ok(Self { noisy, clean })
    }

    /// The range from `noisy` to the clean state itself, λ = +∞: that of a schedule which reaches
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a `noisy` that is NaN or +∞.
    pub fn up_to_clean(noisy: f64) -> Result<Self, Error> {
        require(
            noisy < f64::INFINITY,
            "noisy end of the lambda range",
            noisy,
            "a number below +inf",
        )?;
        Ok(Self {
            noisy,
            clean: f64::INFINITY,
        })
    }

    /// The range of ρ = σ/α = e^−λ from `max` down to `min`: EDM's σ_max and σ_min.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `min` < `max`, both finite.
    pub fn of_rhos(max: f64, min: f64) -> Result<Self, Error> {
        require_positive("largest rho", max)?;
        require(
            min > 0.0 && min < max,
            "smallest rho",
            min,
            "positive and less than the largest",
        )?;
        Self::new(-libm::log(max), -libm::log(min))
    }

    /// The range between two times of a schedule.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`], and [`Error::InvalidParameter`] unless `noisy` > `clean` in time.
    pub fn of_times(schedule: &dyn NoiseSchedule, noisy: f64, clean: f64) -> Result<Self, Error> {
        Self::new(
            schedule.level(noisy)?.lambda(),
            schedule.level(clean)?.lambda(),
        )
    }

    /// The range's own end where λ is within rounding of it, else λ itself: ln(σ/α) taken from a
    /// level's α and σ can round past the end that the same level's logarithms give.
    pub(crate) fn snap(&self, lambda: f64) -> f64 {
        let near = |end: f64| {
            end.is_finite() && (lambda - end).abs() <= 8.0 * f64::EPSILON * end.abs().max(1.0)
        };
        match lambda {
            _ if near(self.noisy) => self.noisy,
            _ if near(self.clean) => self.clean,
            _ => lambda,
        }
    }

    /// λ at the noisy end.
    pub fn noisy(&self) -> f64 {
        self.noisy
    }

    /// λ at the clean end.
    pub fn clean(&self) -> f64 {
        self.clean
    }

    /// Refuses a λ outside the range: what [`NoiseSchedule::time_of_lambda`] of a custom schedule
    /// begins with.
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`], also for NaN.
    pub fn check(&self, lambda: f64) -> Result<(), Error> {
        if lambda >= self.noisy && lambda <= self.clean {
            Ok(())
        } else {
            Err(Error::LambdaOutOfRange {
                lambda,
                noisy: self.noisy,
                clean: self.clean,
            })
        }
    }
}

/// Refuses a flow's σ outside 0..=1.
fn check_flow_sigma(sigma: f64) -> Result<(), Error> {
    let within = (0.0..=1.0).contains(&sigma);
    require(within, "flow sigma", sigma, "between 0 and 1")
}

/// Refuses a time outside 0..=last.
fn check_time(time: f64, last: f64) -> Result<(), Error> {
    if (0.0..=last).contains(&time) {
        Ok(())
    } else {
        Err(Error::TimeOutOfRange { time, last })
    }
}
