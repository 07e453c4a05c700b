//! Plans run by hand: stage by stage, edge by edge, and as plain loops over the coefficients.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, Prediction, Sampler,
    guidance::Combination,
    plan::Plan,
    run::{Cursor, Instruction, Machine},
    schedule::TableSchedule,
    solver::{FirstOrder, Heun, Path, Solver, catalogue},
};
use ndarray::{Array2, Ix2};

use crate::common::{Counted, PREDICTIONS, Smooth, bits};

const SHAPE: (usize, usize) = (3, 5);
const STEPS: usize = 6;

fn start() -> Array2<f64> {
    Array2::from_shape_fn(SHAPE, |(i, j)| 0.4 * i as f64 - 0.3 * j as f64 + 0.2)
}

/// The plan and sampler of a solver on the linear table.
fn sampler(solver: &dyn Solver) -> Sampler {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, STEPS).unwrap();
    Sampler::new(&schedule, &grid, solver).unwrap()
}

fn go_on(
    plan: &Plan,
    mut cursor: Cursor,
    machine: &mut Machine<f64, Ix2>,
    clip: Option<Clip>,
    model: &mut Smooth,
) {
    while let Some(step) = cursor.current(plan) {
        let stage = Instruction::new(step, cursor.stage_index(), cursor.step())
            .unwrap()
            .with_clip(clip);
        machine
            .take(&stage, model, &mut KeyedNoise::new(5))
            .unwrap();
        cursor.advance(plan);
    }
}

#[test]
fn a_plan_taken_stage_by_stage_gives_the_bits_of_its_run() {
    for entry in catalogue() {
        for kind in [Prediction::Noise, Prediction::Velocity] {
            let sampler = sampler(&*entry.solver);
            let mut run = sampler
                .start_from(start(), kind, KeyedNoise::new(5))
                .unwrap();
            run.complete(&mut Smooth(kind)).unwrap();

            let plan = sampler.plan();
            let mut machine = Machine::new(start(), plan.slots()).unwrap();
            go_on(
                plan,
                Cursor::default(),
                &mut machine,
                None,
                &mut Smooth(kind),
            );
            assert_eq!(bits(machine.state()), bits(run.state()), "{}", entry.name);
            let (state, history) = machine.into_parts();
            let (own_state, own_history) = run.into_parts();
            assert_eq!((state, history), (own_state, own_history), "{}", entry.name);
        }
    }
}

#[test]
fn a_run_left_half_way_goes_on_in_its_machine() {
    let kind = Prediction::Noise;
    for entry in catalogue() {
        let sampler = sampler(&*entry.solver);
        let start = || {
            sampler
                .start_from(start(), kind, KeyedNoise::new(5))
                .unwrap()
        };
        let (mut whole, mut half) = (start(), start());
        whole.complete(&mut Smooth(kind)).unwrap();
        for _ in 0..STEPS / 2 {
            half.advance(&mut Smooth(kind)).unwrap();
        }
        let cursor = half.cursor();
        let mut machine = half.into_machine();
        go_on(
            sampler.plan(),
            cursor,
            &mut machine,
            None,
            &mut Smooth(kind),
        );
        assert_eq!(bits(machine.state()), bits(whole.state()), "{}", entry.name);
    }
}

#[test]
fn plans_of_single_edges_join_to_the_plan_of_the_grid() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, STEPS).unwrap();
    let solvers: [&dyn Solver; 3] = [&FirstOrder::ddim(), &FirstOrder::ddpm(), &Heun::new()];
    for solver in solvers {
        let whole = solver.plan(&Path::new(&schedule, &grid).unwrap()).unwrap();
        let mut joined: Option<Plan> = None;
        for pair in grid.levels().windows(2) {
            let edge = Grid::from_levels(pair.to_vec(), 1.0).unwrap();
            let plan = solver.plan(&Path::new(&schedule, &edge).unwrap()).unwrap();
            joined = Some(match joined {
                None => plan,
                Some(before) => before.then(plan).unwrap(),
            });
        }
        let joined = joined.unwrap();
        assert_eq!(joined, whole);
        assert_eq!(joined.fingerprint(), whole.fingerprint());
    }
}

/// A plan on plain vectors, by the coefficients of its stages alone.
fn loop_of(plan: &Plan, kind: Prediction, start: &Array2<f64>) -> Vec<f64> {
    let mut x: Vec<f64> = start.iter().copied().collect();
    let mut slots = vec![vec![0.0; x.len()]; plan.slots()];
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in &step.stages {
            let c = stage.coefficients(kind, &Combination::single()).unwrap();
            let on = c.outputs.first().copied().unwrap_or_default();
            let output = |x: f64| stage.evaluate.map_or(0.0, |level| Smooth::at(x, &level));
            let new: Vec<f64> = (0..x.len())
                .map(|i| {
                    let history: f64 = c.history.iter().map(|&(j, w)| w * slots[j][i]).sum();
                    let z = Counted::value(index, i / SHAPE.1, i % SHAPE.1);
                    c.state[0] * x[i] + on[0] * output(x[i]) + history + c.noise * z
                })
                .collect();
            if let Some(slot) = c.store {
                slots[slot] = x
                    .iter()
                    .map(|&x| c.state[1] * x + on[1] * output(x))
                    .collect();
            }
            x = new;
        }
    }
    x
}

#[test]
fn a_loop_over_the_coefficients_is_the_run_for_every_solver_and_prediction() {
    for entry in catalogue() {
        for kind in PREDICTIONS {
            let sampler = sampler(&*entry.solver);
            let mut run = sampler.start_from(start(), kind, Counted).unwrap();
            run.complete(&mut Smooth(kind)).unwrap();
            let plain = loop_of(sampler.plan(), kind, &start());
            let size = plain.iter().fold(1.0, |top, x| f64::max(top, x.abs()));
            for (x, y) in run.state().iter().zip(&plain) {
                let miss = (x - y).abs() / size;
                assert!(miss < 1e-13, "{} {kind:?}: {x} {y} {miss:e}", entry.name);
            }
        }
    }
}
