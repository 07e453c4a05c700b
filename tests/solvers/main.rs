//! Solvers: their structure, and each against the recurrence that its paper or library publishes.

mod common;
mod repaint;
mod structure;
