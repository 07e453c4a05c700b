//! Analytic, diagonal and learned reverse variances.

mod common;
mod exact;
mod learned;
mod learned_runs;
mod optimal;
mod refusals;
mod sampled;
#[cfg(feature = "rayon")]
mod threads;
