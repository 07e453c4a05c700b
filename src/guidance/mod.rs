//! Guidance: scalars by which several outputs of a model combine, folded into the update.
//!
//! | form | type | outputs, in this order |
//! |---|---|---|
//! | classifier-free (CFG), autoguidance, negative prompt | [`ClassifierFree`] | conditional, unconditional (weaker, negative) |
//! | in a limited interval, a schedule of scales | [`GuidanceWeight`], [`OnInterval`] | |
//! | classifier | [`ClassifierGuidance`] | those of the inner form, gradient |
//! | rescaled | [`Rescaled`] | those of the inner form |
//! | adaptive projected (APG) | [`Projected`] | conditional, unconditional |
//! | CFG-Zero* | [`ZeroStar`] | conditional, unconditional |
//! | CFG++ | [`PlusPlus`] | conditional, unconditional |
//! | tangential (TCFG) | [`Tangential`] | conditional, unconditional |
//! | perpendicular negative | [`PerpendicularNegative`] | conditional, unconditional, negative |
//! | several conditions | [`Composed`] | conditions, unconditional |
//! | skip-layer, perturbed-attention, spatio-temporal | [`Perturbed`] | conditional, unconditional, perturbed |
//! | any fixed weights | [`WeightedSum`] | as the weights |
//!
//! A form is scalars only: it says how many outputs are worth computing, and after the call how
//! they combine for each sample. [`Guided`](crate::denoiser::Guided) joins one to a model.
//! Thresholding acts on the estimate of x₀ and is an option of the sampler ([`Clip`](crate::Clip)).

mod classifier;
mod classifier_free;
mod combination;
mod composed;
mod evaluation;
mod interval;
mod perpendicular;
mod plus_plus;
mod products;
mod projected;
mod rescaled;
#[cfg(feature = "serde")]
mod stored;
mod tangential;
mod weight;
mod zero_star;

pub use classifier::ClassifierGuidance;
pub use classifier_free::ClassifierFree;
pub use combination::{Combination, MAX_OUTPUTS};
pub use composed::{Composed, Perturbed, WeightedSum};
pub use evaluation::Evaluation;
pub use interval::OnInterval;
pub use perpendicular::PerpendicularNegative;
pub use plus_plus::PlusPlus;
pub use products::Products;
pub use projected::Projected;
pub use rescaled::Rescaled;
pub use tangential::Tangential;
pub use weight::GuidanceWeight;
pub use zero_star::ZeroStar;

pub(crate) use combination::output_count;

use std::fmt::Debug;

use crate::error::Error;

/// A form of guidance: which outputs are worth computing, and how they combine.
///
/// The run asks [`wanted`](Self::wanted) before the model is called, and [`combine`](Self::combine)
/// after it, once for the batch, or once for each sample where levels differ or
/// [`needs_products`](Self::needs_products). Sums and inner products are taken in one pass, only
/// where they are needed. Nothing else is materialised.
///
/// ```
/// use diffusion_sampler::{Error, guidance::{Combination, Evaluation, Guidance, Products}};
///
/// /// Guidance by the sign of a perturbed model: 1.3 of the first output, −0.3 of the second.
/// #[derive(Debug)]
/// struct Fixed;
///
/// impl Guidance for Fixed {
///     fn name(&self) -> &'static str {
///         "fixed"
///     }
///     fn outputs(&self) -> usize {
///         2
///     }
///     fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
///         Combination::affine(&[1.3, -0.3])
///     }
/// }
/// ```
pub trait Guidance: Debug + Send + Sync {
    /// The form's name, as errors show it. "no guidance" is [`Unguided`]'s alone.
    fn name(&self) -> &'static str;

    /// The largest number of outputs that it ever wants, at most [`MAX_OUTPUTS`].
    fn outputs(&self) -> usize;

    /// How many outputs are worth computing at an evaluation: the first ones.
    ///
    /// # Errors
    ///
    /// What the form refuses: a weight that is not finite, forms that do not nest.
    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        let _ = at;
        Ok(self.outputs())
    }

    /// Whether [`combine`](Self::combine) needs sums and inner products at an evaluation.
    fn needs_products(&self, at: &Evaluation) -> bool {
        // Equivalent mutant: replace body with false: the body is that.
        let _ = at;
        false
    }

    /// How the run's memory changes before the outputs are combined, for forms that have one: an
    /// array of the state's shape, 0 at the start, which is cloned and stored with the run.
    fn memory(&self, at: &Evaluation) -> Option<Memory> {
        // Equivalent mutant: replace body with None: the body is that.
        let _ = at;
        None
    }

    /// Whether the form keeps a memory, so that it works in a run only.
    fn is_stateful(&self) -> bool {
        false
    }

    /// How the wanted outputs combine for one sample. `products` is there where
    /// [`needs_products`](Self::needs_products) says so.
    ///
    /// # Errors
    ///
    /// As [`wanted`](Self::wanted).
    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error>;
}

/// m ← decay·m + D_first − D_second: how a guidance memory changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// The factor on the old memory.
    pub decay: f64,
}

/// No guidance: the model's one output as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unguided;

impl Guidance for Unguided {
    fn name(&self) -> &'static str {
        "no guidance"
    }

    fn outputs(&self) -> usize {
        1
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Ok(Combination::single())
    }
}

/// Whether it is [`Unguided`]. A form with one output may still weigh it.
pub(crate) fn is_unguided(guidance: &dyn Guidance) -> bool {
    guidance.name() == Unguided.name()
}

/// Pointers to a form are forms.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<G: Guidance + ?Sized> Guidance for $pointer {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn outputs(&self) -> usize {
                (**self).outputs()
            }

            fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
                (**self).wanted(at)
            }

            fn needs_products(&self, at: &Evaluation) -> bool {
                (**self).needs_products(at)
            }

            fn memory(&self, at: &Evaluation) -> Option<Memory> {
                (**self).memory(at)
            }

            fn is_stateful(&self) -> bool {
                (**self).is_stateful()
            }

            fn combine(
                &self,
                at: &Evaluation,
                products: Option<&Products>,
            ) -> Result<Combination, Error> {
                (**self).combine(at, products)
            }
        }
    )*};
}

forward!(&G, Box<G>, std::sync::Arc<G>);

/// The products that a form needs; the run always gives them.
fn required(name: &'static str, products: Option<&Products>) -> Result<Products, Error> {
    products
        .copied()
        .ok_or(Error::ProductsMissing { guidance: name })
}
