//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod common;
mod singlestep_data;
mod singlestep_limits;
mod structure;
