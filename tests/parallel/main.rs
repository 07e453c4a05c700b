//! Parallel in time: the sequential run bit for bit, or to the tolerance.

#![allow(clippy::unwrap_used, clippy::panic, clippy::unreachable)]

mod asked;
mod batches;
mod common;
mod corners;
mod exact;
mod failures;
mod guided;
mod overflow;
mod tolerance;
