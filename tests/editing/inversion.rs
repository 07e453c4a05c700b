//! Exact inversion against the run that it inverts.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler,
    editing::ExactInversion,
    forward::{diffuse, fill_normal},
    from_fn,
    noise::Stream,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
};
use ndarray::{Array2, Array4, Ix2, array};

use crate::{Outcome, distance, ring};

/// Draws of the ring.
fn images(samples: usize) -> Array2<f64> {
    let mut x = Array2::zeros((samples, 2));
    fill_normal(&mut x, &mut KeyedNoise::new(3), 0, Stream::User(0)).unwrap();
    for (sample, mut row) in x.rows_mut().into_iter().enumerate() {
        let angle = std::f64::consts::TAU * (sample % 8) as f64 / 8.0;
        row[0] = angle.cos() + 0.15 * row[0];
        row[1] = angle.sin() + 0.15 * row[1];
    }
    x
}

type Scheduled = (Box<dyn NoiseSchedule>, Grid);

fn grids(steps: usize) -> Result<Vec<Scheduled>, Error> {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let zero = table.zero_terminal_snr()?;
    let (vp, flow, edm) = (
        VariancePreserving::default(),
        RectifiedFlow::shifted(3.0)?,
        Edm::default(),
    );
    let range = LambdaRange::new(-4.0, 4.0)?;
    Ok(vec![
        (Box::new(table.clone()), Grid::trailing(&table, steps)?),
        (Box::new(zero.clone()), Grid::trailing(&zero, steps)?),
        (Box::new(vp), Grid::uniform_lambda(&vp, steps, range)?),
        (Box::new(flow), Grid::trailing(&flow, steps)?),
        (
            Box::new(edm),
            Grid::karras(&edm, steps, edm.lambda_range(), 7.0)?,
        ),
    ])
}

#[test]
fn a_ddim_round_trip_closes_to_rounding_on_the_ring() -> Outcome {
    let mut model = ring().denoiser(Prediction::Data);
    let images = images(64);
    let mut worst = 0.0f64;
    for steps in [1, 5, 10, 50, 200] {
        for (schedule, grid) in grids(steps)? {
            let sampler = Sampler::new(&*schedule, &grid, &FirstOrder::ddim())?;
            // From pure noise to the clean end nothing of the state is left.
            if steps == 1 && grid.start().alpha() == 0.0 {
                let refused = ExactInversion::new(&sampler);
                assert!(matches!(refused, Err(Error::DegenerateEdge { .. })));
                continue;
            }
            let found = ExactInversion::new(&sampler)?.invert(&images, &mut model)?;
            let (residual, trials) = (found.residual(), found.steps.iter().map(|s| s.trials).max());
            // In one step nearly every state leads to the mean: nothing to be found.
            if steps == 1 {
                assert!(!found.steps[0].converged);
                continue;
            }
            let start = found.into_converged();
            println!(
                "{steps} {:?}: residual {residual:e}, trials {trials:?}",
                schedule.last_time()
            );
            let mut run = sampler.start_from(start?, Prediction::Data, KeyedNoise::new(0))?;
            run.complete(&mut model)?;
            let error = distance(run.state(), &images);
            println!("   round trip {error:e}");
            worst = worst.max(error);
        }
    }
    assert!(worst < 1e-11, "{worst:e}");
    Ok(())
}

