//! What is lent to a model may come back changed; guided models may be called by hand; runs may be
//! stored.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, KeyedNoise, NoiseLevel, Prediction, Query, RunError, Sampler,
    denoiser::{Classifier, Guided, Models, PerRow, WithClassifier, from_query_fn},
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Evaluation, Guidance, GuidanceWeight,
        Products,
    },
    oracle::Gaussian,
    plan::{Plan, Step, Update},
    posterior::Kappa,
    run::{DdimStep, Machine, Snapshot},
    schedule::{NoiseSchedule, VarianceExploding},
    solver::{DdimInversion, Heun, Path},
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice, s};

use crate::common::{Smooth, bits, difference, grid, sampler, schedule, solvers};

const SHAPE: (usize, usize) = (3, 5);

/// A model that changes the layout of the buffer it is lent.
struct Careless(fn(&mut ArrayRef<f64, Ix2>));

impl Denoiser<f64, Ix2> for Careless {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        Smooth(Prediction::Noise).denoise(x, query, out)?;
        (self.0)(out);
        Ok(())
    }
}

const CHANGES: [fn(&mut ArrayRef<f64, Ix2>); 3] = [
    |out| out.slice_collapse(s![0..1, ..]),
    |out| out.slice_axis_inplace(Axis(1), Slice::from(..2)),
    |out| out.slice_collapse(s![0..0, ..]),
];

#[test]
fn an_output_buffer_that_lost_its_shape_is_refused_and_the_run_can_go_on() {
    let changed = Error::LayoutChanged {
        name: "output buffer",
    };
    for change in CHANGES {
        let mut run = sampler(&Heun::new(), 3)
            .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
            .unwrap();
        let mut other = run.clone();
        let refused = run.advance(&mut Careless(change));
        assert_eq!(refused, Err(RunError::Sampler(changed.clone())));
        run.complete(&mut Smooth(Prediction::Noise)).unwrap();
        other.complete(&mut Smooth(Prediction::Noise)).unwrap();
        assert_eq!(bits(run.state()), bits(other.state()));

        let (t, s) = (
            schedule().level(500.0).unwrap(),
            schedule().level(250.0).unwrap(),
        );
        let mut machine = Machine::new(Array2::ones(SHAPE), 0).unwrap();
        let step = DdimStep::new(t, s, Kappa::Ddim).unwrap();
        let noise = &mut KeyedNoise::new(1);
        let refused = step.take(&mut machine, &mut Careless(change), noise, 0);
        assert_eq!(refused, Err(RunError::Sampler(changed.clone())));
        assert_eq!(machine.state(), Array2::<f64>::ones(SHAPE));
    }
}

/// ∇ log p(y | x) = 1.
struct Slope;

impl Classifier<f64, Ix2> for Slope {
    type Error = Infallible;

    fn gradient(
        &mut self,
        _: &ArrayRef<f64, Ix2>,
        _: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        out.fill(1.0);
        Ok(())
    }
}

/// The unconditional model: another function than `Smooth`.
#[derive(Clone, Copy)]
struct Other;

impl Denoiser<f64, Ix2> for Other {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        let sigma = query.level().sigma();
        out.zip_mut_with(x, |o, &x| *o = 0.7 * sigma * x - 0.2);
        Ok(())
    }
}

#[test]
fn a_guided_model_called_by_hand_is_guided() {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let query = Query::new(&level);
    let (w, kind) = (2.0, Prediction::Noise);
    let weight = || GuidanceWeight::constant(w).unwrap();
    let x = Array2::from_shape_fn(SHAPE, |(i, j)| 0.25 * i as f64 - 0.4 * j as f64);
    let own = x.mapv(|x| Smooth::at(x, &level));
    let other = x.mapv(|x| 0.7 * level.sigma() * x - 0.2);

    // E_c + w (E_c − E_u).
    let mut out = Array2::zeros(SHAPE);
    let mut free = Guided::new(Models((Smooth(kind), Other)), ClassifierFree::new(weight()));
    free.denoise(&x, &query, &mut out).unwrap();
    assert!(difference(&out, &(&own + &((&own - &other) * w))) < 1e-14);
    let mut estimate = Array2::zeros(SHAPE);
    free.estimate(&x, &query, &mut estimate).unwrap();
    assert_eq!(bits(&estimate), bits(&out));

    // E − w σ ∇ log p(y | x), whose gradient is 1.
    let mut classified = Guided::new(
        WithClassifier::new(Smooth(kind), Slope),
        ClassifierGuidance::new(weight()),
    );
    classified.denoise(&x, &query, &mut out).unwrap();
    assert!(difference(&out, &own.mapv(|e| e - w * level.sigma())) < 1e-14);
    // Each of several outputs, where they are requested one by one.
    let mut both = Array2::zeros((2 * SHAPE.0, SHAPE.1));
    free.denoise(&x, &query.with_outputs(2), &mut both).unwrap();
    assert_eq!(both.slice(s![..SHAPE.0, ..]), own);
    assert_eq!(both.slice(s![SHAPE.0.., ..]), other);
}

