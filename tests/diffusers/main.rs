//! The reader of configuration files, against what the library that they come from computes.

#![allow(clippy::expect_used, clippy::panic)]

mod common;
mod compare;
mod defaults;
mod edges;
mod euler;
mod golden;
mod hostile;
mod hostile_fields;
mod hostile_requests;
mod learned;
mod lists;
mod more;
mod multistep;
mod multistep_common;
mod multistep_flows;
mod multistep_orders;
mod multistep_refusals;
mod page;
mod pipelines;
mod plans;
mod report;
mod reported;
mod sampled;
mod tables;
