//! Guidance: every form against its published formula written out on arrays, in f64.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_hand;
mod common;
mod forms;
mod formulas;
mod limits;
mod memory;
mod nesting;
mod plus_plus;
mod precise;
mod refusals;
mod threshold;