#[test]
fn guidance_that_cannot_be_called_by_hand_is_an_error_or_nan_and_never_an_unguided_answer() {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let query = Query::new(&level);
    let kind = Prediction::Noise;
    let x = Array2::from_elem(SHAPE, 0.25);
    let mut out = Array2::zeros(SHAPE);
    let bad = GuidanceWeight::by_level(|_| f64::INFINITY);
    let mut model = Guided::new(Models((Smooth(kind), Other)), ClassifierFree::new(bad));
    let refused = model.estimate(&x, &query, &mut out);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::InvalidParameter { .. }))
    ));
    model.denoise(&x, &query, &mut out).unwrap();
    assert!(out.iter().all(|value| value.is_nan()));
    // The output must have the state's shape.
    let mut small = Array2::zeros((1, 1));
    let fixed = ClassifierFree::with_weight(1.0).unwrap();
    let mut model = Guided::new(Models((Smooth(kind), Other)), fixed);
    let refused = model.estimate(&x, &query, &mut small);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ShapeMismatch {
            name: "output",
            ..
        }))
    ));
}

/// A second model above an edge in ρ, a classifier below it.
#[derive(Debug)]
struct Switched {
    edge: f64,
}

impl Guidance for Switched {
    fn name(&self) -> &'static str {
        "switched"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn combine(&self, at: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        if at.level().rho() > self.edge {
            Combination::affine(&[2.0, -1.0])
        } else {
            Combination::single().with_gradient(1.0)
        }
    }
}

#[test]
fn each_sample_of_one_step_reads_its_outputs_by_its_own_combination() {
    // One sample is guided by a second model, the other by a classifier: two outputs each, of
    // different kinds.
    let (t, s) = (
        schedule().level(900.0).unwrap(),
        schedule().level(100.0).unwrap(),
    );
    let to = [
        schedule().level(800.0).unwrap(),
        schedule().level(50.0).unwrap(),
    ];
    let edge = 0.5 * (t.rho() + s.rho());
    let other = |level: &NoiseLevel| 0.7 * level.sigma() - 0.2;
    let both = move |_: &ArrayRef<f64, Ix2>, query: &Query<'_>, out: &mut ArrayRef<f64, Ix2>| {
        for (row, (mut out, level)) in out.outer_iter_mut().zip(query.row_levels(2)).enumerate() {
            out.fill(if row < 2 {
                Smooth::at(1.0, &level)
            } else {
                other(&level)
            });
        }
        Ok::<(), Infallible>(())
    };
    let models = PerRow(from_query_fn(Prediction::Noise, 2, both));
    let start = || Machine::new(Array2::<f64>::ones((2, 4)), 0).unwrap();
    let noise = &mut KeyedNoise::new(0);
    let mut together = start();
    DdimStep::per_sample(&[t, s], &to, Kappa::Ddim)
        .unwrap()
        .take(
            &mut together,
            &mut Guided::new(models, Switched { edge }),
            noise,
            0,
        )
        .unwrap();
    for (row, level) in [t, s].into_iter().enumerate() {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let (own, other) = (Smooth::at(1.0, &level), other(&level));
        let noise = if row == 0 {
            2.0 * own - other
        } else {
            own - sigma * other
        };
        let data = (1.0 - sigma * noise) / alpha;
        let expected = to[row].alpha() * data + to[row].sigma() * noise;
        for found in together.state().row(row) {
            assert!(
                (found - expected).abs() < 1e-13,
                "{row}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_stored_run_goes_on_bit_for_bit_between_any_two_evaluations() {
    let kind = Prediction::Noise;
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 4);
        let mut run = sampler
            .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(9))
            .unwrap();
        let mut stored = Vec::new();
        while let Some(question) = run.ask().unwrap() {
            let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
            stored.push(run.snapshot().unwrap());
            run.tell(&output).unwrap();
        }
        stored.push(run.snapshot().unwrap());
        for snapshot in stored {
            let mut resumed = sampler.resume(snapshot, kind, KeyedNoise::new(9)).unwrap();
            resumed.complete(&mut Smooth(kind)).unwrap();
            assert_eq!(bits(resumed.state()), bits(run.state()), "{name}");
        }
    }
}

