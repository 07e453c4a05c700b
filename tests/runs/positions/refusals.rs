//! What is refused: axes, lengths, matrices, data, noise, values.

use diffusion_sampler::{
    Error, KeyedNoise, Levels, NoiseLevel, Prediction, Query, RunError,
    denoiser::{PerPosition, from_query_fn},
    forward::diffuse,
    guidance::Combination,
    noise::{BrownianPath, Interval, PerSample, SampleNoise},
    posterior::{Kappa, ReverseVariance},
    run::{DdimStep, Machine, PositionSchedule},
    schedule::RectifiedFlow,
};
use ndarray::{Array2, Array3, Ix3, array, s};
use std::convert::Infallible;

use super::{Each, along, keyed, level};
use crate::common::grid;

const KIND: Prediction = Prediction::Noise;

#[test]
fn axes_that_arrays_do_not_have_are_refused() {
    let levels = [level(0.9, 0.1), level(0.2, 0.9)];
    let to = [level(0.95, 0.05), level(0.3, 0.8)];
    let x = Array2::from_elem((2, 2), 0.5f64);
    for axis in [0, 2, 9] {
        let wrong = Error::WrongAxis { axis, axes: 2 };
        let step = DdimStep::along(axis, &levels, &to, Kappa::Ddim).unwrap();
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        let refused = step.tell(&mut machine, KIND, &x, &mut keyed(), 0);
        assert_eq!(refused, Err(wrong.clone()));
        assert_eq!(machine.state(), &x);
        let together = PositionSchedule::together(&grid(3), 2).unwrap();
        let sampler = along(together, axis, Kappa::Ddim);
        let refused = sampler.start::<f32, _, _>((2, 2), KIND, keyed()).err();
        assert_eq!(refused, Some(wrong.clone()));
        if axis > 0 {
            let listed = Levels::along(axis, &levels);
            let mut y = x.clone();
            assert_eq!(diffuse(&mut y, listed, &mut keyed(), 0), Err(wrong.clone()));
            assert_eq!(y, x);
            assert_eq!(Query::along(listed, x.shape()).err(), Some(wrong));
        }
    }
}

#[test]
fn lists_of_another_length_than_the_positions_are_refused() {
    let x = Array3::from_elem((2, 3, 4), 0.5f64);
    for (found, expected) in [(1, 3), (2, 3), (4, 3), (5, 3), (7, 6), (12, 6)] {
        let (from, to) = (vec![level(0.2, 0.9); found], vec![level(0.3, 0.8); found]);
        let wrong = Error::WrongLength {
            name: "levels of the positions",
            expected,
            found,
        };
        let step = DdimStep::along(1, &from, &to, Kappa::Ddim).unwrap();
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        let refused = step.tell(&mut machine, KIND, &x, &mut keyed(), 0);
        assert_eq!(refused, Err(wrong.clone()));
        let mut y = x.clone();
        let refused = diffuse(&mut y, Levels::along(1, &from), &mut keyed(), 0);
        assert_eq!(refused, Err(wrong.clone()));
        assert_eq!(y, x);
        let refused = Query::along(Levels::along(1, &from), x.shape()).err();
        assert_eq!(refused, Some(wrong));
    }
    let one = level(0.2, 0.9);
    let uneven = DdimStep::along(1, &[one; 2], &[one; 3], Kappa::Ddim).err();
    let wrong = Error::WrongLength {
        name: "target levels",
        expected: 2,
        found: 3,
    };
    assert_eq!(uneven, Some(wrong));
    let empty = DdimStep::along(1, &[], &[], Kappa::Ddim).err();
    assert_eq!(empty, Some(Error::EmptyList { name: "levels" }));
    assert!(Query::along(Levels::along(1, &[]), &[0, 0]).is_err());
    let together = PositionSchedule::together(&grid(3), 4).unwrap();
    let sampler = along(together, 1, Kappa::Ddim);
    let refused = sampler.start_given(x, KIND, keyed()).err();
    let wrong = Error::WrongLength {
        name: "positions",
        expected: 4,
        found: 3,
    };
    assert_eq!(refused, Some(wrong));
}

