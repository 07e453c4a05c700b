//! Writes `docs/checkpoints.md`: what published configuration files give here, beside diffusers.
//!
//! `cargo run --features diffusers --example checkpoints [FILE]`

#![allow(clippy::expect_used, clippy::panic)]

#[path = "../tests/diffusers/common.rs"]
mod common;
#[path = "../tests/diffusers/page.rs"]
mod page;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/checkpoints.md"),
        PathBuf::from,
    );
    std::fs::write(&path, page::text()?)?;
    println!("written to {}", path.display());
    Ok(())
}
