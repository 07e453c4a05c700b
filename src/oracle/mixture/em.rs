//! The rounds of a fit by expectation–maximisation.

use ndarray::ArrayRef2;

use super::GaussianMixture;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::linalg::{self, Eigen};
use crate::memory::{Copied, Listed};
use crate::oracle::check::{self, Scales};
use crate::oracle::gaussian::Gaussian;
use crate::oracle::{moments, softmax};
use crate::real::Real;

/// A component that holds less than this share of a row is left out.
const EMPTY: f64 = 1e-12;
/// Smaller responsibilities count as 0: all rows together lose less than rounding.
const NEGLIGIBLE: f64 = 1e-22;

/// Checked rows in f64.
pub(super) struct Sample {
    pub(super) rows: Vec<f64>,
    pub(super) count: usize,
    pub(super) dim: usize,
}

impl Sample {
    pub(super) fn of<A: Real>(rows: &ArrayRef2<A>) -> Result<Self, Error> {
        let (count, dim) = rows.dim();
        check::dimension(dim)?;
        let mut values = crate::memory::reserve(&[count * dim])?;
        for row in rows.outer_iter() {
            let start = values.len();
            values.extend(row.iter().map(|value| value.widen()));
            check::point("rows", &values[start..], dim)?;
        }
        Ok(Self {
            rows: values,
            count,
            dim,
        })
    }

    fn each(&self) -> impl Iterator<Item = &[f64]> {
        self.rows.chunks_exact(self.dim)
    }

    /// The variance of an element, on average over the elements.
    pub(super) fn mean_variance(&self) -> Result<f64, Error> {
        let n = self.count as f64;
        let mut mean = crate::memory::repeated(0.0, self.dim)?;
        self.each()
            .for_each(|row| linalg::axpy(1.0 / n, row, &mut mean));
        let square: f64 = self
            .each()
            .map(|row| linalg::squared_distance(row, 1.0, &mean))
            .sum();
        Ok(square / (n * self.dim as f64))
    }
}

/// A fit on its way.
pub(super) struct Run<'s> {
    sample: &'s Sample,
    pub(super) mixture: GaussianMixture,
    diagonal: bool,
    floor: f64,
    /// r, row by row.
    responsibilities: Vec<f64>,
    pub(super) history: Vec<f64>,
    pub(super) converged: bool,
}

impl<'s> Run<'s> {
    /// Weights and means of the clusters, and the covariance of all of them together.
    pub(super) fn from_clusters(
        sample: &'s Sample,
        cluster: &[usize],
        (diagonal, floor): (bool, f64),
    ) -> Result<Self, Error> {
        let (d, n) = (sample.dim, sample.count as f64);
        let count = cluster.iter().max().map_or(1, |last| last + 1);
        let (mut sizes, mut means) = (
            crate::memory::repeated(0.0, count)?,
            crate::memory::repeated(0.0, count * d)?,
        );
        for (row, &k) in sample.each().zip(cluster) {
            sizes[k] += 1.0;
            linalg::axpy(1.0, row, &mut means[k * d..(k + 1) * d]);
        }
        for (mean, size) in means.chunks_exact_mut(d).zip(&sizes) {
            mean.iter_mut().for_each(|m| *m /= f64::max(*size, 1.0));
        }
        let mut total = crate::memory::repeated(0.0, if diagonal { d } else { d * d })?;
        let mut offset = crate::memory::repeated(0.0, d)?;
        for (row, &k) in sample.each().zip(cluster) {
            offset.copy_from_slice(row);
            linalg::axpy(-1.0, &means[k * d..(k + 1) * d], &mut offset);
            add_square(1.0 / n, &offset, &mut total);
        }
        let shape = raised(crate::memory::repeated(0.0, d)?, total, floor, None)?;
        let own = (0..count).filter(|&k| sizes[k] > 0.0);
        let components = own.map(|k| shape.moved(&means[k * d..(k + 1) * d]));
        let components: Vec<Gaussian> = components.all_listed()?;
        sizes.retain(|size| *size > 0.0);
        let labels = (0..components.len()).listed()?;
        let mut run = Self {
            sample,
            mixture: GaussianMixture::new(&sizes, components, labels)?,
            diagonal,
            floor,
            responsibilities: Vec::new(),
            history: Vec::new(),
            converged: false,
        };
        run.expect()?;
        Ok(run)
    }

    pub(super) fn last(&self) -> f64 {
        self.history.last().copied().unwrap_or(f64::NEG_INFINITY)
    }

    pub(super) fn advance(&mut self, rounds: usize, tolerance: f64) -> Result<(), Error> {
        for _ in 0..rounds {
            if self.converged {
                break;
            }
            let before = self.last();
            self.maximise()?;
            self.expect()?;
            self.converged = self.last() - before < tolerance;
        }
        Ok(())
    }