#[test]
fn a_snapshot_that_does_not_fit_the_plan_is_refused() {
    let kind = Prediction::Noise;
    let sampler = sampler(&Heun::new(), 4);
    let run = sampler
        .start::<f64, _, _>(SHAPE, kind, KeyedNoise::new(9))
        .unwrap();
    let resume = |change: fn(&mut Snapshot<Array2<f64>>)| {
        let mut snapshot = run.snapshot().unwrap();
        change(&mut snapshot);
        sampler
            .resume(snapshot, kind, KeyedNoise::new(9))
            .map(drop)
            .unwrap_err()
    };
    assert_eq!(
        resume(|s| s.history.clear()),
        Error::WrongLength {
            name: "history",
            expected: 1,
            found: 0
        }
    );
    assert_eq!(
        resume(|s| s.history[0] = Array2::zeros((1, 1))),
        Error::ShapeMismatch {
            name: "history",
            expected: vec![3, 5],
            found: vec![1, 1]
        }
    );
    let misplaced = |step, stage| Error::SnapshotMisplaced {
        step,
        stage,
        steps: 4,
        time: 1000.0,
    };
    assert_eq!(resume(|s| s.step = 5), misplaced(5, 0));
    assert_eq!(resume(|s| s.stage = 2), misplaced(0, 2));
    // A step of the plan, but not at the level at which it starts.
    assert_eq!(resume(|s| s.step = 1), misplaced(1, 0));
    assert!(matches!(
        resume(|s| s.plan += 1),
        Error::SnapshotOfAnotherPlan { .. }
    ));
}

#[test]
fn an_inversion_has_no_initial_distribution() {
    let inversion =
        Sampler::along(&Path::without_schedule(&grid(4)), &DdimInversion::new()).unwrap();
    let data = Gaussian::centred(2, 0.25).unwrap();
    let started = inversion.start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1));
    let expected = Error::StartsFromData {
        from: 0.0,
        to: 1000.0,
    };
    assert_eq!(started.map(drop), Err(expected.clone()));
    assert_eq!(inversion.moments(&data), Err(expected));
    let from = inversion.start_from(
        Array2::<f64>::ones(SHAPE),
        Prediction::Noise,
        KeyedNoise::new(1),
    );
    assert!(from.is_ok());
    // Nor has a plan that stays where it is.
    let level = NoiseLevel::new(2.0, 0.6, 0.8).unwrap();
    let idle = Plan::new(vec![Step::simple(level, level, Update::default())], 0).unwrap();
    let idle = Sampler::from_plan(idle, 1.0).unwrap();
    let started = idle.start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1));
    let expected = Error::StartsFromData { from: 2.0, to: 2.0 };
    assert_eq!(started.map(drop), Err(expected));
}

#[test]
fn a_later_start_has_its_own_initial_distribution() {
    let schedule = VarianceExploding::new(0.01, 50.0).unwrap();
    let start = schedule.level(0.5).unwrap();
    let grid = diffusion_sampler::Grid::trailing(&schedule, 10)
        .unwrap()
        .starting_at(&schedule, start)
        .unwrap();
    assert_eq!(grid.start_variance(), start.sigma() * start.sigma());
}

#[test]
fn boxed_models_are_models() {
    let mut model: Box<dyn Denoiser<f64, Ix2, Error = Infallible>> =
        Box::new(Smooth(Prediction::Noise));
    let sampler = sampler(&Heun::new(), 3);
    let whole = sampler.sample(&mut model, SHAPE, 4).unwrap();
    let dynamic = sampler.sample(&mut *model, SHAPE, 4).unwrap();
    let own: Array2<f64> = sampler
        .sample(&mut Smooth(Prediction::Noise), SHAPE, 4)
        .unwrap();
    assert_eq!(bits(&whole), bits(&own));
    assert_eq!(bits(&dynamic), bits(&own));
}
