//! SiLU, in a form that compilers turn into vector instructions.

/// x ← silu(x + b) for every row of `rows`, where silu(x) = x/(1 + e^−x). The error is that of a
/// few roundings: see the test.
pub(crate) fn silu_with_bias(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            let x = *value + bias;
            *value = x / (1.0 + exp(-x));
        }
    }
}

/// e^x for |x| ≤ 87, and the value at the nearer bound beyond: 2ⁿ·e^r with n = round(x/ln 2) and
/// the Taylor polynomial of e^r for |r| ≤ ln(2)/2. The remainder of the series is 6·10⁻⁹ relative.
fn exp(x: f32) -> f32 {
    /// 1.5·2²³: a sum with it is rounded to an integer, which stands in its lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; n times the first is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2.0 - n * LN_2.1;
    let mut series = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * r + coefficient;
    }
    let power = (shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::silu_with_bias;

    fn silu(x: f32) -> f32 {
        let mut value = [x];
        silu_with_bias(&mut value, &[0.0]);
        value[0]
    }

    #[test]
    fn silu_is_that_of_f64_to_a_few_roundings() {
        let mut worst: f64 = 0.0;
        for step in -347_000..=400_000 {
            let x = step as f32 * 2.5e-4;
            let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(silu(x)) - exact).abs();
            worst = worst.max(error / exact.abs().max(f64::MIN_POSITIVE));
        }
        assert!(worst < 5e-7, "{worst:e}");
    }

    #[test]
    fn far_below_it_is_nothing() {
        for x in [-87.5, -1e3, -1e6] {
            assert!(silu(x).abs() < 1e-31, "{x}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        silu_with_bias(&mut values, &[0.5; 3]);
        assert!(values[0].is_nan());
        assert_eq!(values[1], f32::INFINITY);
        assert!(!values[2].is_finite());
    }
}
