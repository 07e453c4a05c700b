//! Whole runs: together, in stairs, one after the other, and by a matrix.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Real, Sampler, Trajectory,
    noise::{BrownianPath, NoiseSource, PerSample, RngNoise, SampleNoise},
    posterior::{Kappa, ReverseVariance},
    run::{PositionRun, PositionSchedule},
    schedule::RectifiedFlow,
    solver::FirstOrder,
};
use ndarray::{ArrayD, IxDyn, array};
use rand::{SeedableRng, rngs::StdRng};

use super::{Each, KAPPAS, KINDS, SEED, SHAPES, along, at, keyed, numbers};
use crate::common::{Smooth, bits, grid, sampler};

/// The whole array at once by the first-order solver.
fn plain<A: Real, N: NoiseSource<A>>(
    (x, kappa, kind): (ArrayD<A>, Kappa, Prediction),
    steps: usize,
    noise: N,
) -> ArrayD<A> {
    let mut run = sampler(&FirstOrder::new(kappa), steps)
        .start_from(x, kind, noise)
        .unwrap();
    run.complete(&mut Smooth(kind)).unwrap();
    run.into_state()
}

fn together_is_plain<A: Real>() {
    for (shape, axis) in SHAPES {
        for kappa in KAPPAS {
            for kind in KINDS {
                let mut one: Trajectory<A, IxDyn> = sampler(&FirstOrder::new(kappa), 5)
                    .start(shape, kind, keyed())
                    .unwrap();
                one.complete(&mut Smooth(kind)).unwrap();
                let together = PositionSchedule::staircase(&grid(5), shape[axis], 0).unwrap();
                let together = along(together, axis, kappa);
                let mut run: PositionRun<A, IxDyn> = together.start(shape, kind, keyed()).unwrap();
                // A model that knows of one level only will do where there is one.
                run.complete(&mut Smooth(kind)).unwrap();
                assert_eq!(bits(run.state()), bits(one.state()), "{shape:?} {kappa:?}");
            }
        }
    }
}

#[test]
fn a_staircase_without_delay_is_the_run_of_the_first_order_solver_bit_for_bit() {
    together_is_plain::<f32>();
    together_is_plain::<f64>();
}

#[test]
fn together_every_source_of_noise_gives_the_bits_of_the_plain_run() {
    let (shape, axis) = SHAPES[3];
    let x = numbers::<f64>(shape);
    for kind in KINDS {
        let together = || PositionSchedule::together(&grid(4), shape[axis]).unwrap();
        let sampler = along(together(), axis, Kappa::Ddpm);
        let sequential = || RngNoise::new(StdRng::seed_from_u64(3));
        let mut run = sampler.resume(x.clone(), 0, kind, sequential()).unwrap();
        run.complete(&mut Each(kind, axis)).unwrap();
        let wanted = plain((x.clone(), Kappa::Ddpm, kind), 4, sequential());
        assert_eq!(bits(run.state()), bits(&wanted));
        let path = BrownianPath::new(9);
        let mut run = sampler.resume(x.clone(), 0, kind, path).unwrap();
        run.complete(&mut Each(kind, axis)).unwrap();
        let wanted = plain((x.clone(), Kappa::Ddpm, kind), 4, path);
        assert_eq!(bits(run.state()), bits(&wanted));
    }
}

#[test]
fn another_reverse_variance_is_that_of_the_first_order_solver() {
    let (shape, axis) = SHAPES[0];
    let x = numbers::<f32>(shape);
    let large = ReverseVariance::FixedLarge;
    let together = PositionSchedule::together(&grid(4), shape[axis]).unwrap();
    let together = along(together, axis, Kappa::Ddpm);
    let together = together.with_reverse_variance(large).unwrap();
    let kind = Prediction::Noise;
    let mut run = together.resume(x.clone(), 0, kind, keyed()).unwrap();
    run.complete(&mut Smooth(kind)).unwrap();
    let solver = FirstOrder::new(Kappa::Ddpm).with_reverse_variance(large);
    let mut one = sampler(&solver, 4).start_from(x, kind, keyed()).unwrap();
    one.complete(&mut Smooth(kind)).unwrap();
    assert_eq!(bits(run.state()), bits(one.state()));
}

