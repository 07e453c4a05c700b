//! Models, distributions and comparisons that these tests share.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, NoiseLevel, Prediction, Query, Real,
    noise::{NoiseKey, NoiseSource},
    oracle::{Gaussian, GaussianMixture},
};
use ndarray::{ArrayRef, Dimension};

/// Every kind of prediction.
pub(crate) const PREDICTIONS: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.5 },
];

/// An elementwise model that is not linear, whatever it is said to predict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smooth(pub(crate) Prediction);

impl Smooth {
    pub(crate) fn at<A: Real>(x: A, level: &NoiseLevel) -> A {
        let (alpha, sigma) = (A::cast(level.alpha()), A::cast(level.sigma()));
        sigma * x / (A::one() + alpha * x * x) + alpha * A::cast(0.1)
    }
}

impl<A: Real, D: Dimension> Denoiser<A, D> for Smooth {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.0
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        let level = query.level();
        out.zip_mut_with(x, |out, &x| *out = Self::at(x, &level));
        Ok(())
    }
}

/// Noise that a test can compute itself: a number for each (step, row, element).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted;

impl Counted {
    pub(crate) fn value(step: usize, row: usize, element: usize) -> f64 {
        ((step * 7 + row * 5 + element * 3) % 11) as f64 / 5.0 - 1.0
    }
}

impl<A: Real> NoiseSource<A> for Counted {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        for (index, out) in out.iter_mut().enumerate() {
            let element = first as usize + index;
            *out = A::cast(Self::value(key.step as usize, key.row as usize, element));
        }
    }
}

/// A mixture of Gaussians on the line, whose probability flow is known exactly: it is monotone, so
/// it takes every quantile of one level to the same quantile of another.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// (weight, mean, variance); the weights sum to 1.
    pub(crate) parts: Vec<(f64, f64, f64)>,
}

impl Line {
    /// Two separated modes.
    pub(crate) fn modes() -> Self {
        Self {
            parts: vec![(0.4, -1.0, 0.04), (0.6, 0.8, 0.09)],
        }
    }

    pub(crate) fn normal() -> Self {
        Self {
            parts: vec![(1.0, 0.7, 0.25)],
        }
    }

    pub(crate) fn mixture(&self) -> GaussianMixture {
        let weights: Vec<f64> = self.parts.iter().map(|part| part.0).collect();
        let components = self
            .parts
            .iter()
            .map(|&(_, mean, variance)| Gaussian::diagonal(&[mean], &[variance]).unwrap())
            .collect();
        let labels = (0..weights.len()).collect();
        GaussianMixture::new(&weights, components, labels).unwrap()
    }

    fn distribution(&self, x: f64, level: &NoiseLevel) -> f64 {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        self.parts
            .iter()
            .map(|&(weight, mean, variance)| {
                let deviation = (alpha * alpha * variance + sigma * sigma).sqrt();
                let z = (x - alpha * mean) / deviation;
                weight * 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
            })
            .sum()
    }

    /// The x below which the probability is `p`.
    pub(crate) fn quantile(&self, p: f64, level: &NoiseLevel) -> f64 {
        let far = 20.0 * (level.alpha() + level.sigma());
        let (mut low, mut high) = (-far, far);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if self.distribution(middle, level) < p {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// The same quantiles at a level, evenly spread.
    pub(crate) fn quantiles(&self, count: usize, level: &NoiseLevel) -> Vec<f64> {
        (0..count)
            .map(|i| self.quantile((i as f64 + 0.5) / count as f64, level))
            .collect()
    }
}

/// The bits of all elements in row-major order.
pub(crate) fn bits<A: Real, D: Dimension>(array: &ArrayRef<A, D>) -> Vec<u64> {
    array.iter().map(|value| value.widen().to_bits()).collect()
}
