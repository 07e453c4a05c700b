//! Classifier-free guidance.

use ndarray::{ArrayRef, Axis, Dimension};

use super::GuidanceWeight;
use crate::combination::Combination;
use crate::denoiser::{Denoiser, Query};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::real::Real;

/// (1 + w, −w), or the conditional output alone where w = 0.
fn combination(weight: &GuidanceWeight, level: &NoiseLevel) -> Result<Combination, Error> {
    let w = weight.at(level)?;
    if w == 0.0 {
        Ok(Combination::single())
    } else {
        Combination::new(&[1.0 + w, -w], &[])
    }
}

/// Classifier-free guidance of two models: E = (1 + w) E_c − w E_u, with the paper's w (0 is plain conditional; a library's
/// scale is s = 1 + w, see [`GuidanceWeight`]). Ho and Salimans (2022), "Classifier-Free Diffusion Guidance".
///
/// The weights sum to one, so that the combination is the same on x₀, ε, v and u. It is folded into the sampler's update;
/// where w = 0 the unconditional model is not called. A negative prompt or a weaker model (autoguidance) is the same
/// formula with another second model. A model that computes both in one call is [`BatchedClassifierFree`].
///
/// Called on its own with one output wanted ([`Query::outputs`]) it writes the conditional output; the guided combination
/// exists in a run only.
///
/// Guidance does not sample p(x) p(y|x)^w: see docs/mathematics.md.
///
/// ```
/// use diffusion_sampler::{Prediction, from_fn, guidance::{ClassifierFree, GuidanceWeight}};
/// use ndarray::{ArrayRef, Ix2};
///
/// let conditional = from_fn(Prediction::Data, |_: &ArrayRef<f32, Ix2>, _, out: &mut ArrayRef<f32, Ix2>| out.fill(1.0));
/// let unconditional = from_fn(Prediction::Data, |_: &ArrayRef<f32, Ix2>, _, out: &mut ArrayRef<f32, Ix2>| out.fill(0.0));
/// let guided = ClassifierFree::new(conditional, unconditional, GuidanceWeight::from_scale(3.0)?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassifierFree<C, U> {
    conditional: C,
    unconditional: U,
    weight: GuidanceWeight,
}

impl<C, U> ClassifierFree<C, U> {
    /// Guides `conditional` away from `unconditional`. Both have to make the same prediction, and have one output each; a
    /// run with others is refused ([`Error::PredictionMismatch`], [`Error::TooManyTerms`]).
    pub fn new(conditional: C, unconditional: U, weight: GuidanceWeight) -> Self {
        Self {
            conditional,
            unconditional,
            weight,
        }
    }
}

impl<A, D, C, U> Denoiser<A, D> for ClassifierFree<C, U>
where
    A: Real,
    D: Dimension,
    C: Denoiser<A, D>,
    U: Denoiser<A, D, Error = C::Error>,
{
    type Error = C::Error;

    fn prediction(&self) -> Prediction {
        self.conditional.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), C::Error> {
        let single = query.with_outputs(1);
        let samples = x.shape().first().copied().unwrap_or(0);
        // One output, or a caller's buffer that has no room for two: the conditional one.
        if query.outputs() == 1 || out.shape().first().is_none_or(|&rows| rows < 2 * samples) {
            return self.conditional.denoise(x, &single, out);
        }
        let (mut first, mut second) = out.view_mut().split_at(Axis(0), samples);
        self.conditional.denoise(x, &single, &mut first)?;
        self.unconditional.denoise(x, &single, &mut second)
    }

    fn outputs(&self) -> usize {
        2
    }

    fn combination(&self, level: &NoiseLevel) -> Result<Combination, Error> {
        let (expected, found) = (
            self.conditional.prediction(),
            self.unconditional.prediction(),
        );
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            });
        }
        for outputs in [self.conditional.outputs(), self.unconditional.outputs()] {
            if outputs != 1 {
                return Err(Error::TooManyTerms {
                    found: outputs,
                    max: 1,
                });
            }
        }
        combination(&self.weight, level)
    }
}

/// Classifier-free guidance of one model that writes the conditional output and, when [`Query::outputs`] is 2, the
/// unconditional one behind it: one call with a batch of 2B.
///
/// The inner model is called with `out` of shape \[2B, …\] where w ≠ 0 and \[B, …\] where w = 0; [`ClassifierFree`] gives
/// the formula.
///
/// ```
/// use diffusion_sampler::{Denoiser, Prediction, Query, guidance::{BatchedClassifierFree, GuidanceWeight}};
/// use ndarray::{ArrayRef, Axis, Ix2, Slice};
/// use std::convert::Infallible;
///
/// struct TwoClasses;
/// impl Denoiser<f32, Ix2> for TwoClasses {
///     type Error = Infallible;
///     fn prediction(&self) -> Prediction { Prediction::Data }
///     fn denoise(&mut self, x: &ArrayRef<f32, Ix2>, query: &Query<'_>, out: &mut ArrayRef<f32, Ix2>) -> Result<(), Infallible> {
///         let samples = x.nrows();
///         out.slice_axis_mut(Axis(0), Slice::from(0..samples)).fill(1.0);
///         if query.outputs() == 2 {
///             out.slice_axis_mut(Axis(0), Slice::from(samples..2 * samples)).fill(0.0);
///         }
///         Ok(())
///     }
/// }
/// let guided = BatchedClassifierFree::new(TwoClasses, GuidanceWeight::constant(2.0)?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchedClassifierFree<M> {
    model: M,
    weight: GuidanceWeight,
}

impl<M> BatchedClassifierFree<M> {
    /// Guides `model`, whose outputs are (conditional, unconditional). A model that combines several outputs by weights of
    /// its own is refused when it runs ([`Error::TooManyTerms`]).
    pub fn new(model: M, weight: GuidanceWeight) -> Self {
        Self { model, weight }
    }
}

impl<A, D, M> Denoiser<A, D> for BatchedClassifierFree<M>
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D>,
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
        self.model.denoise(x, query, out)
    }

    fn outputs(&self) -> usize {
        2
    }

    fn combination(&self, level: &NoiseLevel) -> Result<Combination, Error> {
        let inner = self.model.combination(level)?.len();
        if inner != 1 {
            return Err(Error::TooManyTerms {
                found: inner,
                max: 1,
            });
        }
        combination(&self.weight, level)
    }
}
