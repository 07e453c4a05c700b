//! Exact oracles, through the public interface only: laws that every implementor obeys, brute-force quadrature,
//! limits and far tails, the batch adapters, and the Fréchet distance.

mod adapters;
mod classes;
mod distance;
mod flow;
mod laws;
mod limits;
mod quadrature;
mod specimens;
