//! The program as it is used: several processes, some of which are killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod lost;
#[cfg(target_os = "linux")]
mod memory;
mod refusals;
mod same_bits;