#[test]
fn a_step_that_leaves_the_clean_level_is_refused_and_one_that_stays_there_is_not() {
    let (clean, noisy) = (NoiseLevel::clean(), level(0.5, 0.8));
    let up = DdimStep::along(1, &[noisy, clean], &[clean, noisy], Kappa::Ddim);
    assert!(matches!(up, Err(Error::DegenerateEdge { .. })));
    DdimStep::along(1, &[noisy, clean], &[clean, clean], Kappa::Ddim).unwrap();
}

#[test]
fn a_schedule_of_too_many_entries_is_refused_with_the_most_steps() {
    // 2^28 entries, a row before each step and one for the end.
    let positions = 1 << 26;
    let refused = PositionSchedule::staircase(&grid(3), positions, 1).err();
    let (steps, min, max) = (3 + (positions - 1), 1, 3);
    assert_eq!(refused, Some(Error::StepCount { steps, min, max }));
}

#[test]
fn positions_share_one_combination_of_their_outputs() {
    let (from, to) = ([level(0.2, 0.9), level(0.5, 0.5)], [level(0.3, 0.8); 2]);
    let x = Array2::from_elem((2, 2), 0.5f64);
    let step = DdimStep::along(1, &from, &to, Kappa::Ddim).unwrap();
    let [single, two] = [1, 2].map(|count| vec![Combination::single(); count]);
    let mut machine = Machine::new(x.clone(), 0).unwrap();
    let mut tell = |combinations: &[Combination]| {
        step.tell_combined(&mut machine, KIND, combinations, &[&*x], &mut keyed(), 0)
    };
    let (name, expected, found) = ("combinations", 1, 2);
    let wrong = Error::WrongLength {
        name,
        expected,
        found,
    };
    assert_eq!(tell(&two), Err(wrong));
    assert_eq!(tell(&single), Ok(()));
}

#[test]
fn matrices_that_are_none_are_refused() {
    let grid = grid(4);
    let of = |knots: Array2<usize>| PositionSchedule::from_knots(&grid, &knots).err();
    let back = Error::PositionGoesBack {
        position: 1,
        step: 1,
        from: 2,
        to: 1,
    };
    assert_eq!(of(array![[0, 0], [1, 2], [1, 1]]), Some(back));
    let beyond = Error::InvalidEntry {
        name: "knots",
        index: 3,
        value: 5.0,
        requirement: "a knot of the grid",
    };
    assert_eq!(of(array![[0, 0], [1, 5]]), Some(beyond));
    let none = Some(Error::EmptyList { name: "positions" });
    assert_eq!(of(Array2::zeros((3, 0))), none);
    assert_eq!(PositionSchedule::together(&grid, 0).err(), none);
    assert_eq!(PositionSchedule::staircase(&grid, 0, 7).err(), none);
    for rows in [0, 1] {
        let short = of(Array2::zeros((rows, 2)));
        assert!(matches!(
            short,
            Some(Error::StepCount {
                steps: 0,
                min: 1,
                ..
            })
        ));
    }
    for delay in [1 << 30, usize::MAX / 2, usize::MAX] {
        let long = PositionSchedule::staircase(&grid, 3, delay);
        assert!(matches!(long, Err(Error::StepCount { .. })));
    }
    let stairs = PositionSchedule::staircase(&grid, 3, 1).unwrap();
    let refused = stairs.with_given([1, 3], NoiseLevel::clean()).err();
    let wrong = Error::InvalidEntry {
        name: "given positions",
        index: 1,
        value: 3.0,
        requirement: "less than the number of positions",
    };
    assert_eq!(refused, Some(wrong));
    let given = PositionSchedule::together(&grid, 2).unwrap();
    let given = given.with_given(0..2, NoiseLevel::clean()).unwrap();
    let still = diffusion_sampler::run::PositionSampler::new(given, 1, Kappa::Ddim);
    assert_eq!(still.err(), Some(Error::EmptyList { name: "levels" }));
}

