//! How good samples of the digits are.

use std::error::Error;

use diffusion_sampler::NoiseLevel;
use diffusion_sampler::oracle::{
    GaussianMixture, LabelledOracle, frechet_distance, sample_moments,
};
use ndarray::{Array2, ArrayView1};

/// Judges samples: their class by the exact posterior of a mixture of the digits, their
/// distribution by its moments.
#[derive(Debug)]
pub struct Judge<'m> {
    mixture: &'m GaussianMixture,
    mean: Vec<f64>,
    covariance: Array2<f64>,
}

/// What a judge says of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The share of samples for which the class posterior prefers the class requested.
    pub right: f64,
    /// The squared Fréchet distance to the moments.
    pub distance: f64,
}

impl<'m> Judge<'m> {
    /// A judge who compares with these moments.
    pub fn new(mixture: &'m GaussianMixture, (mean, covariance): (Vec<f64>, Array2<f64>)) -> Self {
        Self {
            mixture,
            mean,
            covariance,
        }
    }

    /// Judges `samples`, one a row, of which each should show its entry of `classes`.
    ///
    /// # Errors
    ///
    /// If a sample is not finite, or there are fewer than two.
    pub fn verdict(
        &self,
        samples: &Array2<f32>,
        classes: &[usize],
    ) -> Result<Verdict, Box<dyn Error>> {
        let samples = samples.mapv(f64::from);
        let mut right = 0;
        for (sample, class) in samples.outer_iter().zip(classes) {
            right += usize::from(self.likeliest(sample)? == *class);
        }
        let (mean, covariance) = sample_moments(&samples)?;
        let distance = frechet_distance(&mean, &covariance, &self.mean, &self.covariance)?;
        Ok(Verdict {
            right: right as f64 / samples.nrows() as f64,
            distance,
        })
    }

    /// The class that the exact posterior prefers.
    fn likeliest(&self, sample: ArrayView1<'_, f64>) -> Result<usize, Box<dyn Error>> {
        let level = NoiseLevel::clean();
        let posterior = self.mixture.class_log_posterior(&sample.to_vec(), &level)?;
        let pairs = posterior.iter().enumerate();
        let best = pairs.max_by(|(_, a), (_, b)| a.total_cmp(b));
        Ok(best.map_or(0, |(class, _)| class))
    }
}
