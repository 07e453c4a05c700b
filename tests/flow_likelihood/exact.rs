//! The flow of exact models against their densities.

use diffusion_sampler::{
    Error,
    likelihood::FlowLikelihood,
    oracle::{Empirical, Gaussian, Oracle},
    schedule::{NoiseSchedule, RectifiedFlow, VarianceExploding},
};
use ndarray::{Array2, Array3, array};

use crate::common::{Outcome, correlated, flow, ring, vp};

const WIDE: (f64, f64) = (-8.0, 8.0);

fn points() -> Array2<f64> {
    array![[1.0, -1.0, 0.5], [3.2, 0.7, -1.1], [-2.0, -3.0, 2.0]]
}

/// The largest |ln p − exact| over the rows.
fn largest(
    flow: &FlowLikelihood,
    data: &impl Oracle,
    x: &Array2<f64>,
    end: &diffusion_sampler::NoiseLevel,
    exact_start: bool,
) -> Result<f64, Error> {
    let mut density = flow.exact(data, x)?;
    if exact_start {
        density = density.with_exact_start(data)?;
    }
    let mut largest = 0.0f64;
    for (row, found) in x.rows().into_iter().zip(density.log_densities()) {
        let expected = data.log_density(&row.to_vec(), end)?;
        largest = largest.max((found - expected).abs());
    }
    Ok(largest)
}

#[test]
fn gaussians_have_their_density_to_rounding() -> Outcome {
    let (flow, grid) = flow(&vp()?, WIDE, 5120)?;
    let miss = largest(&flow, &correlated()?, &points(), &grid.end(), true)?;
    assert!(miss < 1e-12, "{miss}");
    Ok(())
}

#[test]
fn the_error_is_of_order_four() -> Outcome {
    let (data, x) = (correlated()?, points());
    let error = |steps: usize| -> Result<f64, Error> {
        let (flow, grid) = flow(&vp()?, WIDE, steps)?;
        largest(&flow, &data, &x, &grid.end(), true)
    };
    let (coarse, fine) = (error(640)?, error(1280)?);
    let slope = (coarse / fine).log2();
    assert!((3.95..4.1).contains(&slope), "{slope}: {coarse} and {fine}");
    // And so is that of a mixture, whose flow is not linear.
    let ring = ring()?;
    let x = array![[0.6, 0.2], [-0.3, 0.9], [0.0, 0.1]];
    let error = |steps: usize| -> Result<f64, Error> {
        let (flow, grid) = flow(&vp()?, WIDE, steps)?;
        largest(&flow, &ring, &x, &grid.end(), true)
    };
    let (coarse, fine) = (error(800)?, error(1600)?);
    let slope = (coarse / fine).log2();
    assert!((3.95..4.1).contains(&slope), "{slope}: {coarse} and {fine}");
    Ok(())
}

#[test]
fn halving_the_steps_tells_the_error() -> Outcome {
    let (data, x) = (ring()?, array![[0.6, 0.2]]);
    let at = |steps: usize| -> Result<(f64, f64), Error> {
        let (flow, grid) = flow(&vp()?, WIDE, steps)?;
        let exact = data.log_density(&[0.6, 0.2], &grid.end())?;
        let density = flow.exact(&data, &x)?.with_exact_start(&data)?;
        Ok((density.log_densities()[0], exact))
    };
    let ((coarse, exact), (fine, _)) = (at(400)?, at(800)?);
    let (told, error) = ((coarse - fine) * 16.0 / 15.0, coarse - exact);
    assert!((told / error - 1.0).abs() < 0.05, "{told} and {error}");
    Ok(())
}

#[test]
fn every_schedule_of_the_same_lambda_gives_the_same_density() -> Outcome {
    let data = correlated()?;
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(vp()?),
        Box::new(VarianceExploding::new(1e-4, 1e4)?),
        Box::new(RectifiedFlow::new()),
    ];
    let mut found: Vec<Vec<f64>> = Vec::new();
    for schedule in &schedules {
        let (flow, grid) = flow(schedule.as_ref(), (-6.0, 5.0), 60)?;
        let norm = grid.end().marginal_variance(1.0).sqrt();
        // The same point: x = n·x̂, of density p̂/n^d.
        let density = flow.exact(&data, &points().mapv(|x| norm * x))?;
        let change = 3.0 * norm.ln();
        let start = density.with_exact_start(&data)?;
        found.push(start.log_densities().iter().map(|l| l + change).collect());
    }
    for other in &found[1..] {
        for (a, b) in found[0].iter().zip(other) {
            assert!((a - b).abs() < 1e-9, "{a} and {b}");
        }
    }
    // And that density is the exact one, to the error of 60 steps.
    for schedule in &schedules {
        let (flow, grid) = flow(schedule.as_ref(), (-6.0, 5.0), 60)?;
        let miss = largest(&flow, &data, &points(), &grid.end(), true)?;
        assert!(miss < 2e-3, "{miss}");
    }
    Ok(())
}