/// Position j of stairs is the whole run of everybody, read at j, with its steps counted from dj.
fn stairs_are_runs_alone<A: Real>(delay: usize) {
    for (shape, axis) in SHAPES {
        let x = numbers::<A>(shape);
        for kappa in KAPPAS {
            let stairs = PositionSchedule::staircase(&grid(5), shape[axis], delay).unwrap();
            let stairs = along(stairs, axis, kappa);
            let kind = Prediction::Velocity;
            let mut run = stairs.resume(x.clone(), 0, kind, keyed()).unwrap();
            run.complete(&mut Each(kind, axis)).unwrap();
            for position in 0..shape[axis] {
                let late = (delay * position) as u32;
                let sample = |row| {
                    let own = SampleNoise::new(keyed()).with_sample(row).unwrap();
                    own.having_taken(late)
                };
                let noise = PerSample::new((0..shape[0] as u64).map(sample).collect());
                let alone = plain((x.clone(), kappa, kind), 5, noise);
                let wanted = at(&alone, axis, position);
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
fn a_position_of_a_staircase_is_the_run_of_that_position_alone_bit_for_bit() {
    for delay in [1, 2, 5, 7] {
        stairs_are_runs_alone::<f32>(delay);
        stairs_are_runs_alone::<f64>(delay);
    }
}

#[test]
fn on_a_brownian_path_a_position_draws_in_its_own_interval() {
    for (shape, axis) in SHAPES {
        let x = numbers::<f64>(shape);
        let (kappa, kind) = (Kappa::Ddpm, Prediction::Noise);
        let stairs = PositionSchedule::staircase(&grid(5), shape[axis], 2).unwrap();
        let stairs = along(stairs, axis, kappa);
        let alone = plain((x.clone(), kappa, kind), 5, BrownianPath::new(4));
        let mut run = stairs
            .resume(x.clone(), 0, kind, BrownianPath::new(4))
            .unwrap();
        run.complete(&mut Each(kind, axis)).unwrap();
        assert_eq!(bits(run.state()), bits(&alone), "{shape:?}");
        // And so where each sample has a path of its own.
        let own = || {
            let paths = (0..shape[0] as u64).map(|row| SampleNoise::new(BrownianPath::new(row)));
            PerSample::new(paths.collect())
        };
        let alone = plain((x.clone(), kappa, kind), 5, own());
        let mut run = stairs.resume(x, 0, kind, own()).unwrap();
        run.complete(&mut Each(kind, axis)).unwrap();
        assert_eq!(bits(run.state()), bits(&alone), "{shape:?}");
    }
}

#[test]
fn the_model_is_shown_the_knot_of_each_position_and_the_next() {
    let (knots, positions, delay) = (4, 3, 2);
    let grid = grid(knots);
    let stairs = PositionSchedule::staircase(&grid, positions, delay).unwrap();
    assert_eq!(stairs.steps(), knots + delay * (positions - 1));
    let knot = |step: usize, position: usize| {
        let own = step as i64 - (delay * position) as i64;
        grid.levels()[own.clamp(0, knots as i64) as usize]
    };
    let sampler = along(stairs, 1, Kappa::Ddim);
    let mut run = sampler
        .start::<f32, _, _>((2, positions, 4), Prediction::Noise, keyed())
        .unwrap();
    let mut calls = 0;
    while let Some(question) = run.ask().unwrap() {
        assert_eq!((question.step(), question.stage), (calls, 0));
        let query = question.query;
        assert_eq!(query.axis(), Some(1));
        for (sample, position) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            assert_eq!(
                query.level_at(sample, position),
                Some(knot(calls, position))
            );
            assert_eq!(
                query.target_at(sample, position),
                Some(knot(calls + 1, position))
            );
            assert_eq!(run.level(position), Some(knot(calls, position)));
        }
        assert_eq!(query.level_at(0, positions), None);
        let output = question.x.mapv(|x| 0.5 * x);
        run.tell(&output).unwrap();
        calls += 1;
    }
    assert_eq!(calls, knots + delay * (positions - 1));
    assert!((0..positions).all(|position| run.level(position) == Some(NoiseLevel::clean())));
}

#[test]
fn one_after_the_other_takes_the_steps_of_all_one_by_one() {
    let grid = grid(3);
    let sampler = along(
        PositionSchedule::autoregressive(&grid, 4).unwrap(),
        1,
        Kappa::Ddim,
    );
    assert_eq!(sampler.schedule().steps(), 12);
    let kind = Prediction::Noise;
    let mut run = sampler
        .start::<f64, _, _>((1, 4, 3), kind, keyed())
        .unwrap();
    for step in 0..12 {
        let before = run.state().to_owned();
        run.advance(&mut Each(kind, 1)).unwrap();
        for position in 0..4 {
            let stays = at(run.state(), 1, position) == at(&before, 1, position);
            assert_eq!(
                stays,
                position != step / 3,
                "step {step}, position {position}"
            );
        }
    }
    assert!(run.is_finished());
}

#[test]
fn a_position_that_leaves_knots_out_walks_the_grid_without_them() {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4).unwrap();
    let knots = array![[0, 0, 0], [1, 0, 2], [2, 2, 2], [3, 2, 2], [4, 4, 4]];
    let schedule = PositionSchedule::from_knots(&grid, &knots).unwrap();
    let kind = Prediction::Flow;
    let mut run = along(schedule, 1, Kappa::Ddim)
        .start::<f64, _, _>((2, 3, 5), kind, keyed())
        .unwrap();
    run.complete(&mut Each(kind, 1)).unwrap();
    for (position, steps) in [(0, 4), (1, 2), (2, 2)] {
        let grid = Grid::trailing(&flow, steps).unwrap();
        let sampler = Sampler::new(&flow, &grid, &FirstOrder::ddim()).unwrap();
        let mut alone = sampler
            .start::<f64, _, _>((2, 3, 5), kind, keyed())
            .unwrap();
        alone.complete(&mut Smooth(kind)).unwrap();
        assert_eq!(at(run.state(), 1, position), at(alone.state(), 1, position));
    }
}

#[test]
fn a_position_may_end_above_the_last_knot_and_begin_below_the_first() {
    let grid = grid(4);
    let knots = array![[0, 2], [1, 3], [2, 4]];
    let schedule = PositionSchedule::from_knots(&grid, &knots).unwrap();
    let sampler = along(schedule, 1, Kappa::Ddim);
    let data = numbers::<f64>(&[2, 2, 6]);
    let kind = Prediction::Noise;
    let mut run = sampler.start_given(data.clone(), kind, keyed()).unwrap();
    // The second begins as its data with the noise of knot 2: αx₀ + σz.
    let mut z = ArrayD::<f64>::zeros(data.raw_dim());
    let stream = diffusion_sampler::noise::Stream::Start;
    diffusion_sampler::forward::fill_normal(&mut z, &mut keyed(), 0, stream).unwrap();
    let knot = grid.levels()[2];
    for (index, x) in run.state().indexed_iter() {
        let wanted = match index[1] {
            0 => z[&index],
            _ => knot.alpha() * data[&index] + knot.sigma() * z[&index],
        };
        assert!((x - wanted).abs() < 1e-15);
    }
    run.complete(&mut Each(kind, 1)).unwrap();
    assert_eq!(run.level(0), Some(grid.levels()[2]));
    assert_eq!(run.level(1), Some(grid.end()));
}

#[test]
fn a_run_that_is_stopped_goes_on_bit_for_bit() {
    let (shape, axis) = SHAPES[1];
    let stairs = PositionSchedule::staircase(&grid(4), shape[axis], 1).unwrap();
    let sampler = along(stairs, axis, Kappa::Ddpm);
    let kind = Prediction::Velocity;
    let mut run: PositionRun<f32, IxDyn> = sampler.start(shape, kind, keyed()).unwrap();
    for _ in 0..3 {
        run.advance(&mut Each(kind, axis)).unwrap();
    }
    let (state, step) = (run.state().to_owned(), run.step());
    let mut copy = run.clone();
    let mut resumed = sampler
        .resume(state, step, kind, KeyedNoise::new(SEED))
        .unwrap();
    for run in [&mut run, &mut copy, &mut resumed] {
        run.complete(&mut Each(kind, axis)).unwrap();
    }
    assert_eq!(bits(run.state()), bits(copy.state()));
    assert_eq!(bits(run.state()), bits(resumed.state()));
}

#[test]
fn an_empty_batch_takes_its_steps_without_the_model() {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 3).unwrap();
    let stairs = PositionSchedule::staircase(&grid, 4, 1).unwrap();
    let sampler = along(stairs, 1, Kappa::Ddim);
    for shape in [[0, 4, 6], [2, 4, 0]] {
        let kind = Prediction::Flow;
        let mut run = sampler.start::<f32, _, _>(shape, kind, keyed()).unwrap();
        let mut uncalled =
            diffusion_sampler::denoiser::PerPosition(diffusion_sampler::from_fn::<f32, _>(
                kind,
                |_, _, _| panic!("called"),
            ));
        run.complete(&mut uncalled).unwrap();
        assert_eq!(run.step(), 6);
    }
}
