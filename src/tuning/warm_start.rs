//! The first part of a run without the network: the exact flow of the data's mean and covariance.

use ndarray::{Array, Array2, ArrayRef, ArrayRef2, Dimension, IntoDimension};

use super::spectrum::small_to_zero;
use crate::apply::{batch_of, start_noise};
use crate::error::{Error, require, require_all, require_length};
use crate::level::NoiseLevel;
use crate::linalg::{self, Eigen};
use crate::memory;
use crate::memory::{Copied, Listed};
use crate::noise::NoiseSource;
use crate::oracle::{Gaussian, Oracle};
use crate::real::Real;

/// Mean and low-rank covariance of the data, C = U diag(v) Uᵀ + w(I − UUᵀ) with k directions U, and
/// the exact probability flow of N(m, C): the first, noisy part of a run without a call of the
/// network.
///
/// At high noise a network's estimate is nearly linear, that of a Gaussian with the data's mean and
/// covariance. With s(v) = α²v + σ², and ' for the level that is reached,
///
/// ```text
/// x' = α'm + √(s'(w)/s(w)) (x − αm) + Σ_j (√(s'(v_j)/s(v_j)) − √(s'(w)/s(w))) u_j u_jᵀ(x − αm)
/// ```
///
/// costs O(dk) a sample: nothing beside a call of the network, for images of 10⁵ elements too.
///
/// | method | from | to |
/// |---|---|---|
/// | [`draw`](Self::draw) | standard normals, which are pure noise | the exact N(α'm, α'²C + σ'²I) of a level |
/// | [`flow`](Self::flow) | a state at any level | the state at another |
///
/// **The initial distribution.** A sampler starts from x_T ~ N(0, v_T I), which is not quite
/// N(α_T m, α_T²C + σ_T²I). `draw` starts from pure noise instead (α = 0, v_T = 1), whose flow gives
/// the exact distribution of the level; it reads the same normals as
/// [`Sampler::start`](crate::Sampler::start), so that samples of the same seed correspond. `flow`
/// of a given x_T carries that state's error along, as the network's ODE would.
///
/// The rest of the run starts from the state:
///
/// ```
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, tuning::WarmStart};
/// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
/// use diffusion_sampler::solver::DpmSolverPlusPlus;
/// use ndarray::Array2;
///
/// let data = Gaussian::diagonal(&[1.0, 0.0, -1.0], &[0.5, 0.1, 0.1])?;
/// let warm = WarmStart::of_gaussian(&data, 1)?; // exact here: the other two variances are one
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::quadratic(&schedule, 10)?.starting_at(&schedule, schedule.level(500.0)?)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let x: Array2<f32> = warm.draw((8, 3), &grid.start(), &mut KeyedNoise::new(42))?;
/// let mut run = sampler.start_from(x, Prediction::Noise, KeyedNoise::new(42))?;
/// run.complete(&mut data.denoiser(Prediction::Noise))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Which level: [`last_gaussian_level`](super::last_gaussian_level). A guided model, or a
/// conditional one, follows another distribution than all data together: its mean and covariance are
/// those of the class.
///
/// Wang and Vastola 2024, "The Unreasonable Effectiveness of Gaussian Score Approximation for
/// Diffusion Models and its Applications", who call it analytical teleportation; the covariance is
/// that of probabilistic PCA (Tipping and Bishop 1999).
#[derive(Clone, Debug, PartialEq)]
pub struct WarmStart {
    mean: Vec<f64>,
    /// Uᵀ, row-major.
    directions: Vec<f64>,
    variances: Vec<f64>,
    rest: f64,
}

/// How far the directions may be from orthonormal: rounding of f32.
const ORTHONORMAL: f64 = 1e-5;
const VARIANCE: &str = "0 or between 1e-60 and 1e60";
const ENTRY: &str = "finite and at most 1e30 in magnitude";

impl WarmStart {
    /// From the mean \[d\], k orthonormal directions as rows \[k, d\], the variance along each, and
    /// that of every other direction.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] and [`Error::WrongLength`] where the shapes do not fit;
    /// [`Error::InvalidEntry`] for entries out of the range of an [`Oracle`], and for a direction
    /// that is not orthonormal to those up to it, within 1e-5, with its number;
    /// [`Error::InvalidParameter`] for d = 0, k > d or the variance of the rest.
    pub fn new(
        mean: &[f64],
        directions: &ArrayRef2<f64>,
        variances: &[f64],
        rest: f64,
    ) -> Result<Self, Error> {
        let (k, d) = directions.dim();
        require(!mean.is_empty(), "dimension", 0.0, "at least 1")?;
        crate::error::require_shape("directions", &[k, mean.len()], directions.shape())?;
        require_length("variances", k, variances.len())?;
        require(k <= d, "directions", k as f64, "at most the dimension")?;
        let in_range = |_, x: f64| crate::oracle::in_range(x);
        require_all("mean", mean, in_range, ENTRY)?;
        let is_variance = |v: f64| v == 0.0 || (1e-60..=1e60).contains(&v);
        require_all("variances", variances, |_, v| is_variance(v), VARIANCE)?;
        require(is_variance(rest), "variance of the rest", rest, VARIANCE)?;
        let directions: Vec<f64> = directions.iter().copied().listed()?;
        let row = |i: usize| &directions[i * d..(i + 1) * d];
        for i in 0..k {
            for j in 0..=i {
                let expected = if i == j { 1.0 } else { 0.0 };
                let product = linalg::dot(row(i), row(j));
                if (product - expected).is_nan() || (product - expected).abs() > ORTHONORMAL {
                    return Err(Error::InvalidEntry {
                        name: "directions",
                        index: i,
                        value: product,
                        requirement: "of length 1, and orthogonal to the directions before it",
                    });
                }
            }
        }
        Ok(Self {
            mean: mean.copy()?,
            directions,
            variances: variances.copy()?,
            rest,
        })
    }

