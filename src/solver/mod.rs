//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod catalogue;
mod cfg_plus_plus;
mod exponential_rk;
mod first_order;
mod heun;
mod history;
mod inversion;
mod multistep;
mod path;
mod plus_plus_sde;
mod plus_plus_singlestep;
#[cfg(feature = "serde")]
mod stored;
mod weights;

pub use catalogue::{Entry, catalogue};
pub use cfg_plus_plus::CfgPlusPlusSinglestep;
pub use exponential_rk::ExponentialRungeKutta;
pub use first_order::FirstOrder;
pub use heun::Heun;
pub use inversion::DdimInversion;
pub use multistep::{DpmSolverPlusPlus, SecondOrderForm};
pub use path::Path;
pub use plus_plus_sde::DpmPlusPlusSde;
pub use plus_plus_singlestep::DpmSolverPlusPlusSinglestep;

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPlusPlus`] | 1, 2 | K | none, or constant τ |
/// | [`DpmSolverPlusPlusSinglestep`] | 2, 3 | 2K or 3K, 1 onto a clean end | none, or ancestral |
/// | [`ExponentialRungeKutta`] | 2, 3 | 2K or 3K, 1 onto a clean end | none, or constant τ |
/// | [`DpmPlusPlusSde`] | 2 | 2K − 1 onto a clean end, else 2K | ancestral |
/// | [`CfgPlusPlusSinglestep`] | 2 | 2K − 1 onto a clean end, else 2K | none, or ancestral |
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