#[test]
fn a_start_without_data_is_refused_where_data_are_needed() {
    let small = level(0.9, 0.1);
    let schedule = PositionSchedule::together(&grid(3), 4).unwrap();
    let schedule = schedule.with_given([2], small).unwrap();
    let sampler = along(schedule, 1, Kappa::Ddim);
    let refused = sampler.start::<f32, _, _>((1, 4, 2), KIND, keyed()).err();
    let wrong = Error::PositionNeedsData {
        position: 2,
        time: 0.1,
    };
    assert_eq!(refused, Some(wrong));
    let mut data = Array3::from_elem((1, 4, 2), 0.5f32);
    data[[0, 3, 1]] = f32::NAN;
    let refused = sampler.start_given(data, KIND, keyed()).err();
    assert!(matches!(
        refused,
        Some(Error::NonFiniteStart { element: 7, .. })
    ));
    let data = Array3::from_elem((1, 4, 2), 0.5f32);
    let refused = sampler.resume(data.clone(), 4, KIND, keyed()).err();
    assert!(matches!(
        refused,
        Some(Error::StepCount {
            steps: 4,
            max: 3,
            ..
        })
    ));
    assert!(
        sampler
            .resume(data, 3, KIND, keyed())
            .unwrap()
            .is_finished()
    );
}

#[test]
fn a_prediction_that_says_nothing_at_a_level_that_is_left_is_refused_at_the_start() {
    let flow = RectifiedFlow::new();
    let grid = diffusion_sampler::Grid::trailing(&flow, 3).unwrap();
    let stairs = PositionSchedule::staircase(&grid, 3, 1).unwrap();
    let sampler = along(stairs, 1, Kappa::Ddim);
    // ε at α = 0.
    let refused = sampler.start::<f32, _, _>((1, 3, 2), KIND, keyed()).err();
    assert!(matches!(refused, Some(Error::PredictionUndefined { .. })));
    sampler
        .start::<f32, _, _>((1, 3, 2), Prediction::Flow, keyed())
        .unwrap();
    // Where no position leaves it, it does not matter.
    let below = PositionSchedule::from_knots(&grid, &array![[1, 0], [2, 0]]).unwrap();
    let sampler = along(below, 1, Kappa::Ddim);
    let data = Array3::from_elem((1, 2, 2), 0.5f32);
    let mut run = sampler.start_given(data, KIND, keyed()).unwrap();
    run.complete(&mut Each(KIND, 1)).unwrap();
}

#[test]
fn noise_that_a_source_does_not_have_is_refused_at_the_start() {
    let stairs = || PositionSchedule::staircase(&grid(4), 3, 1).unwrap();
    let shape = (2, 3, 5);
    let start = |noise| along(stairs(), 1, Kappa::Ddpm).start::<f32, _, _>(shape, KIND, noise);
    let one = PerSample::new(vec![SampleNoise::new(KeyedNoise::new(1))]);
    assert!(start(one).is_err());
    let late = SampleNoise::new(KeyedNoise::new(1)).joining_at(1);
    let early = Error::StepBeforeJoining {
        sample: 0,
        joined: 1,
        step: 0,
    };
    assert_eq!(start(PerSample::new(vec![late; 2])).err(), Some(early));
    let narrow = BrownianPath::new(1)
        .with_interval(Interval::new(-4.0, 0.0))
        .unwrap();
    let x = Array3::from_elem(shape, 0.5f32);
    let refused = along(stairs(), 1, Kappa::Ddpm)
        .resume(x.clone(), 0, KIND, narrow)
        .err();
    assert!(matches!(refused, Some(Error::KnotOutsidePath { .. })));
    // A deterministic run asks for none, and one that is given a variance asks as well.
    let deterministic = along(stairs(), 1, Kappa::Ddim);
    deterministic.resume(x.clone(), 0, KIND, narrow).unwrap();
    let noisy = deterministic.with_reverse_variance(ReverseVariance::Explicit(0.1));
    let refused = noisy.unwrap().resume(x, 0, KIND, narrow).err();
    assert!(matches!(refused, Some(Error::KnotOutsidePath { .. })));
}

#[test]
fn a_run_may_be_resumed_at_its_end_and_not_beyond() {
    let sampler = along(
        PositionSchedule::together(&grid(2), 3).unwrap(),
        1,
        Kappa::Ddim,
    );
    assert_eq!(sampler.axis(), 1);
    let x = Array3::from_elem((2, 3, 5), 0.5f32);
    let resume = |step| sampler.resume(x.clone(), step, KIND, keyed());
    assert_eq!(resume(1).unwrap().step(), 1);
    let done = resume(2).unwrap();
    assert!(done.is_finished());
    assert_eq!(done.into_state(), x);
    let (steps, min, max) = (3, 0, 2);
    let beyond = Error::StepCount { steps, min, max };
    assert_eq!(resume(3).map(drop), Err(beyond));
}

