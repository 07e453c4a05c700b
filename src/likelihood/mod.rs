//! What a sampler costs as a code for data: the variational bound of any grid, the best grids for it,
//! and what a model must be measured for.
//!
//! | | |
//! |---|---|
//! | [`Measurement`] | M_t = E\|x₀ − D(x_t)\|² of a model on data, at all levels in one pass |
//! | [`Elbo`] | the bound for one grid, from its M_t |
//! | [`Decoder`], [`discretised_gaussian_nats`] | the last edge, onto the data |

mod bound;
mod decoder;
mod discretised;
mod edge_variance;
mod elbo;
mod measured;
mod measurement;
mod of_gaussian;
mod prior;
mod tally;

pub use bound::{Bound, Likelihood};
pub use decoder::Decoder;
pub use discretised::discretised_gaussian_nats;
pub use edge_variance::EdgeVariance;
pub use elbo::Elbo;
pub use measured::Measured;
pub use measurement::Measurement;
