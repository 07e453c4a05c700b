//! Lists of a flow's σ, as the libraries make them.

use super::{Grid, MAX_STEPS};
use crate::error::{Error, require, require_all, require_positive};
use crate::memory::Listed;
use crate::schedule::NoiseSchedule;
use crate::special::linspace;

/// A list of a flow's σ, from the noisy end, without the clean 0: what pipelines hand to a
/// scheduler (`sigmas`), and what its own rules make.
///
/// A rule gives a list, shifts and the stretch change it, [`grid`](Self::grid) takes it to a
/// schedule. On an unshifted [`RectifiedFlow`](crate::schedule::RectifiedFlow) the grid's σ are
/// those of the list to the bit; a list that is shifted must not meet a shifted schedule for that,
/// though it is never shifted again.
///
/// | rule, K steps, T training times | list | scheduler |
/// |---|---|---|
/// | [`uniform`](Self::uniform) | linspace(1, 1/K, K) | given by most pipelines |
/// | [`down_to`](Self::down_to) | linspace(1, σ_min, K) | FlowMatchEuler, σ_min given |
/// | [`euler`](Self::euler) | linspace(1, 1/T, K) | FlowMatchEuler with dynamic shift, or none |
/// | [`euler_shifted_twice`](Self::euler_shifted_twice) | linspace(1, shifted 1/T, K), shifted | FlowMatchEuler with a static shift |
/// | [`uni_pc`](Self::uni_pc) | linspace(1, 1/T, K + 1) without its last | UniPC (`use_flow_sigmas`) |
/// | [`dpm_solver`](Self::dpm_solver) | 1 − linspace(1, 1/T, K + 1), reversed, without its 0 | DPM-Solver, DEIS, SA-Solver |
/// | [`new`](Self::new), [`linspace`](Self::linspace) | any | |
///
/// All is computed in f64 in the order of those programs, so that also a network's time which is
/// truncated to an integer ([`ModelTime`](crate::schedule::ModelTime)) is theirs.
///
/// ```
/// use diffusion_sampler::{grid::FlowSigmas, schedule::{ModelTime, RectifiedFlow}};
///
/// // Wan: UniPC with shift 3.
/// let time = ModelTime::sigma().times(1000.0)?.truncated();
/// let flow = RectifiedFlow::new().with_model_time(time);
/// let grid = FlowSigmas::uni_pc(4, 1000)?.shifted(3.0)?.grid(&flow)?;
/// let times: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
/// assert_eq!(times, [1000.0, 900.0, 750.0, 500.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("sigmas", "use_flow_sigmas"))]
pub struct FlowSigmas {
    values: Vec<f64>,
    /// Whether every operation is rounded to f32.
    single: bool,
}

/// What a list's entries must be.
const WITHIN: &str = "between 0 and 1";

/// Constructors.
impl FlowSigmas {
    /// Any list. That it falls strictly is checked by [`grid`](Self::grid).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`], [`Error::InvalidEntry`] for a value outside 0 to 1.
    pub fn new(values: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let values = values.into();
        if values.is_empty() {
            return Err(Error::EmptyList {
                name: "flow sigmas",
            });
        }
        let within = |_, sigma: f64| (0.0..=1.0).contains(&sigma);
        require_all("flow sigmas", &values, within, WITHIN)?;
        Ok(Self {
            values,
            single: false,
        })
    }

    /// `count` values uniform from `first` to `last`, both included, rounded as numpy's `linspace`;
    /// one value is `first`.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `count` ≤ 2²⁴ + 1, [`Error::InvalidEntry`] for an end
    /// outside 0 to 1.
    pub fn linspace(first: f64, last: f64, count: usize) -> Result<Self, Error> {
        let max = MAX_STEPS + 1;
        check_steps(count, max)?;
        // Before a list is made of them.
        let within = |_, sigma: f64| (0.0..=1.0).contains(&sigma);
        require_all("flow sigmas", &[first, last], within, WITHIN)?;
        Self::new(linspace(first, last, count).listed()?)
    }

