//! The core through the public interface only: plans, solvers, the machine and what drives it.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod adaptive;
mod adaptive_dpm;
mod cached;
mod catalogue;
mod common;
mod earlier;
mod errors;
mod given;
mod hand;
mod layouts;
mod midpoint;
mod ratios;
mod refusals;
mod review;
mod snapshots;
mod stores;
mod unwritten;
