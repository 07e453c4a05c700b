//! DDPM inversion against the run that replays its noises.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler,
    editing::{DdpmInversion, ExactInversion},
    oracle::{Gaussian, Oracle},
    posterior::Kappa,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
};
use ndarray::{Array1, Array2, Array4, array};

use crate::{Outcome, distance, ring};

#[test]
fn replayed_noises_give_every_state_and_the_image() -> Outcome {
    let mut model = ring().denoiser(Prediction::Data);
    let image = array![[1.05, 0.1], [0.6, 0.75], [-0.9, 0.05], [0.02, -1.1]];
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let schedules: [Box<dyn NoiseSchedule>; 4] = [
        Box::new(table.zero_terminal_snr()?),
        Box::new(table),
        Box::new(RectifiedFlow::new()),
        Box::new(VarianceExploding::new(0.01, 50.0)?),
    ];
    let mut worst = 0.0f64;
    for schedule in &schedules {
        let whole = Grid::quadratic(schedule, 25)?;
        for grid in [whole.without_clean_end()?, whole] {
            for kappa in [
                Kappa::Ddpm,
                Kappa::Eta(0.5),
                Kappa::Tau(0.7),
                Kappa::Fresh,
                Kappa::Ddim,
            ] {
                let sampler = Sampler::new(schedule, &grid, &FirstOrder::new(kappa))?;
                let inversion = DdpmInversion::new(&sampler)?;
                let x = &image * grid.end().alpha();
                let found = inversion
                    .invert(&x, &mut model, &mut KeyedNoise::new(4))?
                    .converged()?;
                assert_eq!(found.states.len(), grid.steps() + 1);
                let start = found.states[0].clone();
                let mut run = sampler.start_from(start, Prediction::Data, found.noise.clone())?;
                for state in &found.states {
                    assert_eq!(run.state(), state, "bit for bit");
                    if !run.is_finished() {
                        run.advance(&mut model)?;
                    }
                }
                worst = worst.max(distance(run.state(), &x));
            }
        }
    }
    println!("largest error of an image: {worst:e}");
    assert!(worst < 1e-11, "{worst:e}");
    Ok(())
}

#[test]
fn the_states_are_independent_draws_and_the_noises_lead_between_them() -> Outcome {
    let mut model = Gaussian::isotropic(&[0.3], 0.5)?.denoiser(Prediction::Noise);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 10)?.without_clean_end()?;
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddpm())?;
    let (samples, x0) = (20_000, 0.8);
    let x = Array2::from_elem((samples, 1), x0 * grid.end().alpha());
    let found = DdpmInversion::new(&sampler)?.invert(&x, &mut model, &mut KeyedNoise::new(2))?;
    let noise_of = |k: usize| -> Array1<f64> {
        let level = grid.levels()[k];
        let state = &found.states[k];
        state
            .column(0)
            .mapv(|x| (x - level.alpha() * x0) / level.sigma())
    };
    let n = (samples as f64).sqrt();
    for k in 0..grid.steps() {
        let noise = noise_of(k);
        let (mean, square) = (
            noise.sum() / samples as f64,
            noise.dot(&noise) / samples as f64,
        );
        assert!(
            mean.abs() < 5.0 / n && (square - 1.0).abs() < 8.0 / n,
            "{k}: {mean} {square}"
        );
        if k > 0 {
            let correlation = noise.dot(&noise_of(k - 1)) / samples as f64;
            assert!(correlation.abs() < 5.0 / n, "{k}: {correlation}");
        }
        // z has the variance that leads between independent draws, above 1.
        let z = found.noise.normals(k).unwrap();
        let spread = z.iter().map(|z| z * z).sum::<f64>() / samples as f64;
        assert!(spread > 1.0, "{k}: {spread}");
    }
    Ok(())
}

