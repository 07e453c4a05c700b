//! Runs that are parallel in time against sequential ones.

use std::error::Error;

use diffusion_sampler::{
    Grid, Prediction, Sampler,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{Edm, NoiseSchedule, TableSchedule},
    solver::{Churn, DpmSolverPlusPlus, FirstOrder, Heun, Restart, Solver, catalogue},
};
use ndarray::Array2;

use super::{Accept, Claim};

const SHAPE: (usize, usize) = (5, 4);

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = vec![
        exact("every solver that runs from noise", &of_the_catalogue()?)?,
        exact("restart, churn", &back_up()?)?,
    ];
    let few = FirstOrder::ddim();
    let (sampler, data) = (trailing(&few, 100)?, Gaussian::isotropic(&[0.0; 4], 0.3)?);
    let parallel = sampler.parallel(100, 1e-12)?.with_data_variance(0.3)?;
    let (_, report) =
        parallel.sample::<f64, _, _>(&mut data.denoiser(Prediction::Noise), SHAPE, 2)?;
    claims.push(Claim::new(
        "parallel sweeps on Gaussian data of the variance that outputs are carried along by",
        "linear: the second sweep is exact, one more settles; DDIM, 100 evaluations",
        report.sweeps() as f64,
        Accept::Within(2.0, 3.0),
    ));
    let (ddim, ddpm) = (FirstOrder::ddim(), FirstOrder::ddpm());
    let second = DpmSolverPlusPlus::new();
    let solvers: [(&str, &dyn Solver); 3] =
        [("DDIM", &ddim), ("DPM++ 2M", &second), ("DDPM", &ddpm)];
    for (name, solver) in solvers {
        let (error, sweeps) = toleranced(&trailing(solver, 100)?)?;
        claims.push(Claim::new(
            format!("{name}, parallel to 1e-4: largest difference of a sample, root mean square"),
            "the sequential run, a mixture, 100 evaluations",
            error,
            Accept::Below(2e-3),
        ));
        claims.push(Claim::new(
            format!("{name}, parallel to 1e-4: sweeps"),
            "100 evaluations of the sequential run",
            sweeps as f64,
            Accept::Below(25.0),
        ));
    }
    Ok(claims)
}

fn trailing(solver: &dyn Solver, steps: usize) -> Result<Sampler, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, steps)?;
    Ok(Sampler::new(&schedule, &grid, solver)?)
}

fn mixture() -> Result<GaussianMixture, Box<dyn Error>> {
    let parts = vec![
        Gaussian::diagonal(&[-0.5, 0.5, 0.0, 0.2], &[0.3, 0.2, 0.1, 0.01])?,
        Gaussian::isotropic(&[0.5, 0.0, 0.25, -0.4], 0.05)?,
    ];
    Ok(GaussianMixture::new(&[1.0, 2.0], parts, vec![0, 1])?)
}

fn of_the_catalogue() -> Result<Vec<Sampler>, Box<dyn Error>> {
    let mut samplers = Vec::new();
    for entry in catalogue().iter().filter(|entry| !entry.inverts) {
        let sampler = trailing(&*entry.solver, 8)?;
        if sampler.plan().given() == 0 {
            samplers.push(sampler);
        }
    }
    Ok(samplers)
}

fn back_up() -> Result<Vec<Sampler>, Box<dyn Error>> {
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 12, edm.lambda_range(), 7.0)?;
    let restart = Restart::of_steps(Heun::new(), 24);
    let churn = Heun::new().with_churn(Churn::new(30.0)?);
    Ok(vec![
        Sampler::new(&edm, &grid, &restart)?,
        Sampler::new(&edm, &grid, &churn)?,
    ])
}

/// The elements with other bits.
fn exact(name: &str, samplers: &[Sampler]) -> Result<Claim, Box<dyn Error>> {
    let mut model = mixture()?.denoiser(Prediction::Noise);
    let mut differing = 0;
    for sampler in samplers {
        let sequential: Array2<f64> = sampler.sample(&mut model, SHAPE, 3)?;
        for window in [3, 100] {
            let parallel = sampler.parallel(window, 0.0)?;
            let (found, _) = parallel.sample::<f64, _, _>(&mut model, SHAPE, 3)?;
            let pairs = found.iter().zip(&sequential);
            differing += pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        }
    }
    if samplers.is_empty() {
        return Err("no samplers".into());
    }
    Ok(Claim::new(
        format!("elements with other bits in parallel, tolerance 0, {name}"),
        "the sequential run, a mixture, windows of 3 and of all",
        differing as f64,
        Accept::Within(0.0, 0.0),
    ))
}

/// The largest difference of a sample, and the sweeps.
fn toleranced(sampler: &Sampler) -> Result<(f64, usize), Box<dyn Error>> {
    let mut model = mixture()?.denoiser(Prediction::Noise);
    let sequential: Array2<f64> = sampler.sample(&mut model, (32, 4), 4)?;
    let parallel = sampler.parallel(100, 1e-4)?;
    let (found, report) = parallel.sample::<f64, _, _>(&mut model, (32, 4), 4)?;
    let rows = (found - sequential).mapv(|x| x * x);
    let squares = rows.outer_iter().map(|row| row.sum() / row.len() as f64);
    Ok((squares.fold(0.0, f64::max).sqrt(), report.sweeps()))
}
