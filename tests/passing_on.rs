//! What wraps a model or a source passes on what it says of itself, and a call by hand that has no
//! answer says so.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query, RunError, Sampler,
    denoiser::{Classifier, Guided, PerPosition, PerRow},
    guidance::{ClassifierFree, Guidance, Projected},
    likelihood::FiniteDifferences,
    noise::{
        BrownianPath, LearnedNoise, NoiseKey, NoiseScales, NoiseSource, PureNoise, RngNoise,
        ScaledNoise, Stream,
    },
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    run::{PositionSampler, PositionSchedule},
    schedule::TableSchedule,
    solver::{Belm, FirstOrder},
    tensor::{Flat, FlatOps},
};
use ndarray::{Array2, ArrayRef, ArrayRef2, Dimension, Ix2, array};
use rand::{SeedableRng, rngs::StdRng};

/// A model that says of itself what no default says.
#[derive(Clone, Debug)]
struct Telling {
    outputs: Option<usize>,
    rows: bool,
    positions: bool,
    form: ClassifierFree,
}

impl<D: Dimension> Denoiser<f64, D> for Telling {
    type Error = &'static str;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        _: &ArrayRef<f64, D>,
        _: &Query<'_>,
        out: &mut ArrayRef<f64, D>,
    ) -> Result<(), &'static str> {
        out.fill(0.25);
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        self.outputs
    }

    fn reads_rows(&self) -> bool {
        self.rows
    }

    fn reads_positions(&self) -> bool {
        self.positions
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        Ok(&self.form)
    }
}

type Said = (Prediction, Option<usize>, bool, bool);

fn said(model: &impl Denoiser<f64, Ix2>) -> Said {
    (
        model.prediction(),
        model.outputs(),
        model.reads_rows(),
        model.reads_positions(),
    )
}

#[test]
fn wrappers_of_models_pass_on_what_the_model_says() {
    let form = ClassifierFree::with_scale(3.0).unwrap();
    for outputs in [None, Some(3)] {
        for (rows, positions) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut model = Telling {
                outputs,
                rows,
                positions,
                form: form.clone(),
            };
            let told = (Prediction::Noise, outputs, rows, positions);
            assert_eq!(said(&model), told);
            assert_eq!(said(&&mut model), told);
            let boxed: Box<dyn Denoiser<f64, Ix2, Error = &'static str>> = Box::new(model.clone());
            assert_eq!(said(&boxed), told);
            assert_eq!(said(&FiniteDifferences::new(model.clone())), told);
            // Each adds what it is there for, and nothing else.
            assert_eq!(
                said(&PerRow(model.clone())),
                (Prediction::Noise, outputs, true, positions)
            );
            assert_eq!(
                said(&PerPosition(model.clone())),
                (Prediction::Noise, outputs, rows, true)
            );
            let name = |model: &dyn Denoiser<f64, Ix2, Error = &'static str>| {
                model.guidance().unwrap().name()
            };
            let classifier_free = form.name();
            assert_eq!(name(&boxed), classifier_free);
            assert_eq!(name(&PerRow(model.clone())), classifier_free);
            assert_eq!(name(&PerPosition(model.clone())), classifier_free);
            // A model that is wrapped for its derivative is asked without guidance.
            assert_ne!(
                name(&FiniteDifferences::new(model.clone())),
                classifier_free
            );
        }
    }
}

/// Counts its calls.
struct Counted(usize);

impl Classifier<f64, Ix2> for Counted {
    type Error = usize;

    fn gradient(
        &mut self,
        _: &ArrayRef2<f64>,
        _: &Query<'_>,
        out: &mut ArrayRef2<f64>,
    ) -> Result<(), usize> {
        self.0 += 1;
        out.fill(self.0 as f64);
        if self.0 > 2 { Err(self.0) } else { Ok(()) }
    }
}

fn gradient<C: Classifier<f64, Ix2>>(mut classifier: C) -> Result<f64, C::Error> {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap_or_else(|_| NoiseLevel::clean());
    let (x, mut out) = (Array2::zeros((1, 1)), Array2::zeros((1, 1)));
    classifier.gradient(&x, &Query::new(&level), &mut out)?;
    Ok(out[[0, 0]])
}

#[test]
fn pointers_to_a_classifier_are_that_classifier() {
    let mut counted = Counted(0);
    assert_eq!(gradient(&mut counted), Ok(1.0));
    let mut boxed: Box<dyn Classifier<f64, Ix2, Error = usize>> = Box::new(counted);
    assert_eq!(gradient(&mut boxed), Ok(2.0));
    assert_eq!(gradient(boxed), Err(3));
}

