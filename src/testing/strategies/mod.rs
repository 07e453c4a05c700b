//! Strategies: what `proptest` can draw of this crate's types, valid always, shrinking to what is
//! simplest.
//!
//! | strategy | draws | shrinks to |
//! |---|---|---|
//! | [`tables`] | tables of betas and ᾱ of 1 to 1000 knots, with and without zero terminal SNR | one knot |
//! | [`schedules`] | tables, VP, VE, EDM, shifted flows | a short table |
//! | [`levels`] | levels of any schedule, both ends among them | the clean end |
//! | [`edges`] | pairs of levels of a schedule, the first noisier | |
//! | [`grids`], [`grids_of`] | every spacing, parts of grids, lists of times and λ, K from 1 to 60 | K = 1 |
//! | [`kappas`], [`reverse_variances`] | policies that are defined on every edge to less noise | DDIM |
//! | [`posteriors`] | an edge and a policy, an explicit γ too | |
//! | [`predictions`] | every kind | x₀ |
//! | [`plans`] | any solver of [`catalogue`](crate::solver::catalogue) on any grid | DDIM in one step |
//! | [`guidances`] | every form, with weights from a range | classifier-free |
//!
//! ```
//! use diffusion_sampler::testing::{proptest::prelude::*, strategies::plans};
//!
//! proptest! {
//!     fn every_plan_is_consistent((name, plan) in plans()) {
//!         // These two miss the mean by design, and as published.
//!         prop_assume!(!["LCM", "iPNDM-v 4, as published"].contains(&name));
//!         let worst = plan.mean_defect()?.into_iter().fold(0.0, f64::max);
//!         prop_assert!(worst < 1e-9, "{name}: {worst:e}");
//!     }
//! }
//! every_plan_is_consistent();
//! ```

mod grids;
mod guidances;
mod plans;
mod scalars;
mod schedules;

pub use grids::{grids, grids_of};
pub use guidances::guidances;
pub use plans::plans;
pub use scalars::{edges, kappas, levels, posteriors, predictions, reverse_variances};
pub use schedules::{schedules, tables};
