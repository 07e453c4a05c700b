//! Which knot of a grid each position has at each step.

use ndarray::ArrayRef2;

use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};

/// Which level each position along an axis has before every step of a run, and at its end: a matrix
/// of steps × positions, in which no position goes back to more noise.
///
/// | constructor | position j before step i is at knot |
/// |---|---|
/// | [`together`](Self::together) | i |
/// | [`staircase`](Self::staircase) with delay d | i − dj, from the first knot to the last |
/// | [`autoregressive`](Self::autoregressive) | i − Kj: one position after the other |
/// | [`from_knots`](Self::from_knots) | as the matrix says |
///
/// [`with_given`](Self::with_given) takes positions out of it, which are given and stay: the first
/// frame of image to video. Positions at different knots at once are *diffusion forcing* (Chen et
/// al. 2024, "Diffusion Forcing: Next-token Prediction Meets Full-Sequence Diffusion").
///
/// ```
/// use diffusion_sampler::{Grid, NoiseLevel, run::PositionSchedule, schedule::RectifiedFlow};
///
/// let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
/// let stairs = PositionSchedule::staircase(&grid, 3, 2)?.with_given([0], NoiseLevel::clean())?;
/// assert_eq!((stairs.steps(), stairs.positions()), (4 + 2 * 2, 3));
/// let sigmas = |position| (0..=8).map(move |step| (step, position));
/// let sigmas = |position| -> Vec<f64> {
///     let levels = sigmas(position).map(|(step, position)| stairs.level(step, position));
///     levels.map(|level| level.map_or(f64::NAN, |level| level.sigma())).collect()
/// };
/// assert_eq!(sigmas(0), [0.0; 9]);
/// assert_eq!(sigmas(1), [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]);
/// assert_eq!(sigmas(2), [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("diffusion forcing", "pyramid", "scheduling matrix"))]
#[derive(Clone, Debug, PartialEq)]
pub struct PositionSchedule {
    /// The grid's knots, and behind them the levels of positions that are given.
    levels: Vec<NoiseLevel>,
    /// The index among the levels, (steps + 1) × positions.
    indices: Vec<u32>,
    positions: usize,
    steps: usize,
    start_variance: f64,
}

/// The most entries of a matrix: 1 GiB of them.
const MAX_ENTRIES: usize = 1 << 28;

impl PositionSchedule {
    /// All positions walk down the grid together: a plain run, unless some are
    /// [given](Self::with_given).
    ///
    /// # Errors
    ///
    /// As [`staircase`](Self::staircase).
    pub fn together(grid: &Grid, positions: usize) -> Result<Self, Error> {
        Self::staircase(grid, positions, 0)
    }

    /// Position j starts `delay`·j steps after the first, on the same grid: K + delay·(positions − 1)
    /// steps.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without positions; [`Error::StepCount`] for more entries than fit.
    pub fn staircase(grid: &Grid, positions: usize, delay: usize) -> Result<Self, Error> {
        let last = grid.steps();
        let behind = delay.checked_mul(positions.saturating_sub(1));
        let steps = behind.and_then(|behind| behind.checked_add(last));
        Self::of(
            grid,
            positions,
            steps.unwrap_or(usize::MAX),
            |step, position| step.saturating_sub(delay * position).min(last),
        )
    }

    /// One position after the other: each starts when the one before it has reached the end.
    ///
    /// # Errors
    ///
    /// As [`staircase`](Self::staircase).
    pub fn autoregressive(grid: &Grid, positions: usize) -> Result<Self, Error> {
        Self::staircase(grid, positions, grid.steps())
    }

    /// A matrix of knots of one's own: a row before each step and one for the end, a column for each
    /// position. A position may begin below the first knot, and end above the last.
    ///
    /// ```
    /// use diffusion_sampler::{Error, Grid, run::PositionSchedule, schedule::RectifiedFlow};
    /// use ndarray::array;
    ///
    /// let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    /// // The second position takes half as many steps, each over two edges.
    /// let schedule = PositionSchedule::from_knots(&grid, &array![[0, 0], [1, 0], [2, 2], [3, 2], [4, 4]])?;
    /// assert_eq!(schedule.steps(), 4);
    /// let back = PositionSchedule::from_knots(&grid, &array![[0, 1], [1, 0]]);
    /// assert!(matches!(back, Err(Error::PositionGoesBack { position: 1, .. })));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without positions; [`Error::StepCount`] for fewer than two rows;
    /// [`Error::InvalidEntry`] for a knot that the grid does not have;
    /// [`Error::PositionGoesBack`] where a position would go back to a knot with more noise.
    pub fn from_knots(grid: &Grid, knots: &ArrayRef2<usize>) -> Result<Self, Error> {
        let (rows, positions) = knots.dim();
        let last = grid.steps();
        for (index, &knot) in knots.iter().enumerate() {
            if knot > last {
                return Err(Error::InvalidEntry {
                    name: "knots",
                    index,
                    value: knot as f64,
                    requirement: "a knot of the grid",
                });
            }
        }
        for (step, (before, after)) in knots
            .outer_iter()
            .zip(knots.outer_iter().skip(1))
            .enumerate()
        {
            for (position, (&from, &to)) in before.iter().zip(after).enumerate() {
                if to < from {
                    return Err(Error::PositionGoesBack {
                        position,
                        step,
                        from,
                        to,
                    });
                }
            }
        }
        let at = |step, position| knots.get((step, position)).copied().unwrap_or(last);
        Self::of(grid, positions, rows.saturating_sub(1), at)
    }

