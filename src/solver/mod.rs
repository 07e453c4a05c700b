//! Solvers: from a grid to a plan. One family a file: coefficients, nothing else.

mod first_order;
mod heun;
mod inversion;
mod multistep;

pub use first_order::FirstOrder;
pub(crate) use first_order::posterior_update;
pub use heun::Heun;
pub use inversion::DdimInversion;
pub use multistep::{DpmSolverPp2M, SecondOrderForm};

use crate::error::Error;
use crate::grid::Grid;
use crate::plan::Plan;

/// A solver: it compiles a grid to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPp2M`] | 2 | K | none, or constant τ |
/// | [`Heun`] | 2 | 2K − 1 onto a clean end, else 2K | none |
/// | [`DdimInversion`] | 1 | K | none; runs from the clean end up |
pub trait Solver {
    /// The plan of this solver on a grid.
    ///
    /// # Errors
    ///
    /// What the solver's coefficients refuse on an edge, see each solver.
    fn plan(&self, grid: &Grid) -> Result<Plan, Error>;
}
