//! Guided runs, edits of the state, and starts between knots.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, KeyedNoise, Prediction, Query, Sampler,
    denoiser::Guided,
    forward::{diffuse, fill_normal},
    guidance::{ClassifierFree, Combination, Evaluation, Guidance, GuidanceWeight},
    noise::Stream,
    schedule::NoiseSchedule,
    solver::FirstOrder,
};
use ndarray::{Array3, ArrayRef, ArrayViewMut3, Axis, Ix3, Slice, s};

use crate::common::{
    Smooth, bits, difference, evaluating_first, grid, pair, sampler, schedule, solvers,
};

const SHAPE: (usize, usize, usize) = (4, 2, 3);
const KIND: Prediction = Prediction::Noise;

type Image = ArrayRef<f64, Ix3>;

/// The unconditional model: another function than `Smooth`.
#[derive(Clone, Copy)]
struct Other;

impl Denoiser<f64, Ix3> for Other {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(&mut self, x: &Image, q: &Query<'_>, out: &mut Image) -> Result<(), Infallible> {
        let sigma = q.level().sigma();
        out.zip_mut_with(x, |o, &x| *o = sigma * x * 0.7 - 0.2);
        Ok(())
    }
}

/// Both models in one call, as a network with a batch of 2B answers.
struct Both {
    /// The number of rows of every call.
    rows: Vec<usize>,
}

impl Denoiser<f64, Ix3> for Both {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(&mut self, x: &Image, q: &Query<'_>, out: &mut Image) -> Result<(), Infallible> {
        let samples = x.shape()[0];
        assert_eq!(out.shape()[0], q.outputs() * samples);
        self.rows.push(out.shape()[0]);
        let single = q.with_outputs(1);
        let mut first = out.slice_axis_mut(Axis(0), Slice::from(..samples));
        Smooth(KIND).denoise(x, &single, &mut first)?;
        if q.outputs() == 2 {
            let mut second = out.slice_axis_mut(Axis(0), Slice::from(samples..));
            Other.denoise(x, &single, &mut second)?;
        }
        Ok(())
    }
}

#[test]
fn two_outputs_of_one_call_are_two_models_bit_for_bit() {
    let weights = [
        GuidanceWeight::constant(1.5).unwrap(),
        GuidanceWeight::constant(0.0).unwrap(),
        GuidanceWeight::interval(2.0, 0.3, 5.0).unwrap(),
    ];
    for (name, solver) in solvers() {
        for weight in &weights {
            let sampler = sampler(&*solver, 8);
            let mut model = pair(Smooth(KIND), Other, weight.clone());
            let expected: Array3<f64> = sampler.sample(&mut model, SHAPE, 4).unwrap();
            let mut both = Guided::new(Both { rows: vec![] }, ClassifierFree::new(weight.clone()));
            let batched: Array3<f64> = sampler.sample(&mut both, SHAPE, 4).unwrap();
            assert_eq!(bits(&batched), bits(&expected), "{name}, {weight:?}");
            // And by ask and tell, with the form of guidance or its combination.
            let mut run = sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(4))
                .unwrap();
            while let Some(question) = run.ask().unwrap() {
                let level = question.level();
                let query = Query::new(&level);
                let (mut c, mut u) = (Array3::zeros(SHAPE), Array3::zeros(SHAPE));
                Smooth(KIND).denoise(question.x, &query, &mut c).unwrap();
                Other.denoise(question.x, &query, &mut u).unwrap();
                let form = ClassifierFree::new(weight.clone());
                let combination = form.combine(&Evaluation::new(level, KIND), None).unwrap();
                let outputs: [&Image; 2] = [&c, &u];
                let outputs = &outputs[..combination.outputs()];
                let mut by_form = run.clone();
                by_form.tell_guided(&form, outputs).unwrap();
                run.tell_combined(&[combination], outputs).unwrap();
                assert_eq!(bits(by_form.state()), bits(run.state()), "{name}");
            }
            assert_eq!(bits(run.state()), bits(&expected), "{name}, {weight:?}");
        }
    }
}

#[test]
fn the_second_half_of_the_batch_is_asked_for_only_where_it_counts() {
    let weight = GuidanceWeight::interval(2.0, 0.3, 5.0).unwrap();
    let mut model = Both { rows: vec![] };
    let sampler = sampler(&FirstOrder::ddim(), 8);
    let mut guided = Guided::new(&mut model, ClassifierFree::new(weight));
    let _: Array3<f64> = sampler.sample(&mut guided, SHAPE, 4).unwrap();
    let expected: Vec<usize> = grid(8).levels()[..8]
        .iter()
        .map(|level| level.sigma() / level.alpha())
        .map(|rho| if rho > 0.3 && rho <= 5.0 { 8 } else { 4 })
        .collect();
    assert!(expected.contains(&4) && expected.contains(&8));
    assert_eq!(model.rows, expected);
}

