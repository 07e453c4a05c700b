//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod ancestral;
mod belm;
mod common;
mod er_sde;
mod few_steps;
mod flow_maps;
mod heavy_ball;
mod plus_plus;
mod pndm;
mod repaint;
mod restart;
mod singlestep_data;
mod slopes;
mod structure;
