//! Bad input of the variances is a typed error.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler, from_fn,
    likelihood::element_errors,
    noise::{LearnedNoise, NoiseScales, PerSample, ScaledNoise},
    posterior::{
        AnalyticVariance, DataErrors, DiagonalVariance, ElementErrors, Kappa, StridedPosterior,
    },
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array2, Ix2};

use crate::common::{Outcome, knot, linear};

#[test]
fn a_level_beyond_the_table_is_refused_by_the_plan() -> Outcome {
    let schedule = linear()?;
    let grid = Grid::from_times(&schedule, &[1000.0, 500.0, 0.0])?;
    let path = Path::new(&schedule, &grid)?;
    let table = DataErrors::new(1, 1.0, vec![knot(1000.0)?], vec![0.5])?;
    let solver = FirstOrder::ddpm().with_analytic_variance(AnalyticVariance::new(table)?);
    // The last edge adds no noise, and asks for no error.
    assert!(solver.plan(&path).is_ok());
    let table = DataErrors::new(1, 1.0, vec![knot(400.0)?], vec![0.5])?;
    let solver = FirstOrder::ddpm().with_analytic_variance(AnalyticVariance::new(table)?);
    assert!(matches!(
        solver.plan(&path),
        Err(Error::LambdaOutOfRange { .. })
    ));
    let errors = ElementErrors::new(1, vec![knot(400.0)?], vec![0.5])?;
    let refused = FirstOrder::ddpm().plan_diagonal(&path, &DiagonalVariance::new(errors));
    assert!(matches!(refused, Err(Error::LambdaOutOfRange { .. })));
    Ok(())
}

