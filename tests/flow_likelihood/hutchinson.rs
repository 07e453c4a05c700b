//! Random probes: unbiased, with a standard error that is right.

use diffusion_sampler::{
    Prediction,
    likelihood::Probes,
    oracle::{Gaussian, Oracle},
};
use ndarray::{Array2, Array3, array, s};

use crate::common::{Outcome, correlated, flow, ring, vp};

/// Two-sided false-alarm rate 6e-5.
const FOUR: f64 = 4.0;

/// ∫ of the divergence's matrix for Gaussian data is U diag(a) Uᵀ with a_k from one direction
/// alone: ½ ln of the ratio of s = α̂²v + σ̂² at the ends, up to what all directions share.
fn matrix(
    data: &Gaussian,
    ends: [diffusion_sampler::NoiseLevel; 2],
) -> Result<Array2<f64>, diffusion_sampler::Error> {
    let axes = data.axes()?;
    let a = data.variances().iter().map(|&v| {
        let [noisy, clean] = ends.map(|level| level.marginal_variance(v));
        0.5 * (clean / noisy).ln()
    });
    let diagonal = Array2::from_diag(&a.collect::<ndarray::Array1<f64>>());
    Ok(axes.dot(&diagonal).dot(&axes.t()))
}

#[test]
fn estimates_are_unbiased_and_their_standard_errors_right() -> Outcome {
    const SAMPLES: usize = 600;
    const PROBES: usize = 6;
    let data = correlated()?;
    let (flow, grid) = flow(&vp()?, (-4.0, 4.0), 24)?;
    let x = Array2::from_shape_fn((SAMPLES, 3), |(row, i)| {
        (0.37 * row as f64 + i as f64).sin() * 2.0
    });
    let exact = flow.exact(&data, &x)?;
    let a = matrix(&data, [grid.start(), grid.end()])?;
    let off: f64 = a
        .indexed_iter()
        .filter(|((i, j), _)| i != j)
        .map(|(_, a)| a * a)
        .sum();
    let all: f64 = a.iter().map(|a| a * a).sum();
    // The matrix that the probes see also has what all directions share, ∫α̂²dλ or ∫σ̂²dλ: it is on
    // the diagonal, where Rademacher does not see it.
    for (probes, variance) in [
        (Probes::rademacher(PROBES, 5)?, Some(2.0 * off)),
        (Probes::gaussian(PROBES, 6)?, None),
    ] {
        let mut model = data.clone().denoiser(Prediction::Noise);
        let found = flow.estimate(&mut model, &x, &probes)?;
        let n = SAMPLES as f64;
        let misses: Vec<f64> = found
            .log_densities()
            .iter()
            .zip(exact.log_densities())
            .map(|(a, b)| a - b)
            .collect();
        let squares: Vec<f64> = found.standard_errors().iter().map(|e| e * e).collect();
        let mean = |list: &[f64]| list.iter().sum::<f64>() / n;
        let deviation = |list: &[f64]| {
            let mean = mean(list);
            (list.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
        };
        // Unbiased, by the spread that the standard errors state.
        let z = mean(&misses) / (mean(&squares) / n).sqrt();
        assert!(z.abs() < FOUR, "{probes:?}: off by {z}");
        // The squared standard error has the mean that it should have: against the spread of the
        // misses, and where it is known against the exact variance.
        let misses_squared: Vec<f64> = misses.iter().map(|m| m * m).collect();
        let error = (deviation(&squares).powi(2) + deviation(&misses_squared).powi(2)) / n;
        let z = (mean(&squares) - mean(&misses_squared)) / error.sqrt();
        assert!(z.abs() < FOUR, "{probes:?}: {z}");
        if let Some(variance) = variance {
            let z = (mean(&squares) - variance / PROBES as f64) / (deviation(&squares) / n.sqrt());
            assert!(z.abs() < FOUR, "{probes:?}: {z}, {variance} of {all}");
        } else {
            // Normal probes have more: that of the diagonal too.
            assert!(mean(&squares) > 2.0 * off / PROBES as f64);
        }
    }
    Ok(())
}

#[test]
fn every_estimate_of_a_mixture_lies_within_its_standard_errors() -> Outcome {
    // 40 samples with 64 probes: Student's t with 63 degrees of freedom exceeds 5.2 in magnitude
    // once in 440,000 times, and one of 40 once in 11,000.
    let (flow, _) = flow(&vp()?, (-5.0, 4.0), 30)?;
    let data = ring()?;
    let x = Array2::from_shape_fn((40, 2), |(row, i)| {
        (0.5 * row as f64 + 1.57 * i as f64).cos() * (0.4 + 0.02 * row as f64)
    });
    let exact = flow.exact(&data, &x)?;
    let mut model = data.denoiser(Prediction::Noise);
    let found = flow.estimate(&mut model, &x, &Probes::rademacher(64, 3)?)?;
    let errors = found.standard_errors();
    let pairs = found.log_densities().iter().zip(exact.log_densities());
    for ((found, exact), error) in pairs.zip(errors) {
        assert!(
            (found - exact).abs() <= 5.2 * error + 1e-9,
            "{found} ± {error}, {exact}"
        );
    }
    Ok(())
}

#[test]
fn a_diagonal_jacobian_needs_one_rademacher_probe() -> Outcome {
    let (flow, _) = flow(&vp()?, (-4.0, 4.0), 20)?;
    let data = Gaussian::diagonal(&[0.2, 0.5], &[0.3, 2.0])?;
    let x = array![[0.1, -0.4]];
    let exact = flow.exact(&data, &x)?.log_densities()[0];
    let mut model = data.denoiser(Prediction::Velocity);
    let one = flow.estimate(&mut model, &x, &Probes::rademacher(1, 3)?)?;
    assert!((one.log_densities()[0] - exact).abs() < 1e-12);
    assert_eq!(one.standard_errors(), [f64::INFINITY]);
    let two = flow.estimate(&mut model, &x, &Probes::rademacher(2, 3)?)?;
    assert!(two.standard_errors()[0] < 1e-13);
    Ok(())
}

#[test]
fn an_estimate_is_the_same_in_any_batch_that_begins_alike() -> Outcome {
    let (flow, _) = flow(&vp()?, (-3.0, 3.0), 8)?;
    let mut model = ring()?.denoiser(Prediction::Noise);
    let x = Array3::from_shape_fn((5, 1, 2), |(row, _, i)| 0.2 * row as f64 - 0.3 * i as f64);
    let probes = Probes::gaussian(3, 9)?;
    let five = flow.estimate(&mut model, &x, &probes)?;
    let two = flow.estimate(&mut model, &x.slice(s![..2, .., ..]), &probes)?;
    assert_eq!(two.log_densities(), &five.log_densities()[..2]);
    assert_eq!(two.standard_errors(), &five.standard_errors()[..2]);
    let other = flow.estimate(&mut model, &x, &Probes::gaussian(3, 10)?)?;
    assert_ne!(other.log_densities(), five.log_densities());
    Ok(())
}
