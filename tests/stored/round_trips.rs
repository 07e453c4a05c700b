//! Every type comes back bit for bit, through every format.

use diffusion_sampler::{
    Error, NoiseLevel, Prediction, Sampler,
    guidance::{ClassifierGuidance, Memory, OnInterval, Rescaled, Unguided},
    plan::Kept,
    run::Snapshot,
    schedule::Sublevels,
    solver::{
        Belm, CfgPlusPlus, CfgPlusPlusSinglestep, DdimInversion, DpmPlusPlusSde, DpmSolver,
        DpmSolverPlusPlusSinglestep, ErNoise, ErSde, ExponentialAdams, ExponentialRungeKutta,
        GradientEstimation, HeavyBall, Heun, Lcm, RePaint, SaSolver, UniPc,
    },
};
use ndarray::{Array, ArrayD, Axis, Dimension};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use crate::formats::{assert_returns, of_postcard, postcard, returned, shown};
use crate::strategies::*;

/// One test for each type: whatever the strategy gives comes back.
macro_rules! returns {
    ($($test:ident: $strategy:expr;)+) => {$(
        #[test]
        fn $test() {
            proptest!(ProptestConfig::with_cases(256), |(value in $strategy)| {
                assert_returns(&value);
            });
        }
    )+};
}

returns! {
    levels_return: level();
    tables_return: table();
    variance_preserving_schedules_return: preserving();
    variance_exploding_schedules_return: exploding();
    edm_schedules_return: edm();
    flows_return: flow();
    model_times_of_flows_return: model_time();
    rescaled_schedules_return: unit_variance();
    ranges_of_lambda_return: range();
    grids_return: grid();
    kappa_policies_return: kappa();
    reverse_variances_return: variance();
    first_order_solvers_return: first_order();
    multistep_solvers_return: multistep();
    predictions_return: prediction();
    clips_return: clip();
    stores_return: store();
    updates_return: update();
    stages_return: stage();
    plans_return: plan();
    keyed_noise_returns: noise();
    intervals_return: interval();
    brownian_paths_return: path();
    streams_return: stream();
    keys_of_noise_return: key();
    guidance_weights_return: weight();
    classifier_free_guidance_returns: free();
    projected_guidance_returns: projected();
    zero_star_returns: zero_star();
    plus_plus_returns: plus_plus();
    tangential_guidance_returns: tangential();
    perpendicular_guidance_returns: perpendicular();
    composed_guidance_returns: composed();
    perturbed_guidance_returns: perturbed();
    weighted_sums_return: weighted_sum();
    combinations_return: combination();
}

/// α and σ with their logarithms are one level at every time of every schedule.
#[test]
fn levels_of_all_schedules_at_all_times_are_levels_when_they_are_read() {
    proptest!(ProptestConfig::with_cases(20_000), |(schedule in schedule(), part in 0.0..=1.0)| {
        for time in [part * schedule.last_time(), schedule.last_time(), 0.0] {
            let level = schedule.level(time).unwrap();
            assert_eq!(shown(&of_postcard::<NoiseLevel>(&postcard(&level)).unwrap()), shown(&level));
        }
    });
}

#[test]
fn types_without_numbers_return() {
    assert_returns(&Heun::new());
    assert_returns(&DdimInversion::new());
    assert_returns(&Lcm::new());
    assert_returns(&Lcm::new().without_boundary());
    for pair in [Belm::new(), Belm::new().from_pair()] {
        assert_returns(&pair);
        assert_returns(&pair.inverse());
    }
    assert_returns(&Unguided);
    assert_returns(&Memory { decay: -0.5 });
    assert_returns(&Kept::State);
}

/// Solvers with numbers: those that the constructors refuse apart.
#[test]
fn numbers_of_solvers_return() {
    fn check<T: Serialize + DeserializeOwned + std::fmt::Debug>(solver: Result<T, Error>) {
        if let Ok(solver) = solver {
            assert_returns(&solver);
        }
    }
    let numbers = (finite(), finite(), 0.0..1.0, 0.0..1.0, extended());
    proptest!(|((a, b, part, rest, end) in numbers, kappa in kappa(), order in 1usize..5)| {
        let (a, b) = (a.abs(), b.abs());
        check(DpmSolver::multistep(order).and_then(|s| s.with_tau(a)));
        check(ExponentialAdams::data(order).map(|s| s.with_kappa(kappa)));
        check(UniPc::order(order).map(|s| s.without_corrector_at(vec![order; order])));
        let adams = SaSolver::new(order, order - 1, part).unwrap();
        check(adams.within_rho(a, end));
        check(adams.within_model_time(-a, end));
        check(Ok(CfgPlusPlus::res().with_kappa(kappa)));
        check(CfgPlusPlusSinglestep::new(kappa).with_noise_scale(a));
        check(ErSde::order(order).and_then(|s| s.with_noise(ErNoise::Power(a))?.with_s_noise(b)));
        check(GradientEstimation::new().with_gamma(a));
        check(HeavyBall::order(order).and_then(|s| s.with_beta(part)));
        check(DpmPlusPlusSde::new().with_node(part).and_then(|s| s.with_eta(a)?.with_noise_scale(b)));
        for nodes in [&[part][..], &[0.5 * part, part + (1.0 - part) * rest]] {
            let plus_plus = DpmSolverPlusPlusSinglestep::order(nodes.len() + 1).unwrap();
            check(plus_plus.with_nodes(nodes).map(|s| s.with_kappa(kappa)));
            let exponential = ExponentialRungeKutta::res(nodes.len() + 1).unwrap().with_nodes(nodes);
            check(exponential.and_then(|s| s.with_tau(a)?.with_noise_scale(b)));
        }
    });
}

