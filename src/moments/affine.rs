//! The estimate of x₀ along one axis.

use crate::level::NoiseLevel;
use crate::oracle::Scales;
use crate::plan::{Kept, Store, Update};

/// The estimate of x₀ along one axis, D = gain·x + offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineEstimate {
    /// The coefficient on x.
    pub gain: f64,
    /// The constant.
    pub offset: f64,
}

impl AffineEstimate {
    /// No estimate: what a stage without the model is given.
    pub(super) const NONE: Self = Self {
        gain: 0.0,
        offset: 0.0,
    };

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

/// What a run makes of an update or a store: state·x + data·D + other·D', with D' the estimate that
/// E belongs to where it is not D.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Folded {
    pub(super) state: f64,
    pub(super) data: f64,
    pub(super) other: f64,
}

impl Folded {
    /// state·x + data·D, where x stands for αD + σE with E = (x − αD')/σ if E is not D's own: x +
    /// α(D − D').
    fn linear(state: f64, data: f64, own: Option<f64>) -> Self {
        let moved = own.map_or(0.0, |alpha| state * alpha);
        Self {
            state,
            data: data + moved,
            other: -moved,
        }
    }

    /// The new state of an update, without history and noise. `own` is α at the evaluation where E
    /// is not D's own.
    pub(super) fn update(update: &Update, own: Option<f64>) -> Self {
        Self::linear(update.state, update.data, own)
    }

    /// What is stored; `coefficients` are those of [`Kept::coefficients`].
    pub(super) fn store(store: &Store, coefficients: (f64, f64), own: Option<f64>) -> Self {
        let (state, data) = coefficients;
        match (store.kept, own) {
            (Kept::State, _) => Self::linear(state, data, None),
            (Kept::Noise, Some(_)) => Self {
                state,
                data: 0.0,
                other: data,
            },
            _ => Self::linear(state, data, own),
        }
    }
}
