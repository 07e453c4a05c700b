//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod catalogue;
mod deis;
mod er_sde;
mod first_order;
mod gradient_estimation;
mod heavy_ball;
mod heun;
mod history;
mod inversion;
mod ipndm;
mod linear_multistep;
mod multistep;
mod path;
mod pndm;
mod quadrature;
mod slopes;
#[cfg(feature = "serde")]
mod stored;
mod weights;

pub use catalogue::{Entry, catalogue};
pub use deis::Deis;
pub use er_sde::{ErNoise, ErSde};
pub use first_order::FirstOrder;
pub use gradient_estimation::GradientEstimation;
pub use heavy_ball::HeavyBall;
pub use heun::Heun;
pub use inversion::DdimInversion;
pub use ipndm::Ipndm;
pub use linear_multistep::LinearMultistep;
pub use multistep::{DpmSolverPlusPlus, SecondOrderForm};
pub use path::Path;
pub use pndm::Pndm;

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPlusPlus`] | 1, 2 | K | none, or constant τ |
/// | [`Heun`] | 2 | 2K − 1 onto a clean end, else 2K | none |
/// | [`LinearMultistep`] | 1 to 4 | K | none |
/// | [`Deis`] | 1 to 4 | K | none |
/// | [`Ipndm`] | 1, 2; with variable steps to 4 | K | none |
/// | [`Pndm`] | 2 | K + 9; K + 1 without Runge–Kutta steps | none |
/// | [`GradientEstimation`] | 1 | K | none |
/// | [`HeavyBall`] | 1, 2 | K | none |
/// | [`ErSde`] | 1, 2; without noise to 3 | K | none to DDPM's and beyond, by a function of ρ |
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
