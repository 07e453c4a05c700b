//! Standard normals: keyed by (seed, sample, step, element, stream), as a Brownian path, or from
//! any `rand` generator.

mod batch;
mod block;
mod box_muller;
mod brownian;
mod buffers;
mod demand;
mod key;
mod keyed;
mod normal;
mod per_sample;
mod philox;
mod pure;
mod rng;
mod rows;
mod sample;
mod source;

pub use brownian::BrownianPath;
pub use demand::Demand;
pub use key::{Interval, NoiseKey, Stream};
pub use keyed::KeyedNoise;
pub use normal::NormalElement;
pub use per_sample::PerSample;
pub use pure::PureNoise;
pub use rng::RngNoise;
pub(crate) use rows::{RowNoise, StepNoise};
pub use sample::SampleNoise;
pub use source::NoiseSource;
