//! What a sampler costs as a code for data: the variational bound of any grid, the best grids for
//! it, and what a model must be measured for.
//!
//! | | |
//! |---|---|
//! | [`Measurement`] | M_t = E\|x₀ − D(x_t)\|² of a model on data, at all levels in one pass |
//! | [`Elbo`] | the bound for one grid, from its M_t |
//! | [`EdgeCosts`] | the cost of every edge between any two levels |
//! | [`Strides`] | the cheapest strides, for every number of edges |
//! | [`Decoder`], [`PixelCosts`], [`discretised_gaussian_nats`] | the last edge, onto the data |

mod bound;
mod by_quadrature;
mod decoder;
mod discretised;
mod edge_costs;
mod edge_variance;
mod elbo;
mod element_errors;
mod flow;
mod measured;
mod measurement;
mod of_gaussian;
mod of_plan;
mod pixel_costs;
mod prior;
mod slopes;
mod strides;
mod tally;

pub use bound::{Bound, Likelihood};
pub use decoder::Decoder;
pub use discretised::discretised_gaussian_nats;
pub use edge_costs::EdgeCosts;
pub use edge_variance::EdgeVariance;
pub use elbo::Elbo;
pub use element_errors::element_errors;
pub use flow::{FiniteDifferences, FlowDensity, FlowLikelihood, JacobianProduct, Probes};
pub use measured::Measured;
pub use measurement::Measurement;
pub use pixel_costs::PixelCosts;
pub use strides::Strides;
