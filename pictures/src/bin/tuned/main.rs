//! What choosing without the network is worth on a network: searched spacings, the warm start and
//! the ranked list, measured on the trained digits network.
//!
//! ```text
//! cargo run --release -p pictures --bin tuned
//! ```
//!
//! The network of `examples/network` is sampled with its class, without guidance. Surrogates come
//! from the even images (the odd ones are held out), or from the network's own M_t. Three measures,
//! each the mean over the seeds and its standard deviation between them:
//!
//! - path: the mean distance of the samples from those of 100 steps from the same x_T, in percent of
//!   the data's rms deviation: what the sampler alone does wrong.
//! - distance: the squared Fréchet distance of the samples to the moments of all images: what the
//!   network does wrong too.
//! - class: the share of samples that the exact class posterior of a mixture takes for the digit
//!   requested.

mod bench;
mod ranks;
mod spacings;
mod warm;

use std::error::Error;
use std::time::Instant;

use bench::Bench;

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let bench = Bench::new()?;
    bench.print_head()?;
    let errors = bench.data_errors()?;
    bench.print_spectra(&errors)?;
    bench.print_spacings(&errors)?;
    bench.print_warm(&errors)?;
    bench.print_ranks(&errors)?;
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}
