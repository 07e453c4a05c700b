//! The exact law of a sampler on Gaussian data.

use crate::error::{Error, require_non_negative, require_size};
use crate::level::NoiseLevel;
use crate::plan::{MAX_SLOTS, Plan, Stage};
use crate::sampler::Sampler;
use crate::special::spread_excess;

/// A Gaussian with independent coordinates: the law of data, of a start, or of a sampler's state.
///
/// ```
/// use diffusion_sampler::{Grid, Sampler, moments::DiagonalGaussian, schedule::TableSchedule, solver::FirstOrder};
///
/// // How far DDIM in 10 steps misses N(2, 0.5²): exactly, without a sample drawn.
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let sampler = Sampler::new(&Grid::trailing(&schedule, 10)?, &FirstOrder::ddim())?;
/// let data = DiagonalGaussian::new(vec![2.0], vec![0.25])?;
/// let law = sampler.moments(&data)?;
/// let last = &law[9];
/// println!("mean {}, sd {}", last.mean()[0], last.variance()[0].sqrt());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalGaussian {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// The estimate of x₀ in one coordinate, D = gain·x + offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineEstimate {
    /// The coefficient on x.
    pub gain: f64,
    /// The constant.
    pub offset: f64,
}

impl AffineEstimate {
    /// The exact estimate E\[x₀ | x\] when x₀ ~ N(m, v): m + αv/(α²v + σ²)(x − αm).
    ///
    /// At σ = 0 and v = 0 it is m.
    pub fn of_gaussian(mean: f64, variance: f64, level: &NoiseLevel) -> Self {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let spread = alpha * alpha * variance + sigma * sigma;
        if spread == 0.0 {
            return Self {
                gain: 0.0,
                offset: mean,
            };
        }
        // m(1 − αg), with 1 − αg = σ²/(α²v + σ²).
        Self {
            gain: alpha * variance / spread,
            offset: mean * (sigma * sigma / spread),
        }
    }
}

impl DiagonalGaussian {
    /// N(mean, diag(variance)).
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both have the same length; [`Error::InvalidEntry`] for a value that is not finite or a
    /// negative variance.
    pub fn new(mean: Vec<f64>, variance: Vec<f64>) -> Result<Self, Error> {
        if mean.len() != variance.len() {
            return Err(Error::WrongLength {
                name: "variance",
                expected: mean.len(),
                found: variance.len(),
            });
        }
        let entry = |name, index: usize, value: f64, requirement| Error::InvalidEntry {
            name,
            index,
            value,
            requirement,
        };
        if let Some(index) = mean.iter().position(|m| !m.is_finite()) {
            return Err(entry("mean", index, mean[index], "finite"));
        }
        if let Some(index) = variance.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            let requirement = "finite and at least 0";
            return Err(entry("variance", index, variance[index], requirement));
        }
        Ok(Self { mean, variance })
    }

    /// N(0, variance I) in `dim` coordinates.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `variance` is finite and at least 0; [`Error::TooLarge`].
    pub fn centred(dim: usize, variance: f64) -> Result<Self, Error> {
        require_non_negative("variance", variance)?;
        require_size::<f64>(&[dim])?;
        Ok(Self {
            mean: vec![0.0; dim],
            variance: vec![variance; dim],
        })
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The variances.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The law of αx₀ + σε when this is the law of x₀: N(αm, α²v + σ²).
    pub fn at_level(&self, level: &NoiseLevel) -> Self {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        Self {
            mean: self.mean.iter().map(|m| alpha * m).collect(),
            variance: self
                .variance
                .iter()
                .map(|v| alpha * alpha * v + sigma * sigma)
                .collect(),
        }
    }

    /// The squared 2-Wasserstein distance |m − m'|² + Σ(√v − √v')².
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for another number of coordinates.
    pub fn wasserstein_squared(&self, other: &Self) -> Result<f64, Error> {
        self.check_dim(other)?;
        Ok(self
            .coordinates()
            .zip(other.coordinates())
            .map(|((m, v), (n, w))| {
                let spread = v.sqrt() - w.sqrt();
                (m - n) * (m - n) + spread * spread
            })
            .sum())
    }

    /// KL(self ‖ other) in nats: Σ ½\[v/v' − 1 − ln(v/v') + (m − m')²/v'\].
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for another number of coordinates; [`Error::InvalidEntry`] for a variance of 0 in either.
    pub fn kl(&self, other: &Self) -> Result<f64, Error> {
        self.check_dim(other)?;
        for law in [self, other] {
            if let Some(index) = law.variance.iter().position(|v| *v == 0.0) {
                return Err(Error::InvalidEntry {
                    name: "variance",
                    index,
                    value: 0.0,
                    requirement: "positive where a density is needed",
                });
            }
        }
        Ok(self
            .coordinates()
            .zip(other.coordinates())
            .map(|((m, v), (n, w))| 0.5 * (spread_excess(v, w) + (m - n) * (m - n) / w))
            .sum())
    }

    fn coordinates(&self) -> impl Iterator<Item = (f64, f64)> {
        self.mean.iter().copied().zip(self.variance.iter().copied())
    }

    fn check_dim(&self, other: &Self) -> Result<(), Error> {
        if self.dim() == other.dim() {
            Ok(())
        } else {
            Err(Error::WrongLength {
                name: "coordinates",
                expected: self.dim(),
                found: other.dim(),
            })
        }
    }
}

