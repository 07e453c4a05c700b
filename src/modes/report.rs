//! What came out, beside the truth, as data that prints.

use std::fmt;

use ndarray::{Array2, ArrayRef2};

use super::line::{distances, divergence};
use super::mixture::Line;
use super::points::Points;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::oracle::{GaussianMixture, Oracle, frechet_distance};

/// The exact distribution of a sampler's result in one or two dimensions, beside the mixture that
/// it should have: made by [`Sampler::modes`](crate::Sampler::modes). It prints as a table.
///
/// [`masses`](Self::masses) says how much of the result lies in each mode: the expected
/// responsibility of each component of the truth, which for the truth itself is the component's
/// weight.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeReport {
    points: Array2<f64>,
    point_weights: Vec<f64>,
    mean: Vec<f64>,
    covariance: Array2<f64>,
    true_mean: Vec<f64>,
    true_covariance: Array2<f64>,
    masses: Vec<f64>,
    weights: Vec<f64>,
    frechet: f64,
    wasserstein: Option<[f64; 2]>,
    kl: Option<f64>,
    error: f64,
    distance_error: f64,
}

impl ModeReport {
    pub(super) fn new(
        points: &Points,
        truth: &GaussianMixture,
        level: &NoiseLevel,
    ) -> Result<Self, Error> {
        let d = truth.dim();
        let (mut mean, mut masses) = (
            crate::memory::repeated(0.0, d)?,
            crate::memory::repeated(0.0, truth.weights().len())?,
        );
        let mut point = crate::memory::repeated(0.0, d)?;
        let each = || points.x.rows().into_iter().zip(&points.weights);
        for (x, w) in each() {
            point.iter_mut().zip(x).for_each(|(p, x)| *p = *x);
            mean.iter_mut().zip(&point).for_each(|(m, x)| *m += w * x);
            if *w > 0.0 {
                let shares = truth.responsibilities(&point, level)?;
                let pairs = masses.iter_mut().zip(shares);
                pairs.for_each(|(mass, share)| *mass += w * share);
            }
        }
        let mut covariance = Array2::zeros((d, d));
        for (x, w) in each() {
            for ((i, j), c) in covariance.indexed_iter_mut() {
                *c += w * ((x[i] - mean[i]) * (x[j] - mean[j]));
            }
        }
        let (true_mean, true_covariance) = marginal(truth, level)?;
        let frechet = frechet_distance(&mean, &covariance, &true_mean, &true_covariance)?;
        let (wasserstein, kl) = match d {
            1 => {
                let line = Line::new(truth, level)?;
                let kl = divergence(points, truth, level)?;
                (Some(distances(points, &line)?), kl)
            }
            _ => (None, None),
        };
        Ok(Self {
            points: points.x.copy()?,
            point_weights: points.weights[..].copy()?,
            mean,
            covariance,
            true_mean,
            true_covariance,
            masses,
            weights: truth.weights().copy()?,
            frechet,
            wasserstein,
            kl,
            error: f64::INFINITY,
            distance_error: f64::INFINITY,
        })
    }

    /// The same with the error that the panels' integrals know, those of the distances included.
    pub(super) fn with_error(self, error: f64) -> Self {
        Self {
            error,
            distance_error: larger(self.distance_error, error),
            ..self
        }
    }

    /// The same with an error of at least the mass between neighbouring nodes of one axis that leap
    /// over a mode.
    pub(super) fn with_unseen(
        self,
        points: &Points,
        truth: &GaussianMixture,
        level: &NoiseLevel,
    ) -> Result<Self, Error> {
        if truth.dim() != 1 {
            return Ok(self);
        }
        let (line, x) = (Line::new(truth, level)?, points.x.column(0));
        let gaps = points.weights.windows(2).zip(x.windows(2));
        let leaps = gaps.filter(|(_, x)| line.leaps(x[0].min(x[1]), x[0].max(x[1])));
        let unseen: f64 = leaps.map(|(w, _)| 0.5 * (w[0] + w[1])).sum();
        Ok(Self {
            error: larger(self.error, unseen),
            ..self
        })
    }

