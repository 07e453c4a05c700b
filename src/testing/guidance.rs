//! Checks of guidance.

use std::fmt;

use super::Failure;
use super::probe::{ELEMENTS, near, normals, require_some, written};
use crate::error::require_positive;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::real::Real;

/// A law that a form of guidance of two outputs may keep; w is the weight, s = 1 + w the scale of
/// most libraries.
///
/// | form | zero weight | equal outputs | scaling | conversion | formula |
/// |---|---|---|---|---|---|
/// | classifier-free | yes | yes | yes | yes | yes |
/// | rescaled | yes | yes | yes | – | – |
/// | projected, without radius | yes | yes | on x₀ | – | – |
/// | tangential | yes | yes | yes | – | – |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GuidanceLaw {
    /// w = 0 gives the conditional output.
    ZeroWeight,
    /// Where both outputs are equal they stay as they are, whatever w is.
    EqualOutputs,
    /// Outputs times a number give the result times that number.
    Scaling,
    /// Guiding ε and converting the result to x₀, v or u is the same as guiding those: weights that
    /// sum to one.
    Conversion,
    /// Classifier-free guidance: (1 + w) o_c − w o_u. Tells w from s.
    ClassifierFree,
}

impl GuidanceLaw {
    /// All of them: those of classifier-free guidance.
    pub const ALL: [Self; 5] = [
        Self::ZeroWeight,
        Self::EqualOutputs,
        Self::Scaling,
        Self::Conversion,
        Self::ClassifierFree,
    ];
}

/// The law in words.
impl fmt::Display for GuidanceLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ZeroWeight => "w = 0 is conditional",
            Self::EqualOutputs => "equal outputs stay",
            Self::Scaling => "scales with the outputs",
            Self::Conversion => "the same on every prediction",
            Self::ClassifierFree => "(1 + w) conditional - w unconditional",
        })
    }
}

/// The weights at which laws are tried.
const WEIGHTS: [f64; 6] = [0.0, 0.5, 6.5, -0.3, -1.0, 1000.0];

