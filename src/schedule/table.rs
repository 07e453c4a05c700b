//! Variance-preserving schedules from a table of betas or ᾱ.

use super::variance_preserving::log_alpha_squared;
use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::{Error, require_all, require_positive};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};

/// A variance-preserving schedule given by T betas or ᾱ's, the form in which most checkpoints are
/// trained.
///
/// Table index i fills knot i + 1: ᾱ_i = Π_{j≤i}(1 − β_j) = α²_{i+1}. Knot 0 is the clean state.
/// The network expects the *index*, so that [`model_time`](NoiseLevel::model_time) is t − 1 at
/// every knot t > 0. ln α² = Σ ln(1 − β) is summed with log1p in f64; between knots it is linear in
/// t. Where ᾱ ends at exactly 0 (zero terminal SNR), α² is linear in t over the last interval
/// instead.
///
/// Between two knots the network's time is the index linear in λ = ln(α/σ), as the libraries have
/// it that ask a network between them (k-diffusion's and diffusers' `sigma_to_t`, over ln σ there):
/// it is the inverse of [`knot_time`](NoiseSchedule::knot_time), and differs from t − 1 by up to
/// 0.1 at the clean end. In the cells at the ends, where λ is infinite on one side, it is t − 1.
///
/// ```
/// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let first = schedule.level(1.0)?;
/// assert!((first.sigma().powi(2) - 1e-4).abs() < 1e-18);
/// assert_eq!(first.model_time(), 0.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TableSchedule {
    /// ln α² at the knots 0..=T; 0 first, strictly decreasing, −∞ at most last.
    pub(super) log_alpha_squared: Vec<f64>,
}

