//! Guided moments are those of the real run: a plan with linear guidance is one affine map of x_T
//! and of its noises, read off runs on unit vectors.

use diffusion_sampler::{
    Denoiser, Error, Grid, NoiseLevel, Prediction, Query, Sampler,
    denoiser::{Classifier, Guided, Models, WithClassifier},
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, Evaluation, Guidance,
        GuidanceWeight, OnInterval, PlusPlus, Products, Projected, Rescaled, ZeroStar,
    },
    noise::{NoiseKey, NoiseSource, Stream},
    oracle::{Gaussian, Oracle},
    plan::Plan,
    schedule::{NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{FirstOrder, catalogue},
};
use ndarray::{Array2, ArrayRef, Ix2};

use super::common::{Outcome, difference_of, gaussians};

const DIM: usize = 3;

/// Row 1 + d + (event)·d + k of a batch draws the unit vector e_k at one noise, and 0 at the
/// others.
struct UnitNoise {
    /// (step, stage) of every noise of the plan.
    events: Vec<(usize, usize)>,
}

impl UnitNoise {
    fn of(plan: &Plan) -> Self {
        let mut events = Vec::new();
        for (index, step) in plan.steps().iter().enumerate() {
            for (stage, of) in step.stages.iter().enumerate() {
                if of.update.noise != 0.0 {
                    events.push((index, stage));
                }
            }
        }
        Self { events }
    }

    fn rows(&self) -> usize {
        1 + DIM * (1 + self.events.len())
    }
}

impl NoiseSource<f64> for UnitNoise {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f64]) {
        out.fill(0.0);
        let Some(index) = (key.row as usize).checked_sub(1 + DIM) else {
            return;
        };
        let (step, stage) = self.events[index / DIM];
        if key.step as usize == step && key.stream == Stream::Step(stage as u8) {
            let element = (index % DIM) as u64;
            if let Some(out) = element
                .checked_sub(first)
                .and_then(|at| out.get_mut(at as usize))
            {
                *out = 1.0;
            }
        }
    }
}

/// Mean and covariance.
type Moments = (Vec<f64>, Array2<f64>);

/// Those of the state after every step of a run of `model`.
fn run_of<M: Denoiser<f64, Ix2, Error = Error>>(
    sampler: &Sampler,
    model: &mut M,
) -> Result<Vec<Moments>, Box<dyn std::error::Error>> {
    let noise = UnitNoise::of(sampler.plan());
    let rows = noise.rows();
    let deviation = sampler.start_variance().sqrt();
    let x = Array2::from_shape_fn(
        (rows, DIM),
        |(r, i)| if r == i + 1 { deviation } else { 0.0 },
    );
    let mut run = sampler.start_from(x, model.prediction(), noise)?;
    let mut states = Vec::new();
    while !run.is_finished() {
        run.advance(model)?;
        let x = run.state();
        let covariance = Array2::from_shape_fn((DIM, DIM), |(i, j)| {
            let column = |r: usize, i: usize| x[[r, i]] - x[[0, i]];
            (1..rows).map(|r| column(r, i) * column(r, j)).sum()
        });
        states.push((x.row(0).to_vec(), covariance));
    }
    Ok(states)
}

/// Every solver that takes an initial distribution, on 6 steps, with what `model` and `form` make
/// of it: the largest difference of a mean or covariance after any step.
fn worst_of<G: Guidance + Clone, M: Denoiser<f64, Ix2, Error = Error>>(
    form: &G,
    outputs: &[Gaussian],
    prediction: Prediction,
    model: impl Fn(G) -> M,
) -> Result<(), Box<dyn std::error::Error>> {
    let schedule = VariancePreserving::default();
    let grid = Grid::uniform_lambda(
        &schedule,
        6,
        diffusion_sampler::schedule::LambdaRange::new(-2.5, 3.0)?,
    )?;
    let mut noisy = 0;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let sampler = Sampler::new(&schedule, &grid, &entry.solver)?;
        noisy += usize::from(sampler.plan().is_stochastic());
        let predicted = sampler.guided_moments(form, prediction, outputs)?;
        let found = run_of(&sampler, &mut model(form.clone()))?;
        assert_eq!(predicted.len(), found.len());
        for (step, (state, (mean, covariance))) in predicted.iter().zip(&found).enumerate() {
            let worst = difference_of(state, mean, covariance);
            assert!(
                worst < 1e-12,
                "{}, {}, {prediction}, step {step}: {worst:e}",
                entry.name,
                form.name()
            );
        }
    }
    assert!(noisy > 10, "{noisy}");
    Ok(())
}

fn two(prediction: Prediction) -> Result<impl Denoiser<f64, Ix2, Error = Error>, Error> {
    let all = gaussians()?;
    Ok(Models((
        all[0].clone().denoiser(prediction),
        all[1].clone().denoiser(prediction),
    )))
}

#[test]
fn classifier_free_guidance_of_every_solver_is_the_affine_map_of_its_run() -> Outcome {
    for prediction in [Prediction::Noise, Prediction::Data, Prediction::Flow] {
        let form = ClassifierFree::with_scale(2.5)?;
        worst_of(&form, &gaussians()?[..2], prediction, |form| {
            Guided::new(two(prediction).expect("valid"), form)
        })?;
    }
    Ok(())
}

