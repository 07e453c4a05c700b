//! The same for the solvers by their families.

use diffusion_sampler::{
    posterior::Kappa,
    solver::{
        Basis, CfgPlusPlus, CfgPlusPlusSinglestep, Churn, Deis, Dpm2, DpmFast, DpmPlusPlusSde,
        DpmSolver, DpmSolverPlusPlusSinglestep, DpmSolverSinglestep, ErNoise, ErSde, Euler,
        ExponentialAdams, ExponentialRungeKutta, GradientEstimation, GroupedSinglestep, HeavyBall,
        Heun, HeunPlusPlus, Ipndm, LinearMultistep, Pndm, SaSolver, UniPc,
    },
};

use crate::layout::is_stored_as;

#[test]
fn multistep_solvers() {
    const PLAIN: &str = r#"{"guarded": false, "unbounded": false, "lower_order_final": false}"#;
    is_stored_as(
        DpmSolver::sde().as_published().guarded(),
        r#"{"order": 2, "tau": 1.0, "form": "midpoint", "published": true, "warmed_up": false,
            "bounds": {"guarded": true, "unbounded": false, "lower_order_final": false}}"#,
    );
    let adams = ExponentialAdams::noise(3).unwrap().unbounded();
    is_stored_as(
        adams.with_kappa(Kappa::Eta(0.5)),
        r#"{"estimate": "noise", "order": 3, "kappa": {"eta": 0.5}, "warmed_up": false,
            "bounds": {"guarded": false, "unbounded": true, "lower_order_final": false}}"#,
    );
    let corrected = UniPc::order(2).unwrap().with_basis(Basis::Bh1);
    is_stored_as(
        corrected
            .without_corrector_at(vec![0, 3])
            .lower_order_final(),
        r#"{"order": 2, "basis": "bh1", "estimate": "data", "corrected": true, "without": [0, 3],
            "bounds": {"guarded": false, "unbounded": false, "lower_order_final": true}}"#,
    );
    let stored = |tau: &str, within: &str, options: &str| {
        format!(
            r#"{{"predictor": 3, "corrector": 4, "tau": {tau}, "within": {within}, {options},
                "bounds": {PLAIN}}}"#
        )
    };
    let solver = || SaSolver::new(3, 4, 0.5).unwrap();
    let plain = r#""estimate": "data", "simple": false, "evaluates_twice": false,
        "before_clean_end": false"#;
    is_stored_as(solver(), &stored("0.5", r#""all""#, plain));
    is_stored_as(
        solver().within_rho(0.25, f64::INFINITY).unwrap(),
        &stored("0.5", r#"{"end_rho": [0.25, "inf"]}"#, plain),
    );
    let simple = solver().simple().evaluating_twice().in_noise();
    let simple = simple.lower_order_before_clean_end();
    is_stored_as(
        solver().ending_within(0.25, 0.75).unwrap(),
        &stored("0.5", r#"{"end": [0.25, 0.75]}"#, plain),
    );
    is_stored_as(
        solver().starting_within(0.0, 0.5).unwrap(),
        &stored("0.5", r#"{"start": [0.0, 0.5]}"#, plain),
    );
    is_stored_as(
        simple.within_model_time(200.0, 800.0).unwrap(),
        &stored(
            "0.5",
            r#"{"start_time": [200.0, 800.0]}"#,
            r#""estimate": "noise", "simple": true, "evaluates_twice": true,
            "before_clean_end": true"#,
        ),
    );
    is_stored_as(
        CfgPlusPlus::multistep(),
        &format!(r#"{{"rule": "multistep", "kappa": "ddim", "bounds": {PLAIN}}}"#),
    );
    is_stored_as(
        CfgPlusPlus::res().with_kappa(Kappa::Ddpm),
        &format!(r#"{{"rule": "res", "kappa": "ddpm", "bounds": {PLAIN}}}"#),
    );
    for (noise, text) in [
        (ErNoise::Ode, r#""ode""#),
        (ErNoise::Sde, r#""sde""#),
        (ErNoise::Power(2.5), r#"{"power": 2.5}"#),
        (ErNoise::Reciprocal, r#""reciprocal""#),
        (ErNoise::Logarithmic, r#""logarithmic""#),
        (ErNoise::Exponential, r#""exponential""#),
    ] {
        is_stored_as(noise, text);
        let solver = ErSde::order(3).unwrap().with_s_noise(0.5).unwrap();
        is_stored_as(
            solver.with_noise(noise).unwrap().as_published(),
            &format!(r#"{{"order": 3, "noise": {text}, "s_noise": 0.5, "published": true}}"#),
        );
    }
}

#[test]
fn solvers_that_weigh_slopes() {
    is_stored_as(Deis::tab(3).unwrap(), r#"{"order": 3, "flow_time": false}"#);
    is_stored_as(
        LinearMultistep::order(4).unwrap().extrapolated_end(),
        r#"{"order": 4, "flow_time": false, "extrapolated_end": true}"#,
    );
    let solver = Ipndm::order(4).unwrap();
    for (solver, steps) in [
        (solver, "even"),
        (solver.variable_steps(), "variable"),
        (
            solver.variable_steps_as_published(),
            "variable_as_published",
        ),
    ] {
        let text = format!(
            r#"{{"order": 4, "steps": "{steps}", "flow_time": true, "extrapolated_end": false}}"#
        );
        is_stored_as(solver.in_flow_time(), &text);
    }
    is_stored_as(
        Pndm::new(),
        r#"{"runge_kutta_steps": 3, "extrapolated_end": false}"#,
    );
    is_stored_as(
        Pndm::plms().extrapolated_end(),
        r#"{"runge_kutta_steps": 0, "extrapolated_end": true}"#,
    );
    is_stored_as(
        GradientEstimation::new().in_flow_time(),
        r#"{"gamma": 2.0, "flow_time": true}"#,
    );
    is_stored_as(
        HeavyBall::order(2).unwrap().generalised(),
        r#"{"order": 2, "beta": 0.8, "generalised": true}"#,
    );
}

#[test]
fn single_step_solvers() {
    let churn = Churn::new(40.0).unwrap();
    let stored = r#"{"amount": 40.0, "least": 0.0, "most": "inf", "noise": 1.0}"#;
    is_stored_as(churn, stored);
    is_stored_as(
        Heun::in_flow_time(),
        r#"{"heun_with": {"flow_time": true, "churn": null}}"#,
    );
    let with = format!(r#"{{"heun_with": {{"flow_time": false, "churn": {stored}}}}}"#);
    is_stored_as(Heun::stochastic(churn), &with);
    is_stored_as(Euler::new(), r#"{"churn": null}"#);
    is_stored_as(
        HeunPlusPlus::in_flow_time().with_churn(churn),
        &format!(r#"{{"flow_time": true, "churn": {stored}}}"#),
    );
    is_stored_as(
        Dpm2::new().with_kappa(Kappa::Eta(0.5)),
        r#"{"flow_time": false, "kappa": {"eta": 0.5}, "churn": null}"#,
    );
    is_stored_as(
        DpmSolverSinglestep::order(3).unwrap(),
        r#"{"order": 3, "kappa": "ddim"}"#,
    );
    is_stored_as(
        DpmFast::evaluations(20).unwrap(),
        r#"{"evaluations": 20, "kappa": "ddim"}"#,
    );
    is_stored_as(
        DpmFast::new().with_kappa(Kappa::Ddpm),
        r#"{"evaluations": null, "kappa": "ddpm"}"#,
    );
    is_stored_as(
        GroupedSinglestep::order(3).unwrap().in_noise_form(),
        r#"{"order": 3, "form": "midpoint", "noise": true, "lower_order_final": false}"#,
    );
    is_stored_as(
        DpmPlusPlusSde::new().with_node(0.25).unwrap(),
        r#"{"node": 0.25, "eta": 1.0, "noise_scale": 1.0}"#,
    );
    is_stored_as(
        CfgPlusPlusSinglestep::new(Kappa::Ancestral(1.0)),
        r#"{"kappa": {"ancestral": 1.0}, "noise_scale": 1.0}"#,
    );
    is_stored_as(
        DpmSolverPlusPlusSinglestep::order(2).unwrap(),
        r#"{"order": 2, "nodes": [0.5], "kappa": "ddim", "noise_scale": 1.0}"#,
    );
    is_stored_as(
        ExponentialRungeKutta::res(3).unwrap(),
        r#"{"order": 3, "nodes": [0.5, 1.0], "form": "exact", "tau": 0.0, "noise_scale": 1.0}"#,
    );
    is_stored_as(
        ExponentialRungeKutta::seeds(2).unwrap(),
        r#"{"order": 2, "nodes": [0.5], "form": "midpoint", "tau": 1.0, "noise_scale": 1.0}"#,
    );
}
