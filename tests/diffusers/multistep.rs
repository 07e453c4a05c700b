//! The multistep classes: their lists by formulas of their own, and what each field changes.

use diffusion_sampler::clip::ClipNoise;
use diffusion_sampler::diffusers::{Configured, Defect, Request, SchedulerConfig, Value};
use diffusion_sampler::{Error, plan::Step};

pub(crate) const DPM: &str = "DPMSolverMultistepScheduler";
pub(crate) const SINGLE: &str = "DPMSolverSinglestepScheduler";
pub(crate) const UNIPC: &str = "UniPCMultistepScheduler";
pub(crate) const DEIS: &str = "DEISMultistepScheduler";
pub(crate) const SA: &str = "SASolverScheduler";
pub(crate) const EDM: &str = "EDMDPMSolverMultistepScheduler";
pub(crate) const COSINE: &str = "CosineDPMSolverMultistepScheduler";
/// Those that know tables and flows.
pub(crate) const TABLES: [&str; 5] = [DPM, SINGLE, UNIPC, DEIS, SA];

type Fields<'a> = &'a [(&'a str, Value)];

/// Stable Diffusion's table, and these fields.
pub(crate) fn config(class: &str, fields: Fields<'_>) -> SchedulerConfig {
    let text = r#"{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}"#;
    let config = SchedulerConfig::from_json(text).expect("the text is JSON");
    let fields = fields.iter().cloned();
    fields.fold(config.with_class(class), |config, (name, value)| {
        config.with_field(name, value)
    })
}

pub(crate) fn read(class: &str, fields: Fields<'_>, request: &Request) -> Configured {
    let read = config(class, fields).sampler(request);
    read.unwrap_or_else(|error| panic!("{class} {fields:?}: {error}"))
}

pub(crate) fn in_steps(class: &str, fields: Fields<'_>, steps: usize) -> Configured {
    read(class, fields, &Request::steps(steps))
}

pub(crate) fn refused(class: &str, fields: Fields<'_>, request: &Request) -> Error {
    match config(class, fields).sampler(request) {
        Ok(_) => panic!("{class} {fields:?} is read"),
        Err(error) => error,
    }
}

/// ρ at the indices of Stable Diffusion's table, by the products themselves.
pub(crate) fn rhos() -> Vec<f64> {
    let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
    let mut log = 0.0;
    let rho = |i: u32| {
        let root = first + (last - first) * f64::from(i) / 999.0;
        log += (-root * root).ln_1p();
        (-f64::exp_m1(log) / log.exp()).sqrt()
    };
    (0..1000).map(rho).collect()
}

/// The index, linear in ln ρ between two, at which the table has this ρ.
pub(crate) fn index(rho: f64) -> f64 {
    let table = rhos();
    let above = table.iter().position(|&entry| entry > rho);
    let high = above.unwrap_or(999).max(1);
    let (a, b) = (table[high - 1].ln(), table[high].ln());
    (high - 1) as f64 + ((rho.ln() - a) / (b - a)).clamp(0.0, 1.0)
}

pub(crate) fn close(ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{ours:?} {expected:?}");
    for (a, b) in ours.iter().zip(expected) {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "{ours:?} {expected:?}"
        );
    }
}

/// The number of older estimates in each step.
fn older(configured: &Configured) -> Vec<usize> {
    let steps = configured.sampler().plan().steps().iter();
    steps
        .map(|step| step.stages[0].update.history.len())
        .collect()
}

pub(crate) fn mentions(configured: &Configured, word: &str) -> bool {
    configured
        .report()
        .notes
        .iter()
        .any(|note| note.contains(word))
}

fn names(defects: &[(Defect, bool)]) -> Vec<Defect> {
    defects.iter().map(|&(defect, _)| defect).collect()
}

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
        close(&[last(class, &[least.clone()])], &[first], 1e-13);
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
        let error = refused(class, &[karras.clone()], &Request::steps(1));
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
    assert_eq!(orders(&[third.clone()], 6), [1, 2, 3, 1, 2, 1]);
    assert_eq!(orders(&[third.clone()], 7), [1, 2, 3, 1, 2, 3, 1]);
    // The last of these leads onto σ = 0.
    assert_eq!(orders(&[third.clone()], 5), [1, 2, 3, 1, 1]);
    let end = ("final_sigmas_type", Value::from("sigma_min"));
    assert_eq!(orders(&[end.clone()], 6), [1, 2, 1, 2, 1, 2]);
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
fn a_network_that_returns_a_variance_too_is_noted() {
    for class in [DPM, SINGLE, SA] {
        let configured = in_steps(class, &[("variance_type", "learned_range".into())], 5);
        assert!(mentions(&configured, "first half"), "{class}");
        let configured = in_steps(class, &[("variance_type", Value::Null)], 5);
        assert!(!mentions(&configured, "first half"), "{class}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_by_its_field() {
    let (yes, flow) = (Value::from(true), ("use_flow_sigmas", Value::from(true)));
    let fields: &[(&str, &[(&str, Value)], &str)] = &[
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
    for (class, field) in [(DPM, "solver_order"), (SA, "corrector_order")] {
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
