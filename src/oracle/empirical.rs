//! A finite data set as the whole distribution of the data.

use ndarray::{Array2, ArrayRef2};
use rand::Rng;

use super::check::{self, Scales};
use super::draws::Draws;
use super::softmax::{self, NEGLIGIBLE};
use super::{LabelledOracle, Oracle, moments};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::linalg;
use crate::memory::Listed;
use crate::special::LOG_TAU;

/// Data drawn from a finite set {x_i}, each point with the same probability (to give one more
/// weight, repeat it).
///
/// This is what a network would learn if it fitted its training set without error. At a level the
/// distribution is a mixture of n equal Gaussians around αx_i, and with r_i = softmax(−|x −
/// αx_i|²/2σ²):
///
/// | quantity | formula |
/// |---|---|
/// | E\[x₀ given x_t\], D | Σ r_i x_i |
/// | ∇ log p_t | Σ r_i (αx_i − x)/σ² |
/// | Cov\[x₀ given x_t\] | Σ r_i (x_i − D)(x_i − D)ᵀ |
/// | p(y given x_t) | Σ r_i over the points with label y |
/// | ∇ ln p(y given x_t) | (α/σ²)(D of class y − D) |
///
/// Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
/// appendix B.3.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::{Empirical, Oracle}};
/// use ndarray::array;
///
/// let data = Empirical::new(&array![[0.0, 0.0], [4.0, 2.0]])?;
/// let middle = NoiseLevel::new(0.5, 0.5, 0.1)?;
/// assert_eq!(data.data_estimate(&[1.0, 0.5], &middle)?, [2.0, 1.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Empirical {
    points: Vec<f64>,
    labels: Vec<usize>,
    label_count: usize,
    dim: usize,
}

impl Empirical {
    /// The data set with the rows of `points`, shape \[n, d\], all of label 0.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] without rows or columns; [`Error::InvalidEntry`], with the
    /// position in row-major order, for an entry that is not finite or exceeds 1e30.
    pub fn new(points: &ArrayRef2<f64>) -> Result<Self, Error> {
        Self::labelled(points, crate::memory::repeated(0, points.nrows())?)
    }

    /// The data set with the rows of `points`, shape \[n, d\], and a label for each.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::WrongLength`] unless there are n labels;
    /// [`Error::InvalidEntry`] for a label above 1048576.
    pub fn labelled(points: &ArrayRef2<f64>, labels: Vec<usize>) -> Result<Self, Error> {
        let (n, dim) = points.dim();
        check::dimension(dim)?;
        require(n > 0, "points", n as f64, "at least 1")?;
        check::length("labels", labels.len(), n)?;
        let label_count = check::labels(&labels)?;
        let points: Vec<f64> = points.iter().copied().listed()?;
        check::point("points", &points, n * dim)?;
        Ok(Self {
            points,
            labels,
            label_count,
            dim,
        })
    }

    /// The number of points n.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The points, [n, d] in row-major order.
    pub fn points(&self) -> &[f64] {
        &self.points
    }

    /// r_i, the posterior probability that `x` at `level` came from point i.
    ///
    /// # Errors
    ///
    /// As [`Oracle::log_density`].
    pub fn responsibilities(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let (mut logits, _) = self.located(x, level)?;
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
        let kept = (0..self.count()).filter(|&i| self.labels[i] == label);
        let points: Vec<f64> = kept.flat_map(|i| self.row(i).iter().copied()).listed()?;
        Ok(Self {
            labels: crate::memory::repeated(label, points.len() / self.dim)?,
            points,
            label_count: self.label_count,
            dim: self.dim,
        })
    }

    /// `count` independent points of the data, with row number and label. The same generator state
    /// gives the same bits on every machine.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for more points than memory can hold; see
    /// [`Gaussian::sample`](super::Gaussian::sample).
    pub fn sample<R: Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Result<Draws, Error> {
        let n = self.count();
        let choose = |rng: &mut R| rng.random_range(0..n);
        Draws::collect((count, self.dim), &self.labels, rng, choose, |i, _, row| {
            row.copy_from_slice(self.row(i));
        })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.points[i * self.dim..(i + 1) * self.dim]
    }

    /// −|x − αx_i|²/2σ²; needs σ > 0.
    fn logits(&self, x: &[f64], scales: &Scales, logits: &mut [f64]) {
        for (logit, point) in logits.iter_mut().zip(self.points.chunks_exact(self.dim)) {
            let square = linalg::squared_distance(x, scales.alpha, point);
            *logit = -0.5 * (square / scales.noise_variance());
        }
    }

