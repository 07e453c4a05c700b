//! Parts of grids: cut, joined, with other ends or other network times.

use std::ops::Range;

use super::Grid;
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::schedule::NoiseSchedule;

/// Two levels whose λ differ by less than this, relative to max(1, |λ|), are the same knot.
///
/// Between time, λ and ρ every level has gone through a few rounded operations, and the condition
/// number of λ in time, t·|dλ/dt|, multiplies their error: it is 1/(1 − t) for a flow and 5 to 10
/// on the usual tables. 2⁻³⁸ = 2¹⁴ roundings (4e-12) allows a condition number of some thousand, or
/// a table's time printed with 13 digits. Nothing is lost: a step of this size moves the state by
/// less than 1e-11 of itself. A start that lies 1e-6 of a knot above a knot is another start: on the
/// usual tables its λ differs by some 1e-9.
const SAME_KNOT: f64 = 1.0 / (1u64 << 38) as f64;

/// The distance of two levels in λ, relative to max(1, |λ|); 0 for the same infinity.
fn distance(a: &NoiseLevel, b: &NoiseLevel) -> f64 {
    let (a, b) = (a.lambda(), b.lambda());
    if a == b {
        0.0
    } else if a.is_finite() && b.is_finite() {
        (a - b).abs() / a.abs().max(1.0)
    } else {
        f64::INFINITY
    }
}

fn same_knot(a: &NoiseLevel, b: &NoiseLevel) -> bool {
    distance(a, b) <= SAME_KNOT
}

impl Grid {
    /// The same grid with its last knot replaced: checkpoints that were configured without a clean
    /// end stop at knot 1 (`set_alpha_to_one = false` elsewhere).
    ///
    /// # Errors
    ///
    /// [`Error::EndNotBelow`] unless `end` has less noise than the knot before it.
    #[doc(alias("set_alpha_to_one", "final_alpha_cumprod", "final_sigmas_type"))]
    pub fn ending_at(mut self, end: NoiseLevel) -> Result<Self, Error> {
        let last = self.steps();
        let before = self.levels[last - 1];
        if end.lambda() <= before.lambda() {
            return Err(Error::EndNotBelow {
                before: before.time(),
                end: end.time(),
            });
        }
        self.levels[last] = end;
        Self::checked(self.levels, self.start_variances)
    }

    /// The part of the grid below `start`, a level of `schedule`, which becomes the first knot:
    /// image to image, or a run that starts between two knots. The number of steps shrinks by the
    /// knots left out; the initial distribution is the schedule's at `start`.
    ///
    /// A start within rounding of a knot *is* that knot: no step of nearly no length is made. λ of
    /// two levels tells them apart from 4e-12 on, relative to max(1, |λ|).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, RectifiedFlow}};
    ///
    /// let flow = RectifiedFlow::new();
    /// // 0.1 · 3 is 0.30000000000000004.
    /// let grid = Grid::trailing(&flow, 10)?.starting_at(&flow, flow.level(0.1 * 3.0)?)?;
    /// assert_eq!((grid.start().time(), grid.steps()), (0.3, 3));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] when no knot has less noise than `start`.
    pub fn starting_at(
        mut self,
        schedule: &dyn NoiseSchedule,
        start: NoiseLevel,
    ) -> Result<Self, Error> {
        let nearest =
            |a: &&NoiseLevel, b: &&NoiseLevel| distance(a, &start).total_cmp(&distance(b, &start));
        let start = match self.levels.iter().min_by(nearest) {
            Some(knot) if same_knot(knot, &start) => *knot,
            _ => start,
        };
        let kept = |level: &NoiseLevel| level.lambda() > start.lambda();
        let first = self.levels.iter().position(kept);
        let first = first.unwrap_or(self.levels.len());
        self.levels.splice(..first, [start]);
        let variance = schedule.start_variance(&start);
        self.start_variances.splice(..first, [variance]);
        Self::checked(self.levels, self.start_variances)
    }

    /// The last ⌊K · `strength`⌋ of the grid's K steps: image to image by diffusers' rule.
    ///
    /// There `strength` is a share of the *steps*, not of the noise. The level at which such a run
    /// starts, and to which the image must be noised, depends on K and on the spacing:
    /// `grid.start()` of the result is what it really is. For a promised level take
    /// [`starting_at`](Self::starting_at). The product is rounded as Python's, so that 0.29 of 100
    /// steps are 28.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let (trailing, leading) = (Grid::trailing(&schedule, 20)?, Grid::leading(&schedule, 20, 1)?);
    /// let half = [trailing.by_strength(0.5)?, leading.by_strength(0.5)?];
    /// assert_eq!(half.map(|grid| grid.start().time()), [500.0, 452.0]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `strength` lies in \[0, 1\]; [`Error::StepCount`] where it
    /// leaves no step.
    #[doc(alias = "img2img")]
    #[doc(alias = "strength")]
    pub fn by_strength(&self, strength: f64) -> Result<Self, Error> {
        let valid = (0.0..=1.0).contains(&strength);
        require(valid, "strength", strength, "between 0 and 1")?;
        let steps = self.steps();
        let kept = ((steps as f64 * strength) as usize).min(steps);
        if kept == 0 {
            return Err(Error::StepCount {
                steps: 0,
                min: 1,
                max: steps,
            });
        }
        self.section(steps - kept..steps)
    }

