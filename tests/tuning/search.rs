//! Searched spacings against brute force over fine lattices.

use diffusion_sampler::oracle::{Gaussian, GaussianMixture};
use diffusion_sampler::schedule::{
    Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
};
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Heun, Ipndm, Solver, UniPc};
use diffusion_sampler::tuning::{SearchedSpacing, SpacingSearch, Spectrum, Surrogate};
use diffusion_sampler::{Error, Grid, Sampler};

fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

fn images(directions: usize) -> Gaussian {
    Spectrum::images().gaussian(directions).unwrap()
}

fn surrogate(data: &Gaussian) -> Surrogate {
    Surrogate::gaussian(data).unwrap()
}

/// The error on Gaussian data from the moments alone, in percent.
fn error_of(sampler: &Sampler, data: &Gaussian) -> f64 {
    let states = sampler.moments(data).unwrap();
    let (mut miss, mut total) = (0.0, 0.0);
    for (found, v) in states
        .last()
        .unwrap()
        .variances()
        .iter()
        .zip(data.variances())
    {
        miss += (found.sqrt() - v.sqrt()).powi(2);
        total += v;
    }
    100.0 * (miss / total).sqrt()
}

/// The error with inner knots at these λ.
fn error_at(solver: &dyn Solver, lambdas: &[f64], data: &Gaussian) -> f64 {
    let schedule = schedule();
    let inner = lambdas.iter().map(|l| schedule.time_of_lambda(*l).unwrap());
    let times: Vec<f64> = std::iter::once(1000.0).chain(inner).chain([0.0]).collect();
    let grid = Grid::from_times(&schedule, &times).unwrap();
    error_of(&Sampler::new(&schedule, &grid, solver).unwrap(), data)
}

fn lattice(count: usize) -> Vec<f64> {
    let range = schedule().lambda_range();
    let at = |k: usize| range.noisy() + (range.clean() - range.noisy()) * k as f64 / count as f64;
    (1..=count).map(at).collect()
}

fn unbounded<'a>(
    schedule: &'a dyn NoiseSchedule,
    solver: &'a dyn Solver,
    steps: usize,
) -> SpacingSearch<'a> {
    let infinite = f64::INFINITY;
    let search = SpacingSearch::new(schedule, solver, steps);
    search.with_bounds(infinite, infinite, infinite).unwrap()
}

#[test]
fn with_one_knot_the_search_finds_the_minimum_of_a_fine_lattice() {
    let (schedule, data) = (schedule(), images(12));
    let known = surrogate(&data);
    for solver in [
        &FirstOrder::ddim() as &dyn Solver,
        &FirstOrder::ddpm(),
        &DpmSolverPlusPlus::new(),
        &Heun::new(),
    ] {
        let found = unbounded(&schedule, solver, 2).run(&known, &known).unwrap();
        let errors = lattice(4000)
            .into_iter()
            .map(|l| (error_at(solver, &[l], &data), l));
        let (least, at) = errors.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        // Not above the lattice's, and below it by no more than a cell can hide.
        assert!(
            found.error() <= least * (1.0 + 1e-9),
            "{} {least}",
            found.error()
        );
        assert!(
            found.error() >= least * (1.0 - 1e-4),
            "{} {least}",
            found.error()
        );
        let knot = found.searched_grid().levels()[1].lambda();
        assert!((knot - at).abs() < 0.02, "{knot} {at}");
    }
}

#[test]
fn with_two_knots_the_search_finds_the_minimum_of_a_fine_lattice() {
    let (schedule, data) = (schedule(), images(8));
    let known = surrogate(&data);
    for solver in [
        &FirstOrder::ddim() as &dyn Solver,
        &DpmSolverPlusPlus::new(),
    ] {
        let found = unbounded(&schedule, solver, 3).run(&known, &known).unwrap();
        let knots = lattice(110);
        let mut least = f64::INFINITY;
        for (i, a) in knots.iter().enumerate() {
            for b in &knots[i + 1..] {
                least = least.min(error_at(solver, &[*a, *b], &data));
            }
        }
        assert!(
            found.error() <= least * (1.0 + 1e-9),
            "{} {least}",
            found.error()
        );
        assert!(found.error() >= least * 0.95, "{} {least}", found.error());
    }
}

