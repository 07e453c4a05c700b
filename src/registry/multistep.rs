//! Multistep samplers: one evaluation a step, and what earlier steps have left.

use super::entry::{Entry, Library, Names, entry};
use super::on_flows::OnFlows;
use crate::posterior::Kappa;
use crate::solver::{
    Basis, CfgPlusPlus, Deis, DpmSolver, DpmSolverPlusPlus, ErSde, ExponentialAdams,
    GradientEstimation, Ipndm, LinearMultistep, Pndm, SaSolver, SecondOrderForm, UniPc,
};

pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "DPM++ 2M", DpmSolverPlusPlus::new(), "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_2m"]
            "It takes ln σ for −λ, another variable on flows.",
        Automatic1111["DPM++ 2M"]
            "Its automatic spacing is Karras; here the caller chooses.",
        Diffusers[
            "DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler dpmsolver++",
            "EDMDPMSolverMultistepScheduler",
        ]
            "Where it ends above the clean level, the last of fewer than 15 steps is first order: \
             lower_order_final.",
        StableDiffusionCpp["dpm++2m"]
            "It takes ln σ for −λ, another variable on flows.",
        KDiffusion["sample_dpmpp_2m"],
        Elsewhere["DPM-Solver++", "DPM-Solver++(2M)"],
    ),
    entry!(
        "DPM++ 2M, exact", DpmSolverPlusPlus::new().with_form(SecondOrderForm::Exact),
        "Lu et al. 2022, DPM-Solver++";
        Diffusers["DPMSolverMultistepScheduler heun", "DPMSolverMultistepScheduler dpmsolver++ heun"],
    ),
    entry!(
        "DPM++ 2M SDE", DpmSolverPlusPlus::sde(), "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_2m_sde", "dpmpp_2m_sde_gpu"]
            "Its noise is a Brownian path: give the run one.",
        Automatic1111["DPM++ 2M SDE"]
            "As ComfyUI's. Its automatic spacing is exponential; here the caller chooses.",
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
        ComfyUi["dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"]
            "Its noise is a Brownian path: give the run one.",
        Automatic1111["DPM++ 2M SDE Heun"]
            "As ComfyUI's. Its automatic spacing is exponential; here the caller chooses.",
        Diffusers["DPMSolverMultistepScheduler sde-dpmsolver++ heun"],
    ),
    entry!(
        "DPM++ 3M", DpmSolverPlusPlus::multistep(3)?, "Lu et al. 2022, DPM-Solver++";
        Elsewhere["DPM-Solver++(3M)", "dpmpp_3m"],
    ),
    entry!(
        "DPM++ 3M SDE", DpmSolverPlusPlus::multistep(3)?.with_tau(1.0)?,
        "Lu et al. 2022, DPM-Solver++";
        ComfyUi["dpmpp_3m_sde", "dpmpp_3m_sde_gpu"]
            "Half the weight of its second difference is missing, which makes it second order: \
             as_published. Its noise is a Brownian path: give the run one.",
        Automatic1111["DPM++ 3M SDE"]
            "As ComfyUI's; and it leaves out the knot before the clean end, of one more. Its \
             automatic spacing is exponential.",
        KDiffusion["sample_dpmpp_3m_sde"]
            "As ComfyUI's.",
    ),
    entry!(
        "DPM++ 3M SDE, as published",
        DpmSolverPlusPlus::multistep(3)?.with_tau(1.0)?.as_published(),
        "Lu et al. 2022, DPM-Solver++, their code";
        Elsewhere["dpmpp_3m_sde as published"],
    ),
    entry!(
        "DPM-Solver 2M", DpmSolver::new(), "Lu et al. 2022, DPM-Solver, their code";
        Diffusers["DPMSolverMultistepScheduler dpmsolver"]
            "It cannot step onto the clean end; here that step returns D.",
    ),
    entry!(
        "DPM-Solver 2M SDE", DpmSolver::sde(), "Lu et al. 2022, DPM-Solver, their code";
        Diffusers["DPMSolverMultistepScheduler sde-dpmsolver"]
            "It cannot step onto the clean end; here that step returns D.",
    ),
    entry!(
        "UniPC", UniPc::order(3)?.with_basis(Basis::Bh1).lower_order_final(), "Zhao et al. 2023";
        ComfyUi["uni_pc"]
            "It ends at σ = 0.001 for the clean end, and leaves out the knot before it, of one more.",
        Automatic1111["UniPC"]
            "Its spacing is uniform in time and ends at index 0; here the caller chooses.",
    ),
    entry!(
        "UniPC, bh2", UniPc::order(3)?.with_basis(Basis::Bh2).lower_order_final(),
        "Zhao et al. 2023";
        ComfyUi["uni_pc_bh2"]
            "As uni_pc.",
    ),
    entry!(
        "UniPC 2", UniPc::order(2)?.with_basis(Basis::Bh2).lower_order_final(),
        "Zhao et al. 2023";
        Diffusers["UniPCMultistepScheduler", "UniPCMultistepScheduler bh2"],
    ),
    entry!(
        "UniPC 2, bh1", UniPc::order(2)?.with_basis(Basis::Bh1).lower_order_final(),
        "Zhao et al. 2023";
        Diffusers["UniPCMultistepScheduler bh1"],
        Candle["EdmDpmMultistepScheduler", "UniPCScheduler"]
            "Its predictor gives the history the times of one step before, so that order 2 is first \
             order and order 3 is NaN; it ends at a σ_min, and its σ are its own, not a table's.",
    ),
    entry!(
        "SA-Solver",
        SaSolver::new(3, 4, 1.0)?.ending_within(0.2, 0.8)?.lower_order_before_clean_end(),
        "Xue et al. 2023";
        ComfyUi["sa_solver"],
    ),
    entry!(
        "SA-Solver PECE",
        SaSolver::new(3, 4, 1.0)?.ending_within(0.2, 0.8)?.lower_order_before_clean_end()
            .evaluating_twice(),
        "Xue et al. 2023";
        ComfyUi["sa_solver_pece"],
    ),
    entry!(
        "SA-Solver 2",
        SaSolver::new(2, 2, 1.0)?.starting_within(0.2, 0.8)?.simple().lower_order_final(),
        "Xue et al. 2023";
        Diffusers["SASolverScheduler"]
            "It ends at index 0, above the clean level.",
    ),
    entry!(
        "RES 2M", ExponentialAdams::data(2)?, "Zhang et al. 2023";
        ComfyUi["res_multistep"]
            "It takes ln σ for −λ, another variable on flows.",
        Automatic1111["Res Multistep"],
        StableDiffusionCpp["res_multistep"]
            "It takes ln σ for −λ, another variable on flows.",
    ),
    entry!(
        "RES 2M a", ExponentialAdams::data(2)?.with_kappa(Kappa::CappedEta(1.0)),
        "Zhang et al. 2023; ComfyUI";
        ComfyUi["res_multistep_ancestral"]
            "It takes σ for ρ, which on flows gives other steps and the wrong noise.",
    ),
    entry!(
        "LMS", LinearMultistep::order(4)?, on flows LinearMultistep::order(4)?.in_flow_time(),
        "Adams–Bashforth in ρ; Crowson 2022, k-diffusion";
        ComfyUi["lms"],
        Automatic1111["LMS"]
            "As k-diffusion's.",
        Diffusers["LMSDiscreteScheduler"]
            "It extrapolates onto the clean end: extrapolated_end.",
        StableDiffusionCpp["lms"]
            "By default its history is late by a step, which is first order.",
        KDiffusion["sample_lms"]
            "It extrapolates onto the clean end: extrapolated_end.",
    ),
    entry!(
        "DEIS", Deis::tab(3)?, on flows Deis::tab(3)?.in_flow_time(), "Zhang and Chen 2023, tAB";
        ComfyUi["deis"]
            "Its time is that of a VP schedule from σ 0.002 to 80, whatever the model's; here the \
             model's own.",
        Automatic1111["DEIS"],
    ),
    entry!(
        "DEIS, log-ρ", ExponentialAdams::noise(2)?, "Zhang and Chen 2023, log-ρ";
        Diffusers["DEISMultistepScheduler"]
            "It ends at index 0, above the clean level; the last of fewer than 15 steps is then first \
             order: lower_order_final.",
    ),
    entry!(
        "iPNDM", Ipndm::order(4)?, on flows Ipndm::order(4)?.in_flow_time(), "Zhang and Chen 2023";
        ComfyUi["ipndm"],
        Automatic1111["IPNDM"],
        Diffusers["IPNDMScheduler"]
            "A schedule is part of it; and it extrapolates onto the clean end: extrapolated_end.",
        StableDiffusionCpp["ipndm"]
            "It extrapolates onto the clean end: extrapolated_end.",
    ),
    entry!(
        "iPNDM-v", Ipndm::order(4)?.variable_steps(),
        on flows Ipndm::order(4)?.variable_steps().in_flow_time(), "Zhang and Chen 2023";
        ComfyUi["ipndm_v"]
            "A slip in a fourth-order weight: variable_steps_as_published.",
        Automatic1111["IPNDM_V"]
            "As ComfyUI's.",
        StableDiffusionCpp["ipndm_v"]
            "From the third order on its weights are those of even steps.",
    ),
    entry!(
        "iPNDM-v, as published", Ipndm::order(4)?.variable_steps_as_published(),
        on flows Ipndm::order(4)?.variable_steps_as_published().in_flow_time(),
        "Zhang and Chen 2023; ComfyUI";
        Elsewhere["ipndm_v as published"],
    ),
    entry!(
        "PLMS", Pndm::plms(), "Liu et al. 2022; Stable Diffusion's code";
        Automatic1111["PLMS"],
        Diffusers["PNDMScheduler skip_prk_steps"]
            "It steps to t − ⌊T/K⌋, whatever its next time is; here to the next knot.",
    ),
    entry!(
        "PNDM", Pndm::new(), "Liu et al. 2022";
        Diffusers["PNDMScheduler"]
            "Most checkpoints set skip_prk_steps: PLMS. Steps as there.",
    ),
    entry!(
        "Gradient estimation", GradientEstimation::new(),
        on flows GradientEstimation::new().in_flow_time(), "Permenter and Yuan 2024";
        ComfyUi["gradient_estimation"],
        StableDiffusionCpp["euler_ge"],
    ),
    entry!(
        "Gradient estimation CFG++", GradientEstimation::new(),
        on flows GradientEstimation::new().in_flow_time(), "Permenter and Yuan 2024; ComfyUI";
        ComfyUi["gradient_estimation_cfg_pp"]
            "It leaves out α: wrong on flows.",
    )
    .under_plus_plus(),
    entry!(
        "ER-SDE", ErSde::order(3)?, "Cui et al. 2023";
        ComfyUi["er_sde"]
            "It multiplies a divided difference by the wrong product, which makes it second order: \
             as_published; and its integrals are sums of 200 terms.",
        Automatic1111["ER SDE"]
            "As ComfyUI's.",
        StableDiffusionCpp["er_sde"]
            "As ComfyUI's.",
    ),
    entry!(
        "ER-SDE, as published", ErSde::order(3)?.as_published(), "Cui et al. 2023; ComfyUI";
        Elsewhere["er_sde as published"],
    ),
    entry!(
        "DPM++ 2M CFG++", CfgPlusPlus::multistep(), "Chung et al. 2024; ComfyUI";
        ComfyUi["dpmpp_2m_cfg_pp"]
            "It leaves out α: wrong on flows.",
    )
    .under_plus_plus(),
    entry!(
        "RES 2M CFG++", CfgPlusPlus::res(), "Chung et al. 2024; ComfyUI";
        ComfyUi["res_multistep_cfg_pp"]
            "It leaves out α: wrong on flows.",
    )
    .under_plus_plus(),
    entry!(
        "RES 2M a CFG++", CfgPlusPlus::res().with_kappa(Kappa::CappedEta(1.0)),
        "Chung et al. 2024; ComfyUI";
        ComfyUi["res_multistep_ancestral_cfg_pp"]
            "It leaves out α: wrong on flows.",
    )
    .under_plus_plus(),
];
