//! Runs that begin anew in their own arrays.

use diffusion_sampler::{
    Denoiser, Error, Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    denoiser::{Guided, Models},
    guidance::Projected,
    noise::{NoiseKey, NoiseSource, PerSample},
    plan::{Plan, Step, Update},
    solver::{DdimInversion, FirstOrder},
};
use ndarray::{Array2, Ix2};

use crate::common::{Smooth, bits, grid, sampler, solvers};

const SHAPE: (usize, usize) = (3, 5);
const STEPS: usize = 6;

fn plain() -> Smooth {
    Smooth(Prediction::Noise)
}

/// A form with a memory, which a new run does not have.
fn projected() -> impl Denoiser<f64, Ix2, Error = std::convert::Infallible> {
    let models = Models((plain(), Smooth(Prediction::Noise)));
    Guided::new(
        models,
        Projected::new(3.0).unwrap().with_momentum(-0.5).unwrap(),
    )
}

fn start(sampler: &Sampler, seed: u64) -> Trajectory<f64, Ix2> {
    let noise = KeyedNoise::new(seed);
    sampler.start(SHAPE, Prediction::Noise, noise).unwrap()
}

/// A run that has taken so many steps, and asked for the next.
fn begun(
    sampler: &Sampler,
    steps: usize,
    model: &mut impl Denoiser<f64, Ix2>,
) -> Trajectory<f64, Ix2> {
    let mut run = start(sampler, 1);
    for _ in 0..steps {
        assert!(run.advance(model).is_ok());
    }
    run.ask().unwrap();
    run
}

fn some_state() -> Array2<f64> {
    Array2::from_shape_fn(SHAPE, |(i, j)| 0.3 * i as f64 - 0.4 * j as f64)
}

#[test]
fn a_restarted_run_is_a_new_run_for_every_solver() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, STEPS);
        for steps in [0, 1, 2, STEPS] {
            let mut run = begun(&sampler, steps, &mut plain());
            run.restart(KeyedNoise::new(7)).unwrap();
            let mut new = start(&sampler, 7);
            assert_eq!(
                run.snapshot().unwrap(),
                new.snapshot().unwrap(),
                "{name} after {steps}"
            );
            run.complete(&mut plain()).unwrap();
            new.complete(&mut plain()).unwrap();
            assert_eq!(bits(run.state()), bits(new.state()), "{name} after {steps}");
        }
    }
}

#[test]
fn a_run_restarted_from_a_state_is_a_run_from_it_for_every_solver() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, STEPS);
        let mut run = begun(&sampler, 3, &mut plain());
        run.restart_from(&some_state(), KeyedNoise::new(7)).unwrap();
        let noise = KeyedNoise::new(7);
        let new = sampler.start_from(some_state(), Prediction::Noise, noise);
        let mut new = new.unwrap();
        assert_eq!(run.snapshot().unwrap(), new.snapshot().unwrap(), "{name}");
        run.complete(&mut plain()).unwrap();
        new.complete(&mut plain()).unwrap();
        assert_eq!(bits(run.state()), bits(new.state()), "{name}");
    }
}

#[test]
fn a_restart_forgets_the_memory_of_the_guidance() {
    let sampler = sampler(&FirstOrder::ddim(), STEPS);
    let mut run = begun(&sampler, 4, &mut projected());
    assert!(run.snapshot().unwrap().memory.is_some());
    run.restart(KeyedNoise::new(7)).unwrap();
    let mut new = start(&sampler, 7);
    assert_eq!(run.snapshot().unwrap(), new.snapshot().unwrap());
    run.complete(&mut projected()).unwrap();
    new.complete(&mut projected()).unwrap();
    assert_eq!(bits(run.state()), bits(new.state()));
}

#[test]
fn a_run_that_failed_can_be_restarted() {
    let sampler = sampler(&FirstOrder::ddpm(), STEPS);
    let mut run = start(&sampler, 1);
    let broken = Array2::from_elem(SHAPE, f64::NAN);
    assert!(matches!(run.tell(&broken), Err(Error::NonFinite { .. })));
    run.restart(KeyedNoise::new(7)).unwrap();
    assert_eq!(
        run.snapshot().unwrap(),
        start(&sampler, 7).snapshot().unwrap()
    );
}

