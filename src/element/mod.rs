//! What a model's arrays may hold beside the state's own type.

#[cfg(feature = "half")]
mod halves;

use ndarray::{ArrayRef, Dimension};

use crate::kernel::Input;
use crate::real::Real;

/// What the arrays of a model may hold, where the state of the run holds `A`: `A` itself, and with
/// the feature `half` also `half::f16` and `half::bf16` for a state of `f32`.
///
/// [`Trajectory::tell`](crate::Trajectory::tell) and its relatives take outputs of such elements.
/// The update reads them where they lie, each widened in a register as it is used, so that a half
/// output costs no pass, no buffer and two bytes of memory traffic instead of four. The state, the
/// history and all arithmetic stay in `A`: the result has the bits of the same outputs widened to
/// an array first.
///
/// Arrays as a whole are converted by [`kernel::narrow`](crate::kernel::narrow) (the model's input)
/// and [`kernel::widen`](crate::kernel::widen).
///
/// The trait is sealed: the loops are written, tested and measured for these types.
///
/// ```
/// use diffusion_sampler::ModelElement;
///
/// // Every type is its own model's.
/// assert_eq!(ModelElement::<f32>::widened(1.5f32), 1.5);
/// ```
pub trait ModelElement<A: Real>:
    Copy + Default + std::fmt::Debug + Send + Sync + sealed::Sealed<A> + 'static
{
    /// What the kernel reads: slices of the model's outputs, and behind them slices of `A`.
    #[doc(hidden)]
    type Slice<'s>: Input<A>;

    /// This value in the state's type, exactly. NaN stays NaN.
    fn widened(self) -> A;

    /// The nearest value of this type, ties to even; beyond the largest one, infinity. NaN stays
    /// NaN.
    fn narrowed(value: A) -> Self;

    /// Many values widened.
    #[doc(hidden)]
    #[inline(always)]
    fn widened_chunk<const L: usize>(chunk: &[Self; L]) -> [A; L] {
        chunk.map(Self::widened)
    }

    /// Many values narrowed.
    #[doc(hidden)]
    #[inline(always)]
    fn narrowed_chunk<const L: usize>(chunk: &[A; L]) -> [Self; L] {
        chunk.map(Self::narrowed)
    }

    /// A model's output for the kernel.
    #[doc(hidden)]
    fn slice(elements: &[Self]) -> Self::Slice<'_>;

    /// A slice of the run's own for the kernel.
    #[doc(hidden)]
    fn wide(elements: &[A]) -> Self::Slice<'_>;

    /// The same arrays where the type is the state's.
    #[doc(hidden)]
    #[inline(always)]
    fn same<'o, D: Dimension>(_: &'o [&'o ArrayRef<Self, D>]) -> Option<&'o [&'o ArrayRef<A, D>]> {
        None
    }
}

impl<A: Real> ModelElement<A> for A {
    type Slice<'s> = &'s [A];

    #[inline(always)]
    fn widened(self) -> A {
        self
    }

    #[inline(always)]
    fn narrowed(value: A) -> Self {
        value
    }

    #[inline(always)]
    fn slice(elements: &[Self]) -> &[A] {
        elements
    }

    #[inline(always)]
    fn wide(elements: &[A]) -> &[A] {
        elements
    }

    #[inline(always)]
    fn same<'o, D: Dimension>(
        outputs: &'o [&'o ArrayRef<Self, D>],
    ) -> Option<&'o [&'o ArrayRef<A, D>]> {
        Some(outputs)
    }
}

/// A second element type for every `A`, which nobody can name.
///
/// It keeps the feature `half` additive. Were `A` the only type for an `A` where the feature is off,
/// `run.tell(&Array2::zeros(shape))` would find its element type without the feature and be
/// ambiguous with it; so it has to be named in either case.
#[derive(Clone, Copy, Debug, Default)]
#[expect(dead_code, reason = "there for its implementation")]
pub(crate) struct Unnamed(());

#[doc(hidden)]
impl<A: Real> ModelElement<A> for Unnamed {
    type Slice<'s> = &'s [A];

    fn widened(self) -> A {
        A::nan()
    }

    fn narrowed(_: A) -> Self {
        Self(())
    }

    fn slice(_: &[Self]) -> &[A] {
        &[]
    }

    fn wide(elements: &[A]) -> &[A] {
        elements
    }
}

mod sealed {
    use crate::real::Real;

    pub trait Sealed<A> {}
    impl<A: Real> Sealed<A> for A {}
    impl<A: Real> Sealed<A> for super::Unnamed {}
    #[cfg(feature = "half")]
    impl Sealed<f32> for half::f16 {}
    #[cfg(feature = "half")]
    impl Sealed<f32> for half::bf16 {}
}
