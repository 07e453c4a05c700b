//! Oracles of data that are independent over positions along an axis.

use ndarray::{ArrayRef, ArrayViewMut, Axis, Dimension, Slice};

use super::adapter::predict;
use super::{Oracle, check};
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, require_shape};
use crate::kernel;
use crate::prediction::Prediction;
use crate::real::Real;

/// An [`Oracle`] as a [`Denoiser`] of batches whose positions along an axis (tokens, frames) are
/// independent draws of its data, each at a level of its own; made by
/// [`Oracle::position_denoiser`].
///
/// A point of the oracle is what one position of one sample holds, in row-major order. It reads the
/// level of each position ([`Query::level_at`]). Where a position stays as it is in a step, as one
/// that is given does, its output is 0 if the [`Prediction`] says nothing there (σ = 0).
///
/// ```
/// use diffusion_sampler::{Denoiser, Levels, NoiseLevel, Prediction, Query};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use ndarray::Array3;
///
/// let token = Gaussian::isotropic(&[0.0; 4], 1.0)?;
/// let mut model = token.position_denoiser(1, Prediction::Data);
/// let levels = [NoiseLevel::clean(), NoiseLevel::new(0.5, 0.8, 0.6)?];
/// let (x, mut out) = (Array3::<f64>::ones((1, 2, 4)), Array3::zeros((1, 2, 4)));
/// model.denoise(&x, &Query::along(Levels::along(1, &levels), x.shape())?, &mut out)?;
/// assert!((out[[0, 0, 0]] - 1.0).abs() < 1e-15 && (out[[0, 1, 0]] - 0.8).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::WrongAxis`]; [`Error::WrongLength`] unless a position holds as many elements as the
/// oracle has dimensions; [`Error::ShapeMismatch`]; [`Error::TooManyTerms`] when more than one output
/// is requested; [`Error::PredictionUndefined`]; and the errors of the [`Oracle`].
#[derive(Clone, Debug)]
pub struct PositionDenoiser<O> {
    oracle: O,
    axis: usize,
    prediction: Prediction,
    point: Vec<f64>,
    result: Vec<f64>,
    scratch: Vec<f64>,
}

impl<O: Oracle> PositionDenoiser<O> {
    pub(super) fn new(oracle: O, axis: usize, prediction: Prediction) -> Self {
        Self {
            oracle,
            axis,
            prediction,
            point: Vec::new(),
            result: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The oracle of one position.
    pub fn oracle(&self) -> &O {
        &self.oracle
    }

    /// The axis of the positions.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// The number of samples and of positions.
    fn check<A, D: Dimension>(
        &self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &ArrayRef<A, D>,
    ) -> Result<(usize, usize), Error> {
        let positions = kernel::positions(x.shape(), self.axis)?;
        let samples = x.shape().first().copied().unwrap_or(0);
        require_shape("out", x.shape(), out.shape())?;
        if let Some(axis) = query.axis().filter(|axis| *axis != self.axis) {
            return Err(Error::PositionsNotRead { axis });
        }
        if query.outputs() != 1 {
            return Err(Error::TooManyTerms {
                found: query.outputs(),
                max: 1,
            });
        }
        if !x.is_empty() {
            check::length(
                "position",
                x.len() / (samples * positions),
                self.oracle.dim(),
            )?;
        }
        Ok((samples, positions))
    }
}

impl<A: Real, D: Dimension, O: Oracle> Denoiser<A, D> for PositionDenoiser<O> {
    type Error = Error;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Error> {
        let (samples, positions) = self.check(x, query, out)?;
        let axis = Axis(self.axis);
        for sample in 0..samples {
            let x = x.slice_axis(Axis(0), one(sample));
            let mut out = out.slice_axis_mut(Axis(0), one(sample));
            for position in 0..positions {
                let x = x.slice_axis(axis, one(position));
                let out = out.slice_axis_mut(axis, one(position));
                self.at(x.iter().copied(), query, (sample, position), out)?;
            }
        }
        Ok(())
    }

    fn reads_positions(&self) -> bool {
        true
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

/// One place of an axis.
fn one(place: usize) -> Slice {
    Slice::from(place..place + 1)
}

impl<O: Oracle> PositionDenoiser<O> {
    /// The prediction at one position of one sample.
    fn at<A: Real, D: Dimension>(
        &mut self,
        x: impl Iterator<Item = A>,
        query: &Query<'_>,
        (sample, position): (usize, usize),
        mut out: ArrayViewMut<'_, A, D>,
    ) -> Result<(), Error> {
        let level = query
            .level_at(sample, position)
            .unwrap_or_else(|| query.level());
        let stays = query.target_at(sample, position) == Some(level);
        if stays && level.is_clean() && self.prediction != Prediction::Data {
            out.fill(A::zero());
            return Ok(());
        }
        let dim = self.oracle.dim();
        let point = check::scratch(&mut self.point, dim)?;
        for (slot, value) in point.iter_mut().zip(x) {
            *slot = value.widen();
        }
        let result = check::scratch(&mut self.result, dim)?;
        let (oracle, prediction) = (&self.oracle, &self.prediction);
        predict(oracle, prediction, point, &level, &mut self.scratch, result)?;
        for (slot, value) in out.iter_mut().zip(&*result) {
            *slot = A::cast(*value);
        }
        Ok(())
    }
}
