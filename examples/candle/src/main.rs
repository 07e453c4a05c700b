mod counting;
mod network;
mod ops;
mod reference;
mod runs;
mod third_order;
use candle_core::{DType, Device};
fn main() -> runs::Result<()> {
    let weights = reference::Weights::new();
    let network = network::Network::new(&weights, DType::F32, &Device::Cpu)?;
    runs::print(&runs::compare(&network)?);
    Ok(())
}
