//! A model of the digits whose denoiser is known exactly: it stands where a trained network would.

use std::error::Error;

use diffusion_sampler::oracle::{Gaussian, GaussianMixture, sample_moments};
use ndarray::{Array2, ArrayView1, Axis};

use crate::digits::Digits;

/// Added to every variance: pixels that are blank in a whole cluster would otherwise have none.
const FLOOR: f64 = 0.01;

/// Rounds of k-means; it settles in fewer.
const ROUNDS: usize = 50;

/// A Gaussian mixture with `clusters` full-covariance components for each digit, labelled by the
/// digit, on the scale of [`Digits::signed`].
///
/// # Errors
///
/// If a cluster has fewer than two images.
pub fn fit(digits: &Digits, clusters: usize) -> Result<GaussianMixture, Box<dyn Error>> {
    let images = digits.signed();
    let (mut weights, mut components, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for label in 0..10 {
        let class = images.select(Axis(0), &digits.rows_of(label));
        for members in k_means(&class, clusters) {
            let (mean, mut covariance) = sample_moments(&class.select(Axis(0), &members))?;
            covariance
                .diag_mut()
                .mapv_inplace(|variance| variance + FLOOR);
            weights.push(members.len() as f64);
            components.push(Gaussian::new(&mean, &covariance)?);
            labels.push(label);
        }
    }
    Ok(GaussianMixture::new(&weights, components, labels)?)
}

/// The rows of each cluster, by Lloyd's algorithm from evenly spaced rows: the same on every run.
fn k_means(rows: &Array2<f64>, clusters: usize) -> Vec<Vec<usize>> {
    let starts: Vec<usize> = (0..clusters).map(|k| k * rows.nrows() / clusters).collect();
    let mut centres = rows.select(Axis(0), &starts);
    let mut members = Vec::new();
    for _ in 0..ROUNDS {
        let nearest = assign(rows, &centres);
        if nearest == members {
            break;
        }
        members = nearest;
        for (mut centre, own) in centres.outer_iter_mut().zip(&members) {
            if let Some(mean) = rows.select(Axis(0), own).mean_axis(Axis(0)) {
                centre.assign(&mean);
            }
        }
    }
    members
}

/// The rows that are closest to each centre.
fn assign(rows: &Array2<f64>, centres: &Array2<f64>) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); centres.nrows()];
    for (index, row) in rows.outer_iter().enumerate() {
        members[closest(row, centres)].push(index);
    }
    members
}

/// The index of the centre at the smallest distance.
fn closest(row: ArrayView1<'_, f64>, centres: &Array2<f64>) -> usize {
    let distance = |k: usize| -> f64 {
        let pairs = row.iter().zip(centres.row(k));
        pairs.map(|(a, b)| (a - b) * (a - b)).sum()
    };
    (1..centres.nrows()).fold(0, |best, k| {
        if distance(k) < distance(best) {
            k
        } else {
            best
        }
    })
}
