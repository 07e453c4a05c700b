//! Searched spacings beside fixed ones.

use std::error::Error;

use diffusion_sampler::grid::Spacing;
use diffusion_sampler::oracle::{Gaussian, MixtureFit, sample_moments};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::registry;
use diffusion_sampler::tuning::{SearchedSpacing, SpacingSearch, Spectrum, Surrogate};
use pictures::digits::SIDE;

use crate::bench::{Bench, COLUMNS, SEEDS, SOLVER};

const BUDGETS: [usize; 3] = [5, 10, 20];
/// Spacings that are measured at every budget.
const FIXED: [&str; 4] = ["trailing", "karras", "uniform_lambda", "quadratic"];
/// Components of the mixtures, and the floor of their variances: some pixels are always blank.
const COMPONENTS: usize = 10;
const FLOOR: f64 = 0.01;
/// Runs of a mixture, and errors that a search on it may compute.
const RUNS: usize = 48;
const ERRORS: usize = 250;

/// What is known, what is held out, and how many errors a search may compute.
struct Known {
    name: &'static str,
    known: Surrogate,
    held_out: Surrogate,
    errors: usize,
}

/// Searched spacings beside fixed ones.
impl Bench {
    fn surrogates(&self, errors: &DataErrors) -> Result<Vec<Known>, Box<dyn Error>> {
        let moments = |first| -> Result<Surrogate, Box<dyn Error>> {
            let (mean, covariance) = sample_moments(&self.half(first))?;
            Ok(Surrogate::gaussian(&Gaussian::new(&mean, &covariance)?)?)
        };
        let mixture = |first| -> Result<Surrogate, Box<dyn Error>> {
            let fit = MixtureFit::new(COMPONENTS)
                .with_floor(FLOOR)?
                .fit(&self.half(first))?;
            Ok(Surrogate::mixture(
                &fit.mixture,
                &self.schedule,
                RUNS,
                first as u64,
            )?)
        };
        let spectrum = |spectrum: &Spectrum| -> Result<Surrogate, Box<dyn Error>> {
            Ok(Surrogate::gaussian(&spectrum.gaussian(SIDE * SIDE)?)?)
        };
        let own = Spectrum::fit(errors)?.spectrum;
        let typical = Spectrum::images();
        let gaussian = |name, known, held_out| Known {
            name,
            known,
            held_out,
            errors: 2000,
        };
        Ok(vec![
            gaussian(
                "images in general",
                spectrum(&typical)?,
                spectrum(&typical.tilted(0.2)?)?,
            ),
            gaussian("moments of the data", moments(0)?, moments(1)?),
            gaussian(
                "M_t of the network",
                spectrum(&own)?,
                spectrum(&own.tilted(0.2)?)?,
            ),
            Known {
                name: "mixture of the data",
                known: mixture(0)?,
                held_out: mixture(1)?,
                errors: ERRORS,
            },
        ])
    }

    pub(crate) fn print_spacings(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let surrogates = self.surrogates(errors)?;
        let solver = registry::sampler(SOLVER)?.solver;
        for steps in BUDGETS {
            println!(
                "\n{:<44}{COLUMNS}  surrogate %  held out %",
                format!("{SOLVER}, {steps} steps")
            );
            let mut fixed: Vec<Spacing> = Vec::new();
            for name in FIXED {
                fixed.push(Spacing::named(name)?);
            }
            let mut lines = Vec::new();
            for known in &surrogates {
                let search = SpacingSearch::new(&self.schedule, &solver, steps);
                let search = search.with_evaluations(known.errors);
                let found = search.run(&known.known, &known.held_out)?;
                let best = found.best_fixed();
                if !fixed.contains(&best.spacing) {
                    fixed.push(best.spacing);
                }
                lines.push(self.searched(known.name, &found)?);
            }
            for spacing in fixed {
                let grid = spacing.grid(&self.schedule, steps)?;
                let row = self.measure(&self.sampler(&grid)?, None, SEEDS.len())?;
                println!("  {:<42}{}", spacing.name(), row.shown());
            }
            lines.iter().for_each(|line| println!("{line}"));
        }
        Ok(())
    }

    fn searched(&self, name: &str, found: &SearchedSpacing) -> Result<String, Box<dyn Error>> {
        let row = self.measure(&self.sampler(found.searched_grid())?, None, SEEDS.len())?;
        let verdict = if found.accepted() {
            "accepted"
        } else {
            "refused"
        };
        let times = found.searched_grid().levels().iter();
        let times: Vec<String> = times.map(|level| format!("{:.0}", level.time())).collect();
        let best = found.best_fixed();
        Ok(format!(
            "  searched on {name:<19} {verdict:<10}{}     {:6.2}       {:6.2}\n      times {}\n      best fixed there: {}, {:.2}, {:.2}",
            row.shown(),
            found.error(),
            found.held_out_error(),
            times.join(" "),
            best.spacing,
            best.error,
            best.held_out
        ))
    }
}
