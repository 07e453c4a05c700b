//! The ranked list.

use std::error::Error;
use std::time::Instant;

use diffusion_sampler::grid::Spacing;
use diffusion_sampler::oracle::{Gaussian, sample_moments};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::tuning::{Choice, Ranking, Spectrum};
use pictures::digits::SIDE;

use crate::bench::{Bench, COLUMNS, Row};

/// Samplers that are measured for the ranked list, beside its first ones: every solver on every
/// spacing, under the first so many seeds.
const SOLVERS: [&str; 9] = [
    "DDIM",
    "Euler a",
    "DPM++ 2M",
    "DPM++ 2M SDE",
    "UniPC",
    "DEIS",
    "iPNDM",
    "Heun",
    "SA-Solver",
];
const SPACINGS: [&str; 3] = ["trailing", "uniform_lambda", "quadratic"];
const RANKED: usize = 2;
const FIRST: usize = 3;

/// A sampler of the ranked list, measured.
struct Tried {
    name: String,
    row: Row,
    /// By the three lists, in percent.
    predicted: [f64; 3],
}

/// The ranked list.
impl Bench {
    pub(crate) fn print_ranks(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let (mean, covariance) = sample_moments(&self.images)?;
        let moments = Gaussian::new(&mean, &covariance)?;
        let own = Spectrum::fit(errors)?.spectrum.gaussian(SIDE * SIDE)?;
        for budget in [5, 10] {
            let choice = || Choice::new(&self.schedule, digits_network::PREDICTION, budget);
            let start = Instant::now();
            let lists = [
                ("images in general", choice().rank()?),
                ("moments of the data", choice().with_data(&moments).rank()?),
                ("M_t of the network", choice().with_data(&own).rank()?),
            ];
            let took = start.elapsed().as_secs_f64() / 3.0;
            let mut tried: Vec<Tried> = Vec::new();
            for solver in SOLVERS {
                for spacing in SPACINGS {
                    self.tried(&lists, (solver, Spacing::named(spacing)?), &mut tried)?;
                }
            }
            for (_, list) in &lists {
                let stable = list.candidates().iter().filter(|c| c.warnings.is_empty());
                for candidate in stable.filter(|c| c.same_as.is_none()).take(FIRST) {
                    self.tried(&lists, (candidate.solver, candidate.spacing), &mut tried)?;
                }
            }
            tried.sort_by(|a, b| a.row.distance.mean.total_cmp(&b.row.distance.mean));
            println!(
                "\n{:<44}{COLUMNS}  predicted %: images, moments, M_t",
                format!("{budget} evaluations, {} samplers", tried.len())
            );
            for (place, tried) in tried.iter().enumerate() {
                let ([a, b, c], row) = (tried.predicted, tried.row.shown());
                println!(
                    "  {:>2} {:<39}{row}   {a:7.2} {b:7.2} {c:7.2}",
                    place + 1,
                    tried.name
                );
            }
            for (index, (name, list)) in lists.iter().enumerate() {
                self.print_agreement(name, list, (index, &tried))?;
            }
            println!("  a list takes {took:.2} s");
        }
        Ok(())
    }

    /// How a list agrees with what was measured.
    fn print_agreement(
        &self,
        name: &str,
        list: &Ranking,
        (index, tried): (usize, &[Tried]),
    ) -> Result<(), Box<dyn Error>> {
        let pairs = |value: fn(&Row) -> f64, all: bool| -> f64 {
            let kept = tried.iter().filter(|tried| all || !tried.row.stochastic);
            let (a, b): (Vec<f64>, Vec<f64>) = kept
                .map(|tried| (tried.predicted[index], value(&tried.row)))
                .unzip();
            spearman(&a, &b)
        };
        let best = list.best().ok_or("no candidate")?;
        let first = format!("{} {}", best.solver, best.spacing);
        let place = tried.iter().position(|tried| tried.name == first);
        println!(
            "  {name}: rank correlation with distance {:.2}, with path {:.2} (deterministic ones); its first, {first}, is number {} of {}",
            pairs(|row| row.distance.mean, true),
            pairs(|row| row.path.mean, false),
            place.map_or(0, |place| place + 1),
            tried.len()
        );
        Ok(())
    }

    fn tried(
        &self,
        lists: &[(&str, Ranking); 3],
        (solver, spacing): (&'static str, Spacing),
        tried: &mut Vec<Tried>,
    ) -> Result<(), Box<dyn Error>> {
        let name = format!("{solver} {spacing}");
        if tried.iter().any(|other| other.name == name) {
            return Ok(());
        }
        let mut predicted = [f64::NAN; 3];
        let mut sampler = None;
        for (value, (_, list)) in predicted.iter_mut().zip(lists) {
            let place = list.place(solver, spacing);
            if let Some(found) = place.and_then(|place| list.candidates().get(place)) {
                *value = found.error;
                sampler = Some(found.sampler().clone());
            }
        }
        if let Some(sampler) = sampler {
            tried.push(Tried {
                name,
                row: self.measure(&sampler, None, RANKED)?,
                predicted,
            });
        }
        Ok(())
    }
}

/// The correlation of the ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| (x - middle) * (y - middle))
            .sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, index) in order.into_iter().enumerate() {
        ranks[index] = rank as f64;
    }
    ranks
}
