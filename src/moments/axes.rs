//! The distribution along each axis by itself, where all Gaussians share their axes.

use super::affine::{AffineEstimate, Folded};
use super::ranges;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{self, Listed};
use crate::oracle::Gaussian;
use crate::plan::{MAX_SLOTS, Plan, Stage};

/// D along an axis, and D' where E is not D's own.
pub(super) type Estimates = (AffineEstimate, Option<AffineEstimate>);

/// The distribution of the state after every step, along the axes of `initial`; `estimate` is given
/// the stage (counted through all steps), the axis and the level.
pub(super) fn propagate(
    plan: &Plan,
    initial: &Gaussian,
    estimate: impl Fn(usize, usize, &NoiseLevel) -> Estimates,
) -> Result<Vec<Gaussian>, Error> {
    let mut joints: Vec<Joint> = initial
        .to_axes(initial.mean())?
        .into_iter()
        .zip(initial.variances())
        .map(|(mean, variance)| Joint::new(plan.slots(), mean, variance.sqrt()))
        .listed()?;
    let mut states = memory::reserve(&[plan.steps().len()])?;
    let mut stages = 0;
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in &step.stages {
            for (axis, joint) in joints.iter_mut().enumerate() {
                let estimates = stage
                    .evaluate
                    .map_or((AffineEstimate::NONE, None), |level| {
                        estimate(stages, axis, &level)
                    });
                joint.apply(stage, estimates);
            }
            stages += 1;
        }
        let (mut mean, mut variances) = (
            memory::reserve(&[joints.len()])?,
            memory::reserve(&[joints.len()])?,
        );
        for joint in &joints {
            mean.push(joint.mean[0]);
            let variance = joint.factor[0][..joint.len].iter().map(|f| f * f).sum();
            variances.push(ranges::variance(index, variance)?);
        }
        let state = initial.with_axes_of(&mean, &variances)?;
        ranges::require_means(index, state.mean())?;
        memory::push(&mut states, state)?;
    }
    Ok(states)
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

    /// The distribution after an update.
    fn apply(&mut self, stage: &Stage, (data, noise): Estimates) {
        let update = &stage.update;
        let (old_mean, old) = (self.mean[0], self.factor[0]);
        let other = noise.unwrap_or(AffineEstimate::NONE);
        let own = match (noise, &stage.evaluate) {
            (Some(_), Some(level)) => Some(level.alpha()),
            _ => None,
        };
        let affine = |folded: Folded| AffineEstimate {
            gain: folded.state + folded.data * data.gain + folded.other * other.gain,
            offset: folded.data * data.offset + folded.other * other.offset,
        };
        let next = affine(Folded::update(update, own));
        self.mean[0] = next.gain * old_mean + next.offset;
        self.factor[0] = old.map(|f| next.gain * f);
        for &(slot, weight) in &update.history {
            self.mean[0] += weight * self.mean[slot + 1];
            let row = self.factor[slot + 1];
            for (f, r) in self.factor[0].iter_mut().zip(row) {
                *f += weight * r;
            }
        }
        if let (Some(store), Some((slot, on_state, on_data))) = (&update.store, stage.stored()) {
            let kept = affine(Folded::store(store, (on_state, on_data), own));
            self.mean[slot + 1] = kept.gain * old_mean + kept.offset;
            self.factor[slot + 1] = old.map(|f| kept.gain * f);
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
