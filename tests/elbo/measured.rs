//! What a model knows at each level.

use diffusion_sampler::{
    Clip, Error, Grid, NoiseLevel, Prediction, RunError,
    denoiser::{Guided, Models},
    from_fn,
    guidance::{ClassifierFree, Projected},
    likelihood::Measurement,
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::DataErrors,
    schedule::{NoiseSchedule, RectifiedFlow},
    try_from_fn,
};
use ndarray::{Array2, Ix2};
use rand::{SeedableRng, rngs::SmallRng};

use super::common::{Outcome, gaussian, table};

#[test]
fn measured_errors_are_the_exact_ones_to_their_standard_errors() -> Outcome {
    let grid = Grid::trailing(&table()?, 25)?;
    let truth = gaussian()?;
    let exact = DataErrors::of_gaussian(&truth, &grid)?;
    let data = truth.sample(4000, &mut SmallRng::seed_from_u64(3))?;
    let mut model = (&truth).denoiser(Prediction::Velocity);
    let measured = Measurement::at(&grid)
        .unwrap()
        .with_seed(5)
        .of(&data, &mut model)?;
    let errors = measured.errors();
    for (index, level) in errors.levels().iter().enumerate() {
        // Σ v σ²/(α²v + σ²), written out.
        let (a, s) = (level.alpha().powi(2), level.sigma().powi(2));
        let m: f64 = truth.variances().iter().map(|v| v * s / (a * v + s)).sum();
        assert!((exact.errors()[index] / m - 1.0).abs() < 1e-14);
        let z = (errors.errors()[index] - m) / errors.standard_errors()[index];
        assert!(z.abs() < 4.0, "{z} at {level:?}");
        // M/d = ρ²(1 − m_t) holds exactly for the exact model's own numbers.
        let moment = exact.noise_moments().ok_or("no moments")?[index];
        let rho = level.rho();
        let implied = rho * rho * (1.0 - moment);
        assert!(
            (implied / (m / 3.0) - 1.0).abs() < 1e-13 / (1.0 - moment),
            "{level:?}"
        );
        let found = errors.noise_moments().ok_or("no moments")?[index];
        assert!(
            (found - moment).abs() < 4.0 * (2.0 / 3.0 / 4000f64).sqrt(),
            "{found} {moment}"
        );
    }
    assert!((errors.second_moment() - exact.second_moment()).abs() < 0.2);
    assert_eq!(measured.by_row().dim(), (4000, 25));
    Ok(())
}

#[test]
fn standard_errors_are_the_spread_of_measurements() -> Outcome {
    // 100 measurements of 300 rows each: the squares of their distances from the exact value, in
    // standard errors, have mean 1 and deviation √(2/100).
    let truth = gaussian()?;
    let schedule = table()?;
    for (time, draws) in [(900.0, 1), (300.0, 1), (300.0, 4)] {
        let grid = Grid::from_times(&schedule, &[time, 0.0])?;
        let exact = DataErrors::of_gaussian(&truth, &grid)?.errors()[0];
        let mut mean = 0.0;
        for seed in 0..100 {
            let data = truth.sample(300, &mut SmallRng::seed_from_u64(seed))?;
            let measurement = Measurement::at(&grid)
                .unwrap()
                .with_seed(seed)
                .with_draws(draws)?;
            let measured = measurement.of(&data, &mut (&truth).denoiser(Prediction::Data))?;
            let errors = measured.errors();
            let z = (errors.errors()[0] - exact) / errors.standard_errors()[0];
            mean += z * z / 100.0;
        }
        assert!(
            (mean - 1.0).abs() < 4.0 * 0.02f64.sqrt(),
            "{mean} at {time}"
        );
    }
    Ok(())
}

