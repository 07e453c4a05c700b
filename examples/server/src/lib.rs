//! A server for samples: requests that come and go, each with its own class, seed, sampler, number
//! of steps and guidance, batched into one call of the network with a level for each row.
//!
//! ```text
//! Client::submit ── bounded queue ──► engine, on a thread of its own
//!                                      each tick: ask every run that fits into a batch
//!                                                 call the network once
//!                                                 tell every run its rows
//!        Handle ◄── progress (watch) ──┤
//!        Handle ◄── samples, or why not (oneshot)
//!                                      └── snapshots ──► keeper, on a thread of its own ──► files
//! ```
//!
//! A result never depends on who else was in the batch: noise is a function of the request's seed,
//! and a run is told its own rows only. The program of this package asserts it.

mod batch;
mod checksum;
mod client;
mod digits;
mod engine;
mod failure;
mod handle;
mod job;
mod network;
mod request;
mod server;
mod stats;
mod store;

pub use checksum::checksum;
pub use client::Client;
pub use digits::Digits;
pub use failure::Failure;
pub use handle::{Canceller, Handle, Progress};
pub use network::{Model, Network, Row};
pub use request::{Guide, Request};
pub use server::{Server, Settings};
pub use stats::Stats;
pub use store::{Loaded, Store, StoreError, Stored};
