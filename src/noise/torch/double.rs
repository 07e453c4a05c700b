//! Normals in f64: blocks of 16, and pairs.
//!
//! Torch calls the C library's functions. Here ln, sin and cos are computed to some 100 bits and
//! rounded once, which is what good libraries give but for about one value in a thousand. The
//! pairs' ln(1 − u) is `log1p` of FreeBSD's library, which others took over.

use super::twofold::Twofold;

/// Box–Muller: 8 radii and 8 angles, in place, become 8 cosines and 8 sines.
pub(super) fn normals(uniforms: [f64; 16]) -> [f64; 16] {
    let mut block = uniforms;
    let (cosines, sines) = block.split_at_mut(8);
    for (first, second) in cosines.iter_mut().zip(sines) {
        [*first, *second] = turned((-2.0 * ln(1.0 - *first)).sqrt(), *second);
    }
    block
}

/// The two normals of two uniforms, of which the first is the angle.
pub(super) fn pair(turn: f64, radius: f64) -> [f64; 2] {
    turned((-2.0 * libm::log1p(-radius)).sqrt(), turn)
}

/// r cos(2πt) and r sin(2πt). Mean 0 is added: no normal is −0.
fn turned(radius: f64, turn: f64) -> [f64; 2] {
    let (sin, cos) = sin_cos(std::f64::consts::TAU * turn);
    [radius * cos + 0.0, radius * sin + 0.0]
}

/// ln u for a normal u in (0, 1].
///
/// With u = 2ᵉ m, m in [√½, √2), and s = (m − 1)/(m + 1): ln m = 2 artanh s = 2s Σ s²ᵏ/(2k + 1).
fn ln(u: f64) -> f64 {
    /// s² is below 0.03: the first term left out is below 2⁻¹⁰⁵.
    const TERMS: u8 = 20;
    const LN_2: Twofold = Twofold::new(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
    let (m, e) = libm::frexp(u);
    let (m, e) = match m < std::f64::consts::FRAC_1_SQRT_2 {
        true => (2.0 * m, e - 1),
        false => (m, e),
    };
    let s = Twofold::from(m - 1.0).over(Twofold::sum(m, 1.0));
    let z = s.times(s);
    let mut series = Twofold::from(0.0);
    for k in (0..TERMS).rev() {
        let term = Twofold::from(1.0).over(f64::from(2 * k + 1).into());
        series = series.times(z).plus(term);
    }
    let twice = Twofold::from(2.0).times(s).times(series);
    LN_2.times(f64::from(e).into()).plus(twice).high
}

/// sin θ and cos θ for θ in [0, 2π].
fn sin_cos(theta: f64) -> (f64, f64) {
    /// π/2 in three parts.
    const QUARTER: [f64; 3] = [
        std::f64::consts::FRAC_PI_2,
        6.123_233_995_736_766e-17,
        -1.497_384_904_859_183_3e-33,
    ];
    let quarters = (theta * std::f64::consts::FRAC_2_PI).round();
    let rest = QUARTER
        .into_iter()
        .fold(theta.into(), |rest: Twofold, part| {
            rest.plus(Twofold::product(-quarters, part))
        });
    let [sin, cos] = [series(rest, 1).times(rest).high, series(rest, 0).high];
    match quarters as u8 % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// 1 − x²/((o + 1)(o + 2)) · (1 − x²/((o + 3)(o + 4)) · (1 − …)): cos x for o = 0, sin(x)/x for
/// o = 1. For |x| up to π/4, where the first term left out is below 2⁻¹⁰⁵.
fn series(x: Twofold, odd: u16) -> Twofold {
    const TERMS: u16 = 13;
    let z = x.times(x).minus();
    let one = Twofold::from(1.0);
    (0..TERMS).rev().fold(one, |inner, term| {
        let n = 2 * term + odd + 1;
        let divisor = f64::from(n * (n + 1));
        one.plus(z.times(inner).over(divisor.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln u, from 300 bits (mpmath). The first six are values that glibc 2.36 rounds the other way.
    #[test]
    fn logarithms_are_rounded_once() {
        let cases = [
            (0.9679805361513304, -0.03254329918939761),
            (0.8634818291075831, -0.14678242492013727),
            (0.5414064339886865, -0.613585017889014),
            (0.9287752309937876, -0.07388851670405946),
            (0.5203046275661245, -0.6533408166909805),
            (0.7697199534936269, -0.26172852704963867),
            (1.0, 0.0),
            (0.9999999999999999, -1.1102230246251565e-16),
            (1.1102230246251565e-16, -36.7368005696771),
            (0.5, -std::f64::consts::LN_2),
            (0.7071067811865475, -0.34657359027997275),
            (0.7071067811865476, -0.3465735902799726),
        ];
        for (u, expected) in cases {
            assert_eq!(ln(u), expected, "{u}");
        }
    }

    /// sin θ and cos θ, from 300 bits (mpmath). Of the first six, glibc 2.36 rounds one or both the
    /// other way; then the numbers nearest to multiples of a quarter turn, and small ones.
    #[test]
    fn sines_and_cosines_are_rounded_once() {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let cases = [
            (3.3076425986269786, -0.165287925322368, -0.9862453557521208),
            (5.974599937660931, -0.3037111315579289, 0.9527641620924888),
            (0.30846539846858345, 0.3035968252555404, 0.9528005917791806),
            (
                3.2937421688915185,
                -0.15156316416579899,
                -0.9884475743649994,
            ),
            (4.2144523615776714, -0.8785699306565884, -0.4776137319488181),
            (0.14914353171098282, 0.14859122669451671, 0.9888987042915056),
            (std::f64::consts::FRAC_PI_2, 1.0, 6.123233995736766e-17),
            (std::f64::consts::PI, 1.2246467991473532e-16, -1.0),
            (4.71238898038469, -1.0, -1.8369701987210297e-16),
            (6.283185307179585, -1.133107779529596e-15, 1.0),
            (6.975736996017264e-16, 6.975736996017264e-16, 1.0),
            (std::f64::consts::FRAC_PI_4, 0.7071067811865475, half),
            (0.0, 0.0, 1.0),
        ];
        for (theta, sin, cos) in cases {
            assert_eq!(sin_cos(theta), (sin, cos), "{theta}");
        }
    }
}
