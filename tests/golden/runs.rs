//! Whole runs: every solver of the catalogue in both types, clips, predictions, arrays large enough
//! for threads, parallel in time, along positions, of adaptive steps, and exact inversions.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, Prediction, Real, Sampler,
    editing::ExactInversion,
    forward::diffuse,
    from_fn,
    noise::{BrownianPath, LearnedNoise},
    oracle::Oracle,
    posterior::Kappa,
    run::{AdaptiveDpm, PositionSampler, PositionSchedule},
    schedule::{NoiseSchedule, VariancePreserving},
    solver::{DpmPlusPlusSde, DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver, catalogue},
};
use ndarray::{Array2, Array3, Dim, Ix2};

use crate::hash::{Hash, Lines};
use crate::models::{Network, TwoHeads, mixture, state, table};

pub(crate) fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    let table = table();
    Sampler::new(&table, &Grid::trailing(&table, steps).unwrap(), solver).unwrap()
}

fn of_catalogue<A: Real>(lines: &mut Lines, kind: &str) {
    for entry in catalogue() {
        let sampler = sampler(&*entry.solver, 6);
        lines.add(format!("run: {}, {kind}", entry.name), |hash| {
            let history = vec![state::<A, _>(Dim((5, 3))); sampler.plan().given()];
            let x = state(Dim((5, 3)));
            let noise = KeyedNoise::new(2024);
            let mut run = sampler
                .start_with(x, history, Prediction::Noise, noise)
                .unwrap();
            let mixture = mixture();
            run.complete(&mut (&mixture).denoiser(Prediction::Noise))
                .unwrap();
            hash.elements(run.state());
            if sampler.plan().given() == 0 && !entry.inverts {
                // Odd sizes, and a model that is a rational function.
                let x: Array3<A> = sampler
                    .sample(&mut Network(Prediction::Velocity), (3, 2, 13), u64::MAX)
                    .unwrap();
                hash.elements(&x);
            }
        });
    }
}

fn options<A: Real>(lines: &mut Lines, kind: &str) {
    let ddpm = sampler(&FirstOrder::ddpm(), 8);
    let multistep = sampler(&DpmSolverPlusPlus::new(), 8);
    let of = |hash: &mut Hash, sampler: &Sampler, prediction| {
        let x: Array3<A> = sampler
            .sample(&mut Network(prediction), (3, 2, 35), 7)
            .unwrap();
        hash.elements(&x);
    };
    for (name, clip) in [
        ("static", Clip::new(-0.5, 0.5).unwrap()),
        (
            "keeping noise",
            Clip::new(-0.5, 0.5).unwrap().keeping_noise(),
        ),
        ("dynamic", Clip::dynamic(0.8, 1.0).unwrap()),
    ] {
        lines.add(format!("run: clip, {name}, {kind}"), |hash| {
            of(hash, &ddpm.clone().with_clip(clip), Prediction::Noise);
            of(hash, &multistep.clone().with_clip(clip), Prediction::Data);
        });
    }
    for prediction in [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Score,
        Prediction::Flow,
        Prediction::Edm { data_std: 0.5 },
        Prediction::EdmVelocity { data_std: 0.5 },
    ] {
        lines.add(format!("run: of {}, {kind}", prediction.name()), |hash| {
            of(hash, &ddpm, prediction);
            of(hash, &multistep, prediction);
        });
    }
    lines.add(format!("run: Brownian path, {kind}"), |hash| {
        for solver in [&DpmPlusPlusSde::new() as &dyn Solver, &FirstOrder::ddpm()] {
            let mut run = sampler(solver, 9)
                .start((3, 2, 35), Prediction::Noise, BrownianPath::new(5))
                .unwrap();
            run.complete(&mut Network(Prediction::Noise)).unwrap();
            hash.elements::<A>(run.state());
        }
    });
    lines.add(format!("run: parallel in time, {kind}"), |hash| {
        for solver in [&FirstOrder::ddpm() as &dyn Solver, &Heun::new()] {
            let parallel = sampler(solver, 12).parallel(5, 1e-2).unwrap();
            let (x, report) = parallel
                .sample::<A, _, _>(&mut Network(Prediction::Data), (3, 2, 11), 3)
                .unwrap();
            hash.elements(&x);
            hash.count(report.sweeps());
            hash.numbers(report.residuals());
        }
    });
    lines.add(format!("run: along positions, {kind}"), |hash| {
        let table = table();
        let grid = Grid::trailing(&table, 5).unwrap();
        let stairs = PositionSchedule::staircase(&grid, 11, 2).unwrap();
        let positions = PositionSampler::new(stairs, 2, Kappa::Ddpm).unwrap();
        let mut run = positions
            .start((3, 2, 11), Prediction::Noise, KeyedNoise::new(8))
            .unwrap();
        let mut model = from_fn(Prediction::Noise, |x, _, out| {
            out.zip_mut_with(x, |o, &x: &A| *o = x / (A::one() + x * x));
        });
        let mut model = diffusion_sampler::denoiser::PerPosition(&mut model);
        run.complete(&mut model).unwrap();
        hash.elements(run.state());
    });
    lines.add(format!("run: adaptive, {kind}"), |hash| {
        let schedule = VariancePreserving::default();
        let ends = Grid::from_times(&schedule, &[1.0, 0.01]).unwrap();
        let path = Path::new(&schedule, &ends).unwrap();
        for (order, kappa) in [
            (2, Kappa::Ddim),
            (3, Kappa::Ddim),
            (3, Kappa::Ancestral(1.0)),
        ] {
            let solver = AdaptiveDpm::order(order).unwrap().with_kappa(kappa);
            let x = state::<A, _>(Dim((4, 7)));
            let mut noise = KeyedNoise::new(1);
            let found = solver
                .sample(&path, &mut Network(Prediction::Noise), x, &mut noise)
                .unwrap();
            hash.elements(&found.state);
            found.levels.iter().for_each(|level| hash.level(level));
        }
    });
    lines.add(format!("run: forward process, {kind}"), |hash| {
        let level = table().level(400.0).unwrap();
        let mut x = state::<A, _>(Dim((4, 37)));
        diffuse(&mut x, &level, &mut KeyedNoise::new(4), 9).unwrap();
        hash.elements(&x);
    });
}

