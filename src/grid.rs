//! Strides: which levels a run visits.

use crate::error::{Error, require_non_negative, require_positive};
use crate::level::NoiseLevel;
use crate::schedule::{LambdaRange, NoiseSchedule};

/// The knots of a run: K + 1 levels of strictly decreasing noise make K steps.
///
/// A step is an edge between two neighbouring knots; nothing is ever looked up by time. Every constructor gives exactly
/// the number of steps asked for, or a typed error; none clamps. With u_k = (K − k)/K, k = 0..K:
///
/// | constructor | knots |
/// |---|---|
/// | [`trailing`](Self::trailing) | round(T u_k) |
/// | [`leading`](Self::leading) | network index (K − 1 − k)⌊T/K⌋ + offset, then clean |
/// | [`linspace`](Self::linspace) | network index round(linspace(T − 1, 0, K)), then clean |
/// | [`quadratic`](Self::quadratic) | T u_k², on a table rounded and never below K − k |
/// | [`ddim_quadratic`](Self::ddim_quadratic) | network index ⌊linspace(√(0.8 T), 0, K)²⌋, then clean |
/// | [`uniform_lambda`](Self::uniform_lambda) | K levels uniform in λ, then clean |
/// | [`karras`](Self::karras) | K levels uniform in ρ^(1/7), then clean |
/// | [`exponential`](Self::exponential) | K levels with ln ρ along a power ramp, then clean |
/// | [`from_times`](Self::from_times), [`from_lambdas`](Self::from_lambdas), [`from_rhos`](Self::from_rhos), [`from_levels`](Self::from_levels) | the list given |
///
/// Rounding is to the nearest integer, ties to even, as in the Python libraries whose checkpoints use these spacings.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    levels: Vec<NoiseLevel>,
    start_variance: f64,
}

impl Grid {
    /// Uniform in time from the last time down to clean: t_k = T(K − k)/K, rounded on a table ("trailing" spacing: the
    /// first knot is always T).
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `steps`, and `steps` ≤ T on a table (2²⁴ on a continuous schedule).
    pub fn trailing(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        check_steps(schedule, steps)?;
        let last = schedule.last_time();
        let round = schedule.table_len().is_some();
        let times = (0..=steps).map(|k| {
            let (left, all) = ((steps - k) as f64, steps as f64);
            if round {
                // The product before the division: ties are exact.
                (last * left / all).round_ties_even()
            } else {
                // The fraction first: it is 1 at the start, where T·K/K may round past T.
                last * (left / all)
            }
        });
        Self::of_times(schedule, times)
    }

    /// Network indices k⌊T/K⌋ + `offset` ("leading" spacing; Stable Diffusion's offset is 1), then clean.
    ///
    /// The first knot is (K − 1)⌊T/K⌋ + `offset` + 1, which lies below T (T = 1000, K = 20, offset 1: 952; K = 600: 601): the
    /// run starts from noise of level T and calls it less noisy. That is the spacing's definition;
    /// [`trailing`](Self::trailing) has no such flaw.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] as [`trailing`](Self::trailing), [`Error::SpacingNeedsTable`] for a continuous schedule,
    /// [`Error::SpacingImpossible`] where the offset would need a knot beyond T.
    pub fn leading(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let table = check_table(schedule, steps, "leading")?;
        let ratio = table / steps;
        let first = ((steps - 1) * ratio) as f64 + offset as f64 + 1.0;
        if first > table as f64 {
            return Err(Error::SpacingImpossible {
                spacing: "leading",
                steps,
                table,
                knot: first,
            });
        }
        Self::of_indices(
            schedule,
            (0..steps).rev().map(|k| (k * ratio + offset) as f64),
        )
    }

