//! Lists beside each other.

use diffusion_sampler::diffusers::Configured;

use super::common::{Run, numbers};

/// The largest difference of the times that the network sees from the library's.
pub(crate) fn error_of_times(run: &Run, configured: &Configured) -> f64 {
    difference(
        &configured.network_times(),
        &numbers(&run.whole["f64"]["network_times"]),
    )
}

/// The largest difference of two lists, relative to the entry or 1; of the entries that the first
/// has. Infinite where the second is shorter.
pub(crate) fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    if ours.len() > theirs.len() {
        return f64::INFINITY;
    }
    let errors = ours.iter().zip(theirs).map(|(a, b)| match a == b {
        true => 0.0,
        false => (a - b).abs() / b.abs().max(1.0),
    });
    errors.fold(
        0.0,
        |largest, error| if error <= largest { largest } else { error },
    )
}
