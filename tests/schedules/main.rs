//! Noise schedules: laws that all of them keep, their values, and what is special to each.

mod common;
mod families;
mod flows;
mod laws;
mod precise;
mod refusals;
mod rescaled;
mod values;
