//! f16 and bf16, converted by integer operations that vectorise on every instruction set.
//!
//! The conversions of the crate `half` ask the processor once a value, which no loop can be
//! vectorised around. These give the same bits (`tests/half` holds them to it), without a branch.

use half::{bf16, f16};

use super::ModelElement;
use crate::kernel::Mixed;
use crate::simd::f16c;

/// 2^112, which the biases of f16 and f32 differ by.
const RESCALE: f32 = f32::from_bits((112 + 127) << 23);

/// Exact. The exponent and mantissa are read as those of a tiny f32, which the product puts where it
/// belongs, subnormal or not; the exponent of infinity and NaN, which lands on 143, is filled up.
#[inline(always)]
fn f16_to_f32(half: u16) -> f32 {
    // Shifted with its sign copied, so that one mask leaves sign, exponent and mantissa.
    let placed = ((i32::from(half as i16) << 13) as u32) & 0x8FFF_E000;
    let scaled = f32::from_bits(placed) * RESCALE;
    let special = placed & 0x0F80_0000 == 0x0F80_0000;
    f32::from_bits(scaled.to_bits() | if special { 0x3800_0000 } else { 0 })
}

/// To nearest, ties to even.
#[inline(always)]
fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, size) = ((bits >> 16) & 0x8000, bits & 0x7FFF_FFFF);
    // From 2^-14 on: the bias is changed, and half a unit is added, less one bit where the last bit
    // that stays is 0. What is rounded up beyond the largest value has the bits of infinity.
    let odd = (size >> 13) & 1;
    let normal = size.wrapping_sub(112 << 23).wrapping_add(0xFFF + odd) >> 13;
    // Below 2^-14: beside 1/2, the last place of f32 is that of the subnormals, so the sum rounds.
    let small = (f32::from_bits(size) + 0.5)
        .to_bits()
        .wrapping_sub(0x3F00_0000);
    // From 2^16 on: infinity, or NaN with what fits of its payload, made quiet.
    let payload = 0x0200 | ((size >> 13) & 0x03FF);
    let large = 0x7C00 | if size > 0x7F80_0000 { payload } else { 0 };
    let rounded = if size < 0x3880_0000 { small } else { normal };
    let rounded = if size < 0x4780_0000 { rounded } else { large };
    (sign | rounded) as u16
}

/// To nearest, ties to even.
#[inline(always)]
fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let odd = (bits >> 16) & 1;
    let (rounded, quiet) = (bits.wrapping_add(0x7FFF + odd), bits | 0x0040_0000);
    (if value.is_nan() { quiet } else { rounded } >> 16) as u16
}

impl ModelElement<f32> for f16 {
    type Slice<'s> = Mixed<'s, f16>;

    #[inline(always)]
    fn widened_chunk<const L: usize>(chunk: &[Self; L]) -> [f32; L] {
        f16c::widened(chunk).unwrap_or_else(|| chunk.map(Self::widened))
    }

    #[inline(always)]
    fn narrowed_chunk<const L: usize>(chunk: &[f32; L]) -> [Self; L] {
        f16c::narrowed(chunk).unwrap_or_else(|| chunk.map(Self::narrowed))
    }

    #[inline(always)]
    fn widened(self) -> f32 {
        f16_to_f32(self.to_bits())
    }

    #[inline(always)]
    fn narrowed(value: f32) -> Self {
        Self::from_bits(f32_to_f16(value))
    }

    #[inline(always)]
    fn slice(elements: &[Self]) -> Self::Slice<'_> {
        Mixed::Half(elements)
    }

    #[inline(always)]
    fn wide(elements: &[f32]) -> Self::Slice<'_> {
        Mixed::Wide(elements)
    }
}

impl ModelElement<f32> for bf16 {
    type Slice<'s> = Mixed<'s, bf16>;

    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrowed(value: f32) -> Self {
        Self::from_bits(f32_to_bf16(value))
    }

    #[inline(always)]
    fn slice(elements: &[Self]) -> Self::Slice<'_> {
        Mixed::Half(elements)
    }

    #[inline(always)]
    fn wide(elements: &[f32]) -> Self::Slice<'_> {
        Mixed::Wide(elements)
    }
}
