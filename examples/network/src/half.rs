//! Numbers of 16 bits.

/// The value of an IEEE 754 half-precision number (binary16), exactly.
pub(crate) fn to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    // Subnormal numbers are multiples of 2^−24.
    if magnitude < 0x0400 {
        let value = magnitude as f32 / 16_777_216.0;
        return if sign == 0 { value } else { -value };
    }
    // The exponent's bias is 15 in one format and 127 in the other; infinite and NaN stay so.
    let bias = if magnitude >= 0x7c00 {
        255 - 31
    } else {
        127 - 15
    };
    f32::from_bits(sign | ((magnitude << 13) + (bias << 23)))
}

#[cfg(test)]
mod tests {
    use super::to_f32;

    #[test]
    fn every_number_has_the_value_of_its_definition() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let size = match exponent {
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                0 => fraction / 1024.0 * 2.0_f64.powi(-14),
                _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
            };
            let value = f64::from(to_f32(bits));
            assert_eq!(value.is_sign_negative(), bits >> 15 == 1);
            assert!(
                value.abs() == size || value.is_nan() && size.is_nan(),
                "{bits:#06x}"
            );
        }
    }
}
