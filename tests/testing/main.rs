//! The checks for other people's samplers: each famous bug is planted in a small wrong
//! implementation and found, and beside it a right one passes the same check on many generated
//! schedules.
//!
//! `cargo test --features proptest --test testing`

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod batches;
mod common;
mod failures;
mod grids;
mod models;
mod orders;
mod outputs;
mod runs;
mod samples;
mod steps;
mod strategies;
mod tables;
