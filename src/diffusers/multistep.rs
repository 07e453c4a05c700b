//! DPM-Solver's multistep forms, as the classes that are made of them have it.

use std::sync::Arc;

use super::Defect;
use super::reading::Reading;
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Step};
use crate::solver::{DpmSolver, DpmSolverPlusPlus, Path, SecondOrderForm, Solver};

/// Which estimate a class's steps interpolate, and their noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Form {
    /// Whether it is that of the noise, in place of that of the data.
    pub(super) noise: bool,
    pub(super) tau: f64,
}

/// The multistep solver of a configuration.
#[derive(Clone, Debug)]
pub(super) struct Multistep {
    pub(super) form: Form,
    pub(super) order: usize,
    pub(super) slope: SecondOrderForm,
    /// The last step of first order, the one before it of second at most.
    pub(super) lower_order_final: bool,
    /// The last step of first order.
    pub(super) euler_at_final: bool,
    /// Whether the library has one step more, of no length.
    pub(super) idle: bool,
    /// The library's defects that it has.
    pub(super) half: bool,
    pub(super) sign: bool,
    pub(super) free: bool,
}

impl Multistep {
    /// The order, the second-order weights and the orders at the end, of a class with all of them.
    pub(super) fn read(reading: &Reading<'_>, form: Form, steps: usize) -> Result<Self, Error> {
        // Fewer steps than this end with lower orders.
        const FEW: usize = 15;
        let lower = reading.flag("lower_order_final", true)?;
        Ok(Self {
            form,
            order: order(reading)?,
            slope: slope(reading)?,
            lower_order_final: lower && steps < FEW,
            euler_at_final: reading.flag("euler_at_final", false)?,
            idle: false,
            half: false,
            sign: false,
            free: false,
        })
    }

    /// The solver for a grid, with those defects that the request asks for.
    pub(super) fn solver(
        mut self,
        reading: &Reading<'_>,
        grid: &Grid,
    ) -> Result<Arc<dyn Solver>, Error> {
        let grid = reading.cut(grid)?;
        type Switch = fn(&mut Multistep);
        let switches: [(Switch, Defect); 3] = [
            (|solver| solver.free = true, Defect::ExtrapolatesFreely),
            (|solver| solver.half = true, Defect::HalfThirdOrder),
            (
                |solver| solver.sign = true,
                Defect::WrongSignOfTheSecondDifference,
            ),
        ];
        for (switch, defect) in switches {
            let mut theirs = self.clone();
            switch(&mut theirs);
            if theirs.sign && theirs.form.tau == 0.0 {
                continue;
            }
            if differ(&grid, &self, &theirs)? && reading.defect(defect) {
                self = theirs;
            }
        }
        Ok(match self.euler_at_final || self.idle || self.sign {
            true => Arc::new(self),
            false => self.plain(self.order)?,
        })
    }

    /// The same without what is particular to the last step.
    fn plain(&self, order: usize) -> Result<Arc<dyn Solver>, Error> {
        /// The options that both solvers have.
        macro_rules! with_options {
            ($solver:expr) => {{
                let mut solver = $solver.with_tau(self.form.tau)?.with_form(self.slope);
                if self.half {
                    solver = solver.as_published();
                }
                if self.free {
                    solver = solver.unbounded();
                }
                if self.lower_order_final {
                    solver = solver.lower_order_final();
                }
                Arc::new(solver)
            }};
        }
        Ok(match self.form.noise {
            false => with_options!(DpmSolverPlusPlus::multistep(order)?),
            true => with_options!(DpmSolver::multistep(order)?),
        })
    }
}

impl Solver for Multistep {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let plan = |order: usize, grid: &Grid| {
            let plan = self.plain(order)?.plan(&Path::without_schedule(grid))?;
            Ok::<_, Error>(plan.steps().to_vec())
        };
        let grid = path.grid();
        let mut steps = match self.idle {
            false => plan(self.order, grid)?,
            true => before_idle_end(grid, |grid| plan(self.order, grid))?,
        };
        if self.euler_at_final && !self.idle {
            let first = plan(1, grid)?.pop();
            if let (Some(last), Some(first)) = (steps.last_mut(), first) {
                *last = first;
            }
        }
        if self.sign {
            turn_second_differences(&mut steps, self.half);
        }
        Plan::of_steps(steps)
    }

    fn order(&self) -> usize {
        match self.sign {
            true => 1,
            false => self.order.min(2),
        }
    }
}

