//! Standard normals: keyed by (seed, sample, step, element, stream), as a Brownian path, or from
//! any `rand` generator.
//!
//! [`KeyedNoise`] fills slices ([`fill_row`](KeyedNoise::fill_row),
//! [`fill_batch`](KeyedNoise::fill_batch)), and so does every [`NoiseSource`]; no array type is
//! needed. [`PerSample`] gives each sample of a batch the noise of its own request.
//!
//! [`KeyedNoise`] is the one to take, and what `Sampler::sample` draws from. [`TorchNoise`] is there
//! for compatibility alone: it reproduces what torch's generators ([`TorchCpu`], [`TorchCuda`]) give
//! a run, so that a picture made in Python comes out again. Its samples depend on the batch and on
//! every draw before.
//!
//! # The layout: from key to normal
//!
//! What a program in another language or on another device needs to draw the same normals. A
//! version that draws others says so in the changelog.
//!
//! **Counter and key.** A normal is made of the four words that Philox4x32-10 (Salmon and others,
//! 2011) gives for a counter (c₀, c₁, c₂, c₃) and a key (k₀, k₁), all of 32 bits. With n the sample
//! (the first sample plus the row), k the step and i the block's counter below:
//!
//! ```text
//! c₀ = i                                  k₀ = seed mod 2³²
//! c₁ = n mod 2³²                          k₁ = ⌊seed / 2³²⌋
//! c₂ = k
//! c₃ = ⌊n / 2³²⌋ mod 2²² + 2²² · s
//! ```
//!
//! | stream | s | drawn by |
//! |---|---|---|
//! | `Start` | 0 | the start of a run, at k = 0 |
//! | `Forward` | 1 | [`diffuse`](crate::forward::diffuse), at the caller's k |
//! | `Step(j)` | 2 + j | stage j of step k of a run |
//! | `User(j)` | 258 + j | the caller |
//! | | 514 + j | the normals of path j of a [`BrownianPath`]; k is their node in its tree |
//!
//! **Elements.** A row, the elements of one sample in row-major order, is cut into blocks of 16
//! counters. Element e of a row of `f32` is in block b = ⌊e / 64⌋, of `f64` in b = ⌊e / 32⌋; with l
//! = e mod 16 its counter is i = 16b + l. A counter's words (w₀, w₁, w₂, w₃) make the elements at
//! places l, 16 + l, … of the block:
//!
//! ```text
//! f32   l: z₀(w₀, w₁)   16 + l: z₁(w₀, w₁)   32 + l: z₀(w₂, w₃)   48 + l: z₁(w₂, w₃)
//! f64   l: z₀(w₀ + 2³² w₁, w₂ + 2³² w₃)      16 + l: z₁ of the same
//! ```
//!
//! From element 2³⁴ (`f32`) or 2³³ (`f64`) on, where i would reach 2³², the elements are those from
//! 0 on of the seed 0x9E3779B97F4A7C15 further, modulo 2⁶⁴; and so on.
//!
//! **Box–Muller**, from two words (u, v) of 32 bits or of 64:
//!
//! ```text
//! f32   U = (⌊u/2⌋ | 1) / 2³¹, rounded to 24 bits       f64   U = (⌊u / 2¹²⌋ + ½) / 2⁵²
//!       a = (⌊v/2⌋ | 1) / 2³⁰, v with its sign                a = (⌊v / 2¹¹⌋ mod 2⁵² + ½) / 2⁵²
//!       p = ±1, the sign of v's lowest bit                    p = ±1, the sign of v's lowest bit
//!       q = 1                                                 q = ±1, the sign of v's highest bit
//!
//! r = √(−2 ln U),   z₀ = p·r·sin(π/2 · (1 − |a|)),   z₁ = q·r·sin(π/2 · a)
//! ```
//!
//! where a bit of 1 is the sign −1 and | is the bitwise or. Logarithm and sine are polynomials of
//! the crate's own, which are the same on every machine; any other good ones give the same normals
//! to a relative error of 6·10⁻⁷ (`f32`) or 3·10⁻¹⁵ (`f64`).
//!
//! The normal of seed 7, sample 3, step 11, stream `Step(0)`, element 40 of an `f64` row:
//!
//! ```
//! use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, Stream}};
//!
//! fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
//!     for _ in 0..10 {
//!         let p = 0xD251_1F53 * u64::from(c[0]);
//!         let q = 0xCD9E_8D57 * u64::from(c[2]);
//!         let (high, low) = (|w: u64| (w >> 32) as u32, |w: u64| w as u32);
//!         c = [high(q) ^ c[1] ^ k[0], low(q), high(p) ^ c[3] ^ k[1], low(p)];
//!         k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
//!     }
//!     c
//! }
//!
//! // Element 40 is in block 1, at place 8: counter 24, z₀.
//! let [w0, w1, w2, w3] = philox([24, 3, 11, 2 << 22], [7, 0]).map(u64::from);
//! let (u, v) = (w0 | w1 << 32, w2 | w3 << 32);
//! let uniform = ((u >> 12) as f64 + 0.5) / 2f64.powi(52);
//! let angle = (((v >> 11) % (1 << 52)) as f64 + 0.5) / 2f64.powi(52);
//! let sign = if v % 2 == 1 { -1.0 } else { 1.0 };
//! let radius = (-2.0 * uniform.ln()).sqrt();
//! let z = sign * radius * (std::f64::consts::FRAC_PI_2 * (1.0 - angle)).sin();
//!
//! let mut row = [0.0f64; 41];
//! KeyedNoise::new(7).fill_row(NoiseKey::new(3, 11, Stream::Step(0)), &mut row);
//! assert!((row[40] / z - 1.0).abs() < 3e-15);
//! ```

mod batch;
mod block;
mod box_muller;
mod brownian;
mod buffers;
mod demand;
mod fingerprint;
mod key;
mod keyed;
mod learned;
mod normal;
mod per_sample;
mod philox;
mod pure;
mod rng;
mod rows;
mod sample;
mod scaled;
mod scales;
mod source;
#[cfg(feature = "serde")]
mod stored;
mod torch;

pub use brownian::BrownianPath;
pub use demand::Demand;
pub use key::{Interval, NoiseKey, Stream};
pub use keyed::KeyedNoise;
pub use learned::LearnedNoise;
pub use normal::NormalElement;
pub use per_sample::PerSample;
pub use pure::PureNoise;
pub use rng::RngNoise;
pub(crate) use rows::{RowNoise, StepNoise};
pub use sample::SampleNoise;
pub use scaled::ScaledNoise;
pub use scales::NoiseScales;
pub use source::NoiseSource;
pub use torch::{TorchCpu, TorchCuda, TorchGenerator, TorchNoise};