#[test]
fn solvers_and_schedules_around_others_return() {
    proptest!(|(solver in first_order(), length in 1usize.., count in 1usize..=1 << 24,
                schedule in exploding())| {
        assert_returns(&RePaint::new(solver, length, count).unwrap());
        assert_returns(&Sublevels::of(schedule, count).unwrap());
    });
}

#[test]
fn forms_around_forms_return() {
    proptest!(|(inner in projected(), free in free(), weight in weight(), low in 0.0..1.0,
                high in extended(), phi in 0.0..=1.0)| {
        let high = low + high.abs();
        prop_assume!(high > low);
        let on = OnInterval::new(inner, low, high).unwrap();
        assert_returns(&on);
        let rescaled = Rescaled::new(free, phi).unwrap();
        assert_returns(&rescaled);
        assert_returns(&ClassifierGuidance::new(weight.clone()));
        let deep = ClassifierGuidance::around(OnInterval::new(rescaled, low, high).unwrap(), weight);
        assert_returns(&deep);
    });
}

#[test]
fn samplers_return() {
    proptest!(|(plan in plan(), variance in finite(), clip in proptest::option::of(clip()))| {
        let sampler = Sampler::from_plan(plan, variance.abs()).unwrap();
        let sampler = clip.map_or(sampler.clone(), |clip| sampler.with_clip(clip));
        assert_returns(&sampler);
        for back in returned(&sampler) {
            prop_assert_eq!(back.plan().fingerprint(), sampler.plan().fingerprint());
        }
    });
}

/// Any snapshot: what there is, without a plan that it is of.
fn snapshot() -> BoxedStrategy<Snapshot<ArrayD<f64>>> {
    let shape = vec(0usize..4, 0..4);
    let arrays = shape.prop_flat_map(|shape| {
        let memory = proptest::option::of(array(&shape));
        (array(&shape), vec(array(&shape), 0..4), memory)
    });
    (
        any::<u64>(),
        (
            prediction(),
            proptest::option::of(clip()),
            any::<Option<u64>>(),
        ),
        any::<usize>(),
        any::<usize>(),
        level(),
        arrays,
    )
        .prop_map(
            |(plan, bound, step, stage, level, (state, history, memory))| Snapshot {
                plan,
                prediction: bound.0,
                clip: bound.1,
                noise: bound.2,
                step,
                stage,
                level,
                state,
                history,
                memory,
            },
        )
        .boxed()
}

/// The same snapshot with arrays of another type.
fn with<A, B, D: Dimension, E: Dimension>(
    snapshot: &Snapshot<Array<A, D>>,
    make: impl Fn(&Array<A, D>) -> Array<B, E>,
) -> Snapshot<Array<B, E>> {
    Snapshot {
        plan: snapshot.plan,
        prediction: snapshot.prediction,
        clip: snapshot.clip,
        noise: snapshot.noise,
        step: snapshot.step,
        stage: snapshot.stage,
        level: snapshot.level,
        state: make(&snapshot.state),
        history: snapshot.history.iter().map(&make).collect(),
        memory: snapshot.memory.as_ref().map(make),
    }
}

/// Elements and shape to the bit, whatever the layout.
fn elements<A: std::fmt::Debug, D: Dimension>(snapshot: &Snapshot<Array<A, D>>) -> String {
    let array = |a: &Array<A, D>| format!("{:?} {:?}", a.shape(), a.iter().collect::<Vec<_>>());
    let history: Vec<_> = snapshot.history.iter().map(array).collect();
    let memory = snapshot.memory.as_ref().map(array);
    let place = (snapshot.plan, snapshot.step, snapshot.stage, snapshot.level);
    let bound = (snapshot.prediction, snapshot.clip, snapshot.noise);
    format!(
        "{place:?} {bound:?} {} {history:?} {memory:?}",
        array(&snapshot.state)
    )
}

fn assert_snapshot_returns<A, D>(snapshot: &Snapshot<Array<A, D>>)
where
    A: diffusion_sampler::stored::Element,
    D: Dimension,
    Snapshot<Array<A, D>>: Serialize + DeserializeOwned,
{
    for back in returned(snapshot) {
        assert_eq!(elements(&back), elements(snapshot));
        assert!(back.state.is_standard_layout());
    }
}

#[test]
fn snapshots_return_in_both_precisions_of_every_shape_and_layout() {
    proptest!(|(snapshot in snapshot())| {
        assert_snapshot_returns(&snapshot);
        let single = with(&snapshot, |a| a.mapv(|v| {
            let v = v as f32;
            if v.is_finite() { v } else { f32::MAX.copysign(v) }
        }));
        assert_snapshot_returns(&single);
        assert_snapshot_returns(&with(&snapshot, |a| a.t().to_owned().reversed_axes()));
        assert_snapshot_returns(&with(&snapshot, |a| {
            let mut a = a.clone();
            if a.ndim() > 0 {
                a.invert_axis(Axis(0));
            }
            a
        }));
    });
}

#[test]
fn snapshots_of_fixed_dimensions_return() {
    let snapshot = Snapshot {
        plan: u64::MAX,
        prediction: Prediction::Flow,
        clip: None,
        noise: None,
        step: 3,
        stage: 0,
        level: diffusion_sampler::NoiseLevel::clean(),
        state: ndarray::array![[1.0f32, -0.0], [f32::MIN_POSITIVE, 0.1]],
        history: vec![ndarray::array![[1.0e-45f32, 2.0], [f32::MAX, 16777217.0]]],
        memory: None,
    };
    assert_snapshot_returns(&snapshot);
    assert_eq!(
        shown(&returned(&snapshot)),
        shown(&std::array::from_fn::<_, 5, _>(|_| &snapshot))
    );
}
