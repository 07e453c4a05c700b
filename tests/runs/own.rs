//! A user's own denoiser, solver, schedule and classifier.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query, RunError, Sampler,
    denoiser::Classifier,
    guidance::GuidanceWeight,
    oracle::Gaussian,
    plan::{Plan, Stage, Step, Update},
    schedule::{LambdaRange, NoiseSchedule},
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array2, ArrayRef, Ix2};

use crate::common::{Smooth, classified, difference, grid, sampler};

/// α = cos(πt/2), σ = sin(πt/2).
#[derive(Debug)]
struct QuarterCircle;

impl QuarterCircle {
    const QUARTER: f64 = std::f64::consts::FRAC_PI_2;
    const LAST: f64 = 0.99;
}

impl NoiseSchedule for QuarterCircle {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        if !(0.0..=Self::LAST).contains(&time) {
            return Err(Error::TimeOutOfRange {
                time,
                last: Self::LAST,
            });
        }
        let (sigma, alpha) = (Self::QUARTER * time).sin_cos();
        NoiseLevel::new(time, alpha, sigma)
    }

    fn last_time(&self) -> f64 {
        Self::LAST
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        Ok(((-lambda).exp().atan() / Self::QUARTER).min(Self::LAST))
    }

    fn lambda_range(&self) -> LambdaRange {
        let noisy = self.level(Self::LAST).unwrap().lambda();
        LambdaRange::new(noisy, f64::INFINITY).unwrap()
    }
}

/// Euler's method on dx/dt = (dα/dt)D + (dσ/dt)E of the quarter circle: an own solver, an own plan.
#[derive(Debug)]
struct EulerInTime;

impl Solver for EulerInTime {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(t, s)| {
            let dt = QuarterCircle::QUARTER * (s.time() - t.time());
            // dα = −σ dt, dσ = α dt, E = (x − αD)/σ.
            let (alpha, sigma) = (t.alpha(), t.sigma());
            let update = Update {
                state: 1.0 + dt * alpha / sigma,
                data: -dt * (sigma + alpha * alpha / sigma),
                ..Update::default()
            };
            Step {
                from: t,
                to: s,
                stages: vec![Stage::evaluating(t, update)],
            }
        });
        Plan::new(steps.collect(), 0)
    }

    fn order(&self) -> usize {
        1
    }
}

#[test]
fn an_own_solver_on_an_own_schedule_converges_to_the_exact_flow() {
    let data = Gaussian::diagonal(&[0.7, -1.0], &[0.2, 1.5]).unwrap();
    let error = |solver: &dyn Solver, steps| {
        let range = LambdaRange::of_times(&QuarterCircle, 0.99, 0.05).unwrap();
        let times: Vec<f64> = (0..=steps)
            .map(|k| 0.99 - (0.99 - 0.05) * k as f64 / steps as f64)
            .collect();
        let grid = Grid::from_times(&QuarterCircle, &times).unwrap();
        assert!((grid.end().lambda() - range.clean()).abs() < 1e-9);
        let plan = solver.plan(&Path::without_schedule(&grid)).unwrap();
        let initial = data.at_level(&grid.start()).unwrap();
        let laws = plan.moments(&data, &initial).unwrap();
        let exact = data.at_level(&grid.end()).unwrap();
        laws[steps - 1].wasserstein_squared(&exact).unwrap().sqrt()
    };
    for solver in [&EulerInTime as &dyn Solver, &FirstOrder::ddim()] {
        let slope = (error(solver, 400) / error(solver, 800)).log2();
        assert!((0.95..1.05).contains(&slope), "{slope}");
    }
}

#[test]
fn an_own_solver_runs_as_its_plan_says() {
    let times: Vec<f64> = (0..=10).map(|k| 0.98 - 0.09 * k as f64).collect();
    let grid = Grid::from_times(&QuarterCircle, &times).unwrap();
    let sampler = Sampler::along(&Path::without_schedule(&grid), &EulerInTime).unwrap();
    let kind = Prediction::Noise;
    let mut run = sampler
        .start::<f64, _, _>((5, 3), kind, KeyedNoise::new(2))
        .unwrap();
    let mut x = run.state().to_owned();
    for pair in grid.levels().windows(2) {
        let (t, dt) = (
            pair[0],
            QuarterCircle::QUARTER * (pair[1].time() - pair[0].time()),
        );
        x.mapv_inplace(|x| {
            let e = Smooth::at(x, &t);
            let d = (x - t.sigma() * e) / t.alpha();
            x + dt * (t.alpha() * e - t.sigma() * d)
        });
    }
    run.complete(&mut Smooth(kind)).unwrap();
    assert!(difference(run.state(), &x) < 1e-11);
}