/// Has another way for a whole batch.
struct Batches;

impl NoiseSource<f64> for Batches {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(1.0);
    }

    fn fill_batch(&mut self, _: NoiseKey, samples: usize, out: &mut [f64]) -> Result<(), Error> {
        out.fill(samples as f64);
        Ok(())
    }
}

#[test]
fn pointers_to_a_source_pass_on_what_the_source_says() {
    fn batch(mut source: impl NoiseSource<f64>, samples: usize) -> [f64; 6] {
        let mut z = [0.0; 6];
        let key = NoiseKey::new(0, 0, Stream::Start);
        source.fill_batch(key, samples, &mut z).unwrap();
        z
    }
    assert_eq!(batch(&mut Batches, 3), [3.0; 6]);
    assert_eq!(batch(Box::new(Batches), 2), [2.0; 6]);
    let reads = |source: &dyn NoiseSource<f64>| source.reads_intervals();
    assert!(reads(&Batches) && reads(&BrownianPath::new(1)));
    assert!(!reads(&KeyedNoise::new(1)));
    let generator = || RngNoise::new(StdRng::seed_from_u64(1));
    assert!(!reads(&generator()) && !reads(&Box::new(generator())));
    assert!(reads(&Box::new(BrownianPath::new(1))));
    assert!(!reads(&&mut KeyedNoise::new(1)));
}

#[test]
fn what_scales_a_source_that_is_no_function_of_the_key_is_none_and_draws_nan() {
    let key = NoiseKey::new(0, 0, Stream::Step(0));
    let scaled = |source| {
        let scales = NoiseScales::new(2, vec![1.0, 2.0]).unwrap();
        ScaledNoise::new(source, scales)
    };
    let generator = || RngNoise::new(StdRng::seed_from_u64(1));
    let mut z = [0.0f64; 2];
    let noise = scaled(generator());
    assert!(NoiseSource::<f64>::as_pure(&noise).is_none());
    noise.draw(key, 0, &mut z);
    assert!(z.iter().all(|z| z.is_nan()));
    let noise = LearnedNoise::<f64, _>::new(generator());
    assert!(noise.as_pure().is_none());
    z.fill(0.0);
    noise.draw(key, 0, &mut z);
    assert!(z.iter().all(|z| z.is_nan()));
    // Of a function of the key both ways are the source's own normals times the factors.
    let (source, mut own) = (KeyedNoise::new(3), [0.0f64; 2]);
    source.draw(key, 0, &mut own);
    let mut noise = ScaledNoise::new(source, NoiseScales::new(2, vec![1.0, 2.0]).unwrap());
    noise.draw(key, 0, &mut z);
    assert_eq!(z, [own[0], 2.0 * own[1]]);
    noise.fill(key, 0, &mut z);
    assert_eq!(z, [own[0], 2.0 * own[1]]);
}

/// Every output is 0.5.
struct Half;

impl Denoiser<f64, Ix2> for Half {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        _: &ArrayRef2<f64>,
        _: &Query<'_>,
        out: &mut ArrayRef2<f64>,
    ) -> Result<(), Infallible> {
        out.fill(0.5);
        Ok(())
    }
}

#[test]
fn a_guided_call_by_hand_without_an_answer_gives_the_error_or_nan() {
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let x = array![[1.0, 2.0], [3.0, 4.0]];
    let mut out = Array2::zeros((2, 2));
    // Three levels for two samples.
    let levels = [level; 3];
    let query = Query::per_sample(&levels).unwrap();
    let mut guided = Guided::new(Half, ClassifierFree::with_scale(2.0).unwrap());
    assert_eq!(
        guided.estimate(&x, &query, &mut out),
        Err(RunError::Sampler(Error::WrongLength {
            name: "levels",
            expected: 2,
            found: 3
        }))
    );
    // The trait's method has no error to say it with.
    let Ok(()) = guided.denoise(&x, &query.combined(), &mut out);
    assert!(out.iter().all(|value| value.is_nan()));
    // Both outputs are 0.5, and so is what they combine to: w·0.5 + (1 − w)·0.5.
    let query = Query::new(&level);
    guided.estimate(&x, &query, &mut out).unwrap();
    assert!(out.iter().all(|value| (value - 0.5f64).abs() < 1e-15));
    // A batch without samples needs no model.
    let (none, mut nothing) = (Array2::zeros((0, 2)), Array2::zeros((0, 2)));
    guided.estimate(&none, &query, &mut nothing).unwrap();
    // A form with a memory needs a run.
    let momentum = Projected::new(1.5).unwrap().with_momentum(-0.5).unwrap();
    let mut guided = Guided::new(Half, momentum);
    let refused = guided.estimate(&x, &query, &mut out);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::StatefulGuidance { .. }))
    ));
}

