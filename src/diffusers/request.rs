//! What only the caller knows.

use std::collections::BTreeSet;

use super::Defect;
use crate::error::{Error, require_all};
use crate::solver::Churn;

/// What a configuration does not say and only the caller knows: the number of steps, the size of
/// the image, what the pipeline around the network passes to both.
///
/// ```
/// use diffusion_sampler::diffusers::Request;
///
/// // FLUX.1's pipeline: 4096 image tokens, a uniform list of σ, a network that is told σ.
/// let request = Request::steps(28).uniform_sigmas().image_tokens(4096).network_time_from_one();
/// ```
///
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub(super) length: Length,
    pub(super) uniform: bool,
    pub(super) times: Option<Vec<f64>>,
    pub(super) image_tokens: Option<usize>,
    pub(super) mu: Mu,
    pub(super) strength: Option<f64>,
    pub(super) eta: Option<f64>,
    pub(super) churn: Option<Churn>,
    pub(super) reversed: bool,
    pub(super) time: NetworkTime,
    pub(super) clipped_noise: bool,
    pub(super) float32: bool,
    pub(super) defects: BTreeSet<Defect>,
}

/// How the knots are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Length {
    Steps(usize),
    Sigmas(Vec<f64>),
    Times(Vec<f64>),
}

/// The most steps of a request: a plan of them takes some 30 MB, and no run is as long.
const MAX_STEPS: usize = 100_000;

/// Where μ of a dynamic shift comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mu {
    /// The file's own: linear in the number of image tokens.
    Linear,
    Flux2,
    CogView4,
    QwenLayered,
    Given(f64),
}

/// What the network is told of a time of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkTime {
    /// The time as it is listed.
    Listed,
    /// t/T: a flow's σ.
    FromOne,
    /// 1 − t/T.
    ToOne,
}

impl NetworkTime {
    pub(super) fn of(self, listed: f64, table: f64) -> f64 {
        match self {
            Self::Listed => listed,
            Self::FromOne => listed / table,
            Self::ToOne => 1.0 - listed / table,
        }
    }
}

impl Request {
    fn new(length: Length) -> Self {
        Self {
            length,
            uniform: false,
            times: None,
            image_tokens: None,
            mu: Mu::Linear,
            strength: None,
            eta: None,
            churn: None,
            reversed: false,
            time: NetworkTime::Listed,
            clipped_noise: false,
            float32: false,
            defects: BTreeSet::new(),
        }
    }

    /// K steps, on the scheduler's own list of times; at most 100 000.
    #[doc(alias = "num_inference_steps")]
    pub fn steps(steps: usize) -> Self {
        Self::new(Length::Steps(steps))
    }

    /// A list of σ in place of the scheduler's own, falling: one for each step. A last 0 is the end
    /// and counts for no step; the library's Align Your Steps have it. A flow's are given
    /// unshifted, and the configuration's shift is applied. Classes that have no such list there
    /// refuse it.
    #[doc(alias("set_timesteps", "AysSchedules"))]
    pub fn of_sigmas(sigmas: &[f64]) -> Self {
        Self::new(Length::Sigmas(sigmas.to_vec()))
    }

    /// A list of times in place of the scheduler's own, falling: one for each step.
    #[doc(alias = "set_timesteps")]
    pub fn of_times(times: &[f64]) -> Self {
        Self::new(Length::Times(times.to_vec()))
    }

    /// A flow's σ uniform from 1 to 1/K, then the configuration's shift: what most pipelines of
    /// flow models pass. Without it the list is the scheduler's own, from 1 to 1/T.
    #[must_use]
    pub fn uniform_sigmas(self) -> Self {
        Self {
            uniform: true,
            ..self
        }
    }

    /// The times that the network is told, beside a list of σ from which others would follow
    /// (CogView4): one for each step.
    #[must_use]
    pub fn with_times(self, times: &[f64]) -> Self {
        Self {
            times: Some(times.to_vec()),
            ..self
        }
    }

    /// The number of image tokens (the length of the network's sequence), for a shift that depends
    /// on it.
    #[doc(alias = "image_seq_len")]
    #[must_use]
    pub fn image_tokens(self, tokens: usize) -> Self {
        Self {
            image_tokens: Some(tokens),
            ..self
        }
    }

    /// μ of a dynamic shift itself, in place of one that comes from the number of tokens.
    #[must_use]
    pub fn mu(self, mu: f64) -> Self {
        Self {
            mu: Mu::Given(mu),
            ..self
        }
    }

    /// μ from tokens and steps by FLUX.2's formula, in place of the configuration's.
    #[must_use]
    pub fn mu_of_flux2(self) -> Self {
        Self {
            mu: Mu::Flux2,
            ..self
        }
    }

    /// μ = max_shift √(n/base_image_seq_len) + base_shift for n tokens, CogView4's.
    #[must_use]
    pub fn mu_of_cogview4(self) -> Self {
        Self {
            mu: Mu::CogView4,
            ..self
        }
    }

    /// μ = √(n/256) for n tokens, Qwen-Image-Layered's.
    #[must_use]
    pub fn mu_of_qwen_layered(self) -> Self {
        Self {
            mu: Mu::QwenLayered,
            ..self
        }
    }