#[test]
fn errors_are_those_of_the_grid_and_the_guard_compares_them() {
    let (schedule, solver) = (schedule(), DpmSolverPlusPlus::new());
    let (data, other) = (
        images(16),
        Spectrum::images()
            .tilted(0.2)
            .unwrap()
            .gaussian(16)
            .unwrap(),
    );
    for (steps, share) in [(4, 0.8), (10, 0.3)] {
        let search = SpacingSearch::new(&schedule, &solver, steps).with_evaluations(500);
        let found = search.run(&surrogate(&data), &surrogate(&other)).unwrap();
        assert!(found.evaluations() <= 500);
        let sampler = |grid: &Grid| Sampler::new(&schedule, grid, &solver).unwrap();
        let searched = sampler(found.searched_grid());
        assert!((error_of(&searched, &data) - found.error()).abs() < 1e-12);
        assert!((error_of(&searched, &other) - found.held_out_error()).abs() < 1e-12);
        assert!(
            searched
                .stability(&data)
                .unwrap()
                .warnings()
                .unwrap()
                .is_empty()
        );
        let mut least = f64::INFINITY;
        for fixed in found.fixed() {
            let held_out = error_of(&sampler(&fixed.grid), &other);
            assert!((held_out - fixed.held_out).abs() < 1e-12);
            if fixed.stable {
                least = least.min(held_out);
            }
        }
        assert_eq!(found.best_fixed().held_out, least);
        assert_eq!(found.accepted(), found.held_out_error() < least);
        assert!(
            found.accepted() && found.grid() == found.searched_grid(),
            "{found}"
        );
        assert!(found.error() < share * found.best_fixed().error, "{found}");
        assert!(found.to_string().contains("accepted"));
        assert_eq!(
            found,
            search.run(&surrogate(&data), &surrogate(&other)).unwrap()
        );
    }
}

#[test]
fn a_spacing_that_learnt_its_surrogate_by_heart_is_refused() {
    // One direction is fitted exactly by some knots, whatever they do to all others.
    let (schedule, solver) = (schedule(), FirstOrder::ddpm());
    let one = Gaussian::isotropic(&[0.0], 0.003).unwrap();
    let found = SpacingSearch::new(&schedule, &solver, 8)
        .run(&surrogate(&one), &surrogate(&images(64)))
        .unwrap();
    assert!(!found.accepted(), "{found}");
    assert_eq!(found.grid(), &found.best_fixed().grid);
    assert!(found.held_out_error() >= found.best_fixed().held_out);
    assert!(found.error() < found.best_fixed().error);
    assert!(found.to_string().contains("refused"));
}

#[test]
fn what_loses_on_the_data_of_the_search_is_not_accepted_either() {
    // With one knot from the last time on DDPM loses to a fixed spacing that starts below it; on
    // the tilted data it happens to win.
    let (schedule, solver) = (schedule(), FirstOrder::ddpm());
    let tilted = Spectrum::images().tilted(0.2).unwrap();
    let held_out = surrogate(&tilted.gaussian(16).unwrap());
    let found = SpacingSearch::new(&schedule, &solver, 2)
        .run(&surrogate(&images(16)), &held_out)
        .unwrap();
    assert!(found.held_out_error() < found.best_fixed().held_out);
    assert!(
        found
            .fixed()
            .iter()
            .any(|f| f.stable && f.error < found.error())
    );
    assert!(!found.accepted() && found.grid() == &found.best_fixed().grid);
    let told = found.to_string();
    assert!(
        told.contains("refused: no better on the data of the search"),
        "{told}"
    );
}

#[test]
fn an_unstable_spacing_is_never_taken() {
    let (schedule, data) = (schedule(), images(12));
    let known = surrogate(&data);
    let mut unstable = 0;
    for solver in [
        &Ipndm::order(4).unwrap() as &dyn Solver,
        &UniPc::order(3).unwrap(),
        &Heun::new(),
    ] {
        for steps in [4, 7] {
            let free = unbounded(&schedule, solver, steps)
                .run(&known, &known)
                .unwrap();
            let held = SpacingSearch::new(&schedule, solver, steps);
            let held = held.run(&known, &known).unwrap();
            let warnings = |found: &SearchedSpacing| {
                let sampler = Sampler::new(&schedule, found.searched_grid(), solver).unwrap();
                sampler.stability(&data).unwrap().warnings().unwrap().len()
            };
            assert_eq!(warnings(&held), 0);
            unstable += usize::from(warnings(&free) > 0);
        }
    }
    assert!(
        unstable > 0,
        "the bounds were never needed, and nothing was tested"
    );
}

#[test]
fn knots_on_the_table_are_whole_and_different() {
    let (schedule, solver) = (schedule(), DpmSolverPlusPlus::new());
    let known = surrogate(&images(12));
    let whole = SpacingSearch::new(&schedule, &solver, 10).on_table();
    let found = whole.run(&known, &known).unwrap();
    let times: Vec<f64> = found
        .searched_grid()
        .levels()
        .iter()
        .map(|l| l.time())
        .collect();
    assert!(times.iter().all(|t| t.fract() == 0.0), "{times:?}");
    assert_eq!((times[0], times[10]), (1000.0, 0.0));
    let free = SpacingSearch::new(&schedule, &solver, 10)
        .run(&known, &known)
        .unwrap();
    assert!(
        free.searched_grid()
            .levels()
            .iter()
            .any(|l| l.time().fract() != 0.0)
    );
    assert!(found.accepted());
    let all = SpacingSearch::new(&schedule, &solver, 1001).on_table();
    assert!(matches!(
        all.run(&known, &known),
        Err(Error::StepCount { max: 1000, .. })
    ));
    let flow = RectifiedFlow::new();
    let refused = SpacingSearch::new(&flow, &solver, 4)
        .on_table()
        .run(&known, &known);
    assert!(matches!(refused, Err(Error::SpacingNeedsTable { .. })));
}

