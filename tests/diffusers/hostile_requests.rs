//! Requests that no pipeline makes.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, Request, classes};
use diffusion_sampler::solver::Churn;

use super::hostile::{of_class, outcome, usual};

#[test]
fn a_number_of_steps_that_no_memory_holds_or_none_is_refused() {
    for class in classes() {
        for steps in [0, 100_001, 1 << 24, 1 << 53, usize::MAX - 1, usize::MAX] {
            for request in [
                Request::steps(steps),
                Request::steps(steps).uniform_sigmas(),
            ] {
                let request = request.image_tokens(600);
                match of_class(class).sampler(&request) {
                    Err(Error::StepCount {
                        steps: found,
                        min: 1,
                        ..
                    }) => assert_eq!(found, steps),
                    other => panic!("{class}, {steps}: {other:?}"),
                }
            }
        }
        // The most steps, and one.
        for steps in [1, 2, 60, 61, 100_000] {
            let _ = outcome(
                &of_class(class),
                &usual_with(steps),
                &format!("{class}, {steps} steps"),
            );
        }
    }
}

fn usual_with(steps: usize) -> Request {
    Request::steps(steps).image_tokens(600)
}

#[test]
fn lists_that_are_empty_or_hold_what_is_no_number_are_refused_with_the_entry() {
    for class in classes() {
        for list in [Request::of_sigmas, Request::of_times] {
            match of_class(class).sampler(&list(&[])) {
                Err(Error::EmptyList {
                    name: "sigmas" | "times",
                }) => {}
                other => panic!("{class}: {other:?}"),
            }
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                match of_class(class).sampler(&list(&[1.0, bad])) {
                    Err(Error::InvalidEntry {
                        name: "sigmas" | "times",
                        index: 1,
                        ..
                    }) => {}
                    other => panic!("{class}: {other:?}"),
                }
            }
        }
        let told = usual().with_times(&[1.0, f64::NAN]);
        let error = of_class(class).sampler(&told).expect_err(class);
        assert!(
            matches!(
                error,
                Error::InvalidEntry {
                    name: "times",
                    index: 1,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn lists_that_do_not_fall_or_leave_the_schedule_give_a_typed_error() {
    let long: Vec<f64> = (0..100_001).rev().map(f64::from).collect();
    let lists: [&[f64]; 14] = [
        &[0.0],
        &[1.0],
        &[-1.0],
        &[0.5, 0.5],
        &[0.1, 0.9],
        &[1.5, 0.5],
        &[59.0, 30.0, 0.0],
        &[60.0],
        &[59.0, 59.0],
        &[1e308, 1.0],
        &[1e18, -1e18],
        &[5e-324],
        &[59.0, 0.5, 0.25],
        &long,
    ];
    for class in classes() {
        for list in lists {
            for request in [Request::of_sigmas(list), Request::of_times(list)] {
                for request in [request.clone(), request.as_published()] {
                    let request = request.image_tokens(600);
                    let place = format!("{class}, {} entries from {}", list.len(), list[0]);
                    let _ = outcome(&of_class(class), &request, &place);
                }
            }
        }
    }
}

#[test]
fn a_strength_that_is_no_share_or_leaves_no_step_is_refused() {
    for class in classes() {
        for strength in [
            -1.0,
            -5e-324,
            1.0 + 1e-15,
            2.0,
            1e308,
            f64::NAN,
            f64::INFINITY,
        ] {
            let refused = of_class(class)
                .sampler(&usual().strength(strength))
                .expect_err(class);
            let expected = matches!(
                refused,
                Error::InvalidParameter {
                    name: "strength",
                    ..
                } | Error::RequestRefused { .. }
            );
            assert!(expected, "{class}: {refused:?}");
        }
        for strength in [0.0, -0.0] {
            let refused = of_class(class)
                .sampler(&usual().strength(strength))
                .expect_err(class);
            let expected = matches!(
                refused,
                Error::InvalidParameter {
                    name: "strength",
                    ..
                } | Error::RequestRefused { .. }
            );
            assert!(expected, "{class}: {refused:?}");
        }
        for strength in [5e-324, 0.1, 0.5, 0.999_999, 1.0] {
            for request in [usual(), usual().as_published()] {
                let place = format!("{class}, strength {strength}");
                let _ = outcome(&of_class(class), &request.strength(strength), &place);
            }
        }
    }
}

#[test]
fn hostile_numbers_of_a_request_give_a_sound_sampler_or_a_typed_error() {
    let numbers = [
        0.0,
        -0.0,
        -1.0,
        1.0,
        1e9,
        -1e9,
        700.0,
        -700.0,
        1e308,
        -1e308,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let mut requests = Vec::new();
    for number in numbers {
        requests.push((format!("mu {number}"), usual().mu(number)));
        requests.push((format!("eta {number}"), usual().eta(number)));
        if let Ok(churn) = Churn::new(number) {
            requests.push((format!("churn {number}"), usual().churn(churn)));
        }
        if let Ok(churn) = Churn::new(1.0).expect("a churn").with_noise(number) {
            requests.push((format!("noise of churn {number}"), usual().churn(churn)));
        }
    }
    for tokens in [0, 1, 1 << 32, 1 << 53, usize::MAX] {
        for (rule, request) in [
            ("the file's", Request::steps(5)),
            ("FLUX.2's", Request::steps(5).mu_of_flux2()),
            ("CogView4's", Request::steps(5).mu_of_cogview4()),
            ("Qwen's", Request::steps(5).mu_of_qwen_layered()),
        ] {
            requests.push((
                format!("{tokens} tokens, {rule}"),
                request.image_tokens(tokens),
            ));
        }
    }
    for class in classes() {
        for dynamic in [false, true] {
            for flow in [false, true] {
                let mut config = of_class(class).with_field("use_dynamic_shifting", dynamic);
                if flow {
                    config = config
                        .with_field("use_flow_sigmas", true)
                        .with_field("prediction_type", "flow_prediction");
                }
                for (name, request) in &requests {
                    for request in [request.clone(), request.clone().as_published()] {
                        let place = format!("{class}, dynamic {dynamic}, flow {flow}, {name}");
                        let _ = outcome(&config, &request, &place);
                    }
                }
            }
        }
    }
}

/// All that a run depends on.
fn parts(configured: &Configured) -> impl PartialEq + std::fmt::Debug + use<> {
    let sampler = configured.sampler();
    (
        sampler.plan().fingerprint(),
        configured.network_times(),
        format!("{:?} {:?}", configured.prediction(), sampler.clip()),
        sampler.start_variance().to_bits(),
    )
}

#[test]
fn an_option_of_a_request_makes_a_difference_or_is_reported_as_unused() {
    let churn = Churn::new(2.0).expect("a churn");
    let told = [50.0, 40.0, 30.0, 20.0, 10.0];
    type Change = Box<dyn Fn(Request) -> Request>;
    let options: [(&str, Change); 10] = [
        ("uniform_sigmas", Box::new(Request::uniform_sigmas)),
        (
            "with_times",
            Box::new(move |request| request.with_times(&told)),
        ),
        (
            "image_tokens",
            Box::new(|request| request.image_tokens(600)),
        ),
        ("mu", Box::new(|request| request.mu(0.3))),
        ("strength", Box::new(|request| request.strength(0.6))),
        ("eta", Box::new(|request| request.eta(0.5))),
        ("churn", Box::new(move |request| request.churn(churn))),
        ("reversed_output", Box::new(Request::reversed_output)),
        ("network_time", Box::new(Request::network_time_from_one)),
        (
            "use_clipped_model_output",
            Box::new(Request::use_clipped_model_output),
        ),
    ];
    let mut both = (0, 0);
    for class in classes() {
        let config = of_class(class);
        let plain = config.sampler(&Request::steps(5));
        for (name, option) in &options {
            let Ok(configured) = config.sampler(&option(Request::steps(5))) else {
                continue;
            };
            let plain = plain.as_ref().expect(class);
            let same = parts(plain) == parts(&configured);
            let unused = configured.report().unused.contains(name);
            assert_eq!(same, unused, "{class}, {name}");
            both = (both.0 + usize::from(same), both.1 + usize::from(!same));
        }
    }
    assert!(both.0 > 50 && both.1 > 50, "{both:?}");
}
