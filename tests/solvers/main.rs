//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod cfg_plus_plus;
mod common;
mod exponential;
mod identities;
mod predictor_corrector;
mod structure;