#[test]
fn the_batch_changes_no_bit_and_a_seed_all() -> Outcome {
    let grid = Grid::trailing(&table()?, 4)?;
    let data = gaussian()?.sample(11, &mut SmallRng::seed_from_u64(3))?;
    let mut model = gaussian()?.denoiser(Prediction::Noise);
    let whole = Measurement::at(&grid).unwrap().with_draws(3)?;
    let reference = whole.of(&data, &mut model)?;
    for rows in [1, 2, 7, 11, 100] {
        let split = whole.clone().with_batch(rows)?;
        assert_eq!(split.of(&data, &mut model)?, reference, "{rows}");
        // The same from a model that is made for each batch.
        let mut asked = Vec::new();
        let each = split.of_each(&data, |range| {
            asked.extend(range);
            gaussian().map(|data| data.denoiser(Prediction::Noise))
        });
        let each: Result<_, RunError<Error>> = each;
        assert_eq!(each?, reference);
        assert_eq!(asked, (0..11).collect::<Vec<_>>());
    }
    let other = whole.clone().with_seed(1).of(&data, &mut model)?;
    assert_ne!(other.errors().errors(), reference.errors().errors());
    // In f32 the same to its rounding.
    let single = whole.of(&data.mapv(|x| x as f32), &mut model)?;
    assert_eq!(single.by_row().dim(), reference.by_row().dim());
    Ok(())
}

#[test]
fn guided_and_clipped_models_are_measured_as_they_run() -> Outcome {
    // D = 1 conditional, 0 unconditional; scale 3 makes D = 3, clipped to 2.
    let constant = |value| from_fn::<f64, Ix2>(Prediction::Data, move |_, _, out| out.fill(value));
    let models = || Models((constant(1.0), constant(0.0)));
    let mut model = Guided::new(models(), ClassifierFree::with_scale(3.0)?);
    let grid = Grid::trailing(&table()?, 3)?;
    let data = Array2::from_elem((2, 4), 0.5);
    let measured = Measurement::at(&grid).unwrap().of(&data, &mut model)?;
    assert!(
        measured
            .errors()
            .errors()
            .iter()
            .all(|m| *m == 4.0 * 2.5 * 2.5)
    );
    assert!(
        measured
            .errors()
            .standard_errors()
            .iter()
            .all(|e| *e == 0.0)
    );
    let clipped = Measurement::at(&grid)
        .unwrap()
        .with_clip(Clip::new(-2.0, 2.0)?);
    let measured = clipped.of(&data, &mut model)?;
    assert!(
        measured
            .errors()
            .errors()
            .iter()
            .all(|m| *m == 4.0 * 1.5 * 1.5)
    );
    let projected = Projected::with_scale(2.0)?.with_momentum(0.5)?;
    let refused = Measurement::at(&grid)
        .unwrap()
        .of(&data, &mut Guided::new(models(), projected));
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::StatefulGuidance { .. }))
    ));
    Ok(())
}

#[test]
fn a_measurement_refuses_what_it_cannot_measure() -> Outcome {
    let grid = Grid::trailing(&table()?, 3)?;
    let measurement = Measurement::at(&grid).unwrap();
    assert!(measurement.clone().with_draws(0).is_err());
    assert!(measurement.clone().with_draws(u32::MAX).is_err());
    assert!(measurement.clone().with_batch(0).is_err());
    let mut exact = Gaussian::centred(3, 1.0)?.denoiser(Prediction::Noise);
    for rows in [0, 1] {
        let refused = measurement.of(&Array2::<f64>::zeros((rows, 3)), &mut exact);
        let Err(RunError::Sampler(Error::InvalidParameter { name, value, .. })) = refused else {
            return Err("accepted".into());
        };
        assert_eq!((name, value), ("rows of the data", rows as f64));
    }
    let mut data = Array2::<f64>::zeros((4, 3));
    data[[2, 1]] = f64::NAN;
    assert!(matches!(
        measurement.of(&data, &mut exact),
        Err(RunError::Sampler(Error::NonFiniteStart {
            sample: 2,
            element: 1,
            ..
        }))
    ));
    let mut broken = from_fn::<f64, Ix2>(Prediction::Data, |_, level, out| {
        out.fill(if level.time() < 500.0 {
            f64::INFINITY
        } else {
            0.0
        });
    });
    data.fill(0.0);
    assert!(matches!(
        measurement.of(&data, &mut broken),
        Err(RunError::Sampler(Error::NonFinite {
            step: 2,
            sample: 0,
            ..
        }))
    ));
    let mut failing = try_from_fn::<f64, Ix2, _>(Prediction::Data, |_, _, _| Err("no"));
    assert_eq!(
        measurement.of(&data, &mut failing),
        Err(RunError::Denoiser("no"))
    );
    // ε says nothing where there is no signal, x₀ does.
    let pure = Grid::trailing(&RectifiedFlow::new(), 2)?;
    let mut noise = Gaussian::centred(3, 1.0)?.denoiser(Prediction::Noise);
    assert!(matches!(
        Measurement::at(&pure).unwrap().of(&data, &mut noise),
        Err(RunError::Sampler(Error::PredictionUndefined { .. }))
            | Err(RunError::Denoiser(Error::PredictionUndefined { .. }))
    ));
    let mut flow = Gaussian::centred(3, 1.0)?.denoiser(Prediction::Flow);
    assert_eq!(
        Measurement::at(&pure)
            .unwrap()
            .of(&data, &mut flow)?
            .errors()
            .errors()[0],
        0.0
    );
    // Samples of no elements know everything.
    let nothing = Array2::<f64>::zeros((4, 0));
    let mut empty = from_fn::<f64, Ix2>(Prediction::Data, |_, _, _| {});
    let measured = measurement.of(&nothing, &mut empty)?;
    assert_eq!(measured.errors().errors(), [0.0; 3]);
    Ok(())
}

