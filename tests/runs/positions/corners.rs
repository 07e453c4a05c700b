//! Single ends of the rules: the first knot but one, the last element, the second of two levels.

use std::{cell::RefCell, convert::Infallible, ops::Range, rc::Rc};

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, Levels, Prediction, Query, RunError,
    denoiser::{PerPosition, from_query_fn},
    forward::{diffuse, fill_normal},
    guidance::{Combination, Evaluation, Guidance, Products},
    noise::{Demand, NoiseKey, NoiseSource, Stream},
    posterior::Kappa,
    run::{DdimStep, Machine, PositionSchedule},
    schedule::VarianceExploding,
};
use ndarray::{Array3, Ix3, array, s};

use super::{Each, along, keyed, level};
use crate::common::grid;

const KIND: Prediction = Prediction::Noise;
const SHAPE: (usize, usize, usize) = (2, 3, 5);

fn normals() -> Array3<f64> {
    let mut z = Array3::zeros(SHAPE);
    fill_normal(&mut z, &mut keyed(), 0, Stream::Start).unwrap();
    z
}

#[test]
fn noise_alone_has_the_deviation_at_which_the_grid_starts() {
    let schedule = VarianceExploding::new(0.01, 30.0).unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    let deviation = grid.start_variance().sqrt();
    assert!(deviation > 2.0);
    let together = PositionSchedule::together(&grid, 3).unwrap();
    assert_eq!(together.start_variance(), grid.start_variance());
    let run = along(together, 1, Kappa::Ddim)
        .start::<f64, _, _>(SHAPE, KIND, keyed())
        .unwrap();
    assert_eq!(run.state(), normals() * deviation);
}

/// The knot below the first is data with noise, and σ = 0 without α = 1 is scaled data.
#[test]
fn data_are_brought_to_the_level_at_which_a_position_begins() {
    let grid = grid(4);
    let knots = array![[0, 1, 0], [1, 1, 1], [2, 2, 2]];
    let schedule = PositionSchedule::from_knots(&grid, &knots).unwrap();
    let schedule = schedule.with_given([2], level(0.5, 0.0)).unwrap();
    let data = Array3::from_elem(SHAPE, 0.25);
    let run = along(schedule, 1, Kappa::Ddim)
        .start_given(data, KIND, keyed())
        .unwrap();
    let (z, second) = (normals(), grid.levels()[1]);
    for ((sample, position, element), x) in run.state().indexed_iter() {
        let z = z[[sample, position, element]];
        let wanted = match position {
            0 => z * grid.start_variance().sqrt(),
            1 => second.alpha() * 0.25 + second.sigma() * z,
            _ => 0.125,
        };
        assert!((x - wanted).abs() < 1e-15, "{position}");
    }
}

/// A mean of two outputs, which needs what it is told where σ is within a range.
#[derive(Clone, Debug)]
struct Choosy {
    stateful: bool,
    products: Range<f64>,
    second: Range<f64>,
}

impl Guidance for Choosy {
    fn name(&self) -> &'static str {
        "choosy"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        let second = self.second.contains(&at.level().sigma());
        Ok(1 + usize::from(second))
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        self.products.contains(&at.level().sigma())
    }

    fn is_stateful(&self) -> bool {
        self.stateful
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Combination::affine(&[0.5, 0.5])
    }
}

const NOWHERE: Range<f64> = 9.0..9.0;

#[test]
fn guidance_is_refused_for_a_memory_alone_and_for_products_at_any_level_that_moves() {
    let stairs = PositionSchedule::staircase(&grid(4), 3, 1).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>(SHAPE, KIND, keyed())
        .unwrap();
    run.advance(&mut Each(KIND, 1)).unwrap();
    let sigma = |position| run.level(position).unwrap().sigma();
    assert!(sigma(0) < sigma(1) && sigma(1) == sigma(2));
    let at = |position| sigma(position)..sigma(position) * (1.0 + 1e-9);
    let ask = |stateful, products| {
        let second = NOWHERE;
        let guidance = Choosy {
            stateful,
            products,
            second,
        };
        run.ask_guided(&guidance).map(drop)
    };
    let refused = Err(Error::NotPerPosition { name: "choosy" });
    assert_eq!(ask(true, NOWHERE), refused);
    assert_eq!(ask(false, at(0)), refused);
    assert_eq!(ask(false, at(1)), refused);
    assert_eq!(ask(false, NOWHERE), Ok(()));
}

