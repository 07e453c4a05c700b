//! The multistep classes: their lists, by formulas of their own.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Defect, Request, Value};

use super::multistep_common::*;

#[test]
fn k_steps_take_the_noisier_k_of_k_plus_one_points() {
    for class in TABLES {
        let spaced = |spacing: &str, steps: usize| {
            let fields = [
                ("timestep_spacing", spacing.into()),
                ("steps_offset", 1.into()),
            ];
            in_steps(class, &fields, steps).times().to_vec()
        };
        for steps in [1usize, 4, 7, 20] {
            let part = |k: usize| (999 * k) as f64 / steps as f64;
            let falling = (1..=steps).rev();
            let linspace: Vec<f64> = falling.clone().map(|k| part(k).round_ties_even()).collect();
            assert_eq!(spaced("linspace", steps), linspace, "{class}");
            if class == SINGLE {
                // It has no spacing but this one.
                assert_eq!(spaced("leading", steps), linspace);
                continue;
            }
            let leading = falling.map(|k| (k * (1000 / (steps + 1)) + 1) as f64);
            assert_eq!(
                spaced("leading", steps),
                leading.collect::<Vec<_>>(),
                "{class}"
            );
            let trailing = (0..steps)
                .map(|i| (1000.0 * (steps - i) as f64 / steps as f64).round_ties_even() - 1.0);
            assert_eq!(
                spaced("trailing", steps),
                trailing.collect::<Vec<_>>(),
                "{class}"
            );
        }
    }
}

#[test]
fn a_cut_of_the_noisy_end_leaves_the_knots_with_enough_signal() {
    let table = rhos();
    // λ = −ln ρ of at least −1: so many knots.
    let reach = table.iter().filter(|rho| -rho.ln() >= -1.0).count();
    assert!((300..900).contains(&reach));
    for class in [DPM, SINGLE, SA] {
        let cut = [("lambda_min_clipped", Value::from(-1.0))];
        let times = in_steps(class, &cut, 5).times().to_vec();
        let last = (reach - 1) as f64;
        let expected: Vec<f64> = (1..=5)
            .rev()
            .map(|k| (last * f64::from(k) / 5.0).round_ties_even())
            .collect();
        assert_eq!(times, expected, "{class}");
    }
    // A trailing list keeps its stride, and is shorter.
    let trailing = [
        ("lambda_min_clipped", Value::from(-1.0)),
        ("timestep_spacing", "trailing".into()),
    ];
    let times = in_steps(DPM, &trailing, 10).times().to_vec();
    let expected: Vec<f64> = (0..10)
        .map(|i| reach as f64 - 100.0 * f64::from(i))
        .filter(|&left| left > 0.0)
        .map(|left| left - 1.0)
        .collect();
    assert_eq!(times, expected);
    assert!(times.len() < 10);
}

#[test]
fn ramps_run_between_the_ends_of_the_table() {
    let table = rhos();
    let (min, max) = (table[0], table[999]);
    let share = |k: usize| k as f64 / 6.0;
    let root = |rho: f64| rho.powf(1.0 / 7.0);
    let karras = |k: usize| (root(max) + share(k) * (root(min) - root(max))).powi(7);
    let exponential = |k: usize| max * (min / max).powf(share(k));
    for class in TABLES {
        let ramp = |field: &str| in_steps(class, &[(field, true.into())], 7);
        for (field, rho, rounded) in [
            ("use_karras_sigmas", &karras as &dyn Fn(usize) -> f64, true),
            ("use_exponential_sigmas", &exponential, false),
        ] {
            let configured = ramp(field);
            let expected: Vec<f64> = (0..7).map(rho).collect();
            let sigmas = configured.sigmas();
            close(&sigmas[..7], &expected, 1e-12);
            let time = |&rho: &f64| match rounded {
                true => index(rho).round_ties_even(),
                false => (index(rho) + 1e-7).floor(),
            };
            // One evaluation less where the list ends with the same level twice.
            let times: Vec<f64> = expected.iter().map(time).collect();
            let called = configured.times().len();
            assert_eq!(configured.times(), &times[..called], "{class} {field}");
            assert!(called + 1 >= times.len(), "{class} {field}");
        }
        // Quantiles of a distribution that is symmetric about ½: the middle one is the mean.
        let sigmas = ramp("use_beta_sigmas").sigmas();
        close(
            &[sigmas[0], sigmas[3], sigmas[1] + sigmas[5], sigmas[6]],
            &[max, 0.5 * (min + max), min + max, min],
            1e-12,
        );
    }
}

