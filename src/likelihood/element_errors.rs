//! How well a model knows each element, measured on data.

use ndarray::{ArrayRef, Dimension};

use crate::apply::batch_of;
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, RunError, require};
use crate::forward::diffuse;
use crate::kernel;
use crate::level::NoiseLevel;
use crate::memory;
use crate::memory::Copied;
use crate::noise::NoiseSource;
use crate::posterior::ElementErrors;
use crate::real::Real;

/// M_{t,i} = E(x₀ − D(x_t))_i² of a model at each of `levels`, measured on a batch of data: one
/// noise for each sample and level, and one call of the model a level.
///
/// The noise at level k of the list is that of
/// [`Stream::Forward`](crate::noise::Stream::Forward) at step k. A guided model is asked for its
/// guided answer. Every number comes with its standard error over the samples.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, likelihood::element_errors};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{posterior::DiagonalVariance, schedule::TableSchedule};
/// use ndarray::Array2;
///
/// let grid = Grid::trailing(&TableSchedule::cosine(1000)?, 5)?;
/// let mut model = Gaussian::diagonal(&[0.0; 2], &[1.0, 0.01])?.denoiser(Prediction::Noise);
/// let data: Array2<f32> = Array2::zeros((100, 2));
/// let levels = &grid.levels()[..5];
/// let errors = element_errors(&mut model, &data, levels, &mut KeyedNoise::new(3))?;
/// let variance = DiagonalVariance::new(errors);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidParameter`] for fewer than 2 samples; [`Error::NoSampleAxis`];
/// [`Error::PredictionUndefined`] where the prediction says nothing of x₀; [`Error::NonFinite`] for
/// an estimate that is not finite, with the level's place as its step; as [`ElementErrors::new`];
/// [`Error::TooLarge`] for more elements than there is memory for; the noise's and the model's own.
pub fn element_errors<A, D, M, N>(
    model: &mut M,
    data: &ArrayRef<A, D>,
    levels: &[NoiseLevel],
    noise: &mut N,
) -> Result<ElementErrors, RunError<M::Error>>
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D> + ?Sized,
    N: NoiseSource<A>,
{
    let (samples, dim) = batch_of(data)?;
    require(samples >= 2, "samples", samples as f64, "at least 2")?;
    let mut out = memory::zeros(data.raw_dim())?;
    let mut means = memory::reserve(&[levels.len(), dim])?;
    let mut standard_errors = memory::reserve(&[levels.len(), dim])?;
    for (index, level) in levels.iter().enumerate() {
        let form = model.prediction().data(level)?;
        let mut x = data.copy()?;
        diffuse(&mut x, &[*level], noise, index as u32)?;
        out.fill(A::unwritten());
        let query = Query::new(level);
        model
            .denoise(&x, &query, &mut out)
            .map_err(RunError::Denoiser)?;
        kernel::find_non_finite::<A, A, D>(&out, index, "model output")?;
        let mut moments = crate::memory::repeated(Moments::default(), dim)?;
        let estimates = x.iter().zip(out.iter()).zip(data.iter());
        for (place, ((x, o), x0)) in estimates.enumerate() {
            let miss = x0.widen() - form.of(x.widen(), o.widen());
            moments[place % dim].add(miss * miss);
        }
        means.extend(moments.iter().map(|m| m.mean));
        standard_errors.extend(moments.iter().map(Moments::standard_error));
    }
    let levels = levels.copy()?;
    let built: Result<_, Error> =
        ElementErrors::with_standard_errors(dim, levels, means, standard_errors);
    Ok(built?)
}

/// Mean and sum of squared deviations, one value after the other (Welford 1962).
#[derive(Clone, Copy, Default)]
pub(super) struct Moments {
    count: f64,
    pub(super) mean: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    /// That of the mean; +∞ for fewer than two values.
    pub(super) fn standard_error(&self) -> f64 {
        if self.count < 2.0 {
            return f64::INFINITY;
        }
        (self.squares / (self.count * (self.count - 1.0))).sqrt()
    }
}
