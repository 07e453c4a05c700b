//! What the checks of accuracy and of scalars share: random numbers that a seed reproduces, sums of
//! two f64, the list of solvers with their options, random grids, and what a plan must give.

pub mod double;
pub mod grids;
pub mod random;
pub mod reference;
pub mod runs;
pub mod solvers;
