//! `DdimStep`: steps outside a run, with a level for each sample.

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel, Prediction, Query, RunError, from_fn,
    guidance::{ClassifierFree, GuidanceWeight},
    posterior::{Kappa, ReverseVariance},
    run::DdimStep,
    schedule::NoiseSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, ArrayRef, Ix2, ShapeBuilder, s};

use crate::common::{Smooth, bits, grid, sampler, schedule};

const SHAPE: (usize, usize) = (4, 6);
const SEED: u64 = 77;
const KINDS: [Prediction; 3] = [Prediction::Noise, Prediction::Data, Prediction::Velocity];
const KAPPAS: [Kappa; 4] = [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Fresh];

fn state() -> Array2<f32> {
    Array2::from_shape_fn(SHAPE, |(i, j)| {
        (i as f32 - 1.2) * 0.5 + (j as f32 - 2.0) * 0.37
    })
}

fn levels(times: [f64; 4]) -> Vec<NoiseLevel> {
    times.map(|time| schedule().level(time).unwrap()).to_vec()
}

#[test]
fn a_step_with_levels_of_each_sample_is_the_samples_single_steps() {
    let (from, to) = (
        levels([1000.0, 640.0, 333.5, 20.0]),
        levels([900.0, 12.0, 333.0, 0.0]),
    );
    for kappa in KAPPAS {
        if kappa == Kappa::Fresh {
            continue; // Onto a clean level there is no noise to renew.
        }
        for kind in KINDS {
            let together = DdimStep::per_sample(&from, &to, kappa).unwrap();
            let output = state().mapv(|x| (x * 3.0).sin());
            let mut x = state();
            together
                .apply(&mut x, &output, kind, &mut KeyedNoise::new(SEED), 5)
                .unwrap();
            let mut columns = Array2::zeros(SHAPE.f());
            columns.assign(&state());
            together
                .apply(&mut columns, &output, kind, &mut KeyedNoise::new(SEED), 5)
                .unwrap();
            assert_eq!(bits(&columns), bits(&x));
            for row in 0..SHAPE.0 {
                let alone = DdimStep::new(from[row], to[row], kappa).unwrap();
                let mut own = state().slice(s![row..=row, ..]).to_owned();
                let out = output.slice(s![row..=row, ..]);
                let mut noise = KeyedNoise::new(SEED).with_first_sample(row as u64).unwrap();
                alone.apply(&mut own, &out, kind, &mut noise, 5).unwrap();
                assert_eq!(bits(&own), bits(&x.slice(s![row..=row, ..])), "{kappa:?}");
            }
        }
    }
}

#[test]
fn a_single_step_is_the_step_of_a_run() {
    let grid = grid(6);
    for kappa in &KAPPAS[..3] {
        for kind in KINDS {
            let mut run = sampler(&FirstOrder::new(*kappa), 6)
                .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
                .unwrap();
            let mut buffer = Array2::zeros(SHAPE);
            for (k, pair) in grid.levels().windows(2).enumerate() {
                let step = DdimStep::new(pair[0], pair[1], *kappa).unwrap();
                let mut told = run.state().to_owned();
                let mut ran = told.clone();
                let output = told.mapv(|x| Smooth::at(x, &pair[0]));
                let mut noise = KeyedNoise::new(SEED);
                step.apply(&mut told, &output, kind, &mut noise, k as u32)
                    .unwrap();
                step.run(
                    &mut ran,
                    &mut Smooth(kind),
                    &mut buffer,
                    &mut noise,
                    k as u32,
                )
                .unwrap();
                run.advance(&mut Smooth(kind)).unwrap();
                assert_eq!(bits(&told), bits(run.state()), "{kappa:?}, step {k}");
                assert_eq!(bits(&ran), bits(run.state()), "{kappa:?}, step {k}");
            }
        }
    }
}

#[test]
fn a_fixed_large_step_is_that_of_a_run() {
    let solver = FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge);
    let kind = Prediction::Noise;
    let mut run = sampler(&solver, 6)
        .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
        .unwrap();
    for (k, pair) in grid(6).levels().windows(2).enumerate() {
        let step = DdimStep::new(pair[0], pair[1], Kappa::Ddpm)
            .unwrap()
            .with_reverse_variance(ReverseVariance::FixedLarge)
            .unwrap();
        let mut x = run.state().to_owned();
        let output = x.mapv(|x| Smooth::at(x, &pair[0]));
        let mut noise = KeyedNoise::new(SEED);
        step.apply(&mut x, &output, kind, &mut noise, k as u32)
            .unwrap();
        run.advance(&mut Smooth(kind)).unwrap();
        assert_eq!(bits(&x), bits(run.state()), "step {k}");
    }
}

