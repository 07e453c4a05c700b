//! Spacings in time and in network indices.

use super::{Grid, MAX_STEPS};
use crate::error::{Error, require_all};
use crate::schedule::NoiseSchedule;
use crate::special::linspace;

impl Grid {
    /// Uniform in time from the last time down to clean: t_k = T(K − k)/K, rounded on a table
    /// ("trailing" spacing: the first knot is always T).
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `steps`, and `steps` ≤ T on a table (2²⁴ on a continuous
    /// schedule).
    #[doc(alias = "timestep_spacing")]
    pub fn trailing(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        check_steps(schedule, steps)?;
        let last = schedule.last_time();
        let table = schedule.table_len().map(|table| table as f64);
        let times = (0..=steps).map(|k| {
            let (left, all) = ((steps - k) as f64, steps as f64);
            match table {
                // The product before the division: ties are exact.
                Some(table) => schedule.knot_time((table * left / all).round_ties_even()),
                // The fraction first: it is 1 at the start, where T·K/K may round past T.
                None => Ok(last * (left / all)),
            }
        });
        Self::of_times_checked(schedule, times)
    }

    /// Network indices k⌊T/K⌋ + `offset` ("leading" spacing; Stable Diffusion's offset is 1), then
    /// clean.
    ///
    /// The first knot is (K − 1)⌊T/K⌋ + `offset` + 1, which lies below T (T = 1000, K = 20, offset
    /// 1: 952; K = 600: 601): the run starts from noise of level T and calls it less noisy. That is
    /// the spacing's definition; [`trailing`](Self::trailing) has no such flaw.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] as [`trailing`](Self::trailing), [`Error::SpacingNeedsTable`] for a
    /// continuous schedule, [`Error::SpacingImpossible`] where the offset would need a knot beyond
    /// T.
    #[doc(alias = "steps_offset")]
    pub fn leading(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "leading")?;
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

    /// Network indices round(linspace(0, T − 1, K)), then clean ("linspace" spacing: the first knot
    /// is T, the last 1).
    ///
    /// # Errors
    ///
    /// As [`leading`](Self::leading); [`Error::StepCount`] also at one step, for which the
    /// definition gives index 0 only: the run would start at the clean end.
    pub fn linspace(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 2, "linspace")?;
        // numpy's own arithmetic: ties fall where its users' do.
        let indices = linspace(0.0, (table - 1) as f64, steps);
        Self::of_indices(schedule, indices.rev().map(f64::round_ties_even))
    }

    /// Network indices k⌊T/(K + 1)⌋ + `offset`, k = K..1, then clean: [`leading`](Self::leading)
    /// for K + 1 steps, of which the least index is left out.
    ///
    /// "Leading" of diffusers' DPM-Solver, UniPC, DEIS and SA-Solver.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::leading_without_least(&schedule, 3, 1)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [751.0, 501.0, 251.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`leading`](Self::leading); [`Error::StepCount`] also at K = T.
    pub fn leading_without_least(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let table = check_one_more(schedule, steps, "leading without the least")?;
        let ratio = table / (steps + 1);
        let first = (steps * ratio) as f64 + offset as f64 + 1.0;
        if first > table as f64 {
            return Err(Error::SpacingImpossible {
                spacing: "leading without the least",
                steps,
                table,
                knot: first,
            });
        }
        let index = |k: usize| (k * ratio + offset) as f64;
        Self::of_indices(schedule, (1..=steps).rev().map(index))
    }

    /// Network indices round(linspace(0, T − 1, K + 1)) without the 0, then clean:
    /// [`linspace`](Self::linspace) for K + 1 steps, of which the least index is left out.
    ///
    /// "Linspace" of diffusers' DPM-Solver, UniPC, DEIS and SA-Solver.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::linspace_without_least(&schedule, 4)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 749.0, 500.0, 250.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `steps` < T, [`Error::SpacingNeedsTable`] for a continuous
    /// schedule.
    pub fn linspace_without_least(
        schedule: &dyn NoiseSchedule,
        steps: usize,
    ) -> Result<Self, Error> {
        let table = check_one_more(schedule, steps, "linspace without the least")?;
        let indices = linspace(0.0, (table - 1) as f64, steps + 1);
        let rounded = indices.skip(1).rev().map(f64::round_ties_even);
        Self::of_indices(schedule, rounded)
    }

    /// Quadratic in time: t_k = T u_k² with u_k = (K − k)/K. On a table rounded to knots, and never
    /// below K − k, so that all knots are distinct up to K = T.
    ///
    /// # Errors
    ///
    /// As [`trailing`](Self::trailing).
    pub fn quadratic(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        check_steps(schedule, steps)?;
        let last = schedule.last_time();
        let table = schedule.table_len().map(|table| table as f64);
        let times = (0..=steps).map(|k| {
            let (left, all) = ((steps - k) as f64, steps as f64);
            match table {
                // Products before the one division: ties are exact.
                Some(table) => {
                    let exact = table * (left * left) / (all * all);
                    schedule.knot_time(exact.round_ties_even().max(left))
                }
                None => {
                    let u = left / all;
                    Ok(last * (u * u))
                }
            }
        });
        Self::of_times_checked(schedule, times)
    }

