//! Bad input: every public constructor and method that can be given it answers with a typed error
//! that holds the value.

mod arrays;
mod common;
mod levels;
mod likelihoods;
mod posteriors;
