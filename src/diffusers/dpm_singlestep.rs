//! DPM-Solver, single-step over the knots of the list.

use std::sync::Arc;

use super::classes::Class;
use super::common::thresholding;
use super::fields;
use super::grouped_noise::GroupedNoise;
use super::knots::{self, End, FlowList, Traits};
use super::reading::Reading;
use super::recipe::Recipe;
use super::{Defect, multistep, network};
use crate::error::Error;
use crate::grid::Grid;
use crate::plan::Plan;
use crate::solver::{GroupedPart, GroupedSinglestep, Path, SecondOrderForm, Solver};

pub(super) const CLASS: Class = Class {
    names: &["DPMSolverSinglestepScheduler"],
    fields: &[
        fields::TABLE,
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
            "final_sigmas_type",
            "lambda_min_clipped",
            "variance_type",
        ],
    ],
    read,
};

const TRAITS: Traits = Traits {
    spacing: false,
    cut: true,
    lu: false,
    zero_snr: false,
    times: true,
    truncates_cosine: false,
    flow: FlowList::Below,
    end: End::Field,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let clean = knots::ends_clean(reading)?;
    let form = multistep::algorithm(reading, clean)?;
    if form.noise && form.tau > 0.0 {
        return Err(reading.unsupported(
            "algorithm_type",
            "single steps in noise form have no noise added",
            "\"sde-dpmsolver++\", or \"sde-dpmsolver\" of DPMSolverMultistepScheduler",
        ));
    }
    multistep::learned_variance(reading)?;
    let knots = knots::knots(reading, TRAITS)?;
    let grid = knots.grid()?;
    let stochastic = form.tau > 0.0;
    if stochastic {
        reading.note(
            "each step of a group starts at the group's first state with fresh noise, independent \
             of that under which the group's estimates were made",
        );
    }
    let order = multistep::order(reading)?;
    let solver = Grouped {
        orders: orders(reading, order, knots.steps(), clean)?,
        slope: multistep::slope(reading)?,
        noise: form.noise,
        stochastic,
        part: GroupedPart {
            total: knots.steps(),
            idle_end: knots.idle,
            unbounded: false,
        },
        sign: false,
    };
    Ok(Recipe {
        prediction: network::prediction(reading, knots.state)?,
        solver: solver.with_defects(reading, &grid)?,
        clip: thresholding(reading)?,
        schedule: knots.schedule,
        state: knots.state,
        bare: knots.bare,
        init_noise_sigma: 1.0,
        grid,
    })
}

/// The rule of the orders of K edges.
fn orders(
    reading: &Reading<'_>,
    order: usize,
    steps: usize,
    clean: bool,
) -> Result<GroupedSinglestep, Error> {
    let solver = GroupedSinglestep::order(order)?;
    if reading.flag("lower_order_final", false)? {
        return Ok(solver.lower_order_final());
    }
    if clean || !steps.is_multiple_of(order) {
        reading.note(
            "lower_order_final is on all the same: the steps end at sigma = 0, or their number is \
             no multiple of the order",
        );
    }
    Ok(solver)
}

/// Single steps of a list, as the library groups them.
#[derive(Clone, Debug)]
struct Grouped {
    orders: GroupedSinglestep,
    slope: SecondOrderForm,
    noise: bool,
    /// With noise of τ = 1.
    stochastic: bool,
    part: GroupedPart,
    /// Whether the second difference has the library's sign, where there is noise.
    sign: bool,
}

impl Grouped {
    fn with_defects(
        mut self,
        reading: &Reading<'_>,
        grid: &Grid,
    ) -> Result<Arc<dyn Solver>, Error> {
        let grid = reading.cut(grid)?;
        let mut theirs = self.clone();
        theirs.part.unbounded = true;
        if multistep::differ(&grid, &self, &theirs)? && reading.defect(Defect::ExtrapolatesFreely) {
            self = theirs;
        }
        let mut theirs = self.clone();
        theirs.sign = true;
        if multistep::differ(&grid, &self, &theirs)?
            && reading.defect(Defect::WrongSignOfTheSecondDifference)
        {
            self = theirs;
        }
        if self.part.idle_end && !self.calls_at_end(&grid)? {
            reading.leaves_out_idle_end();
        }
        Ok(Arc::new(self))
    }

    /// Whether the network is asked at the end of the grid too.
    fn calls_at_end(&self, grid: &Grid) -> Result<bool, Error> {
        let plan = self.plan(&Path::without_schedule(grid))?;
        Ok(plan.evaluations() > plan.steps().len())
    }
}

impl Solver for Grouped {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        if self.stochastic {
            let noise = GroupedNoise {
                orders: self.orders.orders_along(path, self.part)?,
                exact: self.slope == SecondOrderForm::Exact,
                part: self.part,
                sign: self.sign,
            };
            return noise.plan(path);
        }
        let solver = self.orders.with_form(self.slope);
        match self.noise {
            true => solver.in_noise_form().plan_part(path, self.part),
            false => solver.plan_part(path, self.part),
        }
    }

    fn order(&self) -> usize {
        match self.stochastic {
            true => 1,
            false => self.orders.order().min(2),
        }
    }
}
