//! Strategies: what they draw is valid, covers the limits, is hardly ever rejected, and shrinks.

use std::collections::BTreeSet;
use std::fmt::Debug;

use diffusion_sampler::{
    Error, Grid, NoiseLevel, Prediction, Sampler,
    guidance::{Evaluation, MAX_OUTPUTS, Products},
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{FirstOrder, Path, catalogue},
    testing::{
        AnySchedule,
        proptest::{
            prelude::*,
            strategy::ValueTree,
            test_runner::{TestError, TestRunner},
        },
        strategies::{
            edges, grids, grids_of, guidances, kappas, levels, plans, posteriors, predictions,
            reverse_variances, schedules, tables,
        },
    },
};

use super::common::config;

/// Draws of a strategy; more than one rejection in fifty is an error.
fn draws<T: Debug>(strategy: &impl Strategy<Value = T>, count: u32) -> Vec<T> {
    let mut config = config(count);
    config.max_local_rejects = count / 50;
    let mut runner = TestRunner::new(config);
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// What is left of a case that always fails.
fn simplest<T: Debug + Clone>(strategy: &impl Strategy<Value = T>) -> T {
    let outcome = TestRunner::new(config(1)).run(strategy, |_| Err(TestCaseError::fail("always")));
    match outcome {
        Err(TestError::Fail(_, value)) => value,
        other => panic!("{other:?}"),
    }
}

/// The name of the constructor.
fn family(schedule: &AnySchedule) -> &str {
    schedule.recipe().split('(').next().unwrap()
}

#[test]
fn schedules_cover_every_family_and_both_ends() {
    let drawn = draws(&schedules(), 1000);
    let families: BTreeSet<&str> = drawn.iter().map(family).collect();
    let expected = BTreeSet::from([
        "Edm::new",
        "RectifiedFlow::new",
        "RectifiedFlow::shifted",
        "TableSchedule::cosine",
        "TableSchedule::from_alphas_cumprod",
        "TableSchedule::from_betas",
        "TableSchedule::linear",
        "TableSchedule::scaled_linear",
        "TableSchedule::sigmoid",
        "UnitVariance::of",
        "VarianceExploding::new",
        "VariancePreserving::new",
    ]);
    assert_eq!(families, expected);
    for schedule in &drawn {
        assert!(schedule.level(0.0).unwrap().is_clean());
        let last = schedule.level(schedule.last_time()).unwrap();
        let zero = schedule.recipe().ends_with(".zero_terminal_snr()?");
        assert_eq!(
            last.alpha() == 0.0,
            zero || family(schedule).starts_with("RectifiedFlow"),
            "{schedule:?}"
        );
    }
    let lengths: Vec<usize> = drawn.iter().filter_map(|s| s.table_len()).collect();
    assert!(lengths.contains(&1) && lengths.contains(&1000));
    let zeros = drawn
        .iter()
        .filter(|s| s.recipe().contains("zero_terminal"));
    assert!(zeros.count() > 30);
}

#[test]
fn tables_are_tables_and_shrink_to_one_knot() {
    assert!(
        draws(&tables(), 300)
            .iter()
            .all(|table| table.table_len().is_some())
    );
    assert_eq!(simplest(&tables()).table_len(), Some(1));
    assert_eq!(simplest(&schedules()).table_len(), Some(1));
}

#[test]
fn levels_cover_both_ends() {
    let drawn = draws(&levels(), 1000);
    assert!(drawn.iter().filter(|level| level.is_clean()).count() > 50);
    assert!(drawn.iter().filter(|level| level.alpha() == 0.0).count() > 10);
    assert!(
        drawn
            .iter()
            .any(|level| level.alpha() == 1.0 && level.sigma() > 1.0)
    );
    assert!(simplest(&levels()).is_clean());
}

#[test]
fn edges_lead_to_less_noise_and_reach_the_ends() {
    let drawn = draws(&edges(), 1000);
    for (t, s) in &drawn {
        assert!(s.lambda() > t.lambda());
        for kappa in [Kappa::Ddim, Kappa::Ddpm, Kappa::Fresh] {
            StridedPosterior::new(*t, *s, kappa).unwrap();
        }
    }
    let count = |test: &dyn Fn(&NoiseLevel, &NoiseLevel) -> bool| {
        drawn.iter().filter(|(t, s)| test(t, s)).count()
    };
    assert!(count(&|_, s| s.is_clean()) > 50);
    assert!(count(&|t, _| t.alpha() == 0.0) > 50);
    assert!(count(&|t, s| t.alpha() == 0.0 && s.is_clean()) > 5);
    assert!(count(&|t, s| t.time() - s.time() == 1.0) > 50);
    assert!(count(&|t, s| s.lambda() - t.lambda() < 0.05) > 20);
}

#[test]
fn grids_cover_the_limits_and_shrink_to_one_step() {
    let drawn = draws(&grids(), 2000);
    for (schedule, grid) in &drawn {
        Path::new(schedule, grid).unwrap();
    }
    let count = |test: &dyn Fn(&AnySchedule, &Grid) -> bool| {
        drawn
            .iter()
            .filter(|(schedule, grid)| test(schedule, grid))
            .count()
    };
    assert!(count(&|_, grid| grid.steps() == 1) > 200);
    assert!(count(&|_, grid| grid.steps() > 20) > 50);
    assert!(count(&|_, grid| grid.end().is_clean()) > 800);
    assert!(count(&|_, grid| !grid.end().is_clean()) > 100);
    assert!(count(&|_, grid| grid.start().alpha() == 0.0) > 100);
    assert!(count(&|schedule, grid| grid.start().time() < schedule.last_time()) > 100);
    let (schedule, grid) = simplest(&grids());
    assert_eq!((schedule.table_len(), grid.steps()), (Some(1), 1));
}

#[test]
fn grids_of_a_table_have_every_spacing() {
    let table = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let drawn = draws(&grids_of(table.clone()), 3000);
    let range = table.lambda_range();
    let spacings: [&dyn Fn(usize) -> Result<Grid, Error>; 6] = [
        &|steps| Grid::trailing(&table, steps),
        &|steps| Grid::leading(&table, steps, 1),
        &|steps| Grid::linspace(&table, steps),
        &|steps| Grid::quadratic(&table, steps),
        &|steps| Grid::ddim_quadratic(&table, steps),
        &|steps| Grid::uniform_lambda(&table, steps, range),
    ];
    for (index, spacing) in spacings.iter().enumerate() {
        let same = |grid: &&Grid| {
            grid.steps() > 3 && spacing(grid.steps()).is_ok_and(|expected| expected == **grid)
        };
        assert!(drawn.iter().filter(same).count() > 10, "spacing {index}");
    }
    let schedule = RectifiedFlow::new();
    let flow = draws(&grids_of(schedule), 300);
    // Lists of times from the noisiest down to clean.
    let free = |grid: &&Grid| {
        let spaced = [
            Grid::trailing(&schedule, grid.steps()),
            Grid::quadratic(&schedule, grid.steps()),
        ];
        let whole = grid.start().alpha() == 0.0 && grid.end().is_clean();
        whole && spaced.into_iter().flatten().all(|spaced| spaced != **grid)
    };
    assert!(flow.iter().filter(free).count() > 5);
    assert!(
        flow.iter()
            .all(|grid| grid.edges().all(|(t, s)| t.sigma() > s.sigma()))
    );
}

#[test]
fn policies_and_predictions_cover_every_kind() {
    let names = |drawn: &[Kappa]| -> BTreeSet<String> {
        let name = |kappa: &Kappa| format!("{kappa:?}").split('(').next().unwrap().to_owned();
        drawn.iter().map(name).collect()
    };
    let drawn = draws(&kappas(), 300);
    assert_eq!(names(&drawn).len(), 8);
    assert!(drawn.contains(&Kappa::Eta(1.0)) && drawn.contains(&Kappa::Tau(0.0)));
    assert_eq!(simplest(&kappas()), Kappa::Ddim);
    let kinds: BTreeSet<&str> = draws(&predictions(), 300)
        .iter()
        .map(|p| p.name())
        .collect();
    assert_eq!(kinds.len(), 8);
    assert_eq!(simplest(&predictions()), Prediction::Data);
    let policies: BTreeSet<String> = draws(&reverse_variances(), 100)
        .iter()
        .map(|policy| format!("{policy:?}").split('(').next().unwrap().to_owned())
        .collect();
    assert_eq!(policies.len(), 3);
    for q in draws(&posteriors(), 500) {
        assert!(q.gamma() <= q.to().sigma());
    }
}

#[test]
fn plans_come_from_the_whole_catalogue() {
    let drawn = draws(&plans(), 3000);
    let names: BTreeSet<&str> = drawn.iter().map(|(name, _)| *name).collect();
    let all: BTreeSet<&str> = catalogue().iter().map(|entry| entry.name).collect();
    assert_eq!(names, all);
    for (name, plan) in &drawn {
        assert!(
            !plan.start().is_clean() || name.ends_with("inversion"),
            "{name}"
        );
        // LCM misses the mean by its boundary scalings, by design; the other one's weights do not
        // sum to one.
        let misses = ["LCM", "iPNDM-v 4, as published"].contains(name);
        assert!(
            misses
                || plan
                    .mean_defect()
                    .unwrap()
                    .iter()
                    .all(|defect| *defect < 1e-9),
            "{name}"
        );
    }
    let (name, plan) = simplest(&plans());
    assert_eq!((name, plan.steps().len()), ("DDIM", 1));
}

#[test]
fn guidance_is_valid_with_sensible_and_with_extreme_weights() {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    for scales in [0.0..15.0, -1e6..1e6, -1e8..1e8] {
        let extreme = scales.end > 100.0;
        let drawn = draws(&guidances(scales), 500);
        let names: BTreeSet<&str> = drawn.iter().map(|form| form.name()).collect();
        assert_eq!(names.len(), 12, "{names:?}");
        for form in &drawn {
            let at = Evaluation::new(level, Prediction::Noise);
            let wanted = form.wanted(&at).unwrap();
            assert!((1..=MAX_OUTPUTS).contains(&wanted));
            // x = 1 and outputs 1, 2, … in one element, and a memory of 0.
            let arrays = wanted + 2;
            let value = |j: usize| {
                if j + 1 == arrays {
                    0.0
                } else {
                    j.max(1) as f64
                }
            };
            let sums: Vec<f64> = (0..arrays).map(value).collect();
            let inner: Vec<Vec<f64>> = sums
                .iter()
                .map(|a| sums.iter().map(|b| a * b).collect())
                .collect();
            let inner: Vec<&[f64]> = inner.iter().map(Vec::as_slice).collect();
            let products = Products::new(1, wanted, &sums, &inner).unwrap();
            match form.combine(&at, Some(&products)) {
                Ok(combination) => assert!(combination.models().iter().all(|w| w.is_finite())),
                // Two extreme scales may multiply beyond what a combination holds.
                Err(Error::InvalidEntry { value, .. }) => assert!(extreme && value.abs() > 1e9),
                Err(other) => panic!("{other}"),
            }
        }
    }
    // Beyond what a combination can hold nothing is generated but the forms without a scale.
    assert_eq!(
        simplest(&guidances(1.0..15.0)).name(),
        "classifier-free guidance"
    );
}

#[test]
fn a_failing_case_shows_how_to_make_its_schedule() {
    // What says so is the expression, and it compiles: here for those that shrink to their lower
    // bounds.
    let outcome = TestRunner::new(config(200)).run(&grids(), |(schedule, grid)| {
        let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
        prop_assume!(family(&schedule) == "RectifiedFlow::new");
        prop_assert!(sampler.plan().steps().len() < 3);
        Ok(())
    });
    match outcome {
        Err(TestError::Fail(_, (schedule, grid))) => {
            assert_eq!(format!("{schedule:?}"), "RectifiedFlow::new()");
            assert_eq!(grid.steps(), 3);
        }
        other => panic!("{other:?}"),
    }
}
