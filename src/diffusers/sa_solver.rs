//! SA-Solver.

use std::sync::Arc;

use super::classes::Class;
use super::common::thresholding;
use super::fields;
use super::knots::{self, End, FlowList, Traits};
use super::reading::Reading;
use super::recipe::Recipe;
use super::{Defect, multistep, network};
use crate::error::Error;
use crate::grid::Grid;
use crate::plan::Plan;
use crate::solver::{Path, SaSolver, Solver};

pub(super) const CLASS: Class = Class {
    names: &["SASolverScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::THRESHOLDING,
        fields::RAMPS,
        fields::FLOW,
        &[
            "predictor_order",
            "corrector_order",
            "prediction_type",
            "tau_func",
            "algorithm_type",
            "lower_order_final",
            "lambda_min_clipped",
            "variance_type",
        ],
    ],
    read,
};

const TRAITS: Traits = Traits {
    spacing: true,
    cut: true,
    lu: false,
    zero_snr: false,
    times: false,
    truncates_cosine: false,
    flow: FlowList::BelowStatic,
    end: End::TableOrAgain,
};

/// The listed times at which a step has noise.
const NOISY: std::ops::RangeInclusive<f64> = 200.0..=800.0;

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    if reading.has("tau_func") {
        return Err(reading.unsupported(
            "tau_func",
            "a function is no data",
            "null: tau is 1 at times from 200 to 800, and 0 elsewhere; or solver::SaSolver itself",
        ));
    }
    multistep::learned_variance(reading)?;
    let knots = knots::knots(reading, TRAITS)?;
    let grid = knots.grid()?;
    if knots.idle {
        reading.note(knots::CORRECTED);
    }
    let solver = solver(reading, &grid)?;
    let corrected = |solver| Corrected {
        solver,
        idle: knots.idle,
    };
    let (ours, theirs) = (corrected(solver), corrected(solver.unbounded()));
    let shown = reading.cut(&grid)?;
    let free =
        multistep::differ(&shown, &ours, &theirs)? && reading.defect(Defect::ExtrapolatesFreely);
    Ok(Recipe {
        prediction: network::prediction(reading, knots.state)?,
        solver: match free {
            true => theirs.simplified(),
            false => ours.simplified(),
        },
        clip: thresholding(reading)?,
        schedule: knots.schedule,
        state: knots.state,
        bare: knots.bare,
        init_noise_sigma: 1.0,
        grid,
    })
}

fn solver(reading: &Reading<'_>, grid: &Grid) -> Result<SaSolver, Error> {
    let algorithms: &[&[&str]] = &[&["data_prediction"], &["noise_prediction"]];
    let data =
        reading.choice("algorithm_type", "data_prediction", algorithms)? == "data_prediction";
    let order = |field: &'static str| match reading.count(field, 2)? {
        order @ 1..=4 => Ok(order),
        order => Err(reading.invalid(field, &order.into(), "1 to 4")),
    };
    let (predictor, corrector) = (order("predictor_order")?, order("corrector_order")?);
    // By ρ at the end of a step: the network may be told other times than those of the list.
    let noisy = grid
        .edges()
        .filter(|(from, _)| NOISY.contains(&from.model_time()));
    let ends: Vec<f64> = noisy.map(|(_, to)| to.rho()).collect();
    let mut solver = match (ends.last(), ends.first()) {
        (Some(&low), Some(&high)) => {
            SaSolver::new(predictor, corrector, 1.0)?.within_rho(low, high)?
        }
        _ => SaSolver::new(predictor, corrector, 0.0)?,
    };
    solver = match data {
        true => solver.simple(),
        false => solver.in_noise(),
    };
    Ok(match reading.flag("lower_order_final", true)? {
        true => solver.lower_order_final(),
        false => solver,
    })
}

/// SA-Solver on a list after which a step of no length may come, which corrects the state at the
/// end.
#[derive(Clone, Copy, Debug)]
struct Corrected {
    solver: SaSolver,
    idle: bool,
}

impl Corrected {
    fn simplified(self) -> Arc<dyn Solver> {
        match self.idle {
            true => Arc::new(self),
            false => Arc::new(self.solver),
        }
    }
}

impl Solver for Corrected {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        self.solver.plan_to(path, self.idle)
    }

    fn order(&self) -> usize {
        self.solver.order()
    }
}
