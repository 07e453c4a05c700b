//! Row 20: runs of other numbers of steps follow the same Brownian path.

use std::error::Error;

use diffusion_sampler::{
    Grid, Prediction, Sampler,
    noise::BrownianPath,
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    schedule::VariancePreserving,
    solver::{
        DpmPlusPlusSde, DpmSolverPlusPlus, DpmSolverPlusPlusSinglestep, ExponentialRungeKutta,
        FirstOrder, Solver,
    },
};
use ndarray::Array2;

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let gaussian = GaussianMixture::new(
        &[1.0],
        vec![Gaussian::diagonal(&[0.5, -1.0, 0.0], &[0.3, 0.1, 0.5])?],
        vec![0],
    )?;
    let mixture = GaussianMixture::new(
        &[1.0, 2.0],
        vec![
            Gaussian::diagonal(&[-0.5, 0.5, 0.0], &[0.3, 0.2, 0.3])?,
            Gaussian::isotropic(&[0.5, 0.0, 0.25], 0.25)?,
        ],
        vec![0, 1],
    )?;
    let ddpm = FirstOrder::new(Kappa::Tau(1.0));
    let multistep = DpmSolverPlusPlus::new().with_tau(1.0)?;
    let solvers: [(&str, &dyn Solver); 2] = [("DDPM", &ddpm), ("SDE 2M", &multistep)];
    let mut claims = Vec::new();
    for (data, model) in [("a Gaussian", &gaussian), ("a mixture", &mixture)] {
        for (name, solver) in solvers {
            claims.push(Claim::new(
                format!("strong order of {name} along a Brownian path, on {data}"),
                "K and 2K steps of one seed, K = 64 to 256",
                order(solver, model)?,
                Accept::Within(0.9, 1.1),
            ));
        }
    }
    let two = ExponentialRungeKutta::seeds(2)?;
    let three = ExponentialRungeKutta::seeds(3)?;
    let heun = ExponentialRungeKutta::heun().with_tau(1.0)?;
    let sde = DpmPlusPlusSde::new();
    let ancestral = DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Ddpm);
    let single_step: [(&str, &dyn Solver); 5] = [
        ("SEEDS-2", &two),
        ("SEEDS-3", &three),
        ("exponential Heun SDE", &heun),
        ("DPM++ SDE", &sde),
        ("DPM-Solver++(2S) ancestral", &ancestral),
    ];
    for (name, solver) in single_step {
        claims.push(Claim::new(
            format!("strong order of {name} along a Brownian path, on a mixture"),
            "K and 2K steps of one seed, K = 64 to 256",
            order(solver, &mixture)?,
            Accept::Within(0.9, 1.1),
        ));
    }
    // A single point: D does not depend on x.
    let point = GaussianMixture::new(&[1.0], vec![Gaussian::isotropic(&[0.5; 3], 0.0)?], vec![0])?;
    claims.push(Claim::new(
        "distance of DDPM with 100 steps from 1 step, on a point",
        "one Brownian path",
        rms(&sample(&ddpm, 1, &point)?, &sample(&ddpm, 100, &point)?),
        Accept::Below(1e-12),
    ));
    Ok(claims)
}

/// The slope of the distance between K and 2K steps.
fn order(solver: &dyn Solver, model: &GaussianMixture) -> Result<f64, Box<dyn Error>> {
    let coarse = rms(&sample(solver, 64, model)?, &sample(solver, 128, model)?);
    let fine = rms(&sample(solver, 256, model)?, &sample(solver, 512, model)?);
    Ok((coarse / fine).log2() / 2.0)
}

fn rms(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    ((a - b).mapv(|d| d * d).sum() / a.len() as f64).sqrt()
}

/// Samples in equal steps of λ over [−3, 3], variance preserving.
fn sample(
    solver: &dyn Solver,
    steps: usize,
    model: &GaussianMixture,
) -> Result<Array2<f64>, Box<dyn Error>> {
    let lambdas: Vec<f64> = (0..=steps)
        .map(|i| -3.0 + 6.0 * i as f64 / steps as f64)
        .collect();
    let schedule = VariancePreserving::default();
    let sampler = Sampler::new(&schedule, &Grid::from_lambdas(&schedule, &lambdas)?, solver)?;
    let mut run = sampler.start((200, 3), Prediction::Data, BrownianPath::new(21))?;
    run.complete(&mut model.denoiser(Prediction::Data))?;
    Ok(run.into_state())
}
