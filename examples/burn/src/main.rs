//! Every kind of run on burn's tensors, beside the same run on ndarray's arrays.
//!
//! `cargo run --manifest-path examples/burn/Cargo.toml`

#[path = "../../candle/src/counting.rs"]
mod counting;
#[path = "../../candle/src/laws.rs"]
mod laws;
mod network;
mod ops;
#[path = "../../candle/src/reference.rs"]
mod reference;
#[path = "../../candle/src/refusals.rs"]
mod refusals;
#[path = "../../candle/src/runs.rs"]
mod runs;

use burn_tensor::{DType, Device, Tensor};

use ops::Burn;

fn main() -> runs::Result<()> {
    let weights = reference::Weights::new();
    let device = Device::flex();
    let network = network::Network::new(&weights, DType::F32, &device);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        laws::check(&Burn, &Tensor::<2>::zeros([2, 3], (&device, dtype)))?;
    }
    refusals::check(&network)?;
    runs::print(&runs::compare(&network)?);
    Ok(())
}
