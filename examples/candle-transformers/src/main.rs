//! diffusion-sampler's samplers in the Stable Diffusion loop of candle-transformers, beside candle's
//! own schedulers.
//!
//! `cargo run --manifest-path examples/candle-transformers/Cargo.toml`

mod closed;
mod compared;
mod cost;
#[path = "../../candle/src/counting.rs"]
mod counting;
mod defects;
mod edits;
mod every;
mod network;
#[path = "../../candle/src/ops.rs"]
mod ops;
mod order;
mod same;
mod scheduler;
mod settings;
mod stochastic;

use compared::Result;
use network::{Network, SHAPE, SMALL};

fn main() -> Result<()> {
    same::print(&Network::new(SHAPE[0], 7.5)?)?;
    stochastic::print()?;
    defects::print()?;
    order::print()?;
    edits::print()?;
    settings::print()?;
    every::print(&Network::new(SMALL[0], 7.5)?)?;
    cost::print()
}
