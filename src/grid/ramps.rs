//! Ramps of the noise between the ends of a range.

use super::{Grid, MAX_STEPS, SigmaRange};
use crate::error::{Error, require, require_positive};
use crate::memory::Listed;
use crate::schedule::NoiseSchedule;
use crate::special::beta_quantile;

impl Grid {
    /// K levels whose arctan is uniform over `range`, then clean: the KL-optimal spacing.
    ///
    /// With ν the range's measure, ρ or a flow's sigma, ν_k = tan((1 − u) arctan ν_max + u arctan
    /// ν_min), u = k/(K − 1). Also over all of a flow in ρ, whose noisy end is ρ = ∞.
    ///
    /// AUTOMATIC1111 means K + 1 such levels and no clean end: `kl_optimal` with one step more, then
    /// [`without_clean_end`](Self::without_clean_end). What is optimal, and onto the clean end:
    /// [`arctan`](Self::arctan).
    ///
    /// Sabour, Fidler and Kreis (2024), "Align Your Steps", the closed form for Gaussian data.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
    ///
    /// let edm = Edm::default();
    /// let grid = Grid::kl_optimal(&edm, 10, edm.lambda_range())?;
    /// assert_eq!((grid.start().sigma(), grid.levels()[9].sigma()), (80.0, 0.002));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] at 0 or more than 2²⁴ steps, [`Error::UnboundedLambda`] where the clean
    /// end is infinite, [`Error::LambdaOutOfRange`] where the schedule does not reach the range.
    pub fn kl_optimal(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
    ) -> Result<Self, Error> {
        let range = range.into();
        let (max, min) = range.ends();
        let (noisy, clean) = (libm::atan(max), libm::atan(min));
        // π/2 less the angle, from the reciprocal: near ρ = ∞ the difference has no digits left.
        let (noisy_rest, clean_rest) = (libm::atan(1.0 / max), libm::atan(1.0 / min));
        Self::of_ramp(schedule, steps, range, Noisy::MayBePure, |u| {
            let angle = (1.0 - u) * noisy + u * clean;
            // Equivalent mutant: replace < with <=: at π/4 both forms are right to rounding.
            if angle < std::f64::consts::FRAC_PI_4 {
                range.lambda_of(libm::tan(angle))
            } else {
                range.lambda_of(1.0 / libm::tan((1.0 - u) * noisy_rest + u * clean_rest))
            }
        })
    }

    /// Uniform in arctan(ρ/c) from the schedule's last time down to clean, c the standard deviation
    /// of the data: ρ_k = c tan((1 − k/K) arctan(ρ_max/c)).
    ///
    /// For Gaussian data N(·, c²I) no other grid of K steps lets DDIM (Euler in ρ) come nearer to
    /// the data's distribution: a step turns by the angle δ = arctan(ρ/c) − arctan(ρ'/c), and
    /// multiplies the standard deviation by cos δ more than it should. It needs no cut at either
    /// end, and starts a flow at α = 0. [`kl_optimal`](Self::kl_optimal) is the same between two
    /// ends, with c = 1.
    ///
    /// Sabour, Fidler and Kreis (2024), "Align Your Steps", the closed form for Gaussian data.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::arctan(&RectifiedFlow::new(), 2, 0.5)?;
    /// // Half of π/2: ρ = c = 0.5, which is σ = 1/3.
    /// assert!((grid.levels()[1].sigma() - 1.0 / 3.0).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] as [`kl_optimal`](Self::kl_optimal), [`Error::InvalidParameter`] unless
    /// `data_std` is positive and finite, [`Error::LambdaOutOfRange`] where the schedule does not
    /// reach a knot.
    pub fn arctan(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        data_std: f64,
    ) -> Result<Self, Error> {
        check_count(steps)?;
        require_positive("data_std", data_std)?;
        let own = schedule.lambda_range();
        let log_std = libm::log(data_std);
        let ratio = libm::exp(-own.noisy() - log_std);
        let (all, rest) = (libm::atan(ratio), libm::atan(1.0 / ratio));
        let lambdas = (0..=steps).map(|k| {
            let (gone, left) = (k as f64 / steps as f64, (steps - k) as f64 / steps as f64);
            if k == 0 {
                own.noisy()
                // Equivalent mutant: replace < with <=: at π/4 both forms are right to rounding.
            } else if left * all < std::f64::consts::FRAC_PI_4 {
                -libm::log(libm::tan(left * all)) - log_std
            } else {
                // π/2 − left·all = rest + gone·all.
                libm::log(libm::tan(rest + gone * all)) - log_std
            }
        });
        Self::of_lambdas(schedule, lambdas)
    }

