//! Single-step samplers: several evaluations a step, and no memory.

use super::entry::{Entry, Library, Names, entry};
use super::on_flows::OnFlows;
use crate::posterior::Kappa;
use crate::solver::{
    CfgPlusPlusSinglestep, Churn, Dpm2, DpmFast, DpmPlusPlusSde, DpmSolverPlusPlusSinglestep,
    DpmSolverSinglestep, ExponentialRungeKutta, GroupedSinglestep, Heun, HeunPlusPlus,
};

pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "Heun", Heun::new(), on flows Heun::in_flow_time(), "Karras et al. 2022, Algorithm 1";
        ComfyUi["heun"],
        Automatic1111["Heun"],
        Diffusers["HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"],
        StableDiffusionCpp["heun"],
        KDiffusion["sample_heun"],
    ),
    entry!(
        "Stochastic Heun",
        Heun::stochastic(Churn::new(80.0)?.between(0.05, 50.0)?.with_noise(1.007)?),
        "Karras et al. 2022, Algorithm 2";
        Diffusers["KarrasVeScheduler"]
            "A grid is part of it, whose σ are squares.",
    ),
    entry!(
        "Heun++", HeunPlusPlus::new(), on flows HeunPlusPlus::in_flow_time(),
        "Carzit 2023, sd-webui-samplers-scheduler";
        ComfyUi["heunpp2"],
        Automatic1111["HeunPP2"],
    ),
    entry!(
        "DPM2", Dpm2::new(), on flows Dpm2::in_flow_time(), "Lu et al. 2022, DPM-Solver";
        ComfyUi["dpm_2"]
            "It leaves out the knot before the clean end, of one more.",
        Automatic1111["DPM2"]
            "As ComfyUI's. Its automatic spacing is Karras.",
        Diffusers["KDPM2DiscreteScheduler"],
        StableDiffusionCpp["dpm2"],
        KDiffusion["sample_dpm_2"],
    ),
    entry!(
        "DPM2 a", Dpm2::new().with_kappa(Kappa::Ancestral(1.0)),
        on flows Dpm2::in_flow_time().with_kappa(Kappa::Ancestral(1.0)),
        "Crowson 2022, k-diffusion";
        ComfyUi["dpm_2_ancestral"]
            "It leaves out the knot before the clean end, of one more.",
        Automatic1111["DPM2 a"]
            "As ComfyUI's. Its automatic spacing is Karras.",
        Diffusers["KDPM2AncestralDiscreteScheduler"],
        KDiffusion["sample_dpm_2_ancestral"],
        Elsewhere["DPM2 ancestral"],
    ),
    entry!(
        "DPM-Solver-2", DpmSolverSinglestep::order(2)?, "Lu et al. 2022, DPM-Solver, Algorithm 1";
        Elsewhere["DPM-Solver 2S"],
    ),
    entry!(
        "DPM-Solver-3", DpmSolverSinglestep::order(3)?, "Lu et al. 2022, DPM-Solver, Algorithm 2";
        Elsewhere["DPM-Solver 3S"],
    ),
    entry!(
        "DPM fast", DpmFast::new(), "Lu et al. 2022, DPM-Solver";
        ComfyUi["dpm_fast"]
            "Its number of steps is that of evaluations: DpmFast::evaluations.",
        Automatic1111["DPM fast"]
            "Its number of steps is that of evaluations: DpmFast::evaluations.",
        KDiffusion["sample_dpm_fast"]
            "It takes n evaluations and ends above the clean level: DpmFast::evaluations.",
    ),
    entry!(
        "DPM++ 2S", DpmSolverPlusPlusSinglestep::order(2)?, "Lu et al. 2022, DPM-Solver++";
        Elsewhere["DPM-Solver++(2S)", "dpmpp_2s"],
    ),
    entry!(
        "DPM++ 3S", DpmSolverPlusPlusSinglestep::order(3)?, "Lu et al. 2022, DPM-Solver++";
        Elsewhere["DPM-Solver++(3S)", "dpmpp_3s"],
    ),
    entry!(
        "DPM++ 2S a", DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Ancestral(1.0)),
        "Crowson 2022, k-diffusion";
        ComfyUi["dpmpp_2s_ancestral"],
        Automatic1111["DPM++ 2S a", "DPM++ 2s a RF"]
            "Its automatic spacing is Karras; here the caller chooses.",
        StableDiffusionCpp["dpm++2s_a"],
        KDiffusion["sample_dpmpp_2s_ancestral"],
        Elsewhere["DPM++ 2S ancestral"],
    ),
    entry!(
        "DPM++ 2S a CFG++",
        CfgPlusPlusSinglestep::new(Kappa::Ancestral(1.0)),
        "Chung et al. 2024; ComfyUI";
        ComfyUi["dpmpp_2s_ancestral_cfg_pp"],
    )
    .under_plus_plus(),
    entry!(
        "DPM++ 2S, grouped", GroupedSinglestep::order(2)?, "Lu et al. 2022, DPM-Solver++";
        Diffusers["DPMSolverSinglestepScheduler", "DPMSolverSinglestepScheduler dpmsolver++"],
    ),
    entry!(
        "DPM-Solver-2, grouped", GroupedSinglestep::order(2)?.in_noise_form(),
        "Lu et al. 2022, DPM-Solver";
        Diffusers["DPMSolverSinglestepScheduler dpmsolver"],
    ),
    entry!(
        "DPM++ SDE", DpmPlusPlusSde::new(), "Crowson 2022, k-diffusion";
        ComfyUi["dpmpp_sde", "dpmpp_sde_gpu"]
            "Its noise is a Brownian path: give the run one.",
        Automatic1111["DPM++ SDE"]
            "As ComfyUI's. Its automatic spacing is Karras; here the caller chooses.",
        Diffusers["DPMSolverSDEScheduler"]
            "As ComfyUI's.",
        KDiffusion["sample_dpmpp_sde"]
            "As ComfyUI's.",
    ),
    entry!(
        "SEEDS-2", ExponentialRungeKutta::seeds(2)?, "Gonzalez et al. 2023";
        ComfyUi["seeds_2"],
    ),
    entry!(
        "SEEDS-3", ExponentialRungeKutta::seeds(3)?, "Gonzalez et al. 2023";
        ComfyUi["seeds_3"],
    ),
    entry!(
        "Exponential Heun", ExponentialRungeKutta::heun(), "Hochbruck and Ostermann 2005";
        ComfyUi["exp_heun_2_x0"],
    ),
    entry!(
        "Exponential Heun SDE", ExponentialRungeKutta::heun().with_tau(1.0)?,
        "Gonzalez et al. 2023";
        ComfyUi["exp_heun_2_x0_sde"],
    ),
    entry!(
        "RES 2S", ExponentialRungeKutta::res(2)?, "Zhang et al. 2023";
        StableDiffusionCpp["res_2s"]
            "It takes ln σ for −λ, another variable on flows.",
    ),
    entry!(
        "RES 3S", ExponentialRungeKutta::res(3)?, "Zhang et al. 2023";
        Elsewhere["res_3s"],
    ),
];
