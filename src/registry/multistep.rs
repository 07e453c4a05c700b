//! Multistep samplers: one evaluation a step, and what earlier steps have left.

use super::entry::{Entry, Library, Names, entry};
use crate::solver::{DpmSolverPlusPlus, SecondOrderForm};

pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "DPM++ 2M", DpmSolverPlusPlus::new(), "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_2m"],
        Automatic1111["DPM++ 2M"]
            "Its automatic spacing is Karras; here the caller chooses.",
        Diffusers["DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler dpmsolver++"],
        Diffusers["EDMDPMSolverMultistepScheduler"],
        StableDiffusionCpp["dpm++2m"],
        KDiffusion["sample_dpmpp_2m"],
        Elsewhere["DPM-Solver++", "DPM-Solver++(2M)"],
    ),
    entry!(
        "DPM++ 2M, exact", DpmSolverPlusPlus::new().with_form(SecondOrderForm::Exact),
        "Lu et al. 2022, DPM-Solver++";
        Diffusers["DPMSolverMultistepScheduler heun"],
    ),
    entry!(
        "DPM++ 2M SDE", DpmSolverPlusPlus::sde(), "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_2m_sde", "dpmpp_2m_sde_gpu"],
        Automatic1111["DPM++ 2M SDE"]
            "Its automatic spacing is exponential; here the caller chooses.",
        Diffusers["DPMSolverMultistepScheduler sde-dpmsolver++"],
        Diffusers["CogVideoXDPMScheduler"],
        Diffusers["CosineDPMSolverMultistepScheduler"]
            "It has a grid of its own, exponential from 500 to 0.3.",
        StableDiffusionCpp["dpm++2m_sde"],
        StableDiffusionCpp["dpm++2m_sde_bt"]
            "Its noise is a Brownian path: give the run one.",
        KDiffusion["sample_dpmpp_2m_sde"]
            "Its noise is a Brownian path: give the run one.",
    ),
    entry!(
        "DPM++ 2M SDE Heun", DpmSolverPlusPlus::sde().with_form(SecondOrderForm::Exact),
        "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"],
        Automatic1111["DPM++ 2M SDE Heun"],
        Diffusers["DPMSolverMultistepScheduler sde-dpmsolver++ heun"],
    ),
];