impl TableSchedule {
    /// β_i linear from `first` to `last` (Ho, Jain and Abbeel 2020, "Denoising Diffusion
    /// Probabilistic Models": T = 1000, 1e-4 to 0.02).
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ T ≤ 2²⁴; [`Error::InvalidEntry`] unless all betas lie in (0,
    /// 1).
    pub fn linear(steps: usize, first: f64, last: f64) -> Result<Self, Error> {
        check_table_len(steps)?;
        Self::from_betas(&ramp(steps, first, last)?)
    }

    /// √β_i linear: betas are the squares of a linear ramp of square roots (latent diffusion: T =
    /// 1000, 0.00085 to 0.012).
    ///
    /// # Errors
    ///
    /// As [`linear`](Self::linear).
    pub fn scaled_linear(steps: usize, first: f64, last: f64) -> Result<Self, Error> {
        check_table_len(steps)?;
        // A negative end has no root; the error must show the end that was given, not NaN.
        for (index, value) in [(0, first), (steps - 1, last)] {
            if value.is_nan() || value < 0.0 {
                return Err(Error::InvalidEntry {
                    name: "betas",
                    index,
                    value,
                    requirement: BETAS,
                });
            }
        }
        let roots = ramp(steps, first.sqrt(), last.sqrt())?;
        Self::from_betas(&roots.iter().map(|root| root * root).listed()?)
    }

    /// The cosine schedule: ᾱ(u) = cos²((u + s)/(1 + s)·π/2)/cos²(s/(1 + s)·π/2) with s = 0.008,
    /// and β_i = min(1 − ᾱ((i+1)/T)/ᾱ(i/T), 0.999) (Nichol and Dhariwal 2021, "Improved Denoising
    /// Diffusion Probabilistic Models").
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ T ≤ 2²⁴.
    #[doc(alias("squaredcos_cap_v2", "SquaredcosCapV2", "betas_for_alpha_bar"))]
    pub fn cosine(steps: usize) -> Result<Self, Error> {
        const OFFSET: f64 = 0.008;
        const MAX_BETA: f64 = 0.999;
        check_table_len(steps)?;
        let quarter = std::f64::consts::FRAC_PI_2 / (1.0 + OFFSET);
        let part = |knot: usize| knot as f64 / steps as f64;
        let first = OFFSET * quarter;
        // ln ᾱ in closed form, which sums no rounding. The angle is taken from the nearer end: at
        // the noisy end cos(angle) = sin(π/2 − angle), with π/2 − angle = quarter·(T − k)/T.
        let closed = |knot: usize| {
            let sine = libm::sin(part(knot) * quarter);
            let cos = libm::cos(first);
            // 1 − ᾱ = sin(b − a) sin(b + a)/cos²a: no difference of nearly equal numbers.
            let one_minus = sine * libm::sin((part(knot) + 2.0 * OFFSET) * quarter) / (cos * cos);
            // Equivalent mutant: replace < with <=: at 1/2 both forms are right to rounding.
            if one_minus < 0.5 {
                libm::log1p(-one_minus)
            } else {
                2.0 * (libm::log(libm::sin(part(steps - knot) * quarter)) - libm::log(cos))
            }
        };
        // ᾱ falls by less than a factor of 4cos² ≤ 4 in every interval but the last, at whose end
        // it is 0: that one alone is clipped.
        let mut logs = crate::memory::reserve(&[steps])?;
        logs.extend((1..steps).map(closed));
        let before = logs.last().copied().unwrap_or(0.0);
        logs.push(before + libm::log1p(-MAX_BETA));
        let source = logs.copy()?;
        Self::from_logs(logs, "log_alpha_squared", &source)
    }

    /// β_i = `first` + (`last` − `first`)·s(z_i), s the logistic function and z linear from −6 to 6
    /// (the schedule that GeoDiff introduced; Xu et al. 2022).
    ///
    /// # Errors
    ///
    /// As [`linear`](Self::linear).
    pub fn sigmoid(steps: usize, first: f64, last: f64) -> Result<Self, Error> {
        check_table_len(steps)?;
        let betas = ramp(steps, -6.0, 6.0)?
            .iter()
            .map(|z| first + (last - first) / (1.0 + libm::exp(-z)))
            .listed()?;
        Self::from_betas(&betas)
    }

    /// Any table of betas, in (0, 1); the last may be 1.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] for an empty table; [`Error::InvalidEntry`] for a beta out of range, or
    /// one so small that the noise does not grow in f64.
    pub fn from_betas(betas: &[f64]) -> Result<Self, Error> {
        let last = betas.len().saturating_sub(1);
        require_all(
            "betas",
            betas,
            |index, beta| beta > 0.0 && (beta < 1.0 || (beta == 1.0 && index == last)),
            BETAS,
        )?;
        let logs = betas.iter().scan(0.0, |sum, &beta| {
            *sum += libm::log1p(-beta);
            Some(*sum)
        });
        Self::from_logs(logs.listed()?, "betas", betas)
    }

    /// Any table of ᾱ = α² (`alphas_cumprod` elsewhere), strictly decreasing in (0, 1); the last
    /// may be 0.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] for an empty table; [`Error::InvalidEntry`] for an entry out of range
    /// or not below the one before it.
    #[doc(alias = "alphas_cumprod")]
    pub fn from_alphas_cumprod(alphas_cumprod: &[f64]) -> Result<Self, Error> {
        let last = alphas_cumprod.len().saturating_sub(1);
        require_all(
            "alphas_cumprod",
            alphas_cumprod,
            |index, value| value < 1.0 && (value > 0.0 || (value == 0.0 && index == last)),
            "in (0, 1), the last in [0, 1)",
        )?;
        let logs = alphas_cumprod.iter().map(|&value| libm::log(value));
        Self::from_logs(logs.listed()?, "alphas_cumprod", alphas_cumprod)
    }

    /// Zero terminal SNR: √ᾱ shifted and scaled so that it ends at 0 and keeps its first value (Lin
    /// et al. 2024, "Common Diffusion Noise Schedules and Sample Steps Are Flawed", Algorithm 1).
    ///
    /// ε, score and EDM predictions are undefined at α = 0; a run that evaluates one there is
    /// refused when it is started.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for a table of one knot; [`Error::InvalidEntry`] where the new noise does
    /// not grow in f64.
    #[doc(alias = "rescale_betas_zero_snr")]
    pub fn zero_terminal_snr(&self) -> Result<Self, Error> {
        let logs = &self.log_alpha_squared;
        let steps = logs.len() - 1;
        if steps < 2 {
            return Err(Error::StepCount {
                steps,
                min: 2,
                max: usize::MAX,
            });
        }
        let (first, last) = (logs[1], logs[steps]);
        // α' = α₁(α − α_T)/(α₁ − α_T), differences by expm1: near knot 1 ln α' = ln α₁ + ln(1 + (α
        // − α₁)/(α₁ − α_T)), near T, where that sum cancels, ln α' = ln α + ln(1 − α_T/α) − ln(1 −
        // α_T/α₁).
        let span = -libm::expm1(0.5 * (last - first));
        let noisy = logs.iter().enumerate().skip(1);
        let rescaled = noisy.map(|(knot, &la)| match knot {
            k if k == steps => f64::NEG_INFINITY,
            // Equivalent mutant: replace > with >=; replace - with +: where they choose the other
            // form, which is within ln α₁ of −1, both are right to rounding.
            _ if la - first > -1.0 => {
                first + 2.0 * libm::log1p(libm::expm1(0.5 * (la - first)) / span)
            }
            _ => la + 2.0 * (libm::log(-libm::expm1(0.5 * (last - la))) - libm::log(span)),
        });
        Self::from_logs(rescaled.listed()?, "log_alpha_squared", &logs[1..])
    }

    /// The same table with the signal-to-noise ratio ᾱ/(1 − ᾱ) of every knot divided by `scale`: ᾱ'
    /// = ᾱ/(s + (1 − s)ᾱ), which is λ − ½ ln s.
    ///
    /// CogVideoX has s = 3 (2 billion parameters) or 1 (5 billion), `snr_shift_scale` of its
    /// configuration, and *then* [zero terminal SNR](Self::zero_terminal_snr); the two do not
    /// commute. Yang et al. (2024), "CogVideoX".
    ///
    /// ```
    /// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
    ///
    /// let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let shifted = table.snr_shifted(3.0)?;
    /// let (old, new) = (table.level(400.0)?.snr(), shifted.level(400.0)?.snr());
    /// assert!((old / new - 3.0).abs() < 1e-12);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `scale` is positive and finite; [`Error::InvalidEntry`]
    /// where the new noise does not grow in f64.
    #[doc(alias = "snr_shift_scale")]
    pub fn snr_shifted(&self, scale: f64) -> Result<Self, Error> {
        require_positive("scale of the signal-to-noise ratio", scale)?;
        if scale == 1.0 {
            return Ok(Self {
                log_alpha_squared: self.log_alpha_squared[..].copy()?,
            });
        }
        let logs = &self.log_alpha_squared[1..];
        // ᾱ' = 1/(1 + s(1 − ᾱ)/ᾱ); where that ratio overflows, the 1 is nothing beside it.
        let shifted = logs.iter().map(|&la| {
            let ratio = scale * libm::expm1(-la);
            if ratio.is_finite() {
                -libm::log1p(ratio)
            } else {
                la - libm::log(scale)
            }
        });
        Self::from_logs(shifted.listed()?, "log_alpha_squared", logs)
    }

    /// The same table with another ᾱ at its last knot, the network's index T − 1.
    ///
    /// diffusers' Euler, Euler ancestral, DPM-Solver and UniPC put 2⁻²⁴ in the place of the 0 that
    /// [zero terminal SNR](Self::zero_terminal_snr) means, so that ρ ends at 4096 and not at ∞:
    /// their ε is then defined at the start, and their pictures are those of this table.
    ///
    /// ```
    /// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
    ///
    /// let zero = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?.zero_terminal_snr()?;
    /// let nearly = zero.with_last_alpha_cumprod(2f64.powi(-24))?;
    /// assert!((nearly.level(1000.0)?.rho() - 4096.0).abs() < 1e-3);
    /// assert_eq!(nearly.level(999.0)?, zero.level(999.0)?);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] unless 0 ≤ `alpha_cumprod` < ᾱ of the knot before, which is 1 where
    /// there is none.
    pub fn with_last_alpha_cumprod(&self, alpha_cumprod: f64) -> Result<Self, Error> {
        let logs = &self.log_alpha_squared;
        let (index, before) = (logs.len() - 2, logs[logs.len() - 2]);
        let log = libm::log(alpha_cumprod);
        // Also for NaN.
        if !(alpha_cumprod >= 0.0 && log < before) {
            return Err(Error::InvalidEntry {
                name: "alphas_cumprod",
                index,
                value: alpha_cumprod,
                requirement: "such that noise grows strictly",
            });
        }
        let mut logs = logs[..].copy()?;
        logs[index + 1] = log;
        let knots = logs.split_off(1);
        Self::from_logs(knots.clone(), "log_alpha_squared", &knots)
    }

    /// The network's index at a level of this table: linear in λ between two knots.
    fn index(&self, level: &NoiseLevel) -> Result<f64, Error> {
        let knot = level.time().floor();
        if level.time() == knot {
            return Ok(knot - 1.0);
        }
        let lambda = |knot: f64| -> Result<f64, Error> {
            let la = self.log_alpha_squared[knot as usize];
            Ok(NoiseLevel::variance_preserving(knot, la)?.lambda())
        };
        let (low, high) = (lambda(knot)?, lambda(knot + 1.0)?);
        if !(low.is_finite() && high.is_finite()) {
            return Ok(level.time() - 1.0);
        }
        let share = (low - level.lambda()) / (low - high);
        Ok(knot - 1.0 + share.clamp(0.0, 1.0))
    }

    pub(super) fn from_logs(
        logs: Vec<f64>,
        name: &'static str,
        source: &[f64],
    ) -> Result<Self, Error> {
        if logs.is_empty() {
            return Err(Error::EmptyList { name });
        }
        let table = std::iter::once(0.0).chain(logs).listed()?;
        let lambda = |log| NoiseLevel::variance_preserving(0.0, log).map(|level| level.lambda());
        for (index, pair) in table.windows(2).enumerate() {
            let (before, log) = (pair[0], pair[1]);
            // Where α has underflowed to 0 there is no more noise to come; and neighbours in f64 may
            // have one λ.
            // Equivalent mutant: replace < with <= (1): equal logarithms have one λ.
            let grows = log < before && lambda(log)? < lambda(before)?;
            if !grows || libm::exp(0.5 * before) == 0.0 {
                return Err(Error::InvalidEntry {
                    name,
                    index,
                    value: source[index],
                    requirement: "such that noise grows strictly",
                });
            }
        }
        Ok(Self {
            log_alpha_squared: table,
        })
    }
}

/// The longest table that a constructor makes from a count: the count comes from the caller, and
/// the table must fit into memory.
const MAX_TABLE: usize = 1 << 24;

/// What betas must be.
const BETAS: &str = "in (0, 1), the last in (0, 1]";

fn check_table_len(steps: usize) -> Result<(), Error> {
    if (1..=MAX_TABLE).contains(&steps) {
        return Ok(());
    }
    Err(Error::StepCount {
        steps,
        min: 1,
        max: MAX_TABLE,
    })
}

/// `steps` values from `first` to `last`, numpy's linspace: one value is `first`.
fn ramp(steps: usize, first: f64, last: f64) -> Result<Vec<f64>, Error> {
    let intervals = steps.saturating_sub(1).max(1) as f64;
    (0..steps)
        .map(|i| first + (last - first) * (i as f64 / intervals))
        .listed()
}

impl NoiseSchedule for TableSchedule {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        check_time(time, self.last_time())?;
        if time == 0.0 {
            return Ok(NoiseLevel::clean());
        }
        let table = &self.log_alpha_squared;
        let knot = time as usize;
        let fraction = time - knot as f64;
        let la = match (table[knot], table.get(knot + 1)) {
            (low, Some(&f64::NEG_INFINITY)) => low + libm::log1p(-fraction),
            (low, Some(high)) => low + (high - low) * fraction,
            (low, None) => low,
        };
        let level = NoiseLevel::variance_preserving(time, la)?;
        Ok(level.with_model_time(self.index(&level)?))
    }

