//! ComfyUI's `euler_cfg_pp` and `euler_ancestral_cfg_pp`: first-order solvers under CFG++.

use std::convert::Infallible;
use std::error::Error as StdError;

use diffusion_sampler::{
    KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, from_query_fn},
    guidance::PlusPlus,
    posterior::Kappa,
    solver::{FirstOrder, Path},
};
use ndarray::{Ix2, array, s};

use crate::common::{Outcome, assert_close, denoise, normal, paths};

const START: f64 = 0.7;

/// The unconditional D.
fn unconditional(x: f64, level: &NoiseLevel) -> f64 {
    0.6 * denoise(0.8 * x + 0.1, level) - 0.2
}

/// `sample_euler_ancestral_cfg_pp`, whose σ and state are those of a flow on a flow, and ρ and x/α
/// elsewhere; η = 0 is `sample_euler_cfg_pp`.
fn published(path: &Path<'_>, scale: f64, eta: f64) -> Vec<f64> {
    let levels = path.grid().levels();
    let flow = levels
        .iter()
        .all(|l| (l.alpha() + l.sigma() - 1.0).abs() < 1e-12);
    let coordinates = |level: &NoiseLevel| {
        if flow {
            (level.sigma(), level.alpha())
        } else {
            (level.rho(), 1.0)
        }
    };
    let mut x = START;
    let step = |(k, (from, to)): (usize, (NoiseLevel, NoiseLevel))| {
        let ((sigma, alpha_s), (next, alpha_t)) = (coordinates(&from), coordinates(&to));
        let (conditional, uncond) = (denoise(x, &from), unconditional(x, &from));
        let denoised = uncond + scale * (conditional - uncond);
        let y = if next == 0.0 {
            denoised
        } else {
            let d = (x * alpha_s / from.alpha() - alpha_s * uncond) / sigma;
            let (from, to) = (sigma / alpha_s, next / alpha_t);
            let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).sqrt());
            let down = alpha_t * (to * to - up * up).sqrt();
            alpha_t * denoised + down * d + alpha_t * normal(k as u32, 0) * up
        };
        x = y * to.alpha() / alpha_t;
        x
    };
    path.edges().enumerate().map(step).collect()
}

fn guided(
    path: &Path<'_>,
    kappa: Kappa,
    lambda: f64,
    kind: Prediction,
) -> Result<Vec<f64>, Box<dyn StdError>> {
    let model = from_query_fn::<f64, Ix2, Infallible>(kind, 2, |x, query, out| {
        let level = query.level();
        let models = [denoise, unconditional];
        for (row, model) in models.iter().enumerate().take(query.outputs()) {
            let (x, d) = (x[[0, 0]], model(x[[0, 0]], &level));
            let output = match kind {
                Prediction::Data => d,
                _ => (x - level.alpha() * d) / level.sigma(),
            };
            out.slice_mut(s![row, ..]).fill(output);
        }
        Ok(())
    });
    let mut model = Guided::new(model, PlusPlus::new(lambda)?);
    let sampler = Sampler::along(path, &FirstOrder::new(kappa))?;
    let mut run = sampler.start_from(array![[START]], kind, KeyedNoise::new(5))?;
    let mut states = Vec::new();
    while !run.is_finished() {
        run.advance(&mut model)?;
        states.push(run.state()[[0, 0]]);
    }
    Ok(states)
}

#[test]
fn first_order_solvers_under_cfg_plus_plus_are_comfyuis() -> Outcome {
    for steps in [1, 2, 5, 12] {
        for clean in [true, false] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                for scale in [0.0, 0.6, 1.0, 2.5] {
                    for kind in [Prediction::Data, Prediction::Noise] {
                        let place = format!("{schedule:?}, {steps}, {scale}, {kind:?}");
                        let ours = guided(&path, Kappa::Ddim, scale, kind)?;
                        assert_close(&ours, &published(&path, scale, 0.0), 1e-12, &place);
                        for eta in [0.4, 1.0, 1.3] {
                            let ours = guided(&path, Kappa::CappedEta(eta), scale, kind)?;
                            let theirs = published(&path, scale, eta);
                            assert_close(&ours, &theirs, 1e-12, &format!("{place}, {eta}"));
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