impl Sampler {
    /// The exact law of the state after every step when the data are `data`, the model is exact and the run starts from the
    /// start law.
    ///
    /// # Errors
    ///
    /// [`Error::ClippedMoments`] for a sampler that clips, which is not linear, and [`Error::StartsFromData`] for a plan that leads to more noise
    /// ([`Plan::moments`] takes its start law).
    pub fn moments(&self, data: &DiagonalGaussian) -> Result<Vec<DiagonalGaussian>, Error> {
        if self.clip().is_some() {
            return Err(Error::ClippedMoments);
        }
        self.check_start()?;
        let start = DiagonalGaussian::centred(data.dim(), self.start_variance())?;
        self.plan().moments(data, &start)
    }
}

impl Plan {
    /// The exact law of the state after every step when x₀ ~ `data` independently in each coordinate, the model is exact
    /// (D = E\[x₀ | x_t\]) and the run starts from the law `start`.
    ///
    /// With data of variance 0 this is the law given x₀: every member of the κ family then keeps N(α_t x₀, σ_t² I).
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both have the same number of coordinates.
    pub fn moments(
        &self,
        data: &DiagonalGaussian,
        start: &DiagonalGaussian,
    ) -> Result<Vec<DiagonalGaussian>, Error> {
        data.check_dim(start)?;
        Ok(self.moments_with(start, |coordinate, level| {
            AffineEstimate::of_gaussian(data.mean[coordinate], data.variance[coordinate], level)
        }))
    }

    /// The same for any estimate of x₀ that is affine in each coordinate, given as a function of (coordinate, level): a
    /// guided Gaussian, a wrong model.
    pub fn moments_with(
        &self,
        start: &DiagonalGaussian,
        estimate: impl Fn(usize, &NoiseLevel) -> AffineEstimate,
    ) -> Vec<DiagonalGaussian> {
        let mut laws: Vec<Joint> = start
            .coordinates()
            .map(|(mean, variance)| Joint::new(self.slots(), mean, variance))
            .collect();
        let mut history = Vec::with_capacity(self.steps().len());
        for step in self.steps() {
            for stage in &step.stages {
                for (coordinate, law) in laws.iter_mut().enumerate() {
                    let affine = stage.evaluate.map_or(
                        AffineEstimate {
                            gain: 0.0,
                            offset: 0.0,
                        },
                        |level| estimate(coordinate, &level),
                    );
                    law.apply(stage, affine);
                }
            }
            history.push(DiagonalGaussian {
                mean: laws.iter().map(|law| law.mean[0]).collect(),
                variance: laws.iter().map(|law| law.covariance[0][0]).collect(),
            });
        }
        history
    }
}

/// The joint law of one coordinate of the state (index 0) and the history slots (1..).
#[derive(Clone, Debug)]
struct Joint {
    len: usize,
    mean: [f64; MAX_SLOTS + 1],
    covariance: [[f64; MAX_SLOTS + 1]; MAX_SLOTS + 1],
}

impl Joint {
    fn new(slots: usize, mean: f64, variance: f64) -> Self {
        let mut law = Self {
            len: slots + 1,
            mean: [0.0; MAX_SLOTS + 1],
            covariance: [[0.0; MAX_SLOTS + 1]; MAX_SLOTS + 1],
        };
        law.mean[0] = mean;
        law.covariance[0][0] = variance;
        law
    }

    /// The law after u ← M u + offset + noise·z, where M is the identity but for the rows of the state and the slot
    /// written.
    fn apply(&mut self, stage: &Stage, estimate: AffineEstimate) {
        let update = &stage.update;
        let mut state = [0.0; MAX_SLOTS + 1];
        state[0] = update.state + update.data * estimate.gain;
        for &(slot, weight) in &update.history {
            state[slot + 1] += weight;
        }
        let mut rows = [Some((0, state, update.data * estimate.offset)), None];
        if let Some(store) = update.store {
            // A plan has checked its stores.
            let (on_state, on_data) = store
                .kept
                .coefficients(stage.evaluate.as_ref())
                .unwrap_or((f64::NAN, f64::NAN));
            let mut row = [0.0; MAX_SLOTS + 1];
            row[0] = on_state + on_data * estimate.gain;
            rows[1] = Some((store.slot + 1, row, on_data * estimate.offset));
        }
        let old = self.clone();
        let len = self.len;
        let image = |row: &[f64; MAX_SLOTS + 1], other: &[f64; MAX_SLOTS + 1]| -> f64 {
            (0..len)
                .map(|i| {
                    row[i]
                        * (0..len)
                            .map(|j| old.covariance[i][j] * other[j])
                            .sum::<f64>()
                })
                .sum()
        };
        let unit = |i: usize| {
            let mut row = [0.0; MAX_SLOTS + 1];
            row[i] = 1.0;
            row
        };
        let row_of = |i: usize| {
            rows.iter()
                .flatten()
                .find(|(index, _, _)| *index == i)
                .map_or_else(|| unit(i), |(_, row, _)| *row)
        };
        for (index, row, offset) in rows.iter().flatten() {
            self.mean[*index] = offset + (0..len).map(|i| row[i] * old.mean[i]).sum::<f64>();
            for other in 0..len {
                let value = image(row, &row_of(other));
                self.covariance[*index][other] = value;
                self.covariance[other][*index] = value;
            }
        }
        self.covariance[0][0] += update.noise * update.noise;
    }
}
