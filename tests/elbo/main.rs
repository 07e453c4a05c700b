//! What a model knows at each level, what each edge costs, and the cheapest strides.

mod common;
mod edges;
mod limits;
mod measured;
mod pixels;
mod plans;
mod rows;
