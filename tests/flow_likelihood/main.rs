//! Log-likelihoods by the probability-flow ODE.

mod bound;
mod common;
mod derivatives;
mod exact;
mod hutchinson;
mod refusals;
