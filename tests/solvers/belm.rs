//! BELM: the published two-step formula, and the way back.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{Belm, BelmInversion, FirstOrder, Path, Solver},
};
use ndarray::{Array2, array};

use crate::common::{Outcome, assert_close, denoise, paths, states};

const START: f64 = 0.7;

fn noise_at(x: f64, level: &NoiseLevel) -> f64 {
    (x - level.alpha() * denoise(x, level)) / level.sigma()
}

/// x_s/α_s = (d₂d₃/d₁) E_t + (d₂/d₁)² x_p/α_p + ((d₁ − d₂)d₃/d₁²) x_t/α_t.
fn two_step((p, x_p): (&NoiseLevel, f64), (t, x_t): (&NoiseLevel, f64), s: &NoiseLevel) -> f64 {
    let (d1, d2, d3) = (t.rho() - p.rho(), s.rho() - t.rho(), s.rho() - p.rho());
    s.alpha()
        * (d2 * d3 / d1 * noise_at(x_t, t)
            + (d2 / d1).powi(2) * x_p / p.alpha()
            + (d1 - d2) * d3 / (d1 * d1) * x_t / t.alpha())
}

fn textbook(levels: &[NoiseLevel], start: f64) -> Vec<f64> {
    let mut states = vec![start];
    for k in 0..levels.len() - 1 {
        let (t, s, x) = (&levels[k], &levels[k + 1], states[k]);
        states.push(if k > 0 {
            two_step((&levels[k - 1], states[k - 1]), (t, x), s)
        } else if t.is_clean() {
            // The data are known; E at the first noisy knot.
            s.alpha() * x + s.sigma() * noise_at(s.alpha() * x, s)
        } else {
            s.alpha() * denoise(x, t) + s.sigma() * noise_at(x, t)
        });
    }
    states.remove(0);
    states
}

#[test]
fn belm_is_the_published_formula_down_and_up() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let place = format!("{schedule:?}, {steps}, {clean}");
                let ours = states(&path, &Belm::new(), START)?;
                assert_close(&ours, &textbook(grid.levels(), START), 1e-12, &place);
                let up: Vec<NoiseLevel> = grid.levels().iter().rev().copied().collect();
                let ours = states(&path, &BelmInversion::new(), START)?;
                // Up-steps multiply what rounding left by the square of the ratio of steps in ρ.
                assert_close(&ours, &textbook(&up, START), 1e-10, &place);
                if steps == 1 {
                    let ddim = states(&path, &FirstOrder::ddim(), START)?;
                    assert_eq!(states(&path, &Belm::new(), START)?, ddim);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn steps_from_and_to_pure_noise_are_ddims() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 5)?;
    let path = Path::new(&flow, &grid)?;
    let (belm, ddim) = (Belm::new().plan(&path)?, FirstOrder::ddim().plan(&path)?);
    for k in 0..5 {
        let (a, b) = (
            &belm.steps()[k].stages[0].update,
            &ddim.steps()[k].stages[0].update,
        );
        assert_eq!((a.state, a.data) == (b.state, b.data), k < 2, "{k}");
        assert_eq!(a.history.len(), usize::from(k >= 2));
    }
    // On the way up the last step, onto α = 0.
    let up = BelmInversion::new().plan(&path)?;
    let reads: Vec<usize> = up
        .steps()
        .iter()
        .map(|step| step.stages.iter().map(|s| s.update.history.len()).sum())
        .collect();
    assert_eq!(reads, [0, 1, 1, 1, 0]);
    // From a pair, the first step reads it but where it is pure noise.
    let pair = Belm::new().from_pair().plan(&path)?;
    assert_eq!((pair.given(), pair.steps().len()), (1, 4));
    assert_eq!(pair.steps(), &belm.steps()[1..]);
    let short = Grid::trailing(&flow, 1)?;
    let path = Path::new(&flow, &short)?;
    for refused in [
        Belm::new().from_pair().plan(&path),
        Belm::new().inverse().from_pair().plan(&path),
    ] {
        let expected = Error::StepCount {
            steps: 1,
            min: 2,
            max: usize::MAX,
        };
        assert_eq!(refused, Err(expected));
    }
    assert_eq!(
        Belm::new().from_pair().inverse().inverse(),
        Belm::new().from_pair()
    );
    Ok(())
}

