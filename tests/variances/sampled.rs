//! What runs sample is what the plans say.

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, from_fn,
    likelihood::element_errors,
    noise::{
        BrownianPath, LearnedNoise, NoiseKey, NoiseScales, NoiseSource, PerSample, PureNoise,
        RngNoise, ScaledNoise, Stream,
    },
    oracle::{Gaussian, Oracle},
    posterior::{DiagonalVariance, Kappa},
    solver::{FirstOrder, Path},
};
use ndarray::{Array2, Axis, Ix2, s};
use rand::{SeedableRng, rngs::StdRng};

use crate::common::{Outcome, Z_ONE_IN_A_MILLION, chi_squared, linear, posterior_variance};

const VARIANCES: [f64; 4] = [3.0, 0.5, 0.05, 0.002];
const MEANS: [f64; 4] = [1.0, -2.0, 0.0, 0.3];

fn data() -> Result<Gaussian, diffusion_sampler::Error> {
    Gaussian::diagonal(&MEANS, &VARIANCES)
}

fn sampler(
    kappa: Kappa,
    times: &[f64],
) -> Result<(Sampler, NoiseScales, Grid), Box<dyn std::error::Error>> {
    let schedule = linear()?;
    let grid = Grid::from_times(&schedule, times)?;
    let errors = data()?.element_errors(&grid.levels()[..grid.steps()])?;
    let variance = DiagonalVariance::new(errors).with_final_noise();
    let path = Path::new(&schedule, &grid)?;
    let (plan, scales) = FirstOrder::new(kappa).plan_diagonal(&path, &variance)?;
    Ok((Sampler::from_plan(plan, 1.0)?, scales, grid))
}

#[test]
fn three_steps_sample_every_elements_exact_variance() -> Outcome {
    const DRAWS: usize = 20_000;
    for (seed, kappa) in [(1, Kappa::Ddim), (2, Kappa::Ddpm), (3, Kappa::Fresh)] {
        let (sampler, scales, grid) = sampler(kappa, &[1000.0, 620.0, 110.0, 0.0])?;
        let model = data()?;
        // From the exact distribution at the noisy end.
        let mut x = model
            .at_level(&grid.start())?
            .sample(DRAWS, &mut StdRng::seed_from_u64(seed))?;
        let noise = ScaledNoise::new(KeyedNoise::new(seed), scales);
        let mut run = sampler.start_from(std::mem::take(&mut x), Prediction::Data, noise)?;
        run.complete(&mut model.denoiser(Prediction::Data))?;
        let (n, low, high) = (
            DRAWS as f64,
            chi_squared(DRAWS as f64, -Z_ONE_IN_A_MILLION),
            chi_squared(DRAWS as f64, Z_ONE_IN_A_MILLION),
        );
        for (element, column) in run.state().axis_iter(Axis(1)).enumerate() {
            let (mean, v) = (MEANS[element], VARIANCES[element]);
            // About the known mean: n degrees of freedom.
            let squares: f64 = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v;
            assert!(
                (low..high).contains(&squares),
                "{kappa}, {element}: {}",
                squares / n
            );
            let average = column.sum() / n;
            assert!((average - mean).abs() < Z_ONE_IN_A_MILLION * (v / n).sqrt());
        }
    }
    Ok(())
}

#[test]
fn one_variance_for_all_elements_would_not_pass_that_test() -> Outcome {
    // The same steps with the mean variance: the smallest element is far too wide.
    const DRAWS: usize = 2000;
    let (sampler, _, grid) = sampler(Kappa::Ddpm, &[1000.0, 620.0, 110.0, 0.0])?;
    let model = data()?;
    let x = model
        .at_level(&grid.start())?
        .sample(DRAWS, &mut StdRng::seed_from_u64(1))?;
    let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(1))?;
    run.complete(&mut model.denoiser(Prediction::Data))?;
    let narrow = run
        .state()
        .column(3)
        .iter()
        .map(|x| (x - MEANS[3]).powi(2))
        .sum::<f64>();
    assert!(narrow / VARIANCES[3] > 2.0 * chi_squared(DRAWS as f64, Z_ONE_IN_A_MILLION));
    Ok(())
}