    /// linspace(1, 1/K, K), what most pipelines give: with the 0 behind it, uniform steps. It is
    /// [`Grid::trailing`] of a flow, but for the last digits.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ K ≤ 2²⁴.
    pub fn uniform(steps: usize) -> Result<Self, Error> {
        check_steps(steps, MAX_STEPS)?;
        Self::linspace(1.0, 1.0 / steps as f64, steps)
    }

    /// linspace(1, 1/T, K), FlowMatchEuler's own rule for T training times, where the shift comes
    /// by resolution (`use_dynamic_shifting`), or there is none. Computed as linspace(T, 1, K)/T.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ K ≤ 2²⁴, [`Error::InvalidParameter`] for T = 0.
    #[doc(alias = "FlowMatchEulerDiscreteScheduler")]
    pub fn euler(steps: usize, table: usize) -> Result<Self, Error> {
        Self::down_to(least(table)?, steps, table)
    }

    /// FlowMatchEuler's own rule with a static shift (`shift`), which is applied twice at the clean
    /// end: linspace(1, σ_min, K) with σ_min = s/(T + s − 1), the *shifted* 1/T, and all of it
    /// shifted.
    ///
    /// It is what that program does without σ given by the pipeline, and what Stable Diffusion 3
    /// was published with: for s = 3, T = 1000 the last σ before 0 is 0.00893, not 0.00299. Shifted
    /// once is `euler(…)?.shifted(…)`.
    ///
    /// ```
    /// use diffusion_sampler::grid::FlowSigmas;
    ///
    /// let (once, twice) = (
    ///     FlowSigmas::euler(28, 1000)?.shifted(3.0)?,
    ///     FlowSigmas::euler_shifted_twice(28, 1000, 3.0)?,
    /// );
    /// assert!((once.values()[27] - 3.0 / 1002.0).abs() < 1e-15);
    /// assert!((twice.values()[27] - 9.0 / 1008.0).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`euler`](Self::euler) and [`shifted`](Self::shifted).
    pub fn euler_shifted_twice(steps: usize, table: usize, shift: f64) -> Result<Self, Error> {
        require_positive("shift", shift)?;
        Self::down_to(shifted(shift, least(table)?), steps, table)?.shifted(shift)
    }

    /// linspace(1, σ_min, K), computed in T training times as linspace(T, σ_min T, K)/T: the
    /// general form of [`euler`](Self::euler), for a σ_min that was rounded to f32 in a table.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ K ≤ 2²⁴, [`Error::InvalidParameter`] unless 0 < `sigma_min`
    /// ≤ 1 and 1 ≤ T.
    pub fn down_to(sigma_min: f64, steps: usize, table: usize) -> Result<Self, Error> {
        check_steps(steps, MAX_STEPS)?;
        let within = sigma_min > 0.0 && sigma_min <= 1.0;
        require(within, "smallest flow sigma", sigma_min, "in (0, 1]")?;
        require(table > 0, "training times", table as f64, "at least 1")?;
        let table = table as f64;
        let times = linspace(table, sigma_min * table, steps);
        Self::new(times.map(|time| time / table).listed()?)
    }

    /// linspace(1, 1/T, K + 1) without its last: UniPC's rule (`use_flow_sigmas`).
    ///
    /// diffusers then takes 10⁻⁶ off a first σ of 1, because its formulas divide by α:
    /// [`starting_below`](Self::starting_below). Here σ = 1 needs no such care.
    ///
    /// # Errors
    ///
    /// As [`euler`](Self::euler).
    #[doc(alias = "UniPCMultistepScheduler")]
    pub fn uni_pc(steps: usize, table: usize) -> Result<Self, Error> {
        let mut values = over_table(steps, table)?;
        values.pop();
        Self::new(values)
    }

