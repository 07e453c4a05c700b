//! Guidance where levels differ over positions: its weights at the level of each, or a refusal.

use diffusion_sampler::{
    Clip, Error, Levels, NoiseLevel, Prediction, Query, RunError,
    denoiser::{Denoiser, Guided, Models, PerPosition},
    from_fn,
    guidance::{ClassifierFree, Combination, Guidance, GuidanceWeight, Projected, Rescaled},
    posterior::Kappa,
    run::PositionSchedule,
    solver::FirstOrder,
};
use ndarray::{Array3, ArrayRef, Ix3, IxDyn};

use super::{Each, SHAPES, along, at, keyed, level, numbers};
use crate::common::{Smooth, difference, grid, pair, sampler};

const KIND: Prediction = Prediction::Noise;

/// A second model: the unconditional one.
#[derive(Clone, Copy, Debug)]
struct Weaker<M>(M);

impl<D: ndarray::Dimension, M: Denoiser<f64, D>> Denoiser<f64, D> for Weaker<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, D>,
    ) -> Result<(), M::Error> {
        self.0.denoise(x, query, out)?;
        out.mapv_inplace(|o| 0.8 * o - 0.05);
        Ok(())
    }

    fn reads_positions(&self) -> bool {
        self.0.reads_positions()
    }
}

fn weights() -> Vec<GuidanceWeight> {
    let rising = |level: &NoiseLevel| 3.0 * level.sigma();
    vec![
        GuidanceWeight::constant(2.0).unwrap(),
        GuidanceWeight::interval(4.0, 0.1, 3.0).unwrap(),
        GuidanceWeight::by_level(rising),
    ]
}

#[test]
fn a_guided_position_is_the_guided_run_of_that_position_alone() {
    for (shape, axis) in SHAPES {
        let x = numbers::<f64>(shape);
        for weight in weights() {
            let each = Each(KIND, axis);
            let mut model = pair(each, Weaker(each), weight.clone());
            let stairs = PositionSchedule::staircase(&grid(6), shape[axis], 2).unwrap();
            let mut run = along(stairs, axis, Kappa::Ddim)
                .resume(x.clone(), 0, KIND, keyed())
                .unwrap();
            run.complete(&mut model).unwrap();
            let mut alone = sampler(&FirstOrder::ddim(), 6)
                .start_from(x.clone(), KIND, keyed())
                .unwrap();
            let mut model = pair(Smooth(KIND), Weaker(Smooth(KIND)), weight.clone());
            alone.complete(&mut model).unwrap();
            for position in 0..shape[axis] {
                let wanted = at(alone.state(), axis, position);
                assert_eq!(
                    at(run.state(), axis, position),
                    wanted,
                    "{shape:?} {weight:?}"
                );
            }
        }
    }
}

#[test]
fn outputs_told_one_by_one_are_those_of_the_guided_model() {
    let (shape, axis) = SHAPES[0];
    let guidance = ClassifierFree::new(weights()[1].clone());
    let stairs = PositionSchedule::staircase(&grid(5), shape[axis], 1).unwrap();
    let sampler = along(stairs, axis, Kappa::Ddpm);
    let each = Each(KIND, axis);
    let mut by_model = sampler
        .start::<f64, _, _>(IxDyn(shape), KIND, keyed())
        .unwrap();
    let mut told = by_model.clone();
    by_model
        .complete(&mut pair(each, Weaker(each), weights()[1].clone()))
        .unwrap();
    let mut most = 0;
    while let Some(question) = told.ask_guided(&guidance).unwrap() {
        let (wanted, mut first) = (question.query.outputs(), question.x.to_owned());
        most = most.max(wanted);
        let mut second = first.clone();
        let mut model = each;
        let Ok(()) = model.denoise(question.x, &question.query, &mut first);
        let Ok(()) = Weaker(each).denoise(question.x, &question.query, &mut second);
        let outputs: [&ArrayRef<f64, IxDyn>; 2] = [&first, &second];
        told.tell_guided(&guidance, &outputs[..wanted]).unwrap();
    }
    assert_eq!(most, 2);
    assert_eq!(told.state(), by_model.state());
}

#[test]
fn one_combination_serves_all_positions() {
    let stairs = PositionSchedule::staircase(&grid(3), 2, 1).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>((2, 2, 4), KIND, keyed())
        .unwrap();
    let mut plain = run.clone();
    let [a, b] = [0.3, -0.7].map(|value| Array3::from_elem((2, 2, 4), value));
    let outputs: [&ArrayRef<f64, Ix3>; 2] = [&a, &b];
    let combination = Combination::affine(&[0.25, 0.75]).unwrap();
    run.tell_combined(&combination, &outputs).unwrap();
    plain.tell(&(0.25 * &a + 0.75 * &b)).unwrap();
    assert!(difference(run.state(), plain.state()) < 1e-13);
}

fn refused(guidance: impl Guidance + Clone) -> Error {
    let stairs = PositionSchedule::staircase(&grid(4), 4, 1).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>((3, 4, 10), KIND, keyed())
        .unwrap();
    let each = Each(KIND, 1);
    let mut model = Guided::new(Models((each, Weaker(each))), guidance.clone());
    let before = run.state().to_owned();
    let by_model = run.advance(&mut model).unwrap_err();
    let asked = run.ask_guided(&guidance).unwrap_err();
    assert_eq!(by_model, RunError::Sampler(asked.clone()));
    let outputs: [&ArrayRef<f64, Ix3>; 2] = [&before, &before];
    assert_eq!(
        run.clone().tell_guided(&guidance, &outputs),
        Err(asked.clone())
    );
    assert_eq!(run.state(), &before);
    asked
}

