//! What a run is by default: without a defect of the library, and with the class's own defaults.

use diffusion_sampler::clip::Clip;
use diffusion_sampler::diffusers::{Configured, Defect, Request};
use diffusion_sampler::posterior::Kappa;
use diffusion_sampler::solver::{
    DdimInversion, DpmSolverPlusPlus, FirstOrder, Ipndm, Path, RePaint, Solver,
};

use super::multistep_common::{Fields, in_steps, read};

const DDIM: &str = "DDIMScheduler";
const DDPM: &str = "DDPMScheduler";
const FLOW: &str = "FlowMatchEulerDiscreteScheduler";

/// The defects that concern a run.
fn concerned(configured: &Configured) -> Vec<Defect> {
    let defects = configured.report().defects.iter();
    defects.map(|(defect, _)| *defect).collect()
}

/// Whether the plan is this solver's on the run's own knots.
fn is_planned_by(configured: &Configured, solver: &dyn Solver) -> bool {
    let plan = solver.plan(&Path::without_schedule(configured.grid()));
    plan.as_ref() == Ok(configured.sampler().plan())
}

#[test]
fn ddim_leads_from_each_time_to_the_next() {
    let trailing: Fields<'_> = &[("timestep_spacing", "trailing".into())];
    for class in [DDIM, "CogVideoXDDIMScheduler"] {
        let ours = in_steps(class, trailing, 30);
        assert_eq!(concerned(&ours), [Defect::StepsPastTheNextTime], "{class}");
        assert!(is_planned_by(&ours, &FirstOrder::ddim()), "{class}");
        let theirs = read(class, trailing, &Request::steps(30).as_published());
        assert!(!is_planned_by(&theirs, &FirstOrder::ddim()), "{class}");
    }
}

#[test]
fn inversion_and_ipndm_are_the_solvers_of_these_names() {
    let inverse = in_steps("DDIMInverseScheduler", &[], 6);
    assert_eq!(concerned(&inverse), [Defect::TimeOfTheTarget]);
    assert!(is_planned_by(&inverse, &DdimInversion::new()));
    let ipndm = in_steps("IPNDMScheduler", &[], 6);
    assert_eq!(concerned(&ipndm), [Defect::IpndmAsWritten]);
    assert!(is_planned_by(&ipndm, &Ipndm::order(4).expect("an order")));
}

#[test]
fn repaint_jumps_back_ten_steps_nine_times_without_noise() {
    let configured = in_steps("RePaintScheduler", &[], 20);
    let solver = |eta| {
        let inner = FirstOrder::new(Kappa::Eta(eta));
        RePaint::new(inner, 10, 10).expect("jumps")
    };
    assert!(is_planned_by(&configured, &solver(0.0)));
    let noisy = in_steps("RePaintScheduler", &[("eta", 1.0.into())], 20);
    assert!(is_planned_by(&noisy, &solver(1.0)));
}

#[test]
fn ddpms_last_step_onto_the_clean_end_adds_no_noise() {
    let last = |fields: Fields<'_>, request: Request| {
        let configured = read(DDPM, fields, &request);
        assert_eq!(concerned(&configured), [Defect::NoiseOnTheCleanEnd]);
        let steps = configured.sampler().plan().steps().to_vec();
        steps
            .last()
            .and_then(|step| step.stages.last())
            .expect("a stage")
            .update
            .noise
    };
    let small: Fields<'_> = &[("steps_offset", 1.into())];
    assert_eq!(last(small, Request::steps(10)), 0.0);
    // The library's least variance, 1e-20.
    assert!((last(small, Request::steps(10).as_published()) - 1e-10).abs() < 1e-24);
    let large: Fields<'_> = &[
        ("steps_offset", 1.into()),
        ("variance_type", "fixed_large".into()),
    ];
    assert_eq!(last(large, Request::steps(10)), 0.0);
    // 1 − ᾱ of index 1.
    let beta = |i: f64| {
        let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
        (first + (last - first) * i / 999.0).powi(2)
    };
    let variance = 1.0 - (1.0 - beta(0.0)) * (1.0 - beta(1.0));
    let noise = last(large, Request::steps(10).as_published());
    assert!((noise - variance.sqrt()).abs() < 1e-14);
}

#[test]
fn cogvideox_does_not_look_back_over_a_short_step() {
    let class = "CogVideoXDPMScheduler";
    let request = Request::of_times(&[999.0, 500.0, 499.0, 100.0]);
    let ours = read(class, &[], &request);
    assert_eq!(concerned(&ours), [Defect::ExtrapolatesFreely]);
    assert!(is_planned_by(&ours, &DpmSolverPlusPlus::sde()));
    let theirs = read(class, &[], &request.as_published());
    assert!(is_planned_by(
        &theirs,
        &DpmSolverPlusPlus::sde().unbounded()
    ));
}

