//! Stored forms: bit for bit back through every format, and nothing but what is valid comes in.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod batches;
mod bound;
mod checksums;
mod formats;
mod hostile;
mod layout;
mod layout_of_solvers;
mod memory;
mod mutations;
mod numbers;
mod plans;
mod refused;
mod resumed;
mod round_trips;
mod snapshots;
mod specimens;
mod strategies;
mod torch;
