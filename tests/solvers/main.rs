//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod adaptive;
mod ancestral;
mod belm;
mod bounds;
mod cfg_plus_plus;
mod common;
mod dpm2;
mod dpm_solver;
mod er_sde;
mod exponential;
mod few_steps;
mod flow_maps;
mod grouped;
mod heavy_ball;
mod heun;
mod identities;
mod orders;
mod plus_plus;
mod pndm;
mod predictor_corrector;
mod repaint;
mod restart;
mod singlestep_data;
mod singlestep_limits;
mod slopes;
mod structure;
