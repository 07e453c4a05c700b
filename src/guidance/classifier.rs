//! Classifier guidance.

use ndarray::{ArrayRef, Axis, Dimension};

use super::GuidanceWeight;
use crate::combination::Combination;
use crate::denoiser::{Denoiser, Query};
use crate::error::Error;
use crate::level::NoiseLevel;
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

impl<A: Real, D: Dimension, C: Classifier<A, D> + ?Sized> Classifier<A, D> for &mut C {
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

/// Classifier guidance: E ← E − w σ ∇ₓ log p(y | x), which is D ← D + w (σ²/α) ∇ₓ log p(y | x). Dhariwal and Nichol (2021),
/// "Diffusion Models Beat GANs on Image Synthesis", Algorithm 2.
///
/// w = 0 is unguided. With the exact classifier of an unconditional model, weight 1 + w here equals classifier-free
/// guidance with w: the two weights differ by one ([`GuidanceWeight`]). Where w = 0 the classifier is not called. At α = 0
/// the guided D is undefined, and a run that is guided there stops with [`Error::PredictionUndefined`].
///
/// ```
/// use diffusion_sampler::{Prediction, Query, from_fn, guidance::{Classifier, ClassifierGuided, GuidanceWeight}};
/// use ndarray::{ArrayRef, Ix2};
/// use std::convert::Infallible;
///
/// /// p(y | x) = 1/(1 + e^−x) in each coordinate.
/// struct Logistic;
/// impl Classifier<f64, Ix2> for Logistic {
///     type Error = Infallible;
///     fn gradient(&mut self, x: &ArrayRef<f64, Ix2>, _: &Query<'_>, out: &mut ArrayRef<f64, Ix2>) -> Result<(), Infallible> {
///         out.zip_mut_with(x, |o, &x| *o = 1.0 / (1.0 + x.exp()));
///         Ok(())
///     }
/// }
/// let model = from_fn(Prediction::Noise, |x: &ArrayRef<f64, Ix2>, _, out: &mut ArrayRef<f64, Ix2>| out.assign(x));
/// let guided = ClassifierGuided::new(model, Logistic, GuidanceWeight::constant(1.0)?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassifierGuided<M, C> {
    model: M,
    classifier: C,
    weight: GuidanceWeight,
}

impl<M, C> ClassifierGuided<M, C> {
    /// Guides `model`, which may itself have several outputs, by `classifier`.
    pub fn new(model: M, classifier: C, weight: GuidanceWeight) -> Self {
        Self {
            model,
            classifier,
            weight,
        }
    }
}

impl<A, D, M, C> Denoiser<A, D> for ClassifierGuided<M, C>
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
        // `combination` has refused a weight that is not finite before the run came here.
        let guided = self.weight.at(&query.level()).is_ok_and(|w| w != 0.0);
        let samples = x.shape().first().copied().unwrap_or(0);
        let own = query.outputs().saturating_sub(1);
        let rows = samples.saturating_mul(query.outputs());
        // No gradient wanted, or a caller's buffer that has no room for it: the model alone.
        if !guided || own == 0 || out.shape().first().is_none_or(|&found| found < rows) {
            return self.model.denoise(x, query, out);
        }
        let (mut model, mut gradient) = out.view_mut().split_at(Axis(0), own * samples);
        self.model
            .denoise(x, &query.with_outputs(own), &mut model)?;
        self.classifier
            .gradient(x, &query.with_outputs(1), &mut gradient)
    }

    fn outputs(&self) -> usize {
        self.model.outputs() + 1
    }

    fn combination(&self, level: &NoiseLevel) -> Result<Combination, Error> {
        let inner = self.model.combination(level)?;
        match self.weight.at(level)? {
            0.0 => Ok(inner),
            weight => inner.with_gradient(weight),
        }
    }
}