#[test]
fn the_first_and_the_last_knot_move_when_asked_to() {
    let (schedule, solver) = (schedule(), FirstOrder::ddim());
    let known = surrogate(&images(12));
    let search = SpacingSearch::new(&schedule, &solver, 6);
    let plain = search.run(&known, &known).unwrap();
    assert_eq!(plain.searched_grid().start().time(), 1000.0);
    let kept = search.keeping_last_knot().run(&known, &known).unwrap();
    let last = kept.searched_grid().levels()[5];
    assert!((last.time() - 1.0).abs() < 1e-9, "{last}");
    let free = search.moving_first_knot().run(&known, &known).unwrap();
    assert!(free.searched_grid().start().time() < 1000.0);
    // More that moves is never worse.
    assert!(kept.error() >= plain.error() && free.error() <= plain.error());
    assert!(free.error() < 0.99 * plain.error());
}

#[test]
fn every_kind_of_schedule_can_be_searched() {
    let known = surrogate(&images(8));
    let solver = DpmSolverPlusPlus::new();
    let schedules: [&dyn NoiseSchedule; 6] = [
        &RectifiedFlow::shifted(3.0).unwrap(),
        &Edm::default(),
        &VarianceExploding::new(0.01, 50.0).unwrap(),
        &VariancePreserving::default(),
        &schedule().zero_terminal_snr().unwrap(),
        &TableSchedule::cosine(1000).unwrap(),
    ];
    for schedule in schedules {
        for steps in [1, 2, 6] {
            let search = SpacingSearch::new(schedule, &solver, steps).with_evaluations(300);
            let found = search.run(&known, &known).unwrap();
            assert_eq!(found.grid().steps(), steps);
            assert_eq!(found.searched_grid().start().time(), schedule.last_time());
            let better = found.error() <= found.best_fixed().error * (1.0 + 1e-12);
            let elsewhere = found.best_fixed().grid.start().time() < schedule.last_time();
            assert!(
                better || elsewhere || steps == 1,
                "{schedule:?} {steps}\n{found}"
            );
            // Without a knot to move there is nothing to win.
            assert!(steps > 1 || !found.accepted());
        }
    }
}

#[test]
fn a_mixture_is_compared_along_its_paths() {
    let (schedule, solver) = (schedule(), DpmSolverPlusPlus::new());
    let modes = [-1.0, 1.0].map(|m| Gaussian::isotropic(&[m, 0.3 * m], 0.01).unwrap());
    let mixture = GaussianMixture::new(&[1.0, 2.0], modes.to_vec(), vec![0, 1]).unwrap();
    let paths = |seed| Surrogate::mixture(&mixture, &schedule, 200, seed).unwrap();
    let known = paths(1);
    // Second order: a quarter of the error at twice the steps, down to the reference's own.
    let error = |steps: usize| {
        let range = schedule.lambda_range();
        let grid = Grid::uniform_lambda(&schedule, steps, range).unwrap();
        known
            .error(&Sampler::new(&schedule, &grid, &solver).unwrap())
            .unwrap()
    };
    let (coarse, fine) = (error(25), error(50));
    assert!(coarse / fine > 2.8 && fine < 1.0, "{coarse} {fine}");
    assert!(error(399) < 1e-2);
    let search = SpacingSearch::new(&schedule, &solver, 6).with_evaluations(300);
    let found = search.run(&known, &paths(2)).unwrap();
    assert!(
        found.accepted() && found.error() < found.best_fixed().error,
        "{found}"
    );
    // The moments are the mixture's: mean 1/3, and the variance of the means beside 0.01.
    let total: f64 = known.moments().variances().iter().sum();
    assert!((total - (0.02 + 1.09 * 8.0 / 9.0)).abs() < 1e-12);
    let noisy = FirstOrder::ddpm();
    let refused = SpacingSearch::new(&schedule, &noisy, 6).run(&known, &known);
    assert!(matches!(
        refused,
        Err(Error::InvalidParameter {
            name: "noise of the sampler",
            ..
        })
    ));
}

#[test]
fn what_cannot_be_searched_is_a_typed_error() {
    let (schedule, solver) = (schedule(), FirstOrder::ddim());
    let known = surrogate(&images(4));
    let none = SpacingSearch::new(&schedule, &solver, 0).run(&known, &known);
    assert!(matches!(none, Err(Error::StepCount { steps: 0, .. })));
    assert!(
        SpacingSearch::new(&schedule, &solver, 4)
            .with_bounds(1.0, 0.0, 1.0)
            .is_err()
    );
    let flat = Gaussian::isotropic(&[0.0], 0.0).unwrap();
    assert!(Surrogate::gaussian(&flat).is_err());
    let mixture = GaussianMixture::new(&[1.0], vec![images(2)], vec![0]).unwrap();
    assert!(Surrogate::mixture(&mixture, &schedule, 0, 1).is_err());
    // No error but the starts' can be computed: the best start is the answer.
    let search = SpacingSearch::new(&schedule, &solver, 4).with_evaluations(0);
    let found = search.run(&known, &known).unwrap();
    assert!(found.error() > 0.0 && found.evaluations() <= 7);
}
