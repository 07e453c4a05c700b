//! The multistep classes: orders, weights, corrections and noise.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, Defect, Request, Value};
use diffusion_sampler::plan::Step;

use super::multistep_common::*;

/// ∫₀ʰ e^−(h−v) q(v) dv by Gauss–Legendre on many panels.
fn integral(h: f64, q: impl Fn(f64) -> f64) -> f64 {
    let (panels, x) = (200, 0.6f64.sqrt());
    let panel = |k: i32| {
        let at = |x: f64| {
            let v = h * (f64::from(k) + 0.5 + 0.5 * x) / f64::from(panels);
            (v - h).exp() * q(v)
        };
        (5.0 * at(-x) + 8.0 * at(0.0) + 5.0 * at(x)) / 18.0
    };
    (0..panels).map(panel).sum::<f64>() * h / f64::from(panels)
}

/// What the third step adds for D = q(λ − λ_start), over α at its end.
fn third_step(configured: &Configured, q: impl Fn(f64) -> f64) -> (f64, f64) {
    let steps: &[Step] = configured.sampler().plan().steps();
    let (step, start) = (&steps[2], steps[2].from.lambda());
    let slot = |index: usize| steps[index].stages[0].update.store.expect("D is kept").slot;
    let at = |index: usize| q(steps[index].from.lambda() - start);
    let update = &step.stages[0].update;
    let weighted = update.history.iter().map(|&(from, weight)| {
        let index = (0..2).find(|&index| slot(index) == from).expect("a slot");
        weight * at(index)
    });
    let sum = update.data * q(0.0) + weighted.sum::<f64>();
    (sum / step.to.alpha(), step.to.lambda() - start)
}

