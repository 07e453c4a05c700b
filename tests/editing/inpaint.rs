//! Masked blending, against the recurrence written out.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    editing::Inpaint,
    forward::fill_normal,
    from_fn,
    noise::Stream,
    oracle::{Gaussian, Oracle},
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, RePaint, Solver},
};
use ndarray::{Array2, Array4, ArrayD, Ix2, array};

use crate::{Outcome, distance};

fn estimate(x: f64, level: &NoiseLevel) -> f64 {
    (x / (1.0 + level.sigma())).tanh() + 0.1 * (3.0 * x).sin()
}

/// A model in which every pixel also sees the others.
fn model() -> impl diffusion_sampler::Denoiser<f64, Ix2, Error = std::convert::Infallible> {
    from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        for (mut out, x) in out.rows_mut().into_iter().zip(x.rows()) {
            let mean = x.sum() / x.len() as f64;
            out.iter_mut()
                .zip(x)
                .for_each(|(out, &x)| *out = estimate(0.7 * x + 0.3 * mean, level));
        }
    })
}

fn normals(step: u32) -> Array2<f64> {
    let mut z = Array2::zeros((2, 4));
    fill_normal(&mut z, &mut KeyedNoise::new(8), step, Stream::Forward).unwrap();
    z
}

#[test]
fn blended_2m_is_the_recurrence_with_the_state_replaced() -> Outcome {
    let image = array![[0.1, 0.2, -0.3, 0.5], [0.4, -0.2, 0.9, 0.0]];
    let mask = array![[1.0, 1.0, 0.0, 0.3]];
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
        Box::new(Edm::default()),
        Box::new(RectifiedFlow::new()),
    ];
    let one = normals(99);
    for (schedule, fresh) in schedules.iter().flat_map(|s| [(s, true), (s, false)]) {
        let own = schedule.lambda_range();
        let range = LambdaRange::new(own.noisy().max(-3.0), own.clean().min(3.0))?;
        let grid = Grid::uniform_lambda(schedule, 8, range)?;
        let sampler = Sampler::new(schedule, &grid, &DpmSolverPlusPlus::new())?;
        let mut inpaint = if fresh {
            Inpaint::new(image.clone(), &mask, KeyedNoise::new(8))?
        } else {
            Inpaint::with_one_noise(image.clone(), &mask, one.clone())?
        };
        let blend = |x: &mut Array2<f64>, level: &NoiseLevel, step: u32| {
            let z = if fresh { normals(step) } else { one.clone() };
            let known = level.alpha() * &image + level.sigma() * z;
            *x = &mask * &known + (1.0 - &mask) * &*x;
        };
        let mut run = sampler.start((2, 4), Prediction::Data, KeyedNoise::new(8))?;
        let mut x: Array2<f64> = run.state().to_owned();
        inpaint.blend(&mut run)?;
        blend(&mut x, &grid.start(), 0);
        let mut previous: Option<(Array2<f64>, f64)> = None;
        for (step, (t, s)) in grid.edges().enumerate() {
            run.advance(&mut model())?;
            inpaint.blend(&mut run)?;
            // k-diffusion's 2M, from the blended state.
            let mut d = x.clone();
            for (mut d, x) in d.rows_mut().into_iter().zip(x.rows()) {
                let mean = x.sum() / 4.0;
                d.iter_mut()
                    .zip(x)
                    .for_each(|(d, &x)| *d = estimate(0.7 * x + 0.3 * mean, &t));
            }
            let h = s.lambda() - t.lambda();
            let slope = match &previous {
                Some((old, h0)) if h.is_finite() => &d + (&d - old) * (h / h0 / 2.0),
                _ => d.clone(),
            };
            x = s.sigma() / t.sigma() * &x + s.alpha() * -f64::exp_m1(-h) * slope;
            blend(&mut x, &s, step as u32 + 1);
            previous = Some((d, h));
            assert!(distance(run.state(), &x) < 1e-12, "step {step}");
        }
        for (state, image) in run.state().rows().into_iter().zip(image.rows()) {
            assert_eq!(
                (state[0], state[1]),
                (image[0], image[1]),
                "the image itself"
            );
        }
    }
    Ok(())
}

#[test]
fn the_known_part_follows_the_forward_process_under_any_solver() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 6)?;
    let image = array![[0.1, 0.2, -0.3, 0.5], [0.4, -0.2, 0.9, 0.0]];
    let mask = array![[1.0, 1.0, 0.0, 0.0]];
    let repaint = RePaint::new(FirstOrder::ddpm(), 2, 3)?;
    let solvers: [&dyn Solver; 4] = [
        &FirstOrder::ddpm(),
        &DpmSolverPlusPlus::sde(),
        &Heun::new(),
        &repaint,
    ];
    for solver in solvers {
        let sampler = Sampler::new(&table, &grid, solver)?;
        let mut inpaint = Inpaint::new(image.clone(), &mask, KeyedNoise::new(8))?;
        let mut run = sampler.start((2, 4), Prediction::Data, KeyedNoise::new(8))?;
        inpaint.blend(&mut run)?;
        while !run.is_finished() {
            let step = run.step();
            run.advance(&mut model())?;
            let before = run.state().to_owned();
            inpaint.blend(&mut run)?;
            let taken = &run.plan().steps()[step];
            if taken.to.lambda() < taken.from.lambda() {
                assert_eq!(run.state(), &before, "nothing is replaced on the way up");
                continue;
            }
            let level = run.level();
            let known = level.alpha() * &image + level.sigma() * normals(step as u32 + 1);
            for (j, column) in known.columns().into_iter().enumerate() {
                let expected = if j < 2 {
                    column.to_owned()
                } else {
                    before.column(j).to_owned()
                };
                assert!(
                    run.state()
                        .column(j)
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| (a - b).abs() < 1e-15)
                );
            }
        }
        assert_eq!(run.state().column(1), image.column(1));
    }
    Ok(())
}

