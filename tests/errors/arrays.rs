//! Arrays, samplers and solvers.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, Prediction, Sampler,
    forward::{diffuse, diffuse_with},
    noise::Stream,
    oracle::Gaussian,
    plan::Plan,
    posterior::{Kappa, StridedPosterior},
    run::{DdimStep, Machine},
    schedule::TableSchedule,
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array0, Array1, Array2, arr0, array};

use super::common::{Outcome, pair};

#[test]
fn array_calls_refuse_shapes_that_do_not_fit() -> Outcome {
    let (t, s) = pair()?;
    let step = DdimStep::new(t, s, Kappa::Ddim)?;
    let mut noise = KeyedNoise::new(0);
    let mut x = Array2::<f64>::zeros((2, 3));
    let wrong = Array2::<f64>::zeros((3, 2));
    let mut machine = Machine::new(x.clone(), 0)?;
    assert_eq!(
        step.tell(&mut machine, Prediction::Data, &wrong, &mut noise, 0),
        Err(Error::ShapeMismatch {
            name: "model output",
            expected: vec![2, 3],
            found: vec![3, 2]
        })
    );
    let mut point: Array0<f64> = arr0(1.0);
    assert!(matches!(
        Machine::new(point.clone(), 0),
        Err(Error::NoSampleAxis)
    ));
    assert_eq!(
        DdimStep::per_sample(&[t, t], &[s], Kappa::Ddim).err(),
        Some(Error::WrongLength {
            name: "target levels",
            expected: 2,
            found: 1
        })
    );
    let many = DdimStep::per_sample(&[t; 3], &[s; 3], Kappa::Ddim)?;
    let data = x.clone();
    assert!(matches!(
        many.tell(&mut machine, Prediction::Data, &data, &mut noise, 0),
        Err(Error::WrongLength {
            expected: 2,
            found: 3,
            ..
        })
    ));
    assert_eq!(
        DdimStep::per_sample(&[], &[], Kappa::Ddim).err(),
        Some(Error::EmptyList { name: "levels" })
    );
    let empty = Array2::<f64>::zeros((0, 3));
    let mut idle = Machine::new(empty.clone(), 0)?;
    step.tell(&mut idle, Prediction::Data, &empty, &mut noise, 0)?;
    assert!(diffuse(&mut x, &[t; 3], &mut noise, 0).is_err());
    assert!(diffuse(&mut point, &[t], &mut noise, 0).is_err());
    assert!(diffuse_with(&mut x, &wrong, &[t]).is_err());
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    assert!(q.mean_in_place(&mut x, &wrong).is_err());
    assert!(q.log_density(&x, &x, &wrong).is_err());
    let ddim = StridedPosterior::new(t, s, Kappa::Ddim)?;
    assert!(matches!(
        ddim.log_density(&x, &x, &x),
        Err(Error::DeterministicLikelihood { .. })
    ));
    let up = ddim.forward_step()?;
    assert!(matches!(
        up.sample_in_place(&mut x, None, &mut noise, 0, Stream::Forward),
        Err(Error::InvalidParameter { value, .. }) if value == up.data
    ));
    // A model output that is not finite is found where it is.
    let row: Array1<f64> = array![1.0, 2.0];
    let mut machine = Machine::new(row, 0)?;
    let bad = array![0.0, f64::NAN];
    match step.tell(&mut machine, Prediction::Data, &bad, &mut noise, 9) {
        Err(Error::NonFinite {
            step: 9,
            sample: 1,
            element: 0,
            array: "model output",
            value,
        }) => {
            assert!(value.is_nan());
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

#[test]
fn samplers_refuse_shapes_and_solvers_lists_that_cannot_run() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 4)?;
    let sampler = Sampler::along(&Path::without_schedule(&grid), &FirstOrder::ddim())?;
    let start = |shape: (usize, usize)| {
        sampler
            .start::<f64, _, _>(shape, Prediction::Noise, KeyedNoise::new(0))
            .map(|_| ())
    };
    assert_eq!(
        start((usize::MAX, 2)),
        Err(Error::TooLarge {
            shape: vec![usize::MAX, 2]
        })
    );
    assert_eq!(start((0, 5)), Ok(()));
    assert!(matches!(
        sampler.start::<f64, _, _>((), Prediction::Noise, KeyedNoise::new(0)),
        Err(Error::NoSampleAxis)
    ));
    for (count, wanted) in [(0, 4), (3, 4), (5, 4)] {
        assert_eq!(
            FirstOrder::per_edge(vec![Kappa::Ddim; count]).plan(&Path::without_schedule(&grid)),
            Err(Error::WrongLength {
                name: "kappa policies",
                expected: wanted,
                found: count
            })
        );
    }
    let clipped = sampler.clone().with_clip(Clip::new(-1.0, 1.0)?);
    assert!(matches!(
        clipped.moments(&Gaussian::centred(1, 1.0)?),
        Err(Error::ClippedMoments)
    ));
    assert_eq!(
        Plan::new(Vec::new(), 0),
        Err(Error::StepCount {
            steps: 0,
            min: 1,
            max: usize::MAX
        })
    );
    Ok(())
}

#[test]
fn messages_show_large_and_small_numbers_without_their_zeros() {
    let message = |value| Error::InvalidParameter {
        name: "scale",
        value,
        requirement: "small",
    };
    for (value, shown) in [
        (1e300, "1e300"),
        (-2.5e-9, "-2.5e-9"),
        (0.25, "0.25"),
        (0.0, "0"),
        (9007199254740992.0, "9007199254740992"),
        (f64::INFINITY, "inf"),
        (f64::NAN, "NaN"),
    ] {
        let text = message(value).to_string();
        assert_eq!(text, format!("scale must be small, got {shown}"));
    }
}
