//! The reader of configuration files, against what the library that they come from computes.

mod common;
mod golden;
mod lists;
mod pipelines;
mod report;
mod wide;
