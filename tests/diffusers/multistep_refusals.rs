//! The multistep classes: what they refuse, and which fields they obey.

use diffusion_sampler::Error;
use diffusion_sampler::clip::ClipNoise;
use diffusion_sampler::diffusers::{Request, Value};

use super::multistep_common::*;

/// A class, fields, and the one that is refused.
type Case<'a> = (&'a str, &'a [(&'a str, Value)], &'a str);

#[test]
fn what_cannot_be_had_is_refused_by_its_field() {
    let (yes, flow) = (Value::from(true), ("use_flow_sigmas", Value::from(true)));
    let fields: &[Case<'_>] = &[
        (
            DPM,
            &[("algorithm_type", "dpmsolver".into())],
            "algorithm_type",
        ),
        (
            DPM,
            &[("algorithm_type", "sde-dpmsolver".into())],
            "algorithm_type",
        ),
        (
            SINGLE,
            &[("algorithm_type", "dpmsolver".into())],
            "algorithm_type",
        ),
        (
            SINGLE,
            &[
                ("algorithm_type", "sde-dpmsolver".into()),
                ("final_sigmas_type", "sigma_min".into()),
            ],
            "algorithm_type",
        ),
        (
            DEIS,
            &[
                ("use_karras_sigmas", yes.clone()),
                ("use_beta_sigmas", yes.clone()),
            ],
            "use_karras_sigmas",
        ),
        (
            DPM,
            &[flow.clone(), ("use_karras_sigmas", yes.clone())],
            "use_flow_sigmas",
        ),
        (
            UNIPC,
            &[flow.clone(), ("use_exponential_sigmas", yes)],
            "use_flow_sigmas",
        ),
        (
            DPM,
            &[("prediction_type", "flow_prediction".into())],
            "prediction_type",
        ),
        (
            UNIPC,
            &[flow, ("prediction_type", "v_prediction".into())],
            "prediction_type",
        ),
        (UNIPC, &[("solver_p", "a scheduler".into())], "solver_p"),
        (UNIPC, &[("solver_order", 4.into())], "solver_order"),
        (SA, &[("tau_func", "a function".into())], "tau_func"),
        (
            EDM,
            &[("prediction_type", "sample".into())],
            "prediction_type",
        ),
        (
            COSINE,
            &[("prediction_type", "sample".into())],
            "prediction_type",
        ),
        (COSINE, &[("solver_order", 3.into())], "solver_order"),
    ];
    for (class, fields, name) in fields {
        match refused(class, fields, &Request::steps(5)) {
            Error::UnsupportedField {
                class: of,
                field,
                closest,
                ..
            } => {
                assert_eq!((of, field), (*class, *name));
                assert!(!closest.is_empty());
            }
            other => panic!("{class} {fields:?}: {other}"),
        }
    }
    for (class, field) in [
        (DPM, "solver_order"),
        (DEIS, "solver_order"),
        (UNIPC, "solver_order"),
        (SA, "predictor_order"),
        (SA, "corrector_order"),
    ] {
        let error = refused(class, &[(field, 0.into())], &Request::steps(5));
        assert!(matches!(error, Error::InvalidField { field: of, .. } if of == field));
    }
    for (class, field) in [
        (DPM, "algorithm_type"),
        (UNIPC, "solver_type"),
        (SA, "algorithm_type"),
    ] {
        let error = refused(class, &[(field, "nonsense".into())], &Request::steps(5));
        assert!(
            matches!(error, Error::UnknownName { kind, .. } if kind == field),
            "{error}"
        );
    }
}

#[test]
fn lists_are_taken_by_the_classes_that_take_them() {
    let times = [900.0, 600.5, 300.0, 10.0];
    for class in [DPM, SINGLE] {
        let configured = read(class, &[], &Request::of_times(&times));
        assert_eq!(configured.times(), [900.0, 600.0, 300.0, 10.0]);
        let karras = [("use_karras_sigmas", Value::from(true))];
        let error = refused(class, &karras, &Request::of_times(&times));
        assert!(
            matches!(
                error,
                Error::RequestRefused {
                    what: "list of times",
                    ..
                }
            ),
            "{error}"
        );
    }
    for class in [UNIPC, DEIS, SA, EDM, COSINE] {
        let error = refused(class, &[], &Request::of_times(&times));
        assert!(
            matches!(
                error,
                Error::RequestRefused {
                    what: "list of times",
                    ..
                }
            ),
            "{error}"
        );
    }
    for class in TABLES.into_iter().chain([EDM, COSINE]) {
        let error = refused(class, &[], &Request::of_sigmas(&[10.0, 1.0]));
        assert!(
            matches!(
                error,
                Error::RequestRefused {
                    what: "list of sigmas",
                    ..
                }
            ),
            "{error}"
        );
    }
    // A time that no index is, and one that comes twice.
    let error = refused(DPM, &[], &Request::of_times(&[1000.0, 5.0]));
    assert!(matches!(error, Error::TimeOutOfRange { .. }), "{error}");
    let error = refused(DPM, &[], &Request::of_times(&[500.0, 500.0]));
    assert!(matches!(error, Error::NoiseNotDecreasing { .. }), "{error}");
}

#[test]
fn every_form_obeys_thresholding_but_unipc_for_the_noise() {
    let on = [
        ("thresholding", Value::from(true)),
        ("dynamic_thresholding_ratio", 0.9.into()),
        ("sample_max_value", 1.5.into()),
        ("final_sigmas_type", "sigma_min".into()),
    ];
    for class in TABLES.into_iter().chain([EDM]) {
        let clip = in_steps(class, &on, 6).clip().expect("a clip");
        assert_eq!(
            (clip.range(), clip.noise()),
            (None, ClipNoise::Recompute),
            "{class}"
        );
        assert!(in_steps(class, &[], 6).clip().is_none());
    }
    for form in ["dpmsolver", "sde-dpmsolver", "sde-dpmsolver++"] {
        let fields = [&on[..], &[("algorithm_type", form.into())]].concat();
        assert!(in_steps(DPM, &fields, 6).clip().is_some(), "{form}");
    }
    let noise = [&on[..], &[("predict_x0", false.into())]].concat();
    assert!(in_steps(UNIPC, &noise, 6).clip().is_none());
}

#[test]
fn a_network_that_returns_a_variance_too_is_noted() {
    for class in [DPM, SINGLE, SA] {
        let configured = in_steps(class, &[("variance_type", "learned_range".into())], 5);
        assert!(mentions(&configured, "first half"), "{class}");
        let configured = in_steps(class, &[("variance_type", Value::Null)], 5);
        assert!(!mentions(&configured, "first half"), "{class}");
    }
}
