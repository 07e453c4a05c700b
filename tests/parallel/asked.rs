//! Ask and tell: the same run with the model outside.

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::{Denoiser, Error, KeyedNoise, Prediction};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice};

use crate::common::{Rows, bits, sampler, say};

#[test]
fn a_run_that_is_told_is_the_run_with_the_model() {
    let parallel = sampler(&FirstOrder::ddpm(), 15).parallel(6, 1e-3).unwrap();
    let (expected, report) = parallel
        .sample::<f64, _, _>(&mut Rows::new(Prediction::Noise), (3, 4), 7)
        .unwrap();
    let mut run = parallel
        .start::<f64, _, _>((3, 4), Prediction::Noise, KeyedNoise::new(7))
        .unwrap();
    while let Some(question) = run.ask().unwrap() {
        let mut out = Array2::zeros(question.x.raw_dim());
        for row in 0..question.x.nrows() {
            let one = Slice::from(row..row + 1);
            let level = question.query.level_of(row).unwrap();
            let at = (level, question.query.sample_of(row), 0);
            assert!(question.query.step_of(row).is_some() && question.query.step().is_none());
            let x = question.x.slice_axis(Axis(0), one);
            say(&x, at, out.slice_axis_mut(Axis(0), one));
        }
        run.tell(&out).unwrap();
    }
    assert_eq!(run.report(), &report);
    assert_eq!(bits(&run.into_state()), bits(&expected));
}

#[test]
fn a_guided_run_that_is_told() {
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    let parallel = sampler(&FirstOrder::ddim(), 15).parallel(6, 0.0).unwrap();
    let mut model = Rows::new(Prediction::Velocity);
    let guided = &mut Guided::new(model.clone(), guidance.clone());
    let (expected, _) = parallel.sample::<f64, _, _>(guided, (3, 4), 7).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((3, 4), Prediction::Velocity, KeyedNoise::new(7))
        .unwrap();
    while let Some(question) = run.ask_guided(&guidance).unwrap() {
        let rows = question.x.nrows();
        assert_eq!(question.query.outputs(), 2);
        // Column by column: any layout will do.
        let mut out = Array2::<f64>::zeros((4, 2 * rows)).reversed_axes();
        let view: &mut ArrayRef<f64, Ix2> = &mut out;
        model.denoise(question.x, &question.query, view).unwrap();
        run.tell_guided(&guidance, &out).unwrap();
    }
    assert_eq!(bits(&run.into_state()), bits(&expected));
}

#[test]
fn outputs_of_another_shape_are_refused_and_change_nothing() {
    let parallel = sampler(&FirstOrder::ddim(), 5).parallel(2, 0.0).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((3, 4), Prediction::Noise, KeyedNoise::new(7))
        .unwrap();
    for shape in [(5, 4), (6, 3), (0, 4), (7, 4)] {
        let told = run.tell(&Array2::zeros(shape));
        assert!(
            matches!(&told, Err(Error::ShapeMismatch { found, .. }) if *found == [shape.0, shape.1]),
            "{told:?}"
        );
    }
    run.complete(&mut Rows::new(Prediction::Noise)).unwrap();
    let (expected, _) = parallel
        .sample::<f64, _, _>(&mut Rows::new(Prediction::Noise), (3, 4), 7)
        .unwrap();
    assert_eq!(run.ask().unwrap().map(|_| ()), None);
    let told = run.tell(&Array2::zeros((1, 4)));
    assert_eq!(told, Err(Error::RunFinished { steps: 5 }));
    assert_eq!(bits(&run.into_state()), bits(&expected));
}
