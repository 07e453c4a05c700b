//! At the edges of what a field or a request can be: what is refused there, and in which words.

use diffusion_sampler::diffusers::{Request, SchedulerConfig, Value, classes};
use diffusion_sampler::solver::Churn;
use diffusion_sampler::{Error, registry};

use super::multistep_common::{Fields, UNIPC, in_steps, read, refused};

const DDIM: &str = "DDIMScheduler";
const DPM: &str = "DPMSolverMultistepScheduler";
const EDM: &str = "EDMEulerScheduler";
const EULER: &str = "EulerDiscreteScheduler";
const FLOW: &str = "FlowMatchEulerDiscreteScheduler";

#[test]
fn a_value_just_out_of_range_is_refused_with_the_range() {
    let beta = "above 0 and at most 1";
    let ramp = ("use_exponential_sigmas", Value::from(true));
    let whole = "a whole number from 0 to 2^53";
    let cases: [(&str, Fields<'_>, &str); 20] = [
        (DDIM, &[("beta_start", 0.0.into())], beta),
        (DDIM, &[("beta_start", (-1.0).into())], beta),
        (DDIM, &[("beta_end", 0.0.into())], beta),
        (DDIM, &[("beta_end", 1.5.into())], beta),
        (
            "LCMScheduler",
            &[("timestep_scaling", 0.0.into())],
            "positive and at most 1e6",
        ),
        (
            EDM,
            &[("sigma_max", 0.0.into())],
            "positive and at most 1e150",
        ),
        (
            EDM,
            &[("sigma_min", 80.0.into())],
            "at least 1e-150 and less than sigma_max",
        ),
        (EDM, &[("sigma_data", 0.0.into())], "positive and finite"),
        (
            FLOW,
            &[("sigma_max", 0.0.into()), ramp.clone()],
            "above 0 and at most 1, a flow's sigma",
        ),
        (
            DDIM,
            &[("num_train_timesteps", ((1 << 20) + 1).into())],
            "a whole number from 1 to 2^20",
        ),
        (
            FLOW,
            &[("num_train_timesteps", 0.into())],
            "a whole number, at least 1",
        ),
        (DDIM, &[("num_train_timesteps", 999.5.into())], whole),
        (DDIM, &[("num_train_timesteps", (-1).into())], whole),
        (
            DDIM,
            &[("num_train_timesteps", 18_014_398_509_481_984.0.into())],
            whole,
        ),
        (
            EULER,
            &[("sigma_max", 0.0.into()), ramp.clone()],
            "positive and finite",
        ),
        (
            EULER,
            &[("sigma_min", 0.0.into()), ramp.clone()],
            "positive and finite",
        ),
        (
            EULER,
            &[("sigma_min", "Infinity".into()), ramp],
            "positive and finite",
        ),
        (
            DDIM,
            &[("steps_offset", 100.into())],
            "such that the first time lies within the table",
        ),
        (
            DPM,
            &[("lambda_min_clipped", 1e3.into())],
            "below the largest lambda of the table",
        ),
        (
            DPM,
            &[("lambda_min_clipped", "Infinity".into())],
            "below the largest lambda of the table",
        ),
    ];
    for (class, fields, expected) in cases {
        match refused(class, fields, &Request::steps(10)) {
            Error::InvalidField {
                field, requirement, ..
            } => assert_eq!((field, requirement), (fields[0].0, expected), "{class}"),
            other => panic!("{class} {fields:?}: {other:?}"),
        }
    }
    // The largest offset: leading times of ten steps are 0, 100, … 900.
    let last = in_steps(DDIM, &[("steps_offset", 99.into())], 10);
    assert_eq!(last.times()[0], 999.0);
}

#[test]
fn an_entry_out_of_range_is_refused_by_its_place() {
    let sigma = "positive and finite, but for a last one of 0";
    let time = "an index of the table, 0 to T - 1";
    for (request, place, expected) in [
        (Request::of_sigmas(&[10.0, -1.0, 0.0]), 1, sigma),
        (Request::of_sigmas(&[10.0, 1.0, 0.0, 0.0]), 2, sigma),
        (Request::of_times(&[1000.0, 5.0]), 0, time),
        (Request::of_times(&[999.0, -1.0]), 1, time),
    ] {
        match refused(EULER, &[], &request) {
            Error::InvalidEntry {
                index, requirement, ..
            } => assert_eq!((index, requirement), (place, expected)),
            other => panic!("{request:?}: {other:?}"),
        }
    }
    for (times, wrong) in [([1000.0, 5.0], 1000.0), ([5.0, -1.0], -1.0)] {
        let error = refused(DPM, &[], &Request::of_times(&times));
        let expected = Error::TimeOutOfRange {
            time: wrong,
            last: 999.0,
        };
        assert_eq!(error, expected);
    }
    assert_eq!(
        read(DPM, &[], &Request::of_times(&[999.0, 5.0])).times(),
        [999.0, 5.0]
    );
}

#[test]
fn a_request_that_a_class_cannot_follow_is_refused_with_the_reason() {
    let steps = Request::steps(5);
    let karras: Fields<'_> = &[("use_karras_sigmas", true.into())];
    let times = Request::of_times(&[900.0, 500.0]);
    let own = "its times do not count training steps, and are told as they are";
    let cases: [(&str, Fields<'_>, Request, &str); 11] = [
        (
            "FlowMatchHeunDiscreteScheduler",
            &[],
            steps.clone().uniform_sigmas(),
            "it makes its list itself",
        ),
        (
            DPM,
            karras,
            times.clone(),
            "a ramp of sigma makes its own list",
        ),
        (
            UNIPC,
            karras,
            times.clone(),
            "a ramp of sigma makes its own list",
        ),
        (UNIPC, &[], times, "its steps are given by their number"),
        (
            "HeunDiscreteScheduler",
            &[],
            Request::of_sigmas(&[10.0, 1.0]),
            "its step list is made of times",
        ),
        (
            "LMSDiscreteScheduler",
            &[],
            Request::of_sigmas(&[10.0, 1.0]),
            "its step list is made of times",
        ),
        (
            "IPNDMScheduler",
            &[],
            steps.clone().network_time_from_one(),
            own,
        ),
        (
            "DDPMWuerstchenScheduler",
            &[],
            steps.clone().network_time_to_one(),
            own,
        ),
        (
            "MiniMaxH3Scheduler",
            &[],
            steps.clone().network_time_from_one(),
            own,
        ),
        (EDM, &[], steps.clone().network_time_from_one(), own),
        (
            "CosineDPMSolverMultistepScheduler",
            &[],
            steps.network_time_to_one(),
            own,
        ),
    ];
    for (class, fields, request, expected) in cases {
        match refused(class, fields, &request) {
            Error::RequestRefused { reason, .. } => assert_eq!(reason, expected, "{class}"),
            other => panic!("{class}: {other:?}"),
        }
    }
}

#[test]
fn an_end_at_the_least_sigma_takes_two_steps_and_no_churn() {
    let least: Fields<'_> = &[("final_sigmas_type", "sigma_min".into())];
    let churn = Churn::new(1.0).expect("a churn");
    for class in [EULER, EDM] {
        for (request, expected) in [
            (Request::steps(1), "one step would end where it starts"),
            (
                Request::steps(2).churn(churn),
                "with churn the last step would go up in noise and back, to where it starts",
            ),
        ] {
            // As published, so that a list of one step is its least noise.
            match refused(class, least, &request.as_published()) {
                Error::UnsupportedField { field, reason, .. } => {
                    assert_eq!((field, reason), ("final_sigmas_type", expected), "{class}");
                }
                other => panic!("{class}: {other:?}"),
            }
        }
        let sigmas = in_steps(class, least, 2).sigmas();
        let open = in_steps(class, &[], 2).sigmas();
        assert_eq!(sigmas, open[..2], "{class}");
        assert_eq!(open[2..], [0.0], "{class}");
    }
}

#[test]
fn a_logarithmic_list_starts_at_finite_noise_and_falls() {
    let logarithmic = ("interpolation_type", Value::from("log_linear"));
    let infinite: Fields<'_> = &[
        logarithmic.clone(),
        ("rescale_betas_zero_snr", true.into()),
        ("prediction_type", "v_prediction".into()),
    ];
    match refused(EULER, infinite, &Request::steps(5)) {
        Error::UnsupportedField { field, reason, .. } => {
            assert_eq!(field, "interpolation_type");
            assert!(reason.contains("infinite noise"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // One step is its noisy end alone, whatever the other end is.
    let rising: Fields<'_> = &[
        logarithmic,
        ("use_exponential_sigmas", true.into()),
        ("sigma_max", 0.001.into()),
    ];
    assert_eq!(in_steps(EULER, rising, 1).sigmas(), [0.001, 0.0]);
    for steps in [2, 3] {
        let error = refused(EULER, rising, &Request::steps(steps));
        let of_the_end = matches!(
            error,
            Error::InvalidField {
                field: "sigma_min",
                requirement: "at least 1e-150 and less than sigma_max",
                ..
            }
        );
        assert!(of_the_end, "{error:?}");
    }
}

#[test]
fn a_mu_without_a_shift_is_refused() {
    let fields: Fields<'_> = &[
        ("use_flow_sigmas", true.into()),
        ("prediction_type", "flow_prediction".into()),
        ("use_dynamic_shifting", true.into()),
    ];
    for mu in [1000.0, -1000.0] {
        let error = refused(DPM, fields, &Request::steps(5).mu(mu));
        let expected = Error::InvalidParameter {
            name: "mu",
            value: mu,
            requirement: "finite, with a finite and positive exponential",
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn numbers_and_lists_of_steps_have_their_least_length() {
    let lcm = "FlowMatchLCMScheduler";
    let empty: Fields<'_> = &[("scale_factors", Value::Numbers(Vec::new()))];
    assert_eq!(in_steps(lcm, empty, 4).grid().steps(), 4);
    let some: Fields<'_> = &[("scale_factors", Value::Numbers(vec![0.5]))];
    let error = refused(lcm, some, &Request::steps(4));
    assert!(
        matches!(
            error,
            Error::UnsupportedField {
                field: "scale_factors",
                ..
            }
        ),
        "{error:?}"
    );
    let minimax = "MiniMaxH3Scheduler";
    let error = refused(minimax, &[], &Request::steps(1));
    let expected = Error::StepCount {
        steps: 1,
        min: 2,
        max: usize::MAX,
    };
    assert_eq!(error, expected);
    assert_eq!(in_steps(minimax, &[], 2).sigmas(), [1.0, 0.0]);
    let betas: Fields<'_> = &[("trained_betas", vec![1.0, 0.5, 0.2, 0.0].into())];
    let error = refused("IPNDMScheduler", betas, &Request::steps(4));
    let expected = Error::WrongLength {
        name: "trained_betas",
        expected: 5,
        found: 4,
    };
    assert_eq!(error, expected);
    // A ramp replaces a list of two, and not of one.
    let ramp: Fields<'_> = &[
        ("use_karras_sigmas", true.into()),
        ("sigma_max", 0.75.into()),
        ("sigma_min", 0.25.into()),
    ];
    assert_eq!(in_steps(FLOW, ramp, 2).sigmas(), [0.75, 0.25, 0.0]);
    assert_eq!(in_steps(FLOW, ramp, 1).sigmas(), [1.0, 0.0]);
}

#[test]
fn the_field_is_blamed_for_wuerstchens_own_times_only() {
    let class = "DDPMWuerstchenScheduler";
    // All levels at the clamp.
    let flat: Fields<'_> = &[("scaler", 1e-9.into())];
    let error = refused(class, flat, &Request::steps(4));
    assert!(
        matches!(
            error,
            Error::InvalidField {
                field: "scaler",
                ..
            }
        ),
        "{error:?}"
    );
    let plain: Fields<'_> = &[("scaler", 1.0.into())];
    let error = refused(class, plain, &Request::of_times(&[0.2, 0.9]));
    assert!(
        matches!(error, Error::NoiseNotDecreasing { .. }),
        "{error:?}"
    );
}

#[test]
fn an_unknown_class_is_answered_by_four_names_and_a_refused_one_by_its_reason() {
    let of = |class: &str| {
        let config = SchedulerConfig::from_json("{}").expect("an object");
        let refused = config.with_class(class).sampler(&Request::steps(5));
        refused.map(drop).expect_err(class)
    };
    for class in ["EulerScheduler", "DDIMSheduler", "Nonsense", "Scheduler"] {
        match of(class) {
            Error::UnknownName { nearest, .. } => assert_eq!(nearest.len(), 4, "{class}"),
            other => panic!("{class}: {other:?}"),
        }
    }
    let mut known = 0;
    for refused in registry::refused() {
        let names = refused.names.iter().copied();
        for class in names.filter(|name| classes().all(|class| class != *name)) {
            let expected = Error::NotASampler {
                name: class.to_owned(),
                closest: refused.closest,
                reason: refused.reason,
            };
            assert_eq!(of(class), expected);
            known += usize::from(class.ends_with("Scheduler"));
        }
    }
    assert!(known > 5);
}

#[test]
fn a_list_is_written_out_up_to_eight_numbers() {
    let list = |count: u8| Value::Numbers((1..=count).map(f64::from).collect());
    assert_eq!(list(0).to_string(), "[]");
    assert_eq!(list(3).to_string(), "[1, 2, 3]");
    assert_eq!(list(8).to_string(), "[1, 2, 3, 4, 5, 6, 7, 8]");
    assert_eq!(list(9).to_string(), "[9 numbers]");
}

#[test]
fn what_looks_like_a_path_ends_as_one_and_holds_no_object() {
    let problem = |text: &str| match SchedulerConfig::from_json(text).map(drop) {
        Err(Error::ConfigurationSyntax { problem, .. }) => problem,
        other => panic!("{text}: {other:?}"),
    };
    for (text, path) in [
        ("model/scheduler_config.json", true),
        ("  config.json\n", true),
        ("a model", false),
        ("{\"a\": x.json", false),
        ("one\ntwo.json", false),
    ] {
        assert_eq!(problem(text).contains("its path"), path, "{text}");
    }
}