#[test]
fn errors_between_levels_are_interpolated_and_beyond_them_refused() -> Outcome {
    let level = |lambda: f64| NoiseLevel::from_logs(-lambda, lambda, 0.0);
    let levels = vec![level(-2.0)?, level(0.0)?, level(1.0)?];
    let errors = DataErrors::new(1, 1.0, levels, vec![0.8, 0.4, 0.1])?;
    assert_eq!(errors.at(&level(0.0)?)?, 0.4);
    assert_eq!(errors.at(&level(1e-10)?)?, 0.4);
    let geometric = (0.4f64 * 0.1).sqrt();
    assert!((errors.at(&level(0.5)?)? / geometric - 1.0).abs() < 1e-14);
    let zero = DataErrors::new(1, 1.0, vec![level(0.0)?, level(1.0)?], vec![0.4, 0.0])?;
    assert!((zero.at(&level(0.25)?)? - 0.3).abs() < 1e-15);
    for lambda in [-2.1, 1.1] {
        let Err(Error::LambdaOutOfRange { noisy, clean, .. }) = errors.at(&level(lambda)?) else {
            return Err("accepted".into());
        };
        assert_eq!((noisy, clean), (-2.0, 1.0));
    }
    assert!(errors.at(&NoiseLevel::clean()).is_err());
    assert!(errors.noise_moment_at(&level(0.0)?).is_err());
    // Beside a level without signal there is nothing to interpolate: a level close to none of the
    // listed ones is refused, not taken for that at λ = −∞.
    let pure = NoiseLevel::new(2.0, 0.0, 1.0)?;
    let errors = DataErrors::new(1, 1.0, vec![pure, level(0.0)?], vec![1.0, 0.4])?;
    assert_eq!(errors.at(&pure)?, 1.0);
    assert!(matches!(
        errors.at(&level(-3.0)?),
        Err(Error::LambdaOutOfRange {
            lambda: -3.0,
            noisy: 0.0,
            clean: 0.0
        })
    ));
    let moments = errors.with_noise_moments(vec![1.0, 0.6])?;
    assert_eq!(moments.noise_moment_at(&level(0.0)?)?, 0.6);
    assert!(moments.clone().with_noise_moments(vec![1.0]).is_err());
    assert!(moments.with_noise_moments(vec![1.0, -0.1]).is_err());
    Ok(())
}

#[test]
fn along_a_grid_there_is_an_error_for_each_step() -> Outcome {
    let schedule = table()?;
    let fine = Grid::trailing(&schedule, 1000)?;
    let errors = DataErrors::of_gaussian(&gaussian()?, &fine)?;
    let coarse = Grid::trailing(&schedule, 7)?;
    let along = errors.along(&coarse)?;
    assert_eq!(along.len(), 7);
    assert_eq!(along[0], errors.errors()[0]);
    assert_eq!(along[6], errors.at(&schedule.level(143.0)?)?);
    Ok(())
}

