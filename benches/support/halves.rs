//! Steps told a half output against steps told an f32 output, and the half copy of the state.

use std::error::Error;
use std::hint::black_box;

use diffusion_sampler::{
    Grid, KeyedNoise, ModelElement, NoiseLevel, Prediction, Sampler, Trajectory,
    guidance::Combination,
    kernel::bench::run_array,
    kernel::narrow,
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ndarray::{Array1, Array2, Ix2};

use crate::Report;
use crate::support::compare;

const SAMPLES: usize = 4;
const SIZES: [(&str, usize); 2] = [("768 Ki", 3 << 18), ("16 Mi", 1 << 24)];

/// Every row: what the bandwidth allows is (4 + 4 + 2)/(4 + 4 + 4) = 0.83 for a step.
pub(crate) fn steps(report: &mut Report) -> Result<(), Box<dyn Error>> {
    for (size, len) in SIZES {
        told::<bf16>(report, "bf16", size, len)?;
        told::<f16>(report, "f16", size, len)?;
    }
    for (size, len) in SIZES {
        guided::<bf16>(report, "bf16", size, len)?;
        guided::<f16>(report, "f16", size, len)?;
    }
    // In memory, both are as fast as memory.
    let (size, len) = SIZES[0];
    copied::<bf16>(report, "bf16", size, len);
    copied::<f16>(report, "f16", size, len);
    Ok(())
}

fn told<O: ModelElement<f32>>(
    report: &mut Report,
    name: &str,
    size: &str,
    len: usize,
) -> Result<(), Box<dyn Error>> {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let step = DdimStep::new(t, s, Kappa::Ddim)?;
    let shape = (SAMPLES, len / SAMPLES);
    // The state on the pages of a run, the outputs on a model's.
    let start = || -> Result<_, Box<dyn Error>> {
        let x = run_array::<f32>(len, 0.5)?.into_shape_with_order(shape)?;
        Ok(Machine::new(x, 0)?)
    };
    let (mut half, mut wide) = (start()?, start()?);
    let short = Array2::from_elem(shape, O::narrowed(0.5));
    let long = Array2::<f32>::from_elem(shape, 0.5);
    // x₀ as the output: the state keeps its size, however often the step is taken.
    let (kind, mut noise, mut other) = (Prediction::Data, KeyedNoise::new(1), KeyedNoise::new(1));
    report.at_most(
        &format!("step told {name} ÷ step told f32, {size}"),
        (0.85, 1.0),
        |seconds| {
            compare(
                seconds,
                || {
                    let half = black_box(&mut half);
                    assert_eq!(step.tell(half, kind, &short, &mut noise, 1), Ok(()));
                },
                || {
                    let wide = black_box(&mut wide);
                    assert_eq!(step.tell(wide, kind, &long, &mut other, 1), Ok(()));
                },
            )
        },
    );
    Ok(())
}

/// Two outputs by fixed weights: the bandwidth allows (4 + 4 + 2 + 2)/(4 + 4 + 4 + 4) = 0.75.
fn guided<O: ModelElement<f32>>(
    report: &mut Report,
    name: &str,
    size: &str,
    len: usize,
) -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 1000)?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    let shape = (SAMPLES, len / SAMPLES);
    let x = run_array::<f32>(len, 0.5)?.into_shape_with_order(shape)?;
    let start = sampler.start_from(x, Prediction::Velocity, KeyedNoise::new(1))?;
    let (mut half, mut wide) = (start.clone(), start.clone());
    let short = [0.5, 0.25].map(|v| Array2::from_elem(shape, O::narrowed(v)));
    let long = [0.5, 0.25].map(|v| Array2::<f32>::from_elem(shape, v));
    let weights = [Combination::affine(&[1.5, -0.5])?];
    report.at_most(
        &format!("guided step told {name} ÷ guided step told f32, {size}"),
        (0.85, 1.0),
        |seconds| {
            compare(
                seconds,
                || step(&mut half, &start, &weights, &short),
                || step(&mut wide, &start, &weights, &long),
            )
        },
    );
    Ok(())
}

/// A step of a run that is begun anew when it is over.
fn step<O: ModelElement<f32>>(
    run: &mut Trajectory<f32, Ix2>,
    start: &Trajectory<f32, Ix2>,
    weights: &[Combination],
    [e, f]: &[Array2<O>; 2],
) {
    if run.is_finished() {
        run.clone_from(start);
    }
    assert_eq!(run.tell_combined(weights, &[e, f]), Ok(()));
}

/// The half copy of the state against the crate `half`'s own loop.
fn copied<O: ModelElement<f32>>(report: &mut Report, name: &str, size: &str, len: usize)
where
    [O]: HalfFloatSliceExt,
{
    let from = Array1::<f32>::from_elem(len, 0.5);
    let mut ours = Array1::from_elem(len, O::narrowed(0.0));
    let mut theirs = ours.clone();
    report.at_most(
        &format!("{name} copy of the state ÷ half's own, {size} f32"),
        (0.85, 1.0),
        |seconds| {
            compare(
                seconds,
                || drop(narrow(black_box(&*from), black_box(&mut *ours))),
                || {
                    if let (Some(from), Some(to)) = (from.as_slice(), theirs.as_slice_mut()) {
                        black_box(to).convert_from_f32_slice(black_box(from));
                    }
                },
            )
        },
    );
}