    /// The `rank` directions of a Gaussian with the largest variances; the rest has the mean of the
    /// other variances.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `rank` ≤ d.
    pub fn of_gaussian(data: &Gaussian, rank: usize) -> Result<Self, Error> {
        let d = data.dim();
        require_rank(rank, d)?;
        let v = data.variances();
        let order = by_variance(v)?;
        let kept = order.iter().take(rank);
        let others: f64 = order.iter().skip(rank).map(|&i| v[i]).sum();
        let mut directions = memory::reserve(&[rank, d])?;
        for &i in kept.clone() {
            directions.extend(data.axis(i)?);
        }
        Ok(Self {
            mean: data.mean().copy()?,
            directions,
            variances: kept.map(|&i| v[i]).listed()?,
            rest: small_to_zero(others / (d - rank).max(1) as f64),
        })
    }

    /// The moments of a sample \[n, d\], reduced to `rank` directions. The covariance [d, d] is never
    /// made where n < d: its directions are those of the n×n products of the rows, O(n²d + n³).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for fewer than 2 rows, d = 0, or unless `rank` ≤ d and
    /// `rank` < n; [`Error::InvalidEntry`] for an entry that is not finite or exceeds 1e30.
    pub fn of_sample<A: Real>(rows: &ArrayRef2<A>, rank: usize) -> Result<Self, Error> {
        let (n, d) = rows.dim();
        require_rank(rank, d)?;
        require(n >= 2, "rows", n as f64, "at least 2")?;
        require(
            rank < n,
            "rank",
            rank as f64,
            "less than the number of rows",
        )?;
        if n > d {
            let (mean, covariance) = crate::oracle::sample_moments(rows)?;
            return Self::of_gaussian(&Gaussian::new(&mean, &covariance)?, rank);
        }
        let (mean, centred) = centred(rows)?;
        let mut products = memory::repeated(0.0, n * n)?;
        for i in 0..n {
            for j in 0..=i {
                let product =
                    linalg::dot(&centred[i * d..(i + 1) * d], &centred[j * d..(j + 1) * d]);
                products[i * n + j] = product / (n - 1) as f64;
                products[j * n + i] = products[i * n + j];
            }
        }
        let trace: f64 = (0..n).map(|i| products[i * n + i]).sum();
        let eigen = linalg::symmetric_eigen(products, n)?;
        Self::of_products(mean, &centred, eigen, (rank, trace))
    }

    /// u_j = Xᵀe_j/|Xᵀe_j| for the eigenvectors e_j of XXᵀ/(n − 1).
    fn of_products(
        mean: Vec<f64>,
        centred: &[f64],
        eigen: Eigen,
        (rank, trace): (usize, f64),
    ) -> Result<Self, Error> {
        let (d, n) = (mean.len(), eigen.values.len());
        let vectors = eigen.vectors.map_or_else(|| linalg::identity(n), Ok)?;
        let (mut directions, mut variances) = (Vec::new(), Vec::new());
        for &j in by_variance(&eigen.values)?.iter().take(rank) {
            let mut direction = memory::repeated(0.0, d)?;
            let e = &vectors[j * n..(j + 1) * n];
            linalg::add_rows(centred, |i| e[i], &mut direction);
            let length = linalg::dot(&direction, &direction).sqrt();
            // Fewer directions than asked for have any variance.
            if eigen.values[j] <= 1e-12 * trace || length == 0.0 {
                break;
            }
            direction.iter_mut().for_each(|x| *x /= length);
            memory::append(&mut directions, &direction)?;
            memory::push(&mut variances, eigen.values[j])?;
        }
        let held: f64 = variances.iter().sum();
        let others = (d - variances.len()).max(1) as f64;
        Ok(Self {
            mean,
            directions,
            rest: small_to_zero((trace - held).max(0.0) / others),
            variances,
        })
    }

    /// m.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// v_j, the variance along each direction.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// U of shape \[k, d\]: a direction is a row.
    pub fn directions(&self) -> Result<Array2<f64>, Error> {
        let d = self.mean.len();
        crate::memory::square_of((self.variances.len(), d), |(j, i)| {
            self.directions[j * d + i]
        })
    }

