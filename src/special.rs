//! Constants and functions that several coefficients need, in forms that keep their digits.

mod beta;

pub(crate) use beta::beta_quantile;

/// ln 2π.
pub(crate) const LOG_TAU: f64 = 1.837_877_066_409_345_3;

/// φ_k(z): φ₀ = e^z, φ_{k+1}(z) = (φ_k(z) − 1/k!)/z, φ_k(0) = 1/k!.
///
/// Near 0 the recursion loses all digits, so that the Taylor series Σ z^j/(j + k)! serves there.
pub(crate) fn phi(k: usize, z: f64) -> f64 {
    if k == 0 {
        return libm::exp(z);
    }
    if z.abs() < 0.5 {
        // Terms fall by z/(j + k) < 1/2 each: 20 reach rounding.
        let mut term = 1.0 / factorial(k);
        let mut sum = term;
        for j in 1..20 {
            term *= z / (j + k) as f64;
            sum += term;
        }
        return sum;
    }
    (1..k).fold(libm::expm1(z) / z, |value, j| {
        (value - 1.0 / factorial(j)) / z
    })
}

/// a/b − 1 − ln(a/b) for positive a and b: the part of a Gaussian KL that the variances make.
///
/// Where a and b are close the difference is taken before the logarithm; far apart, ln(1 + (a/b −
/// 1)) would lose a small ratio's digits, and all of them below 1e-16.
pub(crate) fn spread_excess(a: f64, b: f64) -> f64 {
    let excess = (a - b) / b;
    if excess.abs() < 0.5 {
        excess - libm::log1p(excess)
    } else {
        excess - (libm::log(a) - libm::log(b))
    }
}

/// `count` values from `first` to `last` in the arithmetic of numpy's `linspace`: first + i·step,
/// step = (last − first)/(count − 1), the last exactly; one value is `first`.
pub(crate) fn linspace(
    first: f64,
    last: f64,
    count: usize,
) -> impl ExactSizeIterator<Item = f64> + DoubleEndedIterator {
    let step = (last - first) / (count.max(2) - 1) as f64;
    (0..count).map(move |i| {
        if i > 0 && i + 1 == count {
            last
        } else {
            i as f64 * step + first
        }
    })
}

/// ln(1 + e^x).
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|i| i as f64).product()
}

#[cfg(test)]
mod tests {
    use super::phi;

    #[test]
    fn phi_is_the_integral_of_its_definition() {
        // φ_k(z) = ∫₀¹ e^((1−v)z) v^(k−1)/(k−1)! dv, by Gauss–Legendre with 5 nodes on 64 panels.
        const NODES: [(f64, f64); 3] = [
            (0.0, 0.568_888_888_888_888_9),
            (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.906_179_845_938_664, 0.236_926_885_056_189_08),
        ];
        for k in 1..=4 {
            for z in [-30.0, -3.0, -0.51, -0.49, -1e-5, 0.0, 1e-9, 0.3, 0.5, 2.0] {
                let f =
                    |v: f64| ((1.0 - v) * z).exp() * v.powi(k as i32 - 1) / super::factorial(k - 1);
                let panels = 64;
                let width = 1.0 / f64::from(panels);
                let integral: f64 = (0..panels)
                    .map(|p| {
                        let middle = (f64::from(p) + 0.5) * width;
                        NODES
                            .iter()
                            .map(|&(x, w)| {
                                let half = 0.5 * width * x;
                                let both = if x == 0.0 {
                                    f(middle)
                                } else {
                                    f(middle - half) + f(middle + half)
                                };
                                w * both
                            })
                            .sum::<f64>()
                            * 0.5
                            * width
                    })
                    .sum();
                let error = (phi(k, z) - integral).abs() / integral;
                assert!(error < 2e-14, "phi_{k}({z}) is off by {error:e}");
            }
        }
    }
}
