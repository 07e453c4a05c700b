//! Classifiers, and a model with one.

use ndarray::{ArrayRef, Axis, Dimension};

use super::{Denoiser, Query};
use crate::error::Error;
use crate::guidance::Guidance;
use crate::prediction::Prediction;
use crate::real::Real;

/// A classifier on noisy states: the gradient of its log-probability of the wanted class.
///
/// Axis 0 of both arrays is the sample; both have the same shape.
pub trait Classifier<A: Real, D: Dimension> {
    /// The classifier's own error.
    type Error;

    /// Writes ∇ₓ log p(y | x) at the state `x` and the level(s) of `query` to `out`.
    ///
    /// # Errors
    ///
    /// The classifier's own.
    fn gradient(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Self::Error>;
}

/// Pointers to a classifier are classifiers.
macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<A: Real, D: Dimension, C: Classifier<A, D> + ?Sized> Classifier<A, D> for $holder {
            type Error = C::Error;

            fn gradient(
                &mut self,
                x: &ArrayRef<A, D>,
                query: &Query<'_>,
                out: &mut ArrayRef<A, D>,
            ) -> Result<(), C::Error> {
                (**self).gradient(x, query, out)
            }
        }
    )*};
}

forward!(&mut C, Box<C>);

/// A model and a classifier as one model whose last output is the classifier's gradient, for
/// [`ClassifierGuidance`](crate::guidance::ClassifierGuidance).
///
/// `outputs` counts those of the model; a query for more calls the classifier for the last one.
///
/// A classifier does not say whether it reads the level of each row. Where both do, say it of the
/// pair: [`PerRow`](super::PerRow) around it.
///
/// ```
/// use diffusion_sampler::{
///     Prediction, Query,
///     denoiser::{Classifier, Guided, WithClassifier},
///     from_fn,
///     guidance::{ClassifierGuidance, GuidanceWeight},
/// };
/// use ndarray::{ArrayRef, Ix2};
/// use std::convert::Infallible;
///
/// /// p(y | x) = 1/(1 + e^−x) in each coordinate.
/// struct Logistic;
/// impl Classifier<f64, Ix2> for Logistic {
///     type Error = Infallible;
///     fn gradient(
///         &mut self,
///         x: &ArrayRef<f64, Ix2>,
///         _: &Query<'_>,
///         out: &mut ArrayRef<f64, Ix2>,
///     ) -> Result<(), Infallible> {
///         out.zip_mut_with(x, |o, &x| *o = 1.0 / (1.0 + x.exp()));
///         Ok(())
///     }
/// }
/// let model = from_fn::<f64, Ix2>(Prediction::Noise, |x, _, out| out.assign(x));
/// let guidance = ClassifierGuidance::new(GuidanceWeight::constant(1.0)?);
/// let guided = Guided::new(WithClassifier::new(model, Logistic), guidance);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WithClassifier<M, C> {
    model: M,
    classifier: C,
    outputs: usize,
}

impl<M, C> WithClassifier<M, C> {
    /// A model with one output, and a classifier.
    pub fn new(model: M, classifier: C) -> Self {
        Self::behind(model, 1, classifier)
    }

    /// A model with `outputs` outputs, and a classifier behind them.
    pub fn behind(model: M, outputs: usize, classifier: C) -> Self {
        Self {
            model,
            classifier,
            outputs,
        }
    }
}

impl<A, D, M, C> Denoiser<A, D> for WithClassifier<M, C>
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D>,
    C: Classifier<A, D, Error = M::Error>,
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
        if query.outputs() <= self.outputs {
            return self.model.denoise(x, query, out);
        }
        let samples = x.shape().first().copied().unwrap_or(0);
        let (mut model, mut gradient) = out.view_mut().split_at(Axis(0), self.outputs * samples);
        let own = match self.outputs {
            1 => query.combined(),
            outputs => query.with_outputs(outputs),
        };
        self.model.denoise(x, &own, &mut model)?;
        self.classifier
            .gradient(x, &query.combined(), &mut gradient)
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.outputs + 1)
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        self.model.guidance()
    }
}
