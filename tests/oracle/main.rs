//! Exact oracles, through the public interface only: laws that every implementor obeys, brute-force
//! quadrature, limits and far tails, the batch adapters, and the Fréchet distance.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]
// An index over coordinates reads like the formula.
#![allow(clippy::needless_range_loop)]

mod adapters;
mod classes;
mod distance;
mod flow;
mod laws;
mod limits;
mod quadrature;
mod refusals;
mod specimens;
