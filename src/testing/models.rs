//! Checks of models.

use std::fmt::Display;

use ndarray::{Array, Dimension, IntoDimension};

use super::Failure;
use super::batches::same_rows;
use super::probe::{normals, require_finite, require_some};
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, require_length, require_non_negative, require_size};
use crate::level::NoiseLevel;
use crate::real::Real;

/// Checks a [`Denoiser`]: at every level its output is finite and written whole, the same at every
/// call, and the same for a sample alone as in a batch.
///
/// `shape` is that of a batch, axis 0 the sample; the states are normals of the levels' size. With
/// `tolerance` 0 the outputs must agree to the bit; networks whose kernels depend on the batch size
/// need one, relative to the largest output.
///
/// ```
/// use diffusion_sampler::{Prediction, oracle::{Gaussian, Oracle}, testing::check_denoiser};
/// use diffusion_sampler::schedule::{NoiseSchedule, VariancePreserving};
///
/// let vp = VariancePreserving::default();
/// let levels = [vp.level(1.0)?, vp.level(0.5)?, vp.level(1e-3)?];
/// let mut model = Gaussian::isotropic(&[0.5; 12], 0.04)?.denoiser(Prediction::Noise);
/// check_denoiser::<f32, _, _>(&mut model, (4, 3, 2, 2), &levels, 0.0)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotWritten`], [`Failure::NotFinite`], [`Failure::Batch`], [`Failure::Model`];
/// [`Failure::Setup`] for a shape without samples, [`Failure::Length`] for no levels.
pub fn check_denoiser<A, S, M>(
    model: &mut M,
    shape: S,
    levels: &[NoiseLevel],
    tolerance: f64,
) -> Result<(), Failure>
where
    A: Real,
    S: IntoDimension,
    M: Denoiser<A, S::Dim> + ?Sized,
    M::Error: Display,
{
    let shape = shape.into_dimension();
    let Some((&samples, sample)) = shape.slice().split_first() else {
        return Err(Error::NoSampleAxis.into());
    };
    require_size::<A>(shape.slice())?;
    let row = sample.iter().product();
    check(samples, row, levels, tolerance, |x: &[A], level, out| {
        let mut batch = shape.clone();
        batch[0] = x.len() / row;
        let array = |values: &[A]| {
            let found = values.len();
            Array::from_shape_vec(batch.clone(), values.to_vec()).map_err(|_| {
                let expected = batch.size();
                Failure::from(Error::WrongLength {
                    name: "batch",
                    expected,
                    found,
                })
            })
        };
        let (state, mut output) = (array(x)?, array(out)?);
        model
            .denoise(&state, &Query::new(level), &mut output)
            .map_err(|error| Failure::Model {
                message: error.to_string(),
            })?;
        for (slot, value) in out.iter_mut().zip(&output) {
            *slot = *value;
        }
        Ok(())
    })
}

/// Checks a model given as a function of slices as [`check_denoiser`] does: `model(x, level, out)`
/// writes the output of `x`, a batch of whole rows.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, testing::{Failure, check_model}};
///
/// let levels = [NoiseLevel::new(0.5, 0.8, 0.6)?];
/// check_model(4, 3, &levels, 0.0, |x: &[f32], level, out| {
///     for (out, x) in out.iter_mut().zip(x) {
///         *out = level.sigma() as f32 * x;
///     }
/// })?;
/// // Normalised over the batch, not over the sample.
/// let failure = check_model(4, 3, &levels, 1e-6, |x: &[f32], _, out| {
///     let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
///     for (out, x) in out.iter_mut().zip(x) {
///         *out = x / norm;
///     }
/// });
/// assert!(matches!(failure, Err(Failure::Batch { batch: "a batch of one", .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_denoiser`].
pub fn check_model<A: Real>(
    samples: usize,
    row: usize,
    levels: &[NoiseLevel],
    tolerance: f64,
    mut model: impl FnMut(&[A], &NoiseLevel, &mut [A]),
) -> Result<(), Failure> {
    check(samples, row, levels, tolerance, |x, level, out| {
        model(x, level, out);
        Ok(())
    })
}

fn check<A: Real>(
    samples: usize,
    row: usize,
    levels: &[NoiseLevel],
    tolerance: f64,
    mut model: impl FnMut(&[A], &NoiseLevel, &mut [A]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    require_non_negative("tolerance", tolerance)?;
    require_size::<A>(&[samples, row])?;
    if samples == 0 || row == 0 {
        require_length("batch", 1, 0)?;
    }
    require_some("levels", levels.len())?;
    let all: Vec<u64> = (0..samples as u64).collect();
    let backwards: Vec<u64> = all.iter().rev().copied().collect();
    for level in levels {
        let batch = Batch::at(level, samples, row);
        let mut call = |part: &[u64], fill| batch.call(part, fill, &mut model);
        let whole = call(&all, A::unwritten())?;
        // Filled otherwise: what a model adds to its output, instead of writing it, differs.
        let again = call(&all, A::one())?;
        same_rows("the same call again", &all, &again, &whole, tolerance)?;
        let single = all.chunks(1).map(|one| ("a batch of one", one));
        for (name, part) in single.chain([("the batch backwards", backwards.as_slice())]) {
            let out = call(part, A::unwritten())?;
            same_rows(name, part, &out, &whole, tolerance)?;
        }
    }
    Ok(())
}

/// States of a level's size, row by row.
struct Batch<'a, A> {
    level: &'a NoiseLevel,
    row: usize,
    states: Vec<A>,
}

impl<'a, A: Real> Batch<'a, A> {
    fn at(level: &'a NoiseLevel, samples: usize, row: usize) -> Self {
        let scale = A::cast(level.marginal_variance(1.0).sqrt());
        let normals = normals(0, samples * row).into_iter();
        Self {
            level,
            row,
            states: normals.map(|z: A| scale * z).collect(),
        }
    }

    /// The output for some of the samples, written to a buffer that holds `fill`.
    fn call(
        &self,
        part: &[u64],
        fill: A,
        model: &mut impl FnMut(&[A], &NoiseLevel, &mut [A]) -> Result<(), Failure>,
    ) -> Result<Vec<A>, Failure> {
        let starts = part.iter().map(|&sample| sample as usize * self.row);
        let x: Vec<A> = starts
            .flat_map(|at| &self.states[at..at + self.row])
            .copied()
            .collect();
        let mut out = vec![fill; x.len()];
        model(&x, self.level, &mut out)?;
        if let Some(index) = out.iter().position(|value| value.is_unwritten()) {
            return Err(Failure::NotWritten { index });
        }
        require_finite("output", &out)?;
        Ok(out)
    }
}