    /// The quadratic spacing of DDIM's own code: network indices ⌊x²⌋ for x in linspace(0, √(0.8
    /// T), K), then clean. It starts at 0.8 T.
    ///
    /// # Errors
    ///
    /// As [`linspace`](Self::linspace); [`Error::NoiseNotDecreasing`] where the truncation repeats
    /// an index (for T = 1000 from K = 30 on), which DDIM's own code runs as an idle step.
    pub fn ddim_quadratic(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 2, "DDIM quadratic")?;
        let roots = linspace(0.0, (0.8 * table as f64).sqrt(), steps);
        Self::of_indices(schedule, roots.rev().map(|x| (x * x).floor()))
    }

    /// Any times of the schedule, strictly decreasing; 0 is clean.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for fewer than two, [`Error::TimeOutOfRange`],
    /// [`Error::NoiseNotDecreasing`].
    pub fn from_times(schedule: &dyn NoiseSchedule, times: &[f64]) -> Result<Self, Error> {
        Self::of_times(schedule, times.iter().copied())
    }

    /// The given network indices of a table, 0-based and strictly decreasing, then clean: the list
    /// that other libraries call `timesteps`. An index may be fractional; it is the network's time,
    /// and λ lies linearly between its neighbours' ([`knot_level`](NoiseSchedule::knot_level));
    /// with ρ linear instead it is
    /// [`from_indices_linear_in_rho`](Self::from_indices_linear_in_rho).
    ///
    /// For a grid that stops at the last index, as checkpoints without a clean end want it, see
    /// [`without_clean_end`](Self::without_clean_end).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::from_indices(&schedule, &[999.0, 666.5, 333.0])?;
    /// let seen: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(seen, [999.0, 666.5, 333.0]);
    /// assert!(grid.end().is_clean());
    /// assert_eq!(grid.without_clean_end()?.end().model_time(), 333.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::SpacingNeedsTable`] for a continuous schedule, [`Error::EmptyList`] for an empty
    /// list, [`Error::InvalidEntry`] for an index outside \[0, T − 1\],
    /// [`Error::NoiseNotDecreasing`] for indices that do not decrease.
    #[doc(alias = "timesteps")]
    pub fn from_indices(schedule: &dyn NoiseSchedule, indices: &[f64]) -> Result<Self, Error> {
        check_indices(schedule, indices)?;
        Self::of_indices(schedule, indices.iter().copied())
    }

    /// Network indices of a table, decreasing, then the clean end.
    pub(super) fn of_indices(
        schedule: &dyn NoiseSchedule,
        indices: impl Iterator<Item = f64>,
    ) -> Result<Self, Error> {
        let clean = std::iter::once_with(|| schedule.level(0.0));
        let levels = indices.map(|index| schedule.knot_level(index + 1.0));
        Self::of_levels(schedule, levels.chain(clean))
    }
}

pub(super) fn check_steps(schedule: &dyn NoiseSchedule, steps: usize) -> Result<(), Error> {
    let max = schedule.table_len().unwrap_or(MAX_STEPS);
    if (1..=max).contains(&steps) {
        Ok(())
    } else {
        Err(Error::StepCount { steps, min: 1, max })
    }
}

/// Refuses a list of network indices that is empty, or of which one is not in the table.
pub(super) fn check_indices(schedule: &dyn NoiseSchedule, indices: &[f64]) -> Result<(), Error> {
    let spacing = "network-index";
    let table = schedule
        .table_len()
        .ok_or(Error::SpacingNeedsTable { spacing })?;
    if indices.is_empty() {
        return Err(Error::EmptyList { name: "indices" });
    }
    let last = table as f64 - 1.0;
    require_all(
        "indices",
        indices,
        |_, index| (0.0..=last).contains(&index),
        "a network index of the table, 0 to T - 1",
    )
}

/// T, for a spacing over K + 1 indices of a table.
fn check_one_more(
    schedule: &dyn NoiseSchedule,
    steps: usize,
    spacing: &'static str,
) -> Result<usize, Error> {
    let table = check_table(schedule, steps, 1, spacing)?;
    if steps < table {
        return Ok(table);
    }
    Err(Error::StepCount {
        steps,
        min: 1,
        max: table - 1,
    })
}

/// T, for a spacing that is defined on a table and needs at least `min` steps.
pub(super) fn check_table(
    schedule: &dyn NoiseSchedule,
    steps: usize,
    min: usize,
    spacing: &'static str,
) -> Result<usize, Error> {
    let table = schedule
        .table_len()
        .ok_or(Error::SpacingNeedsTable { spacing })?;
    if (min..=table).contains(&steps) {
        Ok(table)
    } else {
        Err(Error::StepCount {
            steps,
            min,
            max: table,
        })
    }
}
