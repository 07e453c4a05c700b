//! What names a row of noise.

/// What a normal is used for: an independent stream of noise each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// The start of a run, x_T.
    Start,
    /// A step of a run; the number counts the noise additions within the step.
    Step(u8),
    /// The forward chain: q(x_t | x₀) and q(x_t | x_s, x₀).
    Forward,
    /// The caller's own.
    User(u8),
}

/// The interval of a step, as λ = ln(α/σ) of both ends.
///
/// λ rises where noise is taken away. It is −∞ at α = 0 and +∞ at σ = 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    from: f64,
    to: f64,
}

impl Interval {
    /// The interval between two levels, by their λ
    /// ([`NoiseLevel::lambda`](crate::NoiseLevel::lambda)).
    pub const fn new(from: f64, to: f64) -> Self {
        Self { from, to }
    }

    /// λ of the level that the step leaves.
    pub fn from(&self) -> f64 {
        self.from
    }

    /// λ of the level that the step reaches.
    pub fn to(&self) -> f64 {
        self.to
    }
}

/// Which row of noise is wanted: one sample's, at one step, of one stream.
///
/// ```
/// use diffusion_sampler::noise::{NoiseKey, Stream};
///
/// let key = NoiseKey::new(3, 0, Stream::User(1));
/// assert_eq!((key.row, key.step, key.interval), (3, 0, None));
/// assert_eq!(NoiseKey::new(3, 0, Stream::Step(1)).path, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NoiseKey {
    /// The sample's position on axis 0 of the batch.
    pub row: u64,
    /// The step, counted from 0.
    pub step: u32,
    /// What the noise is used for.
    pub stream: Stream,
    /// The interval of the step, or of this noise's part of it; `None` outside a step.
    pub interval: Option<Interval>,
    /// Which path the noise is an increment of, for a source that has several
    /// ([`BrownianPath`](super::BrownianPath)): the number of the noise addition within the step,
    /// but 0 where the step's noises have their parts of one path
    /// ([`Step::interval_of`](crate::plan::Step::interval_of)).
    pub path: u8,
}

impl NoiseKey {
    /// The key of a row outside a step: without an interval.
    pub const fn new(row: u64, step: u32, stream: Stream) -> Self {
        Self {
            row,
            step,
            stream,
            interval: None,
            path: match stream {
                Stream::Step(n) => n,
                _ => 0,
            },
        }
    }

    /// The same row, in a step over `interval`.
    pub const fn with_interval(self, interval: Interval) -> Self {
        Self {
            interval: Some(interval),
            ..self
        }
    }

    /// The same row, as an increment of another path.
    pub const fn on_path(self, path: u8) -> Self {
        Self { path, ..self }
    }
}
