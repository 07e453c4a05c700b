//! Single steps, the forward process and queries with a level for each position.

use diffusion_sampler::{
    Grid, Levels, NoiseLevel, Prediction, Query, Real,
    forward::{diffuse, diffuse_with, fill_normal},
    noise::Stream,
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::{NoiseSchedule, RectifiedFlow},
};
use ndarray::{Array3, ArrayD, IxDyn, ShapeBuilder};

use super::{KAPPAS, KINDS, SHAPES, at, keyed, level, numbers};
use crate::common::{bits, grid};

/// Levels for so many places, several of them shared, one in five that stays.
fn edges(count: usize) -> (Vec<NoiseLevel>, Vec<NoiseLevel>) {
    let grid = grid(9);
    let knot = |place: usize| grid.levels()[place.min(9)];
    let from: Vec<_> = (0..count).map(|i| knot((i * 5 + i / 3) % 8)).collect();
    let to = (0..count).map(|i| match i % 5 {
        3 => from[i],
        by => knot((i * 5 + i / 3) % 8 + by % 3 + 1),
    });
    let to = to.collect();
    (from, to)
}

/// A step of the whole batch between two levels.
fn whole<A: Real>(
    (x, output): (&ArrayD<A>, &ArrayD<A>),
    (from, to): (NoiseLevel, NoiseLevel),
    (kappa, kind): (Kappa, Prediction),
) -> ArrayD<A> {
    if from == to {
        return x.clone();
    }
    let step = DdimStep::new(from, to, kappa).unwrap();
    let mut machine = Machine::new(x.clone(), 0).unwrap();
    step.tell(&mut machine, kind, output, &mut keyed(), 4)
        .unwrap();
    machine.into_parts().0
}

