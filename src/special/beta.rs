//! The Beta distribution.

/// The quantile function of Beta(a, b) at p: the x with I_x(a, b) = p, for a, b > 0 and p in [0, 1].
///
/// ln I is solved as a function of ln x, in which it is nearly a line for small x, by Newton's
/// method within a bracket; above p = ½ for 1 − x, so that both tails keep their digits.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p == 0.5 && a == b {
        // Exactly: what is then rounded to an integer may be a tie.
        0.5
    } else if p > 0.5 {
        1.0 - lower_quantile(1.0 - p, b, a)
    } else {
        lower_quantile(p, a, b)
    }
}

fn lower_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    let log_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let target = libm::log(p);
    // I = x^a/(a B) for small x; in the middle where that leaves (0, 1).
    let asymptote = (target + libm::log(a) + log_beta) / a;
    let mut log_x = asymptote.min(-1e-3);
    let (mut low, mut high) = (f64::NEG_INFINITY, 0.0);
    for _ in 0..200 {
        let x = libm::exp(log_x);
        if x == 0.0 {
            break;
        }
        let value = incomplete(x, a, b, log_beta);
        let error = libm::log(value) - target;
        if error > 0.0 {
            high = log_x;
        } else {
            low = log_x;
        }
        let slope = libm::exp(a * log_x + (b - 1.0) * libm::log1p(-x) - log_beta) / value;
        let mut next = log_x - error / slope;
        if !(next > low && next < high) {
            next = if low.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * high - 1.0
            };
        }
        let moved = (next - log_x).abs();
        log_x = next;
        if moved <= 4.0 * f64::EPSILON * log_x.abs() {
            break;
        }
    }
    libm::exp(log_x)
}

/// I_x(a, b), the regularised incomplete beta function, for 0 < x < 1, by its continued fraction on
/// the side on which that converges fast.
fn incomplete(x: f64, a: f64, b: f64, log_beta: f64) -> f64 {
    let front = libm::exp(a * libm::log(x) + b * libm::log1p(-x) - log_beta);
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's
/// method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let safe = |value: f64| {
        if value.abs() < f64::MIN_POSITIVE {
            f64::MIN_POSITIVE
        } else {
            value
        }
    };
    let (mut numerator, mut denominator) = (1.0, 1.0 / safe(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = denominator;
    for m in 1..5000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut factor = 1.0;
        for term in [even, odd] {
            denominator = 1.0 / safe(1.0 + term * denominator);
            numerator = safe(1.0 + term / numerator);
            factor = numerator * denominator;
            value *= factor;
        }
        if (factor - 1.0).abs() < 0.5 * f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{beta_quantile, incomplete};

    const PROBABILITIES: [f64; 13] = [
        1e-12, 1e-6, 0.003, 0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.95, 0.997, 0.999_999,
    ];

    fn agrees(found: f64, expected: f64, place: &str) {
        let error = (found - expected).abs();
        // 1 − x of a number near 1 has been rounded once.
        let tolerance = 1e-12 * expected.min(1.0 - expected) + f64::EPSILON;
        assert!(error < tolerance, "{place}: {found:e}, off by {error:e}");
    }

    #[test]
    fn quantiles_are_the_closed_forms() {
        let squared = |value: f64| value * value;
        for p in PROBABILITIES {
            let arcsine = squared(libm::sin(0.5 * std::f64::consts::PI * p));
            agrees(beta_quantile(p, 0.5, 0.5), arcsine, &format!("arcsine {p}"));
            for b in [0.3, 1.0, 2.5, 40.0] {
                let closed = -libm::expm1(libm::log1p(-p) / b);
                agrees(beta_quantile(p, 1.0, b), closed, &format!("(1, {b}) {p}"));
                let closed = libm::exp(libm::log(p) / b);
                agrees(beta_quantile(p, b, 1.0), closed, &format!("({b}, 1) {p}"));
            }
            // I_x(2, 2) = 3x² − 2x³ = p ≤ ½ at x = sin²(φ/2) + ½√3 sin φ, φ = ⅔ arcsin √p.
            let tail = p.min(1.0 - p);
            let angle = tail.sqrt().asin() * 2.0 / 3.0;
            let low = squared(libm::sin(0.5 * angle)) + 0.75_f64.sqrt() * libm::sin(angle);
            let closed = if p > 0.5 { 1.0 - low } else { low };
            agrees(beta_quantile(p, 2.0, 2.0), closed, &format!("(2, 2) {p}"));
        }
    }

    #[test]
    fn quantiles_invert_the_distribution_and_mirror() {
        for (a, b) in [
            (0.6, 0.6),
            (0.6, 0.4),
            (0.05, 3.0),
            (7.0, 0.2),
            (2.0, 2.0),
            (300.0, 40.0),
        ] {
            let log_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
            for p in PROBABILITIES {
                let x = beta_quantile(p, a, b);
                let mirrored = 1.0 - beta_quantile(1.0 - p, b, a);
                // 1 − p is rounded, and 1 − x.
                let slack = 1e-12 * x + 4e-16 * (1.0 + x / (a * p));
                assert!(
                    (x - mirrored).abs() < slack,
                    "({a}, {b}) {p}: {x} {mirrored}"
                );
                if x > 0.0 && x < 1.0 - 1e-9 {
                    let error = (incomplete(x, a, b, log_beta) / p - 1.0).abs();
                    assert!(error < 1e-11, "({a}, {b}) {p}: {error:e}");
                }
            }
            assert_eq!(
                (beta_quantile(0.0, a, b), beta_quantile(1.0, a, b)),
                (0.0, 1.0)
            );
        }
    }

    #[test]
    fn quantiles_of_point_six_are_those_computed_with_forty_digits() {
        for (p, expected) in [
            (0.05, 0.012_554_456_873_611_407),
            (0.1, 0.039_584_405_588_780_85),
            (0.2, 0.122_921_750_458_332_92),
            (0.25, 0.175_680_378_652_695),
            (0.375, 0.329_381_495_721_384),
            (0.45, 0.430_815_501_976_733),
        ] {
            let error: f64 = beta_quantile(p, 0.6, 0.6) / expected - 1.0;
            assert!(error.abs() < 1e-13, "{p}: {error:e}");
        }
    }
}