/// The steps of a grid after which one more is to come.
pub(super) fn before_idle_end(
    grid: &Grid,
    plan: impl Fn(&Grid) -> Result<Vec<Step>, Error>,
) -> Result<Vec<Step>, Error> {
    let mut levels = grid.levels().to_vec();
    levels.push(NoiseLevel::clean());
    let mut steps = plan(&Grid::from_levels(levels, 1.0)?)?;
    steps.pop();
    Ok(steps)
}

/// (1 − e^−z − z)/z² − ½ in place of + ½ in the weight of the second difference; of twice that
/// where the weight is the whole one.
fn turn_second_differences(steps: &mut [Step], half: bool) {
    let size = if half { 1.0 } else { 2.0 };
    // λ of the estimates in the slots.
    let mut lambdas = [f64::NAN; crate::plan::MAX_SLOTS];
    for step in steps {
        let (from, h) = (step.from.lambda(), step.to.lambda() - step.from.lambda());
        let scale = size * step.to.alpha();
        for stage in &mut step.stages {
            let update = &mut stage.update;
            let place = |slot: usize| lambdas.get(slot).map_or(f64::NAN, |at| (at - from) / h);
            if let [(first, a), (second, b)] = update.history.as_mut_slice() {
                let (u, v) = (place(*first), place(*second));
                *a -= scale / (u * (u - v));
                *b -= scale / (v * (v - u));
                update.data -= scale / (u * v);
            }
            if let Some(entry) = update.store.and_then(|store| lambdas.get_mut(store.slot)) {
                *entry = from;
            }
        }
    }
}

/// Whether two solvers differ on a grid.
pub(super) fn differ(grid: &Grid, one: &dyn Solver, other: &dyn Solver) -> Result<bool, Error> {
    let path = Path::without_schedule(grid);
    Ok(one.plan(&path)? != other.plan(&path)?)
}

/// `solver_order`, up to 3.
pub(super) fn order(reading: &Reading<'_>) -> Result<usize, Error> {
    match reading.count("solver_order", 2)? {
        0 => Err(reading.invalid("solver_order", &0.into(), "1, 2 or 3")),
        order @ 1..=3 => Ok(order),
        _ => {
            reading.note("an order above 3 is third order, in the library too");
            Ok(3)
        }
    }
}

/// `solver_type` of DPM-Solver.
pub(super) fn slope(reading: &Reading<'_>) -> Result<SecondOrderForm, Error> {
    let choices: &[&[&str]] = &[&["midpoint", "logrho", "bh1", "bh2"], &["heun"]];
    Ok(match reading.choice("solver_type", "midpoint", choices)? {
        "midpoint" => SecondOrderForm::Midpoint,
        _ => SecondOrderForm::Exact,
    })
}

/// `algorithm_type` of DPM-Solver, whose noise forms must not end at σ = 0.
pub(super) fn algorithm(reading: &Reading<'_>, ends_clean: bool) -> Result<Form, Error> {
    let choices: &[&[&str]] = &[
        &["dpmsolver++", "deis"],
        &["sde-dpmsolver++"],
        &["dpmsolver"],
        &["sde-dpmsolver"],
    ];
    let form = |noise, tau| Form { noise, tau };
    let form = match reading.choice("algorithm_type", "dpmsolver++", choices)? {
        "dpmsolver++" => form(false, 0.0),
        "sde-dpmsolver++" => form(false, 1.0),
        "dpmsolver" => form(true, 0.0),
        _ => form(true, 1.0),
    };
    if form.noise && ends_clean {
        return Err(reading.unsupported(
            "algorithm_type",
            "its step onto sigma = 0 has infinite weights (final_sigmas_type \"zero\")",
            "the same with ++, or final_sigmas_type \"sigma_min\"",
        ));
    }
    Ok(form)
}

/// `variance_type`: what a network of twice the channels is for.
pub(super) fn learned_variance(reading: &Reading<'_>) -> Result<(), Error> {
    let value = match reading.has("variance_type") {
        false => return Ok(()),
        true => reading.choice(
            "variance_type",
            "learned_range",
            &[
                &["learned"],
                &["learned_range"],
                &["fixed_small"],
                &["fixed_large"],
            ],
        )?,
    };
    if value.starts_with("learned") {
        reading.note(
            "variance_type: the network has twice the channels, and the second half, its variance, \
             is not used: hand over the first half",
        );
    }
    Ok(())
}
