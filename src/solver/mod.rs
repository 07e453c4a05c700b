//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod ancestral;
mod catalogue;
mod churn;
mod coordinate;
mod dpm2;
mod dpm_solver;
mod euler;
mod first_order;
mod grouped;
mod heun;
mod heun_plus_plus;
mod history;
mod inversion;
mod multistep;
mod path;
mod single_step;
#[cfg(feature = "serde")]
mod stored;
mod weights;

pub use catalogue::{Entry, catalogue};
pub use churn::Churn;
pub(crate) use dpm_solver::EmbeddedStep;
pub use dpm_solver::{DpmFast, DpmSolverSinglestep};
pub use dpm2::Dpm2;
pub use euler::Euler;
pub use first_order::FirstOrder;
pub use grouped::GroupedSinglestep;
pub use heun::Heun;
pub use heun_plus_plus::HeunPlusPlus;
pub use inversion::DdimInversion;
pub use multistep::{DpmSolverPlusPlus, SecondOrderForm};
pub use path::Path;
pub(crate) use single_step::Pair as EmbeddedPair;

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPlusPlus`] | 1, 2 | K | none, or constant τ |
/// | [`Heun`] | 2 | 2K − 1 onto a clean end, else 2K | none, or [`Churn`] |
/// | [`HeunPlusPlus`] | 1 | 3K − 3, from K = 2 on | none, or [`Churn`] |
/// | [`Euler`] | 1 | K | none, or [`Churn`] |
/// | [`Dpm2`] | 2 | 2K − 1 onto a clean end, else 2K | none, ancestral, or [`Churn`] |
/// | [`DpmSolverSinglestep`] | 1, 2, 3 | K times the order | none, or ancestral |
/// | [`DpmFast`] | 2 | 3(K − 1), or as asked | none, or ancestral |
/// | [`GroupedSinglestep`] | 1, 2, 3 | K | none |
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