/// The outputs that guidance wants at levels that stay are not computed.
#[test]
fn guidance_is_asked_at_levels_that_move_only() {
    let together = PositionSchedule::together(&grid(4), 3).unwrap();
    let given = together.with_given([0], level(1.0, 0.125)).unwrap();
    let data = Array3::from_elem(SHAPE, 0.25f64);
    let run = along(given, 1, Kappa::Ddim)
        .start_given(data, KIND, keyed())
        .unwrap();
    let outputs = |second| {
        let (stateful, products) = (false, NOWHERE);
        let guidance = Choosy {
            stateful,
            products,
            second,
        };
        run.ask_guided(&guidance)
            .unwrap()
            .map(|question| question.query.outputs())
    };
    assert_eq!(outputs(0.1..0.15), Some(1));
    assert_eq!(outputs(0.15..9.0), Some(2));
}

/// A model that leaves out the last element of a position that moves.
#[test]
fn the_last_element_of_what_moves_has_to_be_written() {
    let stairs = PositionSchedule::staircase(&grid(4), 3, 2).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>(SHAPE, KIND, keyed())
        .unwrap();
    let mut calls = 0;
    let mut model = PerPosition(from_query_fn::<f64, Ix3, Infallible>(
        KIND,
        1,
        move |_, _, out| {
            // Everything at first, then all but the last element of the position that moves.
            calls += 1;
            let written = if calls == 1 { 5 } else { 4 };
            out.slice_mut(s![.., .., ..written]).fill(0.1);
            Ok(())
        },
    ));
    run.advance(&mut model).unwrap();
    let refused = run.advance(&mut model).unwrap_err();
    let wanted = Error::OutputNotWritten {
        step: 1,
        output: 0,
        sample: 0,
        element: 4,
    };
    assert_eq!(refused, RunError::Sampler(wanted));
}

/// What is found where the second call of a model, for two samples of two positions of three elements,
/// leaves out some of the elements that its first call wrote.
fn left_out(
    step: &DdimStep,
    left_out: impl Fn(&Query<'_>, (usize, usize, usize)) -> bool,
) -> RunError<Infallible> {
    let mut machine = Machine::new(Array3::<f64>::zeros((2, 2, 3)), 0).unwrap();
    let mut calls = 0;
    let mut model = PerPosition(from_query_fn::<f64, Ix3, Infallible>(
        KIND,
        1,
        move |_, query, out| {
            calls += 1;
            for (index, out) in out.indexed_iter_mut() {
                if calls == 1 || !left_out(query, index) {
                    *out = 0.1;
                }
            }
            Ok(())
        },
    ));
    let mut take = || step.take(&mut machine, &mut model, &mut KeyedNoise::new(0), 0);
    take().unwrap();
    take().unwrap_err()
}

/// In the second sample another position moves than in the first.
#[test]
fn an_output_is_marked_where_the_positions_of_its_own_sample_move() {
    let (far, near, end) = (level(0.1, 0.9), level(0.5, 0.5), level(0.9, 0.1));
    let (from, to) = ([far, near, near, far], [near, near, near, end]);
    let step = DdimStep::along(1, &from, &to, Kappa::Ddim).unwrap();
    // Nothing is written to what moves in the second sample.
    let found = left_out(&step, |query, (sample, position, _)| {
        let stays = query.level_at(sample, position) == query.target_at(sample, position);
        sample == 1 && !stays
    });
    let wanted = Error::OutputNotWritten {
        step: 0,
        output: 0,
        sample: 1,
        element: 3,
    };
    assert_eq!(found, RunError::Sampler(wanted.clone()));
    // What never was written and stays is passed over, in every sample.
    let mut model = PerPosition(from_query_fn::<f64, Ix3, Infallible>(
        KIND,
        1,
        |_, _, out| {
            out.slice_mut(s![0, 0, ..]).fill(0.1);
            Ok(())
        },
    ));
    let mut machine = Machine::new(Array3::<f64>::zeros((2, 2, 3)), 0).unwrap();
    let taken = step.take(&mut machine, &mut model, &mut KeyedNoise::new(0), 0);
    assert_eq!(taken.unwrap_err(), RunError::Sampler(wanted));
}

/// A source that has been told what it will be asked for.
#[derive(Clone, Debug, Default)]
struct Told(Rc<RefCell<Vec<Range<u64>>>>);

impl NoiseSource<f64> for Told {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.0);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        self.0.borrow_mut().push(demand.steps.clone());
        Ok(())
    }
}

