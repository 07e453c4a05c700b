//! The guides, as pages of this documentation. They are the files of the repository's `docs`
//! folder.
//!
//! - [`choosing`]: which schedule, spacing and solver to take, with measured figures.
//! - [`embedding`]: which way in fits your program, and what each costs a step.
//! - [`extending`]: custom schedules, solvers, models, loops and noise.
#![cfg_attr(
    feature = "diffusers",
    doc = "- [`models`]: published checkpoints: what to type for each, complete."
)]
#![cfg_attr(
    feature = "diffusers",
    doc = "- [`migrating`]: from diffusers, k-diffusion, candle, diffusers-rs: names and differences."
)]
//! - [`samplers`]: every sampler and spacing that has a name elsewhere, and what it is here.
//! - [`recipes`]: image to image, inpainting, continuous batching, action sequences, flow maps,
//!   parity tests.
//! - [`law`]: what is known of a sampler before it runs: four pictures, explained.
//! - [`distribution`]: what a sampler makes, exactly: moments, guidance, masses of modes.
//! - [`likelihood`]: what a model is worth in bits, the cheapest strides, what a plan costs.
//! - [`reverse_variance`]: fixed, analytic and learned variances of the reverse step, and what each
//!   is worth.
//! - [`flow_likelihood`]: ln p of samples by the probability-flow ODE.
//! - [`tuning`]: which sampler, searched spacings and a warm start without a call of the network.
//! - [`parallel`]: many evaluations of one run in one call of the model.
//! - [`mathematics`]: the formulas and where they come from.
//! - [`verification`]: every claim with its oracle, the measured value and the threshold.
//! - [`performance`]: what a step costs.
//! - [`reliability`]: how the crate was made to fail, with commands and figures.
//! - [`known_wrong_samplers`]: what others shipped, and the test that finds each.
#![cfg_attr(
    feature = "proptest",
    doc = "- [`testing`]: checks for your own samplers, and three famous bugs that they find."
)]
#![cfg_attr(
    feature = "diffusers",
    doc = "- [`checkpoints`]: 27 published configuration files, beside the library that wrote them."
)]

// A page's links to other pages are reference links. The definitions here come before those of the
// file, and the first one counts: the same page links to modules here and to files in the
// repository.

#[cfg(feature = "diffusers")]
pub mod checkpoints {
    #![doc = include_str!("../docs/checkpoints.md")]
}

pub mod choosing {
    //! [mathematics-guidance]: super::mathematics#7-guidance
    //! [recipes]: super::recipes
    //! [samplers]: super::samplers
    #![doc = include_str!("../docs/choosing.md")]
}

pub mod distribution {
    #![doc = include_str!("../docs/distribution.md")]
}

pub mod embedding {
    //! [extending]: super::extending
    //! [extending-batch]: super::extending#two-users-in-one-batch
    //! [extending-denoiser]: super::extending#a-denoiser
    //! [extending-loop]: super::extending#a-loop
    //! [extending-normals]: super::extending#normals-for-other-tensors
    //! [extending-tensors]: super::extending#a-tensor-library
    //! [performance]: super::performance
    //! [recipes]: super::recipes
    //! [recipes-actions]: super::recipes#action-sequences-at-low-latency
    //! [recipes-slices]: super::recipes#flat-slices
    //! [recipes-view]: super::recipes#a-tensor-without-a-copy
    #![doc = include_str!("../docs/embedding.md")]
}

pub mod extending {
    //! [mathematics]: super::mathematics
    #![doc = include_str!("../docs/extending.md")]
}

pub mod flow_likelihood {
    #![doc = include_str!("../docs/flow-likelihood.md")]
}

pub mod known_wrong_samplers {
    //! [choosing]: super::choosing
    #![cfg_attr(feature = "proptest", doc = "[testing]: super::testing")]
    //! [verification]: super::verification
    #![doc = include_str!("../docs/known-wrong-samplers.md")]
}

pub mod law {
    #![doc = include_str!("../docs/law.md")]
}

pub mod likelihood {
    //! [choosing]: super::choosing
    //! [mathematics]: super::mathematics
    //! [`Kappa`]: crate::posterior::Kappa
    //! [`Error::DeterministicLikelihood`]: crate::Error::DeterministicLikelihood
    //! [`oracle`]: crate::oracle
    //! [`Bound::likelihood`]: crate::likelihood::Bound::likelihood
    #![doc = include_str!("../docs/likelihood.md")]
}

pub mod mathematics {
    //! [choosing]: super::choosing
    //! [likelihood]: super::likelihood
    //! [verification]: super::verification
    #![doc = include_str!("../docs/mathematics.md")]
}

#[cfg(feature = "diffusers")]
pub mod migrating {
    //! [checkpoints]: super::checkpoints
    //! [extending-tensors]: super::extending#a-tensor-library
    //! [known]: super::known_wrong_samplers
    //! [models]: super::models
    //! [samplers-diffusers]: super::samplers#diffusers
    //! [samplers-k-diffusion]: super::samplers#k-diffusion
    #![doc = include_str!("../docs/migrating.md")]
}

#[cfg(feature = "diffusers")]
pub mod models {
    //! [actions]: super::recipes#action-sequences-at-low-latency
    //! [choosing]: super::choosing
    //! [extending]: super::extending
    //! [pipelines]: crate::diffusers::pipelines
    #![doc = include_str!("../docs/models.md")]
}

pub mod parallel {
    #![doc = include_str!("../docs/parallel.md")]
}

pub mod performance {
    #![doc = include_str!("../docs/performance.md")]
}

pub mod reliability {
    //! [performance]: super::performance
    #![doc = include_str!("../docs/reliability.md")]
}

#[cfg(feature = "proptest")]
pub mod testing {
    //! [module]: crate::testing
    //! [strategies]: crate::testing::strategies
    #![doc = include_str!("../docs/testing.md")]
}

pub mod recipes {
    //! [choosing]: super::choosing
    //! [extending]: super::extending
    //! [extending-batch]: super::extending#two-users-in-one-batch
    //! [extending-noise]: super::extending#noise
    //! [mathematics]: super::mathematics
    #![doc = include_str!("../docs/recipes.md")]
}

pub mod reverse_variance {
    #![doc = include_str!("../docs/reverse-variance.md")]
}

pub mod samplers {
    #![doc = include_str!("../docs/samplers.md")]
}

pub mod tuning {
    //! [choice]: crate::tuning::Choice
    //! [choosing]: super::choosing
    //! [errors]: crate::posterior::DataErrors
    //! [mathematics-guidance]: super::mathematics#7-guidance
    //! [samplers]: super::samplers
    //! [search]: crate::tuning::SpacingSearch
    //! [stability]: crate::stability::StabilityReport
    //! [warm]: crate::tuning::WarmStart
    #![doc = include_str!("../docs/tuning.md")]
}

pub mod verification {
    #![doc = include_str!("../docs/verification.md")]
}
