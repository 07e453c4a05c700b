//! Spacings over network indices, as ComfyUI, AUTOMATIC1111 and stable-diffusion.cpp name them.

use super::Grid;
use super::ramps::check_beta;
use super::time::check_table;
use crate::error::{Error, require};
use crate::schedule::NoiseSchedule;
use crate::special::beta_quantile;

impl Grid {
    /// Network indices linspace(T − 1, 0, K), then clean: "normal" of ComfyUI, "uniform" of
    /// k-diffusion and AUTOMATIC1111, "discrete" of stable-diffusion.cpp.
    ///
    /// Indices are not rounded; between two knots ln ρ is linear
    /// ([`knot_time`](NoiseSchedule::knot_time)). K = 1 is the first index alone.
    /// [`linspace`](Self::linspace) is the rounded form, diffusers'.
    ///
    /// On a shifted flow ComfyUI shifts σ of the least noisy level twice: its linspace ends at index
    /// s/(1 + (s − 1)/T) − 1 instead of 0, which is [`from_times`](Self::from_times) of linspace(1,
    /// s/(T + s − 1), K) and 0.
    ///
    /// Crowson (2022), k-diffusion, `DiscreteSchedule`.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::normal(&schedule, 4)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 666.0, 333.0, 0.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `steps` ≤ T, [`Error::SpacingNeedsTable`] for a continuous
    /// schedule: [`Sublevels`](crate::schedule::Sublevels) gives it a table.
    #[doc(alias("normal_scheduler", "get_sigmas", "DiscreteSchedule"))]
    pub fn normal(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "normal")?;
        Self::of_uniform_indices(schedule, steps, (table - 1) as f64, steps.max(2) - 1)
    }

    /// Network indices linspace(T − 1, 0, K + 1) without the last, then clean: "SGM uniform" of
    /// ComfyUI, AUTOMATIC1111 and stable-diffusion.cpp.
    ///
    /// As [`normal`](Self::normal), but the clean end stands where that has index 0. For distilled
    /// few-step models.
    ///
    /// Stability AI (2023), `generative-models`; the twice shifted σ of ComfyUI's flows as in
    /// [`normal`](Self::normal).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::sgm_uniform(&schedule, 3)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 666.0, 333.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`normal`](Self::normal).
    pub fn sgm_uniform(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "SGM-uniform")?;
        Self::of_uniform_indices(schedule, steps, (table - 1) as f64, steps)
    }

    /// Network indices T − 1 − ⌊k (T/K)⌋, k = 0..K, then clean: "simple" of ComfyUI, AUTOMATIC1111
    /// and stable-diffusion.cpp.
    ///
    /// T/K and its product with k are those of a program in `f64`, as Python's are: at 70 of 1000
    /// values of K for T = 1000 an exact quotient would give another index.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::simple(&schedule, 3)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 666.0, 333.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`normal`](Self::normal).
    #[doc(alias = "simple_scheduler")]
    pub fn simple(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "simple")? as f64;
        let stride = table / steps as f64;
        let index = |k: usize| table - 1.0 - (k as f64 * stride).floor();
        Self::of_indices(schedule, (0..steps).map(index))
    }

    /// Network indices 1 + k⌊T/K⌋, k = K − 1..0, then clean: "DDIM uniform" of ComfyUI and "DDIM" of
    /// AUTOMATIC1111, with exactly K steps.
    ///
    /// Those go on beyond the K-th index while the table lasts: for T = 1000 they make 31 steps of
    /// K = 30, from index 991, where this makes 30, from index 958; at the 20 values of K from 2 to
    /// 500 that have ⌈999/⌊1000/K⌋⌉ = K both agree. It is [`leading`](Self::leading) with offset 1.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::ddim_uniform(&schedule, 4)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [751.0, 501.0, 251.0, 1.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`leading`](Self::leading).
    #[doc(alias = "ddim_scheduler")]
    pub fn ddim_uniform(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        Self::leading(schedule, steps, 1)
    }

    /// Network indices round((T − 1) q), q the quantiles of Beta(α, β) at 1 − k/K, k = 0..K, then
    /// clean: "beta" of ComfyUI and stable-diffusion.cpp, with α = β = 0.6.
    ///
    /// Quantiles of this U-shaped distribution crowd at both ends, so that with many steps two fall
    /// to one index (for T = 1000 and 0.6 first at K = 139). ComfyUI drops the second and makes fewer
    /// steps; this refuses. "Beta sigmas" of diffusers and AUTOMATIC1111 are
    /// [`beta_sigmas`](Self::beta_sigmas).
    ///
    /// Lee et al. (2024), "Beta Sampling is All You Need".
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::beta_indices(&schedule, 4, (0.6, 0.6))?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 823.0, 500.0, 176.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`normal`](Self::normal), [`Error::InvalidParameter`] unless α and β lie in \[0.01, 1000\],
    /// [`Error::NoiseNotDecreasing`] where two quantiles fall to one index.
    #[doc(alias = "beta_scheduler")]
    pub fn beta_indices(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        (alpha, beta): (f64, f64),
    ) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "beta")?;
        check_beta(alpha, beta)?;
        let quantile = |k: usize| beta_quantile(1.0 - k as f64 / steps as f64, alpha, beta);
        let index = |k: usize| (quantile(k) * (table - 1) as f64).round_ties_even();
        Self::of_indices(schedule, (0..steps).map(index))
    }

    /// Network indices round((T − 1) u² (3 − 2u)), u = 1 − k/K, k = 0..K, then clean: "smoothstep"
    /// of stable-diffusion.cpp, close to [`beta_indices`](Self::beta_indices).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::smoothstep(&schedule, 4)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 843.0, 500.0, 156.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`normal`](Self::normal), [`Error::NoiseNotDecreasing`] where two values round to one
    /// index (for T = 1000 first at K = 78).
    pub fn smoothstep(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let table = check_table(schedule, steps, 1, "smoothstep")?;
        let index = |k: usize| {
            let u = 1.0 - k as f64 / steps as f64;
            // Halves away from 0, as C rounds.
            ((table - 1) as f64 * (u * u * (3.0 - 2.0 * u))).round()
        };
        Self::of_indices(schedule, (0..steps).map(index))
    }

    /// The spacing of latent consistency models and others that were distilled on n = `trained`
    /// steps: of the network indices ⌊T/n⌋ j − 1, j = n..1, those at positions ⌊k n/K⌋, k = 0..K,
    /// then clean.
    ///
    /// diffusers' LCM and TCD schedulers (`original_inference_steps`) and stable-diffusion.cpp's
    /// "lcm", n = 50.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::lcm(&schedule, 4, 50)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 759.0, 499.0, 259.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless 1 ≤ `steps` ≤ `trained`, [`Error::InvalidParameter`] unless 1 ≤
    /// `trained` ≤ T, [`Error::SpacingNeedsTable`] for a continuous schedule.
    #[doc(alias = "original_inference_steps")]
    pub fn lcm(schedule: &dyn NoiseSchedule, steps: usize, trained: usize) -> Result<Self, Error> {
        let table = check_trained(schedule, steps, trained, "LCM")?;
        // numpy's own arithmetic: n/K first.
        let stride = trained as f64 / steps as f64;
        let index = |k: usize| {
            let skipped = (k as f64 * stride).floor();
            (trained as f64 - skipped) * (table / trained) as f64 - 1.0
        };
        Self::of_indices(schedule, (0..steps).map(index))
    }

    /// Network indices ⌊T/n⌋ j − 1, j = n, n − 1, …, the first K of n = `trained`, then clean:
    /// ComfyUI's "SD turbo", n = 10. From there one step goes to clean.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::turbo(&schedule, 2, 10)?;
    /// let indices: Vec<f64> = grid.edges().map(|(from, _)| from.model_time()).collect();
    /// assert_eq!(indices, [999.0, 899.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`lcm`](Self::lcm).
    #[doc(alias = "SDTurboScheduler")]
    pub fn turbo(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        trained: usize,
    ) -> Result<Self, Error> {
        let table = check_trained(schedule, steps, trained, "turbo")?;
        let index = |k: usize| (table / trained * (trained - k) - 1) as f64;
        Self::of_indices(schedule, (0..steps).map(index))
    }

    /// Indices first·(1 − k/intervals), k = 0..K, between knots as the table has it, then clean.
    fn of_uniform_indices(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        first: f64,
        intervals: usize,
    ) -> Result<Self, Error> {
        // The product before the division: whole indices come out whole.
        let index = |k: usize| first * (intervals - k) as f64 / intervals as f64;
        Self::of_indices(schedule, (0..steps).map(index))
    }
}

/// T, for a spacing over n trained indices of the table.
fn check_trained(
    schedule: &dyn NoiseSchedule,
    steps: usize,
    trained: usize,
    spacing: &'static str,
) -> Result<usize, Error> {
    let table = schedule.table_len();
    let table = table.ok_or(Error::SpacingNeedsTable { spacing })?;
    let within = (1..=table).contains(&trained);
    require(within, "trained steps", trained as f64, "from 1 to T")?;
    if (1..=trained).contains(&steps) {
        return Ok(table);
    }
    Err(Error::StepCount {
        steps,
        min: 1,
        max: trained,
    })
}
