//! Grids: every spacing at every number of steps, and the parts of grids.

mod parts;
mod spacings;