#[test]
fn a_flows_own_list_is_shifted_once() {
    let last = |configured: &Configured| {
        let sigmas = configured.sigmas();
        sigmas[sigmas.len() - 2]
    };
    let shift: Fields<'_> = &[("shift", 3.0.into())];
    let ours = in_steps(FLOW, shift, 28);
    assert_eq!(concerned(&ours), [Defect::ShiftedTwice]);
    assert!((last(&ours) - 3.0 / 1002.0).abs() < 1e-15);
    let theirs = read(FLOW, shift, &Request::steps(28).as_published());
    assert!((last(&theirs) - 9.0 / 1008.0).abs() < 1e-15);
    assert_eq!(concerned(&in_steps(FLOW, shift, 1)), []);
    assert_eq!(concerned(&in_steps(FLOW, &[], 28)), []);
}

#[test]
fn a_defect_of_a_step_that_strength_leaves_out_is_not_reported() {
    let unipc: Fields<'_> = &[
        ("use_flow_sigmas", true.into()),
        ("prediction_type", "flow_prediction".into()),
    ];
    let zero: Fields<'_> = &[
        ("rescale_betas_zero_snr", true.into()),
        ("prediction_type", "v_prediction".into()),
        ("timestep_spacing", "trailing".into()),
    ];
    let third: Fields<'_> = &[("solver_order", 3.into())];
    for (class, fields, defect) in [
        ("UniPCMultistepScheduler", unipc, Defect::StartsBelowOne),
        (
            "DPMSolverMultistepScheduler",
            zero,
            Defect::NearlyZeroTerminalSnr,
        ),
        (
            "UniPCMultistepScheduler",
            zero,
            Defect::NearlyZeroTerminalSnr,
        ),
        ("DPMSolverMultistepScheduler", third, Defect::HalfThirdOrder),
    ] {
        let whole = read(class, fields, &Request::steps(20));
        assert_eq!(concerned(&whole), [defect], "{class}");
        let part = read(class, fields, &Request::steps(20).strength(0.1));
        assert_eq!(part.grid().steps(), 2);
        assert_eq!(concerned(&part), [], "{class}");
    }
}

#[test]
fn strength_keeps_whole_steps_rounded_down_and_of_flows_up() {
    for (class, steps) in [(DDIM, 5), (FLOW, 6), ("UniPCMultistepScheduler", 5)] {
        let configured = read(class, &[], &Request::steps(10).strength(0.55));
        assert_eq!(configured.grid().steps(), steps, "{class}");
    }
}

#[test]
fn thresholds_and_clips_have_the_classes_defaults() {
    let threshold = Clip::dynamic(0.995, 1.0).expect("a threshold");
    let on: Fields<'_> = &[("thresholding", true.into())];
    assert_eq!(in_steps(DDPM, on, 5).clip(), Some(threshold));
    assert_eq!(
        in_steps(DDIM, on, 5).clip(),
        Some(threshold.keeping_noise())
    );
    assert_eq!(
        in_steps("DPMSolverMultistepScheduler", on, 5).clip(),
        Some(threshold)
    );
    let unit = Clip::new(-1.0, 1.0).expect("a clip");
    for class in [DDIM, "DDIMInverseScheduler", "RePaintScheduler"] {
        assert_eq!(
            in_steps(class, &[], 5).clip(),
            Some(unit.keeping_noise()),
            "{class}"
        );
        let off: Fields<'_> = &[("clip_sample", diffusion_sampler::diffusers::Value::Null)];
        assert_eq!(in_steps(class, off, 5).clip(), None, "{class}");
    }
    assert_eq!(in_steps("LCMScheduler", &[], 5).clip(), None);
}

#[test]
fn pndm_begins_with_runge_kutta_unless_the_file_skips_it() {
    let calls = |fields: Fields<'_>| {
        let configured = in_steps("PNDMScheduler", fields, 10);
        configured.sampler().plan().evaluations()
    };
    let offset = ("steps_offset", 1.into());
    assert_eq!(calls(std::slice::from_ref(&offset)), 10 + 9);
    assert_eq!(calls(&[offset, ("skip_prk_steps", true.into())]), 10 + 1);
}

