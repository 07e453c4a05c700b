//! Non-linear guidance as weights against its published formula on arrays.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    guidance::{
        ClassifierFree, Guidance, PerpendicularNegative, Projected, Rescaled, Tangential, ZeroStar,
    },
    schedule::{NoiseSchedule, RectifiedFlow},
    solver::FirstOrder,
};
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{Accept, Claim};

const SCALE: f64 = 4.5;
const ELEMENTS: usize = 60;
const SAMPLES: usize = 4;

/// One sample: the state and the outputs (conditional, unconditional, negative).
struct Sample {
    x: Vec<f64>,
    outputs: [Vec<f64>; 3],
    sigma: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn map(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

fn deviation(a: &[f64]) -> f64 {
    let mean = a.iter().sum::<f64>() / a.len() as f64;
    (a.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (a.len() - 1) as f64).sqrt()
}

fn cfg(c: &[f64], u: &[f64]) -> Vec<f64> {
    map(c, u, |c, u| u + SCALE * (c - u))
}

impl Sample {
    /// D of a flow's velocity: x − σu.
    fn data(&self, velocity: &[f64]) -> Vec<f64> {
        map(&self.x, velocity, |x, u| x - self.sigma * u)
    }

    fn rescaled(&self) -> Vec<f64> {
        let [c, u, _] = &self.outputs;
        let guided = cfg(c, u);
        let ratio = deviation(c) / deviation(&guided);
        self.data(&map(&guided, &guided, |o, _| 0.7 * o * ratio + 0.3 * o))
    }

    fn projected(&self) -> Vec<f64> {
        let (c, u) = (self.data(&self.outputs[0]), self.data(&self.outputs[1]));
        let delta = map(&c, &u, |c, u| c - u);
        let shrink = (2.0 / dot(&delta, &delta).sqrt()).min(1.0);
        let delta = map(&delta, &delta, |d, _| d * shrink);
        let along = dot(&delta, &c) / dot(&c, &c);
        let parallel = map(&c, &c, |c, _| along * c);
        let orthogonal = map(&delta, &parallel, |d, p| d - p);
        let update = map(&orthogonal, &parallel, |o, p| o + 0.25 * p);
        map(&c, &update, |c, d| c + (SCALE - 1.0) * d)
    }

    fn zero_star(&self) -> Vec<f64> {
        let [c, u, _] = &self.outputs;
        let a = dot(c, u) / (dot(u, u) + 1e-8);
        self.data(&map(c, u, |c, u| a * u + SCALE * (c - a * u)))
    }

    /// The leading right singular vector of the two rows, by the power method.
    fn tangential(&self) -> Vec<f64> {
        let [c, u, _] = &self.outputs;
        let mut v = c.clone();
        for _ in 0..20_000 {
            let (a, b) = (dot(c, &v), dot(u, &v));
            v = map(c, u, |c, u| a * c + b * u);
            let norm = dot(&v, &v).sqrt();
            v.iter_mut().for_each(|v| *v /= norm);
        }
        let along = dot(u, &v);
        let damped = map(&v, &v, |v, _| along * v);
        self.data(&cfg(c, &damped))
    }

    fn perpendicular(&self) -> Vec<f64> {
        let [c, u, n] = &self.outputs;
        let (delta, away) = (map(c, u, |c, u| c - u), map(n, u, |n, u| n - u));
        let along = dot(&away, &delta) / dot(&delta, &delta);
        let rest = map(&away, &delta, |a, d| a - along * d);
        let bent = map(&delta, &rest, |d, r| d - 0.8 * r);
        self.data(&map(u, &bent, |u, d| u + SCALE * d))
    }
}

/// Row 21.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let flow = RectifiedFlow::new();
    let sigma = 0.6;
    // One step onto the clean end: the state becomes D itself.
    let grid = Grid::from_times(&flow, &[sigma, 0.0])?;
    let sampler = Sampler::new(&flow, &grid, &FirstOrder::ddim())?;
    assert_eq!(flow.level(sigma)?.sigma(), sigma);
    let mut rng = SmallRng::seed_from_u64(21);
    let mut array = || {
        Array2::from_shape_fn((SAMPLES, ELEMENTS), |(i, _)| {
            (i as f64 + 0.5) * (rng.random::<f64>() - 0.4)
        })
    };
    let (x, outputs) = (array(), [array(), array(), array()]);
    type Formula = fn(&Sample) -> Vec<f64>;
    let plain = ClassifierFree::with_scale(SCALE)?;
    let projected = Projected::new(SCALE - 1.0)?
        .with_eta(0.25)?
        .with_radius(2.0)?;
    let forms: [(&str, Box<dyn Guidance>, Formula); 5] = [
        (
            "rescaled",
            Box::new(Rescaled::new(plain, 0.7)?),
            Sample::rescaled,
        ),
        ("projected (APG)", Box::new(projected), Sample::projected),
        (
            "CFG-Zero*",
            Box::new(ZeroStar::with_scale(SCALE)?),
            Sample::zero_star,
        ),
        (
            "tangential (TCFG)",
            Box::new(Tangential::with_scale(SCALE)?),
            Sample::tangential,
        ),
        (
            "perpendicular negative",
            Box::new(PerpendicularNegative::new(SCALE, 0.8)?),
            Sample::perpendicular,
        ),
    ];
    let mut claims = Vec::new();
    for (name, guidance, formula) in forms {
        let mut run = sampler.start_from(x.clone(), Prediction::Flow, KeyedNoise::new(0))?;
        let told: Vec<_> = outputs[..guidance.outputs()].iter().map(|o| &**o).collect();
        run.tell_guided(&*guidance, &told)?;
        let mut worst = 0.0f64;
        for (i, found) in run.state().rows().into_iter().enumerate() {
            let row = |a: &Array2<f64>| a.row(i).to_vec();
            let sample = Sample {
                x: row(&x),
                outputs: outputs.each_ref().map(row),
                sigma,
            };
            let expected = formula(&sample);
            let size = dot(&expected, &expected).sqrt();
            for (a, b) in found.iter().zip(&expected) {
                worst = worst.max((a - b).abs() / size);
            }
        }
        claims.push(Claim::new(
            format!("{name} guidance as weights for each sample is its published formula"),
            "the formula on arrays",
            worst,
            Accept::Below(1e-12),
        ));
    }
    Ok(claims)
}