    /// K levels at the quantiles of a Laplace distribution of ln ν with mean `mu` and scale `scale`,
    /// then clean; ν is the range's measure, ρ or a flow's sigma.
    ///
    /// ln ν_k = μ − b sgn(½ − x) ln(1 − 2|½ − x|), x = k/(K − 1), which is infinite at the two
    /// ends: they are those of `range`. ComfyUI's default is μ = 0, b = ½; it adds 1e-5 under the
    /// logarithm, clamps all levels to the range and has no clean end (K levels are K − 1 steps
    /// there: [`without_clean_end`](Self::without_clean_end)).
    ///
    /// Hang et al. (2024), "Improved Noise Schedule for Diffusion Training": the distribution of
    /// the noise in training, taken as a spacing by ComfyUI.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, grid::SigmaRange, schedule::Edm};
    ///
    /// let grid = Grid::laplace(&Edm::default(), 11, SigmaRange::rhos(80.0, 0.002)?, 0.0, 0.5)?;
    /// assert!((grid.levels()[5].rho() - 1.0).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`kl_optimal`](Self::kl_optimal); [`Error::UnboundedLambda`] also where ρ = ∞ at the noisy
    /// end, [`Error::InvalidParameter`] unless `mu` is finite and `scale` positive,
    /// [`Error::NoiseNotDecreasing`] where a quantile lies beyond the range (many steps, a wide
    /// scale, and in a flow's sigma half of them with μ = 0: ln σ is negative there). ComfyUI's clamp
    /// makes idle steps of them.
    pub fn laplace(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        mu: f64,
        scale: f64,
    ) -> Result<Self, Error> {
        require(mu.is_finite(), "mu", mu, "finite")?;
        require_positive("scale", scale)?;
        let range = range.into();
        Self::of_ramp(schedule, steps, range, Noisy::Finite, |u| {
            // Equivalent mutant: replace < with <=: at 1/2 both are μ.
            let log = if u < 0.5 {
                mu - scale * libm::log(2.0 * u)
            } else {
                mu + scale * libm::log(2.0 * (1.0 - u))
            };
            range.lambda_of_log(log)
        })
    }