    /// The steps `steps` of this grid, counted from 0 at the noisy end, as a grid of their own.
    ///
    /// Its initial distribution is the schedule's at its first knot. For a grid made by
    /// [`from_levels`](Self::from_levels), which knows no schedule, v_T stays that of the whole
    /// grid; see [`with_start_variance`](Self::with_start_variance).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    ///
    /// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 10)?;
    /// let (noisy, clean) = (grid.section(0..4)?, grid.section(4..10)?);
    /// assert_eq!((noisy.end().time(), clean.steps()), (600.0, 6));
    /// assert_eq!(noisy.then(&clean)?, grid);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::SectionOutOfRange`] unless the range is not empty and within the grid's steps.
    pub fn section(&self, steps: Range<usize>) -> Result<Self, Error> {
        if steps.start >= steps.end || steps.end > self.steps() {
            return Err(Error::SectionOutOfRange {
                start: steps.start,
                end: steps.end,
                steps: self.steps(),
            });
        }
        Ok(Self {
            levels: self.levels[steps.start..=steps.end].copy()?,
            start_variances: self.start_variances[steps.start..=steps.end].copy()?,
        })
    }

    /// This grid followed by `next`, which starts where this one ends. The knot between them is
    /// this grid's.
    ///
    /// # Errors
    ///
    /// [`Error::EdgesDoNotMeet`] unless `next` starts at the level at which this grid ends, up to
    /// rounding.
    #[doc(alias = "concat")]
    pub fn then(&self, next: &Self) -> Result<Self, Error> {
        if !same_knot(&self.end(), &next.start()) {
            return Err(Error::EdgesDoNotMeet {
                end: self.end().time(),
                start: next.start().time(),
            });
        }
        let levels = self
            .levels
            .iter()
            .chain(&next.levels[1..])
            .copied()
            .listed()?;
        let start_variances = self
            .start_variances
            .iter()
            .chain(&next.start_variances[1..])
            .copied()
            .listed()?;
        Self::checked(levels, start_variances)
    }

    /// The grid without its clean knot: its last step then ends at the least noisy knot that is not
    /// clean. A grid that does not end clean stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for a grid of one step onto the clean end.
    pub fn without_clean_end(&self) -> Result<Self, Error> {
        if !self.end().is_clean() {
            return Ok(Self {
                levels: self.levels[..].copy()?,
                start_variances: self.start_variances[..].copy()?,
            });
        }
        if self.steps() == 1 {
            return Err(Error::StepCount {
                steps: 0,
                min: 1,
                max: usize::MAX,
            });
        }
        self.section(0..self.steps() - 1)
    }

    /// The same grid with v_T, the variance of the initial distribution at its first knot, given.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a variance that is negative or not finite.
    pub fn with_start_variance(mut self, start_variance: f64) -> Result<Self, Error> {
        self.start_variances[0] = start_variance;
        Self::checked(self.levels, self.start_variances)
    }

    /// The same levels with the network's time rounded to the nearest integer, ties to even: some
    /// libraries round the indices of a grid in λ or ρ before the network sees them. α and σ stay.
    ///
    /// For tables, where the network's time is an index. A flow's lies between 0 and 1, see
    /// [`with_model_times`](Self::with_model_times).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, TableSchedule}};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let exact = Grid::karras(&schedule, 10, schedule.lambda_range(), 7.0)?;
    /// let rounded = exact.clone().with_rounded_model_times();
    /// assert!(rounded.levels().iter().all(|level| level.model_time().fract() == 0.0));
    /// assert_eq!(rounded.levels()[3].sigma(), exact.levels()[3].sigma());
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "quantize")]
    pub fn with_rounded_model_times(self) -> Self {
        self.with_model_times(|level| level.model_time().round_ties_even())
    }

    /// The same levels with other times for the network, for example a flow's σ in thousandths.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    /// let grid = grid.with_model_times(|level| 1000.0 * level.sigma());
    /// assert_eq!(grid.levels()[1].model_time(), 750.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[must_use]
    pub fn with_model_times(mut self, model_time: impl Fn(&NoiseLevel) -> f64) -> Self {
        for level in &mut self.levels {
            *level = level.with_model_time(model_time(level));
        }
        self
    }
}
