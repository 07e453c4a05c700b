//! Gaussian mixtures, with a class label for every component.

mod em;
mod fit;
mod oracle;
mod start;

pub use fit::{FittedMixture, MixtureFit};

use ndarray::Array2;
use rand::Rng;

use super::check::{self, Scales};
use super::draws::Draws;
use super::gaussian::Gaussian;
use super::softmax::{self, NEGLIGIBLE};
use super::{Oracle, moments};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::linalg;
use crate::memory::Listed;

/// Data distributed as the mixture Σ w_k N(m_k, C_k); every component carries a class label.
///
/// At a level each component is a Gaussian again, and with its responsibility r_k ∝ w_k N(x; αm_k,
/// α²C_k + σ²I) (by log-sum-exp, so that far tails are safe), D_k and score_k as of a [`Gaussian`]:
///
/// | quantity | formula |
/// |---|---|
/// | E\[x₀ given x_t\], D | Σ r_k D_k |
/// | ∇ log p_t | Σ r_k score_k |
/// | Cov\[x₀ given x_t\] | Σ r_k (Cov_k + (D_k − D)(D_k − D)ᵀ) |
/// | p(y given x_t) | Σ r_k over the components with label y |
/// | ∇ ln p(y given x_t) | score of class y − score |
///
/// ```
/// use diffusion_sampler::NoiseLevel;
/// use diffusion_sampler::oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle};
///
/// let data = GaussianMixture::new(
///     &[1.0, 3.0],
///     vec![Gaussian::isotropic(&[-2.0], 0.1)?, Gaussian::isotropic(&[2.0], 0.1)?],
///     vec![0, 1],
/// )?;
/// let pure_noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
/// let d = data.data_estimate(&[0.3], &pure_noise)?;
/// assert!((d[0] - 1.0).abs() < 1e-15); // the mean of the data
/// let posterior = data.class_log_posterior(&[0.3], &pure_noise)?;
/// assert!((posterior[1] - 0.75f64.ln()).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture {
    weights: Vec<f64>,
    log_weights: Vec<f64>,
    components: Vec<Gaussian>,
    labels: Vec<usize>,
    label_count: usize,
    dim: usize,
}

/// A point in the coordinates of every component, [K, d], and what [`GaussianMixture::logits`]
/// makes of it.
struct Located {
    ys: Vec<f64>,
    logits: Vec<f64>,
    offset: f64,
}

/// Responsibilities, the estimates of all components, [K, d], and the level's scales.
type Posterior = (Vec<f64>, Vec<f64>, Scales);

impl GaussianMixture {
    /// The mixture of `components` with `weights`, which are normalised to sum to one, and a label
    /// for each component.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] without components; [`Error::WrongLength`] unless there is one
    /// weight and one label for each component, and all have one dimension; [`Error::InvalidEntry`]
    /// for a weight that is not positive and finite, or is lost to underflow beside the others, and
    /// for a label above 1048576.
    pub fn new(
        weights: &[f64],
        components: Vec<Gaussian>,
        labels: Vec<usize>,
    ) -> Result<Self, Error> {
        let label_count = check::labels(&labels)?;
        Self::with_label_count(weights, components, labels, label_count)
    }

    fn with_label_count(
        weights: &[f64],
        components: Vec<Gaussian>,
        labels: Vec<usize>,
        label_count: usize,
    ) -> Result<Self, Error> {
        let count = components.len();
        require(count > 0, "components", count as f64, "at least 1")?;
        check::length("weights", weights.len(), count)?;
        check::length("labels", labels.len(), count)?;
        let dim = components[0].dim();
        for component in &components {
            check::length("components", component.dim(), dim)?;
        }
        let total: f64 = weights.iter().sum();
        let normalised: Vec<f64> = weights.iter().map(|w| w / total).listed()?;
        let valid = |w: f64| w > 0.0 && w.is_finite();
        for (index, (&w, &n)) in weights.iter().zip(&normalised).enumerate() {
            if !(valid(w) && valid(n)) {
                return Err(Error::InvalidEntry {
                    name: "weights",
                    index,
                    value: w,
                    requirement: "positive and finite, also after normalisation",
                });
            }
        }
        Ok(Self {
            log_weights: normalised.iter().map(|&w| libm::log(w)).listed()?,
            weights: normalised,
            components,
            labels,
            label_count,
            dim,
        })
    }

    /// w, normalised.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The components.
    pub fn components(&self) -> &[Gaussian] {
        &self.components
    }

    /// r_k, the posterior probability that `x` at `level` came from component k.
    ///
    /// # Errors
    ///
    /// As [`Oracle::log_density`].
    pub fn responsibilities(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let mut logits = self.located(x, level)?.logits;
        softmax::softmax(&mut logits);
        Ok(logits)
    }

    /// The distribution of the data given its label, renormalised. It keeps the number of labels.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLabel`] for a label that nothing carries.
    pub fn condition(&self, label: usize) -> Result<Self, Error> {
        super::require_label(self, label)?;
        let kept: Vec<usize> = (0..self.labels.len())
            .filter(|&k| self.labels[k] == label)
            .listed()?;
        Self::with_label_count(
            &kept.iter().map(|&k| self.weights[k]).listed()?,
            kept.iter()
                .map(|&k| self.components[k].copied())
                .all_listed()?,
            crate::memory::repeated(label, kept.len())?,
            self.label_count,
        )
    }

