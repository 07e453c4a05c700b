//! Writes `docs/samplers.md`: every sampler and spacing that has a name, and what it is here.
//!
//! `cargo run --example samplers [FILE]`

#[path = "../tests/registry/page.rs"]
mod page;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/samplers.md"),
        PathBuf::from,
    );
    std::fs::write(&path, page::text()?)?;
    println!("written to {}", path.display());
    Ok(())
}
