//! UniPC, multistep.

use std::sync::Arc;

use super::classes::Class;
use super::common::thresholding;
use super::fields;
use super::knots::{self, End, FlowList, Traits};
use super::reading::Reading;
use super::recipe::Recipe;
use super::{Defect, Value, multistep, network};
use crate::error::Error;
use crate::grid::Grid;
use crate::plan::Plan;
use crate::solver::{Basis, Path, Solver, UniPc};

pub(super) const CLASS: Class = Class {
    names: &["UniPCMultistepScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::THRESHOLDING,
        fields::RAMPS,
        fields::FLOW,
        fields::DYNAMIC,
        &[
            "solver_order",
            "prediction_type",
            "predict_x0",
            "solver_type",
            "lower_order_final",
            "disable_corrector",
            "solver_p",
            "final_sigmas_type",
            "rescale_betas_zero_snr",
            "sigma_min",
            "sigma_max",
            "shift_terminal",
        ],
    ],
    read,
};

const TRAITS: Traits = Traits {
    spacing: true,
    cut: false,
    lu: false,
    zero_snr: true,
    times: false,
    truncates_cosine: false,
    flow: FlowList::FromOne,
    end: End::FieldOrAgain,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    if reading.has("solver_p") {
        return Err(reading.unsupported(
            "solver_p",
            "a scheduler of another kind in place of the predictor",
            "null, or solver::UniPc::predictor_only beside a solver of its own",
        ));
    }
    let knots = knots::knots(reading, TRAITS)?;
    let grid = knots.grid()?;
    let data = reading.flag("predict_x0", true)?;
    let basis = basis(reading)?;
    let solver = Corrected {
        solver: unipc(reading, data, basis)?,
        without: without(reading, &grid)?,
        steps: grid.steps(),
        idle: knots.idle,
    };
    if knots.idle {
        reading.note(knots::CORRECTED);
    }
    let theirs = Corrected {
        solver: solver.solver.clone().unbounded(),
        ..solver.clone()
    };
    let shown = reading.cut(&grid)?;
    let free =
        multistep::differ(&shown, &solver, &theirs)? && reading.defect(Defect::ExtrapolatesFreely);
    if grid.end().is_clean() {
        note_clean_end(reading, data, basis == Basis::Bh1)?;
    }
    Ok(Recipe {
        prediction: network::prediction(reading, knots.state)?,
        solver: match free {
            true => theirs.simplified(),
            false => solver.simplified(),
        },
        clip: match data {
            true => thresholding(reading)?,
            // The noise form does not obey it.
            false => None,
        },
        schedule: knots.schedule,
        state: knots.state,
        bare: knots.bare,
        init_noise_sigma: 1.0,
        grid,
    })
}

fn basis(reading: &Reading<'_>) -> Result<Basis, Error> {
    let types: &[&[&str]] = &[&["bh2", "midpoint", "heun", "logrho"], &["bh1"]];
    Ok(match reading.choice("solver_type", "bh2", types)? {
        "bh2" => Basis::Bh2,
        _ => Basis::Bh1,
    })
}

fn unipc(reading: &Reading<'_>, data: bool, basis: Basis) -> Result<UniPc, Error> {
    let order = reading.count("solver_order", 2)?;
    if order == 0 {
        return Err(reading.invalid("solver_order", &0.into(), "1, 2 or 3"));
    }
    if order > 3 {
        return Err(reading.unsupported("solver_order", "UniPC is here up to order 3", "3"));
    }
    let mut solver = UniPc::order(order)?.with_basis(basis);
    if !data {
        solver = solver.in_noise();
    }
    Ok(match reading.flag("lower_order_final", true)? {
        true => solver.lower_order_final(),
        false => solver,
    })
}

/// `disable_corrector`.
fn without(reading: &Reading<'_>, grid: &Grid) -> Result<Vec<usize>, Error> {
    let steps = reading.numbers("disable_corrector")?.unwrap_or(&[]);
    let whole = |&step: &f64| step >= 0.0 && step.fract() == 0.0;
    if !steps.iter().all(whole) {
        let value = Value::Numbers(steps.to_vec());
        return Err(reading.invalid("disable_corrector", &value, "a list of step numbers from 0"));
    }
    // Each once, and only those of a run: each of its steps is looked up among them.
    let most = grid.steps() as f64;
    let within = steps.iter().filter(|&&step| step <= most);
    let mut without: Vec<usize> = within.map(|&step| step as usize).collect();
    without.sort_unstable();
    without.dedup();
    Ok(without)
}

/// What the library's last step onto σ = 0 makes of its infinite weights.
fn note_clean_end(reading: &Reading<'_>, data: bool, bh1: bool) -> Result<(), Error> {
    let first_order =
        reading.flag("lower_order_final", true)? || reading.count("solver_order", 2)? == 1;
    if !data || bh1 || !first_order {
        reading.note(
            "the library's last step onto sigma = 0 is not a number with these fields; here it \
             returns the estimate of x0",
        );
    }
    Ok(())
}

/// UniPC on the last steps of a list.
#[derive(Clone, Debug)]
struct Corrected {
    solver: UniPc,
    /// The steps of the whole list that are not corrected.
    without: Vec<usize>,
    /// The number of steps of the whole list.
    steps: usize,
    /// Whether a step of no length is to come, which corrects the state at the end.
    idle: bool,
}

impl Corrected {
    /// The solver itself where there is nothing more to it.
    fn simplified(self) -> Arc<dyn Solver> {
        match self.idle || !self.without.is_empty() {
            true => Arc::new(self),
            false => Arc::new(self.solver),
        }
    }
}

impl Solver for Corrected {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let skipped = self.steps.saturating_sub(path.grid().steps());
        let without = self
            .without
            .iter()
            .filter_map(|step| step.checked_sub(skipped));
        let solver = self.solver.clone().without_corrector_at(without.collect());
        solver.plan_to(path, self.idle)
    }

    fn order(&self) -> usize {
        self.solver.order()
    }
}