#[test]
fn every_state_of_the_run_is_found_again() -> Outcome {
    // The inverse of the first steps alone: from a state in the middle to the start.
    let mut model = ring().denoiser(Prediction::Data);
    for (schedule, grid) in grids(12)? {
        for solver in [&FirstOrder::ddim() as &dyn Solver, &Heun::new()] {
            let part = grid.section(0..8)?;
            let sampler = Sampler::new(&*schedule, &part, solver)?;
            let mut run = sampler.start((20, 2), Prediction::Data, KeyedNoise::new(9))?;
            let start: Array2<f64> = run.state().to_owned();
            run.complete(&mut model)?;
            let found = ExactInversion::new(&sampler)?.invert(run.state(), &mut model)?;
            assert_eq!(found.steps.len(), 8);
            assert_eq!(
                found.steps[0].step, 7,
                "the plan's last step is solved first"
            );
            let state = found.into_converged()?;
            let mut again =
                sampler.start_from(state.clone(), Prediction::Data, KeyedNoise::new(0))?;
            again.complete(&mut model)?;
            assert!(distance(again.state(), run.state()) < 1e-11);
            if solver.order() == 1 {
                // The solution is unique; its error is the residual's, times how much the steps
                // narrow (the ring's modes pull neighbouring states together).
                let far =
                    distance(&state, &start) / start.iter().fold(0.0, |m, x| f64::max(m, x.abs()));
                assert!(far < 1e-7, "{far:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn on_gaussian_data_the_start_is_known_in_closed_form() -> Outcome {
    let (mean, variance) = (0.7, 0.3);
    let mut model = Gaussian::isotropic(&[mean], variance)?.denoiser(Prediction::Noise);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 10)?;
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddim())?;
    let found = ExactInversion::new(&sampler)?.invert(&array![[-0.4], [1.9]], &mut model)?;
    let (mut centre, mut factor) = (0.0, 1.0);
    for (t, s) in grid.edges() {
        // x_s = (σ_s/σ_t)x + α_s(1 − r)D, D = m + g(x − α_t m).
        let gain = t.alpha() * variance / (t.alpha().powi(2) * variance + t.sigma().powi(2));
        let (a, r) = (
            s.sigma() / t.sigma(),
            s.sigma() * t.alpha() / (t.sigma() * s.alpha()),
        );
        let b = s.alpha() * (1.0 - r);
        centre = a * centre + b * (mean + gain * (centre - t.alpha() * mean));
        factor *= a + b * gain;
    }
    for (x, x0) in found.into_converged()?.iter().zip([-0.4, 1.9]) {
        let exact = (x0 - centre) / factor;
        assert!((x - exact).abs() < 1e-11 * exact.abs(), "{x} {exact}");
    }
    Ok(())
}

#[test]
fn any_dimension_any_prediction_and_f32() -> Outcome {
    let data = Gaussian::isotropic(&[0.2; 12], 0.4)?;
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(&table, &Grid::trailing(&table, 15)?, &FirstOrder::ddim())?;
    let images = Array4::<f32>::from_shape_fn((3, 1, 3, 4), |(n, _, i, j)| {
        (n + i) as f32 * 0.3 - 0.1 * j as f32
    });
    for kind in [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Flow,
    ] {
        let mut model = data.clone().denoiser(kind);
        let found = ExactInversion::new(&sampler)?.invert(&images, &mut model)?;
        assert!(found.residual() < 3e-5);
        let mut run = sampler.start_from(found.into_converged()?, kind, KeyedNoise::new(0))?;
        run.complete(&mut model)?;
        let error = run
            .state()
            .iter()
            .zip(&images)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(error < 3e-4, "{error}");
    }
    Ok(())
}

#[test]
fn more_dimensions_than_secants_are_no_obstacle() -> Outcome {
    // Narrow modes in 40 dimensions, whose estimates are far from linear between them.
    let dims = 40;
    let mode = |k: usize| {
        let mean: Vec<f64> = (0..dims)
            .map(|i| ((7 * k * k + 3 * i * (k + 1)) as f64).sin())
            .collect();
        let variances: Vec<f64> = (0..dims).map(|i| 0.3 / (1.0 + i as f64)).collect();
        Gaussian::diagonal(&mean, &variances)
    };
    let modes = (0..5).map(mode).collect::<Result<Vec<_>, _>>()?;
    let image = Array2::from_shape_fn((5, dims), |(k, i)| modes[k].mean()[i]);
    let data = GaussianMixture::new(&[0.2; 5], modes, vec![0; 5])?;
    let mut model = data.denoiser(Prediction::Noise);
    for (schedule, grid) in grids(20)?
        .into_iter()
        .filter(|(_, grid)| grid.start().alpha() > 0.0)
    {
        let mut noisy = image.clone();
        let near = grid.section(8..grid.steps() - 1)?;
        let part = Sampler::new(&*schedule, &near, &FirstOrder::ddim())?;
        diffuse(&mut noisy, &[near.start()], &mut KeyedNoise::new(6), 0)?;
        let mut run = part.start_from(noisy, Prediction::Noise, KeyedNoise::new(0))?;
        run.complete(&mut model)?;
        // Back from there to noise, over all steps but the last.
        let whole = Sampler::new(
            &*schedule,
            &grid.section(0..grid.steps() - 1)?,
            &FirstOrder::ddim(),
        )?;
        let found = ExactInversion::new(&whole)?.invert(run.state(), &mut model)?;
        println!(
            "{:e} in {:?} trials",
            found.residual(),
            found.steps.iter().map(|s| s.trials).max()
        );
        let mut again = whole.start_from(
            found.into_converged()?,
            Prediction::Noise,
            KeyedNoise::new(0),
        )?;
        again.complete(&mut model)?;
        let size = grid.levels()[grid.steps() - 1].alpha();
        assert!(distance(again.state(), run.state()) < 1e-11 * size.max(1.0));
    }
    Ok(())
}

#[test]
fn acceleration_saves_trials_and_the_plain_iteration_agrees() -> Outcome {
    let mut model = ring().denoiser(Prediction::Data);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(&table, &Grid::trailing(&table, 20)?, &FirstOrder::ddim())?;
    let inversion = ExactInversion::new(&sampler)?;
    let images = images(16);
    let fast = inversion.clone().invert(&images, &mut model)?;
    let plain = inversion
        .with_secants(0)
        .with_trials(20_000)?
        .invert(&images, &mut model)?;
    let trials = |steps: &[diffusion_sampler::editing::InvertedStep]| -> usize {
        steps.iter().map(|step| step.trials).sum()
    };
    println!(
        "{} trials against {}",
        trials(&fast.steps),
        trials(&plain.steps)
    );
    assert!(5 * trials(&fast.steps) < trials(&plain.steps));
    assert!(distance(&fast.into_converged()?, &plain.into_converged()?) < 1e-8);
    Ok(())
}

#[test]
fn what_has_no_inverse_is_refused_or_reported() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 5)?;
    let refused = |solver: &dyn Solver| {
        ExactInversion::new(&Sampler::new(&table, &grid, solver).unwrap()).unwrap_err()
    };
    assert!(matches!(
        refused(&FirstOrder::ddpm()),
        Error::InvalidEntry { name: "noise of step", index: 0, value, .. } if value > 0.0
    ));
    assert_eq!(
        refused(&DpmSolverPlusPlus::new()),
        Error::SlotNotWritten {
            step: 1,
            stage: 0,
            slot: 0
        }
    );
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddim())?;
    let inversion = ExactInversion::new(&sampler)?;
    assert!(inversion.clone().with_tolerance(0.0).is_err());
    assert!(inversion.clone().with_trials(0).is_err());
    // A model that returns 0.5, whatever it is given, makes nothing else.
    let mut constant = from_fn::<f64, Ix2>(Prediction::Data, |_, _, out| out.fill(0.5));
    let found = inversion.invert(&array![[0.5, 0.5], [0.5, 0.7]], &mut constant)?;
    let last = found.steps[0];
    assert!(!last.converged && last.sample == 1 && last.trials <= 100);
    assert!(
        (last.residual - 0.2 / 2f64.sqrt()).abs() < 1e-12,
        "{}",
        last.residual
    );
    assert!(matches!(
        found.into_converged(),
        Err(Error::NotConverged {
            step: 4,
            sample: 1,
            ..
        })
    ));
    let nan = inversion.invert(&array![[f64::NAN]], &mut constant);
    assert!(matches!(
        nan,
        Err(RunError::Sampler(Error::NonFiniteStart { .. }))
    ));
    Ok(())
}
