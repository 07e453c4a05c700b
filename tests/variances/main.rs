//! Analytic, diagonal and learned reverse variances.

mod common;
mod exact;
mod learned;
mod learned_refusals;
mod learned_runs;
mod learned_tensors;
mod optimal;
mod refusals;
mod sampled;
#[cfg(feature = "rayon")]
mod threads;
mod two_heads;