#[test]
fn errors_measured_on_data_are_the_exact_ones_within_their_standard_errors() -> Outcome {
    let grid = Grid::from_times(&linear()?, &[900.0, 500.0, 100.0, 0.0])?;
    let levels = &grid.levels()[..3];
    let model = data()?;
    let points = model.sample(4000, &mut StdRng::seed_from_u64(5))?;
    for prediction in [Prediction::Noise, Prediction::Velocity] {
        let mut denoiser = model.clone().denoiser(prediction);
        let measured = element_errors(&mut denoiser, &points, levels, &mut KeyedNoise::new(9))?;
        let rows = measured.errors().iter().zip(measured.standard_errors());
        for (place, (found, standard_error)) in rows.enumerate() {
            let exact = posterior_variance(VARIANCES[place % 4], &levels[place / 4]);
            // Squares of normals: the standard error is √(2/n) of the mean.
            assert!((standard_error / exact - (2.0 / 4000.0f64).sqrt()).abs() < 0.006);
            let z = (found - exact) / standard_error;
            assert!(z.abs() < Z_ONE_IN_A_MILLION, "{place}: {z} standard errors");
        }
    }
    Ok(())
}

#[test]
fn a_sample_is_the_same_in_any_batch_and_from_any_piece() -> Outcome {
    let (sampler, scales, _) = sampler(Kappa::Ddpm, &[1000.0, 620.0, 110.0, 0.0])?;
    let mut model = data()?.denoiser(Prediction::Data);
    let mut whole = |samples: usize, noise: KeyedNoise| -> Result<Array2<f32>, _> {
        let noise = ScaledNoise::new(noise, scales.clone());
        let mut run = sampler.start((samples, 4), Prediction::Data, noise)?;
        run.complete(&mut model)?;
        Ok::<_, diffusion_sampler::RunError<diffusion_sampler::Error>>(run.into_state())
    };
    let seven = whole(7, KeyedNoise::new(3))?;
    for row in 0..7 {
        let alone = whole(1, KeyedNoise::new(3).with_first_sample(row as u64)?)?;
        assert_eq!(alone.row(0), seven.row(row));
    }
    // Requests of their own seeds in one batch.
    let own = |seed| ScaledNoise::new(KeyedNoise::new(seed), scales.clone());
    let batch = PerSample::of([own(8), own(3)]);
    let mut run = sampler.start::<f32, _, _>((2, 4), Prediction::Data, batch)?;
    run.complete(&mut model)?;
    assert_eq!(run.state().slice(s![1, ..]), seven.row(0));
    Ok(())
}

#[test]
fn scaled_normals_are_the_sources_times_the_factors_in_a_runs_steps_only() -> Outcome {
    let scales = NoiseScales::new(3, vec![1.0, 0.5, 2.0, 0.0, 3.0, 1.0])?;
    let noise = ScaledNoise::new(KeyedNoise::new(4), scales.clone());
    let plain = KeyedNoise::new(4);
    for (stream, step) in [
        (Stream::Step(0), 1),
        (Stream::Start, 1),
        (Stream::Forward, 1),
    ] {
        let key = NoiseKey::new(5, step, stream);
        let (mut z, mut expected) = ([0.0f64; 3], [0.0f64; 3]);
        noise.draw(key, 0, &mut z);
        plain.draw(key, 0, &mut expected);
        if stream == Stream::Step(0) {
            expected = [0.0 * expected[0], 3.0 * expected[1], expected[2]];
        }
        assert_eq!(z, expected);
        let mut piece = [0.0f64; 2];
        noise.draw(key, 1, &mut piece);
        assert_eq!(piece, z[1..]);
    }
    // Beyond the table: never silently unscaled.
    let mut z = [0.0f32; 3];
    noise.draw(NoiseKey::new(0, 2, Stream::Step(0)), 0, &mut z);
    assert!(z.iter().all(|z| z.is_nan()));
    // Pure where the source is.
    assert!(NoiseSource::<f32>::as_pure(&noise).is_some());
    let drawn = ScaledNoise::new(RngNoise::new(StdRng::seed_from_u64(1)), scales);
    assert!(NoiseSource::<f32>::as_pure(&drawn).is_none());
    Ok(())
}

