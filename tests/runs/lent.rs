//! What is lent to a model may come back changed; guided models may be called by hand; runs may be stored.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, KeyedNoise, NoiseLevel, Prediction, Query, RunError, Sampler,
    guidance::{Classifier, ClassifierFree, ClassifierGuided, GuidanceWeight},
    oracle::Gaussian,
    posterior::Kappa,
    run::DdimStep,
    schedule::{NoiseSchedule, VarianceExploding},
    solver::{DdimInversion, Path},
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice, s};

use crate::common::{Smooth, bits, grid, sampler, schedule, solvers};

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
        let mut run = sampler(&diffusion_sampler::solver::Heun, 3)
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
        let (mut x, mut buffer) = (Array2::ones(SHAPE), Array2::zeros(SHAPE));
        let refused = DdimStep::new(t, s, Kappa::Ddim).unwrap().run(
            &mut x,
            &mut Careless(change),
            &mut buffer,
            &mut KeyedNoise::new(1),
            0,
        );
        assert_eq!(refused, Err(RunError::Sampler(changed.clone())));
    }
}

#[test]
fn a_state_that_lost_its_samples_is_refused() {
    let mut run = sampler(&diffusion_sampler::solver::Heun, 3)
        .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    run.state_mut().slice_collapse(s![0..0, ..]);
    let changed = Error::LayoutChanged { name: "state" };
    let refused = run.complete(&mut Smooth(Prediction::Noise));
    assert_eq!(refused, Err(RunError::Sampler(changed)));
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

#[test]
fn guided_models_called_by_hand_write_what_fits_and_never_panic() {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let weight = || GuidanceWeight::constant(2.0).unwrap();
    let kind = Prediction::Noise;
    let x = Array2::from_elem(SHAPE, 0.25);
    let mut plain = x.clone();
    Smooth(kind)
        .denoise(&x, &Query::new(&level), &mut plain)
        .unwrap();
    for outputs in [1, 2, 3] {
        let query = Query::new(&level).with_outputs(outputs);
        let mut out = Array2::zeros(SHAPE);
        let mut free = ClassifierFree::new(Smooth(kind), Smooth(kind), weight());
        free.denoise(&x, &query, &mut out).unwrap();
        assert_eq!(out, plain);
        let mut out = Array2::zeros(SHAPE);
        let mut guided = ClassifierGuided::new(Smooth(kind), Slope, weight());
        guided.denoise(&x, &query, &mut out).unwrap();
        assert_eq!(out, plain);
    }
}

#[test]
fn samples_that_want_other_kinds_of_outputs_are_refused_in_one_step() {
    // One sample is guided by a second model, the other by a classifier: two outputs each, of different kinds.
    let (t, s) = (
        schedule().level(900.0).unwrap(),
        schedule().level(100.0).unwrap(),
    );
    let edge = 0.5 * (t.rho() + s.rho());
    let kind = Prediction::Noise;
    let mut model = ClassifierGuided::new(
        ClassifierFree::new(
            Smooth(kind),
            Smooth(kind),
            GuidanceWeight::interval(1.0, edge, f64::INFINITY).unwrap(),
        ),
        Slope,
        GuidanceWeight::interval(1.0, 0.0, edge).unwrap(),
    );
    let to = [
        schedule().level(800.0).unwrap(),
        schedule().level(50.0).unwrap(),
    ];
    let step = DdimStep::per_sample(&[t, s], &to, Kappa::Ddim).unwrap();
    let (mut x, mut buffer) = (Array2::ones((2, 4)), Array2::zeros((6, 4)));
    let refused = step.complete(&mut x, &mut model, &mut buffer, &mut KeyedNoise::new(0), 0);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::UnsupportedPlan { .. }))
    ));
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
            stored.push(run.snapshot());
            run.tell(&output).unwrap();
        }
        stored.push(run.snapshot());
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
    let sampler = sampler(&diffusion_sampler::solver::Heun, 4);
    let run = sampler
        .start::<f64, _, _>(SHAPE, kind, KeyedNoise::new(9))
        .unwrap();
    let resume = |change: fn(&mut diffusion_sampler::run::Snapshot<f64, Ix2>)| {
        let mut snapshot = run.snapshot();
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
    assert_eq!(resume(|s| s.step = 5), Error::RunFinished { steps: 4 });
    assert_eq!(resume(|s| s.stage = 2), Error::RunFinished { steps: 4 });
}

#[test]
fn an_inversion_has_no_start_law() {
    let inversion =
        Sampler::along(&Path::without_schedule(&grid(4)), &DdimInversion::new()).unwrap();
    let data = Gaussian::centred(2, 0.25).unwrap();
    let started = inversion.start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1));
    assert!(matches!(started, Err(Error::UnsupportedPlan { .. })));
    assert!(matches!(
        inversion.moments(&data),
        Err(Error::UnsupportedPlan { .. })
    ));
    let from = inversion.start_from(
        Array2::<f64>::ones(SHAPE),
        Prediction::Noise,
        KeyedNoise::new(1),
    );
    assert!(from.is_ok());
}

#[test]
fn a_later_start_has_its_own_start_law() {
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
    let sampler = sampler(&diffusion_sampler::solver::Heun, 3);
    let whole = sampler.sample(&mut model, SHAPE, 4).unwrap();
    let dynamic = sampler.sample(&mut *model, SHAPE, 4).unwrap();
    let own: Array2<f64> = sampler
        .sample(&mut Smooth(Prediction::Noise), SHAPE, 4)
        .unwrap();
    assert_eq!(bits(&whole), bits(&own));
    assert_eq!(bits(&dynamic), bits(&own));
}
