//! Torch's generator for tensors on an NVIDIA card.

use super::generator::{Block, Piece, TorchGenerator, sealed::Sealed};
use crate::noise::philox::philox4x32_10;

/// The published formula of torch's CUDA generator: Philox4x32-10 and one normal of each thread.
///
/// The i-th element of the k-th tensor, both counted from 0, is
///
/// ```text
/// (x, y, –, –) = Philox4x32-10(counter = (k, i), key = seed), each half of 64 bits, low word first
/// z = √(−2 ln u) sin v,   u = 2⁻³² x + 2⁻³³,   v = c·y + c/2,   c = 2π·2⁻³² in f32,
/// ```
///
/// in f64, rounded to `f32` at the end. That is `rng_philox.py` of AUTOMATIC1111's
/// stable-diffusion-webui (its random numbers' source "NV"), bit for bit as far as numpy's ln and sin
/// are exact, and with other roundings stable-diffusion.cpp's `rng_philox.hpp`. A tensor is here the
/// beginning of a longer one.
///
/// **Its limits.** It follows torch on a card, `torch.randn(…, device="cuda")`, to the accuracy of
/// the card's own functions (f32, some 1e-6), not to the bit, and only for tensors of no more
/// elements than the card keeps threads at once (221 184 on an A100: 108 multiprocessors of 2048
/// threads). Of a larger tensor, torch takes up to four normals of each thread. `double`, `half`
/// and `bfloat16` tensors are other draws: there is [`TorchNoise`](super::TorchNoise) of `f32` only.
/// A call that draws anything else from torch's generator moves its counter too.
///
/// ```
/// use diffusion_sampler::noise::TorchCuda;
///
/// let mut z = [0.0f32; 4];
/// TorchCuda::new(0).randn(&mut z);
/// assert_eq!(z, [-0.9246624, -0.42534396, -2.6438458, 0.14518388]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorchCuda {
    pub(super) seed: u64,
    pub(super) tensors: u64,
}

impl TorchCuda {
    /// The generator of a seed: `torch.cuda.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { seed, tensors: 0 }
    }

    /// The same after so many tensors.
    #[must_use]
    pub fn after(self, tensors: u64) -> Self {
        Self { tensors, ..self }
    }

    /// The next tensor: `torch.randn(out.len(), device="cuda")`, and in row-major order any shape
    /// of so many elements.
    pub fn randn(&mut self, out: &mut [f32]) {
        let whole = Piece {
            length: out.len() as u64,
            first: 0,
        };
        self.draw(whole, &mut Block::default(), out);
    }

    fn normal(self, element: u64) -> f32 {
        /// 2⁻³².
        const UNIT: f64 = 1.0 / 4_294_967_296.0;
        const TURN: f64 = (2.328_306_4e-10 * 6.283_185_5) as f32 as f64;
        let (key, counter) = (self.seed, self.tensors);
        let [x, y, _, _] = philox4x32_10(
            [counter, counter >> 32, element, element >> 32],
            [key as u32, (key >> 32) as u32],
        );
        let [x, y] = [x, y].map(|word| f64::from(word as u32));
        let radius = (-2.0 * libm::log(x * UNIT + UNIT / 2.0)).sqrt();
        (radius * libm::sin(y * TURN + TURN / 2.0)) as f32
    }
}

impl Sealed for TorchCuda {
    fn words(&self, take: &mut dyn FnMut(u64)) {
        [2, self.seed, self.tensors].into_iter().for_each(take);
    }
}

impl TorchGenerator<f32> for TorchCuda {
    fn draw(&mut self, piece: Piece, _block: &mut Block, out: &mut [f32]) {
        let end = piece.first + out.len() as u64;
        for (element, z) in (piece.first..end).zip(out) {
            *z = self.normal(element);
        }
        if end == piece.length && end > 0 {
            self.tensors = self.tensors.wrapping_add(1);
        }
    }
}
