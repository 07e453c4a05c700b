//! Arrays of any shape and layout: empty ones, column-major ones, any number of dimensions, one
//! step.

use std::ops::ControlFlow;

use diffusion_sampler::{
    Denoiser, Error, KeyedNoise, Prediction, RunError, from_fn, solver::FirstOrder,
};
use ndarray::{
    Array, Array1, Array2, Array3, Array4, Array6, ArrayD, Axis, Dimension, Ix2, IxDyn,
    ShapeBuilder,
};

use crate::common::{Smooth, bits, sampler, solvers};

const KIND: Prediction = Prediction::Noise;

/// The samples of a shape, as bits in row-major order.
fn sampled<S: ndarray::IntoDimension>(name: usize, shape: S) -> Vec<u64>
where
    Smooth: Denoiser<f64, S::Dim, Error = std::convert::Infallible>,
{
    let sampler = sampler(&*solvers()[name].1, 4);
    bits::<f64, _>(&sampler.sample(&mut Smooth(KIND), shape, 12).unwrap())
}

#[test]
fn a_sample_is_its_elements_whatever_the_dimension() {
    for solver in 0..solvers().len() {
        let flat = sampled(solver, (3, 24));
        assert_eq!(sampled(solver, (3, 4, 6)), flat);
        assert_eq!(sampled(solver, (3, 2, 2, 6)), flat);
        assert_eq!(sampled(solver, (3, 2, 2, 3, 2, 1)), flat);
        assert_eq!(sampled(solver, IxDyn(&[3, 24])), flat);
        assert_eq!(sampled(solver, IxDyn(&[3, 1, 2, 2, 1, 3, 2])), flat);
        // One element a sample.
        assert_eq!(sampled(solver, 5), sampled(solver, (5, 1, 1)));
    }
}

fn from_layouts<D: Dimension>(standard: Array<f32, D>, other: Array<f32, D>)
where
    Smooth: Denoiser<f32, D, Error = std::convert::Infallible>,
{
    assert!(!other.is_standard_layout() && bits(&standard) == bits(&other));
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 4);
        let mut results = [standard.clone(), other.clone()].map(|x| {
            let mut run = sampler.start_from(x, KIND, KeyedNoise::new(3)).unwrap();
            run.complete(&mut Smooth(KIND)).unwrap();
            run.into_state()
        });
        assert!(results.iter_mut().all(|x| x.is_standard_layout()));
        assert_eq!(bits(&results[0]), bits(&results[1]), "{name}");
    }
}

#[test]
fn a_start_in_any_layout_gives_the_same_bits() {
    let value = |(i, j, k)| (i as f32 - 1.5) * 0.4 + j as f32 * 0.3 - (k * k) as f32 * 0.05;
    let standard = Array3::from_shape_fn((4, 3, 5), value);
    let columns = Array3::from_shape_fn((4, 3, 5).f(), value);
    from_layouts(standard.clone(), columns);
    let mut inverted = Array3::from_shape_fn((4, 3, 5), |(i, j, k)| value((i, 2 - j, k)));
    inverted.invert_axis(Axis(1));
    from_layouts(standard.clone(), inverted);
    let channels_last = Array3::from_shape_fn((4, 5, 3), |(i, k, j)| value((i, j, k)));
    let permuted = channels_last.permuted_axes([0, 2, 1]);
    from_layouts(standard.clone(), permuted.clone());
    from_layouts(standard.into_dyn(), permuted.into_dyn());
}

#[test]
fn outputs_told_in_any_layout_give_the_same_bits() {
    let shape = (4, 3, 5);
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 4);
        let mut run = sampler
            .start::<f64, _, _>(shape, KIND, KeyedNoise::new(3))
            .unwrap();
        let mut copies = [run.clone(), run.clone(), run.clone()];
        while let Some(question) = run.ask().unwrap() {
            let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
            let mut columns = Array3::zeros(shape.f());
            columns.assign(&output);
            let mut padded = Array3::zeros((8, 3, 6));
            padded.slice_mut(ndarray::s![..;2, .., ..5]).assign(&output);
            let strided = padded.slice(ndarray::s![..;2, .., ..5]);
            let mut inverted = output.clone();
            inverted.invert_axis(Axis(2));
            let mut inverted = inverted.as_standard_layout().into_owned();
            inverted.invert_axis(Axis(2));
            run.tell(&output).unwrap();
            for copy in &mut copies {
                copy.ask().unwrap();
            }
            copies[0].tell(&columns).unwrap();
            copies[1].tell(&strided).unwrap();
            copies[2].tell(&inverted).unwrap();
            for copy in &copies {
                assert_eq!(bits(copy.state()), bits(run.state()), "{name}");
            }
        }
    }
}

