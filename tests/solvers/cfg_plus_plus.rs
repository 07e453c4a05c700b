//! Multistep solvers under CFG++ against ComfyUI's loops with two model outputs.

use std::error::Error as StdError;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, Models},
    from_fn,
    guidance::PlusPlus,
    plan::Plan,
    posterior::Kappa,
    schedule::VariancePreserving,
    solver::{CfgPlusPlus, DpmSolverPlusPlus, ExponentialAdams, FirstOrder, Path, Solver},
};
use ndarray::{Ix2, array};

use crate::common::{Outcome, assert_close, denoise, normal, states};
use crate::exponential::each;

const START: f64 = 0.7;
const SCALE: f64 = 0.6;

/// The conditional D; the unconditional one is [`denoise`].
fn conditional(x: f64, level: &NoiseLevel) -> f64 {
    0.5 + (0.7 * x / (1.0 + level.sigma())).sin()
}

/// ComfyUI's `denoised`.
fn guided(x: f64, level: &NoiseLevel) -> f64 {
    let unconditional = denoise(x, level);
    unconditional + SCALE * (conditional(x, level) - unconditional)
}

/// The states of a run with both models.
fn run(path: &Path<'_>, solver: &dyn Solver) -> Result<Vec<f64>, Box<dyn StdError>> {
    let kind = Prediction::Data;
    let models = Models((
        from_fn::<f64, Ix2>(kind, |x, level, out| {
            out.zip_mut_with(x, |o, &x| *o = conditional(x, level));
        }),
        from_fn::<f64, Ix2>(kind, |x, level, out| {
            out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
        }),
    ));
    let mut model = Guided::new(models, PlusPlus::new(SCALE)?);
    let sampler = Sampler::along(path, solver)?;
    let mut run = sampler.start_from(array![[START]], kind, KeyedNoise::new(5))?;
    let mut states = Vec::new();
    while !run.is_finished() {
        run.advance(&mut model)?;
        states.push(run.state()[[0, 0]]);
    }
    Ok(states)
}

/// `sample_dpmpp_2m_cfg_pp`, in x/α and with −λ for ln σ.
fn multistep(path: &Path<'_>) -> Vec<f64> {
    let mut x = f64::NAN;
    let mut old: Option<(f64, f64)> = None;
    let step = |(t, s): (NoiseLevel, NoiseLevel)| {
        if x.is_nan() {
            x = START / t.alpha();
        }
        let denoised = guided(t.alpha() * x, &t);
        let uncond = denoise(t.alpha() * x, &t);
        let h = s.lambda() - t.lambda();
        let mut mix = -(-h).exp() * uncond;
        if let Some((h_last, old_uncond)) = old
            && !s.is_clean()
        {
            mix -= (-h).exp_m1() / (2.0 * h_last / h) * (denoised - old_uncond);
        }
        x = denoised + mix + (-h).exp() * x;
        old = Some((h, uncond));
        s.alpha() * x
    };
    path.edges().map(step).collect()
}

/// `res_multistep` with `cfg_pp`, in x/α and with −λ for ln σ.
fn res(path: &Path<'_>, eta: f64) -> Vec<f64> {
    let mut x = f64::NAN;
    let mut old: Option<(f64, f64, f64)> = None;
    let mut second = false;
    let step = |(index, (t, s)): (usize, (NoiseLevel, NoiseLevel))| {
        if x.is_nan() {
            x = START / t.alpha();
        }
        let (sigma, next) = (t.rho(), s.rho());
        let denoised = guided(t.alpha() * x, &t);
        let uncond = denoise(t.alpha() * x, &t);
        let up = eta * next * ((1.0 - next / sigma) * (1.0 + next / sigma)).sqrt();
        let down = (next * next - up * up).sqrt();
        x = match old {
            Some((old_sigma, old_down, old_uncond)) if down > 0.0 => {
                second = true;
                let h = sigma.ln() - down.ln();
                let c2 = (old_down.ln() - old_sigma.ln()) / h;
                let phi1 = (-h).exp_m1() / -h;
                let phi2 = (phi1 - 1.0) / -h;
                let moved = x + (denoised - uncond);
                (-h).exp() * moved + h * ((phi1 - phi2 / c2) * uncond + phi2 / c2 * old_uncond)
            }
            _ => denoised + (x - uncond) / sigma * down,
        };
        // Noise is keyed by the stage: the second where the state is kept first.
        let kept = second
            || path
                .edges()
                .nth(index + 1)
                .is_some_and(|(_, s)| !s.is_clean());
        if up > 0.0 {
            x += up * normal(index as u32, u8::from(kept));
        }
        second = false;
        old = Some((sigma, down, uncond));
        s.alpha() * x
    };
    path.edges().enumerate().map(step).collect()
}

#[test]
fn two_estimates_give_comfy_uis_samples() -> Outcome {
    each(|path, place| {
        let ours = run(path, &CfgPlusPlus::multistep().unbounded())?;
        assert_close(&ours, &multistep(path), 1e-10, place);
        for eta in [0.0, 0.5, 1.0] {
            let solver = CfgPlusPlus::res().with_kappa(Kappa::Eta(eta)).unbounded();
            let ours = run(path, &solver)?;
            let place = format!("{place}: RES with eta {eta}");
            assert_close(&ours, &res(path, eta), 1e-9, &place);
        }
        Ok(())
    })
}

#[test]
fn with_one_estimate_they_are_the_plain_solvers() -> Outcome {
    each(|path, place| {
        let pairs: [(&dyn Solver, &dyn Solver); 2] = [
            (&CfgPlusPlus::multistep(), &DpmSolverPlusPlus::new()),
            (&CfgPlusPlus::res(), &ExponentialAdams::data(2)?),
        ];
        for (two, plain) in pairs {
            let ours = states(path, two, START)?;
            assert_close(&ours, &states(path, plain, START)?, 1e-11, place);
        }
        Ok(())
    })
}

#[test]
fn a_lower_order_at_the_end_is_that_of_the_last_step_alone() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::from_lambdas(&vp, &[-1.0, -0.5, 0.0, 0.5, 1.0])?;
    let path = Path::without_schedule(&grid);
    for solver in [CfgPlusPlus::multistep(), CfgPlusPlus::res()] {
        let (plain, lower) = (solver.plan(&path)?, solver.lower_order_final().plan(&path)?);
        let last = |plan: &Plan, step: usize| plan.steps()[step].stages.last().cloned();
        for step in [0, 1, 2] {
            let read = |plan| last(plan, step).map(|stage| stage.update.history);
            assert_eq!(read(&lower), read(&plain));
        }
        let ddim = FirstOrder::ddim().plan(&path)?;
        assert_ne!(last(&plain, 3), last(&ddim, 3));
        assert_eq!(last(&lower, 3), last(&ddim, 3));
    }
    Ok(())
}
