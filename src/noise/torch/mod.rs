//! The same noise as torch, for compatibility.

mod cpu;
mod cuda;
mod double;
mod fused;
mod generator;
mod mt19937;
mod single;
mod source;
#[cfg(feature = "serde")]
mod stored;

pub use cpu::TorchCpu;
pub use cuda::TorchCuda;
pub use generator::TorchGenerator;
use mt19937::Mt19937;
pub use source::TorchNoise;

/// What torch's way to an element type differs in.
pub trait TorchElement: Sized {
    /// The next uniform in [0, 1).
    #[doc(hidden)]
    fn uniform(words: &mut Mt19937) -> Self;

    /// Sixteen uniforms become sixteen normals.
    #[doc(hidden)]
    fn torch_normals(uniforms: [Self; 16]) -> [Self; 16];
}

impl TorchElement for f32 {
    #[inline]
    fn uniform(words: &mut Mt19937) -> Self {
        const BITS: u32 = f32::MANTISSA_DIGITS;
        (words.word() % (1 << BITS)) as Self / (1u32 << BITS) as Self
    }

    fn torch_normals(uniforms: [Self; 16]) -> [Self; 16] {
        single::normals(uniforms)
    }
}

impl TorchElement for f64 {
    #[inline]
    fn uniform(words: &mut Mt19937) -> Self {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (words.double_word() % (1 << BITS)) as Self / (1u64 << BITS) as Self
    }

    fn torch_normals(uniforms: [Self; 16]) -> [Self; 16] {
        double::normals(uniforms)
    }
}