fn steps_of_positions<A: Real>() {
    for (shape, axis) in SHAPES {
        let x = numbers::<A>(shape);
        let output = x.mapv(|x| A::cast(0.4) * x + A::cast(0.1));
        for kappa in KAPPAS {
            for kind in KINDS {
                for rows in [1, shape[0]] {
                    let positions = shape[axis];
                    let (from, to) = edges(rows * positions);
                    let step = DdimStep::along(axis, &from, &to, kappa).unwrap();
                    let mut machine = Machine::new(x.clone(), 0).unwrap();
                    step.tell(&mut machine, kind, &output, &mut keyed(), 4)
                        .unwrap();
                    for place in 0..rows * positions {
                        let (row, position) = (place / positions, place % positions);
                        let edge = (from[place], to[place]);
                        let alone = whole((&x, &output), edge, (kappa, kind));
                        let found = at(machine.state(), axis, position);
                        let wanted = at(&alone, axis, position);
                        let len = found.len() / shape[0];
                        let own = match rows {
                            1 => 0..found.len(),
                            _ => row * len..(row + 1) * len,
                        };
                        assert_eq!(
                            found[own.clone()],
                            wanted[own],
                            "{shape:?} {kappa:?} {place}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_of_positions_is_each_positions_step_of_the_whole_batch_bit_for_bit() {
    steps_of_positions::<f32>();
    steps_of_positions::<f64>();
}

#[test]
fn an_output_in_another_layout_gives_the_same_bits() {
    let (from, to) = edges(4);
    let step = DdimStep::along(1, &from, &to, Kappa::Ddpm).unwrap();
    let x = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| {
        (i * 20 + j * 5 + k) as f32 * 0.1 - 3.0
    });
    let output = x.mapv(f32::cos);
    let mut turned = Array3::zeros((3, 4, 5).f());
    turned.assign(&output);
    let states = [output, turned].map(|output| {
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        let kind = Prediction::Data;
        step.tell(&mut machine, kind, &output, &mut keyed(), 0)
            .unwrap();
        bits(machine.state())
    });
    assert_eq!(states[0], states[1]);
}

#[test]
fn a_position_that_stays_is_not_touched_by_an_output_that_is_not_finite() {
    let (clean, waiting) = (NoiseLevel::clean(), level(0.3, 0.9));
    let (from, to) = ([clean, waiting, waiting], [clean, waiting, level(0.5, 0.8)]);
    for kappa in KAPPAS {
        let step = DdimStep::along(1, &from, &to, kappa).unwrap();
        let x = Array3::from_elem((2, 3, 4), -0.0f64);
        let mut output = Array3::from_elem((2, 3, 4), f64::NAN);
        output.slice_mut(ndarray::s![.., 2, ..]).fill(f64::INFINITY);
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        let kind = Prediction::Noise;
        let refused = step.tell(&mut machine, kind, &output, &mut keyed(), 0);
        assert!(refused.is_err(), "what moves is looked at");
        output.slice_mut(ndarray::s![.., 2, ..]).fill(0.3);
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        step.tell(&mut machine, kind, &output, &mut keyed(), 0)
            .unwrap();
        for position in 0..2 {
            assert_eq!(at(machine.state(), 1, position), at(&x, 1, position));
        }
        assert_ne!(at(machine.state(), 1, 2), at(&x, 1, 2));
    }
}

#[test]
fn where_nothing_moves_nothing_is_done() {
    let clean = [NoiseLevel::clean(); 3];
    let step = DdimStep::along(1, &clean, &clean, Kappa::Ddpm).unwrap();
    assert!(step.posteriors().is_empty());
    let moving = DdimStep::along(1, &edges(3).0, &edges(3).1, Kappa::Ddpm).unwrap();
    let (from, to) = edges(3);
    let ends = moving.posteriors().iter().map(|q| (q.from(), q.to()));
    assert!(ends.eq(from.into_iter().zip(to)));
    let x = Array3::from_elem((2, 3, 4), -0.0f32);
    let mut machine = Machine::new(x.clone(), 0).unwrap();
    let output = Array3::from_elem((2, 3, 4), f32::NAN);
    let kind = Prediction::Noise;
    step.tell(&mut machine, kind, &output, &mut keyed(), 0)
        .unwrap();
    let mut uncalled = diffusion_sampler::from_fn(kind, |_, _, _| panic!("called"));
    step.take(&mut machine, &mut uncalled, &mut keyed(), 0)
        .unwrap();
    assert_eq!(bits(machine.state()), bits(&x));
}

/// diffusers' FlowMatchEulerDiscreteScheduler with `per_token_timesteps`: each token goes to the
/// largest σ of the list below its own, to 0 where there is none; x − (σ − σ')u, and with
/// `stochastic_sampling` (1 − σ')x₀ + σ'z, x₀ = x − σu. (That library takes −u in place of u.)
#[test]
fn each_token_takes_eulers_step_to_the_next_lower_sigma_of_the_list() {
    let flow = RectifiedFlow::shifted(3.0).unwrap();
    let grid = Grid::trailing(&flow, 7).unwrap();
    let list: Vec<f64> = grid.levels().iter().map(|level| level.sigma()).collect();
    // On a knot, between two, below all but the last, at both ends.
    let sigmas = [1.0, list[3], 0.5 * (list[2] + list[3]), 0.01, 0.0, list[6]];
    let from = sigmas.map(|sigma| level(1.0 - sigma, sigma));
    let to = from.map(|level| grid.next_below(&level).unwrap_or(level));
    let x = Array3::from_shape_fn((2, 6, 3), |(i, j, k)| ((i * 18 + j * 3 + k) as f64).sin());
    let u = x.mapv(|x| 0.5 - x);
    let mut z = Array3::<f64>::zeros(x.raw_dim());
    fill_normal(&mut z, &mut keyed(), 2, Stream::Step(0)).unwrap();
    for (kappa, stochastic) in [(Kappa::Ddim, false), (Kappa::Fresh, true)] {
        let step = DdimStep::along(1, &from, &to, kappa).unwrap();
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        step.tell(&mut machine, Prediction::Flow, &u, &mut keyed(), 2)
            .unwrap();
        for (index, found) in machine.state().indexed_iter() {
            let sigma = sigmas[index.1];
            let below = list.iter().filter(|&&other| other < sigma);
            let next = below.fold(0.0, |top, &other| f64::max(top, other));
            let wanted = if stochastic {
                (1.0 - next) * (x[index] - sigma * u[index]) + next * z[index]
            } else {
                x[index] - (sigma - next) * u[index]
            };
            assert!((found - wanted).abs() < 1e-14, "{index:?} {stochastic}");
        }
    }
}

#[test]
fn noising_has_the_mean_and_variance_of_each_positions_level() {
    let levels = [
        NoiseLevel::clean(),
        level(0.8, 0.6),
        level(0.0, 1.5),
        level(2.0, 0.1),
    ];
    for (shape, axis) in SHAPES {
        for rows in [1, shape[0]] {
            let list: Vec<_> = (0..rows * shape[axis])
                .map(|i| levels[(i * 3) % 4])
                .collect();
            let data = numbers::<f64>(shape);
            let mut z = ArrayD::<f64>::zeros(IxDyn(shape));
            fill_normal(&mut z, &mut keyed(), 3, Stream::Forward).unwrap();
            let (mut drawn, mut told) = (data.clone(), data.clone());
            diffuse(&mut drawn, Levels::along(axis, &list), &mut keyed(), 3).unwrap();
            diffuse_with(&mut told, &z, Levels::along(axis, &list)).unwrap();
            for (index, x) in drawn.indexed_iter() {
                let row = if rows == 1 { 0 } else { index[0] };
                let level = list[row * shape[axis] + index[axis]];
                let wanted = level.alpha() * data[&index] + level.sigma() * z[&index];
                assert!((x - wanted).abs() < 1e-15);
                assert_eq!(*x, told[&index]);
            }
        }
    }
    // And of very many draws.
    let mut x = Array3::<f64>::from_elem((20_000, 4, 1), 0.5);
    diffuse(&mut x, Levels::along(1, &levels), &mut keyed(), 0).unwrap();
    for (position, level) in levels.iter().enumerate() {
        let values = x.slice(ndarray::s![.., position, 0]);
        let mean = values.sum() / 20_000.0;
        let variance = values.fold(0.0, |sum, x| sum + (x - mean).powi(2)) / 19_999.0;
        let sigma = level.sigma();
        let allowed = 5.0 * sigma / 20_000f64.sqrt();
        assert!((mean - 0.5 * level.alpha()).abs() <= allowed);
        let allowed = 5.0 * sigma * sigma * 0.01;
        assert!((variance - sigma * sigma).abs() <= allowed);
    }
}

#[test]
fn a_clean_position_stays_whatever_the_noise_is() {
    let levels = [NoiseLevel::clean(), level(0.8, 0.6)];
    let mut x = Array3::from_elem((1, 2, 3), -0.0f32);
    let noise = Array3::from_shape_fn((1, 2, 3), |(_, j, _)| if j == 0 { f32::NAN } else { 2.0 });
    diffuse_with(&mut x, &noise, Levels::along(1, &levels)).unwrap();
    assert_eq!(at(&x, 1, 0), [(-0.0f64).to_bits(); 3]);
    assert!(x.iter().skip(3).all(|x| (x - 1.2).abs() < 1e-6));
}

#[test]
fn along_axis_0_levels_are_those_of_the_samples() {
    let levels = [level(0.9, 0.1), level(0.2, 0.9)];
    let data = numbers::<f32>(&[2, 7]);
    let [mut a, mut b] = [data.clone(), data];
    diffuse(&mut a, &levels, &mut keyed(), 0).unwrap();
    diffuse(&mut b, Levels::along(0, &levels), &mut keyed(), 0).unwrap();
    assert_eq!(bits(&a), bits(&b));
    let query = Query::along(Levels::along(0, &levels), &[2, 7]).unwrap();
    assert_eq!((query.axis(), query.level_of(1)), (None, Some(levels[1])));
}

#[test]
fn a_query_says_the_level_of_each_place() {
    let schedule = RectifiedFlow::new();
    let levels: Vec<_> = (0..6)
        .map(|i| schedule.level(0.1 + 0.1 * i as f64).unwrap())
        .collect();
    let shape = [2, 5, 3];
    let shared = Query::along(Levels::along(2, &levels[..3]), &shape).unwrap();
    let own = Query::along(Levels::along(2, &levels), &shape).unwrap();
    for (sample, position) in [(0, 0), (0, 2), (1, 0), (1, 1)] {
        assert_eq!(shared.level_at(sample, position), Some(levels[position]));
        assert_eq!(
            own.level_at(sample, position),
            Some(levels[3 * sample + position])
        );
    }
    assert_eq!((shared.axis(), own.axis()), (Some(2), Some(2)));
    assert_eq!((shared.level_at(0, 3), own.level_at(2, 0)), (None, None));
    assert_eq!((own.level(), own.level_of(1)), (levels[0], Some(levels[3])));
    assert_eq!((own.target_at(0, 0), own.step()), (None, None));
    // Without an axis every place has the level of the sample, or of the batch.
    let each = Query::per_sample(&levels).unwrap();
    assert_eq!(each.level_at(4, 17), Some(levels[4]));
    assert_eq!(Query::new(&levels[1]).level_at(9, 9), Some(levels[1]));
}

#[test]
fn the_next_knot_below_a_level_is_the_first_with_less_noise() {
    let grid = grid(5);
    for pair in grid.levels().windows(2) {
        assert_eq!(grid.next_below(&pair[0]), Some(pair[1]));
        let between = level(pair[0].alpha() * 1.001, pair[0].sigma());
        assert_eq!(grid.next_below(&between), Some(pair[1]));
        // A knot that was rounded to f32 on the way is that knot.
        for rounding in [1.0 - 1e-7, 1.0 + 1e-7] {
            let rounded = level(pair[0].alpha() * rounding, pair[0].sigma());
            assert_eq!(grid.next_below(&rounded), Some(pair[1]));
        }
    }
    let noisier = level(0.0, 3.0);
    assert_eq!(grid.next_below(&noisier), Some(grid.start()));
    assert_eq!(grid.next_below(&NoiseLevel::clean()), None);
}
