//! What a client asks for.

use diffusion_sampler::grid::Spacing;
use diffusion_sampler::guidance::{
    ClassifierFree, Guidance, OnInterval, PlusPlus, Projected, Rescaled, Unguided,
};
use diffusion_sampler::schedule::NoiseSchedule;
use diffusion_sampler::{Clip, Error, Sampler, registry};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Some samples of one class. It is plain data, and all that decides what the samples are, but for
/// the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The client's name for it; no two requests that run may share one.
    pub id: u64,
    /// What to make.
    pub class: usize,
    /// How many.
    pub samples: usize,
    /// The seed of all noise.
    pub seed: u64,
    /// A name of the [registry], with a spacing or without (then trailing): "DPM++ 2M Karras".
    pub sampler: String,
    /// The number of steps.
    pub steps: usize,
    /// How the outputs with and without the class combine.
    pub guide: Guide,
    /// How the estimate of x₀ is clipped.
    pub clip: Option<Clip>,
    /// Whether progress shows the estimate of x₀.
    pub previews: bool,
}

/// A form of guidance as plain data. Scales are the usual ones: 1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Guide {
    /// The model with the class; its rows without one are not computed.
    None,
    /// Classifier-free guidance.
    Free {
        /// The scale.
        scale: f64,
    },
    /// The same for σ/α in (low, high] only; elsewhere one row is computed.
    Interval {
        /// The scale.
        scale: f64,
        /// The least σ/α, exclusive.
        low: f64,
        /// The largest σ/α.
        high: f64,
    },
    /// Classifier-free guidance whose result is brought back to the spread of the first output.
    Rescaled {
        /// The scale.
        scale: f64,
        /// How far, from 0 to 1.
        phi: f64,
    },
    /// Adaptive projected guidance, which has a memory.
    Projected {
        /// The scale.
        scale: f64,
        /// The factor on the memory.
        momentum: f64,
    },
    /// CFG++, for the samplers that are made for it (their names say so), and for no others.
    PlusPlus {
        /// λ.
        lambda: f64,
    },
}

impl Guide {
    /// The form.
    ///
    /// # Errors
    ///
    /// What the form refuses.
    pub fn form(&self) -> Result<Box<dyn Guidance>, Error> {
        let free = ClassifierFree::with_scale;
        Ok(match *self {
            Self::None => Box::new(Unguided),
            Self::Free { scale } => Box::new(free(scale)?),
            Self::Interval { scale, low, high } => {
                Box::new(OnInterval::new(free(scale)?, low, high)?)
            }
            Self::Rescaled { scale, phi } => Box::new(Rescaled::new(free(scale)?, phi)?),
            Self::Projected { scale, momentum } => {
                Box::new(Projected::with_scale(scale)?.with_momentum(momentum)?)
            }
            Self::PlusPlus { lambda } => Box::new(PlusPlus::new(lambda)?),
        })
    }
}

impl Request {
    /// One sample with the id as its seed, without guidance, clip and previews. What else is wanted
    /// goes in front of it: `Request { samples: 4, ..Request::new(1, 7, "DDIM", 20) }`.
    pub fn new(id: u64, class: usize, sampler: impl Into<String>, steps: usize) -> Self {
        Self {
            id,
            class,
            samples: 1,
            seed: id,
            sampler: sampler.into(),
            steps,
            guide: Guide::None,
            clip: None,
            previews: false,
        }
    }

    /// Its guidance. A name of CFG++ without its guide would be another sampler than it says, and
    /// so would one of another method with it.
    ///
    /// # Errors
    ///
    /// [`Failure::NeedsPlusPlus`], [`Failure::NotForPlusPlus`]; [`Failure::Refused`] for what the
    /// [registry] says of the name, and what the form refuses.
    pub fn guidance(&self) -> Result<Box<dyn Guidance>, Failure> {
        let named = registry::sampler(&self.sampler).map_err(Failure::Refused)?;
        let guide = matches!(self.guide, Guide::PlusPlus { .. });
        let sampler = || self.sampler.clone();
        match (named.entry.plus_plus, guide) {
            (true, false) => Err(Failure::NeedsPlusPlus { sampler: sampler() }),
            (false, true) => Err(Failure::NotForPlusPlus { sampler: sampler() }),
            _ => self.guide.form().map_err(Failure::Refused),
        }
    }

    /// Its sampler on a schedule.
    ///
    /// # Errors
    ///
    /// What the [registry] says of the name; what the spacing and the solver refuse.
    pub fn sampler(&self, schedule: &dyn NoiseSchedule) -> Result<Sampler, Error> {
        let named = registry::sampler(&self.sampler)?;
        let named = match named.spacing {
            Some(_) => named,
            None => named.with_spacing(Spacing::Trailing),
        };
        let sampler = named.sampler(schedule, self.steps)?;
        Ok(match self.clip {
            Some(clip) => sampler.with_clip(clip),
            None => sampler,
        })
    }
}