#[test]
fn repaint_mends_the_correlation_that_replacement_understates() -> Outcome {
    // Two pixels of correlation 0.9; given 1 for the first, the second has mean 0.9, variance 0.19.
    let mut model =
        Gaussian::new(&[0.0, 0.0], &array![[1.0, 0.9], [0.9, 1.0]])?.denoiser(Prediction::Noise);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 50)?;
    let samples = 4000;
    let mut mean = |resamplings| -> Result<f64, Box<dyn std::error::Error>> {
        let solver = RePaint::new(FirstOrder::ddpm(), 5, resamplings)?;
        let sampler = Sampler::new(&table, &grid, &solver)?;
        let image = Array2::<f64>::ones((samples, 2));
        let mut inpaint = Inpaint::new(image, &array![[1.0, 0.0]], KeyedNoise::new(1))?;
        let mut run = sampler.start((samples, 2), Prediction::Noise, KeyedNoise::new(1))?;
        inpaint.blend(&mut run)?;
        while !run.is_finished() {
            run.advance(&mut model)?;
            inpaint.blend(&mut run)?;
        }
        Ok(run.state().column(1).sum() / samples as f64)
    };
    let (replaced, resampled) = (mean(1)?, mean(10)?);
    println!("{replaced:.3} replaced, {resampled:.3} resampled, 0.9 exact");
    assert!(replaced < 0.7 && (resampled - 0.9).abs() < 0.2 * (replaced - 0.9).abs());
    Ok(())
}

#[test]
fn masks_are_broadcast_and_checked_and_edits_come_between_steps() -> Outcome {
    let image = Array4::<f32>::zeros((2, 3, 4, 4));
    let noise = || KeyedNoise::new(0);
    assert!(Inpaint::new(image.clone(), &Array4::ones((1, 1, 4, 4)), noise()).is_ok());
    assert!(matches!(
        Inpaint::new(image.clone(), &Array4::ones((1, 1, 4, 3)), noise()),
        Err(Error::ShapeMismatch { name: "mask", .. })
    ));
    for bad in [-0.1, 1.5, f32::NAN] {
        let mut mask = Array4::ones((1, 1, 4, 4));
        mask[[0, 0, 1, 2]] = bad;
        assert!(matches!(
            Inpaint::new(image.clone(), &mask, noise()),
            Err(Error::InvalidEntry {
                name: "mask",
                index: 6,
                ..
            })
        ));
    }
    let mut broken = image.clone();
    broken[[1, 0, 0, 2]] = f32::INFINITY;
    let ones = Array4::ones((1, 1, 1, 1));
    assert!(matches!(
        Inpaint::new(broken.clone(), &ones, noise()),
        Err(Error::NonFiniteStart {
            array: "known image",
            sample: 1,
            element: 2,
            ..
        })
    ));
    assert!(Inpaint::with_one_noise(image.clone(), &ones, broken).is_err());
    let point = ArrayD::<f64>::zeros(vec![]);
    assert!(matches!(
        Inpaint::new(point.clone(), &point, noise()),
        Err(Error::NoSampleAxis)
    ));

    let flow = RectifiedFlow::new();
    let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 4)?, &Heun::new())?;
    let mut run = sampler.start::<f64, _, _>((1, 2), Prediction::Data, noise())?;
    let mut inpaint = Inpaint::new(Array2::ones((1, 2)), &array![[1.0, 0.0]], noise())?;
    run.advance(&mut model())?;
    inpaint.blend(&mut run)?;
    run.tell(&array![[0.1, 0.2]])?;
    assert_eq!(
        inpaint.blend(&mut run),
        Err(Error::WithinStep { step: 1, stage: 1 })
    );
    run.tell(&array![[0.1, 0.2]])?;
    inpaint.blend(&mut run)?;
    let mut other = Inpaint::new(Array2::ones((1, 3)), &array![[1.0, 0.0, 0.5]], noise())?;
    assert!(matches!(
        other.blend(&mut run),
        Err(Error::ShapeMismatch { name: "state", .. })
    ));
    Ok(())
}

#[test]
fn known_and_unknown_pixels_keep_their_bits_whatever_the_state_is() -> Outcome {
    let image = array![[-0.0f64, 0.25, -0.0, 7.0], [1.0, -0.0, 3.0, 0.5]];
    let mask = array![[1.0, 1.0, 0.0, 0.0]];
    let clean = RectifiedFlow::new().level(0.0)?;
    let mut inpaint = Inpaint::new(image.clone(), &mask, KeyedNoise::new(8))?;
    for state in [f64::NAN, f64::INFINITY, -0.0, 1.5] {
        let mut x = Array2::from_elem((2, 4), state);
        inpaint.apply(&mut x, &clean, 0)?;
        for (_, x) in x.indexed_iter().filter(|((_, j), _)| *j >= 2) {
            assert_eq!(x.to_bits(), state.to_bits(), "{state}");
        }
        for (at, known) in image.indexed_iter().filter(|((_, j), _)| *j < 2) {
            // α = 1: the image itself, but for the sign of a zero.
            assert_eq!(x[at], *known, "{state}");
        }
    }
    Ok(())
}