#[test]
fn values_that_are_not_finite_are_found_with_their_place() {
    let stairs = PositionSchedule::staircase(&grid(4), 3, 1).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>((2, 3, 5), KIND, keyed())
        .unwrap();
    run.advance(&mut Each(KIND, 1)).unwrap();
    let mut output = Array3::from_elem((2, 3, 5), 0.1);
    output[[1, 1, 2]] = f64::INFINITY;
    let refused = run.clone().tell(&output).unwrap_err();
    let wrong = Error::NonFinite {
        step: 1,
        sample: 1,
        element: 7,
        array: "model output",
        value: f64::INFINITY,
    };
    assert_eq!(refused, wrong);
    // The third waits at this step.
    output[[1, 1, 2]] = 0.1;
    output[[1, 2, 2]] = f64::NAN;
    run.tell(&output).unwrap();
    let wide = Array3::from_elem((2, 3, 6), 0.1);
    assert!(matches!(run.tell(&wide), Err(Error::ShapeMismatch { .. })));
}

/// What a model says, or leaves unwritten, at a position that waits is nothing to blame.
#[test]
fn the_value_to_blame_lies_at_a_position_that_moves() {
    let stairs = PositionSchedule::staircase(&grid(4), 3, 2).unwrap();
    let stairs = stairs.with_given([0], NoiseLevel::clean()).unwrap();
    let sampler = along(stairs, 1, Kappa::Ddim);
    let data = Array3::from_elem((2, 3, 5), 0.5f64);
    let run = sampler.start_given(data, KIND, keyed()).unwrap();
    let at = |sample, element| Error::NonFinite {
        step: 2,
        sample,
        element,
        array: "model output",
        value: f64::INFINITY,
    };
    // The second position alone moves in the first step that is one.
    let mut output = Array3::from_elem((2, 3, 5), f64::NAN);
    output.slice_mut(s![.., 1, ..]).fill(0.1);
    assert_eq!(run.clone().tell(&output), Ok(()));
    output[[1, 1, 3]] = f64::INFINITY;
    assert_eq!(run.clone().tell(&output), Err(at(1, 8)));
    let half = |unwritten: usize| {
        let model = from_query_fn::<f64, Ix3, Infallible>(KIND, 1, move |_, _, out| {
            out.slice_mut(s![.., 1, unwritten..]).fill(f64::INFINITY);
            Ok(())
        });
        run.clone().advance(&mut PerPosition(model)).unwrap_err()
    };
    assert_eq!(half(0), RunError::Sampler(at(0, 5)));
    let unwritten = Error::OutputNotWritten {
        step: 2,
        output: 0,
        sample: 0,
        element: 5,
    };
    assert_eq!(half(1), RunError::Sampler(unwritten));
}

#[test]
fn a_finished_run_takes_no_step_and_another_prediction_is_refused() {
    let together = PositionSchedule::together(&grid(2), 3).unwrap();
    let mut run = along(together, 1, Kappa::Ddim)
        .start::<f64, _, _>((2, 3, 5), KIND, keyed())
        .unwrap();
    let other = run.advance(&mut Each(Prediction::Data, 1)).unwrap_err();
    assert!(matches!(
        other,
        RunError::Sampler(Error::PredictionMismatch { .. })
    ));
    let mut failing = PerPosition(from_query_fn::<f64, _, _>(KIND, 1, |_, _, _| Err("mine")));
    assert_eq!(run.advance(&mut failing), Err(RunError::Denoiser("mine")));
    run.complete(&mut Each(KIND, 1)).unwrap();
    assert!(run.is_finished() && run.ask().unwrap().is_none());
    let finished = Error::RunFinished { steps: 2 };
    let output = run.state().to_owned();
    assert_eq!(run.tell(&output), Err(finished.clone()));
    let refused: Result<(), RunError<Infallible>> = run.advance(&mut Each(KIND, 1));
    assert_eq!(refused, Err(RunError::Sampler(finished)));
}
