//! Standard normals: keyed by (seed, sample, step, element, stream), as a Brownian path, or from
//! any `rand` generator.

mod block;
mod box_muller;
mod brownian;
mod buffers;
mod key;
mod keyed;
mod normal;
mod philox;
mod rng;
mod rows;
mod source;
#[cfg(feature = "serde")]
mod stored;

pub use brownian::BrownianPath;
pub use key::{Interval, NoiseKey, Stream};
pub use keyed::KeyedNoise;
pub use normal::NormalElement;
pub use rng::RngNoise;
pub(crate) use rows::{RowNoise, StepNoise};
pub use source::NoiseSource;