/// A ring of 8 Gaussians: radius 1, standard deviation 0.15.
fn ring() -> Result<GaussianMixture, Error> {
    let modes = (0..8)
        .map(|k| {
            let angle = f64::from(k) * std::f64::consts::FRAC_PI_4;
            Gaussian::isotropic(&[angle.cos(), angle.sin()], 0.0225)
        })
        .collect::<Result<Vec<_>, _>>()?;
    GaussianMixture::new(&[0.125; 8], modes, (0..8).collect())
}

type Pair = (Array2<f64>, Array2<f64>);

/// The last state of a run and the one before it.
fn ends(
    path: &Path<'_>,
    solver: &dyn Solver,
    start: Array2<f64>,
    given: Vec<Array2<f64>>,
) -> Result<Pair, Box<dyn StdError>> {
    let sampler = Sampler::along(path, solver)?;
    let mut run = sampler.start_with(start, given, Prediction::Data, KeyedNoise::new(0))?;
    run.complete(&mut ring()?.denoiser(Prediction::Data))?;
    let (last, slots) = run.into_parts();
    let [before] = <[_; 1]>::try_from(slots).map_err(|_| "one slot")?;
    Ok((last, before))
}

fn miss(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let size = b.iter().fold(1.0, |m, x| f64::max(m, x.abs()));
    a.iter()
        .zip(b)
        .fold(0.0, |m, (a, b)| f64::max(m, (a - b).abs()))
        / size
}

fn round_trips(
    schedule: &dyn NoiseSchedule,
    grid: &Grid,
    start: &Array2<f64>,
) -> Result<(f64, f64), Box<dyn StdError>> {
    let path = Path::new(schedule, grid)?;
    // Noise → data → noise.
    let (last, before) = ends(&path, &Belm::new(), start.clone(), vec![])?;
    let back = Belm::new().inverse().from_pair();
    let noise = miss(&ends(&path, &back, before, vec![last.clone()])?.0, start);
    // Data → noise → data.
    let data = last;
    let (last, before) = ends(&path, &BelmInversion::new(), data.clone(), vec![])?;
    let back = BelmInversion::new().inverse().from_pair();
    let there = miss(&ends(&path, &back, before, vec![last])?.0, &data);
    Ok((noise, there))
}

/// VERIFICATION row 14: < 1e-11.
#[test]
fn belm_comes_back_to_rounding_on_a_ring_of_gaussians() -> Outcome {
    let start = array![[0.3, -1.2], [1.1, 0.4], [-0.6, 0.9], [-1.7, -0.2]];
    let vp = VariancePreserving::default();
    let flow = RectifiedFlow::new();
    let range = LambdaRange::new(-3.0, 3.0)?;
    let mut worst = 0.0f64;
    for steps in [2, 5, 10, 20] {
        let cases: [(&dyn NoiseSchedule, Grid); 6] = [
            (&vp, Grid::karras(&vp, steps, range, 7.0)?),
            (
                &vp,
                Grid::karras(&vp, steps + 1, range, 7.0)?.without_clean_end()?,
            ),
            (
                &vp,
                Grid::uniform_lambda(&vp, steps + 1, range)?.without_clean_end()?,
            ),
            (&vp, Grid::trailing(&vp, steps)?),
            (&flow, Grid::karras(&flow, steps, range, 7.0)?),
            (
                &flow,
                Grid::trailing(&flow, steps + 1)?.section(1..steps + 1)?,
            ),
        ];
        for (k, (schedule, grid)) in cases.iter().enumerate() {
            let (noise, data) = round_trips(*schedule, grid, &start)?;
            println!("{steps} {k}: {noise:e} {data:e}");
            worst = worst.max(noise).max(data);
        }
    }
    println!("worst {worst:e}");
    assert!(worst < 1e-11, "{worst:e}");
    // DDIM and its inversion are far from it.
    let grid = Grid::karras(&vp, 20, range, 7.0)?;
    let path = Path::new(&vp, &grid)?;
    let run = |solver: &dyn Solver, x: Array2<f64>| -> Result<Array2<f64>, Box<dyn StdError>> {
        let sampler = Sampler::along(&path, solver)?;
        let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(0))?;
        run.complete(&mut ring()?.denoiser(Prediction::Data))?;
        Ok(run.into_state())
    };
    let data = run(&FirstOrder::ddim(), start.clone())?;
    let back = run(&diffusion_sampler::solver::DdimInversion::new(), data)?;
    assert!(miss(&back, &start) > 1e-3);
    Ok(())
}