#[test]
fn the_file_overrides_the_ends_of_a_ramp() {
    let fields = [
        ("use_exponential_sigmas", Value::from(true)),
        ("sigma_min", 0.1.into()),
        ("sigma_max", 40.0.into()),
    ];
    for class in TABLES {
        let configured = in_steps(class, &fields, 3);
        close(&configured.sigmas()[..3], &[40.0, 2.0, 0.1], 1e-13);
        // Above the table the network is told its last index.
        assert_eq!(configured.times()[0], 999.0);
    }
}

#[test]
fn a_ramp_uniform_in_lambda_has_rounded_times() {
    let (lu, plain) = (
        in_steps(DPM, &[("use_lu_lambdas", true.into())], 9),
        in_steps(DPM, &[("use_exponential_sigmas", true.into())], 9),
    );
    close(&lu.sigmas(), &plain.sigmas(), 1e-15);
    let time = |&rho: &f64| index(rho).round_ties_even();
    let expected: Vec<f64> = lu.sigmas()[..9].iter().map(time).collect();
    assert_eq!(lu.times(), expected);
    assert_ne!(lu.times(), plain.times());
    // On the cosine table DPM-Solver truncates these too.
    let cosine = [
        ("beta_schedule", Value::from("squaredcos_cap_v2")),
        ("use_karras_sigmas", true.into()),
    ];
    let (dpm, unipc) = (in_steps(DPM, &cosine, 12), in_steps(UNIPC, &cosine, 12));
    assert_eq!(dpm.sigmas(), unipc.sigmas());
    let pairs = || dpm.times().iter().zip(unipc.times());
    assert!(pairs().all(|(low, near)| low == near || low + 1.0 == *near));
    assert!(pairs().any(|(low, near)| low < near));
}

#[test]
fn steps_end_where_the_class_and_the_file_say() {
    let first = rhos()[0];
    let last = |class: &str, fields: Fields<'_>| {
        *in_steps(class, fields, 6).sigmas().last().expect("a knot")
    };
    let least = ("final_sigmas_type", Value::from("sigma_min"));
    for class in [DPM, SINGLE, UNIPC] {
        assert_eq!(last(class, &[]), 0.0);
        close(
            &[last(class, std::slice::from_ref(&least))],
            &[first],
            1e-13,
        );
    }
    for class in [DEIS, SA] {
        close(&[last(class, &[])], &[first], 1e-13);
    }
    // Another end of the ramp is another end of UniPC's steps, but not of DPM-Solver's.
    let ramp = [
        least,
        ("use_karras_sigmas", true.into()),
        ("sigma_min", 0.1.into()),
    ];
    close(
        &[last(UNIPC, &ramp), last(DPM, &ramp)],
        &[0.1, first],
        1e-12,
    );
}

