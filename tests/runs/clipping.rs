//! Clipping, against the formulas written out on arrays.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, NoiseLevel, Prediction,
    clip::ClipNoise,
    forward::fill_normal,
    noise::Stream,
    posterior::Kappa,
    solver::{DpmSolverPlusPlus, FirstOrder},
};
use ndarray::Array2;

use crate::common::{Smooth, bits, difference, grid, sampler};

const SHAPE: (usize, usize) = (6, 5);
const STEPS: usize = 8;
const SEED: u64 = 21;
/// Narrow enough that many estimates are outside, and not symmetric.
const RANGE: (f64, f64) = (-0.4, 0.25);

fn clips() -> [Clip; 2] {
    let clip = Clip::new(RANGE.0, RANGE.1).unwrap();
    [clip, clip.keeping_noise()]
}

/// (clamp(D), E) by x = αD + σE, and whether D was outside.
fn estimates(x: f64, level: &NoiseLevel, noise: ClipNoise) -> (f64, f64, bool) {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let own = Smooth::at(x, level);
    let data = (x - sigma * own) / alpha;
    let clipped = data.clamp(RANGE.0, RANGE.1);
    let kept = match noise {
        ClipNoise::Keep => own,
        ClipNoise::Recompute => (x - alpha * clipped) / sigma,
        other => panic!("{other:?}"),
    };
    (clipped, kept, clipped != data)
}

/// DDIM's equation: x_s = α_s clamp(D) + √(σ_s² − γ²) E + γz with γ = ησ_s√(1 − r²), on every
/// element.
fn naive_ddim(grid: &Grid, eta: f64, noise: ClipNoise, mut x: Array2<f64>) -> (Array2<f64>, usize) {
    let mut outside = 0;
    for (k, pair) in grid.levels().windows(2).enumerate() {
        let (t, s) = (pair[0], pair[1]);
        let r = s.sigma() * t.alpha() / (t.sigma() * s.alpha());
        let gamma = eta * s.sigma() * (1.0 - r * r).sqrt();
        let mut z = Array2::<f64>::zeros(SHAPE);
        fill_normal(
            &mut z,
            &mut KeyedNoise::new(SEED),
            k as u32,
            Stream::Step(0),
        )
        .unwrap();
        x.zip_mut_with(&z, |x, &z| {
            let (data, e, clipped) = estimates(*x, &t, noise);
            outside += usize::from(clipped);
            *x = s.alpha() * data + (s.sigma() * s.sigma() - gamma * gamma).sqrt() * e + gamma * z;
        });
    }
    (x, outside)
}

#[test]
fn clipped_ddim_is_its_formula_with_the_clipped_estimate() {
    for eta in [0.0, 0.5, 1.0] {
        for clip in clips() {
            let sampler = sampler(&FirstOrder::new(Kappa::Eta(eta)), STEPS).with_clip(clip);
            let mut run = sampler
                .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(SEED))
                .unwrap();
            let (expected, outside) =
                naive_ddim(&grid(STEPS), eta, clip.noise(), run.state().to_owned());
            let all = STEPS * SHAPE.0 * SHAPE.1;
            assert!(outside > all / 10 && outside < all, "{outside} of {all}");
            run.complete(&mut Smooth(Prediction::Noise)).unwrap();
            assert!(
                difference(run.state(), &expected) < 1e-11,
                "η = {eta}, {clip:?}"
            );
            // The last step ends on the clipped estimate itself.
            assert!(run.state().iter().all(|x| (RANGE.0..=RANGE.1).contains(x)));
        }
    }
}

#[test]
fn clipped_2m_extrapolates_clipped_estimates() {
    for clip in clips() {
        let sampler = sampler(&DpmSolverPlusPlus::new(), STEPS).with_clip(clip);
        let mut run = sampler
            .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(SEED))
            .unwrap();
        let mut x = run.state().to_owned();
        let mut history = Array2::<f64>::zeros(SHAPE);
        let mut before: Option<f64> = None;
        for pair in grid(STEPS).levels().windows(2) {
            let (t, s) = (pair[0], pair[1]);
            let h = s.lambda() - t.lambda();
            let weight = match before {
                Some(h0) if h.is_finite() => 0.5 * h / h0,
                _ => 0.0,
            };
            x.zip_mut_with(&history, |x, &old| {
                let (data, e, _) = estimates(*x, &t, clip.noise());
                let moved = t.alpha() * data + t.sigma() * e;
                let extrapolated = data + weight * (data - old);
                *x = s.sigma() / t.sigma() * moved + s.alpha() * (1.0 - (-h).exp()) * extrapolated;
            });
            // What is kept is the clipped estimate at the step's start.
            let start = run.state().to_owned();
            history.zip_mut_with(&start, |old, &x| {
                *old = estimates(x, &t, clip.noise()).0;
            });
            before = Some(h);
            run.advance(&mut Smooth(Prediction::Noise)).unwrap();
            assert!(difference(run.state(), &x) < 1e-11, "{clip:?}");
            x.assign(run.state());
        }
    }
}

#[test]
fn a_clip_that_holds_nothing_back_changes_nothing() {
    let wide = Clip::new(-1e6, 1e6).unwrap();
    for (name, solver) in crate::common::solvers() {
        let plain = sampler(&*solver, STEPS);
        let expected: Array2<f64> = plain
            .sample(&mut Smooth(Prediction::Noise), SHAPE, SEED)
            .unwrap();
        for clip in [wide, wide.keeping_noise()] {
            let clipped: Array2<f64> = plain
                .clone()
                .with_clip(clip)
                .sample(&mut Smooth(Prediction::Noise), SHAPE, SEED)
                .unwrap();
            assert!(difference(&clipped, &expected) < 1e-11, "{name}, {clip:?}");
        }
    }
}

#[test]
fn reports_show_the_clipped_estimate() {
    for clip in clips() {
        let sampler = sampler(&FirstOrder::ddim(), STEPS).with_clip(clip);
        let start = || {
            sampler
                .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(SEED))
                .unwrap()
        };
        let (mut run, mut shadow) = (start(), start());
        let flow = run
            .complete_with(&mut Smooth(Prediction::Noise), |report| {
                let expected = shadow
                    .state()
                    .mapv(|x| estimates(x, &report.from, clip.noise()).0);
                assert!(difference(report.data, &expected) < 1e-13);
                shadow.advance(&mut Smooth(Prediction::Noise)).unwrap();
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert!(flow.is_continue() && bits(run.state()) == bits(shadow.state()));
    }
}
