//! Steps of almost nothing beside ordinary ones: no difference quotient may be taken over them.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Real, Sampler,
    oracle::{Gaussian, Oracle},
    plan::{Plan, Step, Store, Update},
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, SecondOrderForm, Solver},
};
use ndarray::Array2;

use crate::common::Line;

/// DPM-Solver++(2M), written again from the published formula, with any bound on the ratio.
#[derive(Clone, Copy, Debug)]
struct Bounded {
    tau: f64,
    form: SecondOrderForm,
    bound: f64,
}

impl Solver for Bounded {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let edges: Vec<_> = path.edges().collect();
        let sizes: Vec<f64> = edges
            .iter()
            .map(|(from, to)| to.lambda() - from.lambda())
            .collect();
        let mut distance = f64::NAN;
        let mut steps = Vec::new();
        for (index, &(from, to)) in edges.iter().enumerate() {
            let posterior = StridedPosterior::new(from, to, Kappa::Tau(self.tau))?;
            let h = sizes[index];
            let q = distance / h;
            let z = (1.0 + self.tau * self.tau) * h;
            let extra = match self.form {
                _ if h.is_infinite() || q.is_nan() || q < self.bound => 0.0,
                SecondOrderForm::Exact => to.alpha() * (1.0 + libm::expm1(-z) / z) / q,
                _ => to.alpha() * -libm::expm1(-z) / (2.0 * q),
            };
            // What was kept before is better for a later step that would find this D too near.
            let mut later = (index + 1..sizes.len()).filter(|&j| sizes[j].is_finite());
            let far = |j: usize| {
                let next = j == index + 1;
                let bound = if next {
                    self.bound
                } else {
                    self.bound.min(1.0 / 16.0)
                };
                sizes[index..j].iter().sum::<f64>() >= bound * sizes[j]
            };
            let any = sizes.get(index + 1).is_some_and(|h| h.is_finite());
            let keep = from.alpha() > 0.0 && any && later.all(far);
            let history = if extra == 0.0 {
                Vec::new()
            } else {
                vec![(0, -extra)]
            };
            let update = Update {
                state: posterior.state_coefficient(),
                data: posterior.data_coefficient() + extra,
                history,
                noise: posterior.gamma(),
                store: keep.then(|| Store::data(0)),
            };
            steps.push(Step::simple(from, to, update));
            distance = if keep { h } else { distance + h };
        }
        Plan::new(steps, 1)
    }

    fn order(&self) -> usize {
        2
    }
}

/// The root mean square error at the clean end, against the exact flow from the grid's start.
fn error<A: Real>(line: &Line, path: &Path<'_>, solver: &dyn Solver, kind: Prediction) -> f64 {
    const COUNT: usize = 24;
    let start = path.grid().start();
    let x = line.quantiles(COUNT, &start);
    let exact = line.quantiles(COUNT, &path.grid().end());
    let x = Array2::from_shape_fn((COUNT, 1), |(i, _)| A::cast(x[i]));
    let sampler = Sampler::along(path, solver).unwrap();
    let mut run = sampler.start_from(x, kind, KeyedNoise::new(0)).unwrap();
    run.complete(&mut line.mixture().denoiser(kind)).unwrap();
    let end = run.into_state();
    let squares: f64 = end
        .iter()
        .zip(&exact)
        .map(|(x, exact)| (x.widen() - exact).powi(2))
        .sum();
    (squares / COUNT as f64).sqrt()
}

/// The trailing grid with a knot put `fraction` of a step above knot `at`; for `at` = 1 it is the
/// start.
fn with_short(
    schedule: &dyn NoiseSchedule,
    steps: usize,
    at: usize,
    fraction: f64,
) -> Option<Grid> {
    let grid = Grid::trailing(schedule, steps).unwrap();
    let mut times: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
    let short = times[at] + fraction * (times[at - 1] - times[at]);
    if at == 1 {
        times[0] = short;
    } else {
        times.insert(at, short);
    }
    Grid::from_times(schedule, &times).ok()
}

