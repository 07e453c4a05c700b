//! Names that are known, and of nothing that is a solver here.

use crate::error::Error;

/// Names of something that is not a solver here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The names, in any spelling.
    pub names: &'static [&'static str],
    /// What comes closest: the name of a sampler, or of something else in this crate.
    pub closest: &'static str,
    /// Why it is not a solver.
    pub reason: &'static str,
}

impl Refused {
    /// The error of one of the names, as it was asked for.
    pub(super) fn error(&self, name: &str) -> Error {
        Error::NotASampler {
            name: name.to_owned(),
            closest: self.closest,
            reason: self.reason,
        }
    }
}

/// The names that [`sampler`](super::sampler) refuses.
pub fn refused() -> impl Iterator<Item = &'static Refused> {
    REFUSED.iter()
}

/// A spacing's name without a sampler's.
pub(super) const SPACING: Refused = Refused {
    names: &[],
    closest: "Spacing::named",
    reason: "it is the name of a spacing: ask Spacing::named for it, or put a sampler's name before it",
};

const REFUSED: &[Refused] = &[
    Refused {
        names: &["dpm_adaptive", "DPM adaptive", "k_dpm_ad"],
        closest: "DPM-Solver-3",
        reason: "its steps depend on the model's answers, so that there is no plan: \
                 run::AdaptiveDpm takes them",
    },
    Refused {
        names: &["DPMSolverSinglestepScheduler sde-dpmsolver++"],
        closest: "DPM++ SDE",
        reason: "it adds the noise of a whole group and keeps the estimates from before it",
    },
    Refused {
        names: &["dpm++2mv2", "modified DPM++ (2M)", "DPM++ 2M v2"],
        closest: "DPM++ 2M",
        reason: "it weighs D by the mean size of two steps, so that not even a constant D is \
                 reproduced where step sizes differ",
    },
    Refused {
        names: &["DDIMParallelScheduler"],
        closest: "DDIM",
        reason: "it iterates over all steps at once, which is no plan; a single step is DDIM's",
    },
    Refused {
        names: &["DDPMParallelScheduler"],
        closest: "DDPM",
        reason: "it iterates over all steps at once, which is no plan; a single step is DDPM's",
    },
    Refused {
        names: &["DDPMScheduler learned"],
        closest: "DDPM",
        reason: "the model returns a variance beside its estimate, in no range, which no run reads",
    },
    Refused {
        names: &["DDPMScheduler learned_range", "UnCLIPScheduler"],
        closest: "DDPM",
        reason: "the model returns a variance beside its estimate: a plan of DDPM's with the noise noise::LearnedNoise reads it",
    },
    Refused {
        names: &["DDPMScheduler fixed_large_log"],
        closest: "DDPMScheduler fixed_large",
        reason: "it takes the square root of a logarithm, which is not a number",
    },
    Refused {
        names: &["ScoreSdeVeScheduler", "ScoreSdeVpScheduler"],
        closest: "DDPM",
        reason: "it takes Euler-Maruyama steps on the reverse SDE, with Langevin steps between, for \
                 thousands of evaluations; the ancestral sampler is exact where they are not",
    },
    Refused {
        names: &[
            "AmusedScheduler",
            "BlockRefinementScheduler",
            "DiscreteDDIMScheduler",
            "EntropyBoundScheduler",
            "VQDiffusionScheduler",
        ],
        closest: "DDPM",
        reason: "its states are tokens, and noise replaces or masks them",
    },
    Refused {
        names: &["HeliosScheduler"],
        closest: "FlowMatchEulerDiscreteScheduler",
        reason: "its stages have resolutions of their own; each one is a run here",
    },
    Refused {
        names: &["DPMSolverMultistepInverseScheduler"],
        closest: "DDIM inversion",
        reason: "its multistep form run upwards is no inverse of its steps; DDIM's is the first-order one",
    },
    Refused {
        names: &["CMStochasticIterativeScheduler", "SCMScheduler"],
        closest: "LCM",
        reason: "it adds fresh noise at levels of its own, those of the consistency model it was made for",
    },
    Refused {
        names: &["ConsistencyDecoderScheduler"],
        closest: "LCM",
        reason: "it is the two steps of one decoder",
    },
    Refused {
        names: &["HeliosDMDScheduler"],
        closest: "FlowMatchLCMScheduler",
        reason: "its stages have resolutions and noise of their own; each one is a run here",
    },
    Refused {
        names: &["FlowMapEulerDiscreteScheduler"],
        closest: "FlowMatchEulerDiscreteScheduler",
        reason: "its model must be told the time of the step's end too",
    },
];