#[test]
fn a_plan_without_noise_is_inverted_exactly() -> Outcome {
    let mut model = ring().denoiser(Prediction::Data);
    let flow = RectifiedFlow::new();
    let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 8)?, &FirstOrder::ddim())?;
    let image = array![[1.05, 0.1], [0.6, 0.75]];
    let found =
        DdpmInversion::new(&sampler)?.invert(&image, &mut model, &mut KeyedNoise::new(4))?;
    let exact = ExactInversion::new(&sampler)?.invert(&image, &mut model)?;
    assert_eq!(found.states[0], exact.state);
    assert!((0..8).all(|step| found.noise.normals(step).is_none()));
    Ok(())
}

#[test]
fn a_run_can_skip_the_first_steps_and_f32_images_of_four_axes_come_back() -> Outcome {
    let kind = Prediction::Velocity;
    let mut model = Gaussian::isotropic(&[0.2; 12], 0.4)?.denoiser(kind);
    let table = TableSchedule::cosine(1000)?;
    let grid = Grid::trailing(&table, 20)?;
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddpm())?;
    let image = Array4::<f32>::from_shape_fn((2, 3, 2, 2), |(n, c, i, j)| {
        0.2 * (n + c + i) as f32 - 0.1 * j as f32
    });
    let found =
        DdpmInversion::new(&sampler)?.invert(&image, &mut model, &mut KeyedNoise::new(4))?;
    for skipped in [0, 7, 19] {
        let part = Sampler::new(&table, &grid.section(skipped..20)?, &FirstOrder::ddpm())?;
        let noise = found.noise.clone().skipping(skipped);
        let mut run = part.start_from(found.states[skipped].clone(), kind, noise)?;
        run.complete(&mut model)?;
        assert_eq!(run.state(), &found.states[20]);
        let error = run
            .state()
            .iter()
            .zip(&image)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(error < 1e-4, "{error}");
    }
    Ok(())
}

#[test]
fn other_plans_and_other_batches_are_refused() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 5)?;
    let of =
        |solver: &dyn Solver| DdpmInversion::new(&Sampler::new(&table, &grid, solver).unwrap());
    assert!(matches!(
        of(&DpmSolverPlusPlus::sde()),
        Err(Error::InvalidEntry {
            name: "history terms of step",
            index: 1,
            value: 1.0,
            ..
        })
    ));
    assert_eq!(
        of(&Heun::new()),
        Err(Error::StageCount {
            step: 0,
            found: 2,
            max: 1
        })
    );

    // In one step from pure noise to the clean end nothing of the state is left.
    let flow = RectifiedFlow::new();
    let one = Sampler::new(&flow, &Grid::trailing(&flow, 1)?, &FirstOrder::ddpm())?;
    assert!(matches!(
        DdpmInversion::new(&one),
        Err(Error::DegenerateEdge { .. })
    ));

    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddpm())?;
    let mut model = Gaussian::isotropic(&[0.2; 3], 0.4)?.denoiser(Prediction::Noise);
    let image = Array2::<f64>::from_elem((2, 3), 0.1);
    let found =
        DdpmInversion::new(&sampler)?.invert(&image, &mut model, &mut KeyedNoise::new(4))?;
    let refused = |samples: usize, pixels: usize, skipped: usize| {
        let noise = found.noise.clone().skipping(skipped);
        let x = Array2::<f64>::zeros((samples, pixels));
        sampler.start_from(x, Prediction::Noise, noise).map(drop)
    };
    assert_eq!(refused(2, 3, 0), Ok(()));
    assert_eq!(refused(1, 3, 0), Ok(()), "the first samples alone");
    for (samples, pixels, skipped) in [(3, 3, 0), (2, 4, 0), (2, 3, 2), (2, 3, usize::MAX)] {
        let result = refused(samples, pixels, skipped);
        assert!(
            matches!(result, Err(Error::WrongLength { .. })),
            "{result:?}"
        );
    }
    let start = sampler.start::<f64, _, _>((2, 3), Prediction::Noise, found.noise.clone());
    assert!(
        matches!(start, Err(Error::WrongLength { .. })),
        "there is no noise for a start"
    );
    Ok(())
}
