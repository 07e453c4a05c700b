//! The distribution function of a mixture in one dimension, and its inverse.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::GaussianMixture;

/// A mixture's components at one level: weight, mean, deviation.
#[derive(Clone, Debug)]
pub(super) struct Line {
    parts: Vec<(f64, f64, f64)>,
}

impl Line {
    pub(super) fn new(truth: &GaussianMixture, level: &NoiseLevel) -> Result<Self, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let parts = truth.weights().iter().zip(truth.components());
        let parts = parts.map(|(w, component)| {
            let variance = alpha * alpha * component.variances()[0] + sigma * sigma;
            (*w, alpha * component.mean()[0], variance.sqrt())
        });
        Ok(Self {
            parts: parts.listed()?,
        })
    }

    /// √E\[x²\].
    pub(super) fn root_mean_square(&self) -> f64 {
        let squares = self.parts.iter().map(|(w, m, s)| w * (m * m + s * s));
        squares.sum::<f64>().sqrt()
    }

    /// A component's mean lies between two points that are further apart than its deviation.
    pub(super) fn leaps(&self, low: f64, high: f64) -> bool {
        let over = |&(_, m, s): &(f64, f64, f64)| low < m && m < high && high - low > s;
        self.parts.iter().any(over)
    }

    /// Mass below (`side` −1) or above (+1) x.
    fn tail(&self, x: f64, side: f64) -> f64 {
        let tail = |&(w, m, s): &(f64, f64, f64)| {
            let z = side * (x - m) / s;
            0.5 * w * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
        };
        self.parts.iter().map(tail).sum()
    }

    fn density(&self, x: f64) -> f64 {
        let density = |&(w, m, s): &(f64, f64, f64)| w * super::points::normal((x - m) / s) / s;
        self.parts.iter().map(density).sum()
    }

    /// The x with this mass below and above it; the smaller of the two counts, so that both tails
    /// keep their digits. `guess` is where to begin.
    ///
    /// Newton's method on the tail's logarithm, which is concave in the tails, inside a bracket
    /// that is halved where it leaves it.
    pub(super) fn quantile(&self, below: f64, above: f64, guess: f64) -> f64 {
        let (side, mass) = if below <= above {
            (-1.0, below)
        } else {
            (1.0, above)
        };
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &(_, m, s) in &self.parts {
            (low, high) = (low.min(m - 40.0 * s), high.max(m + 40.0 * s));
        }
        let scale = high - low;
        let mut x = guess.clamp(low, high);
        for _ in 0..200 {
            let tail = self.tail(x, side);
            // The tail falls with side·x.
            let too_far = (tail < mass) == (side > 0.0);
            if too_far {
                high = x;
            } else {
                low = x;
            }
            let newton = side * (libm::log(tail) - libm::log(mass)) * tail / self.density(x);
            let next = x + newton;
            let inside = next >= low && next <= high;
            let next = if inside { next } else { 0.5 * (low + high) };
            let moved = (next - x).abs();
            x = next;
            if moved <= 1e-16 * scale {
                break;
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use crate::level::NoiseLevel;
    use crate::oracle::{Gaussian, GaussianMixture};

    #[test]
    fn quantiles_invert_the_distribution_function_in_both_tails() {
        let modes = vec![
            Gaussian::isotropic(&[-3.0], 0.01).unwrap(),
            Gaussian::isotropic(&[2.0], 0.25).unwrap(),
        ];
        let data = GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1]).unwrap();
        let line = Line::new(&data, &NoiseLevel::clean()).unwrap();
        for x in [-3.9, -3.2, -3.0, -2.6, 0.4, 1.0, 2.0, 4.0, 6.0] {
            let (below, above) = (line.tail(x, -1.0), line.tail(x, 1.0));
            assert!((below + above - 1.0).abs() < 1e-15);
            for guess in [-100.0, 0.0, x + 0.1] {
                let found = line.quantile(below, above, guess);
                let back = line.tail(found, -1.0).min(line.tail(found, 1.0));
                let relative = back / below.min(above) - 1.0;
                assert!(relative.abs() < 1e-11, "{x} {guess}: {found} {relative:e}");
            }
        }
        // 1.96 deviations of one mode.
        let one = GaussianMixture::new(
            &[1.0],
            vec![Gaussian::isotropic(&[1.0], 4.0).unwrap()],
            vec![0],
        );
        let line = Line::new(&one.unwrap(), &NoiseLevel::clean()).unwrap();
        let found = line.quantile(0.975, 0.025, 0.0);
        assert!((found - (1.0 + 2.0 * 1.959_963_984_540_054)).abs() < 1e-13);
    }
}
