//! The scalars of levels, predictions, posteriors and likelihoods against their formulas.

mod edges;
mod extremes;
mod levels;
mod likelihood;
mod marginals;
mod posteriors;
mod predictions;