#[test]
fn the_schedule_tells_the_network_what_the_grid_does() {
    let fields: Fields<'_> = &[("num_train_timesteps", 500.into()), ("shift", 3.0.into())];
    for (request, expected) in [
        (Request::steps(4), 250.0),
        (Request::steps(4).network_time_from_one(), 0.5),
        (Request::steps(4).network_time_to_one(), 0.5),
    ] {
        let configured = read(FLOW, fields, &request);
        let schedule = configured.schedule().expect("a flow");
        let level = schedule.level(0.5).expect("a level");
        assert_eq!(level.model_time(), expected);
        let first = configured.network_times()[0];
        let start = configured.grid().start();
        assert_eq!(first, start.model_time());
    }
    let to_one = read(FLOW, fields, &Request::steps(4).network_time_to_one());
    assert_eq!(to_one.network_times()[0], 0.0);
    let schedule = to_one.schedule().expect("a flow");
    let level = schedule.level(0.25).expect("a level");
    assert_eq!(level.model_time(), 0.75);
    // A list that is its own belongs to none.
    assert!(
        read("IPNDMScheduler", &[], &Request::steps(4))
            .schedule()
            .is_none()
    );
}

/// A network that is told other times has the same schedule in all else.
#[test]
fn a_network_is_told_other_times_of_the_same_levels() {
    for class in [FLOW, "DDIMScheduler", "DPMSolverMultistepScheduler"] {
        let own = read(class, &[], &Request::steps(4));
        let told = read(class, &[], &Request::steps(4).network_time_to_one());
        let (own, told) = (own.schedule().expect("own"), told.schedule().expect("told"));
        assert_eq!(told.last_time(), own.last_time(), "{class}");
        assert_eq!(told.lambda_range(), own.lambda_range(), "{class}");
        assert_eq!(told.table_len(), own.table_len(), "{class}");
        for part in [0.25, 0.7005, 1.0] {
            let time = part * own.last_time();
            let (a, b) = (
                told.level(time).expect("told"),
                own.level(time).expect("own"),
            );
            assert_eq!(a.with_model_time(b.model_time()), b, "{class}");
            assert_eq!(
                told.time_of_lambda(b.lambda()),
                own.time_of_lambda(b.lambda())
            );
            assert_eq!(told.start_variance(&a), own.start_variance(&b));
            if own.table_len().is_some() {
                assert_eq!(told.knot_time(time), own.knot_time(time), "{class}");
                let (a, b) = (told.knot_level(time), own.knot_level(time));
                let (a, b) = (a.expect("told"), b.expect("own"));
                assert_eq!(a.with_model_time(b.model_time()), b, "{class}");
            }
        }
    }
}

#[test]
fn between_the_last_two_indices_of_zero_terminal_snr_alpha_squared_is_linear() {
    let fields: Fields<'_> = &[
        ("rescale_betas_zero_snr", true.into()),
        ("prediction_type", "v_prediction".into()),
    ];
    let times = Request::of_times(&[998.5, 500.0]);
    let configured = read("EulerDiscreteScheduler", fields, &times);
    // √ᾱ rescaled (Lin et al. 2024): (√ᾱ − √ᾱ_T) √ᾱ_0/(√ᾱ_0 − √ᾱ_T).
    let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
    let mut log = 0.0;
    let roots: Vec<f64> = (0..1000)
        .map(|i| {
            let root = first + (last - first) * f64::from(i) / 999.0;
            log += (-root * root).ln_1p();
            (0.5 * log).exp()
        })
        .collect();
    let alpha = (roots[998] - roots[999]) * roots[0] / (roots[0] - roots[999]);
    let between = 0.5 * alpha * alpha;
    let rho = ((1.0 - between) / between).sqrt();
    assert!((configured.sigmas()[0] / rho - 1.0).abs() < 1e-9);
}

#[test]
fn a_table_in_f32_is_torchs() {
    let fields: Fields<'_> = &[
        ("beta_schedule", "linear".into()),
        ("beta_start", 0.05.into()),
        ("beta_end", 0.5.into()),
        ("num_train_timesteps", 12.into()),
    ];
    let request = Request::steps(3).in_float32();
    let configured = read("EulerDiscreteScheduler", fields, &request);
    // alphas_cumprod of torch 2.15, as f32.
    let torch: [f32; 12] = [
        0.95,
        0.863_636_3,
        0.749_793_35,
        0.620_283_6,
        0.487_768_47,
        0.363_609_22,
        0.256_179_2,
        0.170_009_84,
        0.105_869_76,
        0.061_596_952,
        0.033_318_35,
        0.016_659_174,
    ];
    for (index, expected) in torch.into_iter().enumerate() {
        let schedule = configured.schedule().expect("a table");
        let level = schedule.level(index as f64 + 1.0).expect("a level");
        assert_eq!(level.alpha().powi(2) as f32, expected, "{index}");
    }
}
