//! The exact distribution of a plan's state on Gaussian data, and the defect of its mean.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::oracle::{Gaussian, Scales, in_range};
use crate::plan::{MAX_SLOTS, Plan, Stage};

/// The estimate of x₀ along one axis, D = gain·x + offset.
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
        let scales = Scales::unchecked(level);
        // m(1 − αg), with 1 − αg = σ²/(α²v + σ²).
        Self {
            gain: scales.gain(variance),
            offset: mean * scales.noise_share(variance),
        }
    }
}

impl Plan {
    /// The exact distribution of the state after every step when x₀ ~ `data`, the model is exact
    /// (D = E\[x₀ | x_t\]) and the run starts from x_T ~ `initial`.
    ///
    /// Plans commute with rotations: along every eigenvector of the data's covariance the state is
    /// a Gaussian of its own. With data of variance 0 the result is the distribution given x₀:
    /// every member of the κ family then keeps N(α_t x₀, σ_t² I).
    ///
    /// The state and the history slots are propagated as linear forms in independent normals, and
    /// a variance is a sum of squares: it is never negative. One below 1e-60 counts as 0.
    ///
    /// ```
    /// use diffusion_sampler::{
    ///     Grid, oracle::Gaussian, schedule::TableSchedule, solver::{FirstOrder, Path, Solver},
    /// };
    /// use ndarray::array;
    ///
    /// // How far DDIM in 10 steps misses correlated data: exactly, without a sample drawn.
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let plan = FirstOrder::ddim().plan(&Path::new(&schedule, &grid)?)?;
    /// let data = Gaussian::new(&[2.0, 0.0], &array![[0.3, 0.1], [0.1, 0.2]])?;
    /// let states = plan.moments(&data, &Gaussian::centred(2, 1.0)?)?;
    /// println!("squared distance {}", states[9].wasserstein_squared(&data)?);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both have the same dimension; [`Error::AxesDiffer`] unless
    /// they share their axes or one of them is isotropic; [`Error::InvalidEntry`], with the step,
    /// for a mean beyond 1e30 or a variance beyond 1e60.
    pub fn moments(&self, data: &Gaussian, initial: &Gaussian) -> Result<Vec<Gaussian>, Error> {
        let frame = data.shared_frame(initial)?;
        let mean = frame.to_axes(data.mean());
        let start = frame.with_axes_of(&frame.to_axes(initial.mean()), initial.variances());
        self.moments_with(&start, |axis, level| {
            AffineEstimate::of_gaussian(mean[axis], data.variances()[axis], level)
        })
    }

    /// The same for any estimate of x₀ that is affine along each axis of `initial`, given as
    /// a function of (axis, level): a guided Gaussian, a wrong model.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`], with the step, for a mean beyond 1e30 or a variance beyond 1e60;
    /// [`Error::GivenHistory`] for a plan with given slots.
    pub fn moments_with(
        &self,
        initial: &Gaussian,
        estimate: impl Fn(usize, &NoiseLevel) -> AffineEstimate,
    ) -> Result<Vec<Gaussian>, Error> {
        if self.given() > 0 {
            return Err(Error::GivenHistory {
                given: self.given(),
            });
        }
        const UNUSED: AffineEstimate = AffineEstimate {
            gain: 0.0,
            offset: 0.0,
        };
        let mut joints: Vec<Joint> = initial
            .to_axes(initial.mean())
            .into_iter()
            .zip(initial.variances())
            .map(|(mean, variance)| Joint::new(self.slots(), mean, variance.sqrt()))
            .collect();
        let mut states = Vec::with_capacity(self.steps().len());
        for (index, step) in self.steps().iter().enumerate() {
            for stage in &step.stages {
                for (axis, joint) in joints.iter_mut().enumerate() {
                    let affine = stage
                        .evaluate
                        .map_or(UNUSED, |level| estimate(axis, &level));
                    joint.apply(stage, affine);
                }
            }
            let (mut mean, mut variances) = (Vec::new(), Vec::new());
            for joint in &joints {
                mean.push(joint.mean[0]);
                variances.push(joint.variance(index)?);
            }
            let state = initial.with_axes_of(&mean, &variances);
            require_means(index, state.mean())?;
            states.push(state);
        }
        Ok(states)
    }