    /// Network indices round(linspace(0, T − 1, K)), then clean ("linspace" spacing: the first knot is T, the last 1).
    ///
    /// # Errors
    ///
    /// As [`leading`](Self::leading); [`Error::SpacingImpossible`] at one step, where the definition starts at the clean
    /// end.
    pub fn linspace(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, "linspace")?;
        if steps == 1 {
            return Err(Error::SpacingImpossible {
                spacing: "linspace",
                steps,
                table,
                knot: 1.0,
            });
        }
        // numpy's own arithmetic (k times the step, the last exact): ties fall where its users' do.
        let step = (table - 1) as f64 / (steps - 1) as f64;
        let index = |k: usize| match k {
            k if k == steps - 1 => (table - 1) as f64,
            k => (k as f64 * step).round_ties_even(),
        };
        Self::of_indices(schedule, (0..steps).rev().map(index))
    }

    /// Quadratic in time: t_k = T u_k² with u_k = (K − k)/K. On a table rounded to knots, and never below K − k, so that
    /// all knots are distinct up to K = T.
    ///
    /// # Errors
    ///
    /// As [`trailing`](Self::trailing).
    pub fn quadratic(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        check_steps(schedule, steps)?;
        let last = schedule.last_time();
        let round = schedule.table_len().is_some();
        let times = (0..=steps).map(|k| {
            let (left, all) = ((steps - k) as f64, steps as f64);
            if round {
                // Products before the one division: ties are exact.
                (last * (left * left) / (all * all))
                    .round_ties_even()
                    .max(left)
            } else {
                let u = left / all;
                last * (u * u)
            }
        });
        Self::of_times(schedule, times)
    }

    /// The quadratic spacing of DDIM's own code: network indices ⌊x²⌋ for x in linspace(0, √(0.8 T), K), then clean. It
    /// starts at 0.8 T.
    ///
    /// # Errors
    ///
    /// As [`linspace`](Self::linspace); [`Error::NoiseNotDecreasing`] where the truncation repeats an index (for T = 1000
    /// from K = 30 on), which DDIM's own code runs as an idle step.
    pub fn ddim_quadratic(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, "DDIM quadratic")?;
        if steps == 1 {
            return Err(Error::SpacingImpossible {
                spacing: "DDIM quadratic",
                steps,
                table,
                knot: 1.0,
            });
        }
        let root = (0.8 * table as f64).sqrt();
        let step = root / (steps - 1) as f64;
        let index = |k: usize| {
            let x = if k == steps - 1 {
                root
            } else {
                k as f64 * step
            };
            (x * x).floor()
        };
        Self::of_indices(schedule, (0..steps).rev().map(index))
    }

    /// K levels uniform in λ = ln(α/σ) over `range`, then clean; one step goes from the noisy end straight to clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] at 0 or more than 2²⁴ steps, [`Error::UnboundedLambda`] where an end of `range` is infinite,
    /// [`Error::LambdaOutOfRange`] where the schedule does not reach it.
    pub fn uniform_lambda(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
    ) -> Result<Self, Error> {
        Self::exponential(schedule, steps, range, 1.0)
    }

    /// K levels with ρ^(1/`exponent`) uniform over `range`, then clean (Karras et al. 2022, exponent 7).
    ///
    /// # Errors
    ///
    /// As [`uniform_lambda`](Self::uniform_lambda), and [`Error::InvalidParameter`] unless `exponent` is positive and
    /// finite.
    pub fn karras(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        exponent: f64,
    ) -> Result<Self, Error> {
        check_exponent(exponent)?;
        // −p ln(a + (b − a)u) with a = e^(−λ_noisy/p), b = e^(−λ_clean/p), divided by a under the logarithm: nothing
        // overflows for any exponent.
        let drop = libm::expm1((range.noisy() - range.clean()) / exponent);
        Self::of_ramp(schedule, steps, range, |u| {
            range.noisy() - exponent * libm::log1p(drop * u)
        })
    }

    /// K levels with λ = λ_clean − (λ_clean − λ_noisy)(1 − u)^`power`, u uniform from 0 to 1, then clean: k-diffusion's
    /// (poly)exponential ramp of ρ. Power 1 is uniform in λ.
    ///
    /// # Errors
    ///
    /// As [`karras`](Self::karras).
    pub fn exponential(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        power: f64,
    ) -> Result<Self, Error> {
        check_exponent(power)?;
        let span = range.clean() - range.noisy();
        Self::of_ramp(schedule, steps, range, |u| {
            range.clean() - span * libm::pow(1.0 - u, power)
        })
    }

    /// Any times of the schedule, strictly decreasing; 0 is clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::TimeOutOfRange`], [`Error::NoiseNotDecreasing`].
    pub fn from_times(schedule: &dyn NoiseSchedule, times: &[f64]) -> Result<Self, Error> {
        Self::of_times(schedule, times.iter().copied())
    }

    /// Any λ's of the schedule, strictly increasing; +∞ is clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::LambdaOutOfRange`], [`Error::NoiseNotDecreasing`].
    pub fn from_lambdas(schedule: &dyn NoiseSchedule, lambdas: &[f64]) -> Result<Self, Error> {
        let own = schedule.lambda_range();
        Self::of_times_checked(
            schedule,
            lambdas
                .iter()
                .map(|&lambda| schedule.time_of_lambda(own.snap(lambda))),
        )
    }

    /// Any ρ = σ/α of the schedule, strictly decreasing; 0 is clean. EDM and k-diffusion call ρ sigma.
    ///
    /// # Errors
    ///
    /// As [`from_lambdas`](Self::from_lambdas), and [`Error::InvalidEntry`] for a ρ that is negative or not a number.
    pub fn from_rhos(schedule: &dyn NoiseSchedule, rhos: &[f64]) -> Result<Self, Error> {
        if let Some(index) = rhos.iter().position(|rho| rho.is_nan() || *rho < 0.0) {
            return Err(Error::InvalidEntry {
                name: "rhos",
                index,
                value: rhos[index],
                requirement: "at least 0",
            });
        }
        let lambdas: Vec<f64> = rhos.iter().map(|&rho| -libm::log(rho)).collect();
        Self::from_lambdas(schedule, &lambdas)
    }

    /// Any levels of strictly decreasing noise, and the variance of the start law at the first.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::NoiseNotDecreasing`], [`Error::InvalidParameter`] for a variance
    /// that is negative or not finite.
    pub fn from_levels(levels: Vec<NoiseLevel>, start_variance: f64) -> Result<Self, Error> {
        if levels.len() < 2 {
            return Err(Error::StepCount {
                steps: levels.len().saturating_sub(1),
                min: 1,
                max: usize::MAX,
            });
        }
        require_non_negative("start_variance", start_variance)?;
        for (index, pair) in levels.windows(2).enumerate() {
            let (before, lambda) = (pair[0].lambda(), pair[1].lambda());
            if lambda.partial_cmp(&before) != Some(std::cmp::Ordering::Greater) {
                return Err(Error::NoiseNotDecreasing {
                    knot: index + 1,
                    lambda_before: before,
                    lambda,
                });
            }
        }
        Ok(Self {
            levels,
            start_variance,
        })
    }

    /// The same grid with its last knot replaced: checkpoints that were configured without a clean end stop at knot 1
    /// (`set_alpha_to_one = false` elsewhere).
    ///
    /// # Errors
    ///
    /// [`Error::NoiseNotDecreasing`] unless `end` has less noise than the knot before it.
    pub fn ending_at(mut self, end: NoiseLevel) -> Result<Self, Error> {
        if let Some(last) = self.levels.last_mut() {
            *last = end;
        }
        Self::from_levels(self.levels, self.start_variance)
    }

    /// The part of the grid below `start`, a level of `schedule`, which becomes the first knot exactly: image to image, or a
    /// run that starts between two knots. The number of steps shrinks by the knots left out; the start law is the
    /// schedule's at `start`.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] when no knot has less noise than `start`.
    pub fn starting_at(
        mut self,
        schedule: &dyn NoiseSchedule,
        start: NoiseLevel,
    ) -> Result<Self, Error> {
        self.levels.retain(|level| level.lambda() > start.lambda());
        self.levels.insert(0, start);
        Self::from_levels(self.levels, schedule.start_variance(&start))
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

    /// v_T, the variance of the start law N(0, v_T I).
    pub fn start_variance(&self) -> f64 {
        self.start_variance
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
        let levels = times
            .map(|time| schedule.level(time?))
            .collect::<Result<Vec<_>, _>>()?;
        let start_variance = levels
            .first()
            .map_or(1.0, |level| schedule.start_variance(level));
        Self::from_levels(levels, start_variance)
    }

    /// Network indices of a table, decreasing, then the clean end.
    fn of_indices(
        schedule: &dyn NoiseSchedule,
        indices: impl Iterator<Item = f64>,
    ) -> Result<Self, Error> {
        Self::of_times(
            schedule,
            indices.map(|index| index + 1.0).chain(std::iter::once(0.0)),
        )
    }

    /// K levels at λ(u), u = 0..1, then clean. The ends are the range's own, exactly.
    fn of_ramp(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        range: LambdaRange,
        ramp: impl Fn(f64) -> f64,
    ) -> Result<Self, Error> {
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(Error::StepCount {
                steps,
                min: 1,
                max: MAX_STEPS,
            });
        }
        if !(range.noisy().is_finite() && range.clean().is_finite()) {
            return Err(Error::UnboundedLambda {
                noisy: range.noisy(),
                clean: range.clean(),
            });
        }
        let own = schedule.lambda_range();
        let lambdas = (0..=steps).map(|k| match k {
            0 => range.noisy(),
            k if k == steps => f64::INFINITY,
            k if k == steps - 1 => range.clean(),
            k => ramp(k as f64 / (steps - 1) as f64),
        });
        Self::of_times_checked(
            schedule,
            lambdas.map(|lambda| schedule.time_of_lambda(own.snap(lambda))),
        )
    }
}

/// The most steps of a grid of a continuous schedule: a plan of more does not fit into memory, and the count comes from the
/// caller.
const MAX_STEPS: usize = 1 << 24;

fn check_steps(schedule: &dyn NoiseSchedule, steps: usize) -> Result<(), Error> {
    let max = schedule.table_len().unwrap_or(MAX_STEPS);
    if (1..=max).contains(&steps) {
        Ok(())
    } else {
        Err(Error::StepCount { steps, min: 1, max })
    }
}

fn check_table(
    schedule: &dyn NoiseSchedule,
    steps: usize,
    spacing: &'static str,
) -> Result<usize, Error> {
    let table = schedule
        .table_len()
        .ok_or(Error::SpacingNeedsTable { spacing })?;
    check_steps(schedule, steps)?;
    Ok(table)
}

fn check_exponent(exponent: f64) -> Result<(), Error> {
    require_positive("exponent", exponent)
}