#[test]
fn guidance_of_weight_minus_one_is_the_unconditional_model() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 8);
        let weight = GuidanceWeight::constant(-1.0).unwrap();
        let mut model = pair(Smooth(KIND), Other, weight);
        let guided: Array3<f64> = sampler.sample(&mut model, SHAPE, 4).unwrap();
        let plain: Array3<f64> = sampler.sample(&mut Other, SHAPE, 4).unwrap();
        assert!(difference(&guided, &plain) < 1e-14, "{name}");
    }
}

#[test]
fn told_weights_combine_any_number_of_outputs() {
    let sampler = sampler(&FirstOrder::ddim(), 3);
    let mut run = sampler
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(4))
        .unwrap();
    let mut plain = run.clone();
    let weights = [0.5, 2.0, -1.75, 0.125, 0.0625, 0.0625];
    let combination = Combination::affine(&weights).unwrap();
    let outputs: Vec<Array3<f64>> = (0..6)
        .map(|j| run.state().mapv(|x| (x * (j + 1) as f64).sin()))
        .collect();
    let mut sum = Array3::<f64>::zeros(SHAPE);
    for (weight, output) in weights.iter().zip(&outputs) {
        sum = sum + output * *weight;
    }
    let views: Vec<&Image> = outputs.iter().map(|output| &**output).collect();
    run.tell_combined(&[combination], &views).unwrap();
    plain.tell(&sum).unwrap();
    assert!(difference(run.state(), plain.state()) < 1e-13);
}

#[test]
fn edits_of_the_state_enter_the_next_step_alone() {
    // Inpainting: the left column is replaced by the noised truth before every step.
    for (name, solver) in evaluating_first() {
        let sampler = sampler(&*solver, 6);
        let truth = Array3::from_shape_fn(SHAPE, |(i, j, k)| 0.1 * (i + 2 * j + 3 * k) as f64);
        let mut run = sampler
            .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(4))
            .unwrap();
        let mut told = run.clone();
        for step in 0..6 {
            let mut noised = truth.clone();
            diffuse(&mut noised, &[run.level()], &mut KeyedNoise::new(9), step).unwrap();
            let edit = |mut state: ArrayViewMut3<'_, f64>| {
                let mut column = state.slice_mut(s![.., .., 0]);
                column.assign(&noised.slice(s![.., .., 0]));
            };
            edit(run.state_mut());
            edit(told.state_mut());
            let before = run.state().to_owned();
            run.advance(&mut Smooth(KIND)).unwrap();
            let mut first = true;
            while told.step() < run.step() {
                let question = told.ask().unwrap().unwrap();
                assert!(!first || bits(question.x) == bits(&before), "{name}");
                first = false;
                let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
                told.tell(&output).unwrap();
            }
            assert_eq!(bits(told.state()), bits(run.state()), "{name}");
        }
        assert!(difference(run.state(), &truth) > 0.0 && run.is_finished());
    }
}

#[test]
fn image_to_image_starts_exactly_at_the_level_it_promises() {
    let schedule = schedule();
    // Between the knots 700 and 600, and between the table's own.
    let start = schedule.level(623.25).unwrap();
    let grid = grid(10).starting_at(&schedule, start).unwrap();
    let times: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
    assert_eq!(
        times,
        [623.25, 600.0, 500.0, 400.0, 300.0, 200.0, 100.0, 0.0]
    );
    for (name, solver) in evaluating_first() {
        let sampler = Sampler::new(&schedule, &grid, &solver).unwrap();
        let image = Array3::from_shape_fn(SHAPE, |(i, j, k)| 0.1 * (i + 2 * j + 3 * k) as f64);
        let mut x = image.clone();
        diffuse(&mut x, &[start], &mut KeyedNoise::new(9), 0).unwrap();
        let mut z = Array3::<f64>::zeros(SHAPE);
        fill_normal(&mut z, &mut KeyedNoise::new(9), 0, Stream::Forward).unwrap();
        assert!(difference(&x, &(&image * start.alpha() + &z * start.sigma())) < 1e-14);

        let mut run = sampler
            .start_from(x.clone(), KIND, KeyedNoise::new(4))
            .unwrap();
        assert_eq!((run.level(), bits(run.state())), (start, bits(&x)));
        let question = run.ask().unwrap().unwrap();
        assert_eq!((question.level(), bits(question.x)), (start, bits(&x)));
        // A model that knows the noise returns the image, whatever the solver.
        let mut run = sampler
            .start_from(x, Prediction::Data, KeyedNoise::new(4))
            .unwrap();
        while run.ask().unwrap().is_some() {
            run.tell(&image).unwrap();
        }
        // LCM's boundary scalings miss the image by design.
        assert!(
            name == "LCM" || difference(run.state(), &image) < 1e-13,
            "{name}"
        );
    }
}