#[test]
fn an_oracle_of_positions_answers_one_output_along_its_axis() {
    let data = Gaussian::isotropic(&[1.0], 0.25).unwrap();
    let mut model = (&data).position_denoiser(1, Prediction::Data);
    assert_eq!((model.axis(), model.oracle().mean()), (1, &[1.0][..]));
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let (x, mut out) = (array![[2.0, -1.0]], Array2::<f64>::zeros((1, 2)));
    let query = Query::new(&level);
    model.denoise(&x, &query, &mut out).unwrap();
    // m + αv/(α²v + σ²)(x − αm).
    let gain = 0.8 * 0.25 / (0.64 * 0.25 + 0.36);
    for (out, x) in out.iter().zip(&x) {
        assert!((out - (1.0 + gain * (x - 0.8))).abs() < 1e-15);
    }
    let mut two = Array2::zeros((2, 2));
    let refused = model.denoise(&x, &query.with_outputs(2), &mut two);
    assert!(refused.is_err() && two == Array2::<f64>::zeros((2, 2)));
    assert_eq!(
        model.denoise(&x, &query.with_outputs(2), &mut out),
        Err(Error::TooManyTerms { found: 2, max: 1 })
    );
}

#[test]
fn modes_of_a_plan_that_starts_from_given_slots_are_refused() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &Belm::new().from_pair()).unwrap();
    let parts = [-1.0, 1.0].map(|m| Gaussian::isotropic(&[m], 0.1).unwrap());
    let truth = GaussianMixture::new(&[0.5, 0.5], parts.into(), vec![0, 1]).unwrap();
    let mut model = (&truth).denoiser(Prediction::Noise);
    assert_eq!(
        sampler.modes(&mut model, &truth, 1e-2).map(|_| ()),
        Err(RunError::Sampler(Error::GivenHistory { given: 1 }))
    );
}

#[test]
fn runs_say_where_they_are() -> Result<(), Box<dyn std::error::Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 3)?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    let like = Flat::<f64>::zeros(&[1, 2])?;
    let mut run = sampler
        .on(FlatOps::new())
        .start(&like, Prediction::Noise, KeyedNoise::new(1))?;
    for step in 0..3 {
        assert_eq!(
            (run.step(), run.level()),
            (step, grid.levels()[step]),
            "{step}"
        );
        assert!(format!("{run:?}").starts_with("TensorRun { driver: "));
        run.ask()?;
        run.tell(&like)?;
    }
    assert!(run.is_finished() && run.history().is_empty());
    assert_eq!(run.level(), grid.levels()[3]);
    assert_eq!(
        (run.plan(), run.prediction()),
        (sampler.plan(), Prediction::Noise)
    );

    let parallel = sampler.parallel(2, 1e-3)?;
    assert_eq!(parallel.sampler().plan(), sampler.plan());
    assert_eq!((parallel.window(), parallel.tolerance()), (2, 1e-3));

    // At α = 1 and σ = 0 the state is the estimate of x₀, which is clipped.
    let together = PositionSchedule::together(&grid, 2)?;
    let positions =
        PositionSampler::new(together, 1, Kappa::Ddim)?.with_clip(Clip::new(-0.5, 0.5)?);
    assert_eq!(positions.axis(), 1);
    let second = PositionSampler::new(PositionSchedule::together(&grid, 2)?, 2, Kappa::Ddim)?;
    assert_eq!(second.axis(), 2);
    let mut model = PerPosition(Telling {
        outputs: None,
        rows: true,
        positions: true,
        form: ClassifierFree::with_scale(1.0)?,
    });
    let mut run = positions.start::<f64, _, _>((2, 2), Prediction::Noise, KeyedNoise::new(1))?;
    assert_eq!(run.prediction(), Prediction::Noise);
    // Far from the data on either side: every estimate lies beyond the clip.
    run.state_mut()
        .assign(&array![[900.0, -900.0], [900.0, -900.0]]);
    run.complete(&mut model)?;
    assert_eq!(run.into_state(), array![[0.5, -0.5], [0.5, -0.5]]);
    Ok(())
}
