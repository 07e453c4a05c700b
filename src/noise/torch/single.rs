//! Blocks of 16 normals in f32.
//!
//! Logarithm, sine and cosine are those of Cephes (Moshier, 1984 to 1992: `logf`, `sinf`, `cosf`)
//! with every product that meets a sum fused into it, where the compiler of torch's builds for
//! x86-64 fuses it. The coefficients are Cephes'.

use super::fused::fused;
use crate::simd::{Task, dispatch_wide};

/// Box–Muller: 8 radii and 8 angles, in place, become 8 cosines and 8 sines.
pub(super) fn normals(uniforms: [f32; 16]) -> [f32; 16] {
    dispatch_wide(Block(uniforms))
}

struct Block([f32; 16]);

impl Task for Block {
    type Output = [f32; 16];

    #[inline(always)]
    fn run(self) -> [f32; 16] {
        let mut block = self.0;
        let (cosines, sines) = block.split_at_mut(8);
        for (first, second) in cosines.iter_mut().zip(sines) {
            let radius = (-2.0 * ln(1.0 - *first)).sqrt();
            let (sin, cos) = sin_cos(std::f32::consts::TAU * *second);
            // Mean 0 is added: no normal is −0.
            *first = radius * cos + 0.0;
            *second = radius * sin + 0.0;
        }
        block
    }
}

/// ln u for a normal u in (0, 1].
#[inline(always)]
fn ln(u: f32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    const P: [f32; 9] = [
        0.070_376_836,
        -0.115_146_1,
        0.116_769_984,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_57,
        0.200_007_14,
        -0.249_999_94,
        0.333_333_3,
    ];
    // ln 2 in two parts, of which the first has 9 bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bits = u.to_bits();
    let half = f32::from_bits((bits & MANTISSA) | 0.5f32.to_bits());
    let low = half < std::f32::consts::FRAC_1_SQRT_2;
    let exponent = ((bits >> 23) as i32 - 126 - i32::from(low)) as f32;
    let x = (if low { half + half } else { half }) - 1.0;
    let z = x * x;
    let [first, rest @ ..] = P;
    let y = rest.into_iter().fold(first, |y, p| fused(y, x, p)) * x;
    let y = fused(y, z, exponent * LN_2[1]);
    let y = fused(-0.5, z, y);
    fused(exponent, LN_2[0], x + y)
}

/// sin θ and cos θ for θ in [0, 2π].
#[inline(always)]
fn sin_cos(theta: f32) -> (f32, f32) {
    /// π/4 in three parts.
    const EIGHTH: [f32; 3] = [-0.785_156_25, -2.418_756_5e-4, -3.774_895e-8];
    const SIN: [f32; 3] = [-1.951_529_6e-4, 0.008_332_161, -0.166_666_55];
    const COS: [f32; 3] = [2.443_315_7e-5, -0.001_388_731_6, 0.041_666_646];
    // The nearest even number of eighths of a turn.
    let eighths = ((theta * (4.0 / std::f32::consts::PI)) as i32 + 1) & !1;
    let count = eighths as f32;
    let x = fused(count, EIGHTH[0], theta);
    let x = fused(count, EIGHTH[1], x);
    let x = fused(count, EIGHTH[2], x);
    let z = x * x;
    let cos = fused(fused(COS[0], z, COS[1]), z, COS[2]) * z;
    let cos = fused(cos, z, -0.5 * z) + 1.0;
    let sin = fused(fused(SIN[0], z, SIN[1]), z, SIN[2]) * z;
    let sin = fused(sin, x, x);
    let swapped = eighths & 2 != 0;
    let (first, second) = if swapped { (cos, sin) } else { (sin, cos) };
    let signed = |value: f32, negative: bool| if negative { -value } else { value };
    (
        signed(first, eighths & 4 != 0),
        signed(second, (eighths - 2) & 4 == 0),
    )
}