#[test]
fn guidance_that_looks_at_whole_samples_is_refused() {
    let rescaled = Rescaled::new(ClassifierFree::with_scale(3.0).unwrap(), 0.7).unwrap();
    let name = rescaled.name();
    assert_eq!(refused(rescaled.clone()), Error::NotPerPosition { name });
    let momentum = Projected::with_scale(3.0)
        .unwrap()
        .with_momentum(-0.5)
        .unwrap();
    let name = momentum.name();
    assert_eq!(refused(momentum), Error::NotPerPosition { name });
    // Together there is one level, and it has its meaning.
    let together = PositionSchedule::together(&grid(4), 4).unwrap();
    let mut run = along(together, 1, Kappa::Ddim)
        .start::<f64, _, _>((3, 4, 10), KIND, keyed())
        .unwrap();
    let models = Models((Smooth(KIND), Weaker(Smooth(KIND))));
    let mut model = Guided::new(models, rescaled);
    run.complete(&mut model).unwrap();
    let mut alone = sampler(&FirstOrder::ddim(), 4)
        .start::<f64, _, _>((3, 4, 10), KIND, keyed())
        .unwrap();
    alone.complete(&mut model).unwrap();
    assert_eq!(run.state(), alone.state());
}

#[test]
fn a_fixed_clip_clips_at_every_position_and_a_dynamic_one_is_refused() {
    let (shape, axis) = SHAPES[2];
    let x = numbers::<f64>(shape);
    let clip = Clip::new(-0.2, 0.2).unwrap();
    let stairs = || PositionSchedule::staircase(&grid(5), shape[axis], 1).unwrap();
    let clipped = along(stairs(), axis, Kappa::Ddim).with_clip(clip);
    let mut run = clipped.resume(x.clone(), 0, KIND, keyed()).unwrap();
    run.complete(&mut Each(KIND, axis)).unwrap();
    let plain = sampler(&FirstOrder::ddim(), 5).with_clip(clip);
    let mut alone = plain.start_from(x.clone(), KIND, keyed()).unwrap();
    alone.complete(&mut Smooth(KIND)).unwrap();
    for position in 0..shape[axis] {
        assert_eq!(
            at(run.state(), axis, position),
            at(alone.state(), axis, position)
        );
    }
    let dynamic = Clip::dynamic(0.95, 2.0).unwrap();
    let clipped = along(stairs(), axis, Kappa::Ddim).with_clip(dynamic);
    let name = "dynamic thresholding";
    let refused = clipped.resume(x, 0, KIND, keyed()).err();
    assert_eq!(refused, Some(Error::NotPerPosition { name }));
}

#[test]
fn a_model_that_does_not_read_positions_is_refused_before_it_is_called() {
    let stairs = PositionSchedule::staircase(&grid(4), 4, 1).unwrap();
    let mut run = along(stairs, 1, Kappa::Ddim)
        .start::<f64, _, _>((3, 4, 10), KIND, keyed())
        .unwrap();
    let mut uncalled = from_fn::<f64, Ix3>(KIND, |_, _, _| panic!("called"));
    let refused = |result: Result<(), RunError<_>>| {
        let axis = 1;
        let wanted = RunError::Sampler(Error::PositionsNotRead { axis });
        assert_eq!(result, Err(wanted));
    };
    refused(run.advance(&mut uncalled));
    // Several models read positions where each does.
    let each = Each(KIND, 1);
    let mut one_of_two = pair(each, Weaker(Smooth(KIND)), weights()[0].clone());
    refused(run.advance(&mut one_of_two));
    let mut both = pair(each, Weaker(PerPosition(each)), weights()[0].clone());
    run.advance(&mut both).unwrap();
}

#[test]
fn a_guided_call_by_hand_has_the_weight_of_each_position() {
    let rising = GuidanceWeight::by_level(|level: &NoiseLevel| 3.0 * level.sigma());
    let levels = [level(0.9, 0.2), level(0.4, 0.9), level(0.7, 0.5)];
    let each = Each(KIND, 1);
    let mut model = pair(each, Weaker(each), rising);
    let x = Array3::from_shape_fn((2, 3, 5), |(i, j, k)| (i + 2 * j + k) as f64 * 0.3 - 1.0);
    let query = Query::along(Levels::along(1, &levels), x.shape()).unwrap();
    let mut out = Array3::zeros(x.raw_dim());
    model.estimate(&x, &query, &mut out).unwrap();
    for (index, x) in x.indexed_iter() {
        let level = levels[index.1];
        let first = Smooth::at(*x, &level);
        let (second, weight) = (0.8 * first - 0.05, 3.0 * level.sigma());
        let wanted = (1.0 + weight) * first - weight * second;
        assert!((out[index] - wanted).abs() < 1e-14);
    }
    let rescaled = Rescaled::new(ClassifierFree::with_scale(3.0).unwrap(), 0.7).unwrap();
    let name = rescaled.name();
    let mut model = Guided::new(Models((each, Weaker(each))), rescaled);
    let refused = model.estimate(&x, &query, &mut out);
    assert_eq!(
        refused,
        Err(RunError::Sampler(Error::NotPerPosition { name }))
    );
}