#[test]
fn a_mixture_is_measured_on_its_own_draws() -> Outcome {
    let parts = vec![
        Gaussian::isotropic(&[-1.0], 0.04)?,
        Gaussian::isotropic(&[1.0], 0.04)?,
    ];
    let mixture = GaussianMixture::new(&[0.5, 0.5], parts, vec![0, 1])?;
    let data = mixture
        .sample(4000, &mut SmallRng::seed_from_u64(9))?
        .points;
    let grid = Grid::trailing(&table()?, 8)?;
    let measured = Measurement::at(&grid)
        .unwrap()
        .of(&data, &mut (&mixture).denoiser(Prediction::Data))?;
    let quadrature = DataErrors::by_quadrature(&mixture, &grid)?;
    assert!((quadrature.second_moment() - 1.04).abs() < 1e-14);
    for (index, level) in measured.errors().levels().iter().enumerate() {
        // M = ∫ p_t(x) Var[x₀ | x] dx by the trapezoid rule, which is exact to rounding here.
        let step = 0.02 * level.sigma().max(0.2);
        let count = (8.0 / step) as i32;
        let mut exact = 0.0;
        for i in -count..=count {
            let x = [f64::from(i) * step];
            let variance = mixture.posterior_covariance(&x, level)?[[0, 0]];
            exact += step * mixture.log_density(&x, level)?.exp() * variance;
        }
        let errors = measured.errors();
        let z = (errors.errors()[index] - exact) / errors.standard_errors()[index];
        assert!(z.abs() < 4.0, "{z}: {} {exact}", errors.errors()[index]);
        assert!(
            (quadrature.errors()[index] / exact - 1.0).abs() < 1e-9,
            "{level:?}"
        );
    }
    Ok(())
}

#[test]
fn quadrature_has_the_closed_form_of_a_gaussian_at_every_level() -> Outcome {
    for variance in [1e-4, 0.04, 9.0] {
        let data = Gaussian::isotropic(&[-3.0], variance)?;
        let grid = Grid::trailing(&table()?.zero_terminal_snr()?, 40)?;
        let exact = DataErrors::of_gaussian(&data, &grid)?;
        let found = DataErrors::by_quadrature(&data, &grid)?;
        let moment = 9.0 + variance;
        assert!((found.second_moment() / moment - 1.0).abs() < 1e-14);
        assert!((exact.second_moment() / moment - 1.0).abs() < 1e-14);
        for (found, exact) in found.errors().iter().zip(exact.errors()) {
            assert!((found / exact - 1.0).abs() < 1e-9, "{found} {exact}");
        }
        let moments = found
            .noise_moments()
            .zip(exact.noise_moments())
            .ok_or("no moments")?;
        for (found, exact) in moments.0.iter().zip(moments.1) {
            assert!((found - exact).abs() < 1e-9, "{found} {exact}");
        }
    }
    // Two narrow parts, one of them rare and far away.
    let parts = vec![
        Gaussian::isotropic(&[0.0], 1e-4)?,
        Gaussian::isotropic(&[30.0], 1e-4)?,
    ];
    let data = GaussianMixture::new(&[0.999, 0.001], parts, vec![0, 1])?;
    let level = NoiseLevel::new(1.0, 1.0, 0.02)?;
    let grid = Grid::from_levels(vec![level, NoiseLevel::clean()], 1.0)?;
    // They do not overlap: what is unknown is each part's own.
    let found = DataErrors::by_quadrature(&data, &grid)?.errors()[0];
    assert!((found / (1e-4 * 4e-4 / 5e-4) - 1.0).abs() < 1e-9, "{found}");
    // A part so rare and far that a rule made for the others steps over it, and so wide that it has
    // four thousandths of M.
    let parts = vec![
        Gaussian::isotropic(&[0.0], 1e-8)?,
        Gaussian::isotropic(&[302.0], 1e-2)?,
    ];
    let rare = GaussianMixture::new(&[1.0 - 1e-7, 1e-7], parts, vec![0, 1])?;
    let unknown = |v: f64| v * 4e-4 / (v + 4e-4);
    let exact = (1.0 - 1e-7) * unknown(1e-8) + 1e-7 * unknown(1e-2);
    let found = DataErrors::by_quadrature(&rare, &grid)?.errors()[0];
    assert!((found / exact - 1.0).abs() < 1e-9, "{found} {exact}");
    let refused = DataErrors::by_quadrature(&gaussian()?, &grid);
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 1,
            found: 3,
            ..
        })
    ));
    let tiny = NoiseLevel::new(1.0, 1.0, 1e-8)?;
    let grid = Grid::from_levels(vec![tiny, NoiseLevel::clean()], 1.0)?;
    assert!(matches!(
        DataErrors::by_quadrature(&data, &grid),
        Err(Error::InvalidParameter {
            name: "sigma",
            value: 1e-8,
            ..
        })
    ));
    Ok(())
}
