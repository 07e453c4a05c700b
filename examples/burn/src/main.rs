//! Every kind of run on burn's tensors, beside the same run on ndarray's arrays.
//!
//! `cargo run --manifest-path examples/burn/Cargo.toml`

#[path = "../../candle/src/counting.rs"]
mod counting;
mod network;
mod ops;
#[path = "../../candle/src/reference.rs"]
mod reference;
#[path = "../../candle/src/runs.rs"]
mod runs;
#[path = "../../candle/src/third_order.rs"]
mod third_order;

use burn_tensor::{DType, Device};

fn main() -> runs::Result<()> {
    let weights = reference::Weights::new();
    let network = network::Network::new(&weights, DType::F32, &Device::flex());
    runs::print(&runs::compare(&network)?);
    Ok(())
}