    /// 1 − linspace(1, 1/T, K + 1), reversed, without its 0: the rule of diffusers' DPM-Solver,
    /// DEIS and SA-Solver (`use_flow_sigmas`). It starts at 1 − 1/T, not at pure noise, from which
    /// the run nevertheless comes.
    ///
    /// # Errors
    ///
    /// As [`euler`](Self::euler); [`Error::InvalidParameter`] also for T = 1, where all of it is 0.
    #[doc(alias(
        "DPMSolverMultistepScheduler",
        "DEISMultistepScheduler",
        "SASolverScheduler"
    ))]
    pub fn dpm_solver(steps: usize, table: usize) -> Result<Self, Error> {
        require(table != 1, "training times", 1.0, "at least 2")?;
        let values = over_table(steps, table)?;
        let sigmas = values.iter().skip(1).rev().map(|alpha| 1.0 - alpha);
        Self::new(sigmas.listed()?)
    }
}

/// Changes.
impl FlowSigmas {
    /// Shifted by s: σ' = sσ/(1 + (s − 1)σ).
    ///
    /// 1 stays 1, and 0 stays 0. Shifts compose: by s, then by r, is by sr.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `shift` is positive and finite.
    pub fn shifted(self, shift: f64) -> Result<Self, Error> {
        require_positive("shift", shift)?;
        let r = self.rounding();
        let (factor, excess) = (r(shift), r(shift - 1.0));
        self.map(|sigma| r(r(factor * sigma) / r(1.0 + r(excess * sigma))))
    }

    /// Shifted by s = e^μ in the form σ' = e^μ/(e^μ + 1/σ − 1) (`time_shift_type` "exponential").
    /// Rules for μ: module [`mu`](crate::schedule::mu).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `mu` is finite and e^μ does not overflow or vanish.
    pub fn shifted_by_mu(self, mu: f64) -> Result<Self, Error> {
        let shift = libm::exp(mu);
        require(
            shift.is_finite() && shift > 0.0,
            "mu",
            mu,
            "finite, with a finite and positive exponential",
        )?;
        self.map_odds(shift)
    }

    /// Shifted by s = μ in the form σ' = μ/(μ + 1/σ − 1) (`time_shift_type` "linear").
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `mu` is positive and finite.
    pub fn shifted_linearly(self, mu: f64) -> Result<Self, Error> {
        require_positive("mu", mu)?;
        self.map_odds(mu)
    }

    /// Stretched so that the last σ is τ: 1 − σ' = (1 − σ)(1 − τ)/(1 − σ_last). 1 stays 1
    /// (`shift_terminal`; LTX-Video 0.1, Qwen-Image 0.02).
    ///
    /// Where the last σ is 1, which then is the only one, nothing can be stretched, and the list
    /// stays as it is; the formula has 0/0 there.
    ///
    /// Lightricks (2024), LTX-Video, its inference code.
    ///
    /// ```
    /// use diffusion_sampler::grid::FlowSigmas;
    ///
    /// let stretched = FlowSigmas::new([1.0, 0.75, 0.5])?.stretched_to(0.1)?;
    /// for (sigma, expected) in stretched.values().iter().zip([1.0, 0.55, 0.1]) {
    ///     assert!((sigma - expected).abs() < 1e-15);
    /// }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `terminal` < 1.
    #[doc(alias("shift_terminal", "stretch_shift_to_terminal"))]
    pub fn stretched_to(self, terminal: f64) -> Result<Self, Error> {
        let valid = (0.0..1.0).contains(&terminal);
        require(valid, "terminal sigma", terminal, "in [0, 1)")?;
        let r = self.rounding();
        let last = self.values.last().map_or(0.0, |sigma| r(1.0 - sigma));
        if last == 0.0 {
            return Ok(self);
        }
        let scale = r(last / r(1.0 - terminal));
        // Not below 0 by rounding, where the last σ is to be 0.
        self.map(|sigma| r(1.0 - r(r(1.0 - sigma) / scale)).max(0.0))
    }

    /// With a first σ that is within `gap` of 1 made smaller by `gap`: 10⁻⁶ in diffusers' UniPC,
    /// whose Wan starts at time 999 for this reason.
    ///
    /// No solver here needs it; it is for the same picture as there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `gap` < ½.
    pub fn starting_below(mut self, gap: f64) -> Result<Self, Error> {
        let valid = gap > 0.0 && gap < 0.5;
        require(valid, "gap below 1", gap, "between 0 and a half")?;
        let r = self.rounding();
        if let Some(first) = self.values.first_mut()
            && (*first - 1.0).abs() < gap
        {
            *first = r(*first - r(gap));
        }
        Ok(self)
    }

