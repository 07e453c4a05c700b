//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod ancestral;
mod belm;
mod common;
mod repaint;
mod few_steps;
mod flow_maps;
mod plus_plus;
mod restart;
mod er_sde;
mod heavy_ball;
mod pndm;
mod slopes;
mod singlestep_data;
mod structure;