    /// K levels ν_min + (ν_max − ν_min) q, then clean; q the quantiles of Beta(α, β) at 1 − k/(K −
    /// 1), ν the range's measure: "beta sigmas" of diffusers and AUTOMATIC1111, with α = β = 0.6.
    ///
    /// ComfyUI's "beta" is [`beta_indices`](Self::beta_indices).
    ///
    /// Lee et al. (2024), "Beta Sampling is All You Need".
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, TableSchedule}};
    ///
    /// let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::beta_sigmas(&table, 10, table.lambda_range(), (0.6, 0.6))?;
    /// assert_eq!((grid.start().time(), grid.levels()[9].time()), (1000.0, 1.0));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`kl_optimal`](Self::kl_optimal); [`Error::UnboundedLambda`] also where ρ = ∞ at the noisy
    /// end, [`Error::InvalidParameter`] unless α and β lie in \[0.01, 1000\].
    pub fn beta_sigmas(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        (alpha, beta): (f64, f64),
    ) -> Result<Self, Error> {
        check_beta(alpha, beta)?;
        let range = range.into();
        let (max, min) = range.ends();
        Self::of_ramp(schedule, steps, range, Noisy::Finite, |u| {
            range.lambda_of(min + (max - min) * beta_quantile(1.0 - u, alpha, beta))
        })
    }

    /// ν = ν_max (1 − x_k) down to clean, x first linear, then quadratic; ν is the range's measure,
    /// of which only the noisy end counts.
    ///
    /// Of K steps the first L = ⌊K/2⌋ go linearly to x = `threshold`; the others on a parabola that
    /// continues it with the same slope up to x = 1. One step goes from the noisy end to clean. For
    /// models that want many short steps near pure noise (Mochi, ComfyUI: threshold 0.025).
    ///
    /// Genmo's Mochi 1 (2024), `linear_quadratic_schedule` of its inference code.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, grid::SigmaRange, schedule::RectifiedFlow};
    ///
    /// let range = SigmaRange::flow(1.0, 0.001)?;
    /// let grid = Grid::linear_quadratic(&RectifiedFlow::new(), 4, range, 0.025)?;
    /// let sigma: Vec<f64> = grid.levels().iter().map(|level| level.sigma()).collect();
    /// assert!((sigma[1] - 0.9875).abs() < 1e-15 && (sigma[2] - 0.975).abs() < 1e-15);
    /// assert!((sigma[3] - 0.725).abs() < 1e-15 && sigma[4] == 0.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`beta_sigmas`](Self::beta_sigmas); [`Error::InvalidParameter`] unless 0 < `threshold` < 1,
    /// [`Error::NoiseNotDecreasing`] where the parabola turns back: a threshold above 2L/(K + L),
    /// about two thirds.
    pub fn linear_quadratic(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        threshold: f64,
    ) -> Result<Self, Error> {
        check_count(steps)?;
        require(
            threshold > 0.0 && threshold < 1.0,
            "threshold",
            threshold,
            "between 0 and 1",
        )?;
        let range = range.into();
        require_finite(&range, Noisy::Finite)?;
        let (max, _) = range.ends();
        let (linear, rest) = (steps / 2, (steps - steps / 2) as f64);
        let slope = threshold / linear as f64;
        let curvature = (1.0 - threshold - slope * rest) / (rest * rest);
        let lambdas = (0..=steps).map(|k| {
            let beyond = k as f64 - linear as f64;
            let x = match k {
                0 => return range.lambdas().noisy(),
                k if k == steps => return f64::INFINITY,
                k if k <= linear => slope * k as f64,
                _ => threshold + slope * beyond + curvature * beyond * beyond,
            };
            range.lambda_of(max * (1.0 - x))
        });
        Self::of_lambdas(schedule, lambdas)
    }

    /// ν = ν_max s_k down to clean, s on two arcs of an arctangent from 1 over ½ to 0: "bong tangent"
    /// of RES4LYF; ν is the range's measure, of which only the noisy end counts.
    ///
    /// With n = K + 2 and m = ⌊0.6 n⌋ the first arc has m values arctan(8 (m − j)/n), j = 0..m, the
    /// second n − m values −arctan(8j/n), each scaled to its ends, which they share. Made for flows,
    /// where ν_max is 1. stable-diffusion.cpp lets the second arc end at its least σ and then puts 0
    /// in the place of that.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, grid::SigmaRange, schedule::RectifiedFlow};
    ///
    /// let range = SigmaRange::flow(1.0, 0.001)?;
    /// let grid = Grid::bong_tangent(&RectifiedFlow::new(), 8, range)?;
    /// assert!((grid.levels()[5].sigma() - 0.5).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`beta_sigmas`](Self::beta_sigmas); [`Error::StepCount`] also at one step, for which the
    /// definition starts at ½.
    pub fn bong_tangent(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
    ) -> Result<Self, Error> {
        if !(2..=MAX_STEPS).contains(&steps) {
            return Err(Error::StepCount {
                steps,
                min: 2,
                max: MAX_STEPS,
            });
        }
        let range = range.into();
        require_finite(&range, Noisy::Finite)?;
        let (max, _) = range.ends();
        let all = (steps + 2) as f64;
        let joint = (0.6 * all).floor();
        let angle = |x: f64| libm::atan(8.0 * x / all);
        let lambdas = (0..=steps).map(|k| {
            let place = k as f64;
            // Where the second arc begins: the first one's last value.
            let beyond = place - (joint - 1.0);
            let share = match k {
                0 => return range.lambdas().noisy(),
                // Equivalent mutant: replace match guard k == steps with false: the second arc ends
                // at 0 too.
                k if k == steps => return f64::INFINITY,
                // Equivalent mutant: replace < with <=: where the arcs meet both are 1/2.
                _ if beyond < 0.0 => {
                    let (first, last) = (angle(joint), angle(1.0));
                    0.5 + 0.5 * (angle(joint - place) - last) / (first - last)
                }
                _ => {
                    let last = angle(all - joint - 1.0);
                    0.5 * (last - angle(beyond)) / last
                }
            };
            range.lambda_of(max * share)
        });
        Self::of_lambdas(schedule, lambdas)
    }

    /// K levels of EDM's "VP" discretisation over `range`, then clean: t uniform from 1 to `epsilon`
    /// with ln(1 + ν²) = ½β_d t² + β_min t, β_d and β_min such that both ends are the range's.
    ///
    /// The paper's `epsilon` is 1e-3. With the range of a VP schedule it is that schedule's uniform
    /// grid. EDM's "VE" discretisation, ν² geometric, is [`exponential`](Self::exponential) with
    /// power 1.
    ///
    /// Karras, Aittala, Aila and Laine (2022), "Elucidating the Design Space of Diffusion-Based
    /// Generative Models", Table 1, column VP.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
    ///
    /// let edm = Edm::default();
    /// let grid = Grid::edm_vp(&edm, 18, edm.lambda_range(), 1e-3)?;
    /// assert_eq!((grid.start().sigma(), grid.levels()[17].sigma()), (80.0, 0.002));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`beta_sigmas`](Self::beta_sigmas); [`Error::InvalidParameter`] unless 0 < `epsilon` < 1,
    /// [`Error::NoiseNotDecreasing`] or [`Error::LambdaOutOfRange`] for a narrow range, between whose
    /// ends the parabola rises first (ln(1 + ν_min²) above about 2ε ln(1 + ν_max²)).
    #[doc(alias = "get_sigmas_vp")]
    pub fn edm_vp(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
        epsilon: f64,
    ) -> Result<Self, Error> {
        require(
            epsilon > 0.0 && epsilon < 1.0,
            "epsilon",
            epsilon,
            "between 0 and 1",
        )?;
        let range = range.into();
        let (max, min) = range.ends();
        let (at_one, at_epsilon) = (libm::log1p(max * max), libm::log1p(min * min));
        let beta_d = 2.0 * (at_one - at_epsilon / epsilon) / (1.0 - epsilon);
        let beta_min = at_one - 0.5 * beta_d;
        Self::of_ramp(schedule, steps, range, Noisy::Finite, |u| {
            let t = 1.0 + u * (epsilon - 1.0);
            let integral = t * (0.5 * beta_d * t + beta_min);
            range.lambda_of_log(0.5 * libm::log(libm::expm1(integral)))
        })
    }

    /// K of the M = 1000 levels of iDDPM's cosine table that lie within `range`, evenly by position,
    /// then clean.
    ///
    /// u_M = 0, u_{j−1} = √((u_j² + 1)/max(ᾱ_{j−1}/ᾱ_j, C₁) − 1) with ᾱ_j = sin²(½π j/(M(C₂ + 1))),
    /// C₁ = 0.001, C₂ = 0.008; of the n values of ν that lie in the range, the i-th is that at
    /// position round(i (n − 1)/(K − 1)). The first is not the range's end, but the highest value
    /// below it.
    ///
    /// Karras, Aittala, Aila and Laine (2022), Table 1, column iDDPM, for Nichol and Dhariwal
    /// (2021); ties of the rounding go to the even position, as in its authors' code.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
    ///
    /// let edm = Edm::default();
    /// let grid = Grid::iddpm(&edm, 18, edm.lambda_range())?;
    /// assert!(grid.start().sigma() < 80.0 && grid.start().sigma() > 60.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for more steps than the range has values; as
    /// [`beta_sigmas`](Self::beta_sigmas).
    pub fn iddpm(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: impl Into<SigmaRange>,
    ) -> Result<Self, Error> {
        let range = range.into();
        require_finite(&range, Noisy::Finite)?;
        let values = iddpm_values(range.ends())?;
        if !(1..=values.len()).contains(&steps) {
            return Err(Error::StepCount {
                steps,
                min: 1,
                max: values.len(),
            });
        }
        let stride = (values.len() - 1) as f64 / (steps.max(2) - 1) as f64;
        let lambdas = (0..steps).map(|i| {
            let position = (stride * i as f64).round_ties_even() as usize;
            let value = values.get(position).copied().unwrap_or(f64::NAN);
            range.lambda_of(value)
        });
        Self::of_lambdas(schedule, lambdas.chain(std::iter::once(f64::INFINITY)))
    }

    /// The levels at the given λ's; +∞ is clean.
    pub(super) fn of_lambdas(
        schedule: &dyn NoiseSchedule,
        lambdas: impl Iterator<Item = f64>,
    ) -> Result<Self, Error> {
        let own = schedule.lambda_range();
        Self::of_times_checked(
            schedule,
            lambdas.map(|lambda| schedule.time_of_lambda(own.snap(lambda))),
        )
    }

    /// K levels at λ(u), u = 0..1, then clean. The ends are the range's own, exactly.
    pub(super) fn of_ramp(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: SigmaRange,
        noisy: Noisy,
        ramp: impl Fn(f64) -> f64,
    ) -> Result<Self, Error> {
        check_count(steps)?;
        require_finite(&range, noisy)?;
        let lambdas = (0..=steps).map(|k| match k {
            0 => range.lambdas().noisy(),
            k if k == steps => f64::INFINITY,
            k if k == steps - 1 => range.lambdas().clean(),
            k => ramp(k as f64 / (steps - 1) as f64),
        });
        Self::of_lambdas(schedule, lambdas)
    }
}

