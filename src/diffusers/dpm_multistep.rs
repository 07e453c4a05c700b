//! DPM-Solver, multistep.

use super::classes::Class;
use super::common::thresholding;
use super::fields;
use super::knots::{self, End, FlowList, Traits};
use super::multistep::{self, Multistep};
use super::network;
use super::reading::Reading;
use super::recipe::Recipe;
use crate::error::Error;

pub(super) const CLASS: Class = Class {
    names: &["DPMSolverMultistepScheduler"],
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
            "algorithm_type",
            "solver_type",
            "lower_order_final",
            "euler_at_final",
            "use_lu_lambdas",
            "final_sigmas_type",
            "lambda_min_clipped",
            "variance_type",
            "rescale_betas_zero_snr",
        ],
    ],
    read,
};

const TRAITS: Traits = Traits {
    spacing: true,
    cut: true,
    lu: true,
    zero_snr: true,
    times: true,
    truncates_cosine: true,
    flow: FlowList::Below,
    end: End::Field,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let form = multistep::algorithm(reading, knots::ends_clean(reading)?)?;
    multistep::learned_variance(reading)?;
    let knots = knots::knots(reading, TRAITS)?;
    let grid = knots.grid()?;
    if knots.idle {
        reading.leaves_out_idle_end();
    }
    let solver = Multistep {
        idle: knots.idle,
        ..Multistep::read(reading, form, knots.steps())?
    };
    Ok(Recipe {
        prediction: network::prediction(reading, knots.state)?,
        solver: solver.solver(reading, &grid)?,
        clip: thresholding(reading)?,
        schedule: knots.schedule,
        state: knots.state,
        bare: knots.bare,
        init_noise_sigma: 1.0,
        grid,
    })
}
