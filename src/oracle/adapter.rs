//! Oracles as denoisers and classifiers of batches.

use ndarray::{ArrayRef, Dimension};

use super::{LabelledOracle, Oracle, check};
use crate::denoiser::Classifier;
use crate::denoiser::{Denoiser, Query};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::real::Real;

/// An [`Oracle`] as a [`Denoiser`] of batches, for every element type and dimension; made by
/// [`Oracle::denoiser`].
///
/// Each sample, flattened in row-major order, is a point of the oracle; arrays of any memory layout
/// will do. The work is in f64 and rounded once. Every sample may have its own level. After the
/// first call nothing is allocated.
///
/// Any [`Prediction`] can be returned. At σ = 0 the state says nothing of the noise, and only
/// [`Data`](Prediction::Data) is defined; at α = 0 all are but [`Edm`](Prediction::Edm).
///
/// ```
/// use diffusion_sampler::{Denoiser, NoiseLevel, Prediction, Query, oracle::{Gaussian, Oracle}};
/// use ndarray::array;
///
/// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.0)?.denoiser(Prediction::Data);
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let x = array![[0.3, -1.0], [7.0, 0.0]];
/// let mut out = x.clone();
/// model.denoise(&x, &Query::new(&level), &mut out)?;
/// assert_eq!(out, array![[1.0, 2.0], [1.0, 2.0]]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NoSampleAxis`] for a 0-dimensional array; [`Error::ShapeMismatch`] when a sample has
/// not the oracle's number of elements or `out` not the shape of `x`; [`Error::WrongLength`] unless
/// the query has one level or one per sample, [`Error::PositionsNotRead`] for levels along another
/// axis ([`PositionDenoiser`](super::PositionDenoiser) takes them); [`Error::TooManyTerms`] when more than one output is
/// asked for; [`Error::PredictionUndefined`] as above; and the errors of the [`Oracle`].
#[derive(Clone, Debug)]
pub struct ExactDenoiser<O> {
    oracle: O,
    prediction: Prediction,
    buffers: Buffers,
}

impl<O: Oracle> ExactDenoiser<O> {
    pub(super) fn new(oracle: O, prediction: Prediction) -> Self {
        Self {
            oracle,
            prediction,
            buffers: Buffers::default(),
        }
    }

    /// The oracle.
    pub fn oracle(&self) -> &O {
        &self.oracle
    }
}

impl<A: Real, D: Dimension, O: Oracle> Denoiser<A, D> for ExactDenoiser<O> {
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
        let (oracle, prediction) = (&self.oracle, &self.prediction);
        self.buffers
            .each_row((x, query, out), oracle.dim(), |x, level, scratch, out| {
                predict(oracle, prediction, x, level, scratch, out)
            })
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

/// The prediction at one point.
///
/// D and E follow from each other by x = αD + σE. The one that is divided by the smaller
/// coefficient is computed by the oracle: E from the score where σ ≤ α, D where σ > α. The other
/// then has no cancellation.
pub(super) fn predict(
    oracle: &impl Oracle,
    prediction: &Prediction,
    x: &[f64],
    level: &NoiseLevel,
    scratch: &mut Vec<f64>,
    out: &mut [f64],
) -> Result<(), Error> {
    if *prediction == Prediction::Data {
        return oracle.data_estimate_into(x, level, scratch, out);
    }
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let target = prediction.target(level)?;
    if sigma == 0.0 {
        return Err(Error::PredictionUndefined {
            prediction: prediction.name(),
            alpha,
            sigma,
            time: level.time(),
        });
    }
    if target.data == 0.0 || sigma <= alpha {
        oracle.score_into(x, level, scratch, out)?;
        for (out, &x) in out.iter_mut().zip(x) {
            let noise = -sigma * *out;
            *out = target.noise * noise;
            if target.data != 0.0 {
                *out += target.data * ((x - sigma * noise) / alpha);
            }
        }
    } else {
        oracle.data_estimate_into(x, level, scratch, out)?;
        for (out, &x) in out.iter_mut().zip(x) {
            let data = *out;
            *out = target.data * data + target.noise * ((x - alpha * data) / sigma);
        }
    }
    Ok(())
}

/// ∇ₓ ln p(y given x_t) of a [`LabelledOracle`] for batches: an exact classifier for guidance; made
/// by [`LabelledOracle::classifier`].
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Query, denoiser::Classifier};
/// use diffusion_sampler::oracle::{Gaussian, GaussianMixture, LabelledOracle};
/// use ndarray::array;
///
/// let data = GaussianMixture::new(
///     &[1.0, 1.0],
///     vec![Gaussian::isotropic(&[-1.0], 0.1)?, Gaussian::isotropic(&[1.0], 0.1)?],
///     vec![0, 1],
/// )?;
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let x = array![[0.0], [5.0f64]];
/// let mut gradient = x.clone();
/// data.classifier(1)?.gradient(&x, &Query::new(&level), &mut gradient)?;
/// assert!(gradient[[0, 0]] > 1.0); // towards the class
/// assert!(gradient[[1, 0]].abs() < 1e-6); // already there
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactClassifier<O> {
    oracle: O,
    label: usize,
    buffers: Buffers,
}

