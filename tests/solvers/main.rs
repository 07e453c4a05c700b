//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod adaptive;
mod common;
mod dpm2;
mod dpm_solver;
mod grouped;
mod heun;
mod structure;
