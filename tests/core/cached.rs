//! Every way to give a run its output gives the same bits.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, Prediction, Real, Sampler, Trajectory,
    guidance::{Combination, Unguided},
    schedule::{RectifiedFlow, TableSchedule},
    solver::{DpmSolverPlusPlus, Solver, catalogue},
};
use ndarray::{Array2, Ix2};
use std::ops::ControlFlow;

use crate::common::{PREDICTIONS, Smooth, bits};

fn sampler(solver: &dyn Solver, clip: Option<Clip>) -> Sampler {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let sampler = Sampler::new(&schedule, &grid, solver).unwrap();
    match clip {
        None => sampler,
        Some(clip) => sampler.with_clip(clip),
    }
}

type Run<A> = Trajectory<A, Ix2, KeyedNoise>;

fn told<A: Real>(mut run: Run<A>, mut tell: impl FnMut(&mut Run<A>, &Array2<A>)) -> Vec<u64> {
    loop {
        let output = match run.ask().unwrap() {
            None => break,
            Some(question) => question.x.mapv(|x| Smooth::at(x, &question.level())),
        };
        tell(&mut run, &output);
    }
    bits(run.state())
}

fn check<A: Real>(name: &str, sampler: &Sampler, kind: Prediction) {
    let x = Array2::from_shape_fn((3, 5), |(i, j)| A::cast(0.3 * i as f64 - 0.2 * j as f64));
    let start = || {
        sampler
            .start_from(x.clone(), kind, KeyedNoise::new(3))
            .unwrap()
    };
    let mut advanced = start();
    advanced.complete(&mut Smooth(kind)).unwrap();
    let expected = bits(advanced.state());
    let mut observed = start();
    let end = observed.complete_with(&mut Smooth(kind), |_| ControlFlow::Continue(()));
    assert!(end.unwrap().is_continue());
    let ways = [
        ("observed", bits(observed.state())),
        (
            "told",
            told(start(), |run, output| run.tell(output).unwrap()),
        ),
        (
            "told in another layout",
            told(start(), |run, output| {
                let columns = output.t().as_standard_layout().into_owned();
                run.tell(&columns.t()).unwrap();
            }),
        ),
        (
            "combined",
            told(start(), |run, output| {
                let single = [Combination::single()];
                run.tell_combined(&single, &[output]).unwrap();
            }),
        ),
        (
            "combined for each sample",
            told(start(), |run, output| {
                let single = [Combination::single(); 3];
                run.tell_combined(&single, &[output]).unwrap();
            }),
        ),
        (
            "guided by nothing",
            told(start(), |run, output| {
                run.tell_guided(&Unguided, &[output]).unwrap();
            }),
        ),
    ];
    for (way, found) in ways {
        assert_eq!(
            found,
            expected,
            "{name}, {kind:?}, {:?}: {way}",
            sampler.clip()
        );
    }
}

#[test]
fn told_advanced_and_combined_runs_have_the_same_bits() {
    let clip = Clip::new(-0.5, 0.5).unwrap();
    let dynamic = Clip::dynamic(0.9, 2.0).unwrap();
    let clips = [
        None,
        Some(clip),
        Some(clip.keeping_noise()),
        Some(dynamic),
        Some(dynamic.keeping_noise()),
    ];
    for entry in catalogue() {
        for clip in clips {
            let sampler = sampler(&*entry.solver, clip);
            for kind in PREDICTIONS {
                check::<f64>(entry.name, &sampler, kind);
                check::<f32>(entry.name, &sampler, kind);
            }
        }
    }
}

#[test]
fn stages_beyond_those_folded_ahead_have_the_same_bits() {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 5000).unwrap();
    let solver = DpmSolverPlusPlus::new();
    let sampler = Sampler::new(&flow, &grid, &solver).unwrap();
    check::<f32>("5000 steps", &sampler, Prediction::Flow);
}