#[test]
fn a_list_that_ends_with_one_level_twice_is_corrected_there_or_ends_before() {
    let karras = ("use_karras_sigmas", Value::from(true));
    let end = ("final_sigmas_type", Value::from("sigma_min"));
    for (class, fields) in [
        (DPM, vec![karras.clone(), end.clone()]),
        (DEIS, vec![karras.clone()]),
    ] {
        let configured = in_steps(class, &fields, 8);
        let plan = configured.sampler().plan();
        assert_eq!((plan.steps().len(), plan.evaluations()), (7, 7), "{class}");
        assert!(mentions(&configured, "left out"), "{class}");
    }
    for (class, fields) in [
        (UNIPC, vec![karras.clone(), end.clone()]),
        (SA, vec![karras.clone()]),
    ] {
        let configured = in_steps(class, &fields, 8);
        let plan = configured.sampler().plan();
        assert_eq!((plan.steps().len(), plan.evaluations()), (7, 8), "{class}");
        assert!(mentions(&configured, "correct the state"), "{class}");
        let last = plan.steps().last().expect("a step");
        let [_, correction] = last.stages.as_slice() else {
            panic!("{class}: a prediction and a correction");
        };
        assert_eq!(correction.evaluate, Some(last.to));
        // A correction moves no state that all estimates agree on.
        let weights = correction.update.history.iter().map(|term| term.1);
        let sum = correction.update.data + weights.sum::<f64>();
        assert!(
            (correction.update.state - 1.0).abs() < 1e-12 && sum.abs() < 1e-12,
            "{class}"
        );
    }
    // Of one step nothing would be left.
    for class in [DEIS, SA] {
        let error = refused(class, std::slice::from_ref(&karras), &Request::steps(1));
        assert!(
            matches!(
                error,
                Error::RequestRefused {
                    what: "one step",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn zero_terminal_snr_starts_from_pure_noise_unless_asked_otherwise() {
    let fields = |spacing: &str| {
        [
            ("rescale_betas_zero_snr", Value::from(true)),
            ("prediction_type", "v_prediction".into()),
            ("timestep_spacing", spacing.into()),
        ]
    };
    let nearly = Defect::NearlyZeroTerminalSnr;
    for class in [DPM, UNIPC] {
        let ours = in_steps(class, &fields("trailing"), 6);
        assert_eq!(ours.grid().start().alpha(), 0.0);
        assert_eq!(ours.report().defects[0], (nearly, false));
        let request = Request::steps(6).reproducing(nearly);
        let theirs = read(class, &fields("trailing"), &request);
        let rho = theirs.grid().start().rho();
        assert!(
            (rho * rho - (f64::from(1 << 24) - 1.0)).abs() < 1e-3,
            "{rho}"
        );
        assert_eq!(theirs.times(), ours.times());
        assert_eq!(theirs.sigmas()[1..], ours.sigmas()[1..]);
        // This list does not reach the last index.
        let leading = in_steps(class, &fields("leading"), 6);
        assert!(leading.report().defects.is_empty());
        // A ramp cannot start at infinity.
        let ramp = [
            &fields("trailing")[..],
            &[("use_karras_sigmas", true.into())],
        ]
        .concat();
        let ramp = in_steps(class, &ramp, 6);
        assert!((ramp.sigmas()[0] - rho).abs() < 1e-9 && mentions(&ramp, "4096"));
    }
}

#[test]
fn edms_classes_tell_the_network_a_function_of_sigma() {
    for (class, (min, max), time) in [
        (
            EDM,
            (0.002f64, 80.0f64),
            (|sigma: f64| 0.25 * sigma.ln()) as fn(f64) -> f64,
        ),
        (COSINE, (0.3, 500.0), |sigma| {
            sigma.atan() / std::f64::consts::FRAC_PI_2
        }),
    ] {
        let fields = [("sigma_schedule", Value::from("exponential"))];
        let configured = in_steps(class, &fields, 5);
        let sigmas: Vec<f64> = (0..5)
            .map(|k| max * (min / max).powf(f64::from(k) / 4.0))
            .collect();
        close(&configured.sigmas()[..5], &sigmas, 1e-13);
        let times: Vec<f64> = sigmas.iter().copied().map(time).collect();
        close(configured.times(), &times, 1e-14);
        assert!((configured.init_noise_sigma() - (max * max + 1.0).sqrt()).abs() < 1e-12);
        assert!(
            configured
                .grid()
                .levels()
                .iter()
                .all(|level| level.alpha() == 1.0)
        );
        let least = [("final_sigmas_type", Value::from("sigma_min"))];
        let configured = in_steps(class, &least, 5);
        assert_eq!(configured.sampler().plan().evaluations(), 4);
        assert_eq!(configured.grid().end().sigma(), min);
    }
    let audio = in_steps(COSINE, &[], 12);
    assert!(audio.sampler().plan().is_stochastic() && mentions(&audio, "BrownianPath"));
    assert!(!in_steps(EDM, &[], 12).sampler().plan().is_stochastic());
}

#[test]
fn a_strength_counts_the_last_step_that_is_left_out() {
    let karras = [("use_karras_sigmas", Value::from(true))];
    for (steps, strength) in [(10usize, 0.34), (10, 0.8), (7, 0.5), (9, 1.0)] {
        let request = Request::steps(steps).strength(strength);
        let kept = (steps as f64 * strength) as usize;
        for class in [DEIS, SA] {
            let (whole, cut) = (
                in_steps(class, &karras, steps),
                read(class, &karras, &request),
            );
            // The last of the kept steps is the one that changes nothing.
            assert_eq!(
                cut.sigmas(),
                whole.sigmas()[steps - kept..],
                "{class} {steps}"
            );
        }
    }
    let error = refused(DEIS, &karras, &Request::steps(10).strength(0.1));
    assert!(
        matches!(
            error,
            Error::InvalidParameter {
                name: "strength",
                value: 0.1,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(DEIS, &karras, &Request::steps(10).strength(1.5));
    assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
}

#[test]
fn a_trailing_list_has_no_time_below_the_table() {
    // 15 strides of 1100/15 do not quite reach 1100.
    let fields = [
        ("num_train_timesteps", Value::from(1100)),
        ("timestep_spacing", "trailing".into()),
    ];
    let configured = in_steps(DPM, &fields, 15);
    assert_eq!(configured.times().len(), 15);
    assert!(mentions(&configured, "one time more"));
    assert!(!mentions(&in_steps(DPM, &fields, 11), "one time more"));
}