    /// Takes the change since a coarser report for the error.
    pub(super) fn compare(&mut self, before: &Self) {
        let d = self.mean.len();
        let power =
            (0..d).map(|i| self.true_covariance[[i, i]] + self.true_mean[i] * self.true_mean[i]);
        let scale = (power.sum::<f64>() / d as f64).sqrt();
        let unit = if scale > 0.0 { scale } else { 1.0 };
        let largest = |a: &mut dyn Iterator<Item = f64>, b: &mut dyn Iterator<Item = f64>| {
            a.zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
        };
        let mean = largest(
            &mut self.mean.iter().copied(),
            &mut before.mean.iter().copied(),
        );
        let covariance = largest(
            &mut self.covariance.iter().copied(),
            &mut before.covariance.iter().copied(),
        );
        let masses = largest(
            &mut self.masses.iter().copied(),
            &mut before.masses.iter().copied(),
        );
        let lost = (self.point_weights.iter().sum::<f64>() - 1.0).abs();
        let relative = [masses, mean / unit, covariance / (unit * unit)];
        self.error = relative.into_iter().fold(lost, larger);
        if before.kl.is_none() {
            // Coarser points say that the map falls somewhere: nothing confirms the number.
            self.kl = None;
        }
        let list = |report: &Self| {
            let w = report.wasserstein.into_iter().flatten().map(|w| w / unit);
            w.chain(report.kl).collect::<Vec<f64>>()
        };
        let (new, old) = (list(self), list(before));
        self.distance_error = largest(&mut new.into_iter(), &mut old.into_iter());
    }

    /// The mean of the result, \[d\].
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance of the result, \[d, d\].
    pub fn covariance(&self) -> &ArrayRef2<f64> {
        &self.covariance
    }

    /// How much of the result lies in each mode: E\[r_k(x)\], with r_k the responsibility of the
    /// truth's component k.
    pub fn masses(&self) -> &[f64] {
        &self.masses
    }

    /// The true weights of the modes.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// ½ Σ |mass − weight|: the share of the result that lies in a wrong mode.
    pub fn misplaced(&self) -> f64 {
        let pairs = self.masses.iter().zip(&self.weights);
        0.5 * pairs.map(|(m, w)| (m - w).abs()).sum::<f64>()
    }

    /// The squared Fréchet distance to the truth: of means and covariances, blind to all else.
    pub fn frechet(&self) -> f64 {
        self.frechet
    }

    /// W₁ and W₂ to the truth, in the units of x; in one dimension.
    pub fn wasserstein(&self) -> Option<[f64; 2]> {
        self.wasserstein
    }

    /// KL(result ‖ truth) in nats; in one dimension, where the result is a rising image of one
    /// smooth density, as half as many points say too: not where the last step reads a history slot
    /// behind a noise.
    pub fn kl(&self) -> Option<f64> {
        self.kl
    }

    /// The error of the quadrature: by how much the masses, the mean (in units of the truth's root
    /// mean square) and the covariance (in its square) still moved when the points were doubled,
    /// and in one dimension at least the mass between neighbouring points that lie on both sides of
    /// a mode and see nothing of it. Above the tolerance where the most points were not enough.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// The same of W₁, W₂ (in units of the root mean square) and KL: of the size of their error, not
    /// a bound, since the integrand of W₁ has corners.
    pub fn distance_error(&self) -> f64 {
        self.distance_error
    }

    /// The weighted points, \[n, d\] and \[n\]: the expectation of a smooth f is Σ w_i f(x_i).
    pub fn points(&self) -> (&ArrayRef2<f64>, &[f64]) {
        (&self.points, &self.point_weights)
    }
}

/// The larger of two changes; one that is not a number is larger than any.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Mean and covariance of the truth at a level.
fn marginal(truth: &GaussianMixture, level: &NoiseLevel) -> Result<(Vec<f64>, Array2<f64>), Error> {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let (mean, covariance) = truth.moments()?;
    let mut covariance = covariance * (alpha * alpha);
    covariance.diag_mut().mapv_inplace(|v| v + sigma * sigma);
    Ok((mean.iter().map(|m| alpha * m).listed()?, covariance))
}

/// Masses by mode, then moments and distances.
impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5} {:>10} {:>10}", "mode", "mass", "truth")?;
        for (k, (mass, weight)) in self.masses.iter().zip(&self.weights).enumerate() {
            writeln!(f, "{k:>5} {mass:>10.6} {weight:>10.6}")?;
        }
        writeln!(f, "in a wrong mode    {:.6}", self.misplaced())?;
        writeln!(
            f,
            "mean               {:.6?}, truth {:.6?}",
            self.mean, self.true_mean
        )?;
        let deviations =
            |c: &Array2<f64>| -> Vec<f64> { c.diag().iter().map(|v| v.max(0.0).sqrt()).collect() };
        writeln!(
            f,
            "deviations         {:.6?}, truth {:.6?}",
            deviations(&self.covariance),
            deviations(&self.true_covariance)
        )?;
        writeln!(
            f,
            "Fréchet distance   {:.6}, its square {:.3e}",
            self.frechet.sqrt(),
            self.frechet
        )?;
        if let Some([first, second]) = self.wasserstein {
            writeln!(f, "W1, W2             {first:.6}, {second:.6}")?;
        }
        if let Some(kl) = self.kl {
            writeln!(f, "KL (nats)          {kl:.6}")?;
        }
        write!(
            f,
            "{} points, moments and masses to {:.1e}",
            self.point_weights.len(),
            self.error
        )
    }
}