#[test]
fn few_steps_end_with_lower_orders_and_many_do_not() {
    let end = ("final_sigmas_type", Value::from("sigma_min"));
    let third = ("solver_order", Value::from(3));
    let tail = |class: &str, fields: &[(&str, Value)], steps: usize| {
        let fields: Vec<_> = [third.clone()]
            .into_iter()
            .chain(fields.iter().cloned())
            .collect();
        let all = older(&in_steps(class, &fields, steps));
        all[all.len() - 3..].to_vec()
    };
    for (class, end) in [(DPM, vec![end.clone()]), (DEIS, vec![])] {
        assert_eq!(tail(class, &end, 14), [2, 1, 0], "{class}");
        assert_eq!(tail(class, &end, 15), [2, 2, 2], "{class}");
        let off = [end.as_slice(), &[("lower_order_final", false.into())]].concat();
        assert_eq!(tail(class, &off, 14), [2, 2, 2], "{class}");
    }
    // The last alone, and onto σ = 0 in any case.
    let euler = [end.clone(), ("euler_at_final", true.into())];
    assert_eq!(tail(DPM, &euler, 16), [2, 2, 0]);
    assert_eq!(tail(DPM, &[], 16), [2, 2, 0]);
    // A strength leaves out steps of the same list.
    let request = Request::steps(20).strength(0.5);
    let cut = read(DPM, &[third.clone(), end.clone()], &request);
    assert_eq!(older(&cut), [0, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn single_steps_have_the_orders_of_their_list() {
    let orders = |fields: Fields<'_>, steps: usize| -> Vec<usize> {
        older(&in_steps(SINGLE, fields, steps))
            .iter()
            .map(|terms| terms + 1)
            .collect()
    };
    assert_eq!(orders(&[], 6), [1, 2, 1, 2, 1, 1]);
    assert_eq!(orders(&[], 5), [1, 2, 1, 2, 1]);
    let third = ("solver_order", Value::from(3));
    assert_eq!(orders(std::slice::from_ref(&third), 6), [1, 2, 3, 1, 2, 1]);
    assert_eq!(
        orders(std::slice::from_ref(&third), 7),
        [1, 2, 3, 1, 2, 3, 1]
    );
    // The last of these leads onto σ = 0.
    assert_eq!(orders(std::slice::from_ref(&third), 5), [1, 2, 3, 1, 1]);
    let end = ("final_sigmas_type", Value::from("sigma_min"));
    assert_eq!(orders(std::slice::from_ref(&end), 6), [1, 2, 1, 2, 1, 2]);
    assert_eq!(orders(&[end.clone(), third.clone()], 5), [1, 2, 3, 1, 2]);
    let lower = [end.clone(), ("lower_order_final", true.into())];
    assert_eq!(orders(&lower, 6), [1, 2, 1, 2, 1, 1]);
    assert!(mentions(
        &in_steps(SINGLE, &[], 6),
        "lower_order_final is on"
    ));
    assert!(!mentions(
        &in_steps(SINGLE, &[end], 6),
        "lower_order_final is on"
    ));
    // From within a group the first step is of first order.
    let cut = read(SINGLE, &[third], &Request::steps(9).strength(0.9));
    let orders: Vec<usize> = older(&cut).iter().map(|terms| terms + 1).collect();
    assert_eq!(orders, [1, 2, 1, 2, 3, 1, 2, 1]);
}

#[test]
fn third_order_integrates_a_parabola_and_as_published_a_line_only() {
    let fields = [("solver_order", Value::from(3))];
    let (ours, theirs) = (
        in_steps(DPM, &fields, 8),
        read(
            DPM,
            &fields,
            &Request::steps(8).reproducing(Defect::HalfThirdOrder),
        ),
    );
    for (configured, exact) in [(&ours, [true, true, true]), (&theirs, [true, true, false])] {
        for (power, exact) in (0..).zip(exact) {
            let (sum, h) = third_step(configured, |v| v.powi(power));
            let error = (sum - integral(h, |v| v.powi(power))).abs();
            assert_eq!(error < 1e-12, exact, "{power}: {error:e}");
        }
    }
    // Half of the second difference: half of what it adds is missing.
    let (parabola, line) = (
        third_step(&ours, |v| v * v).0 - third_step(&theirs, |v| v * v).0,
        third_step(&theirs, |v| v * v).0,
    );
    assert!(parabola != 0.0 && line != 0.0);
    assert_eq!(names(&ours.report().defects), [Defect::HalfThirdOrder]);
    assert!(in_steps(DPM, &[], 8).report().defects.is_empty());
}

#[test]
fn the_wrong_sign_concerns_third_order_with_noise() {
    let noisy = [
        ("solver_order", Value::from(3)),
        ("algorithm_type", "sde-dpmsolver++".into()),
    ];
    let sign = Defect::WrongSignOfTheSecondDifference;
    let ours = in_steps(DPM, &noisy, 8);
    assert!(names(&ours.report().defects).contains(&sign));
    let request = Request::steps(8)
        .reproducing(sign)
        .reproducing(Defect::HalfThirdOrder);
    let theirs = read(DPM, &noisy, &request);
    // (1 − e^−z − z)/z² ± ½ times D'' = 2: the published weights differ by D''/2 · 2.
    let half = read(
        DPM,
        &noisy,
        &Request::steps(8).reproducing(Defect::HalfThirdOrder),
    );
    let (with, h) = third_step(&theirs, |v| v * v);
    let (without, _) = third_step(&half, |v| v * v);
    // D'' in units of the step is 2h², of which the difference formula takes half.
    assert!(
        (without - with - h * h).abs() < 1e-12,
        "{with} {without} {h}"
    );
    for power in [0, 1] {
        let (a, b) = (
            third_step(&theirs, |v| v.powi(power)).0,
            third_step(&half, |v| v.powi(power)).0,
        );
        assert!((a - b).abs() < 1e-12);
    }
    let second = [("algorithm_type", Value::from("sde-dpmsolver++"))];
    assert!(!names(&in_steps(DPM, &second, 8).report().defects).contains(&sign));
}

#[test]
fn a_bound_of_extrapolation_is_mentioned_where_it_binds() {
    let free = Defect::ExtrapolatesFreely;
    for class in TABLES {
        let even = in_steps(class, &[], 10);
        assert!(!names(&even.report().defects).contains(&free), "{class}");
    }
    // Neighbouring times: a very short step before a long one.
    let request = Request::of_times(&[900.0, 500.0, 499.0, 20.0]);
    let (ours, theirs) = (
        read(DPM, &[], &request),
        read(DPM, &[], &request.clone().reproducing(free)),
    );
    assert_eq!(ours.report().defects, [(free, false)]);
    assert_eq!(theirs.report().defects, [(free, true)]);
    assert_ne!(ours.sampler().plan(), theirs.sampler().plan());
}

#[test]
fn steps_named_by_disable_corrector_are_those_of_the_whole_list() {
    let at = |steps: &[f64]| [("disable_corrector", Value::Numbers(steps.to_vec()))];
    let plan = |fields: Fields<'_>, strength: f64| {
        let request = Request::steps(10).strength(strength);
        read(UNIPC, fields, &request).sampler().plan().clone()
    };
    // Of 10 steps the last 6 are 4 to 9.
    assert_ne!(plan(&at(&[5.0]), 0.6), plan(&at(&[]), 0.6));
    assert_eq!(plan(&at(&[1.0, 3.0]), 0.6), plan(&at(&[]), 0.6));
    assert_ne!(plan(&at(&[1.0, 3.0]), 1.0), plan(&at(&[]), 1.0));
    // A step that is not corrected: the next one leaves the state as it was predicted.
    let all: Vec<f64> = (0..10).map(f64::from).collect();
    let uncorrected = plan(&at(&all), 1.0);
    for step in uncorrected.steps() {
        let ratio = step.to.sigma() / step.from.sigma();
        assert!((step.stages[0].update.state - ratio).abs() < 1e-14);
    }
    let error = refused(UNIPC, &at(&[0.5]), &Request::steps(4));
    assert!(matches!(
        error,
        Error::InvalidField {
            field: "disable_corrector",
            ..
        }
    ));
}

#[test]
fn words_of_other_classes_are_read_as_what_they_become() {
    let plan = |class: &str, field: &str, word: &str| {
        in_steps(class, &[(field, word.into())], 8)
            .sampler()
            .plan()
            .clone()
    };
    for word in ["logrho", "bh1", "bh2"] {
        for class in [DPM, SINGLE, EDM] {
            let midpoint = plan(class, "solver_type", "midpoint");
            assert_eq!(plan(class, "solver_type", word), midpoint);
            assert_ne!(plan(class, "solver_type", "heun"), midpoint);
        }
    }
    for word in ["midpoint", "heun", "logrho"] {
        assert_eq!(
            plan(UNIPC, "solver_type", word),
            plan(UNIPC, "solver_type", "bh2")
        );
        assert_eq!(
            plan(DEIS, "solver_type", word),
            plan(DEIS, "solver_type", "logrho")
        );
    }
    assert_ne!(
        plan(UNIPC, "solver_type", "bh1"),
        plan(UNIPC, "solver_type", "bh2")
    );
    assert_eq!(
        plan(DPM, "algorithm_type", "deis"),
        plan(DPM, "algorithm_type", "dpmsolver++")
    );
    assert_eq!(
        plan(DEIS, "algorithm_type", "dpmsolver"),
        plan(DEIS, "algorithm_type", "deis")
    );
    let read = in_steps(DPM, &[("solver_type", "bh2".into())], 4);
    let fields = &read.report().read;
    let field = fields
        .iter()
        .find(|field| field.name == "solver_type")
        .expect("it is read");
    assert!(
        field.value.contains("bh2, read as midpoint"),
        "{}",
        field.value
    );
}

#[test]
fn sa_solver_has_noise_at_times_from_200_to_800() {
    let configured = in_steps(SA, &[], 25);
    let steps = configured.sampler().plan().steps();
    let mut both = [0, 0];
    for step in steps {
        let within = (200.0..=800.0).contains(&step.from.model_time());
        assert_eq!(step.stages[0].update.noise > 0.0, within, "{}", step.from);
        both[usize::from(within)] += 1;
    }
    assert!(both[0] > 3 && both[1] > 3);
    // Also where the network is told something else.
    let flow = [
        ("use_flow_sigmas", Value::from(true)),
        ("prediction_type", "flow_prediction".into()),
    ];
    let request = Request::steps(12).network_time_from_one();
    let configured = read(SA, &flow, &request);
    let listed = configured.times().to_vec();
    for (step, time) in configured.sampler().plan().steps().iter().zip(listed) {
        let within = (200.0..=800.0).contains(&time);
        assert_eq!(step.stages[0].update.noise > 0.0, within, "{time}");
    }
}

/// With noise as without: a knot within 1/16 of a step of another gives no difference.
#[test]
fn a_group_of_single_steps_with_noise_ends_at_a_knot_that_is_too_near() {
    let fields = [("algorithm_type", "sde-dpmsolver++".into())];
    let older = |times: &[f64]| {
        let configured = read(SINGLE, &fields, &Request::of_times(times));
        let step = &configured.sampler().plan().steps()[1];
        step.stages[0].update.history.len()
    };
    // The state and D at the group's first knot.
    assert_eq!(older(&[900.0, 600.0, 300.0, 100.0]), 2);
    assert_eq!(older(&[900.0, 860.0, 300.0, 100.0]), 2);
    assert_eq!(older(&[900.0, 899.0, 300.0, 100.0]), 0);
}
