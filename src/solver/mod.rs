//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod catalogue;
mod cfg_plus_plus;
mod dpm_solver;
mod dpm_solver_plus_plus;
mod exponential;
mod exponential_adams;
mod extrapolation;
mod first_order;
mod heun;
mod history;
mod inversion;
mod path;
mod predictor_corrector;
mod sa_solver;
#[cfg(feature = "serde")]
mod stored;
mod uni_pc;
mod weights;

pub use catalogue::{Entry, catalogue};
pub use cfg_plus_plus::CfgPlusPlus;
pub use dpm_solver::DpmSolver;
pub use dpm_solver_plus_plus::{DpmSolverPlusPlus, SecondOrderForm};
pub use exponential_adams::ExponentialAdams;
pub use first_order::FirstOrder;
pub use heun::Heun;
pub use inversion::DdimInversion;
pub use path::Path;
pub use sa_solver::SaSolver;
pub use uni_pc::{Basis, UniPc};

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPlusPlus`] | 1 to 3 | K | none, or constant τ |
/// | [`DpmSolver`] | 1 to 3 | K | none, or constant τ |
/// | [`ExponentialAdams`] | 1 to 4 | K | none, or any κ |
/// | [`UniPc`] | 2 to 4; 1 to 3 uncorrected | K | none |
/// | [`SaSolver`] | up to 4; with noise 2 | K, or 2K − 1 | none to any τ, on an interval |
/// | [`CfgPlusPlus`] | 2 | K | none, or any κ |
/// | [`Heun`] | 2 | 2K − 1 onto a clean end, else 2K | none |
/// | [`DdimInversion`] | 1 | K | none; runs from the clean end up |
///
/// [`catalogue`] lists them all. The extending guide shows a custom one in 20 lines.
#[doc(alias = "scheduler")]
#[doc(alias = "sampler")]
pub trait Solver: Debug + Send + Sync {
    /// The plan of this solver along a path.
    ///
    /// # Errors
    ///
    /// What the solver's coefficients refuse on an edge, see each solver.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error>;

    /// The order of convergence in the step size: of the states for a deterministic solver, of
    /// their distribution for a stochastic one.
    fn order(&self) -> usize;
}

/// Pointers to a solver are solvers.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Solver + ?Sized> Solver for $pointer {
            fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
                (**self).plan(path)
            }

            fn order(&self) -> usize {
                (**self).order()
            }
        }
    )*};
}

forward!(&S, Box<S>, std::sync::Arc<S>);