#[test]
fn a_guided_single_step_is_the_step_of_a_guided_run() {
    let kind = Prediction::Velocity;
    let guided = || {
        let other = from_fn(
            kind,
            |x: &ArrayRef<f32, Ix2>, _, out: &mut ArrayRef<f32, Ix2>| {
                out.zip_mut_with(x, |o, &x| *o = 0.3 * x);
            },
        );
        let weight = GuidanceWeight::interval(1.5, 0.5, 10.0).unwrap();
        ClassifierFree::new(Smooth(kind), other, weight)
    };
    let mut run = sampler(&FirstOrder::ddpm(), 6)
        .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
        .unwrap();
    let mut buffer = Array2::zeros((2 * SHAPE.0, SHAPE.1));
    for (k, pair) in grid(6).levels().windows(2).enumerate() {
        let step = DdimStep::new(pair[0], pair[1], Kappa::Ddpm).unwrap();
        let mut x = run.state().to_owned();
        let mut noise = KeyedNoise::new(SEED);
        step.complete(&mut x, &mut guided(), &mut buffer, &mut noise, k as u32)
            .unwrap();
        run.advance(&mut guided()).unwrap();
        assert_eq!(bits(&x), bits(run.state()), "step {k}");
    }
}

#[test]
fn the_model_sees_the_level_of_every_sample() {
    /// Writes each sample's own time.
    struct Times;
    impl diffusion_sampler::Denoiser<f32, Ix2> for Times {
        type Error = std::convert::Infallible;
        fn prediction(&self) -> Prediction {
            Prediction::Data
        }
        fn denoise(
            &mut self,
            _: &ArrayRef<f32, Ix2>,
            query: &Query<'_>,
            out: &mut ArrayRef<f32, Ix2>,
        ) -> Result<(), Self::Error> {
            assert_eq!(query.levels().len(), SHAPE.0);
            for (i, mut row) in out.outer_iter_mut().enumerate() {
                row.fill(query.level_of(i).time() as f32);
            }
            Ok(())
        }
    }
    let from = levels([1000.0, 640.0, 333.5, 20.0]);
    let step = DdimStep::per_sample(&from, &[NoiseLevel::clean(); 4], Kappa::Ddim).unwrap();
    let (mut x, mut buffer) = (state(), state());
    step.complete(&mut x, &mut Times, &mut buffer, &mut KeyedNoise::new(0), 0)
        .unwrap();
    assert_eq!(x.column(3).to_vec(), [1000.0, 640.0, 333.5, 20.0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let from = levels([1000.0, 640.0, 333.5, 20.0]);
    let to = levels([900.0, 12.0, 333.0, 0.0]);
    let mut noise = KeyedNoise::new(0);
    assert!(matches!(
        DdimStep::per_sample(&from, &to[..3], Kappa::Ddim),
        Err(Error::WrongLength {
            expected: 4,
            found: 3,
            ..
        })
    ));
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    let (mut three, out) = (Array2::<f32>::zeros((3, 6)), Array2::zeros((3, 6)));
    let refused = step.apply(&mut three, &out, Prediction::Data, &mut noise, 0);
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 3,
            found: 4,
            ..
        })
    ));
    let mut x = state();
    let refused = step.apply(&mut x, &out, Prediction::Data, &mut noise, 0);
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    let mut small = Array2::zeros((3, 6));
    let refused = step.run(
        &mut x,
        &mut Smooth(Prediction::Data),
        &mut small,
        &mut noise,
        0,
    );
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ShapeMismatch {
            name: "output buffer",
            ..
        }))
    ));
    // Samples that want different numbers of outputs cannot share a call.
    let mut pair = ClassifierFree::new(
        Smooth(Prediction::Data),
        Smooth(Prediction::Data),
        GuidanceWeight::interval(1.0, 0.5, 2.0).unwrap(),
    );
    let mut buffer = Array2::zeros((8, 6));
    let refused = step.complete(&mut x, &mut pair, &mut buffer, &mut noise, 0);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::UnsupportedPlan { .. }))
    ));
    assert_eq!(bits(&x), bits(&state()));
    let mut bad = Array2::zeros(SHAPE);
    bad[[3, 2]] = f32::NAN;
    let refused = step.apply(&mut x, &bad, Prediction::Data, &mut noise, 9);
    assert!(matches!(
        refused,
        Err(Error::NonFinite {
            step: 9,
            sample: 3,
            element: 2,
            array: "model output",
            ..
        })
    ));
    let zero = schedule().zero_terminal_snr().unwrap();
    let step = DdimStep::new(zero.level(1000.0).unwrap(), to[0], Kappa::Ddim).unwrap();
    let output = state();
    let refused = step.apply(&mut x, &output, Prediction::Noise, &mut noise, 0);
    assert!(matches!(
        refused,
        Err(Error::PredictionUndefined {
            prediction: "noise",
            ..
        })
    ));
}
