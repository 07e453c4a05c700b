//! What the programs of this package share: the digits and an exact model of them, a canvas that
//! saves PNGs, axes, and sheets of images. Unpublished: it draws the pictures of
//! diffusion-sampler's documentation.

pub mod canvas;
pub mod colour_scale;
pub mod drawn;
mod font;
pub mod judge;
pub mod miss;
pub mod model;
pub mod output;
pub mod plot;
pub mod sheet;
pub mod timed;

#[path = "../../tests/data/digits.rs"]
pub mod digits;
