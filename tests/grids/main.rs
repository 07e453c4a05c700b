//! Grids: every spacing at every number of steps, and the parts of grids.

mod common;
mod flow_sigmas;
mod iddpm;
mod indices;
mod lambda;
mod linear_in_rho;
mod lists;
mod model_times;
mod parts;
mod precise;
mod published;
mod ramps;
mod spacings;
mod time;
