//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod common;
mod er_sde;
mod heavy_ball;
mod orders;
mod pndm;
mod slopes;
mod structure;