/// What a ramp asks of the noisy end of its range.
#[derive(Clone, Copy)]
pub(super) enum Noisy {
    /// A finite value of the measure: a flow's sigma of 1, but no infinite ρ.
    Finite,
    /// Anything.
    MayBePure,
}

fn require_finite(range: &SigmaRange, noisy: Noisy) -> Result<(), Error> {
    let (at_noisy, at_clean) = range.logs();
    let pure = matches!(noisy, Noisy::MayBePure);
    if at_clean.is_finite() && (pure || at_noisy.is_finite()) {
        return Ok(());
    }
    Err(Error::UnboundedLambda {
        noisy: range.lambdas().noisy(),
        clean: range.lambdas().clean(),
    })
}

fn check_count(steps: usize) -> Result<(), Error> {
    if (1..=MAX_STEPS).contains(&steps) {
        return Ok(());
    }
    Err(Error::StepCount {
        steps,
        min: 1,
        max: MAX_STEPS,
    })
}

/// Refuses parameters of a Beta distribution that no spacing has, and at which its quantiles would
/// lose digits.
pub(super) fn check_beta(alpha: f64, beta: f64) -> Result<(), Error> {
    for (name, value) in [("alpha", alpha), ("beta", beta)] {
        let valid = (0.01..=1000.0).contains(&value);
        require(valid, name, value, "between 0.01 and 1000")?;
    }
    Ok(())
}

/// The values u_j of iDDPM's table that lie in a range, from the noisy end.
fn iddpm_values((max, min): (f64, f64)) -> Result<Vec<f64>, Error> {
    const COUNT: usize = 1000;
    let alpha_bar = |j: usize| {
        let sine = libm::sin(0.5 * std::f64::consts::PI * j as f64 / COUNT as f64 / (0.008 + 1.0));
        sine * sine
    };
    let mut value: f64 = 0.0;
    let mut found: Vec<f64> = (1..=COUNT)
        .rev()
        .map(|j| {
            let ratio = (alpha_bar(j - 1) / alpha_bar(j)).max(0.001);
            value = ((value * value + 1.0) / ratio - 1.0).sqrt();
            value
        })
        .filter(|value| (min..=max).contains(value))
        .listed()?;
    found.reverse();
    Ok(found)
}
