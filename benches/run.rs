//! Whole runs with an exact denoiser: what a sampler costs when its model is nearly free.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use diffusion_sampler::{
    Grid, Prediction, Sampler, from_fn,
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver},
};
use ndarray::{ArrayRef, Ix2};

const STEPS: usize = 20;
const SAMPLES: usize = 8;

/// Standard normal data: E[ε | x] = σx, one pass over memory.
fn whole_runs(criterion: &mut Criterion) {
    let solvers: [(&str, Box<dyn Solver>); 4] = [
        ("ddim", Box::new(FirstOrder::ddim())),
        ("ddpm", Box::new(FirstOrder::ddpm())),
        ("2m", Box::new(DpmSolverPlusPlus::new())),
        ("heun", Box::new(Heun::new())),
    ];
    let mut group = criterion.benchmark_group("run of 20 steps");
    group.sample_size(20);
    let Ok(grid) = TableSchedule::linear(1000, 1e-4, 0.02)
        .and_then(|schedule| Grid::trailing(&schedule, STEPS))
    else {
        return;
    };
    for (name, solver) in solvers {
        let Ok(sampler) = Sampler::along(&Path::without_schedule(&grid), &*solver) else {
            continue;
        };
        for elements in [1 << 10, 1 << 16, 3 << 18] {
            group.throughput(Throughput::Elements((elements * STEPS) as u64));
            group.bench_function(BenchmarkId::new(name, elements), |bencher| {
                let mut model = from_fn(
                    Prediction::Noise,
                    |x: &ArrayRef<f32, Ix2>, level, out: &mut ArrayRef<f32, Ix2>| {
                        let sigma = level.sigma() as f32;
                        out.zip_mut_with(x, |o, &x| *o = sigma * x);
                    },
                );
                bencher.iter(|| {
                    black_box(sampler.sample(&mut model, (SAMPLES, elements / SAMPLES), 7))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, whole_runs);
criterion_main!(benches);
