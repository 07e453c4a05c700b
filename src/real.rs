//! The element types: `f32` and `f64`.

use num_traits::{Float, NumAssign};

use crate::kernel::{self, Gram, Operands};
use crate::noise::NormalElement;

/// An element type of the arrays: `f32` or `f64`.
///
/// Coefficients are computed in `f64` and cast once, when they are finished; arrays hold `Real`
/// elements. The trait is sealed: the kernels and the noise are written, tested and measured for
/// these two types.
///
/// ```
/// use diffusion_sampler::Real;
///
/// fn half<A: Real>(x: A) -> A {
///     x * A::cast(0.5)
/// }
/// assert_eq!(half(3.0f32), 1.5);
/// ```
pub trait Real:
    Float
    + NumAssign
    + NormalElement
    + Default
    + std::fmt::Debug
    + std::fmt::Display
    + Send
    + Sync
    + sealed::Sealed
    + 'static
{
    /// Rounds an `f64` to this type, to nearest.
    fn cast(value: f64) -> Self;

    /// This value as an `f64`, exactly.
    fn widen(self) -> f64;

    /// A NaN that arithmetic does not make: what an output holds until the model writes it.
    #[doc(hidden)]
    fn unwritten() -> Self;

    /// Whether this is [`unwritten`](Self::unwritten), bit for bit.
    #[doc(hidden)]
    fn is_unwritten(self) -> bool;

    /// The buffer of this type.
    #[doc(hidden)]
    fn scratch(scratch: &mut Scratch) -> &mut Vec<Self>;

    /// The loops of the update for this type. Not generic, so that they are compiled with this
    /// crate, once, and not again in each crate that samples.
    #[doc(hidden)]
    fn update(operands: Operands<'_, Self, &[Self]>) -> bool;

    /// The loops of the inner products, likewise.
    #[doc(hidden)]
    fn gram(samples: usize, arrays: &[&[Self]], out: &mut [Gram]);
}

/// A buffer of each element type, for models that learn their type at the call.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    singles: Vec<f32>,
    doubles: Vec<f64>,
}

impl Real for f32 {
    #[inline(always)]
    fn cast(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn unwritten() -> Self {
        Self::from_bits(0x7FC0_D1FF)
    }

    #[inline(always)]
    fn is_unwritten(self) -> bool {
        self.to_bits() == 0x7FC0_D1FF
    }

    fn scratch(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.singles
    }

    fn update(operands: Operands<'_, Self, &[Self]>) -> bool {
        kernel::update_loops(operands)
    }

    fn gram(samples: usize, arrays: &[&[Self]], out: &mut [Gram]) {
        kernel::gram_loops(samples, arrays, out);
    }
}

impl Real for f64 {
    #[inline(always)]
    fn cast(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }

    #[inline(always)]
    fn unwritten() -> Self {
        Self::from_bits(0x7FF8_0000_D1FF_D1FF)
    }

    #[inline(always)]
    fn is_unwritten(self) -> bool {
        self.to_bits() == 0x7FF8_0000_D1FF_D1FF
    }

    fn scratch(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.doubles
    }

    fn update(operands: Operands<'_, Self, &[Self]>) -> bool {
        kernel::update_loops(operands)
    }

    fn gram(samples: usize, arrays: &[&[Self]], out: &mut [Gram]) {
        kernel::gram_loops(samples, arrays, out);
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
