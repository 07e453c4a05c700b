//! The list of all solvers.

use super::{
    Solver, belm, cfg_plus_plus, cfg_plus_plus_singlestep, deis, dpm_solver, dpm_solver_plus_plus,
    dpm_solver_singlestep, dpm2, er_sde, euler, exponential_adams, exponential_rk, first_order,
    gradient_estimation, grouped, heavy_ball, heun, heun_plus_plus, inversion, ipndm, lcm,
    linear_multistep, plus_plus_sde, plus_plus_singlestep, pndm, sa_solver, tcd, uni_pc,
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
/// defect and allocations walk along. [`Restart`](super::Restart), which repeats parts of the path
/// with any of them, is not in it.
///
/// ```
/// use diffusion_sampler::solver::catalogue;
///
/// assert!(catalogue().iter().any(|entry| entry.name == "DDIM" && entry.solver.order() == 1));
/// ```
pub fn catalogue() -> Vec<Entry> {
    [
        first_order::entries(),
        euler::entries(),
        lcm::entries(),
        tcd::entries(),
        dpm_solver_plus_plus::entries(),
        dpm_solver::entries(),
        exponential_adams::entries(),
        uni_pc::entries(),
        sa_solver::entries(),
        linear_multistep::entries(),
        deis::entries(),
        ipndm::entries(),
        pndm::entries(),
        gradient_estimation::entries(),
        heavy_ball::entries(),
        er_sde::entries(),
        heun::entries(),
        heun_plus_plus::entries(),
        dpm2::entries(),
        dpm_solver_singlestep::entries(),
        grouped::entries(),
        plus_plus_singlestep::entries(),
        exponential_rk::entries(),
        plus_plus_sde::entries(),
        cfg_plus_plus::entries(),
        cfg_plus_plus_singlestep::entries(),
        inversion::entries(),
        belm::entries(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