#[test]
fn no_samples_take_their_steps() -> Outcome {
    let (sampler, scales, _) = sampler(Kappa::Ddpm, &[1000.0, 620.0, 110.0, 0.0])?;
    let noise = ScaledNoise::new(KeyedNoise::new(1), scales);
    let mut run = sampler.start::<f32, _, _>((0, 4), Prediction::Data, noise)?;
    run.complete(&mut data()?.denoiser(Prediction::Data))?;
    assert_eq!(run.state().dim(), (0, 4));
    Ok(())
}

#[test]
fn the_noise_of_a_measurement_is_keyed_by_the_place_of_the_level() -> Outcome {
    // D = x: the miss is (1 − α)x₀ − σz.
    let grid = Grid::from_times(&linear()?, &[900.0, 500.0, 100.0, 0.0])?;
    let levels = &grid.levels()[..3];
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, _, out| out.assign(x));
    let points = Array2::from_shape_fn((5, 2), |(row, i)| row as f64 - i as f64);
    let found = element_errors(&mut model, &points, levels, &mut KeyedNoise::new(9))?;
    let mut expected = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let mut z = vec![0.0f64; 10];
        let key = NoiseKey::new(0, index as u32, Stream::Forward);
        KeyedNoise::new(9).fill_batch(key, 5, &mut z)?;
        for i in 0..2 {
            let miss = |row: usize| {
                (1.0 - level.alpha()) * points[[row, i]] - level.sigma() * z[2 * row + i]
            };
            expected.push((0..5).map(|row| miss(row).powi(2)).sum::<f64>() / 5.0);
        }
    }
    for (a, b) in found.errors().iter().zip(expected) {
        assert!((a - b).abs() < 1e-12 * b, "{a} and {b}");
    }
    Ok(())
}

#[test]
fn scaled_and_learned_noise_ask_their_source_for_what_it_needs() -> Outcome {
    // A path reads the intervals of the steps.
    let schedule = linear()?;
    let grid = Grid::from_times(&schedule, &[1000.0, 620.0, 110.0, 0.0])?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    let x = Array2::<f64>::ones((2, 3));
    let path = || BrownianPath::new(3);
    let mut model = from_fn::<f64, Ix2>(Prediction::Noise, |x, _, out| out.assign(x));
    let mut plain = sampler.start_from(x.clone(), Prediction::Noise, path())?;
    plain.complete(&mut model)?;
    let noise = ScaledNoise::new(path(), NoiseScales::new(3, vec![1.0; 9])?);
    let mut scaled = sampler.start_from(x.clone(), Prediction::Noise, noise)?;
    scaled.complete(&mut model)?;
    assert_eq!(scaled.state(), plain.state());
    let mut learned =
        sampler.start_from(x.clone(), Prediction::Noise, LearnedNoise::new(path()))?;
    let lowest = Array2::from_elem((2, 3), -1.0);
    while let Some(question) = learned.ask()? {
        let x = question.x.to_owned();
        learned.tell_learned(&x, &lowest)?;
    }
    assert_eq!(learned.state(), plain.state());
    assert!(NoiseSource::<f64>::reads_intervals(
        &LearnedNoise::<f64, _>::new(path())
    ));
    let scales = NoiseScales::new(3, vec![1.0; 9])?;
    assert!(NoiseSource::<f64>::reads_intervals(&ScaledNoise::new(
        path(),
        scales
    )));
    let pure = LearnedNoise::<f32, _>::new(KeyedNoise::new(1));
    assert!(NoiseSource::<f32>::as_pure(&pure).is_some());
    let drawn = LearnedNoise::<f32, _>::new(RngNoise::new(StdRng::seed_from_u64(1)));
    assert!(NoiseSource::<f32>::as_pure(&drawn).is_none());
    Ok(())
}
