//! Samples against exact moments.

use diffusion_sampler::{
    Grid, Prediction, Sampler,
    oracle::{Gaussian, Oracle},
    schedule::{NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{FirstOrder, catalogue},
    testing::{FALSE_ALARM_RATE, Failure, check_samples},
};
use ndarray::{Array2, array};
use rand::{SeedableRng, rngs::SmallRng};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn drawn(data: &Gaussian, count: usize, seed: u64) -> Vec<f64> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let samples = data.sample(count, &mut rng).unwrap();
    samples.into_raw_vec_and_offset().0
}

fn correlated() -> Gaussian {
    Gaussian::new(&[1.0, -2.0], &array![[2.0, 0.6], [0.6, 1.0]]).unwrap()
}

#[test]
fn alarms_are_no_more_than_the_rate() {
    // At a rate of 5 % some of 400 correct sets of any size would be refused were the bounds not
    // bounds; more than 36 of 400 has a chance of 2e-4 at the rate itself.
    for count in [2, 10, 1000] {
        let alarms = (0..400)
            .filter(|&seed| {
                check_samples(&drawn(&correlated(), count, seed), &correlated(), 0.05).is_err()
            })
            .count();
        assert!(alarms <= 36, "{alarms} of 400 at {count} samples");
    }
}

#[test]
fn small_errors_are_found_and_named() -> Outcome {
    let samples = drawn(&correlated(), 20_000, 1);
    check_samples(&samples, &correlated(), FALSE_ALARM_RATE)?;
    let moment = |expected: &Gaussian| match check_samples(&samples, expected, FALSE_ALARM_RATE) {
        Err(Failure::Moment {
            moment,
            probability,
            ..
        }) => {
            assert!(probability < FALSE_ALARM_RATE);
            Some(moment)
        }
        _ => None,
    };
    let covariance = array![[2.0, 0.6], [0.6, 1.0]];
    let off = |mean: &[f64], covariance: &Array2<f64>| Gaussian::new(mean, covariance).unwrap();
    assert_eq!(moment(&off(&[1.1, -2.0], &covariance)), Some("mean"));
    assert_eq!(
        moment(&off(&[1.0, -2.0], &(1.15 * &covariance))),
        Some("variance")
    );
    // Same variances, no correlation.
    let diagonal = Gaussian::diagonal(&[1.0, -2.0], &[2.0, 1.0])?;
    assert!(moment(&diagonal).is_some_and(|name| name.starts_with("variance of the")));
    Ok(())
}

#[test]
fn every_stochastic_sampler_makes_its_exact_moments() -> Outcome {
    let schedule = TableSchedule::cosine(100)?;
    let grid = Grid::trailing(&schedule, 5)?.without_clean_end()?;
    let data = correlated();
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let sampler = Sampler::new(&schedule, &grid, &entry.solver)?;
        let moments = sampler.moments(&data)?;
        let mut model = data.clone().denoiser(Prediction::Noise);
        let samples: Array2<f64> = sampler.sample(&mut model, (10_000, 2), 3)?;
        let samples = samples.into_raw_vec_and_offset().0;
        check_samples(&samples, &moments[moments.len() - 1], FALSE_ALARM_RATE)
            .map_err(|failure| format!("{}: {failure}", entry.name))?;
    }
    Ok(())
}

#[test]
fn a_sampler_with_too_little_noise_is_found_by_its_marginals() -> Outcome {
    // DDPM with a quarter less variance, given x₀: N(α x₀, σ² I) is missed.
    let vp = VariancePreserving::default();
    let (t, s) = (vp.level(0.7)?, vp.level(0.4)?);
    let q = diffusion_sampler::posterior::StridedPosterior::new(
        t,
        s,
        diffusion_sampler::posterior::Kappa::Ddpm,
    )?;
    let x0 = Gaussian::isotropic(&[0.5], 0.0)?;
    let x_t = drawn(&x0.at_level(&t)?, 20_000, 1);
    let z = drawn(&Gaussian::centred(1, 1.0)?, 20_000, 2);
    let step = |factor: f64| -> Vec<f64> {
        let pairs = x_t.iter().zip(&z);
        pairs
            .map(|(x, z)| {
                q.state_coefficient() * x + q.data_coefficient() * 0.5 + factor * q.gamma() * z
            })
            .collect()
    };
    let marginal = x0.at_level(&s)?;
    check_samples(&step(1.0), &marginal, FALSE_ALARM_RATE)?;
    let failure = check_samples(&step(0.75f64.sqrt()), &marginal, FALSE_ALARM_RATE);
    assert!(matches!(
        failure,
        Err(Failure::Moment {
            moment: "variance",
            ..
        })
    ));
    Ok(())
}

