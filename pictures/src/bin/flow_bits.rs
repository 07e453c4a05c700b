//! Bits per dimension of held-out digits by the probability flow: the trained network, and an exact
//! mixture fitted to the images that the network was trained on.
//!
//! `cargo run --release -p pictures --bin flow_bits`
//!
//! The pixels are integers from 0 to 16, so that a density of them needs a step from the one to the
//! other. An image x₀ is noised to the clean end of the flow, x = αx₀ + σε. With p the flow's
//! density there, q(x | x₀) = N(αx₀, σ²I), and P(x₀ | x) the 17 values of each pixel weighed by
//! N(x; αv, σ²),
//!
//! ```text
//! −ln P(x₀) ≤ E[ln q(x | x₀) − ln p(x) − ln P(x₀ | x)]
//! ```
//!
//! which holds for any p: the bits are an upper bound on those of a code for the pixels.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel,
    forward::diffuse,
    likelihood::{FiniteDifferences, FlowDensity, FlowLikelihood, Probes},
    oracle::LabelledOracle,
    schedule::TableSchedule,
    solver::Path,
};
use digits_network::Network;
use ndarray::{Array2, Axis};
use pictures::digits::{Digits, INK};
use pictures::model;

/// λ at the noisy and at the clean end, and the steps: the network clamps λ to ±6.
const NOISY: f64 = -4.0;
const CLEAN: [f64; 4] = [2.0, 2.5, 3.0, 4.0];
const STEPS: [u32; 2] = [24, 48];
const PROBES: usize = 2;
const SEED: u64 = 7;

/// Components a digit of the mixture.
const CLUSTERS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let all = Digits::load()?;
    // The images that the training held out: every tenth.
    let (held, trained): (Vec<usize>, Vec<usize>) = (0..all.count()).partition(|row| row % 10 == 9);
    let part = |rows: &[usize]| Digits {
        pixels: all.pixels.select(Axis(0), rows),
        labels: rows.iter().map(|&row| all.labels[row]).collect(),
    };
    let (held, trained) = (part(&held), part(&trained));
    let mixture = model::fit(&trained, CLUSTERS)?;
    let network = Network::trained()?;
    let schedule = TableSchedule::cosine(1000)?;
    println!(
        "{} images held out, given their class; bits per dimension, of log2(17) = 4.09",
        held.count()
    );
    println!("lambda  steps  network            mixture");
    for clean in CLEAN {
        for steps in STEPS {
            let at = |k: u32| NOISY + (clean - NOISY) * f64::from(k) / f64::from(steps);
            let lambdas: Vec<f64> = (0..=steps).map(at).collect();
            let grid = Grid::from_lambdas(&schedule, &lambdas)?;
            let flow = FlowLikelihood::new(&Path::new(&schedule, &grid)?)?;
            let mut x = held.signed();
            diffuse(&mut x, &[grid.end()], &mut KeyedNoise::new(SEED), 0)?;
            let costs = step_costs(&held, &x, &grid.end());

            let narrow = x.mapv(|x| x as f32);
            let mut differences = FiniteDifferences::new(network.denoiser(&held.labels)?);
            let probes = Probes::rademacher(PROBES, SEED)?;
            let by_network = flow.estimate(&mut differences, &narrow, &probes)?;
            let by_mixture = class_densities(&flow, &mixture, &held.labels, &x)?;
            let (network, mixture) = (
                bits(by_network.log_densities(), &costs),
                bits(&by_mixture, &costs),
            );
            println!(
                "{clean:<6}  {steps:<5}  {:.3} ± {:.3} ({:.3})  {:.3} ± {:.3}",
                network.0,
                network.1,
                probe_error(&by_network),
                mixture.0,
                mixture.1,
            );
        }
    }
    println!("±: standard error over the images; in brackets that of the probes, root mean square");
    Ok(())
}

/// ln q(x | x₀) − ln P(x₀ | x) of each image.
fn step_costs(digits: &Digits, x: &Array2<f64>, level: &NoiseLevel) -> Vec<f64> {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let square = |x: f64, ink: f64| {
        let z = (x - alpha * (2.0 * ink / INK - 1.0)) / sigma;
        -0.5 * z * z
    };
    let normaliser = libm::log(sigma) + 0.5 * libm::log(2.0 * std::f64::consts::PI);
    let rows = x.rows().into_iter().zip(digits.pixels.rows());
    let cost = |(x, pixels): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
        let terms = x.iter().zip(pixels).map(|(&x, &ink)| {
            let own = square(x, ink);
            let all: f64 = (0..=16)
                .map(|v| libm::exp(square(x, f64::from(v)) - own))
                .sum();
            own - normaliser + libm::log(all)
        });
        terms.sum()
    };
    rows.map(cost).collect()
}

/// ln p of each image under the mixture's components of its class.
fn class_densities(
    flow: &FlowLikelihood,
    mixture: &diffusion_sampler::oracle::GaussianMixture,
    labels: &[usize],
    x: &Array2<f64>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut found = vec![0.0; labels.len()];
    for label in 0..mixture.label_count() {
        let rows: Vec<usize> = (0..labels.len())
            .filter(|&row| labels[row] == label)
            .collect();
        let class = mixture.condition(label)?;
        let density = flow.exact(&class, &x.select(Axis(0), &rows))?;
        for (row, log_density) in rows.iter().zip(density.log_densities()) {
            found[*row] = *log_density;
        }
    }
    Ok(found)
}

/// Mean and standard error over the images, in bits per dimension.
fn bits(log_densities: &[f64], costs: &[f64]) -> (f64, f64) {
    let scale = 64.0 * std::f64::consts::LN_2;
    let each: Vec<f64> = log_densities
        .iter()
        .zip(costs)
        .map(|(log_density, cost)| (cost - log_density) / scale)
        .collect();
    let n = each.len() as f64;
    let mean = each.iter().sum::<f64>() / n;
    let squares: f64 = each.iter().map(|bits| (bits - mean) * (bits - mean)).sum();
    (mean, (squares / (n * (n - 1.0))).sqrt())
}

/// Of one image's estimate, in bits per dimension.
fn probe_error(density: &FlowDensity) -> f64 {
    let errors = density.standard_errors();
    let square: f64 = errors.iter().map(|error| error * error).sum();
    (square / errors.len() as f64).sqrt() / (64.0 * std::f64::consts::LN_2)
}
