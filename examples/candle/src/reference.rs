//! The network of these runs by hand on slices: what the library's own is compared with.

use std::convert::Infallible;

use diffusion_sampler::ndarray::{ArrayRef, Axis, Ix4};
use diffusion_sampler::{Denoiser, Prediction, Query, Real};

/// \[samples, channels, height, width\].
pub const SHAPE: [usize; 4] = [3, 2, 4, 4];
/// Elements of a sample.
pub const ELEMENTS: usize = 32;
pub const HIDDEN: usize = 48;
/// Each sample's class.
pub const LABELS: [usize; 3] = [2, 0, 1];
/// The label that stands for "no class".
pub const NO_CLASS: usize = 3;
pub const PREDICTION: Prediction = Prediction::Velocity;

/// v = tanh(x·W₁ + t·u + e_label)·W₂, with row-major weights.
pub struct Weights {
    /// \[ELEMENTS, HIDDEN\]
    pub first: Vec<f32>,
    /// \[HIDDEN\]
    pub time: Vec<f32>,
    /// \[NO_CLASS + 1, HIDDEN\]
    pub labels: Vec<f32>,
    /// \[HIDDEN, ELEMENTS\]
    pub second: Vec<f32>,
}

impl Weights {
    /// Pseudo-random weights, uniform in ±√(3/inputs), the same on every machine.
    pub fn new() -> Self {
        let mut state = 1_u32;
        let mut uniform = |len: usize, inputs: usize| -> Vec<f32> {
            let scale = (3.0 / inputs as f32).sqrt();
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                scale * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
            };
            (0..len).map(next).collect()
        };
        Self {
            first: uniform(ELEMENTS * HIDDEN, ELEMENTS),
            time: uniform(HIDDEN, 1),
            labels: uniform((NO_CLASS + 1) * HIDDEN, 1),
            second: uniform(HIDDEN * ELEMENTS, HIDDEN),
        }
    }

    /// One row of the batch.
    fn row(&self, x: &[f64], time: f64, label: usize) -> Vec<f64> {
        let hidden = |h: usize| {
            let labels = &self.labels[label * HIDDEN..];
            let inputs = x.iter().zip(self.first[h..].iter().step_by(HIDDEN));
            let sum: f64 = inputs.map(|(x, w)| x * f64::from(*w)).sum();
            (sum + time * f64::from(self.time[h]) + f64::from(labels[h])).tanh()
        };
        let hidden: Vec<f64> = (0..HIDDEN).map(hidden).collect();
        let output = |e: usize| {
            let inputs = hidden.iter().zip(self.second[e..].iter().step_by(ELEMENTS));
            inputs.map(|(h, w)| h * f64::from(*w)).sum()
        };
        (0..ELEMENTS).map(output).collect()
    }
}

/// The network's time: a table's index in thousandths.
pub fn time(query: &Query<'_>) -> f64 {
    query.level().model_time() / 1000.0
}

/// The labels of all rows of a batch: with the class, then, where a second output is wanted,
/// without.
pub fn labels(outputs: usize) -> Vec<usize> {
    let absent = vec![NO_CLASS; LABELS.len() * (outputs - 1)];
    [LABELS.to_vec(), absent].concat()
}

/// The network as a denoiser of ndarray arrays. It computes in f64.
pub struct Reference<'w>(pub &'w Weights);

impl<A: Real> Denoiser<A, Ix4> for Reference<'_> {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        PREDICTION
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix4>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix4>,
    ) -> Result<(), Infallible> {
        let rows = labels(query.outputs())
            .into_iter()
            .zip(out.outer_iter_mut());
        for (row, (label, mut out)) in rows.enumerate() {
            let x = x.index_axis(Axis(0), row % LABELS.len());
            let x: Vec<f64> = x.iter().map(|x| x.widen()).collect();
            let values = self.0.row(&x, time(query), label);
            for (out, value) in out.iter_mut().zip(values) {
                *out = A::cast(value);
            }
        }
        Ok(())
    }
}
