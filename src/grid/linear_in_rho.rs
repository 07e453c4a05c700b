//! Network indices between knots, with ρ linear there.

use super::Grid;
use super::time::{check_indices, check_table};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::schedule::NoiseSchedule;
use crate::special::linspace;

impl Grid {
    /// The given network indices of a table, 0-based and strictly decreasing, then clean; between
    /// two knots ρ = σ/α is linear in the index, which is the network's time.
    ///
    /// So diffusers' Euler, Euler ancestral, Heun, KDPM2 and LMS interpolate their table. In
    /// k-diffusion and ComfyUI ln ρ is linear: [`from_indices`](Self::from_indices). In the last
    /// cell of a table with zero terminal SNR, where ρ is infinite on one side, the two are the
    /// same.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, TableSchedule}};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::from_indices_linear_in_rho(&schedule, &[999.0, 499.5])?;
    /// let middle = 0.5 * (schedule.level(500.0)?.rho() + schedule.level(501.0)?.rho());
    /// assert!((grid.levels()[1].rho() / middle - 1.0).abs() < 1e-12);
    /// assert_eq!(grid.levels()[1].model_time(), 499.5);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_indices`](Self::from_indices).
    #[doc(alias = "interpolation_type")]
    pub fn from_indices_linear_in_rho(
        schedule: &dyn NoiseSchedule,
        indices: &[f64],
    ) -> Result<Self, Error> {
        check_indices(schedule, indices)?;
        let clean = std::iter::once_with(|| schedule.level(0.0));
        let levels = indices.iter().map(|&index| between(schedule, index));
        Self::of_levels(schedule, levels.chain(clean))
    }

    /// Network indices linspace(T − 1, 0, K), not rounded, with ρ linear between two knots, then
    /// clean: "linspace" of diffusers' Euler, Euler ancestral, Heun, KDPM2 and LMS.
    ///
    /// The indices are numpy's to the bit. With ln ρ linear it is [`normal`](Self::normal), with
    /// rounded indices [`linspace`](Self::linspace).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::linspace_linear_in_rho(&schedule, 3)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 499.5, 0.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`linspace`](Self::linspace).
    pub fn linspace_linear_in_rho(
        schedule: &dyn NoiseSchedule,
        steps: usize,
    ) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 2, "linspace linear in rho")?;
        let indices: Vec<f64> = linspace(0.0, (table - 1) as f64, steps).rev().listed()?;
        Self::from_indices_linear_in_rho(schedule, &indices)
    }
}

/// The level at an index, ρ linear between two knots.
fn between(schedule: &dyn NoiseSchedule, index: f64) -> Result<NoiseLevel, Error> {
    let below = index.floor();
    let share = index - below;
    let in_lambda = schedule.knot_level(index + 1.0)?;
    if share == 0.0 {
        return Ok(in_lambda);
    }
    let (low, high) = (
        schedule.knot_level(below + 1.0)?,
        schedule.knot_level(below + 2.0)?,
    );
    let rho = (high.rho() - low.rho()) * share + low.rho();
    if rho.is_infinite() {
        return Ok(in_lambda);
    }
    let level = schedule.level(schedule.time_of_lambda(-libm::log(rho))?)?;
    // A table's network is told the index; that of sub-levels their own time.
    let table = low.model_time() == below && high.model_time() == below + 1.0;
    Ok(if table {
        level.with_model_time(index)
    } else {
        level
    })
}