#[test]
fn axes_without_variance_must_be_met() -> Outcome {
    let flat = Gaussian::diagonal(&[1.0, 2.0], &[0.5, 0.0])?;
    let mut samples = drawn(&flat, 100, 1);
    check_samples(&samples, &flat, FALSE_ALARM_RATE)?;
    let singles: Vec<f32> = samples.iter().map(|&v| v as f32).collect();
    check_samples(&singles, &flat, FALSE_ALARM_RATE)?;
    samples[31] += 1e-3;
    let failure = check_samples(&samples, &flat, FALSE_ALARM_RATE);
    assert!(matches!(
        failure,
        Err(Failure::OffPoint {
            sample: 15,
            axis: 1,
            ..
        })
    ));
    // The end of a run on one point.
    let schedule = TableSchedule::cosine(100)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 3)?,
        &FirstOrder::ddpm(),
    )?;
    let point = Gaussian::isotropic(&[0.3, -0.4], 0.0)?;
    let mut model = point.clone().denoiser(Prediction::Data);
    let samples: Array2<f32> = sampler.sample(&mut model, (10, 2), 3)?;
    check_samples(
        &samples.into_raw_vec_and_offset().0,
        &point,
        FALSE_ALARM_RATE,
    )?;
    Ok(())
}

#[test]
fn many_dimensions_are_tested_by_neighbours() -> Outcome {
    let data = Gaussian::centred(40, 1.0)?;
    let mut samples = drawn(&data, 2000, 4);
    check_samples(&samples, &data, FALSE_ALARM_RATE)?;
    for row in samples.chunks_exact_mut(40) {
        row[7] = row[6];
    }
    let failure = check_samples(&samples, &data, FALSE_ALARM_RATE);
    assert!(matches!(failure, Err(Failure::Moment { axes: [6, 7], .. })));
    Ok(())
}

#[test]
fn samples_that_cannot_be_tested_are_refused() {
    let data = correlated();
    assert!(matches!(
        check_samples(&[1.0f32; 3], &data, FALSE_ALARM_RATE),
        Err(Failure::Length {
            expected: 2,
            found: 3,
            ..
        })
    ));
    assert!(matches!(
        check_samples::<f32>(&[], &data, FALSE_ALARM_RATE),
        Err(Failure::Length { .. })
    ));
    assert!(matches!(
        check_samples(&[f64::NAN; 2], &data, FALSE_ALARM_RATE),
        Err(Failure::NotFinite { .. })
    ));
    for rate in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(matches!(
            check_samples(&[0.0f64; 2], &data, rate),
            Err(Failure::Setup(_))
        ));
    }
}

/// u₁ = ±u₂ to rounding: Σ(u₁ ∓ u₂)² is 0, and its sum may come out below.
#[test]
fn axes_that_move_together_are_found_however_their_squares_round() -> Outcome {
    for seed in 0..40u8 {
        let variances = [1.0 + 0.1 * f64::from(seed), 0.7];
        let expected = Gaussian::diagonal(&[0.0, 0.0], &variances)?;
        let one = drawn(&Gaussian::isotropic(&[0.0], 1.0)?, 60, u64::from(seed));
        for sign in [1.0, -1.0] {
            let pair = |u: &f64| [u * variances[0].sqrt(), sign * u * variances[1].sqrt()];
            let samples: Vec<f64> = one.iter().flat_map(pair).collect();
            let failure = check_samples(&samples, &expected, FALSE_ALARM_RATE);
            let found = matches!(failure, Err(Failure::Moment { axes: [0, 1], .. }));
            assert!(found, "{seed}, {sign}: {failure:?}");
        }
    }
    Ok(())
}

/// The bound of one test and the sum over all tests are both needed: one sample on one axis, where
/// the bounds are nearly met, and many axes. More than 250 of 4000 have a chance of 2e-4 at 5 %.
#[test]
fn alarms_are_no_more_than_the_rate_for_one_sample_and_for_many_axes() -> Outcome {
    for (axes, count) in [(1, 1), (16, 10)] {
        let data = Gaussian::isotropic(&vec![0.5; axes], 2.0)?;
        let alarm = |seed: &u64| check_samples(&drawn(&data, count, *seed), &data, 0.05).is_err();
        let alarms = (0..4000).filter(alarm).count();
        assert!(alarms <= 250, "{alarms} of 4000 on {axes} axes");
    }
    Ok(())
}

#[test]
fn a_correlation_of_axes_that_are_no_neighbours_is_found() -> Outcome {
    let covariance = array![[1.0, 0.0, 0.3], [0.0, 1.0, 0.0], [0.3, 0.0, 1.0]];
    let samples = drawn(&Gaussian::new(&[0.0; 3], &covariance)?, 5000, 1);
    let failure = check_samples(
        &samples,
        &Gaussian::diagonal(&[0.0; 3], &[1.0; 3])?,
        FALSE_ALARM_RATE,
    );
    assert!(matches!(failure, Err(Failure::Moment { axes: [0, 2], .. })));
    Ok(())
}
