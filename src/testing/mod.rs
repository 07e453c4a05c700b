//! Tests for other people's samplers: checks that take a step function, a sampler, a schedule or a
//! model as a black box, and [strategies] that generate what to try them on. Feature `proptest`.
//!
//! | check | of | against |
//! |---|---|---|
//! | [`check_alphas_cumprod`], [`check_betas`] | a table | its laws, and the named schedule's formula |
//! | [`check_schedule`] | α(t), σ(t) | a schedule of this crate |
//! | [`check_knots`], [`check_spacing`], [`check_edges`] | timesteps, a spacing, the steps of a run | K + 1 knots, strictly decreasing, both ends, the next knot |
//! | [`check_noising`] | added noise, the start of image to image | αx₀ + σε |
//! | [`check_marginals`] | a linear step | N(α_s x₀, σ_s² I), exactly |
//! | [`check_step`], [`check_eta_limits`] | a linear step | an exact posterior; DDPM and DDIM |
//! | [`check_conversion`], [`check_round_trip`] | ε ↔ x₀ ↔ v ↔ u | their definitions; each other |
//! | [`check_guidance`] | a form of guidance | [laws](GuidanceLaw) |
//! | [`check_on_point`] | a deterministic sampler | the exact flow of one point |
//! | [`check_order`] | a deterministic sampler | its order of convergence |
//! | [`check_samples`] | samples | exact moments, at a stated rate of false alarms |
//! | [`check_batching`] | a sampler | the same bits whole, split, alone, permuted |
//! | [`check_distinct`] | names of samplers | each other |
//! | [`check_model`], [`check_denoiser`] | a model | finite, written, deterministic, independent of the batch |
//!
//! Each returns a [`Failure`] that says what is wrong and by how much. With `?` it fails a plain
//! test and a case inside `proptest!` alike:
//!
//! ```
//! use diffusion_sampler::{Prediction, testing::{check_marginals, strategies::edges}};
//! use diffusion_sampler::testing::proptest::prelude::*;
//!
//! proptest! {
//!     fn my_ddim_step_matches_its_marginals((t, s) in edges()) {
//!         check_marginals(&t, &s, Prediction::Data, 1e-12, |x, x0, _, out: &mut [f64]| {
//!             for i in 0..out.len() {
//!                 let noise = (x[i] - t.alpha() * x0[i]) / t.sigma();
//!                 out[i] = s.alpha() * x0[i] + s.sigma() * noise;
//!             }
//!         })?;
//!     }
//! }
//! my_ddim_step_matches_its_marginals();
//! ```
//!
//! Arrays are slices, all of one length and less than 32 elements long in the checks of steps,
//! conversions and guidance, so that samplers on any tensor library can be tried: copy in, copy out.
//! Everything is deterministic: inputs are keyed normals. The guide
//! [testing](crate::guide::testing) shows three famous bugs and what finds them.

mod any_schedule;
mod batches;
mod failure;
mod flows;
mod guidance;
mod knots;
mod models;
mod predictions;
mod probe;
mod samples;
mod steps;
pub mod strategies;
mod tables;

pub use any_schedule::AnySchedule;
pub use batches::{check_batching, check_distinct};
pub use failure::Failure;
pub use flows::{check_on_point, check_order};
pub use guidance::{GuidanceLaw, check_guidance};
pub use knots::{check_edges, check_knots, check_spacing};
pub use models::{check_denoiser, check_model};
pub use predictions::{check_conversion, check_round_trip};
pub use proptest;
pub use samples::{FALSE_ALARM_RATE, check_samples};
pub use steps::{check_eta_limits, check_marginals, check_noising, check_step};
pub use tables::{check_alphas_cumprod, check_betas, check_schedule};
