//! Moments of plans where axes differ, beside those where they are shared, and runs on basis
//! vectors.

use diffusion_sampler::{
    Error, Grid, Prediction,
    guidance::{ClassifierFree, Guidance, PlusPlus, Unguided},
    oracle::{Gaussian, Oracle},
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{Path, Solver, catalogue},
};
use ndarray::Array2;

use super::common::{Outcome, difference, gaussians};

/// A rotation of `gaussian`, and of the axes of every other with it, by which all of them lose the
/// axes that they shared, bit by bit.
fn rotated(gaussian: &Gaussian) -> Result<Gaussian, Error> {
    let ((c, s), (e, f)) = ((0.7f64.cos(), 0.7f64.sin()), (1.1f64.cos(), 1.1f64.sin()));
    let first = ndarray::array![[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]];
    let turn = first.dot(&ndarray::array![[1.0, 0.0, 0.0], [0.0, e, -f], [0.0, f, e]]);
    let (mean, covariance) = gaussian.moments()?;
    let mean = turn.dot(&ndarray::Array1::from(mean)).to_vec();
    let turned: Array2<f64> = turn.dot(&covariance).dot(&turn.t());
    let symmetric = (&turned + &turned.t()) * 0.5;
    Gaussian::new(&mean, &symmetric)
}

#[test]
fn matrices_and_single_axes_agree_to_rounding_for_every_solver() -> Outcome {
    // Diagonal Gaussians share their axes; rotated by one matrix they share them to rounding only,
    // and go through as matrices.
    let diagonal = [
        Gaussian::diagonal(&[1.0, -1.0, 0.3], &[0.3, 1.2, 0.05])?,
        Gaussian::diagonal(&[0.1, 0.4, -0.2], &[1.0, 2.0, 0.7])?,
    ];
    let initial = Gaussian::diagonal(&[0.1, 0.0, -0.1], &[1.0, 0.8, 1.1])?;
    let turned = [rotated(&diagonal[0])?, rotated(&diagonal[1])?];
    let turned_initial = rotated(&initial)?;
    assert_ne!(turned[0].axes().unwrap(), turned_initial.axes().unwrap());
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 6)?;
    let forms: [&dyn Guidance; 3] = [
        &Unguided,
        &ClassifierFree::with_scale(2.5)?,
        &PlusPlus::new(0.6)?,
    ];
    let mut checked = 0;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let plan = entry.solver.plan(&Path::new(&schedule, &grid)?)?;
        for form in forms {
            let states = |data: &[Gaussian], initial: &Gaussian| {
                plan.guided_moments(form, Prediction::Noise, data, initial)
            };
            let along = states(&diagonal, &initial)?;
            let across = states(&turned, &turned_initial)?;
            for (step, (a, b)) in along.iter().zip(&across).enumerate() {
                let worst = difference(&rotated(a)?, b);
                assert!(worst < 1e-13, "{}, {form:?}, {step}: {worst:e}", entry.name);
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
    Ok(())
}

#[test]
fn data_and_initial_distribution_may_differ_in_their_axes() -> Outcome {
    let [data, initial, _] = <[Gaussian; 3]>::try_from(gaussians()?).map_err(|_| "three")?;
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let plan = diffusion_sampler::solver::FirstOrder::ddim().plan(&Path::new(&flow, &grid)?)?;
    let states = plan.moments(&data, &initial)?;
    // One Euler step of a flow: x' = x + (t' − t)(x − D)/t, with D(x) by the oracle itself.
    let (from, to) = (flow.level(1.0)?, flow.level(0.75)?);
    let step = |x: &[f64]| -> Result<Vec<f64>, Error> {
        let d = data.data_estimate(x, &from)?;
        let slope = (to.sigma() - from.sigma()) / from.sigma();
        Ok(x.iter().zip(d).map(|(x, d)| x + slope * (x - d)).collect())
    };
    let (mean, covariance) = initial.moments().unwrap();
    let origin = step(&[0.0; 3])?;
    let columns = (0..3).map(|k| {
        let mut unit = [0.0; 3];
        unit[k] = 1.0;
        let image = step(&unit)?;
        Ok(image.iter().zip(&origin).map(|(a, b)| a - b).collect())
    });
    let columns: Vec<Vec<f64>> = columns.collect::<Result<_, Error>>()?;
    let map = Array2::from_shape_fn((3, 3), |(i, k)| columns[k][i]);
    let expected = map.dot(&covariance).dot(&map.t());
    let worst = super::common::difference_of(&states[0], &step(&mean)?, &expected);
    assert!(worst < 1e-15, "{worst:e}");
    Ok(())
}

#[test]
fn a_variance_across_axes_is_never_negative_however_small() -> Outcome {
    // Point data and a thin initial distribution: the covariance is singular but for 1e-20.
    let point = Gaussian::isotropic(&[1.0, 2.0, 3.0], 0.0)?;
    let thin = rotated(&Gaussian::diagonal(&[0.0; 3], &[1.0, 1e-20, 0.0])?)?;
    let wide = &gaussians()?[1];
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 8)?;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let plan = entry.solver.plan(&Path::new(&flow, &grid)?)?;
        for (data, initial) in [(&point, &thin), (wide, &thin), (&thin, wide)] {
            for state in plan.moments(data, initial)? {
                let ok = |v: &f64| *v >= 0.0 && v.is_finite();
                assert!(state.variances().iter().all(ok), "{}", entry.name);
            }
        }
    }
    Ok(())
}

#[test]
fn overflow_across_axes_is_an_error_with_its_step() -> Outcome {
    use diffusion_sampler::plan::{Plan, Stage, Step, Update};
    let data = gaussians()?;
    let levels = Grid::trailing(&RectifiedFlow::new(), 2)?.levels().to_vec();
    for (state, noise) in [
        (1e200, 0.0),
        (0.0, 1e200),
        (1e40, 0.0),
        (f64::MAX, f64::MAX),
    ] {
        let step = |i: usize, update| Step {
            from: levels[i],
            to: levels[i + 1],
            stages: vec![Stage::evaluating(levels[i], update)],
        };
        let keep = Update {
            state: 1.0,
            ..Update::default()
        };
        let burst = Update {
            state,
            noise,
            ..Update::default()
        };
        let plan = Plan::new(vec![step(0, keep), step(1, burst)], 0)?;
        let refused = plan.moments(&data[0], &data[1]);
        assert!(
            matches!(refused, Err(Error::InvalidEntry { index: 1, .. })),
            "{refused:?}"
        );
    }
    let plan = catalogue()[0].solver.plan(&Path::new(
        &RectifiedFlow::new(),
        &Grid::trailing(&RectifiedFlow::new(), 2)?,
    )?)?;
    assert!(matches!(
        plan.moments(&data[0], &Gaussian::centred(2, 1.0)?),
        Err(Error::WrongLength { .. })
    ));
    Ok(())
}
