//! CogVideoX's two classes.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::classes::Class;
use super::ddim::{self, Strided};
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Step, Store, Update};
use crate::posterior::Kappa;
use crate::schedule::TableSchedule;
use crate::solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver};

/// The fields of both classes.
const FIELDS: &[&[&str]] = &[
    fields::TABLE,
    fields::SPACING,
    fields::CLIP,
    &[
        "set_alpha_to_one",
        "prediction_type",
        "sample_max_value",
        "rescale_betas_zero_snr",
        "snr_shift_scale",
    ],
];

pub(super) const DDIM: Class = Class {
    names: &["CogVideoXDDIMScheduler"],
    fields: FIELDS,
    read: read_ddim,
};

pub(super) const DPM: Class = Class {
    names: &["CogVideoXDPMScheduler"],
    fields: FIELDS,
    read: read_dpm,
};

fn read_ddim(reading: &Reading<'_>) -> Result<Recipe, Error> {
    ddim::strided(reading, table(reading)?, None, |stride| match stride {
        Some(stride) => Arc::new(stride.steps(Kappa::Ddim)),
        None => Arc::new(FirstOrder::ddim()),
    })
}

fn read_dpm(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let mut written = false;
    let mut recipe = ddim::strided(reading, table(reading)?, None, |stride| match stride {
        Some(stride) => {
            written = true;
            Arc::new(TwoStepSde(stride))
        }
        None => Arc::new(DpmSolverPlusPlus::sde()),
    })?;
    if written {
        return Ok(recipe);
    }
    let path = Path::new(&recipe.schedule, &recipe.grid)?;
    let free = DpmSolverPlusPlus::sde().unbounded();
    let differs = free.plan(&path)? != recipe.solver.plan(&path)?;
    if differs && reading.defect(Defect::ExtrapolatesFreely) {
        recipe.solver = Arc::new(free);
    }
    Ok(recipe)
}

/// ᾱ is shifted in its signal-to-noise ratio, and rescaled after it.
fn table(reading: &Reading<'_>) -> Result<TableSchedule, Error> {
    let scale = reading.positive("snr_shift_scale", 3.0)?;
    let shifted = betas::table(reading, Betas::LATENT)?.snr_shifted(scale);
    let table = shifted.map_err(|_| {
        let requirement = "such that noise still grows from index to index";
        reading.invalid("snr_shift_scale", &scale.into(), requirement)
    })?;
    match reading.flag("rescale_betas_zero_snr", false)? {
        true => table.zero_terminal_snr(),
        false => Ok(table),
    }
}

/// DPM-Solver++ (2M) SDE with steps from t to t − ⌊T/K⌋, the estimates taken for those of the listed
/// times.
#[derive(Clone, Debug)]
struct TwoStepSde(Strided);

impl Solver for TwoStepSde {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut before: Option<NoiseLevel> = None;
        let mut steps = Vec::new();
        for (from, to) in path.edges() {
            let (target, is_end) = self.0.target(&from)?;
            let h = target.lambda() - from.lambda();
            let decay = libm::exp(-h);
            let gain = -libm::expm1(-2.0 * h);
            let data = target.alpha() * gain;
            // 1/(2r), where there is an estimate before this one and the step does not end the run.
            let half = match before {
                Some(before) if !is_end => 0.5 * h / (from.lambda() - before.lambda()),
                _ => 0.0,
            };
            let slot = steps.len() % 2;
            let history = match half > 0.0 {
                true => vec![(1 - slot, -data * half)],
                false => Vec::new(),
            };
            let update = Update {
                state: target.sigma() / from.sigma() * decay,
                data: data * (1.0 + half),
                history,
                noise: target.sigma() * gain.sqrt(),
                store: Some(Store::data(slot)),
            };
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
            before = Some(from);
        }
        Plan::new(steps, 2)
    }

    fn order(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    #[test]
    fn the_published_steps_are_dpm_solvers_where_every_step_leads_to_the_next_time() {
        let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012).expect("a table");
        let grid = Grid::trailing(&table, 10).expect("a grid");
        let path = Path::new(&table, &grid).expect("a path");
        let strided = Strided {
            stride: 100.0,
            end: NoiseLevel::clean(),
            table: table.clone(),
        };
        let ours = DpmSolverPlusPlus::sde().plan(&path).expect("a plan");
        let theirs = TwoStepSde(strided).plan(&path).expect("a plan");
        for (ours, theirs) in ours.stages().zip(theirs.stages()) {
            let (a, b) = (&ours.update, &theirs.update);
            for (a, b) in [(a.state, b.state), (a.data, b.data), (a.noise, b.noise)] {
                assert!((a - b).abs() < 1e-13, "{a} and {b}");
            }
        }
    }
}