impl<O: LabelledOracle> ExactClassifier<O> {
    pub(super) fn new(oracle: O, label: usize) -> Result<Self, Error> {
        super::require_label(&oracle, label)?;
        Ok(Self {
            oracle,
            label,
            buffers: Buffers::default(),
        })
    }

    /// The oracle.
    pub fn oracle(&self) -> &O {
        &self.oracle
    }

    /// The label y.
    pub fn label(&self) -> usize {
        self.label
    }
}

impl<A: Real, D: Dimension, O: LabelledOracle> Classifier<A, D> for ExactClassifier<O> {
    /// Those of [`ExactDenoiser`], but for [`Error::PredictionUndefined`].
    type Error = Error;

    fn gradient(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Error> {
        let (oracle, label) = (&self.oracle, self.label);
        self.buffers
            .each_row((x, query, out), oracle.dim(), |x, level, scratch, out| {
                oracle.class_gradient_into(x, level, label, scratch, out)
            })
    }
}

/// One sample in f64, its result, and the oracle's scratch.
#[derive(Clone, Debug, Default)]
struct Buffers {
    row: Vec<f64>,
    result: Vec<f64>,
    scratch: Vec<f64>,
}

impl Buffers {
    /// Runs `evaluate` on every sample of x and writes its results to out.
    ///
    /// Rows are always copied: two times d moves are nothing beside d² products, and one path
    /// serves every layout.
    fn each_row<A: Real, D: Dimension>(
        &mut self,
        (x, query, out): (&ArrayRef<A, D>, &Query<'_>, &mut ArrayRef<A, D>),
        dim: usize,
        mut evaluate: impl FnMut(&[f64], &NoiseLevel, &mut Vec<f64>, &mut [f64]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let samples = check_shapes(x, query, out, dim)?;
        let row = check::scratch(&mut self.row, dim)?;
        let result = check::scratch(&mut self.result, dim)?;
        // Both iterate in logical, row-major order, whatever the layout.
        let (mut values, mut results) = (x.iter(), out.iter_mut());
        for sample in 0..samples {
            for (slot, value) in row.iter_mut().zip(values.by_ref()) {
                *slot = value.widen();
            }
            evaluate(
                row,
                &query.level_of(sample).unwrap_or_else(|| query.level()),
                &mut self.scratch,
                result,
            )?;
            for (value, slot) in result.iter().zip(results.by_ref()) {
                *slot = A::cast(*value);
            }
        }
        Ok(())
    }
}

/// Checks shapes, levels and outputs; returns the number of samples.
fn check_shapes<A, D: Dimension>(
    x: &ArrayRef<A, D>,
    query: &Query<'_>,
    out: &ArrayRef<A, D>,
    dim: usize,
) -> Result<usize, Error> {
    let Some((&samples, sample_shape)) = x.shape().split_first() else {
        return Err(Error::NoSampleAxis);
    };
    if sample_shape.iter().product::<usize>() != dim {
        return Err(Error::ShapeMismatch {
            name: "x",
            expected: vec![samples, dim],
            found: x.shape().to_vec(),
        });
    }
    if let Some(axis) = query.axis() {
        return Err(Error::PositionsNotRead { axis });
    }
    if query.outputs() != 1 {
        return Err(Error::TooManyTerms {
            found: query.outputs(),
            max: 1,
        });
    }
    if out.shape() != x.shape() {
        return Err(Error::ShapeMismatch {
            name: "out",
            expected: x.shape().to_vec(),
            found: out.shape().to_vec(),
        });
    }
    if query.levels().len() != 1 {
        check::length("levels", query.levels().len(), samples)?;
    }
    Ok(samples)
}
