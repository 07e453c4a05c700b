//! Noise of each sample's own: a batch of several users' requests is each request alone, bit for
//! bit. What a request draws alone is `KeyedNoise`'s (or `BrownianPath`'s) in a batch of one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod batches;
mod common;
mod continuous;
mod demands;
mod refusals;
