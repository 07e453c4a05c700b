//! What makes torch's tensors.

/// The 16 elements that were made last; each is an `A`, widened.
pub(super) type Block = [f64; 16];

/// Which elements of the tensor that is being drawn: those from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The elements of the whole tensor.
    pub length: u64,
    /// The first of the piece. Pieces come in ascending order without gaps.
    pub first: u64,
}

/// A generator of torch's that [`TorchNoise`](super::TorchNoise) can draw tensors of `A` from:
/// [`TorchCpu`](super::TorchCpu) of `f32` and `f64`, [`TorchCuda`](super::TorchCuda) of `f32`.
///
/// The trait is sealed.
pub trait TorchGenerator<A>: sealed::Sealed {
    /// Writes a piece of the tensor that is being drawn to `out`. `block` is the same for all
    /// pieces of a tensor.
    #[doc(hidden)]
    fn draw(&mut self, piece: Piece, block: &mut Block, out: &mut [A]);
}

pub(super) mod sealed {
    pub trait Sealed {
        /// The kind of generator and its state, word by word.
        #[doc(hidden)]
        fn words(&self, take: &mut dyn FnMut(u64));
    }
}