#[test]
fn an_empty_batch_runs_without_calling_the_model() {
    let mut never = from_fn::<f64, Ix2>(KIND, |_, _, _| panic!("called for an empty state"));
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 4);
        for shape in [(0, 5), (5, 0), (0, 0)] {
            let result: Array2<f64> = sampler.sample(&mut never, shape, 1).unwrap();
            assert_eq!(result.dim(), shape, "{name}");
            let mut run = sampler
                .start::<f64, _, _>(shape, KIND, KeyedNoise::new(1))
                .unwrap();
            let mut steps = 0;
            let flow = run.complete_with(&mut never, |report| {
                assert_eq!((report.x.dim(), report.data.dim()), (shape, shape));
                steps += 1;
                ControlFlow::Continue(())
            });
            assert_eq!((steps, flow), (4, Ok(ControlFlow::Continue(()))), "{name}");
            let finished = RunError::Sampler(Error::RunFinished { steps });
            assert_eq!(run.advance(&mut never), Err(finished), "{name}");
            let mut told = sampler
                .start::<f64, _, _>(shape, KIND, KeyedNoise::new(1))
                .unwrap();
            while told.ask().unwrap().is_some() {
                told.tell(&Array2::<f64>::zeros(shape)).unwrap();
            }
            assert!(told.is_finished());
        }
    }
    let sampler = sampler(&FirstOrder::ddpm(), 4);
    let none: Array1<f32> = sampler.sample(&mut Smooth(KIND), 0, 1).unwrap();
    let none4: Array4<f32> = sampler.sample(&mut Smooth(KIND), (2, 3, 0, 4), 1).unwrap();
    let none6: Array6<f32> = sampler.sample(&mut Smooth(KIND), [0; 6], 1).unwrap();
    let dynamic: ArrayD<f32> = sampler.sample(&mut Smooth(KIND), IxDyn(&[0]), 1).unwrap();
    assert_eq!(
        (none.len(), none4.len(), none6.len(), dynamic.len()),
        (0, 0, 0, 0)
    );
}

#[test]
fn one_step_returns_the_estimate_of_the_data() {
    let shape = (3, 4);
    // LCM's boundary scalings add a share of the state.
    for (name, solver) in solvers().into_iter().filter(|(name, _)| *name != "LCM") {
        let sampler = sampler(&*solver, 1);
        let mut run = sampler
            .start::<f64, _, _>(shape, KIND, KeyedNoise::new(6))
            .unwrap();
        let level = run.level();
        let expected = run
            .state()
            .mapv(|x| (x - level.sigma() * Smooth::at(x, &level)) / level.alpha());
        run.complete(&mut Smooth(KIND)).unwrap();
        assert!(
            crate::common::difference(run.state(), &expected) < 1e-14,
            "{name}"
        );
        assert_eq!(run.step(), 1);
    }
}

#[test]
fn a_strange_sample_axis_is_still_the_sample_axis() {
    // [B, 1] in column-major order is in standard layout as well.
    let x = Array2::from_shape_fn((5, 1).f(), |(i, _)| 0.2 * i as f64);
    let sampler = sampler(&FirstOrder::ddpm(), 4);
    let mut run = sampler
        .start_from(x.clone(), KIND, KeyedNoise::new(3))
        .unwrap();
    run.complete(&mut Smooth(KIND)).unwrap();
    for row in 0..5 {
        let noise = KeyedNoise::new(3).with_first_sample(row as u64).unwrap();
        let own = x.slice(ndarray::s![row..=row, ..]).to_owned();
        let mut alone = sampler.start_from(own, KIND, noise).unwrap();
        alone.complete(&mut Smooth(KIND)).unwrap();
        assert_eq!(bits(alone.state())[0], bits(run.state())[row]);
    }
}