    /// The responsibilities and the likelihood of the mixture as it is.
    fn expect(&mut self) -> Result<(), Error> {
        let scales = Scales::of(&NoiseLevel::clean())?;
        let (count, d) = (self.mixture.components.len(), self.sample.dim);
        let mut ys = crate::memory::repeated(0.0, count * d)?;
        let all = self.sample.count.saturating_mul(count);
        crate::memory::resize(&mut self.responsibilities, all, 0.0)?;
        let mut total = 0.0;
        let rows = self.sample.each();
        for (row, r) in rows.zip(self.responsibilities.chunks_exact_mut(count)) {
            let offset = self.mixture.logits(row, &scales, &mut ys, r);
            total += offset + softmax::log_sum_exp(r);
            softmax::softmax(r);
        }
        self.history.push(total / self.sample.count as f64);
        Ok(())
    }

    fn maximise(&mut self) -> Result<(), Error> {
        let count = self.mixture.components.len();
        let (mut weights, mut components) = (Vec::new(), Vec::new());
        for k in 0..count {
            let share = self.responsibilities.iter().skip(k).step_by(count);
            let weight: f64 = share.sum();
            if weight > EMPTY {
                weights.push(weight);
                components.push(self.component(k, weight)?);
            }
        }
        let labels = (0..components.len()).listed()?;
        self.mixture = GaussianMixture::new(&weights, components, labels)?;
        Ok(())
    }

    /// m_k and C_k.
    fn component(&self, k: usize, weight: f64) -> Result<Gaussian, Error> {
        let (d, count) = (self.sample.dim, self.mixture.components.len());
        let shares = self.responsibilities.iter().skip(k).step_by(count);
        let held = self.sample.each().zip(shares);
        let held: Vec<_> = held.filter(|(_, r)| **r > NEGLIGIBLE).listed()?;
        let mut mean = crate::memory::repeated(0.0, d)?;
        for (row, r) in &held {
            linalg::axpy(**r / weight, row, &mut mean);
        }
        let mut total = crate::memory::repeated(0.0, if self.diagonal { d } else { d * d })?;
        let mut offset = crate::memory::repeated(0.0, d)?;
        for (row, r) in &held {
            offset.copy_from_slice(row);
            linalg::axpy(-1.0, &mean, &mut offset);
            add_square(**r / weight, &offset, &mut total);
        }
        let before = self.mixture.components.get(k);
        raised(mean, total, self.floor, before)
    }
}

/// C ← C + w·a aᵀ, or its diagonal where that is all that C has.
fn add_square(w: f64, a: &[f64], total: &mut [f64]) {
    if total.len() == a.len() {
        for (total, a) in total.iter_mut().zip(a) {
            *total += w * (a * a);
        }
    } else {
        moments::add_outer(w, a, total);
    }
}

/// N(`mean`, `total`) with the eigenvalues raised to the floor. `near` has eigenvectors near to its own:
/// in their coordinates the Jacobi iteration has little left to do.
fn raised(
    mean: Vec<f64>,
    total: Vec<f64>,
    floor: f64,
    near: Option<&Gaussian>,
) -> Result<Gaussian, Error> {
    let d = mean.len();
    let mut eigen = if total.len() == d && d > 1 {
        Eigen {
            values: total,
            vectors: None,
        }
    } else {
        match near.and_then(Gaussian::own_eigenvectors) {
            Some(vectors) => eigen_near(&total, vectors, d),
            None => linalg::symmetric_eigen(total, d),
        }?
    };
    for value in &mut eigen.values {
        *value = value.max(floor);
    }
    Gaussian::with_axes(mean, eigen.values, eigen.vectors)
}

/// Eigenvectors through those of V S Vᵀ, V having the rows `vectors`.
fn eigen_near(total: &[f64], vectors: &[f64], d: usize) -> Result<Eigen, Error> {
    let mut half = crate::memory::repeated(0.0, d * d)?;
    for (row, v) in half.chunks_exact_mut(d).zip(vectors.chunks_exact(d)) {
        linalg::add_rows(total, |i| v[i], row);
    }
    let mut turned = crate::memory::repeated(0.0, d * d)?;
    for i in 0..d {
        for j in 0..=i {
            let value = linalg::dot(&half[i * d..(i + 1) * d], &vectors[j * d..(j + 1) * d]);
            turned[i * d + j] = value;
            turned[j * d + i] = value;
        }
    }
    let eigen = linalg::symmetric_eigen(turned, d)?;
    let vectors = match eigen.vectors {
        None => vectors.copy()?,
        Some(inner) => {
            let mut all = crate::memory::repeated(0.0, d * d)?;
            for (row, w) in all.chunks_exact_mut(d).zip(inner.chunks_exact(d)) {
                linalg::add_rows(vectors, |i| w[i], row);
            }
            all
        }
    };
    Ok(Eigen {
        values: eigen.values,
        vectors: Some(vectors),
    })
}