    /// Checks, then [`logits`](Self::logits) in a vector of its own.
    fn located(&self, x: &[f64], level: &NoiseLevel) -> Result<(Vec<f64>, Scales), Error> {
        let scales = super::checked(self, x, level, x)?;
        scales.require_density(false)?;
        let mut logits = crate::memory::repeated(0.0, self.count())?;
        self.logits(x, &scales, &mut logits);
        Ok((logits, scales))
    }

    /// out = Σ c_i x_i, where `coefficients` turns the logits into c in place.
    fn combine_points(
        &self,
        (x, scales): (&[f64], &Scales),
        coefficients: impl FnOnce(&mut [f64]),
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let c = check::scratch(scratch, self.count())?;
        self.logits(x, scales, c);
        coefficients(c);
        out.fill(0.0);
        for (&c, point) in c.iter().zip(self.points.chunks_exact(self.dim)) {
            if c.abs() >= NEGLIGIBLE {
                linalg::axpy(c, point, out);
            }
        }
        Ok(())
    }
}

fn responsibilities(logits: &mut [f64]) {
    softmax::softmax(logits);
}

impl Oracle for Empirical {
    fn dim(&self) -> usize {
        self.dim
    }

    fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Error> {
        let weight = 1.0 / self.count() as f64;
        let mut mean = crate::memory::repeated(0.0, self.dim)?;
        for point in self.points.chunks_exact(self.dim) {
            linalg::axpy(weight, point, &mut mean);
        }
        let mut covariance = crate::memory::repeated(0.0, self.dim * self.dim)?;
        for point in self.points.chunks_exact(self.dim) {
            let offset: Vec<f64> = point.iter().zip(&mean).map(|(p, m)| p - m).listed()?;
            moments::add_outer(weight, &offset, &mut covariance);
        }
        Ok((mean, moments::square(self.dim, &covariance)?))
    }

    fn data_estimate_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = super::checked(self, x, level, out)?;
        if !scales.clean_estimate(x, out) {
            self.combine_points((x, &scales), responsibilities, scratch, out)?;
        }
        Ok(())
    }

    fn score_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = super::checked(self, x, level, out)?;
        scales.require_density(false)?;
        self.combine_points((x, &scales), responsibilities, scratch, out)?;
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (scales.alpha * *out - x) / scales.noise_variance();
        }
        Ok(())
    }

    fn log_density(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let (logits, scales) = self.located(x, level)?;
        let log_normaliser = 0.5 * self.dim as f64 * (LOG_TAU + libm::log(scales.noise_variance()));
        let log_count = libm::log(self.count() as f64);
        Ok(softmax::log_sum_exp(&logits) - log_count - log_normaliser)
    }

    fn posterior_covariance(&self, x: &[f64], level: &NoiseLevel) -> Result<Array2<f64>, Error> {
        let scales = super::checked(self, x, level, x)?;
        let mut covariance = crate::memory::repeated(0.0, self.dim * self.dim)?;
        if scales.sigma > 0.0 {
            let mut r = Vec::new();
            let mut mean = crate::memory::repeated(0.0, self.dim)?;
            self.combine_points((x, &scales), responsibilities, &mut r, &mut mean)?;
            for (&r, point) in r.iter().zip(self.points.chunks_exact(self.dim)) {
                let offset: Vec<f64> = point.iter().zip(&mean).map(|(p, m)| p - m).listed()?;
                moments::add_outer(r, &offset, &mut covariance);
            }
        }
        moments::square(self.dim, &covariance)
    }

    fn posterior_variance(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let scales = super::checked(self, x, level, x)?;
        if scales.sigma == 0.0 {
            return Ok(0.0);
        }
        let (mut r, mut mean) = (Vec::new(), crate::memory::repeated(0.0, self.dim)?);
        self.combine_points((x, &scales), responsibilities, &mut r, &mut mean)?;
        let points = r.iter().zip(self.points.chunks_exact(self.dim));
        let terms = points.map(|(r, point)| r * linalg::squared_distance(point, 1.0, &mean));
        Ok(terms.sum())
    }
}

impl LabelledOracle for Empirical {
    fn label_count(&self) -> usize {
        self.label_count
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn class_log_posterior(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let (logits, _) = self.located(x, level)?;
        softmax::class_log_posterior(&logits, &self.labels, self.label_count)
    }

    fn class_gradient_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        label: usize,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = super::checked(self, x, level, out)?;
        super::require_label(self, label)?;
        scales.require_density(false)?;
        // The coefficients sum to zero, so that −x/σ² of the scores drops out.
        let slopes = |logits: &mut [f64]| softmax::class_slopes(logits, &self.labels, label);
        self.combine_points((x, &scales), slopes, scratch, out)?;
        for out in out.iter_mut() {
            *out *= scales.alpha / scales.noise_variance();
        }
        Ok(())
    }
}
