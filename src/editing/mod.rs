//! Editing: keeping known parts, finding the noise that makes a given image, mixing latents.
//!
//! | task | here |
//! |---|---|
//! | keep known pixels | [`Inpaint`], with [`RePaint`](crate::solver::RePaint) for agreement with them |
//! | start from a noised image | [`Grid::starting_at`](crate::Grid::starting_at), [`Grid::by_strength`](crate::Grid::by_strength) |
//! | the state that a deterministic sampler turns into an image | [`ExactInversion`] |
//! | the noises of a stochastic sampler that make it | [`DdpmInversion`] |
//! | a latent between two others | [`slerp`], [`lerp_preserving_variance`] |

mod anderson;
mod inpaint;
mod interpolation;
mod inversion;
mod recovered;

pub use inpaint::Inpaint;
pub use interpolation::{lerp_preserving_variance, slerp};
pub use inversion::{ExactInversion, Inverted, InvertedStep};
pub use recovered::{DdpmInversion, RecoveredNoise, RecoveredRun};
