//! Guidance, clips, combinations and likelihoods.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Sampler,
    guidance::{Combination, GuidanceWeight},
    likelihood::{Decoder, EdgeVariance, Elbo, discretised_gaussian_nats},
    oracle::Gaussian,
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, TableSchedule},
    solver::{FirstOrder, Path},
};

use super::common::{BAD, Outcome, judged, judged_or_overflow, not_negative, pair, positive};

#[test]
fn guidance_clips_combinations_and_likelihoods_refuse_bad_numbers() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 3)?;
    let elbo = Elbo::new(&grid, Kappa::Ddpm, EdgeVariance::Optimal)?;
    for a in BAD {
        judged(GuidanceWeight::constant(a), a.is_finite(), a);
        judged(GuidanceWeight::from_scale(a), a.is_finite(), a);
        judged(GuidanceWeight::interval(a, 0.1, 1.0), a.is_finite(), a);
        judged(
            GuidanceWeight::interval(1.0, a, f64::INFINITY),
            (0.0..f64::INFINITY).contains(&a),
            a,
        );
        let weight = GuidanceWeight::by_level(move |_| a);
        judged(weight.at(&NoiseLevel::clean()), a.is_finite(), a);
        judged(Clip::new(a, f64::MAX), a.is_finite() && a < f64::MAX, a);
        judged(Clip::new(-2.0, a), a.is_finite() && a > -2.0, a);
        let is_weight = a.abs() <= 1e9;
        judged(Combination::weighted(&[1.0, a]), is_weight, a);
        judged(Combination::single().with_gradient(a), is_weight, a);
        judged(Combination::single().with_memory(a), is_weight, a);
        judged(Combination::single().with_noise(&[a]), is_weight, a);
        // The value refused is the sum, in which −0 is 0.
        judged(Combination::affine(&[a]), a == 1.0, a + 0.0);
        judged(
            Sampler::along(&Path::without_schedule(&grid), &FirstOrder::ddim())?
                .with_start_variance(a),
            not_negative(a),
            a,
        );
        let is_variance = a == 0.0 || (1e-60..=1e60).contains(&a);
        judged(Gaussian::centred(1, a), is_variance, a);
        judged(Gaussian::diagonal(&[a], &[1.0]), a.abs() <= 1e30, a);
        judged(Gaussian::diagonal(&[0.0], &[a]), is_variance, a);
        let errors = [1.0, 0.5, a];
        judged(
            elbo.evaluate(2, &errors, 1.0, Decoder::Density(0.0)),
            not_negative(a),
            a,
        );
        judged(
            elbo.evaluate(2, &errors, 1.0, Decoder::GaussianOptimal),
            positive(a),
            a,
        );
        judged(
            elbo.evaluate(2, &[1.0; 3], a, Decoder::Density(0.0)),
            not_negative(a),
            a,
        );
        judged(
            elbo.evaluate(2, &[1.0; 3], 1.0, Decoder::Density(a)),
            a.is_finite(),
            a,
        );
        judged_or_overflow(
            elbo.evaluate(2, &[1.0; 3], 1.0, Decoder::Gaussian(a)),
            positive(a),
            a,
        );
        judged(
            discretised_gaussian_nats(a, 0.0, 0.1, 256),
            (-1.0..=1.0).contains(&a),
            a,
        );
        judged(
            discretised_gaussian_nats(0.0, a, 0.1, 256),
            a.abs() <= 1e100,
            a,
        );
        judged(
            discretised_gaussian_nats(0.0, 0.0, a, 256),
            a.is_finite() && a >= 1e-50,
            a,
        );
    }
    for count in [0, 7] {
        assert_eq!(
            Combination::weighted(&vec![1.0; count]),
            Err(Error::OutputCount {
                found: count,
                max: 6
            })
        );
    }
    let full = Combination::affine(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0])?;
    assert_eq!(
        full.with_gradient(1.0),
        Err(Error::OutputCount { found: 7, max: 6 })
    );
    // Sums that rounding hides, and those that overflow.
    for weights in [[1e15, -1e15], [1e308, 1e308], [1e9, 1.0 - 1e9 + 1e-5]] {
        assert!(Combination::affine(&weights).is_err(), "{weights:?}");
    }
    for bins in [0, 1] {
        assert!(discretised_gaussian_nats(0.0, 0.0, 1.0, bins).is_err());
    }
    assert_eq!(
        elbo.evaluate(2, &[1.0; 2], 1.0, Decoder::Density(0.0)),
        Err(Error::WrongLength {
            name: "data errors",
            expected: 3,
            found: 2
        })
    );
    for kappa in [
        Kappa::Ddim,
        Kappa::Eta(0.0),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
    ] {
        assert!(matches!(
            Elbo::new(&grid, kappa, EdgeVariance::Optimal),
            Err(Error::DeterministicLikelihood {
                from: 1000.0,
                to: 667.0
            })
        ));
    }
    let open = grid.clone().ending_at(schedule.level(1.0)?)?;
    assert!(matches!(
        Elbo::new(&open, Kappa::Ddpm, EdgeVariance::Optimal),
        Err(Error::DegenerateEdge {
            from: 1000.0,
            to: 1.0,
            ..
        })
    ));
    let (one, two) = (Gaussian::centred(1, 1.0)?, Gaussian::centred(2, 1.0)?);
    let lengths = Err(Error::WrongLength {
        name: "coordinates",
        expected: 1,
        found: 2,
    });
    assert_eq!(one.kl(&two), lengths);
    assert_eq!(one.wasserstein_squared(&two), lengths);
    assert!(one.kl(&Gaussian::centred(1, 0.0)?).is_err());
    assert!(Gaussian::diagonal(&[0.0], &[]).is_err());
    assert_eq!(
        KeyedNoise::new(0).with_first_sample(1 << 53),
        Err(Error::InvalidParameter {
            name: "first_sample",
            value: 9007199254740992.0,
            requirement: "less than 2^53",
        })
    );
    Ok(())
}