    /// The network's time is the index itself, which may be fractional.
    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        let level = self.level(self.knot_time(knot)?)?;
        Ok(if level.is_clean() {
            level
        } else {
            level.with_model_time(knot - 1.0)
        })
    }

    fn last_time(&self) -> f64 {
        (self.log_alpha_squared.len() - 1) as f64
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        let table = &self.log_alpha_squared;
        LambdaRange {
            clean: f64::INFINITY,
            ..self.lambda_range()
        }
        .check(lambda)?;
        let la = log_alpha_squared(lambda);
        // The first knot with at least as much noise; rounding may put la just past the last.
        let upper = table
            // Equivalent mutant: replace > with >=: at a knot's own ln α² the time is the knot's
            // from either side.
            .partition_point(|&value| value > la)
            .min(table.len() - 1);
        if upper == 0 {
            return Ok(0.0);
        }
        // A knot's own λ gives the knot, not a time within rounding of it.
        for knot in [upper - 1, upper] {
            if self.level(knot as f64)?.lambda() == lambda {
                return Ok(knot as f64);
            }
        }
        let (low, high) = (table[upper - 1], table[upper]);
        let fraction = if high == f64::NEG_INFINITY {
            -libm::expm1(la - low)
        } else {
            (la - low) / (high - low)
        };
        Ok((upper - 1) as f64 + fraction.min(1.0))
    }

    fn lambda_range(&self) -> LambdaRange {
        let lambda = |time: f64| {
            self.level(time)
                .map_or(f64::NEG_INFINITY, |level| level.lambda())
        };
        LambdaRange {
            noisy: lambda(self.last_time()),
            clean: lambda(1.0),
        }
    }

    fn table_len(&self) -> Option<usize> {
        Some(self.log_alpha_squared.len() - 1)
    }
}
