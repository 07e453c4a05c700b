//! The scalars of one update, and what it keeps.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::posterior::Transition;

/// The scalars of one update, in place, with D the model's estimate of x₀ at this stage, H_j the
/// history slots and z standard normal noise:
///
/// ```text
/// x' = state·x + data·D + Σ weight_j·H_j + noise·z        H_slot' = what the store names
/// ```
///
/// Right-hand sides take the old values. Which prediction the model makes does not matter here: D
/// is folded into the coefficients of x and of the model's outputs when the plan runs
/// ([`Stage::coefficients`](super::Stage::coefficients)).
///
/// Where the estimate of ε is not (x − αD)/σ (a clip that keeps the model's ε, CFG++), x on the
/// right-hand side stands for αD + σE.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Update {
    /// The coefficient on the state.
    pub state: f64,
    /// The coefficient on D; 0 where the stage has no evaluation.
    pub data: f64,
    /// (slot, weight) of the history slots that enter, each at most once.
    pub history: Vec<(usize, f64)>,
    /// The standard deviation of the noise added.
    pub noise: f64,
    /// What is kept for later stages.
    pub store: Option<Store>,
}

/// A transition with D in the place of x₀: what a first-order solver makes of one.
impl From<Transition> for Update {
    fn from(transition: Transition) -> Self {
        Self {
            state: transition.state,
            data: transition.data,
            noise: transition.noise,
            ..Self::default()
        }
    }
}

impl Update {
    /// The same update with another noise.
    #[must_use]
    pub fn with_noise(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// Whether f64 holds all its scalars.
    pub(crate) fn is_finite(&self) -> bool {
        let scalars = [self.state, self.data, self.noise];
        let history = self.history.iter().map(|term| term.1);
        scalars.into_iter().chain(history).all(f64::is_finite)
    }

    /// The same update, which also keeps something.
    #[must_use]
    pub fn storing(self, store: Store) -> Self {
        Self {
            store: Some(store),
            ..self
        }
    }
}

/// What an update writes to a history slot.
///
/// ```
/// use diffusion_sampler::plan::{Kept, Store};
///
/// assert_eq!(Store::data(0).kept, Kept::Data);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Store {
    /// The slot written.
    pub slot: usize,
    /// What is written to it.
    pub kept: Kept,
}

/// What a history slot can hold of the stage that writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kept {
    /// D, the estimate of x₀, as it enters the update: clipped where the sampler clips.
    Data,
    /// E, the estimate of ε, as it enters the update: the model's own under a clip that keeps it.
    Noise,
    /// The state x before the update.
    State,
    /// state·x + data·D, with x as in the update.
    Linear {
        /// The coefficient on x.
        state: f64,
        /// The coefficient on D.
        data: f64,
    },
}

impl Store {
    /// Keeps D in a slot.
    pub fn data(slot: usize) -> Self {
        Self {
            slot,
            kept: Kept::Data,
        }
    }

    /// Keeps E in a slot.
    pub fn noise(slot: usize) -> Self {
        Self {
            slot,
            kept: Kept::Noise,
        }
    }

    /// Keeps x, before the update, in a slot.
    pub fn state(slot: usize) -> Self {
        Self {
            slot,
            kept: Kept::State,
        }
    }

    /// Keeps state·x + data·D in a slot.
    pub fn linear(slot: usize, state: f64, data: f64) -> Self {
        Self {
            slot,
            kept: Kept::Linear { state, data },
        }
    }
}

impl Kept {
    /// (state, data): what is kept as state·x + data·D where E = (x − αD)/σ, at the level at which
    /// the stage evaluates the model.
    ///
    /// # Errors
    ///
    /// [`Error::DataWithoutEvaluation`] for D or E in a stage without evaluation, and
    /// [`Error::DegenerateEdge`] for E at σ = 0; both name step 0.
    pub fn coefficients(&self, evaluate: Option<&NoiseLevel>) -> Result<(f64, f64), Error> {
        match (*self, evaluate) {
            (Self::State, _) => Ok((1.0, 0.0)),
            (Self::Linear { state, data }, _) => Ok((state, data)),
            (Self::Data, Some(_)) => Ok((0.0, 1.0)),
            (Self::Noise, Some(level)) if level.sigma() > 0.0 => {
                Ok((1.0 / level.sigma(), -level.alpha() / level.sigma()))
            }
            (Self::Noise, Some(level)) => Err(Error::DegenerateEdge {
                from: level.time(),
                to: level.time(),
                requirement: "have sigma > 0 where its noise estimate is kept",
            }),
            (Self::Data | Self::Noise, None) => {
                Err(Error::DataWithoutEvaluation { step: 0, stage: 0 })
            }
        }
    }
}
