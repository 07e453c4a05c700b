//! Editing: inversions that close, noises that replay; and the stability report.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    editing::{DdpmInversion, ExactInversion},
    forward::fill_normal,
    from_fn,
    noise::Stream,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{LambdaRange, NoiseSchedule, TableSchedule},
    solver::{Belm, FirstOrder, Heun},
};
use ndarray::{Array2, Ix2, array};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let (round_trip, residual, trials) = exact_inversion()?;
    Ok(vec![
        Claim::new(
            "DDIM solved step by step: largest error of the round trip x₀ → x_T → x₀ at K = 5, 10, 50, 200",
            "ring of 8 Gaussians, radius 1, deviation 0.15, 64 draws",
            round_trip,
            Accept::Below(1e-11),
        ),
        Claim::new(
            "DDIM solved step by step: largest residual of a step",
            "the step itself",
            residual,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "DDIM solved step by step: most trials of a step at K = 50",
            "ring of 8 Gaussians",
            trials,
            Accept::Below(15.0),
        ),
        Claim::new(
            "BELM: largest error of the round trip x_T → x₀ → x_T from a pair, K = 10, 50, 200",
            "ring of 8 Gaussians, radius 1, deviation 0.15, 64 draws",
            belm()?,
            Accept::Below(1e-11),
        ),
        Claim::new(
            "recovered noises replay every state of a DDPM run, and the image",
            "the draws themselves, ring of 8 Gaussians, K = 50",
            replay()?,
            Accept::Below(1e-11),
        ),
        Claim::new(
            "the stability report's growth of an error, Heun, 5 evaluations uniform in λ",
            "a run that is perturbed",
            growth()?,
            Accept::Below(1e-12),
        ),
    ])
}

fn ring() -> Result<GaussianMixture, Box<dyn Error>> {
    let mode = |k: usize| {
        let angle = std::f64::consts::TAU * k as f64 / 8.0;
        Gaussian::isotropic(&[angle.cos(), angle.sin()], 0.15 * 0.15)
    };
    let modes = (0..8).map(mode).collect::<Result<_, _>>()?;
    Ok(GaussianMixture::new(&[0.125; 8], modes, (0..8).collect())?)
}

/// Draws of it, the same everywhere.
fn images() -> Result<Array2<f64>, Box<dyn Error>> {
    let mut x = Array2::zeros((64, 2));
    fill_normal(&mut x, &mut KeyedNoise::new(3), 0, Stream::User(0))?;
    for (sample, mut row) in x.rows_mut().into_iter().enumerate() {
        let angle = std::f64::consts::TAU * (sample % 8) as f64 / 8.0;
        row[0] = angle.cos() + 0.15 * row[0];
        row[1] = angle.sin() + 0.15 * row[1];
    }
    Ok(x)
}

fn distance(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |far, (a, b)| f64::max(far, (a - b).abs()))
}

/// The largest error of the round trip, the largest residual, and the most trials at K = 50.
fn exact_inversion() -> Result<(f64, f64, f64), Box<dyn Error>> {
    let images = images()?;
    let mut model = ring()?.denoiser(Prediction::Data);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let (mut error, mut residual, mut trials) = (0.0f64, 0.0f64, 0);
    for steps in [5, 10, 50, 200] {
        let sampler = Sampler::new(&table, &Grid::trailing(&table, steps)?, &FirstOrder::ddim())?;
        let found = ExactInversion::new(&sampler)?.invert(&images, &mut model)?;
        residual = residual.max(found.residual());
        if steps == 50 {
            trials = found
                .steps
                .iter()
                .map(|step| step.trials)
                .max()
                .unwrap_or(0);
        }
        let start = found.into_converged()?;
        let mut run = sampler.start_from(start, Prediction::Data, KeyedNoise::new(0))?;
        run.complete(&mut model)?;
        error = error.max(distance(&run.into_state(), &images));
    }
    Ok((error, residual, trials as f64))
}

/// The largest error after a run down and back, on grids uniform in λ.
fn belm() -> Result<f64, Box<dyn Error>> {
    let mut model = ring()?.denoiser(Prediction::Data);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let mut start = Array2::<f64>::zeros((64, 2));
    fill_normal(&mut start, &mut KeyedNoise::new(5), 0, Stream::Start)?;
    let mut error = 0.0f64;
    for steps in [10, 50, 200] {
        let range = LambdaRange::new(-3.0, 3.0)?;
        let grid = Grid::uniform_lambda(&table, steps, range)?.without_clean_end()?;
        let down = Sampler::new(&table, &grid, &Belm::new())?;
        let mut run = down.start_from(start.clone(), Prediction::Data, KeyedNoise::new(0))?;
        run.complete(&mut model)?;
        let (last, slots) = run.into_parts();
        let [before] = <[_; 1]>::try_from(slots).map_err(|_| "a plan of BELM has one slot")?;
        let up = Sampler::new(&table, &grid, &Belm::new().inverse().from_pair())?;
        let mut back = up.start_with(before, vec![last], Prediction::Data, KeyedNoise::new(0))?;
        back.complete(&mut model)?;
        error = error.max(distance(&back.into_state(), &start));
    }
    Ok(error)
}

fn replay() -> Result<f64, Box<dyn Error>> {
    let images = images()?;
    let mut model = ring()?.denoiser(Prediction::Data);
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(&table, &Grid::trailing(&table, 50)?, &FirstOrder::ddpm())?;
    let found = DdpmInversion::new(&sampler)?
        .invert(&images, &mut model, &mut KeyedNoise::new(4))?
        .converged()?;
    let start = found.states[0].clone();
    let mut run = sampler.start_from(start, Prediction::Data, found.noise)?;
    let mut error = 0.0f64;
    for state in &found.states[1..] {
        run.advance(&mut model)?;
        error = error.max(distance(&run.state().to_owned(), state));
    }
    Ok(error.max(distance(&run.into_state(), &images)))
}

/// The relative error of the reported growth of an error at the start of the first step.
fn growth() -> Result<f64, Box<dyn Error>> {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let range = LambdaRange::new(table.lambda_range().noisy(), table.level(1.0)?.lambda())?;
    let grid = Grid::uniform_lambda(&table, 3, range)?;
    let sampler = Sampler::new(&table, &grid, &Heun::new())?;
    let variance = 0.25;
    let data = Gaussian::isotropic(&[0.0], variance)?;
    let reported = sampler.stability(&data)?.steps()[0].state[0];
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        let (a, s) = (level.alpha(), level.sigma());
        out.zip_mut_with(x, |out, x| {
            *out = a * variance / (a * a * variance + s * s) * x
        });
    });
    let unit = |level: diffusion_sampler::NoiseLevel| level.marginal_variance(variance).sqrt();
    let start = array![[unit(grid.start())]];
    let mut run = sampler.start_from(start, Prediction::Data, KeyedNoise::new(0))?;
    let mut largest = 0.0f64;
    while !run.is_finished() {
        run.advance(&mut model)?;
        largest = largest.max(run.state()[[0, 0]].abs() / unit(run.level()));
    }
    Ok((reported / largest - 1.0).abs())
}
