//! The directions in which a trace is measured.

use ndarray::{Array, Dimension};

use crate::error::{Error, require};
use crate::memory;
use crate::noise::{KeyedNoise, NoiseKey, Stream};
use crate::real::Real;

/// The directions v in which [`FlowLikelihood::estimate`](super::FlowLikelihood::estimate) measures
/// the trace of a Jacobian, as vᵀJv (Hutchinson 1990).
///
/// | made by | tr J | evaluations a stage | error |
/// |---|---|---|---|
/// | [`basis`](Self::basis) | Σ_i e_iᵀJe_i, exact | d | 0 |
/// | [`rademacher`](Self::rademacher) | mean of vᵀJv, v_i = ±1 | count | variance Σ_{i≠j}(J_ij + J_ji)²/2 a probe |
/// | [`gaussian`](Self::gaussian) | mean of vᵀJv, v_i normal | count | that and 2ΣJ_ii² |
///
/// Random probes are keyed by (seed, sample, probe), and are the same along the whole path, so that
/// each is an unbiased estimate of the same smooth integral.
///
/// ```
/// use diffusion_sampler::likelihood::Probes;
///
/// assert!(Probes::rademacher(0, 7).is_err());
/// assert_eq!(Probes::gaussian(4, 7)?.count(), Some(4));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("Hutchinson", "Skilling"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probes {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Basis,
    Random {
        count: usize,
        seed: u64,
        signs: bool,
    },
}

/// The stream of the probes' normals.
const STREAM: Stream = Stream::User(0);

impl Probes {
    /// The unit vectors: the exact trace, for few dimensions or for reference.
    pub fn basis() -> Self {
        Self { kind: Kind::Basis }
    }

    /// So many random vectors of ±1: of all with independent elements, those of least variance.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `count` is from 1 to 65536.
    pub fn rademacher(count: usize, seed: u64) -> Result<Self, Error> {
        Self::random(count, seed, true)
    }

    /// So many random vectors of standard normals.
    ///
    /// # Errors
    ///
    /// As [`rademacher`](Self::rademacher).
    pub fn gaussian(count: usize, seed: u64) -> Result<Self, Error> {
        Self::random(count, seed, false)
    }

    fn random(count: usize, seed: u64, signs: bool) -> Result<Self, Error> {
        let valid = (1..=1 << 16).contains(&count);
        require(valid, "probes", count as f64, "from 1 to 65536")?;
        let kind = Kind::Random { count, seed, signs };
        Ok(Self { kind })
    }

    /// The number of random probes; `None` for the unit vectors.
    pub fn count(&self) -> Option<usize> {
        match self.kind {
            Kind::Basis => None,
            Kind::Random { count, .. } => Some(count),
        }
    }

    /// How many directions a sample of `dim` elements needs.
    pub(super) fn directions(&self, dim: usize) -> usize {
        self.count().unwrap_or(dim)
    }

    /// Direction `index` of every sample.
    pub(super) fn fill<A: Real, D: Dimension>(
        &self,
        index: usize,
        shape: D,
    ) -> Result<Array<A, D>, Error> {
        let mut out = memory::zeros::<A, D>(shape)?;
        let dim = out.len() / out.shape().first().copied().unwrap_or(0).max(1);
        let Some(rows) = out.as_slice_mut().filter(|_| dim > 0) else {
            return Ok(out);
        };
        for (row, values) in rows.chunks_exact_mut(dim).enumerate() {
            match self.kind {
                Kind::Basis => values[index] = A::one(),
                Kind::Random { seed, signs, .. } => {
                    let key = NoiseKey::new(row as u64, index as u32, STREAM);
                    KeyedNoise::new(seed).fill_row(key, values);
                    if signs {
                        values.iter_mut().for_each(|v| *v = A::one().copysign(*v));
                    }
                }
            }
        }
        Ok(out)
    }
}
