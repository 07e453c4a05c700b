//! DEIS, multistep.

use std::sync::Arc;

use super::Defect;
use super::classes::Class;
use super::common::thresholding;
use super::fields;
use super::knots::{self, End, FlowList, Traits};
use super::reading::Reading;
use super::recipe::Recipe;
use super::{multistep, network};
use crate::error::Error;
use crate::plan::Plan;
use crate::solver::{ExponentialAdams, Path, Solver};

pub(super) const CLASS: Class = Class {
    names: &["DEISMultistepScheduler"],
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
        ],
    ],
    read,
};

const TRAITS: Traits = Traits {
    spacing: true,
    cut: false,
    lu: false,
    zero_snr: false,
    times: false,
    truncates_cosine: false,
    flow: FlowList::Below,
    end: End::TableOrAgain,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let algorithms: &[&[&str]] = &[&["deis", "dpmsolver", "dpmsolver++"]];
    reading.choice("algorithm_type", "deis", algorithms)?;
    let types: &[&[&str]] = &[&["logrho", "midpoint", "heun", "bh1", "bh2"]];
    reading.choice("solver_type", "logrho", types)?;
    let knots = knots::knots(reading, TRAITS)?;
    if knots.idle {
        reading.leaves_out_idle_end();
    }
    let grid = knots.grid()?;
    let lower = reading.flag("lower_order_final", true)? && knots.steps() < 15;
    let mut adams = ExponentialAdams::noise(multistep::order(reading)?)?;
    if lower {
        adams = adams.lower_order_final();
    }
    let solver = |adams: ExponentialAdams| -> Arc<dyn Solver> {
        match knots.idle {
            true => Arc::new(BeforeIdleEnd(adams)),
            false => Arc::new(adams),
        }
    };
    let (ours, theirs) = (solver(adams), solver(adams.unbounded()));
    let shown = reading.cut(&grid)?;
    let free =
        multistep::differ(&shown, &ours, &theirs)? && reading.defect(Defect::ExtrapolatesFreely);
    Ok(Recipe {
        prediction: network::prediction(reading, knots.state)?,
        solver: if free { theirs } else { ours },
        clip: thresholding(reading)?,
        schedule: knots.schedule,
        state: knots.state,
        bare: knots.bare,
        init_noise_sigma: 1.0,
        grid,
    })
}

/// A solver on a list after which a step of no length is to come, which counts for the orders.
#[derive(Clone, Debug)]
struct BeforeIdleEnd(ExponentialAdams);

impl Solver for BeforeIdleEnd {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = multistep::before_idle_end(path.grid(), |grid| {
            let plan = self.0.plan(&Path::without_schedule(grid))?;
            Ok(plan.steps().to_vec())
        });
        Plan::of_steps(steps?)
    }

    fn order(&self) -> usize {
        self.0.order()
    }
}