    /// `count` independent points of the data, with component and label. The same generator state
    /// gives the same bits on every machine.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for more points than memory can hold; see [`Gaussian::sample`].
    pub fn sample<R: Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Result<Draws, Error> {
        let choose = |rng: &mut R| {
            let mut left: f64 = rng.random();
            for (k, w) in self.weights.iter().enumerate() {
                left -= w;
                if left < 0.0 {
                    return k;
                }
            }
            // The weights sum to one but for rounding.
            self.weights.len() - 1
        };
        Draws::collect(
            (count, self.dim),
            &self.labels,
            rng,
            choose,
            |k, normals, row| {
                self.components[k].draw(normals.next(), row);
            },
        )
    }

    /// Rotates x into the coordinates of every component, [K, d] in `ys`, writes ln w_k + ln p_t,k
    /// − c to `logits` and returns c, the largest of the ln p_t,k: beside their differences the
    /// weights keep their digits in the far tails.
    fn logits(&self, x: &[f64], scales: &Scales, ys: &mut [f64], logits: &mut [f64]) -> f64 {
        let mut largest = f64::NEG_INFINITY;
        let each = self.components.iter().zip(ys.chunks_exact_mut(self.dim));
        for ((component, y), logit) in each.zip(logits.iter_mut()) {
            if scales.alpha == 0.0 {
                // N(0, σ²I) for every component: without the rotation the densities agree bitwise.
                y.copy_from_slice(x);
            } else {
                component.rotate(x, scales.alpha, y);
            }
            *logit = component.log_density_at(y, scales);
            largest = largest.max(*logit);
        }
        for (logit, log_weight) in logits.iter_mut().zip(&self.log_weights) {
            *logit = log_weight + (*logit - largest);
        }
        largest
    }

    /// Checks, then [`logits`](Self::logits) in vectors of its own.
    fn located(&self, x: &[f64], level: &NoiseLevel) -> Result<Located, Error> {
        let scales = super::checked(self, x, level, x)?;
        scales.require_density(self.has_density())?;
        let count = self.components.len();
        let (mut ys, mut logits) = (
            crate::memory::repeated(0.0, count * self.dim)?,
            crate::memory::repeated(0.0, count)?,
        );
        let offset = self.logits(x, &scales, &mut ys, &mut logits);
        Ok(Located { ys, logits, offset })
    }

    /// out = Σ c_k score_k, where `coefficients` turns the logits into c in place.
    fn combine_scores(
        &self,
        (x, scales): (&[f64], &Scales),
        coefficients: impl FnOnce(&mut [f64]),
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        scales.require_density(self.has_density())?;
        let (c, ys) = self.scratch(scratch)?;
        self.logits(x, scales, ys, c);
        coefficients(c);
        out.fill(0.0);
        if scales.alpha == 0.0 {
            let total: f64 = c.iter().sum();
            linalg::axpy(-total / scales.noise_variance(), x, out);
            return Ok(());
        }
        for (k, y) in ys.chunks_exact(self.dim).enumerate() {
            if c[k].abs() >= NEGLIGIBLE {
                self.components[k].add_score(c[k], y, scales, out);
            }
        }
        Ok(())
    }

    /// (logits [K], ys [K, d]).
    fn scratch<'a>(
        &self,
        scratch: &'a mut Vec<f64>,
    ) -> Result<(&'a mut [f64], &'a mut [f64]), Error> {
        let count = self.components.len();
        Ok(check::scratch(scratch, count * (self.dim + 1))?.split_at_mut(count))
    }

    fn has_density(&self) -> bool {
        self.components.iter().all(Gaussian::has_density)
    }

    /// r_k, the D_k as rows, and the scales; `None` at σ = 0, where x₀ is known.
    fn posterior(&self, x: &[f64], level: &NoiseLevel) -> Result<Option<Posterior>, Error> {
        let scales = super::checked(self, x, level, x)?;
        if scales.sigma == 0.0 {
            return Ok(None);
        }
        let Located {
            ys, logits: mut r, ..
        } = self.located(x, level)?;
        softmax::softmax(&mut r);
        let mut centres = crate::memory::repeated(0.0, ys.len())?;
        let rows = centres
            .chunks_exact_mut(self.dim)
            .zip(ys.chunks_exact(self.dim));
        for (component, (centre, y)) in self.components.iter().zip(rows) {
            component.add_data(1.0, y, &scales, centre);
        }
        Ok(Some((r, centres, scales)))
    }

    /// Σ w_k times row k.
    fn weighted_mean(&self, weights: &[f64], rows: &[f64]) -> Result<Vec<f64>, Error> {
        let mut mean = crate::memory::repeated(0.0, self.dim)?;
        for (w, row) in weights.iter().zip(rows.chunks_exact(self.dim)) {
            linalg::axpy(*w, row, &mut mean);
        }
        Ok(mean)
    }

    /// Σ w_k (Cov_k + (m_k − m)(m_k − m)ᵀ) with `add` adding w_k Cov_k, for rows m_k and their mean
    /// m.
    fn total_covariance(
        &self,
        weights: &[f64],
        (centres, mean): (&[f64], &[f64]),
        add: impl Fn(&Gaussian, f64, &mut [f64]),
    ) -> Result<Array2<f64>, Error> {
        let mut total = crate::memory::repeated(0.0, self.dim * self.dim)?;
        for (k, component) in self.components.iter().enumerate() {
            add(component, weights[k], &mut total);
            let centre = &centres[k * self.dim..(k + 1) * self.dim];
            let offset: Vec<f64> = centre.iter().zip(mean).map(|(c, m)| c - m).listed()?;
            moments::add_outer(weights[k], &offset, &mut total);
        }
        moments::square(self.dim, &total)
    }
}