#[test]
fn plus_plus_of_every_solver_keeps_its_two_rows() -> Outcome {
    for prediction in [Prediction::Noise, Prediction::Velocity] {
        let form = PlusPlus::new(0.6)?;
        worst_of(&form, &gaussians()?[..2], prediction, |form| {
            Guided::new(two(prediction).expect("valid"), form)
        })?;
    }
    Ok(())
}

#[test]
fn intervals_weights_by_level_and_several_conditions() -> Outcome {
    let all = gaussians()?;
    let prediction = Prediction::Noise;
    let inner = ClassifierFree::with_scale(3.0)?;
    let interval = OnInterval::new(inner, 0.3, 4.0)?;
    worst_of(&interval, &all[..2], prediction, |form| {
        Guided::new(two(prediction).expect("valid"), form)
    })?;
    let weight = GuidanceWeight::by_level(|level: &NoiseLevel| 2.0 * level.sigma());
    worst_of(
        &ClassifierFree::new(weight),
        &all[..2],
        prediction,
        |form| Guided::new(two(prediction).expect("valid"), form),
    )?;
    worst_of(&Composed::new(&[2.0, -0.5])?, &all, prediction, |form| {
        let [a, b, c] = [0, 1, 2].map(|k| all[k].clone().denoiser(prediction));
        Guided::new(Models((a, b, c)), form)
    })
}

/// Weights that do not sum to one, on the space of x₀: x stays with a coefficient of its own.
#[derive(Clone, Debug)]
struct Loose;

impl Guidance for Loose {
    fn name(&self) -> &'static str {
        "loose"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Combination::weighted(&[1.2, -0.4])?
            .in_space(Prediction::Velocity)
            .with_noise(&[0.3, 0.5])
    }
}

#[test]
fn weights_that_do_not_sum_to_one_in_another_space() -> Outcome {
    let prediction = Prediction::Noise;
    worst_of(&Loose, &gaussians()?[..2], prediction, |form| {
        Guided::new(two(prediction).expect("valid"), form)
    })
}

/// The classifier that tells one Gaussian from another by the ratio of their densities.
struct Ratio(Gaussian, Gaussian);

impl Classifier<f64, Ix2> for Ratio {
    type Error = Error;

    fn gradient(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Error> {
        for (x, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
            let x = x.to_vec();
            let scores = [&self.0, &self.1].map(|g| g.score(&x, &query.level()));
            let [class, all] = scores;
            for (out, (c, a)) in out.iter_mut().zip(class?.into_iter().zip(all?)) {
                *out = c - a;
            }
        }
        Ok(())
    }
}

#[test]
fn classifier_guidance_takes_the_ratio_of_its_gaussian_to_the_first() -> Outcome {
    let all = gaussians()?;
    let outputs = [all[1].clone(), all[0].clone()];
    let form = ClassifierGuidance::new(GuidanceWeight::constant(1.5)?);
    for prediction in [Prediction::Noise, Prediction::Data] {
        worst_of(&form, &outputs, prediction, |form| {
            let model = all[1].clone().denoiser(prediction);
            let classifier = Ratio(all[0].clone(), all[1].clone());
            Guided::new(WithClassifier::new(model, classifier), form)
        })?;
    }
    Ok(())
}

#[test]
fn what_is_not_linear_is_refused_by_name_and_step() -> Outcome {
    let flow = RectifiedFlow::new();
    let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 4)?, &FirstOrder::ddim())?;
    let outputs = &gaussians()?[..2];
    let inner = || ClassifierFree::with_scale(3.0);
    let forms: [(&dyn Guidance, &str); 3] = [
        (&Projected::new(2.0)?, "projected"),
        (&ZeroStar::with_scale(3.0)?, "CFG-Zero*"),
        (&Rescaled::new(inner()?, 0.7)?, "rescaled"),
    ];
    for (form, name) in forms {
        let refused = sampler.guided_moments(form, Prediction::Flow, outputs);
        let Err(Error::NonLinearGuidance { guidance, step: 0 }) = refused else {
            return Err(format!("{name}: {refused:?}").into());
        };
        assert_eq!(guidance, form.name());
    }
    // Linear at the levels asked: outside its interval nothing is projected.
    let nowhere = OnInterval::new(Projected::new(2.0)?, 1e6, 1e7)?;
    let plain = sampler.moments(&outputs[0])?;
    assert_eq!(
        sampler.guided_moments(&nowhere, Prediction::Flow, outputs)?,
        plain
    );
    let few = sampler.guided_moments(&inner()?, Prediction::Flow, &outputs[..1]);
    assert!(matches!(
        few,
        Err(Error::TooFewOutputs {
            wanted: 2,
            found: 1,
            ..
        })
    ));
    assert!(matches!(
        sampler.guided_moments(&inner()?, Prediction::Flow, &[]),
        Err(Error::OutputCount { found: 0, .. })
    ));
    // ε says nothing of x₀ at α = 0.
    assert!(matches!(
        sampler.guided_moments(&inner()?, Prediction::Noise, outputs),
        Err(Error::PredictionUndefined { .. })
    ));
    assert!(flow.level(1.0)?.alpha() == 0.0);
    Ok(())
}
