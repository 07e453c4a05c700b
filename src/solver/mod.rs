//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod first_order;
mod heun;
mod inversion;
mod multistep;
mod path;
#[cfg(feature = "serde")]
mod stored;

pub use first_order::FirstOrder;
pub use heun::Heun;
pub use inversion::DdimInversion;
pub use multistep::{DpmSolverPlusPlus, SecondOrderForm};
pub use path::Path;

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;
use crate::posterior::Kappa;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`DpmSolverPlusPlus`] | 1, 2 | K | none, or constant τ |
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
    let entry = |name, solver: Box<dyn Solver>| Entry {
        name,
        solver,
        inverts: false,
    };
    let exact = |solver: DpmSolverPlusPlus| solver.with_form(SecondOrderForm::Exact);
    vec![
        entry("DDIM", Box::new(FirstOrder::ddim())),
        entry("DDPM", Box::new(FirstOrder::ddpm())),
        entry(
            "DDIM with eta 0.5",
            Box::new(FirstOrder::new(Kappa::Eta(0.5))),
        ),
        entry(
            "constant tau 0.7",
            Box::new(FirstOrder::new(Kappa::Tau(0.7))),
        ),
        entry("fresh noise", Box::new(FirstOrder::new(Kappa::Fresh))),
        entry("DPM-Solver++(2M)", Box::<DpmSolverPlusPlus>::default()),
        entry(
            "DPM-Solver++(2M), exact",
            Box::new(exact(DpmSolverPlusPlus::new())),
        ),
        entry("SDE-DPM-Solver++(2M)", Box::new(DpmSolverPlusPlus::sde())),
        entry(
            "SDE-DPM-Solver++(2M), exact",
            Box::new(exact(DpmSolverPlusPlus::sde())),
        ),
        entry("Heun", Box::new(Heun::new())),
        Entry {
            inverts: true,
            ..entry("DDIM inversion", Box::new(DdimInversion::new()))
        },
    ]
}