/// Above the sizes at which steps and noise take threads.
fn large(lines: &mut Lines) {
    for (name, solver) in [
        ("DDPM", Box::new(FirstOrder::ddpm()) as Box<dyn Solver>),
        ("DPM-Solver++", Box::new(DpmSolverPlusPlus::new())),
    ] {
        lines.add(format!("run: large, {name}, f32"), |hash| {
            let shape = (2, (1 << 19) + 13);
            let mut model = from_fn::<f32, Ix2>(Prediction::Data, |x, _, out| {
                out.zip_mut_with(x, |o, &x| *o = 0.5 * x);
            });
            let x: Array2<f32> = sampler(&*solver, 2).sample(&mut model, shape, 6).unwrap();
            hash.elements(&x);
        });
    }
}

pub(crate) fn add(lines: &mut Lines) {
    of_catalogue::<f32>(lines, "f32");
    of_catalogue::<f64>(lines, "f64");
    options::<f32>(lines, "f32");
    options::<f64>(lines, "f64");
    large(lines);
    lines.add("run: learned variance", |hash| {
        let noise = LearnedNoise::new(KeyedNoise::new(21));
        let sampler = sampler(&FirstOrder::ddpm(), 8);
        let mut run = sampler.start((4, 5), Prediction::Noise, noise).unwrap();
        run.complete_learned(&mut TwoHeads).unwrap();
        hash.elements::<f64>(run.state());
    });
    lines.add("run: inversion", |hash| {
        let schedule = VariancePreserving::default();
        let lambdas = [-4.0, -2.5, -1.0, 0.25, 1.5, 4.0];
        let grid = Grid::from_lambdas(&schedule, &lambdas).unwrap();
        for solver in [&FirstOrder::ddim() as &dyn Solver, &Heun::new()] {
            let sampler = Sampler::new(&schedule, &grid, solver).unwrap();
            let x = state::<f64, _>(Dim((3, 4))) * 0.1;
            let inversion = ExactInversion::new(&sampler).unwrap();
            let inverted = inversion
                .invert(&x, &mut Network(Prediction::Data))
                .unwrap();
            hash.elements(&inverted.state);
            hash.number(inverted.residual());
        }
    });
}
