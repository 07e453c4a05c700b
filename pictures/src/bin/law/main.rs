//! What can be said of a sampler before it runs: four pictures, explained in `docs/law.md`.
//!
//! `cargo run --release -p pictures --bin law [FOLDER]`
//!
//! | file | what it shows |
//! |---|---|
//! | `law-variance.png` | the variance after each step, predicted and sampled |
//! | `law-bound.png` | the gap of the likelihood bound against the number of edges |
//! | `law-edges.png` | the cost of every edge, and the cheapest paths |
//! | `law-tuned.png` | the error against evaluations, with searched spacings and a warm start |
//!
//! It also prints the numbers that the page names.

mod bound;
mod edges;
mod tuned;
mod variance;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    variance::draw("law-variance.png")?;
    let strides = edges::Strides::new()?;
    edges::draw(&strides, "law-edges.png")?;
    bound::draw(&strides, "law-bound.png")?;
    tuned::draw("law-tuned.png")
}
