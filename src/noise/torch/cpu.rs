//! Torch's generator for tensors on the CPU.

use super::generator::{Block, Piece, TorchGenerator, sealed::Sealed};
use super::{Mt19937, TorchElement, double};
use crate::noise::NormalElement;

/// The elements of a block.
const BLOCK: u64 = 16;

/// Torch's CPU generator, `torch.Generator().manual_seed(seed)`: the words of MT19937.
///
/// [`randn`](Self::randn) is `torch.randn` with this generator, and `normal_` with mean 0 and
/// deviation 1; [`TorchNoise`](super::TorchNoise) makes a run's noise of it. Torch makes normals in
/// two ways, which depend on n, the number of the tensor's elements. U(w) is a uniform of 24 bits
/// from a word (`f32`), or of 53 bits from two (`f64`); the logarithm is natural:
///
/// ```text
/// n ≥ 16   in blocks of 16 elements, of the uniforms u₀ … u₁₅ of a block, for j < 8:
///          z_j = √(−2 ln(1 − u_j)) cos(2π u_{j+8}),   z_{j+8} = √(−2 ln(1 − u_j)) sin(2π u_{j+8}).
///          Where 16 does not divide n, n mod 16 more uniforms are drawn and dropped, and the last
///          16 elements come from 16 new ones.
/// n < 16   one by one, in f64 for both types: z = √(−2 ln(1 − u₁)) cos(2π u₀), and then the sine,
///          which the generator keeps for the next element of a tensor of this kind, however many
///          others are drawn between.
/// ```
///
/// So a tensor is not the beginning of a longer one, and four tensors of 4 elements are not one of
/// 16. Two `randn` calls on one generator are two tensors.
///
/// **Which bits.** An `f32` has those of torch on x86-64 with AVX2 or more, where logarithm, sine
/// and cosine are Cephes' polynomials with fused multiply-adds (here on every machine). Torch
/// without AVX2, or on another processor, calls the C library: its numbers differ from these by
/// 2.3e-6 at most (four million elements). An `f64` comes from the C library's functions there and
/// here: its bits are those of torch on the same platform; with another C library one or two
/// elements of a thousand differ by one or two last places. All this was compared with torch 2.15.
///
/// Seeds count modulo 2³², as in torch. Torch's `float16` and `bfloat16` tensors are not
/// reproduced. In torch 2.15 one of n elements is the `f32` tensor rounded where 16 divides n; else
/// its last 16 elements are others, as no uniforms are dropped.
///
/// ```
/// use diffusion_sampler::noise::TorchCpu;
///
/// // torch.randn(3, generator=torch.Generator().manual_seed(0))
/// let mut generator = TorchCpu::new(0);
/// let mut z = [0.0f32; 3];
/// generator.randn(&mut z);
/// assert_eq!(z, [1.5409961, -0.2934289, -2.1787894]);
/// ```
#[doc(alias("manual_seed", "Generator"))]
#[derive(Clone, Debug, PartialEq)]
pub struct TorchCpu {
    pub(super) words: Mt19937,
    /// The sine that the next element of a short tensor is.
    pub(super) kept: Option<f64>,
}

impl TorchCpu {
    /// The generator of a seed: `manual_seed(seed)`. Of a negative seed of torch's, take the two's
    /// complement, `seed as u64`.
    pub fn new(seed: u64) -> Self {
        Self {
            words: Mt19937::new(seed as u32),
            kept: None,
        }
    }

    /// The next tensor: `torch.randn(out.len())`, and in row-major order any shape of so many
    /// elements.
    pub fn randn<A: NormalElement>(&mut self, out: &mut [A]) {
        let whole = Piece {
            length: out.len() as u64,
            first: 0,
        };
        self.draw(whole, &mut Block::default(), out);
    }

    /// The next element of a short tensor.
    fn one(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let [angle, radius] = [f64::uniform(&mut self.words), f64::uniform(&mut self.words)];
        let [now, next] = double::pair(angle, radius);
        self.kept = Some(next);
        now
    }

    /// The next 16 elements of a long one.
    fn block<A: NormalElement>(&mut self) -> Block {
        A::torch_normals(std::array::from_fn(|_| A::uniform(&mut self.words))).map(A::wide)
    }
}

impl Sealed for TorchCpu {
    fn words(&self, take: &mut dyn FnMut(u64)) {
        take(1);
        self.words
            .words
            .iter()
            .for_each(|word| take(u64::from(*word)));
        take(self.words.used as u64);
        take(u64::from(self.kept.is_some()));
        take(self.kept.unwrap_or(0.0).to_bits());
    }
}

impl<A: NormalElement> TorchGenerator<A> for TorchCpu {
    fn draw(&mut self, piece: Piece, block: &mut Block, mut out: &mut [A]) {
        let Piece { length, first } = piece;
        if length < BLOCK {
            out.fill_with(|| A::narrow(self.one()));
            return;
        }
        // The elements from `redrawn` on are made anew.
        let dropped = length % BLOCK;
        let redrawn = if dropped == 0 { length } else { length - BLOCK };
        let mut at = first;
        while !out.is_empty() {
            let (place, room) = match at.checked_sub(redrawn) {
                Some(place) => (place, BLOCK - place),
                None => (at % BLOCK, (BLOCK - at % BLOCK).min(redrawn - at)),
            };
            if at == redrawn {
                for _ in 0..dropped {
                    A::uniform(&mut self.words);
                }
            }
            if place == 0 {
                *block = self.block::<A>();
            }
            let count = out.len().min(room as usize);
            let (filled, rest) = out.split_at_mut(count);
            for (z, made) in filled.iter_mut().zip(block.iter().skip(place as usize)) {
                *z = A::narrow(*made);
            }
            at += count as u64;
            out = rest;
        }
    }
}
