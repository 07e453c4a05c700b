//! What is said beside the sampler: notes, refusals, what was ignored.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{self, Configured, Request, SchedulerConfig, Value, classes};
use diffusion_sampler::solver::{Churn, Path};

use super::multistep_common::{Fields, in_steps, read, refused};

const FLOW: &str = "FlowMatchEulerDiscreteScheduler";
const DPM: &str = "DPMSolverMultistepScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";

fn notes(configured: &Configured) -> String {
    configured.report().notes.join("; ")
}

#[test]
fn what_a_user_should_know_is_noted_and_only_where_it_is_so() {
    let idle = "leads from the last level to itself";
    let ends_at_index_0 = ("set_alpha_to_one", false.into());
    let least = ("final_sigmas_type", "sigma_min".into());
    let karras = ("use_karras_sigmas", true.into());
    let first_order = ("solver_order", 1.into());
    let cases: [(&str, Fields<'_>, usize, &str); 9] = [
        ("DDIMScheduler", &[ends_at_index_0], 10, idle),
        (
            "EDMDPMSolverMultistepScheduler",
            std::slice::from_ref(&least),
            20,
            idle,
        ),
        (
            "DPMSolverSinglestepScheduler",
            &[least.clone(), karras.clone(), first_order],
            6,
            idle,
        ),
        // The edge of no length is a first-order step of its own.
        (
            "DPMSolverSinglestepScheduler",
            &[
                least.clone(),
                karras.clone(),
                ("lower_order_final", true.into()),
            ],
            6,
            idle,
        ),
        (DPM, &[("solver_order", 5.into())], 20, "an order above 3"),
        (
            UNIPC,
            &[("predict_x0", false.into())],
            6,
            "onto sigma = 0 is not a number",
        ),
        (
            FLOW,
            &[("shift_terminal", 0.1.into())],
            1,
            "cannot be stretched",
        ),
        ("DDIMScheduler", &[], 1, "starts at the least noisy"),
        (
            "DDIMScheduler",
            &[("timestep_spacing", "trailing".into())],
            61,
            "one time more",
        ),
    ];
    // With noise as without; an edge of no length that ends a group is a call of the network.
    let sde = ("algorithm_type", "sde-dpmsolver++".into());
    let lower = ("lower_order_final", true.into());
    let single: [(Fields<'_>, usize, bool); 6] = [
        (&[], 6, true),
        (&[("solver_order", 3.into())], 6, true),
        (std::slice::from_ref(&lower), 6, false),
        (std::slice::from_ref(&sde), 6, true),
        (&[sde.clone(), ("solver_order", 3.into())], 5, true),
        (&[sde.clone(), lower.clone()], 6, false),
    ];
    for (fields, steps, calls) in single {
        let fields = [&[least.clone(), karras.clone()], fields].concat();
        let configured = in_steps("DPMSolverSinglestepScheduler", &fields, steps);
        assert_eq!(!notes(&configured).contains(idle), calls, "{fields:?}");
        let plan = configured.sampler().plan();
        let expected = plan.steps().len() + usize::from(calls);
        assert_eq!(plan.evaluations(), expected, "{fields:?}");
    }
    for (class, fields, steps, part) in cases {
        let said = notes(&in_steps(class, fields, steps));
        assert!(said.contains(part), "{class} {fields:?}: {said}");
        let plain = notes(&in_steps(class, &[], 20));
        assert!(!plain.contains(part), "{class}: {plain}");
    }
}

/// What the solvers of files say of their order: one where the library makes its steps wrong.
#[test]
fn solvers_of_files_know_their_order() {
    let least = ("final_sigmas_type", "sigma_min".into());
    let karras = ("use_karras_sigmas", true.into());
    let order = |order: usize| ("solver_order", order.into());
    let sde = ("algorithm_type", "sde-dpmsolver++".into());
    let ours = |steps| Request::steps(steps);
    let theirs = |steps| Request::steps(steps).as_published();
    let churn = Churn::new(1.0).expect("a churn");
    let clean = ("timestep_spacing", "leading".into());
    let trailing = ("timestep_spacing", "trailing".into());
    let cases: [(&str, Fields<'_>, Request, usize); 21] = [
        (
            "DDPMScheduler",
            &[],
            Request::of_times(&[900.0, 300.0, 7.0]).as_published(),
            1,
        ),
        ("DDPMWuerstchenScheduler", &[], ours(10), 1),
        (
            "LMSDiscreteScheduler",
            &[clean],
            theirs(10).strength(0.5),
            2,
        ),
        (DPM, &[("euler_at_final", true.into())], ours(20), 2),
        ("PNDMScheduler", &[], theirs(10), 2),
        (
            "PNDMScheduler",
            &[("prediction_type", "v_prediction".into())],
            theirs(10),
            1,
        ),
        ("EulerDiscreteScheduler", &[], theirs(5).churn(churn), 1),
        (
            UNIPC,
            &[("disable_corrector", Value::Numbers(vec![0.0]))],
            ours(10),
            2,
        ),
        (
            "SASolverScheduler",
            &[least.clone(), karras.clone()],
            ours(20),
            2,
        ),
        (
            "CogVideoXDPMScheduler",
            std::slice::from_ref(&trailing),
            theirs(7),
            1,
        ),
        (
            "DDIMScheduler",
            std::slice::from_ref(&trailing),
            theirs(7),
            1,
        ),
        ("DDIMInverseScheduler", &[], theirs(10), 1),
        (
            "DEISMultistepScheduler",
            &[least.clone(), karras.clone()],
            ours(10),
            2,
        ),
        ("IPNDMScheduler", &[], ours(10), 2),
        ("IPNDMScheduler", &[], theirs(10), 1),
        ("KDPM2DiscreteScheduler", &[], ours(10), 2),
        ("LTXEulerAncestralRFScheduler", &[], ours(10), 1),
        (super::multistep_common::SINGLE, &[order(1)], ours(9), 1),
        (super::multistep_common::SINGLE, &[order(2)], ours(9), 2),
        (super::multistep_common::SINGLE, &[order(3)], ours(9), 2),
        (
            super::multistep_common::SINGLE,
            &[order(2), sde],
            ours(9),
            1,
        ),
    ];
    let mut wrong = Vec::new();
    for (class, fields, request, expected) in cases {
        let order = read(class, fields, &request).solver().order();
        if order != expected {
            wrong.push((class, fields, order, expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_variance_that_is_no_number_is_refused_by_its_name() {
    let fields: Fields<'_> = &[("variance_type", "fixed_large_log".into())];
    let refusal = refused("DDPMScheduler", fields, &Request::steps(10)).to_string();
    assert!(
        refusal.contains("logarithm") && refusal.contains("\"fixed_large\""),
        "{refusal}"
    );
}

#[test]
fn a_configuration_knows_its_class() {
    let of = |text| SchedulerConfig::from_json(text).unwrap();
    let named = of(r#"{"_class_name": "DDIMScheduler"}"#);
    assert_eq!(named.class(), Some("DDIMScheduler"));
    assert_eq!(of("{}").class(), None);
    assert_eq!(of(r#"{"_class_name": 3}"#).class(), None);
    assert_eq!(of("{}").with_class(DPM).class(), Some(DPM));
}

#[test]
fn a_first_time_that_occurs_twice_is_noted_where_the_library_makes_it_so() {
    let fields: Fields<'_> = &[
        ("use_flow_sigmas", true.into()),
        ("prediction_type", "flow_prediction".into()),
        ("flow_shift", 12.0.into()),
    ];
    let ours = in_steps(UNIPC, fields, 100);
    assert_eq!(ours.times()[..2], [1000.0, 999.0]);
    assert!(!notes(&ours).contains("occurs twice"));
    let theirs = read(UNIPC, fields, &Request::steps(100).as_published());
    assert_eq!(theirs.times()[..2], [999.0, 999.0]);
    assert!(notes(&theirs).contains("occurs twice"));
}

#[test]
fn what_a_request_changes_is_noted() {
    let offset: Fields<'_> = &[("steps_offset", 1.into())];
    let image = Request::steps(10).strength(0.5);
    for (class, part) in [
        ("PNDMScheduler", "one time twice"),
        ("LCMScheduler", "strength keeps"),
    ] {
        assert!(
            notes(&read(class, offset, &image)).contains(part),
            "{class}"
        );
        assert!(
            !notes(&in_steps(class, offset, 10)).contains(part),
            "{class}"
        );
    }
    let churn = Request::steps(5).churn(Churn::new(1.0).expect("churn"));
    let part = "noisy end of the schedule";
    assert!(notes(&read("EulerDiscreteScheduler", &[], &churn)).contains(part));
}

#[test]
fn what_cannot_be_is_refused() {
    let steps = |k| Request::steps(k);
    for (class, fields, k, field) in [
        (
            FLOW,
            &[
                ("stochastic_sampling", true.into()),
                ("invert_sigmas", true.into()),
            ] as Fields<'_>,
            4,
            "stochastic_sampling",
        ),
        (
            "FlowMatchLCMScheduler",
            &[("invert_sigmas", true.into())],
            4,
            "invert_sigmas",
        ),
    ] {
        match refused(class, fields, &steps(k)) {
            Error::UnsupportedField { field: named, .. } => assert_eq!(named, field),
            other => panic!("{class}: {other}"),
        }
    }
    let negative: Fields<'_> = &[("s_noise", (-1.0).into())];
    for value in [negative, &[("s_noise", "Infinity".into())]] {
        let error = refused("LTXEulerAncestralRFScheduler", value, &steps(4));
        assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
    }
    let cosine: Fields<'_> = &[("beta_schedule", "squaredcos_cap_v2".into())];
    for (class, k, min) in [("UnCLIPScheduler", 1, 2), ("PNDMScheduler", 3, 4)] {
        match refused(class, cosine, &steps(k)) {
            Error::StepCount {
                steps, min: least, ..
            } => assert_eq!((steps, least), (k, min)),
            other => panic!("{class}: {other}"),
        }
    }
    let skips: Fields<'_> = &[("skip_prk_steps", true.into()), ("steps_offset", 1.into())];
    assert_eq!(in_steps("PNDMScheduler", skips, 3).grid().steps(), 3);
}

#[test]
fn no_class_of_tables_reads_a_flows_network() {
    let flow: Fields<'_> = &[
        ("prediction_type", "flow_prediction".into()),
        ("beta_schedule", "squaredcos_cap_v2".into()),
    ];
    for class in [
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMInverseScheduler",
        "DDIMScheduler",
        "DDPMScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "TCDScheduler",
        "UnCLIPScheduler",
    ] {
        for request in [Request::steps(5), Request::steps(5).reversed_output()] {
            match refused(class, flow, &request) {
                Error::UnsupportedField { field, .. } => assert_eq!(field, "prediction_type"),
                other => panic!("{class}: {other}"),
            }
        }
    }
}

#[test]
fn an_empty_list_is_an_error_in_every_class() {
    for class in classes() {
        for request in [Request::of_times(&[]), Request::of_sigmas(&[])] {
            for request in [request.clone(), request.as_published()] {
                refused(class, &[], &request);
            }
        }
    }
}

#[test]
fn a_list_that_a_class_cannot_take_is_not_read_as_its_length() {
    let cosine: Fields<'_> = &[("beta_schedule", "squaredcos_cap_v2".into())];
    let times = Request::of_times(&[900.0, 500.0, 300.0, 100.0, 50.0]);
    for class in ["RePaintScheduler", "UnCLIPScheduler", "PNDMScheduler"] {
        let error = refused(class, cosine, &times);
        assert!(
            matches!(error, Error::RequestRefused { .. }),
            "{class}: {error}"
        );
    }
}

#[test]
fn pndm_weighs_no_reversed_network_but_one_of_noise() {
    let data: Fields<'_> = &[("prediction_type", "sample".into())];
    let reversed = Request::steps(10).reversed_output();
    let error = refused("PNDMScheduler", data, &reversed);
    assert!(matches!(error, Error::UnsupportedField { .. }), "{error}");
    read("PNDMScheduler", &[("steps_offset", 1.into())], &reversed);
}

#[test]
fn an_entry_of_trained_betas_is_named_by_its_place() {
    let betas: Fields<'_> = &[("trained_betas", vec![1.0, 0.5, 1.5, 0.0].into())];
    match refused("IPNDMScheduler", betas, &Request::steps(3)) {
        Error::InvalidEntry { index, value, .. } => assert_eq!((index, value), (2, 1.5)),
        other => panic!("{other}"),
    }
    let betas: Fields<'_> = &[
        ("num_train_timesteps", 3.into()),
        ("trained_betas", vec![0.1, 1.5, 0.2].into()),
    ];
    match refused("DDIMScheduler", betas, &Request::steps(2)) {
        Error::InvalidEntry {
            name, index, value, ..
        } => assert_eq!((name, index, value), ("trained_betas", 1, 1.5)),
        other => panic!("{other}"),
    }
}

#[test]
fn the_printed_solver_does_not_hold_its_table() {
    let trailing: Fields<'_> = &[("timestep_spacing", "trailing".into())];
    for class in [
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMInverseScheduler",
        "DDIMScheduler",
        "PNDMScheduler",
    ] {
        let printed = read(class, trailing, &Request::steps(30).as_published()).to_string();
        assert!(printed.len() < 3000, "{class}: {} bytes", printed.len());
    }
}

#[test]
fn the_librarys_own_entries_and_a_byte_order_mark_are_no_fields() {
    let text = "\u{feff}{\"_class_name\": \"DDIMScheduler\", \"_diffusers_version\": \"0.42.1\", \
                \"own\": 1}";
    let configured = diffusers::sampler(text, &Request::steps(5)).expect("a file");
    let ignored: Vec<&str> = configured
        .report()
        .ignored
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(ignored, ["own"]);
}

#[test]
fn a_longer_path_than_the_files_is_grouped_as_a_longer_file_would() -> Result<(), Error> {
    for algorithm in ["dpmsolver++", "sde-dpmsolver++"] {
        for order in [1, 2, 3] {
            let fields = [
                ("algorithm_type", algorithm.into()),
                ("solver_order", order.into()),
            ];
            let of = |steps| in_steps("DPMSolverSinglestepScheduler", &fields, steps);
            let (short, long) = (of(7), of(22));
            let path = Path::without_schedule(long.grid());
            let plans = [short.solver().plan(&path)?, long.solver().plan(&path)?];
            assert_eq!(plans[0], plans[1], "{algorithm} {order}");
        }
    }
    Ok(())
}
