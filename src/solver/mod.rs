//! Solvers: from a path to a plan. One family a file: coefficients, nothing else.

mod ancestral;
mod belm;
mod catalogue;
mod cfg_plus_plus;
mod cfg_plus_plus_singlestep;
mod churn;
mod coordinate;
mod deis;
mod dpm2;
mod dpm_solver;
mod dpm_solver_plus_plus;
mod dpm_solver_singlestep;
mod er_sde;
mod euler;
mod exponential;
mod exponential_adams;
mod exponential_rk;
mod extrapolation;
mod first_order;
mod gradient_estimation;
mod grouped;
mod heavy_ball;
mod heun;
mod heun_plus_plus;
mod history;
mod inversion;
mod ipndm;
mod lcm;
mod linear_multistep;
mod path;
mod plus_plus_sde;
mod plus_plus_singlestep;
mod pndm;
mod predictor_corrector;
pub(crate) mod quadrature;
mod repaint;
mod repeated;
mod restart;
mod sa_solver;
mod single_step;
mod slopes;
#[cfg(feature = "serde")]
mod stored;
mod tcd;
mod uni_pc;
mod weights;

pub use belm::{Belm, BelmInversion};
pub use catalogue::{Entry, catalogue};
pub use cfg_plus_plus::CfgPlusPlus;
pub use cfg_plus_plus_singlestep::CfgPlusPlusSinglestep;
pub use churn::Churn;
pub use deis::Deis;
pub use dpm_solver::DpmSolver;
pub use dpm_solver_plus_plus::{DpmSolverPlusPlus, SecondOrderForm};
pub use dpm_solver_singlestep::{DpmFast, DpmSolverSinglestep};
pub use dpm2::Dpm2;
pub use er_sde::{ErNoise, ErSde};
pub use euler::Euler;
pub use exponential_adams::ExponentialAdams;
pub use exponential_rk::ExponentialRungeKutta;
pub use first_order::FirstOrder;
pub use gradient_estimation::GradientEstimation;
pub use grouped::GroupedSinglestep;
pub use heavy_ball::HeavyBall;
pub use heun::Heun;
pub use heun_plus_plus::HeunPlusPlus;
pub use inversion::DdimInversion;
pub use ipndm::Ipndm;
pub use lcm::Lcm;
pub use linear_multistep::LinearMultistep;
pub use path::Path;
pub use plus_plus_sde::DpmPlusPlusSde;
pub use plus_plus_singlestep::DpmSolverPlusPlusSinglestep;
pub use pndm::Pndm;
pub use repaint::RePaint;
pub use restart::Restart;
pub use sa_solver::SaSolver;
pub use tcd::Tcd;
pub use uni_pc::{Basis, UniPc};

pub(crate) use dpm_solver_singlestep::EmbeddedStep;
#[cfg(feature = "diffusers")]
pub(crate) use grouped::Part as GroupedPart;
pub(crate) use single_step::Pair as EmbeddedPair;

use std::fmt::Debug;

use crate::error::Error;
use crate::plan::Plan;

/// A solver: it compiles a path to a plan, and that is all it does.
///
/// | solver | order | evaluations for K steps | noise |
/// |---|---|---|---|
/// | [`FirstOrder`] | 1 | K | none (DDIM) to ancestral (DDPM) and beyond |
/// | [`Euler`] | 1 | K | none, or [`Churn`] |
/// | [`DpmSolverPlusPlus`] | 1 to 3 | K | none, or constant τ |
/// | [`DpmSolver`] | 1 to 3 | K | none, or constant τ |
/// | [`ExponentialAdams`] | 1 to 4 | K | none, or any κ |
/// | [`UniPc`] | 2 to 4; 1 to 3 uncorrected | K | none |
/// | [`SaSolver`] | up to 4; with noise 2 | K, or 2K − 1 | none to any τ, on an interval |
/// | [`LinearMultistep`] | 1 to 4 | K | none |
/// | [`Deis`] | 1 to 4 | K | none |
/// | [`Ipndm`] | 1, 2; with variable steps to 4 | K | none |
/// | [`Pndm`] | 2 | K + 9; K + 1 without Runge–Kutta steps | none |
/// | [`GradientEstimation`] | 1 | K | none |
/// | [`HeavyBall`] | 1, 2 | K | none |
/// | [`ErSde`] | 1, 2; without noise to 3 | K | none to DDPM's and beyond, by a function of ρ |
/// | [`Heun`] | 2 | 2K − 1 onto a clean end, else 2K | none, or [`Churn`] |
/// | [`HeunPlusPlus`] | 1 | 3K − 3, from K = 2 on | none, or [`Churn`] |
/// | [`Dpm2`] | 2 | 2K − 1 onto a clean end, else 2K | none, ancestral, or [`Churn`] |
/// | [`DpmSolverSinglestep`] | 1 to 3 | K times the order | none, or ancestral |
/// | [`DpmFast`] | 2 | 3(K − 1), or as asked | none, or ancestral |
/// | [`GroupedSinglestep`] | 1 to 3 | K | none |
/// | [`DpmSolverPlusPlusSinglestep`] | 2, 3 | 2K or 3K, 1 onto a clean end | none, or ancestral |
/// | [`ExponentialRungeKutta`] | 2, 3 | 2K or 3K, 1 onto a clean end | none, or constant τ |
/// | [`DpmPlusPlusSde`] | 2 | 2K − 1 onto a clean end, else 2K | ancestral |
/// | [`CfgPlusPlus`], [`CfgPlusPlusSinglestep`] | 2 | K; 2K − 1 | none, or ancestral; for CFG++ |
/// | [`Lcm`] | – | K | fresh, for consistency models |
/// | [`Tcd`] | – | K | none to fresh, for trajectory consistency models |
/// | [`Belm`], [`BelmInversion`] | 2 | K | none; exactly invertible |
/// | [`DdimInversion`] | 1 | K | none; runs from the clean end up |
/// | [`Restart`], [`RePaint`] | the inner solver's | those of the repeated parts too | the inner solver's, and up-steps |
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
