//! Image to video: positions that are given, clean or at a small constant noise.

use std::convert::Infallible;

use diffusion_sampler::{
    NoiseLevel, Prediction,
    denoiser::{PerPosition, from_query_fn},
    forward::fill_normal,
    noise::Stream,
    posterior::Kappa,
    run::PositionSchedule,
    solver::FirstOrder,
};
use ndarray::{Array, ArrayD, Axis, Ix3, IxDyn, Slice};

use super::{Each, KAPPAS, SHAPES, along, at, keyed, level, numbers};
use crate::common::{Smooth, bits, grid, sampler};

#[test]
fn a_given_frame_stays_bit_for_bit_and_the_others_are_as_in_the_plain_run() {
    for (shape, axis) in SHAPES {
        for kappa in KAPPAS {
            let kind = Prediction::Noise;
            let mut alone = sampler(&FirstOrder::new(kappa), 5)
                .start::<f32, _, _>(shape, kind, keyed())
                .unwrap();
            alone.complete(&mut Smooth(kind)).unwrap();

            let given = NoiseLevel::clean();
            let schedule = PositionSchedule::together(&grid(5), shape[axis]).unwrap();
            let schedule = schedule.with_given([0, 2], given).unwrap();
            let mut data = numbers::<f32>(shape);
            data.mapv_inplace(|x| if x > 0.9 { -0.0 } else { x });
            let sampler = along(schedule, axis, kappa);
            let mut run = sampler.start_given(data.clone(), kind, keyed()).unwrap();
            // What the model says of a frame that is given is not looked at.
            let mut model = PerPosition(from_query_fn::<f32, IxDyn, Infallible>(
                kind,
                1,
                |x, query, out| {
                    for (index, x) in x.indexed_iter() {
                        let (level, target) = (
                            query.level_at(index[0], index[axis]).unwrap(),
                            query.target_at(index[0], index[axis]).unwrap(),
                        );
                        let is_given = index[axis] == 0 || index[axis] == 2;
                        assert_eq!(level.is_clean(), is_given);
                        assert_eq!(level == target, is_given);
                        out[&index] = match is_given {
                            true => f32::NAN,
                            false => Smooth::at(*x, &level),
                        };
                    }
                    Ok(())
                },
            ));
            run.complete(&mut model).unwrap();
            for position in 0..shape[axis] {
                let wanted = match position {
                    0 | 2 => at(&data, axis, position),
                    _ => at(alone.state(), axis, position),
                };
                assert_eq!(
                    at(run.state(), axis, position),
                    wanted,
                    "{shape:?} {kappa:?}"
                );
            }
        }
    }
}

#[test]
fn a_frame_at_a_small_constant_noise_gets_it_once_and_stays() {
    let (shape, axis) = SHAPES[1];
    let small = level(0.98, 0.02);
    let schedule = PositionSchedule::staircase(&grid(4), shape[axis], 1).unwrap();
    let schedule = schedule.with_given([1], small).unwrap();
    let kind = Prediction::Velocity;
    let data = numbers::<f64>(shape);
    let mut run = along(schedule, axis, Kappa::Ddpm)
        .start_given(data.clone(), kind, keyed())
        .unwrap();
    let mut z = ArrayD::<f64>::zeros(data.raw_dim());
    fill_normal(&mut z, &mut keyed(), 0, Stream::Start).unwrap();
    let start = run.state().to_owned();
    for (index, x) in start.indexed_iter() {
        let wanted = match index[axis] {
            1 => 0.98 * data[&index] + 0.02 * z[&index],
            _ => z[&index],
        };
        assert!((x - wanted).abs() < 1e-15);
    }
    while let Some(question) = run.ask().unwrap() {
        assert_eq!(question.query.level_at(1, 1), Some(small));
        run.advance(&mut Each(kind, axis)).unwrap();
    }
    assert_eq!(at(run.state(), axis, 1), at(&start, axis, 1));
    assert_ne!(at(run.state(), axis, 0), at(&start, axis, 0));
}

#[test]
fn steps_in_which_only_given_positions_would_move_are_left_out() {
    // Of stairs with delay 3 the first two are given: the third begins at step 6.
    let schedule = PositionSchedule::staircase(&grid(4), 4, 3).unwrap();
    let schedule = schedule.with_given([0, 1], NoiseLevel::clean()).unwrap();
    let kind = Prediction::Noise;
    let data = Array::from_elem((1, 4, 2), 0.25f32);
    let mut run = along(schedule, 1, Kappa::Ddim)
        .start_given(data, kind, keyed())
        .unwrap();
    let mut steps = Vec::new();
    while !run.is_finished() {
        steps.push(run.step());
        run.advance(&mut Each(kind, 1)).unwrap();
    }
    assert_eq!(steps, (6..13).collect::<Vec<_>>());
    assert_eq!(run.step(), 13);
}

#[test]
fn what_data_holds_where_it_is_not_given_does_not_matter() {
    let (shape, axis) = SHAPES[0];
    let kind = Prediction::Noise;
    let run = |filled: f32| {
        let schedule = PositionSchedule::together(&grid(3), shape[axis]).unwrap();
        let schedule = schedule.with_given([3], NoiseLevel::clean()).unwrap();
        let mut data = numbers::<f32>(shape);
        data.slice_axis_mut(Axis(axis), Slice::from(0..3))
            .fill(filled);
        let mut run = along(schedule, axis, Kappa::Ddpm)
            .start_given(data, kind, keyed())
            .unwrap();
        run.complete(&mut Each(kind, axis)).unwrap();
        bits(run.state())
    };
    assert_eq!(run(0.5), run(-7.0));
}

/// A model that forgets to write a row is found where its first position is given, too.
#[test]
fn an_output_that_is_not_written_is_found_between_given_positions() {
    let schedule = PositionSchedule::together(&grid(3), 3).unwrap();
    let schedule = schedule.with_given([0, 2], NoiseLevel::clean()).unwrap();
    let kind = Prediction::Noise;
    let data = Array::from_elem((2, 3, 5), 0.5f64);
    let mut run = along(schedule, 1, Kappa::Ddim)
        .start_given(data, kind, keyed())
        .unwrap();
    let mut calls = 0;
    let mut forgetful = PerPosition(from_query_fn::<f64, Ix3, Infallible>(
        kind,
        1,
        |x, _, out| {
            // All of it at first, and of the second sample nothing then.
            let len = if calls == 0 { x.len() } else { x.len() / 2 };
            out.iter_mut().take(len).for_each(|out| *out = 0.1);
            calls += 1;
            Ok(())
        },
    ));
    run.advance(&mut forgetful).unwrap();
    let refused = run.advance(&mut forgetful).unwrap_err();
    let wanted = diffusion_sampler::Error::OutputNotWritten {
        step: 1,
        output: 0,
        sample: 1,
        element: 5,
    };
    assert_eq!(refused, diffusion_sampler::RunError::Sampler(wanted));
}
