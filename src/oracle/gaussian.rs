//! Gaussian data: everything about it is closed-form.

mod frame;
mod oracle;

use std::sync::Arc;

use ndarray::{Array2, ArrayRef2};
use rand::Rng;

use super::check::{self, Scales};
use super::draws::{self, Normals};
use super::moments;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::linalg;
use crate::memory::{Copied, Listed};
use crate::special::LOG_TAU;

/// Data distributed as N(m, C), C = U diag(v) Uᵀ, and all that diffusion makes of it.
///
/// At a level x_t = αx₀ + σε is N(αm, α²C + σ²I), which keeps the eigenvectors U of C. With s = α²v
/// + σ² for each of them:
///
/// | quantity | formula |
/// |---|---|
/// | E\[x₀ given x_t\], D | m + U diag(αv/s) Uᵀ(x − αm) |
/// | ∇ log p_t | −U diag(1/s) Uᵀ(x − αm) |
/// | Cov\[x₀ given x_t\] | U diag(vσ²/s) Uᵀ |
/// | [`flow`](Self::flow), exact ODE | α'm + U diag(√(s'/s)) Uᵀ(x − αm) |
///
/// Directions of variance 0 are allowed wherever σ > 0. [`Oracle`](super::Oracle) says what happens
/// at the limits.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::{Gaussian, Oracle}};
/// use ndarray::array;
///
/// let data = Gaussian::new(&[1.0, -1.0], &array![[2.0, 0.6], [0.6, 1.0]])?;
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let x = [0.3, 0.7];
/// let (d, score) = (data.data_estimate(&x, &level)?, data.score(&x, &level)?);
/// for i in 0..2 {
///     assert!((d[i] - (x[i] + 0.36 * score[i]) / 0.8).abs() < 1e-14); // Tweedie's formula
/// }
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    variances: Vec<f64>,
    axes: Option<Arc<Axes>>,
}

/// U twice, so that both products with it add whole rows. `None` in its place stands for U = I.
#[derive(Clone, Debug, PartialEq)]
struct Axes {
    /// U, row-major: Uᵀr adds its rows.
    rows: Vec<f64>,
    /// Uᵀ, row-major: Ug adds its rows, the eigenvectors.
    vectors: Vec<f64>,
}

