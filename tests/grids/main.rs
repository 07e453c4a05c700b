//! Grids: every spacing at every number of steps, and the parts of grids.

mod common;
mod iddpm;
mod indices;
mod lambda;
mod lists;
mod model_times;
mod parts;
mod published;
mod ramps;
mod spacings;
mod time;
