//! Runs, through the public interface only: who drives them, where they stop and go on, which bits
//! they give, what they refuse, and what a user's own pieces can do in them.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bits;
mod clipping;
mod common;
mod control;
mod guided;
mod lent;
mod non_finite;
mod own;
mod positions;
mod refusals;
mod restart;
mod rows;
mod shapes;
mod single_steps;
mod steps;
mod told;
