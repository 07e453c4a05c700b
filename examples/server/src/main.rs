//! Proves that the server does what its README says.
//!
//! `cargo run --manifest-path examples/server/Cargo.toml`

mod proofs;

use std::path::Path;

use diffusion_sampler_server::Digits;

use proofs::Result;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let network = Digits::trained()?;
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [] => runtime.block_on(proofs::all(&network)),
        [word, folder] if word == proofs::SERVE => {
            runtime.block_on(proofs::serve(network, Path::new(folder)))
        }
        _ => Err(format!("no arguments are expected, found {arguments:?}").into()),
    }
}
