//! Graphs of ONNX as denoisers of diffusion-sampler.
//!
//! [`graph`] says what is asked of a runtime; [`tract`] and, with the feature `ort`, [`ort`] answer.
//! [`digits`] is the denoiser of our own network, [`terrain`] that of one that was made elsewhere.

pub mod digits;
pub mod graph;
pub mod heights;
#[cfg(feature = "ort")]
pub mod ort;
pub mod terrain;
pub mod tract;
