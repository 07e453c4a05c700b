//! Fused multiply-adds of f32, on every machine alike.

/// a·b + c, rounded once.
///
/// The product is exact in f64. Its sum with c is rounded to odd there (Boldo and Melquiond, 2008,
/// "Emulation of FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd"), so that
/// the rounding to f32 sees on which side of a tie the exact value lies. The processor's own
/// instruction would give the same bits, but not every processor has one, and not every platform's
/// `fmaf` is right.
#[inline(always)]
pub(super) fn fused(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // Knuth's exact error of a sum.
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    // An inexact sum with an even last bit: its neighbour towards the exact value is odd.
    let outwards = (error > 0.0) == (sum > 0.0);
    let neighbour = if outwards {
        bits.wrapping_add(1)
    } else {
        bits.wrapping_sub(1)
    };
    let even = bits & 1 == 0;
    let odd = if (error != 0.0) & even {
        neighbour
    } else {
        bits
    };
    f64::from_bits(odd) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moderate() -> impl Strategy<Value = f32> {
        (any::<bool>(), 0u32..1 << 23, 90u32..150).prop_map(|(negative, mantissa, exponent)| {
            f32::from_bits(u32::from(negative) << 31 | exponent << 23 | mantissa)
        })
    }

    proptest! {
        #![proptest_config(crate::simd::cases(20_000))]
        #[test]
        fn a_fused_multiply_add_is_rounded_once(a in moderate(), b in moderate(), c in moderate()) {
            prop_assert_eq!(fused(a, b, c).to_bits(), a.mul_add(b, c).to_bits());
        }
    }

    /// 2⁻²⁴ is half of 1's last place: a sum in f64 loses what lies beyond the tie.
    #[test]
    fn ties_of_the_second_rounding_go_where_the_exact_value_lies() {
        let tiny = num_traits::pow(0.5f32, 40);
        let (tie, above) = (num_traits::pow(0.5f32, 24), 1.0 + f32::EPSILON);
        assert_eq!(fused(tie, 1.0 + f32::EPSILON, 1.0), above);
        assert_eq!(fused(tie, 1.0, 1.0), 1.0);
        // (1 + ε)(1 + ε)·2⁻²⁴ + 1: ε² is beyond f64's last place.
        assert_eq!(fused(tie * above, above, 1.0), above);
        assert_eq!(fused(tiny, tiny, 1.0), 1.0);
        assert_eq!(fused(-tiny, tiny, 1.0), 1.0);
    }
}
