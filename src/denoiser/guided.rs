//! A model and its guidance.

use ndarray::{ArrayRef, ArrayViewMut, Dimension};

use super::{Denoiser, Query};
use crate::error::{Error, RunError};
use crate::fold;
use crate::guidance::{Guidance, is_unguided, output_count};
use crate::prediction::Prediction;
use crate::real::{Real, Scratch};

/// A model with several outputs, and the [form of guidance](crate::guidance) that combines them.
///
/// In a run the weights are folded into the update, and no combined output is materialised. Called
/// by hand, or by a wrapper, with a query for the one answer ([`Query::new`]) it computes the
/// outputs and combines them: a call is guided, never silently not. Use
/// [`estimate`](Self::estimate) for that: it reports what [`denoise`](Denoiser::denoise) has no
/// error for and answers with NaN (a guidance that refuses, or that keeps a memory and so works in
/// a run only).
///
/// ```
/// use diffusion_sampler::{
///     NoiseLevel, Prediction, Query,
///     denoiser::{Guided, Models},
///     from_fn,
///     guidance::ClassifierFree,
/// };
/// use ndarray::{Array2, Ix2};
///
/// let constant = |value| from_fn::<f64, Ix2>(Prediction::Data, move |_, _, out| out.fill(value));
/// let models = Models((constant(1.0), constant(0.5)));
/// let mut model = Guided::new(models, ClassifierFree::with_scale(3.0)?);
/// let (x, mut out) = (Array2::zeros((2, 4)), Array2::zeros((2, 4)));
/// model.estimate(&x, &Query::new(&NoiseLevel::new(0.5, 0.8, 0.6)?), &mut out)?;
/// assert_eq!(out[[1, 3]], 0.5 + 3.0 * (1.0 - 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Guided<M, G> {
    model: M,
    guidance: G,
    scratch: Scratch,
}

impl<M, G: Guidance> Guided<M, G> {
    /// Joins `model`, which has at least as many outputs as `guidance` wants, to its guidance.
    pub fn new(model: M, guidance: G) -> Self {
        Self {
            model,
            guidance,
            scratch: Scratch::default(),
        }
    }

    /// The form of guidance.
    pub fn form(&self) -> &G {
        &self.guidance
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Evaluates the model by hand and writes its guided output to `out`, of the shape of `x`.
    ///
    /// The outputs go to a buffer of the model's own, which is made at the first call.
    ///
    /// # Errors
    ///
    /// [`Error::StatefulGuidance`] for guidance with a memory; [`Error::NotPerPosition`] for guidance
    /// by inner products where levels differ along an axis; [`Error::ShapeMismatch`],
    /// [`Error::NoSampleAxis`]; what the guidance refuses; the model's own error.
    pub fn estimate<A, D>(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D>,
    {
        let prediction = self.model.prediction();
        inner_is_plain(&self.model, &self.guidance)?;
        let samples = x.shape().first().copied().ok_or(Error::NoSampleAxis)?;
        if out.shape() != x.shape() {
            return Err(Error::ShapeMismatch {
                name: "output",
                expected: x.shape().to_vec(),
                found: out.shape().to_vec(),
            }
            .into());
        }
        if self.guidance.is_stateful() {
            let guidance = self.guidance.name();
            return Err(Error::StatefulGuidance { guidance }.into());
        }
        if x.is_empty() {
            return Ok(());
        }
        let levels = query.levels().len();
        if query.axis().is_none() && levels != 1 && levels != samples {
            return Err(Error::WrongLength {
                name: "levels",
                expected: samples,
                found: levels,
            }
            .into());
        }
        let mut outputs = 1;
        for sample in 0..query.entries() {
            let at = query.evaluation(sample, prediction);
            outputs = outputs.max(self.guidance.wanted(&at)?);
        }
        output_count(outputs)?;
        let mut shape = x.raw_dim();
        shape[0] = outputs * samples;
        let values = A::scratch(&mut self.scratch);
        crate::memory::resize(values, outputs.saturating_mul(x.len()), A::zero())?;
        let raw = query.with_outputs(outputs);
        let mut view =
            ArrayViewMut::from_shape(shape, &mut values[..outputs * x.len()]).map_err(|_| {
                Error::TooLarge {
                    shape: x.shape().to_vec(),
                }
            })?;
        self.model
            .denoise(x, &raw, &mut view)
            .map_err(RunError::Denoiser)?;
        let at = |sample: usize| query.evaluation(sample, prediction);
        if let Some((axis, of)) = query.places() {
            let asked = (at, query.entries());
            let raw = (&*view, outputs);
            fold::combined_along(&self.guidance, asked, (axis, &of), x, raw, out)?;
            return Ok(());
        }
        let one = query.levels().len() == 1;
        fold::combined(&self.guidance, (at, one), x, &view, outputs, out)?;
        Ok(())
    }
}

/// Refuses a guided model in place of one with several outputs.
fn inner_is_plain<A: Real, D: Dimension>(
    model: &impl Denoiser<A, D>,
    guidance: &impl Guidance,
) -> Result<(), Error> {
    let inner = model.guidance()?;
    if is_unguided(inner) {
        return match model.outputs() {
            Some(found) if found < guidance.outputs() => Err(Error::TooFewOutputs {
                guidance: guidance.name(),
                wanted: guidance.outputs(),
                found,
            }),
            _ => Ok(()),
        };
    }
    Err(Error::NestedGuidance {
        outer: guidance.name(),
        inner: inner.name(),
    })
}

impl<A, D, M, G> Denoiser<A, D> for Guided<M, G>
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D>,
    G: Guidance,
{
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        if query.is_separate() {
            return self.model.denoise(x, query, out);
        }
        match self.estimate(x, query, out) {
            Ok(()) => Ok(()),
            Err(RunError::Denoiser(error)) => Err(error),
            // There is no error to say it with; NaN is not mistaken for an answer.
            Err(RunError::Sampler(_)) => {
                out.fill(A::nan());
                Ok(())
            }
        }
    }

    fn outputs(&self) -> Option<usize> {
        self.model.outputs()
    }

    fn reads_positions(&self) -> bool {
        self.model.reads_positions()
    }

    fn reads_rows(&self) -> bool {
        self.model.reads_rows()
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        inner_is_plain(&self.model, &self.guidance)?;
        Ok(&self.guidance)
    }
}
