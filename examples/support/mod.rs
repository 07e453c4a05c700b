//! What the examples share: the digits and a model of them, a canvas that saves PNGs, axes, and sheets of images.

// Each example includes the whole folder and uses a part of it: what one leaves unused another needs. And nothing of a
// module inside an example is reachable from outside, so `pub` says here what it would say in a crate of its own.
#![allow(dead_code, unreachable_pub)]

pub mod canvas;
pub mod digits;
mod font;
pub mod model;
pub mod output;
pub mod plot;
pub mod sheet;