#[test]
fn tables_are_checked() -> Outcome {
    let (a, b) = (knot(600.0)?, knot(300.0)?);
    let moments = |levels: Vec<NoiseLevel>, list: &[f64]| {
        AnalyticVariance::from_noise_moments(2, levels, list)
    };
    assert!(matches!(
        moments(vec![a], &[0.5, 0.5]),
        Err(Error::WrongLength { .. })
    ));
    assert!(matches!(
        moments(vec![a], &[-0.1]),
        Err(Error::InvalidEntry { index: 0, .. })
    ));
    assert!(matches!(
        moments(vec![a], &[f64::NAN]),
        Err(Error::InvalidEntry { .. })
    ));
    for (levels, at) in [(vec![b, a], 1), (vec![a, b, b], 2)] {
        let list = [0.5; 3];
        assert!(matches!(
            moments(levels.clone(), &list[..levels.len()]),
            Err(Error::NoiseNotDecreasing { knot, .. }) if knot == at
        ));
    }
    let pure = NoiseLevel::new(1.0, 0.0, 1.0)?;
    assert!(matches!(
        moments(vec![pure], &[0.5]),
        Err(Error::PredictionUndefined { .. })
    ));
    assert!(matches!(moments(vec![], &[]), Err(Error::EmptyList { .. })));
    for (low, high) in [
        (1.0, 0.0),
        (f64::NAN, 1.0),
        (0.0, f64::INFINITY),
        (-1e300, 1e300),
    ] {
        let refused = moments(vec![a], &[0.5])?.bounded(low, high);
        assert!(
            matches!(refused, Err(Error::InvalidParameter { .. })),
            "{low}, {high}"
        );
    }
    // The range that is refused is the one that was given.
    let (low, high) = (-(2f64.powi(1000)), 2f64.powi(1001));
    let refused = moments(vec![a], &[0.5])?.bounded(low, high);
    let value = 3.0 * 2f64.powi(1000);
    assert!(matches!(refused, Err(Error::InvalidParameter { value: found, .. }) if found == value));
    let elements = |levels, list| ElementErrors::new(2, levels, list);
    assert!(matches!(
        elements(vec![a], vec![1.0]),
        Err(Error::WrongLength { .. })
    ));
    assert!(matches!(
        elements(vec![a], vec![1.0, -1.0]),
        Err(Error::InvalidEntry { index: 1, .. })
    ));
    assert!(matches!(
        elements(vec![b, a], vec![1.0; 4]),
        Err(Error::NoiseNotDecreasing { .. })
    ));
    assert!(matches!(
        elements(vec![], vec![]),
        Err(Error::EmptyList { .. })
    ));
    assert!(matches!(
        elements(vec![a, NoiseLevel::clean()], vec![1.0; 4]),
        Err(Error::InvalidEntry {
            index: 1,
            value: 0.0,
            ..
        })
    ));
    let sampled =
        ElementErrors::with_standard_errors(1, vec![a, b], vec![1.0, 0.5], vec![0.1, 0.2])?;
    assert_eq!(sampled.levels(), [a, b]);
    assert_eq!(sampled.errors(), [1.0, 0.5]);
    assert_eq!(sampled.standard_errors(), [0.1, 0.2]);
    assert_eq!(sampled.total()?.errors(), [1.0, 0.5]);
    let two = elements(vec![a, b], vec![1.0; 4])?;
    assert!(matches!(
        two.at(&knot(601.0)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    assert!(matches!(
        two.at(&knot(299.0)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    let scales = |dim, list| NoiseScales::new(dim, list);
    assert!(matches!(
        scales(0, vec![]),
        Err(Error::InvalidParameter { .. })
    ));
    assert!(matches!(
        scales(2, vec![1.0; 3]),
        Err(Error::WrongLength { .. })
    ));
    assert!(matches!(
        scales(2, vec![1.0, f64::NAN]),
        Err(Error::InvalidEntry { index: 1, .. })
    ));
    Ok(())
}

#[test]
fn noise_that_does_not_fit_the_run_is_refused_before_it_starts() -> Outcome {
    let schedule = linear()?;
    let grid = Grid::trailing(&schedule, 4)?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    let start = |dim: usize, steps: usize| {
        let scales = NoiseScales::new(dim, vec![1.0; dim * steps])?;
        let noise = ScaledNoise::new(KeyedNoise::new(1), scales);
        sampler
            .start::<f32, _, _>((2, 3), Prediction::Noise, noise)
            .map(drop)
    };
    assert!(start(3, 4).is_ok());
    // The last step draws nothing.
    assert!(start(3, 3).is_ok());
    assert!(matches!(
        start(3, 2),
        Err(Error::WrongLength {
            expected: 3,
            found: 2,
            ..
        })
    ));
    assert!(matches!(
        start(2, 4),
        Err(Error::WrongLength {
            expected: 3,
            found: 2,
            ..
        })
    ));
    Ok(())
}

#[test]
fn costs_by_element_refuse_what_has_none() -> Outcome {
    let q = StridedPosterior::new(knot(600.0)?, knot(300.0)?, Kappa::Ddpm)?;
    assert!(matches!(
        q.kl_by_element(&[1.0], &[]),
        Err(Error::WrongLength { .. })
    ));
    assert!(matches!(
        q.kl_by_element(&[-1.0], &[1.0]),
        Err(Error::InvalidEntry { .. })
    ));
    assert!(matches!(
        q.kl_by_element(&[1.0], &[0.0]),
        Err(Error::InvalidEntry { .. })
    ));
    assert!(matches!(
        q.kl_by_element(&[1e300], &[1e-300]),
        Err(Error::CostOverflow { .. })
    ));
    assert_eq!(q.kl_by_element(&[], &[])?, 0.0);
    let ddim = StridedPosterior::new(knot(600.0)?, knot(300.0)?, Kappa::Ddim)?;
    let refused = ddim.kl_by_element(&[1.0], &[1.0]);
    assert!(matches!(
        refused,
        Err(Error::DeterministicLikelihood { .. })
    ));
    Ok(())
}

#[test]
fn measuring_refuses_too_few_samples_and_outputs_that_are_no_numbers() -> Outcome {
    let levels = [knot(600.0)?];
    let mut model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(f64::NAN));
    let mut measure = |samples| {
        let data = Array2::zeros((samples, 2));
        element_errors(&mut model, &data, &levels, &mut KeyedNoise::new(1))
    };
    let too_few = measure(1).map_err(|error| error.to_string());
    assert!(too_few.is_err_and(|text| text.contains("samples")));
    let broken = measure(2).map_err(|error| error.to_string());
    assert!(broken.is_err_and(|text| text.contains("model output")));
    Ok(())
}

#[test]
fn no_elements_have_no_variance() -> Outcome {
    let table = DataErrors::new(0, 0.0, vec![knot(600.0)?], vec![0.0])?;
    let q = StridedPosterior::new(knot(600.0)?, knot(300.0)?, Kappa::Ddpm)?;
    assert_eq!(AnalyticVariance::new(table)?.of(&q)?, q.variance());
    Ok(())
}

#[cfg(feature = "serde")]
#[test]
fn a_solver_with_an_analytic_variance_is_stored_to_the_bit() -> Outcome {
    let levels = vec![knot(600.0)?, knot(300.0)?];
    let variance = AnalyticVariance::from_noise_moments(3, levels, &[0.9, 0.123_456_789])?
        .bounded(-1.0, 1.0)?
        .with_final_noise();
    let solver = FirstOrder::new(Kappa::Tau(0.7)).with_analytic_variance(variance);
    let text = serde_json::to_string(&solver)?;
    assert_eq!(serde_json::from_str::<FirstOrder>(&text)?, solver);
    let bytes = postcard::to_stdvec(&solver)?;
    assert_eq!(postcard::from_bytes::<FirstOrder>(&bytes)?, solver);
    let broken = text.replacen("\"dim\":3", "\"dim\":3,\"more\":1", 1);
    assert!(serde_json::from_str::<FirstOrder>(&broken).is_err());
    let negative = text.replacen("\"largest\":1", "\"largest\":-1", 1);
    assert_ne!(negative, text);
    assert!(serde_json::from_str::<FirstOrder>(&negative).is_err());
    // The forms of before read as they did.
    let before = r#"{"kappa":{"same":"ddpm"},"reverse_variance":{"explicit":0.5}}"#;
    assert!(serde_json::from_str::<FirstOrder>(before).is_ok());
    Ok(())
}

#[test]
fn beside_pure_noise_there_is_nothing_to_interpolate() -> Outcome {
    let pure = NoiseLevel::new(1000.0, 0.0, 1.0)?;
    let levels = vec![pure, knot(300.0)?];
    let elements = ElementErrors::new(1, levels.clone(), vec![2.0, 1.0])?;
    assert_eq!(elements.at(&pure)?, [2.0]);
    assert!(matches!(
        elements.at(&knot(600.0)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    let table = DataErrors::new(1, 0.0, levels, vec![2.0, 1.0])?;
    assert_eq!(table.at(&pure)?, 2.0);
    assert!(matches!(
        table.at(&knot(600.0)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    Ok(())
}

#[test]
fn what_the_source_refuses_is_refused() -> Outcome {
    let schedule = linear()?;
    let grid = Grid::trailing(&schedule, 4)?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    // One sample's noise for two.
    let one = || PerSample::of([KeyedNoise::new(1)]);
    let x = Array2::<f64>::zeros((2, 3));
    let scales = NoiseScales::new(3, vec![1.0; 12])?;
    let scaled = sampler.start_from(
        x.clone(),
        Prediction::Noise,
        ScaledNoise::new(one(), scales),
    );
    assert!(matches!(scaled, Err(Error::WrongLength { .. })));
    let learned = sampler.start_from(x, Prediction::Noise, LearnedNoise::new(one()));
    assert!(matches!(learned, Err(Error::WrongLength { .. })));
    Ok(())
}

#[test]
fn an_estimate_that_is_no_number_is_named_with_its_level() -> Outcome {
    let levels = [knot(600.0)?, knot(300.0)?];
    let bad = levels[1].lambda();
    let mut model = from_fn::<f64, Ix2>(Prediction::Noise, move |x, level, out| {
        out.assign(x);
        if level.lambda() >= bad {
            out[[1, 0]] = f64::INFINITY;
        }
    });
    let data = Array2::zeros((2, 2));
    let refused = element_errors(&mut model, &data, &levels, &mut KeyedNoise::new(1));
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::NonFinite {
            step: 1,
            sample: 1,
            element: 0,
            ..
        }))
    ));
    Ok(())
}