    /// w, the variance of every other direction.
    pub fn rest(&self) -> f64 {
        self.rest
    }

    /// Moves states from one level to another along the exact probability flow, in place. Axis 0 is
    /// the sample.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::WrongLength`] unless a sample has d elements;
    /// [`Error::InvalidParameter`] where `from` is clean and a variance is 0.
    pub fn flow<A: Real, D: Dimension>(
        &self,
        x: &mut ArrayRef<A, D>,
        from: &NoiseLevel,
        to: &NoiseLevel,
    ) -> Result<(), Error> {
        let least = self.variances.iter().fold(self.rest, |a, b| a.min(*b));
        let start = from.marginal_variance(least);
        require(
            start > 0.0,
            "sigma",
            from.sigma(),
            "positive where a variance is 0",
        )?;
        let scale = |v: f64| (to.marginal_variance(v) / from.marginal_variance(v)).sqrt();
        self.map(x, from.alpha(), to.alpha(), scale)
    }

    /// Samples of N(αm, α²C + σ²I), the distribution of the data's Gaussian at `level`, from the
    /// normals with which a run starts.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::TooLarge`]; [`Error::WrongLength`] unless a sample has d
    /// elements; what the noise's [`check`](NoiseSource::check) refuses.
    pub fn draw<A, S, N>(
        &self,
        shape: S,
        level: &NoiseLevel,
        noise: &mut N,
    ) -> Result<Array<A, S::Dim>, Error>
    where
        A: Real,
        S: IntoDimension,
        N: NoiseSource<A>,
    {
        let mut x = memory::zeros(shape.into_dimension())?;
        start_noise(&mut x, 1.0, noise)?;
        let scale = |v: f64| level.marginal_variance(v).sqrt();
        self.map(&mut x, 0.0, level.alpha(), scale)?;
        Ok(x)
    }

    /// x ← α'm + f(w) r + Σ (f(v_j) − f(w)) u_j u_jᵀr with r = x − αm.
    fn map<A: Real, D: Dimension>(
        &self,
        x: &mut ArrayRef<A, D>,
        alpha: f64,
        to: f64,
        scale: impl Fn(f64) -> f64,
    ) -> Result<(), Error> {
        let (samples, elements) = batch_of(x)?;
        let d = self.mean.len();
        if samples > 0 {
            require_length("elements of a sample", d, elements)?;
        }
        let rest = scale(self.rest);
        let others: Vec<f64> = self.variances.iter().map(|&v| scale(v) - rest).listed()?;
        let (mut r, mut out, mut g) = (
            memory::repeated(0.0, d)?,
            memory::repeated(0.0, d)?,
            memory::repeated(0.0, others.len())?,
        );
        let (mut elements, mut sample) = (x.iter_mut(), memory::reserve(&[d])?);
        for _ in 0..samples {
            // Row-major, whatever the layout in memory.
            sample.clear();
            sample.extend(elements.by_ref().take(d));
            for ((r, x), m) in r.iter_mut().zip(&sample).zip(&self.mean) {
                *r = x.widen() - alpha * m;
            }
            for ((out, r), m) in out.iter_mut().zip(&r).zip(&self.mean) {
                *out = to * m + rest * r;
            }
            let along = self.directions.chunks_exact(d).zip(&others);
            for (g, (u, scale)) in g.iter_mut().zip(along) {
                *g = scale * linalg::dot(u, &r);
            }
            linalg::add_rows(&self.directions, |j| g[j], &mut out);
            for (x, out) in sample.iter_mut().zip(&out) {
                **x = A::cast(*out);
            }
        }
        Ok(())
    }
}

fn require_rank(rank: usize, d: usize) -> Result<(), Error> {
    require(d > 0, "dimension", d as f64, "at least 1")?;
    require(rank <= d, "rank", rank as f64, "at most the dimension")
}

/// The places of the variances, from the largest.
fn by_variance(variances: &[f64]) -> Result<Vec<usize>, Error> {
    let mut order: Vec<usize> = (0..variances.len()).listed()?;
    order.sort_unstable_by(|&a, &b| variances[b].total_cmp(&variances[a]).then(a.cmp(&b)));
    Ok(order)
}

/// The mean, and the rows without it, row-major.
fn centred<A: Real>(rows: &ArrayRef2<A>) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (n, d) = rows.dim();
    let mut values: Vec<f64> = memory::reserve(&[n, d])?;
    for row in rows.outer_iter() {
        let start = values.len();
        values.extend(row.iter().map(|x| x.widen()));
        let in_range = |_, x: f64| crate::oracle::in_range(x);
        require_all("rows", &values[start..], in_range, ENTRY)?;
    }
    let mut mean = memory::repeated(0.0, d)?;
    for row in values.chunks_exact(d) {
        linalg::axpy(1.0 / n as f64, row, &mut mean);
    }
    for row in values.chunks_exact_mut(d) {
        linalg::axpy(-1.0, &mean, row);
    }
    Ok((mean, values))
}
