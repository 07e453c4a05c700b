//! Box–Muller on polynomials of its own.
//!
//! Two uniforms make two normals,
//!
//!     r = √(−2 ln u),   z₀ = ±r sin(π/2 · (1 − v)),   z₁ = ±r sin(π/2 · v),   u, v ∈ (0, 1),
//!
//! where the two random signs spread the quarter circle over the whole. The cosine is thus the sine of the complement,
//! which is exact, since v is a dyadic number: one polynomial serves for both, no quadrant has to be swapped in, and
//! both normals keep their relative accuracy near 0.
//!
//! Only +, −, ×, ÷, √ and operations on bits are used, which IEEE 754 rounds exactly, and never a fused multiply-add:
//! so the bits are the same on every machine. The polynomials are minimax fits (Remez's algorithm with 50 digits; the
//! coefficients were rounded one after the other, the lowest first, and the rest fitted anew after each) and are
//! evaluated by Estrin's scheme, whose short dependency chains suit wide cores.
//!
//! Box and Muller (1958), "A Note on the Generation of Random Normal Deviates".

/// 2 ln 2, rounded once.
const TWO_LN_2: f64 = 2.0 * std::f64::consts::LN_2;

/// −2 ln(x / 2³¹) for x in [1, 2³¹]; relative error below 2⁻²².
///
/// With x = 2ᵉ m, m in [√½, √2), and s = (m − 1)/(m + 1): −2 ln m = −4 artanh(s) = s P(s²). The fit's relative error
/// is 8e-10.
#[inline(always)]
fn minus_two_ln_f32(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3F35_04F3;
    const P: [f32; 4] = [-4.0, -1.333_335_5, -0.799_551_7, -0.597_413_9];
    let bits = x.to_bits();
    let e = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e << 23) as u32));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = (P[0] + P[1] * z) + (P[2] + P[3] * z) * (z * z);
    (31 - e) as f32 * TWO_LN_2 as f32 + s * p
}

/// sin(π/2 · x) for x in [0, 1]; relative error below 2⁻²².
///
/// The fit's relative error is 3e-8, that of the first coefficient's rounding.
#[inline(always)]
fn sin_quarter_f32(x: f32) -> f32 {
    const P: [f32; 5] = [
        1.570_796_4,
        -0.645_965_1,
        0.079_695_93,
        -0.004_683_104_3,
        0.000_155_929_1,
    ];
    let z = x * x;
    let z2 = z * z;
    x * ((P[0] + P[1] * z) + ((P[2] + P[3] * z) + P[4] * z2) * z2)
}

/// Two normals from two words.
#[inline(always)]
pub(super) fn pair_f32(u: u32, v: u32) -> [f32; 2] {
    // 2³⁰ times an angle in quarter turns, an odd number with a sign; the lowest bit is the other sign.
    const ONE: i32 = 1 << 30;
    let angle = (v as i32 >> 1) | 1;
    let rest = ONE - angle.abs();
    let sign = v << 31;
    const SCALE: f32 = 1.0 / ONE as f32;
    // An odd number below 2³¹.
    let r = minus_two_ln_f32(((u >> 1) | 1) as i32 as f32).sqrt();
    let cos = r * sin_quarter_f32(rest as f32 * SCALE);
    let sin = r * sin_quarter_f32(angle as f32 * SCALE);
    [f32::from_bits(cos.to_bits() ^ sign), sin]
}

/// −2 ln u for a positive, normal u ≤ 1; relative error below 2⁻⁵⁰.
///
/// As in [`minus_two_ln_f32`]; the fit's relative error is 1.3e-18.
#[inline(always)]
fn minus_two_ln_f64(u: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const ONE: u64 = 0x3FF0_0000_0000_0000;
    const MANTISSA: u64 = 0x000F_FFFF_FFFF_FFFF;
    const P: [f64; 8] = [
        -4.0,
        -1.3333333333333468,
        -0.799999999988341,
        -0.5714285748378114,
        -0.4444439724378835,
        -0.36367123779156363,
        -0.3062822170614146,
        -0.2959072800961872,
    ];
    // 2⁵² with the exponent in its lowest bits, less 2⁵²: vector units before AVX-512 cannot convert 64-bit integers.
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    const BIAS: f64 = 4_503_599_627_370_496.0 + 1023.0;
    let shifted = u.to_bits().wrapping_add(ONE - SQRT_HALF);
    let minus_e = BIAS - f64::from_bits((shifted >> 52) | TWO_52);
    let m = f64::from_bits((shifted & MANTISSA) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let z2 = z * z;
    let low = (P[0] + P[1] * z) + (P[2] + P[3] * z) * z2;
    let high = (P[4] + P[5] * z) + (P[6] + P[7] * z) * z2;
    minus_e * TWO_LN_2 + s * (low + high * (z2 * z2))
}

/// sin(π/2 · x) for x in [0, 1]; relative error below 2⁻⁵⁰.
///
/// The fit's relative error is 4e-17, that of the first coefficient's rounding.
#[inline(always)]
fn sin_quarter_f64(x: f64) -> f64 {
    const P: [f64; 9] = [
        std::f64::consts::FRAC_PI_2,
        -0.6459640975062387,
        0.07969262624601456,
        -0.004681754134131975,
        0.00016044118022262346,
        -3.598833641933691e-06,
        5.6910478998065756e-08,
        -6.618465187359247e-10,
        4.246383069385725e-12,
    ];
    let z = x * x;
    let z2 = z * z;
    let z4 = z2 * z2;
    let low = (P[0] + P[1] * z) + (P[2] + P[3] * z) * z2;
    let high = (P[4] + P[5] * z) + (P[6] + P[7] * z) * z2;
    x * (low + (high + P[8] * z4) * z4)
}

/// The odd multiple of 2⁻⁵³ in (0, 1) that 52 bits choose.
#[inline(always)]
fn open_unit(bits: u64) -> f64 {
    // In [1, 2) less (1 − 2⁻⁵³): the difference is exact.
    f64::from_bits(bits | 0x3FF0_0000_0000_0000) - (1.0 - f64::EPSILON / 2.0)
}

/// Two normals from two 64-bit words.
#[inline(always)]
pub(super) fn pair_f64(u: u64, v: u64) -> [f64; 2] {
    const SIGN: u64 = 1 << 63;
    let r = minus_two_ln_f64(open_unit(u >> 12)).sqrt();
    let angle = open_unit((v << 1) >> 12);
    let cos = r * sin_quarter_f64(1.0 - angle);
    let sin = r * sin_quarter_f64(angle);
    [
        f64::from_bits(cos.to_bits() ^ (v << 63)),
        f64::from_bits(sin.to_bits() ^ (v & SIGN)),
    ]
}