    /// Image to image: the last ⌊K · strength⌋ steps
    /// ([`Grid::by_strength`](crate::Grid::by_strength)), of a flow-matching scheduler rounded up:
    /// as the pipelines have it. The run must start from the image with the noise of
    /// [`Configured::grid`](super::Configured::grid)`().start()`, by
    /// [`diffuse`](crate::forward::diffuse) and
    /// [`Sampler::start_from`](crate::Sampler::start_from): `sample` would start from noise alone.
    #[must_use]
    pub fn strength(self, strength: f64) -> Self {
        Self {
            strength: Some(strength),
            ..self
        }
    }

    /// η of DDIM's noise, or γ of TCD's (called eta there), and of the ancestral flow scheduler; 0
    /// is deterministic.
    #[must_use]
    pub fn eta(self, eta: f64) -> Self {
        Self {
            eta: Some(eta),
            ..self
        }
    }

    /// EDM's churn, where the scheduler's step takes it (`s_churn`, `s_tmin`, `s_tmax`, `s_noise`).
    #[must_use]
    pub fn churn(self, churn: Churn) -> Self {
        Self {
            churn: Some(churn),
            ..self
        }
    }

    /// The network's output has the other sign than the configuration says: a flow network that
    /// predicts data − noise (Lumina, Z-Image, HiDream, F5-TTS, CosyVoice).
    #[must_use]
    pub fn reversed_output(self) -> Self {
        Self {
            reversed: true,
            ..self
        }
    }

    /// The network is told t/T in place of the listed time t: a flow's σ (FLUX, Qwen-Image,
    /// AuraFlow).
    #[must_use]
    pub fn network_time_from_one(self) -> Self {
        Self {
            time: NetworkTime::FromOne,
            ..self
        }
    }

    /// The network is told 1 − t/T, which is 0 at pure noise and 1 at the data (Lumina, Z-Image).
    #[must_use]
    pub fn network_time_to_one(self) -> Self {
        Self {
            time: NetworkTime::ToOne,
            ..self
        }
    }

    /// DDIM's noise estimate follows from the clipped estimate of x₀; without it, it stays the
    /// network's own.
    #[must_use]
    pub fn use_clipped_model_output(self) -> Self {
        Self {
            clipped_noise: true,
            ..self
        }
    }

    /// A flow's list of σ, and a table of ᾱ, as the library computes them, each operation rounded to
    /// `f32`, in place of `f64`. A flow's list then is the library's to the last bit of an `f32`, and
    /// ρ of a table to one or two; without it they differ by up to ten, and by 2e-5 at the clean end
    /// of a table.
    #[must_use]
    pub fn in_float32(self) -> Self {
        Self {
            float32: true,
            ..self
        }
    }

    /// What must hold whatever the class: a number of steps for which there is memory, lists that
    /// are not empty, and finite entries.
    pub(super) fn check(&self) -> Result<(), Error> {
        let given = match &self.length {
            Length::Steps(_) => None,
            Length::Sigmas(list) => Some(("sigmas", list)),
            Length::Times(list) => Some(("times", list)),
        };
        let told = self.times.as_ref().map(|list| ("times", list));
        for (name, list) in given.into_iter().chain(told) {
            if list.is_empty() {
                return Err(Error::EmptyList { name });
            }
            require_all(name, list, |_, value| value.is_finite(), "finite")?;
        }
        let steps = match (&self.length, given) {
            (Length::Steps(steps), _) => *steps,
            (_, list) => list.map_or(0, |(_, list)| list.len()),
        };
        if (1..=MAX_STEPS).contains(&steps) {
            return Ok(());
        }
        Err(Error::StepCount {
            steps,
            min: 1,
            max: MAX_STEPS,
        })
    }

    /// The optional parts that are given.
    pub(super) fn parts(&self) -> Vec<&'static str> {
        let parts = [
            ("uniform_sigmas", self.uniform),
            ("with_times", self.times.is_some()),
            ("image_tokens", self.image_tokens.is_some()),
            ("mu", self.mu != Mu::Linear),
            ("strength", self.strength.is_some()),
            ("eta", self.eta.is_some()),
            ("churn", self.churn.is_some()),
            ("reversed_output", self.reversed),
            ("network_time", self.time != NetworkTime::Listed),
            ("use_clipped_model_output", self.clipped_noise),
            ("in_float32", self.float32),
        ];
        let given = parts.into_iter().filter(|&(_, given)| given);
        given.map(|(part, _)| part).collect()
    }

    /// With this defect of the library.
    #[must_use]
    pub fn reproducing(mut self, defect: Defect) -> Self {
        self.defects.insert(defect);
        self
    }

    /// With all known defects of the library: its own results, to rounding, but where
    /// [`Report::notes`](super::Report::notes) says otherwise (PNDM with a
    /// [`strength`](Self::strength)).
    #[must_use]
    pub fn as_published(self) -> Self {
        Self {
            defects: Defect::ALL.iter().copied().collect(),
            ..self
        }
    }
}
