//! The digits network from its ONNX file, beside the same network in plain ndarray.
//!
//! `cargo run --manifest-path examples/onnx/Cargo.toml`
//!
//! With the feature `ort` and a path in ORT_DYLIB_PATH it runs on ONNX Runtime too.

mod evaluation;
mod refusals;
mod runs;

use std::error::Error;

use diffusion_sampler_onnx::digits::FILE;
use diffusion_sampler_onnx::tract::Tract;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("tract");
    let mut graph = Tract::read(FILE)?;
    evaluation::compare(&mut graph)?;
    evaluation::compare_levels(&mut graph)?;
    runs::compare(&mut graph)?;
    refusals::of_tract()?;
    #[cfg(feature = "ort")]
    if let Some(library) = std::env::var_os("ORT_DYLIB_PATH") {
        println!("\nONNX Runtime");
        refusals::without_library()?;
        let environment = diffusion_sampler_onnx::ort::environment(library)?;
        let mut graph = diffusion_sampler_onnx::ort::Ort::read(&environment, FILE)?;
        evaluation::compare(&mut graph)?;
        evaluation::compare_levels(&mut graph)?;
        runs::compare(&mut graph)?;
        refusals::of_ort(&environment)?;
    }
    Ok(())
}