#[test]
fn a_ring_of_eight_gaussians_has_its_density() -> Outcome {
    let (flow, grid) = flow(&vp()?, WIDE, 400)?;
    let x = array![
        [1.0, 0.0],
        [0.6, 0.2],
        [-0.3, 0.9],
        [0.05, -0.02],
        [-1.2, -0.4]
    ];
    let miss = largest(&flow, &ring()?, &x, &grid.end(), false)?;
    assert!(miss < 5e-6, "{miss}");
    Ok(())
}

#[test]
fn latents_are_where_the_exact_flow_leads() -> Outcome {
    let (flow, grid) = flow(&RectifiedFlow::new(), (-5.0, 5.0), 1000)?;
    let (data, x) = (correlated()?, points());
    let density = flow.exact(&data, &x)?;
    let mut expected = vec![0.0; 3];
    for (row, latents) in x.rows().into_iter().zip(density.latents().chunks(3)) {
        data.flow(&row.to_vec(), &grid.end(), &grid.start(), &mut expected)?;
        for (a, b) in latents.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-8, "{a} and {b}");
        }
    }
    Ok(())
}

#[test]
fn the_start_is_n_0_v_unless_it_is_given() -> Outcome {
    // Data that are N(0, 1): the flow of a variance-preserving schedule stands still.
    let data = Gaussian::isotropic(&[0.0; 2], 1.0)?;
    let (flow, _) = flow(&vp()?, (-4.0, 4.0), 10)?;
    let x = array![[0.5, -1.5]];
    let normal = |v: f64| -(2.0 * std::f64::consts::PI * v).ln() - 2.5 / (2.0 * v);
    let density = flow.exact(&data, &x)?;
    assert!((density.log_densities()[0] - normal(1.0)).abs() < 1e-13);
    let wider = flow.clone().with_start_variance(4.0)?.exact(&data, &x)?;
    assert!((wider.log_densities()[0] - normal(4.0)).abs() < 1e-13);
    let bits = density.bits_per_dimension().unwrap()[0];
    assert!((bits + normal(1.0) / (2.0 * std::f64::consts::LN_2)).abs() < 1e-13);
    assert_eq!((density.dim(), density.standard_errors()), (2, &[0.0][..]));
    Ok(())
}

#[test]
fn samples_of_any_shape_and_type_are_rows() -> Outcome {
    let (flow, _) = flow(&vp()?, (-4.0, 4.0), 50)?;
    let data = Gaussian::diagonal(&[0.5; 6], &[0.1, 0.2, 0.5, 1.0, 2.0, 3.0])?;
    let flat = Array2::from_shape_fn((2, 6), |(b, i)| 0.25 * (b as f64) - 0.125 * i as f64);
    let images = Array3::from_shape_fn((2, 2, 3), |(b, i, j)| flat[[b, 3 * i + j]] as f32);
    let (a, b) = (flow.exact(&data, &flat)?, flow.exact(&data, &images)?);
    // The numbers are eighths: exact in f32.
    assert_eq!(a, b);
    let none = flow.exact(&data, &Array2::<f64>::zeros((0, 6)))?;
    assert!(none.log_densities().is_empty());
    Ok(())
}

#[test]
fn traces_are_those_of_the_covariance() -> Outcome {
    let points = array![[1.0, 0.0], [0.2, -0.7], [-1.0, 0.4]];
    let oracles: [Box<dyn Oracle>; 4] = [
        Box::new(ring()?),
        Box::new(Empirical::new(&points)?),
        Box::new(Gaussian::new(&[0.3, 0.1], &array![[1.0, 0.4], [0.4, 0.3]])?),
        Box::new(Gaussian::diagonal(&[0.3, 0.1], &[0.0, 0.3])?),
    ];
    let schedule = vp()?;
    for oracle in &oracles {
        for lambda in [-6.0, 0.0, 1.0, 4.0] {
            let level = schedule.level(schedule.time_of_lambda(lambda)?)?;
            let x = [0.4, -0.2];
            let expected = oracle.posterior_covariance(&x, &level)?.diag().sum();
            let found = oracle.posterior_variance(&x, &level)?;
            assert!(
                (found - expected).abs() <= 1e-14 * expected,
                "{found} and {expected}"
            );
        }
        let clean = diffusion_sampler::NoiseLevel::clean();
        assert_eq!(oracle.posterior_variance(&[0.0, 0.0], &clean)?, 0.0);
        assert!(oracle.posterior_variance(&[0.0], &clean).is_err());
    }
    Ok(())
}