/// The step to σ = 0 has none, and in the first of these rows nothing moves.
#[test]
fn a_source_is_asked_about_the_steps_that_draw() {
    let knots = array![[0, 0], [0, 0], [1, 0], [2, 1], [4, 2], [4, 4]];
    let schedule = PositionSchedule::from_knots(&grid(4), &knots).unwrap();
    let told = Told::default();
    let x = Array3::<f64>::zeros((1, 2, 3));
    along(schedule, 1, Kappa::Ddpm)
        .resume(x, 0, KIND, told.clone())
        .unwrap();
    let steps = told.0.borrow();
    assert!(
        !steps.is_empty() && steps.iter().all(|steps| *steps == (1..4)),
        "{steps:?}"
    );
}

#[test]
fn a_query_has_no_level_beyond_the_last_position_of_a_sample() {
    let levels = [0.1, 0.2, 0.3, 0.4].map(|sigma| level(1.0, sigma));
    let query = Query::along(Levels::along(1, &levels), &[2, 2, 5]).unwrap();
    assert_eq!(query.level_at(0, 1), Some(levels[1]));
    assert_eq!(query.level_at(0, 2), None);
    assert_eq!(query.level_at(1, 0), Some(levels[2]));
    assert_eq!(query.level_at(2, 0), None);
}

/// In the first sample both positions take one step, in the second each its own: there the ends of
/// each have to be written.
#[test]
fn an_output_is_marked_at_the_ends_of_the_steps_of_its_own_sample() {
    let (far, near, end) = (level(0.1, 0.9), level(0.5, 0.5), level(0.9, 0.1));
    let (from, to) = ([far, far, far, near], [near, near, near, end]);
    let step = DdimStep::along(1, &from, &to, Kappa::Ddim).unwrap();
    let found = left_out(&step, |_, index| index == (1, 0, 2));
    let wanted = Error::OutputNotWritten {
        step: 0,
        output: 0,
        sample: 1,
        element: 2,
    };
    assert_eq!(found, RunError::Sampler(wanted));
}

#[test]
fn noising_scales_data_where_a_level_has_no_noise() {
    let levels = [level(0.5, 0.0), level(1.0, 0.0), level(0.6, 0.8)];
    let mut x = Array3::from_elem(SHAPE, 0.25f64);
    diffuse(&mut x, Levels::along(1, &levels), &mut keyed(), 0).unwrap();
    for ((_, position, _), x) in x.indexed_iter() {
        match position {
            0 => assert_eq!(*x, 0.125),
            1 => assert_eq!(*x, 0.25),
            _ => assert_ne!(*x, 0.15),
        }
    }
}

/// A clip would hide it: element by element, as along the last axis, and in longer runs.
#[test]
fn an_infinite_estimate_is_an_error_under_a_clip() {
    for (axis, shape) in [(1, (2, 3, 40)), (2, (2, 40, 3))] {
        let stairs = PositionSchedule::staircase(&grid(4), 3, 0).unwrap();
        let stairs = stairs.with_given([2], level(1.0, 0.0)).unwrap();
        let sampler = along(stairs, axis, Kappa::Ddim).with_clip(Clip::new(-1.0, 1.0).unwrap());
        let data = Array3::from_elem(shape, 0.25f64);
        let run = sampler.start_given(data, Prediction::Data, keyed());
        let mut run = run.unwrap();
        let mut output = Array3::from_elem(shape, 0.1);
        output[[1, 1, 1]] = f64::INFINITY;
        let refused = run.tell(&output);
        assert!(
            matches!(refused, Err(Error::NonFinite { sample: 1, .. })),
            "{refused:?}"
        );
    }
}