fn schedules() -> Vec<(&'static str, Box<dyn NoiseSchedule>)> {
    vec![
        ("flow", Box::new(RectifiedFlow::new())),
        (
            "flow, shift 3",
            Box::new(RectifiedFlow::shifted(3.0).unwrap()),
        ),
        (
            "linear",
            Box::new(TableSchedule::linear(1000, 1e-4, 0.02).unwrap()),
        ),
        ("cosine", Box::new(TableSchedule::cosine(1000).unwrap())),
        ("VP", Box::new(VariancePreserving::default())),
    ]
}

const FRACTIONS: [f64; 14] = [
    3e-16, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.0624, 0.0626, 0.1, 0.2, 0.26, 0.5, 0.75,
];

const FORMS: [SecondOrderForm; 2] = [SecondOrderForm::Midpoint, SecondOrderForm::Exact];

fn in_type(
    single: bool,
    line: &Line,
    path: &Path<'_>,
    solver: &dyn Solver,
    kind: Prediction,
) -> f64 {
    if single {
        error::<f32>(line, path, solver, kind)
    } else {
        error::<f64>(line, path, solver, kind)
    }
}

/// The largest ratio of the error of `solvers` to that of DDIM on the same grids, and the place.
fn worst(
    solvers: &[Box<dyn Solver>],
    (single, kind): (bool, Prediction),
    counts: &[usize],
) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for line in [Line::modes(), Line::normal()] {
        for (name, schedule) in schedules() {
            for &steps in counts {
                for at in [1, steps / 2, steps - 1] {
                    for fraction in FRACTIONS {
                        // A step that f64 does not resolve is no step: the grid refuses it.
                        let Some(grid) = with_short(&*schedule, steps, at, fraction) else {
                            continue;
                        };
                        let path = Path::new(&*schedule, &grid).unwrap();
                        let first = in_type(single, &line, &path, &FirstOrder::ddim(), kind);
                        for solver in solvers {
                            let ratio = in_type(single, &line, &path, solver, kind) / first;
                            assert!(ratio.is_finite());
                            if ratio > worst.0 {
                                let place = format!("{name}, K {steps}, knot {at}, {fraction:e}");
                                worst = (ratio, place);
                            }
                        }
                    }
                }
            }
        }
    }
    worst
}

fn multistep() -> Vec<Box<dyn Solver>> {
    let solver = DpmSolverPlusPlus::new();
    FORMS
        .map(|form| Box::new(solver.with_form(form)) as Box<dyn Solver>)
        .into()
}

#[test]
fn second_order_over_any_step_ratio_is_never_worse_than_first() {
    for case in [
        (false, Prediction::Data),
        (true, Prediction::Data),
        (true, Prediction::Flow),
    ] {
        let (ratio, place) = worst(&multistep(), case, &[5, 10, 50]);
        println!("{case:?}: at most {ratio:.3} of first order's error, {place}");
        assert!(ratio < 1.03, "{case:?}: {ratio} at {place}");
    }
}

#[test]
fn without_a_bound_on_the_ratio_the_same_scan_finds_the_defect() {
    let unbounded = FORMS.map(|form| {
        let (tau, bound) = (0.0, 0.0);
        Box::new(Bounded { tau, form, bound }) as Box<dyn Solver>
    });
    let (ratio, _) = worst(&unbounded, (true, Prediction::Flow), &[10]);
    assert!(ratio > 1e6, "{ratio}");
}

