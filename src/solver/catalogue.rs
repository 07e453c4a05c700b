//! The list of all solvers.

use super::{
    Solver, cfg_plus_plus, dpm_solver, dpm_solver_plus_plus, exponential_adams, first_order, heun,
    inversion, sa_solver, uni_pc,
};

/// One solver of the [`catalogue`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, unique in the list.
    pub name: &'static str,
    /// The solver, with default options.
    pub solver: Box<dyn Solver>,
    /// Whether it runs from the clean end up to noise.
    pub inverts: bool,
    /// Where it was published: authors, year, equation or algorithm.
    pub source: &'static str,
}

impl Entry {
    pub(super) fn new(
        name: &'static str,
        solver: impl Solver + 'static,
        source: &'static str,
    ) -> Self {
        Self {
            name,
            solver: Box::new(solver),
            inverts: false,
            source,
        }
    }

    pub(super) fn inverting(self) -> Self {
        Self {
            inverts: true,
            ..self
        }
    }
}

/// Every built-in solver, in each of its forms: the list that the crate's own tests of order, mean
/// defect and allocations walk along.
///
/// ```
/// use diffusion_sampler::solver::catalogue;
///
/// assert!(catalogue().iter().any(|entry| entry.name == "DDIM" && entry.solver.order() == 1));
/// ```
pub fn catalogue() -> Vec<Entry> {
    [
        first_order::entries(),
        dpm_solver_plus_plus::entries(),
        dpm_solver::entries(),
        exponential_adams::entries(),
        uni_pc::entries(),
        sa_solver::entries(),
        cfg_plus_plus::entries(),
        heun::entries(),
        inversion::entries(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