#[test]
fn a_refused_restart_changes_nothing() {
    let sampler = sampler(&FirstOrder::ddpm(), STEPS);
    let noise = || PerSample::of((0..3).map(KeyedNoise::new));
    let mut run = sampler.start(SHAPE, Prediction::Noise, noise()).unwrap();
    run.advance(&mut plain()).unwrap();
    let before = run.snapshot().unwrap();
    let few = || PerSample::of([KeyedNoise::new(1)]);
    assert!(matches!(
        run.restart(few()),
        Err(Error::WrongLength { found: 1, .. })
    ));
    let refused = run.restart_from(&some_state(), few());
    assert!(matches!(refused, Err(Error::WrongLength { found: 1, .. })));
    let refused = run.restart_from(&Array2::zeros((3, 4)), noise());
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    let refused = run.restart_from(&Array2::from_elem(SHAPE, f64::INFINITY), noise());
    assert!(matches!(
        refused,
        Err(Error::NonFiniteStart {
            sample: 0,
            element: 0,
            ..
        })
    ));
    assert_eq!(run.snapshot().unwrap(), before);
}

#[test]
fn a_run_that_starts_from_data_is_restarted_from_data_only() {
    let sampler = sampler(&DdimInversion::new(), STEPS);
    let noise = KeyedNoise::new(1);
    let run = sampler.start_from(some_state(), Prediction::Noise, noise);
    let mut run = run.unwrap();
    run.advance(&mut plain()).unwrap();
    assert!(matches!(
        run.restart(noise),
        Err(Error::StartsFromData { .. })
    ));
    run.restart_from(&some_state(), noise).unwrap();
    assert_eq!(run.step(), 0);
}

#[test]
fn a_run_with_given_slots_is_not_restarted_without_them() {
    let grid: Grid = grid(1);
    let (from, to) = (grid.start(), grid.end());
    let update = Update {
        data: 0.5,
        history: vec![(0, 0.5)],
        ..Update::default()
    };
    let plan = Plan::new(vec![Step::simple(from, to, update)], 1);
    assert!(plan.is_err(), "the slot is given, not written");
    let update = Update {
        data: 0.5,
        history: vec![(0, 0.5)],
        ..Update::default()
    };
    let plan = Plan::with_given(vec![Step::simple(from, to, update)], 1, 1).unwrap();
    let sampler = Sampler::from_plan(plan, 1.0).unwrap();
    let noise = KeyedNoise::new(1);
    let history = vec![some_state()];
    let run = sampler.start_with(some_state(), history, Prediction::Noise, noise);
    let mut run = run.unwrap();
    let expected = Error::WrongLength {
        name: "given history slots",
        expected: 1,
        found: 0,
    };
    assert_eq!(run.restart(noise), Err(expected.clone()));
    assert_eq!(run.restart_from(&some_state(), noise), Err(expected));
}

/// Noise that is a number, or is not.
#[derive(Debug)]
struct Broken(bool);

impl NoiseSource<f64> for Broken {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(if self.0 { f64::NAN } else { 0.5 });
    }
}

#[test]
fn a_restart_from_noise_that_is_not_finite_is_refused_as_a_start_is() {
    let sampler = sampler(&FirstOrder::ddpm(), STEPS);
    let start = |broken| sampler.start(SHAPE, Prediction::Noise, Broken(broken));
    let refused = start(true).unwrap_err();
    assert!(matches!(refused, Error::NonFiniteStart { .. }));
    let mut run = start(false).unwrap();
    run.advance(&mut plain()).unwrap();
    let again = run.restart(Broken(true)).unwrap_err();
    assert_eq!(again.to_string(), refused.to_string());
    run.restart(Broken(false)).unwrap();
    assert_eq!(
        run.snapshot().unwrap(),
        start(false).unwrap().snapshot().unwrap()
    );
}
