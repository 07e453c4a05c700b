//! One pass of a model over data: what it knows at every level.

use std::ops::Range;

use ndarray::{ArrayRef, Dimension};

use super::Measured;
use super::tally::Tally;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require, require_all};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::real::Real;

/// Measures what a model knows at each of a list of levels, in one pass over data: M_t = E|x₀ −
/// D(x_t)|² with x_t = α_t x₀ + σ_t ε, a mean over the rows of the data and draws of the noise.
///
/// M_t is all that the bound of *any* grid over these levels needs: T·draws evaluations of each row
/// serve every number of steps and every stride. The second moment of the model's noise estimate,
/// m_t = E|E(x_t)|²/d, comes from the same evaluations.
///
/// | option | default |
/// |---|---|
/// | [`with_draws`](Self::with_draws) | one draw of ε for each row and level |
/// | [`with_seed`](Self::with_seed) | 0 |
/// | [`with_batch`](Self::with_batch) | all rows in one call of the model |
/// | [`with_clip`](Self::with_clip) | D is not clipped |
/// | [`with_pixels`](Self::with_pixels) | pixels are not priced |
///
/// The noise is keyed by (seed, row, draw, level): the result does not depend on the batch, as far
/// as the model's rows do not. A guided model is measured guided. A model that is conditioned on
/// something of its rows, on labels, is made by the caller for all rows, in their order, or for
/// each batch ([`of_each`](Self::of_each)).
///
/// ```
/// use diffusion_sampler::{Grid, Prediction, likelihood::Measurement, schedule::TableSchedule};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use rand::{SeedableRng, rngs::SmallRng};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let truth = Gaussian::centred(4, 0.25)?;
/// let data = truth.sample(500, &mut SmallRng::seed_from_u64(1))?;
/// let mut model = truth.denoiser(Prediction::Noise);
/// let measured = Measurement::at(&grid)?.of(&data, &mut model)?;
/// for (level, (m, error)) in measured.errors().levels().iter().zip(
///     measured.errors().errors().iter().zip(measured.errors().standard_errors()),
/// ) {
///     let (a, s) = (level.alpha().powi(2), level.sigma().powi(2));
///     assert!((m - 4.0 * 0.25 * s / (0.25 * a + s)).abs() < 5.0 * error);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The numbers and their use for every stride: Watson, Ho, Norouzi and Chan (2021), "Learning to
/// Efficiently Sample from Diffusion Probabilistic Models".
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub(super) levels: Vec<NoiseLevel>,
    pub(super) draws: u32,
    pub(super) seed: u64,
    pub(super) batch: usize,
    pub(super) clip: Option<Clip>,
    pub(super) pixels: Option<Pixels>,
}

/// What the pixels are priced by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pixels {
    pub(super) bins: usize,
    pub(super) deviations: Vec<f64>,
}

impl Measurement {
    /// A measurement at the knots of a grid but its clean end.
    pub fn at(grid: &Grid) -> Result<Self, Error> {
        let noisy = grid.levels().iter().filter(|level| !level.is_clean());
        Ok(Self {
            levels: noisy.copied().listed()?,
            draws: 1,
            seed: 0,
            batch: usize::MAX,
            clip: None,
            pixels: None,
        })
    }

    /// The same with so many draws of the noise for each row and level. They make the mean more
    /// precise; the standard error's unit stays the row.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for 0, and where draws times levels are more than 2³² − 1.
    pub fn with_draws(self, draws: u32) -> Result<Self, Error> {
        let steps = u64::from(draws).saturating_mul(self.levels.len() as u64);
        require(
            draws > 0 && steps <= u64::from(u32::MAX),
            "draws",
            f64::from(draws),
            "at least 1, and less than 2^32 with the levels",
        )?;
        Ok(Self { draws, ..self })
    }

    /// The same with another seed of the noise.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same with at most so many rows in one call of the model.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for 0.
    pub fn with_batch(self, rows: usize) -> Result<Self, Error> {
        require(rows > 0, "batch", rows as f64, "at least 1")?;
        Ok(Self {
            batch: rows,
            ..self
        })
    }

    /// The same with the estimate of x₀ clipped, as by the sampler that is to be judged.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The same, which also prices the pixels at each level by a Gaussian around D that is
    /// discretised to `bins` values, for each of these deviations ([`Measured::pixels`]): the cost
    /// of an edge from there onto the data. The data must have these values, evenly from −1 to 1.
    /// It costs an error function or two for each pixel, level, draw and deviation.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for fewer than 2 bins; [`Error::EmptyList`] without deviations,
    /// [`Error::InvalidEntry`] for one that is not finite or less than 1e-50.
    pub fn with_pixels(self, bins: usize, deviations: &[f64]) -> Result<Self, Error> {
        require(bins >= 2, "bins", bins as f64, "at least 2")?;
        if deviations.is_empty() {
            return Err(Error::EmptyList { name: "deviations" });
        }
        require_all(
            "deviations",
            deviations,
            |_, deviation| deviation.is_finite() && deviation >= 1e-50,
            "finite and at least 1e-50",
        )?;
        let deviations = deviations.copy()?;
        Ok(Self {
            pixels: Some(Pixels { bins, deviations }),
            ..self
        })
    }

    /// Measures a model on data, one sample a row of axis 0.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for fewer than two rows, of which there is no standard error;
    /// [`Error::NoSampleAxis`], [`Error::NonFiniteStart`] for such data; [`Error::InvalidEntry`]
    /// for pixels that are not of the values that were said; [`Error::NonFinite`] and
    /// [`Error::OutputNotWritten`], whose step is the level's index and whose sample the row's in
    /// its batch; [`Error::PredictionUndefined`]; [`Error::StatefulGuidance`] for guidance with a
    /// memory, and what else the guidance refuses; the model's own error.
    pub fn of<A, D, M>(
        &self,
        data: &ArrayRef<A, D>,
        model: &mut M,
    ) -> Result<Measured, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
    {
        let mut tally = Tally::new(self, data)?;
        for rows in self.batches(tally.samples()) {
            tally.add(self, data, rows, model)?;
        }
        Ok(tally.finish(self)?)
    }

    /// Measures a model that `model` makes for each batch of rows: one that is conditioned on what
    /// belongs to them.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of); what `model` returns.
    pub fn of_each<A, D, M>(
        &self,
        data: &ArrayRef<A, D>,
        mut model: impl FnMut(Range<usize>) -> Result<M, M::Error>,
    ) -> Result<Measured, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D>,
    {
        let mut tally = Tally::new(self, data)?;
        for rows in self.batches(tally.samples()) {
            let mut own = model(rows.clone()).map_err(RunError::Denoiser)?;
            tally.add(self, data, rows, &mut own)?;
        }
        Ok(tally.finish(self)?)
    }

    /// The rows of each batch.
    fn batches(&self, samples: usize) -> impl Iterator<Item = Range<usize>> {
        let batch = self.batch.min(samples).max(1);
        (0..samples)
            .step_by(batch)
            .map(move |first| first..first.saturating_add(batch).min(samples))
    }
}
