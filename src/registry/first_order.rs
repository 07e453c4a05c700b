//! First-order samplers: DDIM, DDPM and their relatives.

use super::entry::{Entry, Library, Names, entry};
use crate::posterior::{Kappa, ReverseVariance};
use crate::solver::{DdimInversion, FirstOrder};

pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "DDIM", FirstOrder::ddim(), "Song, Meng and Ermon 2021";
        ComfyUi["euler", "ddim"],
        Automatic1111["Euler", "DDIM"],
        Diffusers["DDIMScheduler", "CogVideoXDDIMScheduler"]
            "It steps to t − ⌊T/K⌋, whatever its next time is; here to the next knot.",
        Diffusers["EulerDiscreteScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"],
        Diffusers["MiniMaxH3Scheduler"]
            "Its number of steps counts the clean knot too: one step less.",
        StableDiffusionCpp["euler", "ddim_trailing"],
        KDiffusion["sample_euler"],
        Candle["DDIMScheduler"]
            "It ends at index 0, above the clean level; \"trailing\" has more steps than requested, \
             unless their number divides T.",
        Candle["FlowMatchEulerDiscreteScheduler"]
            "It tells the network unshifted times, or shifts nothing.",
        Candle["euler_sample"],
        Elsewhere["DPM-Solver-1", "DPM-Solver++(1)", "Flow Euler"],
    ),
    entry!(
        "DDIM CFG++", FirstOrder::ddim(), "Chung et al. 2024";
        ComfyUi["euler_cfg_pp"],
        Automatic1111["DDIM CFG++"],
        StableDiffusionCpp["euler_cfg_pp"]
            "It leaves out α: wrong on flows.",
        Elsewhere["Euler CFG++"],
    )
    .under_plus_plus(),
    entry!(
        "Euler a", FirstOrder::ancestral(), "Song, Meng and Ermon 2021; ComfyUI on flows";
        ComfyUi["euler_ancestral"],
        Automatic1111["Euler a"],
        Diffusers["EulerAncestralDiscreteScheduler", "LTXEulerAncestralRFScheduler"],
        StableDiffusionCpp["euler_a"],
        KDiffusion["sample_euler_ancestral"],
        Candle["EulerAncestralDiscreteScheduler"],
        Elsewhere["Euler ancestral"],
    ),
    entry!(
        "Euler a CFG++", FirstOrder::new(Kappa::CappedEta(1.0)), "Chung et al. 2024";
        ComfyUi["euler_ancestral_cfg_pp"],
        StableDiffusionCpp["euler_a_cfg_pp"]
            "It leaves out α: wrong on flows.",
        Elsewhere["Euler ancestral CFG++"],
    )
    .under_plus_plus(),
    entry!(
        "DDPM", FirstOrder::ddpm(), "Ho, Jain and Abbeel 2020";
        ComfyUi["ddpm"]
            "It takes σ for σ/α: wrong on flows.",
        Automatic1111["DDPM"],
        Diffusers["DDPMScheduler", "DDPMScheduler fixed_small", "DDPMScheduler fixed_small_log"],
        Diffusers["DDPMWuerstchenScheduler"]
            "A cosine schedule is part of it; here the schedule is given.",
        Candle["DDPMScheduler"],
        Candle["DDPMWScheduler"]
            "A cosine schedule is part of it; here the schedule is given.",
    ),
    entry!(
        "DDPM, fixed large",
        FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge),
        "Ho, Jain and Abbeel 2020, section 3.2";
        Diffusers["DDPMScheduler fixed_large"],
    ),
    entry!(
        "DDIM inversion", DdimInversion::new(), "Song, Meng and Ermon 2021, section 4.3";
        Diffusers["DDIMInverseScheduler"]
            "It tells the model the time at which the step ends; here the one at which it starts.",
    ),
];
