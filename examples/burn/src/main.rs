//! Every kind of run on burn's tensors, beside the same run on ndarray's arrays; and a trained
//! network as a module of burn.
//!
//! `cargo run --manifest-path examples/burn/Cargo.toml`
//!
//! Every sampler of the registry: the same with `-- samplers`. What a step costs:
//! `cargo run --release --manifest-path examples/burn/Cargo.toml -- overhead`

#[path = "../../../benches/support/allocations.rs"]
mod allocations;
#[path = "../../candle/src/counting.rs"]
mod counting;
mod digits;
mod gradients;
#[path = "../../candle/src/laws.rs"]
mod laws;
mod network;
mod ops;
#[path = "../../candle/src/overhead.rs"]
mod overhead;
#[path = "../../candle/src/reference.rs"]
mod reference;
#[path = "../../candle/src/refusals.rs"]
mod refusals;
#[path = "../../candle/src/runs.rs"]
mod runs;
#[path = "../../../benches/support/mod.rs"]
mod support;
mod trained;
mod weights;

use burn::tensor::{DType, Device, Tensor};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::{KeyedNoise, registry};

use digits::Digits;
use ops::Burn;
use runs::Result;

/// All that a program on burn writes: digits of these classes, with a sampler by its name.
fn guided(network: &Digits, classes: &[i64], device: &Device) -> Result<Tensor<2>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = registry::sampler("DPM++ 2M quadratic")?.sampler(&schedule, 12)?;
    let like = Tensor::zeros([classes.len(), digits_network::PIXELS], device);
    let classes = Tensor::from_data(classes, device);
    let mut run = sampler
        .on(Burn)
        .start(&like, digits_network::PREDICTION, KeyedNoise::new(42))?;
    run.complete_guided(&ClassifierFree::with_scale(2.0)?, |x, query| {
        // The batch with the classes and, where guidance wants a second output, without them.
        let outputs = network.outputs(x, query.level().lambda(), &classes, query.outputs());
        Ok::<_, std::convert::Infallible>(outputs)
    })?;
    Ok(run.into_state())
}

fn main() -> Result<()> {
    let device = Device::flex();
    let network = network::Network::new(&reference::Weights::new(), &device);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["overhead"] => {
            return overhead::print(&network, |x, a, e, b| Ok(x.clone() * a + e.clone() * b));
        }
        ["samplers"] => return trained::every_sampler(&device),
        _ => {
            let error = format!("arguments {arguments:?}; none, overhead or samplers is allowed");
            return Err(error.into());
        }
    }
    trained::show(&guided(
        &Digits::trained(&device)?,
        &[3, 1, 4, 5, 9],
        &device,
    )?)?;
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        laws::check(&Burn, &Tensor::<2>::zeros([2, 3], (&device, dtype)))?;
    }
    refusals::check(&network)?;
    runs::print(&runs::compare(&network)?);
    trained::compare(&device)?;
    gradients::check(&device)
}