#[test]
fn the_kl_of_far_variances_is_finite_and_exact() -> Outcome {
    let (t, s) = pair()?;
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    for exponent in [-300, -40, -17, -10, 10, 17, 40, 300] {
        // v = γ²·10^−e: ratio 10^e, ½(10^e − 1 − e ln 10).
        let ratio = 10f64.powi(exponent);
        let expected = 0.5 * (ratio - 1.0 - f64::from(exponent) * std::f64::consts::LN_10);
        let kl = q.kl(1, 0.0, q.variance() / ratio)?;
        assert!((kl / expected - 1.0).abs() < 1e-13, "{kl} {expected}");
        let unit = Gaussian::centred(1, 1.0)?;
        match Gaussian::centred(1, ratio) {
            Ok(a) => assert!((a.kl(&unit)? / expected - 1.0).abs() < 1e-13),
            Err(_) => assert_eq!(exponent.abs(), 300, "beyond the range of a variance"),
        }
    }
    Ok(())
}

#[test]
fn a_bin_far_narrower_than_the_deviation_has_a_finite_price() -> Outcome {
    for deviation in [1e2, 1e6, 1e17, 1e150, 1e300, f64::MAX] {
        for bins in [2usize, 3, 256, 65536, 1 << 40] {
            let nats = discretised_gaussian_nats(0.0, 0.0, deviation, bins)?;
            let half = 1.0 / (bins - 1) as f64;
            if bins == 2 {
                // The one bin of value 0 reaches to both ends.
                assert_eq!(nats, 0.0);
                continue;
            }
            // ln √(2π) + ln deviation − ln 2 half, the density being flat to (half/deviation)²/6.
            let expected = 0.5 * std::f64::consts::TAU.ln() + deviation.ln() - (2.0 * half).ln();
            let flat = (half / deviation).powi(2) / 6.0;
            assert!(
                (nats - expected).abs() < 1e-13 * expected + 1.1 * flat,
                "{nats} {expected}"
            );
        }
    }
    // The farthest pixel has a finite price, and certainty costs nothing.
    let farthest = discretised_gaussian_nats(-0.5, 1e100, 1e-50, 256)?;
    assert!(farthest > 1e299 && farthest.is_finite());
    assert_eq!(discretised_gaussian_nats(0.5, 0.5, 1e-50, 256)?, 0.0);
    // The two branches meet: the price is continuous in the deviation.
    for mean in [0.0, 0.3, -0.9] {
        let at = |deviation| discretised_gaussian_nats(0.1, mean, deviation, 256);
        let crossing = (0..200).map(|i| 1.0 * 1.05f64.powi(i));
        for deviation in crossing {
            let (a, b) = (at(deviation)?, at(deviation * (1.0 + 1e-9))?);
            assert!((a - b).abs() < 1e-8, "{a} {b} at {deviation}");
        }
    }
    Ok(())
}
