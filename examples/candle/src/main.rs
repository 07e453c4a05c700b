//! Every kind of run on candle's tensors, beside the same run on ndarray's arrays.
//!
//! `cargo run --manifest-path examples/candle/Cargo.toml`
//!
//! What a step costs: `cargo run --release --manifest-path examples/candle/Cargo.toml -- overhead`

#[path = "../../../benches/support/allocations.rs"]
mod allocations;
mod counting;
mod dtypes;
mod laws;
mod network;
mod ops;
mod overhead;
mod reference;
mod refusals;
mod runs;
#[path = "../../../benches/support/mod.rs"]
mod support;
mod view;

use candle_core::{DType, Device, Tensor};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::DpmSolverPlusPlus;
use diffusion_sampler::{Grid, KeyedNoise, Sampler};

use network::Network;
use ops::Candle;
use reference::{PREDICTION, SHAPE, Weights};
use runs::{Library, Result};

/// All that a program on candle writes.
fn guided(network: &Network, device: &Device) -> Result<Tensor> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 20)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let like = Tensor::zeros(&SHAPE, DType::F32, device)?;
    let mut run = sampler
        .on(Candle)
        .start(&like, PREDICTION, KeyedNoise::new(42))?;
    run.complete_guided(&ClassifierFree::with_scale(4.0)?, |x, query| {
        // The batch with the class and, where guidance wants a second output, without it.
        let labels = reference::labels(query.outputs());
        network.forward(x, reference::time(query), &labels)
    })?;
    Ok(run.into_state())
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let network = Network::new(&Weights::new(), DType::F32, &device)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["overhead"] => {
            let by_hand = |x: &Tensor, a: f64, e: &Tensor, b: f64| (x * a)? + (e * b)?;
            return overhead::print(&network, by_hand);
        }
        _ => return Err(format!("arguments {arguments:?}; none, or overhead, is allowed").into()),
    }
    let samples = guided(&network, &device)?;
    println!("{:?} in {:?}", samples.dims(), samples.dtype());
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        laws::check(&Candle, &Tensor::zeros((2, 3, 1), dtype, &device)?)?;
    }
    refusals::check(&network)?;
    runs::print(&runs::compare(&network)?);
    dtypes::print()?;
    // candle's tensors read in place by a run on our own arrays.
    let ours = view::run(&network)?.into_iter().map(f64::from);
    let samples = samples.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let difference = runs::difference(&samples, ours);
    println!("outputs read in place: {difference:.1e}");
    assert!(difference < runs::TOLERANCE);
    Ok(())
}
