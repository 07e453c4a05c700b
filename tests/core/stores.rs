//! What a named store holds, and a multistep solver in E built on it.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    clip::ClipNoise,
    plan::{Plan, Step, Store, Update},
    schedule::TableSchedule,
    solver::{Path, Solver},
};
use ndarray::{Array2, array};

use crate::common::Smooth;

fn levels() -> Vec<NoiseLevel> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    Grid::trailing(&schedule, 8).unwrap().levels().to_vec()
}

/// D and E of the output o = E at x, clipped.
fn estimates(x: f64, o: f64, level: &NoiseLevel, clip: Option<Clip>) -> (f64, f64) {
    let data = (x - level.sigma() * o) / level.alpha();
    match clip {
        None => (data, o),
        Some(clip) => {
            let (low, high) = clip.range().unwrap();
            let clipped = data.clamp(low, high);
            let recomputed = (x - level.alpha() * clipped) / level.sigma();
            match clip.noise() {
                ClipNoise::Keep => (clipped, o),
                _ => (clipped, recomputed),
            }
        }
    }
}

fn clips() -> [Option<Clip>; 3] {
    let clip = Clip::new(-0.4, 0.4).unwrap();
    [None, Some(clip), Some(clip.keeping_noise())]
}

#[test]
fn a_store_holds_what_its_name_says_under_every_clip() {
    let levels = levels();
    let (from, to) = (levels[3], levels[4]);
    let x = array![[0.3, -1.4, 2.0, 0.01]];
    let o = array![[-0.2, 0.9, 1.1, 0.05]];
    for clip in clips() {
        for (name, store) in [
            ("D", Store::data(1)),
            ("E", Store::noise(1)),
            ("x", Store::state(1)),
            ("linear", Store::linear(1, 0.25, -1.5)),
        ] {
            let update = Update {
                state: 0.5,
                data: 0.25,
                ..Update::default()
            };
            let step = Step::simple(from, to, update.storing(store));
            let plan = Plan::new(vec![step], 2).unwrap();
            let mut sampler = Sampler::from_plan(plan, 1.0).unwrap();
            if let Some(clip) = clip {
                sampler = sampler.with_clip(clip);
            }
            let mut run = sampler
                .start_from(x.clone(), Prediction::Noise, KeyedNoise::new(0))
                .unwrap();
            assert!(run.ask().unwrap().is_some());
            run.tell(&o).unwrap();
            for i in 0..4 {
                let (data, noise) = estimates(x[[0, i]], o[[0, i]], &from, clip);
                // αD + σE, which is x but where the model's E is kept.
                let state = from.alpha() * data + from.sigma() * noise;
                let expected = match name {
                    "D" => data,
                    "E" => noise,
                    "x" => x[[0, i]],
                    _ => 0.25 * state - 1.5 * data,
                };
                let found = run.history()[1][[0, i]];
                assert!(
                    (found - expected).abs() < 1e-14,
                    "{name} {clip:?} {found} {expected}"
                );
                let new = 0.5 * state + 0.25 * data;
                assert!((run.state()[[0, i]] - new).abs() < 1e-14, "{name} {clip:?}");
                if name == "x" {
                    assert_eq!(found.to_bits(), x[[0, i]].to_bits());
                }
            }
        }
    }
}

/// Adams–Bashforth of order 2 in E, dx̂/dρ = E with x̂ = x/α; Euler's method first.
#[derive(Debug)]
struct AdamsBashforth;

impl Solver for AdamsBashforth {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut before: Option<f64> = None;
        let mut steps = Vec::new();
        for (from, to) in path.edges() {
            let width = to.rho() - from.rho();
            let extra = before.map_or(0.0, |before| 0.5 * width * width / before);
            // (width + extra)·E − extra·E₋₁ with E = (x − αD)/σ.
            let on_noise = to.alpha() * (width + extra) / from.sigma();
            let mut update = Update {
                state: to.alpha() / from.alpha() + on_noise,
                data: -on_noise * from.alpha(),
                ..Update::default()
            };
            if before.is_some() {
                update.history = vec![(0, -to.alpha() * extra)];
            }
            steps.push(Step::simple(from, to, update.storing(Store::noise(0))));
            before = Some(width);
        }
        Plan::new(steps, 1)
    }

    fn order(&self) -> usize {
        2
    }
}

/// The textbook loop with the clipped D and the E that the clip says.
fn textbook(mut x: f64, levels: &[NoiseLevel], clip: Option<Clip>) -> f64 {
    let mut before: Option<(f64, f64)> = None;
    for pair in levels.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (data, noise) = estimates(x, Smooth::at(x, &from), &from, clip);
        let width = to.rho() - from.rho();
        let slope = match before {
            None => noise,
            Some((old, last)) => noise + 0.5 * (width / last) * (noise - old),
        };
        x = to.alpha() * (data + from.rho() * noise + width * slope);
        before = Some((noise, width));
    }
    x
}

#[test]
fn adams_bashforth_on_stored_noise_is_its_textbook_loop_under_every_clip() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 8).unwrap();
    let kind = Prediction::Noise;
    let x = Array2::from_shape_fn((4, 3), |(i, j)| 0.7 * i as f64 - 0.9 * j as f64 + 0.1);
    let mut ends = Vec::new();
    for clip in clips() {
        let mut sampler = Sampler::new(&schedule, &grid, &AdamsBashforth).unwrap();
        if let Some(clip) = clip {
            sampler = sampler.with_clip(clip);
        }
        let mut run = sampler
            .start_from(x.clone(), kind, KeyedNoise::new(0))
            .unwrap();
        run.complete(&mut Smooth(kind)).unwrap();
        for (found, &x) in run.state().iter().zip(&x) {
            let expected = textbook(x, grid.levels(), clip);
            assert!(
                (found - expected).abs() < 1e-12 * expected.abs().max(1.0),
                "{clip:?}"
            );
        }
        ends.push(run.into_state());
    }
    // The three policies are three different things.
    assert!(ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2]);
}
