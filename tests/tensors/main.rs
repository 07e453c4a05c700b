//! Runs on tensors of another library, on flat vectors and on arrays, against trajectories.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod guided;
mod libraries;
mod naive;
mod refusals;
mod runs;
mod slices;