#[test]
fn every_grid_takes_an_own_schedule() {
    let trailing = Grid::trailing(&QuarterCircle, 5).unwrap();
    assert_eq!(
        (trailing.start().time(), trailing.end().time()),
        (0.99, 0.0)
    );
    let range = LambdaRange::of_times(&QuarterCircle, 0.99, 0.01).unwrap();
    let karras = Grid::karras(&QuarterCircle, 5, range, 7.0).unwrap();
    assert!(karras.end().is_clean() && karras.steps() == 5);
    let refused = Grid::uniform_lambda(&QuarterCircle, 5, QuarterCircle.lambda_range());
    assert!(matches!(refused, Err(Error::UnboundedLambda { .. })));
}

/// A session with its own scratch, its own count of calls, and its own error.
struct Session {
    scratch: Vec<f64>,
    calls: usize,
    budget: usize,
}

#[derive(Debug, PartialEq)]
struct BudgetSpent {
    calls: usize,
}

impl Denoiser<f64, Ix2> for Session {
    type Error = BudgetSpent;

    fn prediction(&self) -> Prediction {
        Prediction::Flow
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), BudgetSpent> {
        self.calls += 1;
        if self.calls > self.budget {
            return Err(BudgetSpent { calls: self.calls });
        }
        self.scratch.clear();
        self.scratch
            .extend(x.iter().map(|&x| Smooth::at(x, &query.level())));
        for (out, value) in out.iter_mut().zip(&self.scratch) {
            *out = *value;
        }
        Ok(())
    }
}

#[test]
fn an_own_session_keeps_its_state_and_its_error() {
    let sampler = sampler(&FirstOrder::ddim(), 6);
    let mut session = Session {
        scratch: vec![],
        calls: 0,
        budget: 8,
    };
    let samples: Array2<f64> = sampler.sample(&mut session, (3, 2), 1).unwrap();
    let expected: Array2<f64> = sampler
        .sample(&mut Smooth(Prediction::Flow), (3, 2), 1)
        .unwrap();
    assert_eq!((samples, session.calls), (expected, 6));
    // Lent as a trait object, it serves as well.
    let lent: &mut dyn Denoiser<f64, Ix2, Error = BudgetSpent> = &mut session;
    let spent: Result<Array2<f64>, _> = sampler.sample(lent, (3, 2), 1);
    assert_eq!(spent, Err(RunError::Denoiser(BudgetSpent { calls: 9 })));
}

/// ln p(y | x) = −½|x − c|²: a quadratic well around c.
struct Well(f64);

impl Classifier<f64, Ix2> for Well {
    type Error = Infallible;

    fn gradient(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        assert_eq!((query.outputs(), out.shape()), (1, x.shape()));
        out.zip_mut_with(x, |o, &x| *o = self.0 - x);
        Ok(())
    }
}

#[test]
fn an_own_classifier_bends_the_noise() {
    for kind in [Prediction::Noise, Prediction::Data, Prediction::Velocity] {
        let sampler = sampler(&FirstOrder::ddim(), 6);
        let mut run = sampler
            .start::<f64, _, _>((3, 2), kind, KeyedNoise::new(1))
            .unwrap();
        let weight = GuidanceWeight::constant(0.4).unwrap();
        let mut guided = classified(Smooth(kind), Well(0.5), weight);
        for pair in grid(6).levels().windows(2) {
            let (t, s) = (pair[0], pair[1]);
            let expected = run.state().mapv(|x| {
                let own = kind.conversion(&t).unwrap().noise.of(x, Smooth::at(x, &t));
                // E ← E − wσ∇ ln p(y | x), then DDIM.
                let e = own - 0.4 * t.sigma() * (0.5 - x);
                s.alpha() * (x - t.sigma() * e) / t.alpha() + s.sigma() * e
            });
            run.advance(&mut guided).unwrap();
            assert!(
                difference(run.state(), &expected) < 1e-11,
                "{}",
                kind.name()
            );
        }
    }
}

#[test]
fn classifier_guidance_is_refused_where_it_is_undefined() {
    let zero = crate::common::schedule().zero_terminal_snr().unwrap();
    let sampler = Sampler::new(
        &zero,
        &Grid::trailing(&zero, 4).unwrap(),
        &FirstOrder::ddim(),
    )
    .unwrap();
    let kind = Prediction::Velocity;
    let start = || {
        sampler
            .start::<f64, _, _>((3, 2), kind, KeyedNoise::new(1))
            .unwrap()
    };
    let guided = |weight| classified(Smooth(kind), Well(0.5), weight);
    let everywhere = GuidanceWeight::constant(1.0).unwrap();
    let refused = start().complete(&mut guided(everywhere)).unwrap_err();
    assert!(matches!(
        refused,
        RunError::Sampler(Error::PredictionUndefined {
            prediction: "classifier-guided",
            alpha: 0.0,
            ..
        })
    ));
    // Guidance that starts below the undefined level runs.
    let below = GuidanceWeight::interval(1.0, 0.0, 1e3).unwrap();
    assert_eq!(start().complete(&mut guided(below)), Ok(()));
}
