//! Trains the network of `examples/network` on the 8×8 digits, with candle.
//!
//! ```text
//! cargo run --release --locked --manifest-path examples/training/Cargo.toml
//! cargo run --locked --manifest-path examples/training/Cargo.toml -- --check
//! ```

mod batch;
mod check;
mod evaluation;
mod model;
mod options;
mod split;
mod training;

#[allow(dead_code)] // The pictures use the rest of it.
#[path = "../../../tests/data/digits.rs"]
mod digits;

#[path = "../../../pictures/src/model.rs"]
mod mixture;

use std::error::Error;

use options::Options;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    match options::read(std::env::args().skip(1))? {
        Options::Check => check::check(),
        Options::Train { steps, file } => training::train(steps, &file),
    }
}
