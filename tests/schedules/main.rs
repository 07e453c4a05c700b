//! Noise schedules: laws that all of them keep, their values, and what is special to each.

mod common;
mod families;
mod laws;
mod refusals;
mod values;
