//! The element types: `f32` and `f64`.

use num_traits::{Float, NumAssign};

use crate::noise::NormalElement;

/// An element type of the arrays: `f32` or `f64`.
///
/// Coefficients are computed in `f64` and cast once, when they are finished; arrays hold `Real` elements. The trait is
/// sealed: the kernels and the noise are written, tested and measured for these two types.
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
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