    /// How far each step misses the mean when x₀ is known: with D ≡ x₀ at every stage and no noise,
    /// a step that starts at α_t x₀ must reach α_s x₀. Relative to the sum of the magnitudes of the
    /// terms that make the state.
    ///
    /// A consistent solver has a defect of 0 but for rounding. A wrong coefficient shows here
    /// unless it weighs a *difference* of estimates, which needs a test of the order. A value that
    /// is not finite counts as a defect of +∞.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    /// use diffusion_sampler::solver::{DpmSolverPlusPlus, Path, Solver};
    ///
    /// let flow = RectifiedFlow::new();
    /// let grid = Grid::trailing(&flow, 20)?;
    /// let plan = DpmSolverPlusPlus::new().plan(&Path::new(&flow, &grid)?)?;
    /// assert!(plan.mean_defect().iter().all(|defect| *defect < 1e-12));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn mean_defect(&self) -> Vec<f64> {
        if self.given() > 0 {
            return vec![f64::INFINITY; self.steps().len()];
        }
        // Each value beside the sum of the magnitudes that it was made of.
        let mut slots = [(0.0f64, 0.0f64); MAX_SLOTS];
        let defect = |step: &crate::plan::Step| {
            let alpha = step.from.alpha();
            let mut state = (alpha, alpha);
            for stage in &step.stages {
                let update = &stage.update;
                let old = state;
                state = affine(update.state, old, update.data);
                for &(slot, weight) in &update.history {
                    let (value, size) = affine(weight, slots[slot], 0.0);
                    state = (state.0 + value, state.1 + size);
                }
                if let Some((slot, on_state, on_data)) = stage.stored() {
                    slots[slot] = affine(on_state, old, on_data);
                }
            }
            let target = step.to.alpha();
            let size = state.1.max(target);
            let miss = (state.0 - target).abs();
            if !(miss.is_finite() && size.is_finite()) {
                f64::INFINITY
            } else if size == 0.0 {
                miss
            } else {
                miss / size
            }
        };
        self.steps().iter().map(defect).collect()
    }
}

/// a·(value, size) + (b, |b|), sizes by magnitudes.
fn affine(a: f64, (value, size): (f64, f64), b: f64) -> (f64, f64) {
    (a * value + b, a.abs() * size + b.abs())
}

/// The mean of a state, in range.
fn require_means(step: usize, mean: &[f64]) -> Result<(), Error> {
    match mean.iter().find(|m| !in_range(**m)) {
        None => Ok(()),
        Some(&value) => Err(Error::InvalidEntry {
            name: "mean after step",
            index: step,
            value,
            requirement: "finite and at most 1e30 in magnitude",
        }),
    }
}

/// The state and the history slots.
const ROWS: usize = MAX_SLOTS + 1;

/// The joint distribution of one coordinate of the state (row 0) and the history slots (1..): mean
/// + factor·n, with n independent standard normals. The last column takes a step's noise.
#[derive(Clone, Debug)]
struct Joint {
    len: usize,
    mean: [f64; ROWS],
    factor: [[f64; ROWS + 1]; ROWS],
}

impl Joint {
    fn new(slots: usize, mean: f64, deviation: f64) -> Self {
        let mut joint = Self {
            len: slots + 1,
            mean: [0.0; ROWS],
            factor: [[0.0; ROWS + 1]; ROWS],
        };
        joint.mean[0] = mean;
        joint.factor[0][0] = deviation;
        joint
    }

    /// The state's variance, in range.
    fn variance(&self, step: usize) -> Result<f64, Error> {
        let variance: f64 = self.factor[0][..self.len].iter().map(|f| f * f).sum();
        if variance.is_nan() || variance > 1e60 {
            return Err(Error::InvalidEntry {
                name: "variance after step",
                index: step,
                value: variance,
                requirement: "finite and at most 1e60",
            });
        }
        Ok(if variance < 1e-60 { 0.0 } else { variance })
    }

    /// The distribution after an update.
    fn apply(&mut self, stage: &Stage, estimate: AffineEstimate) {
        let update = &stage.update;
        let (old_mean, old) = (self.mean[0], self.factor[0]);
        let gain = update.state + update.data * estimate.gain;
        self.mean[0] = gain * old_mean + update.data * estimate.offset;
        self.factor[0] = old.map(|f| gain * f);
        for &(slot, weight) in &update.history {
            self.mean[0] += weight * self.mean[slot + 1];
            let row = self.factor[slot + 1];
            for (f, r) in self.factor[0].iter_mut().zip(row) {
                *f += weight * r;
            }
        }
        if let Some((slot, on_state, on_data)) = stage.stored() {
            let gain = on_state + on_data * estimate.gain;
            self.mean[slot + 1] = gain * old_mean + on_data * estimate.offset;
            self.factor[slot + 1] = old.map(|f| gain * f);
        }
        if update.noise != 0.0 {
            self.factor[0][self.len] = update.noise;
            self.absorb_noise();
        }
    }

    /// Rotates the normals so that the last column is 0 again: the factor becomes lower triangular,
    /// its product with its transpose, the covariance, stays.
    fn absorb_noise(&mut self) {
        for i in 0..self.len {
            for j in i + 1..=self.len {
                let (a, b) = (self.factor[i][i], self.factor[i][j]);
                if b == 0.0 {
                    continue;
                }
                let (c, s) = direction(a, b);
                for row in &mut self.factor[i..self.len] {
                    (row[i], row[j]) = (c * row[i] + s * row[j], c * row[j] - s * row[i]);
                }
                self.factor[i][j] = 0.0;
            }
        }
    }
}

/// (a, b)/√(a² + b²) for b ≠ 0. Divided by the larger first: squares neither overflow nor
/// underflow, and a vector too long for f64 has a direction still, so that its length comes out as
/// +∞, not 0.
fn direction(a: f64, b: f64) -> (f64, f64) {
    let large = a.abs().max(b.abs());
    let (a, b) = (a / large, b / large);
    let norm = (a * a + b * b).sqrt();
    (a / norm, b / norm)
}