    fn of(
        grid: &Grid,
        positions: usize,
        steps: usize,
        knot: impl Fn(usize, usize) -> usize,
    ) -> Result<Self, Error> {
        if positions == 0 {
            return Err(Error::EmptyList { name: "positions" });
        }
        let max = MAX_ENTRIES / positions;
        if steps == 0 || steps >= max {
            let max = max.saturating_sub(1);
            return Err(Error::StepCount { steps, min: 1, max });
        }
        let entries = (0..=steps).flat_map(|step| (0..positions).map(move |at| (step, at)));
        Ok(Self {
            levels: grid.levels().copy()?,
            indices: entries.map(|(step, at)| knot(step, at) as u32).listed()?,
            positions,
            steps,
            start_variance: grid.start_variance(),
        })
    }

    /// The same with positions that are given and stay as they are in every step: clean, or at a
    /// small constant noise, whatever the grid's knots are. The model is shown this level.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, NoiseLevel, run::PositionSchedule, schedule::RectifiedFlow};
    ///
    /// // Image to video: of 13 frames the first is given.
    /// let grid = Grid::trailing(&RectifiedFlow::shifted(5.0)?, 30)?;
    /// let video = PositionSchedule::together(&grid, 13)?.with_given([0], NoiseLevel::clean())?;
    /// assert_eq!(video.level(7, 0), Some(NoiseLevel::clean()));
    ///
    /// // The same in a sequence of 13 × 880 tokens, frame by frame: those of the first are given.
    /// let tokens = PositionSchedule::together(&grid, 13 * 880)?;
    /// let tokens = tokens.with_given(0..880, NoiseLevel::clean())?;
    /// assert_eq!(tokens.level(7, 879), Some(NoiseLevel::clean()));
    /// assert_eq!(tokens.level(7, 880), Some(grid.levels()[7]));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] for a position that there is not.
    #[doc(alias("conditioning mask", "image to video"))]
    pub fn with_given(
        mut self,
        positions: impl IntoIterator<Item = usize>,
        level: NoiseLevel,
    ) -> Result<Self, Error> {
        let own = self.levels.len() as u32;
        self.levels.push(level);
        for (index, position) in positions.into_iter().enumerate() {
            if position >= self.positions {
                return Err(Error::InvalidEntry {
                    name: "given positions",
                    index,
                    value: position as f64,
                    requirement: "less than the number of positions",
                });
            }
            let column = self.indices.iter_mut().skip(position);
            column
                .step_by(self.positions)
                .for_each(|entry| *entry = own);
        }
        Ok(self)
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The number of positions.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The level of a position before a step; at the end before step [`steps`](Self::steps). `None`
    /// beyond.
    pub fn level(&self, step: usize, position: usize) -> Option<NoiseLevel> {
        let entry = self.row(step)?.get(position)?;
        self.levels.get(*entry as usize).copied()
    }

    /// v_T of the initial distribution of what begins at the first knot.
    pub fn start_variance(&self) -> f64 {
        self.start_variance
    }

    /// The indices of the levels before a step.
    fn row(&self, step: usize) -> Option<&[u32]> {
        let start = step.checked_mul(self.positions)?;
        self.indices.get(start..start.checked_add(self.positions)?)
    }

    /// The levels before a step, position by position.
    pub(super) fn levels(&self, step: usize) -> impl Iterator<Item = NoiseLevel> {
        let row = self.row(step).unwrap_or_default();
        row.iter()
            .filter_map(|entry| self.levels.get(*entry as usize).copied())
    }

    /// The level at which a position begins; `None` where it begins with noise alone.
    pub(super) fn given(&self) -> impl Iterator<Item = Option<NoiseLevel>> {
        let row = self.row(0).unwrap_or_default();
        row.iter().map(|&entry| match entry {
            0 => None,
            entry => self.levels.get(entry as usize).copied(),
        })
    }

    /// The indices of the levels that a position leaves and reaches in a step, where they differ.
    pub(super) fn moves(&self, step: usize) -> impl Iterator<Item = (u32, u32)> {
        let (from, to) = (self.row(step), self.row(step + 1));
        let edges = from.unwrap_or_default().iter().zip(to.unwrap_or_default());
        edges
            .filter(|(from, to)| from != to)
            .map(|(from, to)| (*from, *to))
    }

    /// The levels that an edge joins.
    pub(super) fn edge(&self, (from, to): (u32, u32)) -> Option<(NoiseLevel, NoiseLevel)> {
        let level = |index: u32| self.levels.get(index as usize).copied();
        Some((level(from)?, level(to)?))
    }
}