#[test]
fn the_plan_is_the_published_formula_with_bounds_on_the_ratio() {
    for (name, schedule) in schedules() {
        for steps in [1, 2, 5, 10, 50] {
            let knots = if steps > 1 {
                vec![1, steps - 1]
            } else {
                vec![1]
            };
            for (at, fraction) in knots.iter().flat_map(|&at| FRACTIONS.map(|f| (at, f))) {
                let Some(grid) = with_short(&*schedule, steps, at, fraction) else {
                    continue;
                };
                let path = Path::new(&*schedule, &grid).unwrap();
                for (tau, form) in [
                    (0.0, FORMS[0]),
                    (0.0, FORMS[1]),
                    (1.0, FORMS[0]),
                    (0.6, FORMS[1]),
                ] {
                    let bound = match form {
                        _ if tau == 0.0 => 1.0 / 16.0,
                        SecondOrderForm::Exact => 0.5,
                        _ => 0.25,
                    };
                    let expected = Bounded { tau, form, bound }.plan(&path).unwrap();
                    let solver = DpmSolverPlusPlus::new()
                        .with_form(form)
                        .with_tau(tau)
                        .unwrap();
                    let plan = solver.plan(&path).unwrap();
                    // Without the bound it is the published formula at every ratio.
                    let published = Bounded {
                        tau,
                        form,
                        bound: 0.0,
                    };
                    let (free, published) = (
                        solver.unbounded().plan(&path).unwrap(),
                        published.plan(&path).unwrap(),
                    );
                    for (own, other) in free.stages().zip(published.stages()) {
                        let (own, other) = (&own.update, &other.update);
                        assert_eq!(own.store, other.store);
                        // A shorter step is known to few digits only.
                        let near = (own.data - other.data).abs() <= 1e-8 * other.data.abs();
                        assert!(near || fraction < 1e-4, "{} {}", own.data, other.data);
                    }
                    for (own, other) in plan.stages().zip(expected.stages()) {
                        let (own, other) = (&own.update, &other.update);
                        let place = format!("{name}, K {steps}, knot {at}, {fraction:e}");
                        assert_eq!(own.store, other.store, "{place}");
                        assert_eq!(own.history.len(), other.history.len(), "{place}");
                        let mut pairs = vec![(own.state, other.state), (own.data, other.data)];
                        if let ([own], [other]) = (&own.history[..], &other.history[..]) {
                            pairs.push((own.1, other.1));
                        }
                        for (own, other) in pairs {
                            let near = (own - other).abs() <= 1e-9 * other.abs().max(1e-6);
                            assert!(near, "{place}: {own} {other}");
                        }
                        // The weights together stay below what q = 1/16 allows.
                        let total: f64 = own.history.iter().map(|h| h.1.abs()).sum();
                        assert!(total <= 16.0, "{place}: {total}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_start_within_rounding_of_a_knot_is_as_good_as_the_knot() {
    // The grids of the report: a flow, and a linear table, started a little above a knot.
    let flow = RectifiedFlow::new();
    let table = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let cases: [(&dyn NoiseSchedule, f64, &[f64]); 2] = [
        (
            &flow,
            0.3,
            &[0.1 * 3.0, 0.3 + 1e-12, 0.3 + 1e-6, 0.3 + 1e-4],
        ),
        (&table, 700.0, &[700.0000000001, 700.000001, 700.001, 700.1]),
    ];
    for (schedule, knot, starts) in cases {
        for kind in [Prediction::Data, Prediction::Flow, Prediction::Velocity] {
            let error_of = |start: f64| {
                let grid = Grid::trailing(schedule, 10)
                    .unwrap()
                    .starting_at(schedule, schedule.level(start).unwrap())
                    .unwrap();
                let path = Path::new(schedule, &grid).unwrap();
                let solver = DpmSolverPlusPlus::new();
                let line = Line::modes();
                [
                    error::<f32>(&line, &path, &solver, kind),
                    error::<f64>(&line, &path, &solver, kind),
                ]
            };
            let at = error_of(knot);
            for &start in starts {
                for (found, at) in error_of(start).into_iter().zip(at) {
                    assert!(found < 1.02 * at, "{kind:?} from {start}: {found} for {at}");
                }
            }
        }
    }
}

#[test]
fn several_tiny_steps_in_a_row_do_no_harm() {
    let flow = RectifiedFlow::new();
    let line = Line::modes();
    for tiny in [1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3] {
        for runs in [2, 3, 7] {
            // Before every ordinary step, so many tiny ones.
            let times: Vec<f64> = (0..=10)
                .rev()
                .flat_map(|k| {
                    let last = if k == 0 || k == 10 { 0 } else { runs };
                    (0..=last).map(move |j| f64::from(k) / 10.0 + tiny * f64::from(last - j))
                })
                .collect();
            let grid = Grid::from_times(&flow, &times).unwrap();
            let path = Path::new(&flow, &grid).unwrap();
            for (single, kind) in [(true, Prediction::Flow), (false, Prediction::Data)] {
                let first = in_type(single, &line, &path, &FirstOrder::ddim(), kind);
                for solver in multistep() {
                    let found = in_type(single, &line, &path, &solver, kind);
                    assert!(found < 0.7 * first, "{tiny:e}, {runs}: {found} for {first}");
                }
            }
        }
    }
}

/// The W₂ distance of the end from the data, when the run starts from the exact distribution.
fn distance(data: &Gaussian, path: &Path<'_>, solver: &dyn Solver) -> f64 {
    let initial = data.at_level(&path.grid().start()).unwrap();
    let plan = solver.plan(path).unwrap();
    let states = plan.moments(data, &initial).unwrap();
    for state in &states {
        let fine = |v: &f64| v.is_finite() && *v >= 0.0;
        assert!(state.variances().iter().all(fine));
        assert!(state.mean().iter().all(|m| m.is_finite()));
    }
    let end = &states[states.len() - 1];
    assert!(end.kl(data).is_ok_and(|kl| !kl.is_nan()));
    end.wasserstein_squared(data).unwrap().sqrt()
}

/// The largest ratio of the distance of `solver` to that of first order with its τ, and the place.
fn worst_distance(tau: f64, solver: &dyn Solver) -> (f64, String) {
    let mut worst = (0.0, String::new());
    let fractions = (1..40).map(|i| f64::from(i) * 0.0125);
    let fractions: Vec<f64> = FRACTIONS.into_iter().chain(fractions).collect();
    for variances in [[0.25, 1e-4], [0.04, 1.0], [4.0, 4.0]] {
        let data = Gaussian::diagonal(&[0.7, -1.0], &variances).unwrap();
        for (name, schedule) in schedules() {
            for (steps, at) in [(5, 1), (5, 2), (5, 4), (10, 1), (10, 5), (50, 1), (50, 49)] {
                for &fraction in &fractions {
                    let Some(grid) = with_short(&*schedule, steps, at, fraction) else {
                        continue;
                    };
                    let path = Path::new(&*schedule, &grid).unwrap();
                    let first = distance(&data, &path, &FirstOrder::new(Kappa::Tau(tau)));
                    let ratio = distance(&data, &path, solver) / first;
                    if ratio > worst.0 {
                        let place = format!("{name}, K {steps}, knot {at}, {fraction:e}");
                        worst = (ratio, place);
                    }
                }
            }
        }
    }
    worst
}

#[test]
fn moments_over_any_step_ratio_are_finite_and_never_worse_than_first_orders() {
    for tau in [0.0, 0.5, 1.0] {
        for form in FORMS {
            let solver = DpmSolverPlusPlus::new().with_form(form);
            let (ratio, place) = worst_distance(tau, &solver.with_tau(tau).unwrap());
            println!("{form:?}, tau {tau}: at most {ratio:.3} of first order's, {place}");
            assert!(ratio < 1.01, "{form:?}, tau {tau}: {ratio} at {place}");
        }
    }
}

#[test]
fn with_noise_the_bound_of_the_deterministic_method_would_not_do() {
    for (form, least) in FORMS.into_iter().zip([1.5, 2.5]) {
        let (tau, bound) = (1.0, 1.0 / 16.0);
        let (ratio, place) = worst_distance(tau, &Bounded { tau, form, bound });
        println!("{form:?} with the bound 1/16: {ratio:.3}, {place}");
        assert!(ratio > least, "{form:?}: {ratio}");
    }
}

#[test]
fn moments_after_one_step_of_heun_over_everything_are_finite_or_refused() {
    // One step of h ≈ 26: its variance was negative once.
    let data = Gaussian::isotropic(&[1.0], 0.25).unwrap();
    for (from, to) in [(1e-6, 1e5), (1e-10, 1e1), (1e-13, 1e13)] {
        let level = |time, rho: f64| NoiseLevel::new(time, 1.0, rho).unwrap();
        let grid = Grid::from_levels(vec![level(1.0, to), level(0.5, from)], 1.0).unwrap();
        let path = Path::without_schedule(&grid);
        let plan = Heun::new().plan(&path).unwrap();
        let initial = data.at_level(&grid.start()).unwrap();
        match plan.moments(&data, &initial) {
            Ok(states) => {
                assert!(states.iter().all(|state| {
                    state.variances()[0] >= 0.0 && state.variances()[0].is_finite()
                }))
            }
            Err(refused) => assert!(matches!(refused, Error::InvalidEntry { .. }), "{refused}"),
        }
    }
}
