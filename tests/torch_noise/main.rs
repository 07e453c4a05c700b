//! The noise of torch's generators: its bits, and which of its tensors a run draws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod cuda;
mod golden;
mod refusals;
mod runs;
mod tensors;