/// Checks a form of guidance of two outputs against some laws.
///
/// `guide(w, conditional, unconditional, out)` writes the guided output; w = s − 1, where s is the
/// scale of most libraries. The arrays are one sample. `tolerance` is relative to the terms, (1 +
/// |w|) times the outputs: 1e-12 for f64, 1e-5 for f32.
///
/// ```
/// use diffusion_sampler::testing::{Failure, GuidanceLaw, check_guidance};
///
/// let cfg = |s: f64, c: &[f64], u: &[f64], out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = u[i] + s * (c[i] - u[i]);
///     }
/// };
/// check_guidance(&GuidanceLaw::ALL, 1e-12, |w, c, u, out| cfg(1.0 + w, c, u, out))?;
/// // The paper's weight taken for the library's scale.
/// let failure = check_guidance(&GuidanceLaw::ALL, 1e-12, cfg);
/// assert!(matches!(failure, Err(Failure::Guidance { law: GuidanceLaw::ZeroWeight, .. })));
/// # Ok::<(), Failure>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::NotWritten`], [`Failure::Guidance`]; [`Failure::Length`] without
/// laws.
pub fn check_guidance<A: Real>(
    laws: &[GuidanceLaw],
    tolerance: f64,
    mut guide: impl FnMut(f64, &[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    require_some("laws", laws.len())?;
    let mut form = Form {
        tolerance,
        conditional: normals(0, ELEMENTS),
        unconditional: normals(1, ELEMENTS),
        guide: &mut guide,
    };
    for &law in laws {
        match law {
            GuidanceLaw::ZeroWeight => {
                let conditional = widened(&form.conditional);
                form.require(law, 0.0, &conditional, 1.0)?;
            }
            GuidanceLaw::EqualOutputs => form.keeps_equal_outputs()?,
            GuidanceLaw::Scaling => form.scales()?,
            GuidanceLaw::Conversion => form.commutes()?,
            GuidanceLaw::ClassifierFree => form.is_classifier_free()?,
        }
    }
    Ok(())
}

type Guide<'a, A> = &'a mut dyn FnMut(f64, &[A], &[A], &mut [A]);

/// A form of guidance with two outputs to try it on.
struct Form<'a, A> {
    tolerance: f64,
    conditional: Vec<A>,
    unconditional: Vec<A>,
    guide: Guide<'a, A>,
}

fn widened<A: Real>(values: &[A]) -> Vec<f64> {
    values.iter().map(|value| value.widen()).collect()
}

impl<A: Real> Form<'_, A> {
    fn guided(&mut self, weight: f64, c: &[A], u: &[A]) -> Result<Vec<f64>, Failure> {
        let out = written(c.len(), |out| (self.guide)(weight, c, u, out))?;
        Ok(widened(&out))
    }

    /// The guided output of the two outputs is `expected`, to rounding of (1 + |w|) × `size`.
    fn require(
        &mut self,
        law: GuidanceLaw,
        weight: f64,
        expected: &[f64],
        size: f64,
    ) -> Result<(), Failure> {
        let (c, u) = (self.conditional.clone(), self.unconditional.clone());
        let found = self.guided(weight, &c, &u)?;
        self.same(law, weight, (&found, expected), size)
    }

    fn same(
        &self,
        law: GuidanceLaw,
        weight: f64,
        (found, expected): (&[f64], &[f64]),
        size: f64,
    ) -> Result<(), Failure> {
        // Normals of 19 elements lie below 4.
        let tolerance = self.tolerance * (1.0 + weight.abs()) * 4.0 * size;
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            if !near(found, expected, tolerance) {
                return Err(Failure::Guidance {
                    law,
                    weight,
                    index,
                    found,
                    expected,
                    tolerance,
                });
            }
        }
        Ok(())
    }

    fn keeps_equal_outputs(&mut self) -> Result<(), Failure> {
        let both = self.conditional.clone();
        for weight in WEIGHTS {
            let found = self.guided(weight, &both, &both)?;
            let expected = widened(&both);
            self.same(GuidanceLaw::EqualOutputs, weight, (&found, &expected), 1.0)?;
        }
        Ok(())
    }

    fn scales(&mut self) -> Result<(), Failure> {
        const FACTOR: f64 = 3.0;
        let times =
            |values: &[A]| -> Vec<A> { values.iter().map(|&v| v * A::cast(FACTOR)).collect() };
        let (c, u) = (self.conditional.clone(), self.unconditional.clone());
        for weight in WEIGHTS {
            let plain = self.guided(weight, &c, &u)?;
            let found = self.guided(weight, &times(&c), &times(&u))?;
            let expected: Vec<f64> = plain.iter().map(|value| FACTOR * value).collect();
            self.same(GuidanceLaw::Scaling, weight, (&found, &expected), FACTOR)?;
        }
        Ok(())
    }

    fn commutes(&mut self) -> Result<(), Failure> {
        let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
        let x = widened(&normals::<A>(2, ELEMENTS));
        let (c, u) = (self.conditional.clone(), self.unconditional.clone());
        for space in [Prediction::Data, Prediction::Velocity, Prediction::Flow] {
            let linear = Prediction::Noise.convert_to(space, &level)?;
            let size = linear.x.abs() + linear.output.abs() + 1.0;
            let converted = |outputs: &[f64]| -> Vec<f64> {
                let pairs = x.iter().zip(outputs);
                pairs.map(|(&x, &output)| linear.of(x, output)).collect()
            };
            let cast = |values: Vec<f64>| -> Vec<A> { values.into_iter().map(A::cast).collect() };
            for weight in WEIGHTS {
                let expected = converted(&self.guided(weight, &c, &u)?);
                let (c, u) = (cast(converted(&widened(&c))), cast(converted(&widened(&u))));
                let found = self.guided(weight, &c, &u)?;
                self.same(GuidanceLaw::Conversion, weight, (&found, &expected), size)?;
            }
        }
        Ok(())
    }

    fn is_classifier_free(&mut self) -> Result<(), Failure> {
        for weight in WEIGHTS {
            let pairs = self.conditional.iter().zip(&self.unconditional);
            let expected: Vec<f64> = pairs
                .map(|(c, u)| (1.0 + weight) * c.widen() - weight * u.widen())
                .collect();
            self.require(GuidanceLaw::ClassifierFree, weight, &expected, 1.0)?;
        }
        Ok(())
    }
}