    /// Without its last value: linspace(1, 0, K + 1) without its 0, as HunyuanVideo's pipeline
    /// gives it.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] where nothing is left.
    pub fn without_last(mut self) -> Result<Self, Error> {
        self.values.pop();
        let single = self.single;
        Ok(Self {
            single,
            ..Self::new(self.values)?
        })
    }

    /// The same list rounded to `f32`, and every later operation's result: the arithmetic of
    /// diffusers on a list that a pipeline gives. Without it lists differ from theirs in the last
    /// bits of an `f32`.
    ///
    /// ```
    /// use diffusion_sampler::grid::FlowSigmas;
    ///
    /// let list = FlowSigmas::uniform(28)?;
    /// let (double, single) = (list.clone().shifted_by_mu(1.15)?, list.in_f32().shifted_by_mu(1.15)?);
    /// for (a, b) in double.values().iter().zip(single.values()) {
    ///     assert_eq!(f64::from(*b as f32), *b);
    ///     assert!((a - b).abs() < 2e-7);
    /// }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[must_use]
    pub fn in_f32(mut self) -> Self {
        for value in &mut self.values {
            *value = to_f32(*value);
        }
        Self {
            single: true,
            ..self
        }
    }

    fn rounding(&self) -> fn(f64) -> f64 {
        if self.single { to_f32 } else { |value| value }
    }

    /// s/(s + (1/σ − 1)).
    fn map_odds(self, shift: f64) -> Result<Self, Error> {
        let r = self.rounding();
        let shift = r(shift);
        self.map(|sigma| r(shift / r(shift + r(r(1.0 / sigma) - 1.0))))
    }

    fn map(mut self, change: impl Fn(f64) -> f64) -> Result<Self, Error> {
        for sigma in &mut self.values {
            // 1 + (s − 1) may be one rounding off s: pure noise stays what it is.
            if *sigma != 1.0 {
                *sigma = change(*sigma).min(1.0);
            }
        }
        let single = self.single;
        Ok(Self {
            single,
            ..Self::new(self.values)?
        })
    }
}

/// Use.
impl FlowSigmas {
    /// The list.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The grid of these levels, then clean: [`Grid::from_flow_sigmas`] with a 0 behind the list,
    /// unless it ends at 0 already.
    ///
    /// For a run that stops at the last σ, see
    /// [`without_clean_end`](Grid::without_clean_end).
    ///
    /// # Errors
    ///
    /// [`Error::NoiseNotDecreasing`] for a list that does not fall strictly; as
    /// [`from_flow_sigmas`](Grid::from_flow_sigmas).
    pub fn grid(&self, schedule: &dyn NoiseSchedule) -> Result<Grid, Error> {
        let behind = self.values.last().filter(|last| **last != 0.0).map(|_| 0.0);
        let list = self.values.iter().copied().chain(behind).listed()?;
        Grid::from_flow_sigmas(schedule, &list)
    }
}

/// σ' = sσ/(1 + (s − 1)σ), in the order in which the libraries have it.
fn shifted(shift: f64, sigma: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

/// 1/T.
fn least(table: usize) -> Result<f64, Error> {
    require(table > 0, "training times", table as f64, "at least 1")?;
    Ok(1.0 / table as f64)
}

/// linspace(1, 1/T, K + 1).
fn over_table(steps: usize, table: usize) -> Result<Vec<f64>, Error> {
    check_steps(steps, MAX_STEPS)?;
    linspace(1.0, least(table)?, steps + 1).listed()
}

fn check_steps(steps: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&steps) {
        return Ok(());
    }
    Err(Error::StepCount { steps, min: 1, max })
}

/// Rounded to the nearest f32. A quotient, product or sum of two f32 that is rounded to f64 first is
/// the same.
fn to_f32(value: f64) -> f64 {
    f64::from(value as f32)
}