impl Gaussian {
    /// N(`mean`, `covariance`), with the covariance of shape \[d, d\] split into its eigenvectors
    /// by Jacobi rotations: O(d³), milliseconds at d = 64 and many seconds at d = 784.
    ///
    /// Asymmetry and negative eigenvalues up to 1e-12 of the largest entry or eigenvalue are taken
    /// for rounding: the matrix is symmetrised, such eigenvalues become 0, as do those below 1e-60.
    /// A diagonal covariance gives exactly [`diagonal`](Self::diagonal).
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] unless `covariance` is d×d; [`Error::InvalidEntry`] for entries
    /// that are not finite or exceed 1e30 (mean) or 1e60 (covariance); [`Error::NotACovariance`]
    /// for a matrix that is not symmetric or not positive semi-definite;
    /// [`Error::InvalidParameter`] for d = 0.
    pub fn new(mean: &[f64], covariance: &ArrayRef2<f64>) -> Result<Self, Error> {
        let d = mean.len();
        check::dimension(d)?;
        check::point("mean", mean, d)?;
        let eigen = moments::eigen("covariance", covariance, d)?;
        Self::with_axes(mean.copy()?, eigen.values, eigen.vectors)
    }

    /// N(`mean`, diag(`variances`)): independent coordinates. Products with U cost nothing.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] when the lengths differ; [`Error::InvalidEntry`] for a mean that is
    /// not finite or exceeds 1e30, or a variance that is neither 0 nor between 1e-60 and 1e60;
    /// [`Error::InvalidParameter`] for d = 0.
    pub fn diagonal(mean: &[f64], variances: &[f64]) -> Result<Self, Error> {
        check::dimension(mean.len())?;
        check::point("mean", mean, mean.len())?;
        check::length("variances", variances.len(), mean.len())?;
        check::variances("variances", variances)?;
        Ok(Self {
            mean: mean.copy()?,
            variances: variances.copy()?,
            axes: None,
        })
    }

    /// N(`mean`, `variance` · I).
    ///
    /// # Errors
    ///
    /// As [`diagonal`](Self::diagonal).
    pub fn isotropic(mean: &[f64], variance: f64) -> Result<Self, Error> {
        Self::diagonal(mean, &crate::memory::repeated(variance, mean.len())?)
    }

    /// N(0, `variance` · I) in `dim` dimensions: the initial distribution of most runs.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a variance that is neither 0 nor between 1e-60 and 1e60, and
    /// for `dim` = 0; [`Error::TooLarge`] when there is no memory for it.
    pub fn centred(dim: usize, variance: f64) -> Result<Self, Error> {
        check::dimension(dim)?;
        check::variance("variance", variance)?;
        let mean = draws::filled(&[dim], 0.0)?;
        Ok(Self {
            mean,
            variances: draws::filled(&[dim], variance)?,
            axes: None,
        })
    }

    /// The distribution of αx₀ + σε when x₀ has this one: N(αm, α²C + σ²I).
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, oracle::Gaussian};
    ///
    /// let level = NoiseLevel::new(0.5, 0.5, 1.0)?;
    /// let noisy = Gaussian::isotropic(&[2.0], 4.0)?.at_level(&level)?;
    /// assert_eq!((noisy.mean()[0], noisy.variances()[0]), (1.0, 2.0));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for α or σ neither 0 nor between 1e-30 and 1e30;
    /// [`Error::InvalidEntry`] for a mean or variance out of range.
    pub fn at_level(&self, level: &NoiseLevel) -> Result<Self, Error> {
        let scales = Scales::of(level)?;
        let mean: Vec<f64> = self.mean.iter().map(|m| scales.alpha * m).listed()?;
        let spread = self.variances.iter().map(|&v| scales.variance(v));
        let variances: Vec<f64> = spread.map(|v| if v < 1e-60 { 0.0 } else { v }).listed()?;
        check::point("mean", &mean, mean.len())?;
        check::variances("variances", &variances)?;
        Ok(Self {
            mean,
            variances,
            axes: self.axes.clone(),
        })
    }

    /// m.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// v, the eigenvalues of the covariance, in the order of the columns of [`axes`](Self::axes).
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// U of shape \[d, d\]: its columns are the eigenvectors of the covariance.
    pub fn axes(&self) -> Result<Array2<f64>, Error> {
        let d = self.mean.len();
        Ok(match &self.axes {
            Some(axes) => crate::memory::square_of((d, d), |(i, k)| axes.rows[i * d + k])?,
            None => Array2::eye(d),
        })
    }

    /// The exact map of the probability-flow ODE from the level `from` to the level `to`, up or
    /// down: every eigen-direction of x − αm grows with the standard deviation of its marginal,
    ///
    /// ```text
    /// x' = α' m + U diag(√((α'²v + σ'²)/(α²v + σ²))) Uᵀ (x − α m)
    /// ```
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, oracle::Gaussian};
    ///
    /// let data = Gaussian::isotropic(&[1.0], 0.25)?;
    /// let noisy = NoiseLevel::new(1.0, 0.0, 1.0)?;
    /// let mut x0 = [0.0];
    /// data.flow(&[2.0], &noisy, &NoiseLevel::clean(), &mut x0)?;
    /// assert_eq!(x0, [2.0]); // two standard deviations above the mean
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// The ODE is that of Song et al. 2021, "Score-Based Generative Modeling through Stochastic
    /// Differential Equations".
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] at `from` with σ = 0 when a variance is 0, because the flow
    /// cannot leave a point; otherwise as the methods of [`Oracle`](super::Oracle).
    pub fn flow(
        &self,
        x: &[f64],
        from: &NoiseLevel,
        to: &NoiseLevel,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let d = self.mean.len();
        check::point("x", x, d)?;
        check::length("out", out.len(), d)?;
        let (start, end) = (Scales::of(from)?, Scales::of(to)?);
        start.require_density(self.has_density())?;
        let mut y = crate::memory::repeated(0.0, d)?;
        self.rotate(x, start.alpha, &mut y);
        for (y, &v) in y.iter_mut().zip(&self.variances) {
            *y *= (end.variance(v) / start.variance(v)).sqrt();
        }
        for (out, &m) in out.iter_mut().zip(&self.mean) {
            *out = end.alpha * m;
        }
        self.add_rotated(|k| y[k], out);
        Ok(())
    }

    /// `count` independent points of the data, shape \[count, d\]: m + U diag(√v) z. The same
    /// generator state gives the same bits on every machine.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for more points than memory can hold, as far as the system says so
    /// before they are drawn: some grant what they cannot give.
    pub fn sample<R: Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Result<Array2<f64>, Error> {
        let mut normals = Normals::new(rng, self.mean.len())?;
        draws::with_rows(count, self.mean.len(), |_, row| {
            self.draw(normals.next(), row);
        })
    }

    /// out = m + U diag(√v) z.
    pub(crate) fn draw(&self, z: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&self.mean);
        self.add_rotated(|k| self.variances[k].sqrt() * z[k], out);
    }

    /// Every direction has a positive variance.
    pub(crate) fn has_density(&self) -> bool {
        self.variances.iter().all(|v| *v > 0.0)
    }

    /// y = Uᵀ(x − αm), the coordinates that the functions below take.
    pub(super) fn rotate(&self, x: &[f64], alpha: f64, y: &mut [f64]) {
        let residual = |i: usize| x[i] - alpha * self.mean[i];
        match &self.axes {
            Some(axes) => {
                y.fill(0.0);
                linalg::add_rows(&axes.rows, residual, y);
            }
            None => {
                for (y, (x, m)) in y.iter_mut().zip(x.iter().zip(&self.mean)) {
                    *y = x - alpha * m;
                }
            }
        }
    }

    /// out ← out + U g.
    fn add_rotated(&self, g: impl Fn(usize) -> f64, out: &mut [f64]) {
        match &self.axes {
            Some(axes) => linalg::add_rows(&axes.vectors, g, out),
            None => {
                for (k, out) in out.iter_mut().enumerate() {
                    *out += g(k);
                }
            }
        }
    }

    /// ln p_t = −½(d ln 2π + Σ ln s + Σ y²/s).
    pub(super) fn log_density_at(&self, y: &[f64], scales: &Scales) -> f64 {
        let mut square = 0.0;
        for (y, &v) in y.iter().zip(&self.variances) {
            square += y * y / scales.variance(v);
        }
        let log_determinant =
            linalg::log_product(self.variances.iter().map(|&v| scales.variance(v)));
        -0.5 * (y.len() as f64 * LOG_TAU + log_determinant + square)
    }

    /// out ← out + w·D.
    pub(super) fn add_data(&self, w: f64, y: &[f64], scales: &Scales, out: &mut [f64]) {
        linalg::axpy(w, &self.mean, out);
        // At α = 0 D is the mean, and y need not be rotated.
        if scales.alpha > 0.0 {
            let v = &self.variances;
            self.add_rotated(|k| w * (scales.gain(v[k]) * y[k]), out);
        }
    }

    /// out ← out + w·score.
    pub(super) fn add_score(&self, w: f64, y: &[f64], scales: &Scales, out: &mut [f64]) {
        let v = &self.variances;
        self.add_rotated(|k| -w * (y[k] / scales.variance(v[k])), out);
    }

    /// out ← out + w·U diag(f(v)) Uᵀ, row-major.
    pub(crate) fn add_spectral(&self, w: f64, f: impl Fn(f64) -> f64, out: &mut [f64]) {
        let d = self.mean.len();
        for (k, &v) in self.variances.iter().enumerate() {
            let weight = w * f(v);
            match &self.axes {
                Some(axes) => {
                    let u = &axes.vectors[k * d..(k + 1) * d];
                    for (row, &ui) in out.chunks_exact_mut(d).zip(u) {
                        linalg::axpy(weight * ui, u, row);
                    }
                }
                None => out[k * d + k] += weight,
            }
        }
    }

    /// out ← out + w·(m − αG m), the constant of D = G x + m − αG m.
    pub(crate) fn add_share(&self, w: f64, scales: &Scales, out: &mut [f64]) -> Result<(), Error> {
        let y = self.to_axes(&self.mean)?;
        let v = &self.variances;
        self.add_rotated(|k| w * (scales.noise_share(v[k]) * y[k]), out);
        Ok(())
    }

    /// The diagonal of Cov[x₀ given x_t] where the elements are independent: no matrix is needed.
    pub(super) fn independent(&self, level: &NoiseLevel) -> Result<Option<Vec<f64>>, Error> {
        let scales = Scales::of(level)?;
        let diagonal = self.variances.iter().map(|&v| v * scales.noise_share(v));
        self.axes.is_none().then(|| diagonal.listed()).transpose()
    }

    /// tr Cov[x₀ given x_t].
    pub(super) fn posterior_variance_at(&self, scales: &Scales) -> f64 {
        let terms = self.variances.iter().map(|&v| v * scales.noise_share(v));
        terms.sum()
    }

    /// out ← out + w·Cov[x₀ given x_t].
    pub(super) fn add_posterior_covariance(&self, w: f64, scales: &Scales, out: &mut [f64]) {
        // v(σ²/s) is exactly v at α = 0.
        self.add_spectral(w, |v| v * scales.noise_share(v), out);
    }
}
