//! Names for the same solver: plans that agree.

use diffusion_sampler::{
    plan::Plan,
    posterior::Kappa,
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow},
    solver::{
        DpmSolver, DpmSolverPlusPlus, ExponentialAdams, FirstOrder, Path, SaSolver,
        SecondOrderForm, Solver, UniPc,
    },
};

use crate::common::{Outcome, assert_close, states};
use crate::exponential::each;

const START: f64 = 0.7;

/// States of two solvers on every path, to a tolerance.
fn same(one: &dyn Solver, two: &dyn Solver, tolerance: f64) -> Outcome {
    each(|path, place| {
        let place = format!("{one:?} and {two:?}, {place}");
        let (one, two) = (states(path, one, START)?, states(path, two, START)?);
        assert_close(&one, &two, tolerance, &place);
        Ok(())
    })
}

#[test]
fn first_order_is_ddim_under_every_name() -> Outcome {
    let ddim = FirstOrder::ddim();
    let names: [&dyn Solver; 6] = [
        &DpmSolverPlusPlus::multistep(1)?,
        &DpmSolver::multistep(1)?,
        &ExponentialAdams::data(1)?,
        &ExponentialAdams::noise(1)?,
        &UniPc::order(1)?.predictor_only(),
        &SaSolver::new(1, 0, 0.0)?,
    ];
    for name in names {
        same(name, &ddim, 1e-13)?;
    }
    let tau = FirstOrder::new(Kappa::Tau(0.8));
    same(
        &DpmSolverPlusPlus::multistep(1)?.with_tau(0.8)?,
        &tau,
        1e-13,
    )?;
    same(&ExponentialAdams::data(1)?.with_tau(0.8)?, &tau, 1e-13)?;
    same(&SaSolver::new(1, 0, 0.8)?, &tau, 1e-13)
}

#[test]
fn second_order_has_two_forms_under_many_names() -> Outcome {
    let exact = DpmSolverPlusPlus::new().with_form(SecondOrderForm::Exact);
    same(&ExponentialAdams::data(2)?, &exact, 1e-13)?;
    same(&SaSolver::new(2, 0, 0.0)?, &exact, 1e-13)?;
    same(
        &UniPc::order(2)?.predictor_only(),
        &DpmSolverPlusPlus::new(),
        1e-13,
    )?;
    let noise = DpmSolver::new().with_form(SecondOrderForm::Exact);
    same(&ExponentialAdams::noise(2)?, &noise, 1e-13)?;
    same(
        &UniPc::order(2)?.predictor_only().in_noise(),
        &DpmSolver::new(),
        1e-13,
    )?;
    // RES ancestral with η = 1, κ = r, is the stochastic 2M in its exact form.
    let stochastic = DpmSolverPlusPlus::sde().with_form(SecondOrderForm::Exact);
    for kappa in [Kappa::Eta(1.0), Kappa::Ddpm, Kappa::Tau(1.0)] {
        same(
            &ExponentialAdams::data(2)?.with_kappa(kappa),
            &stochastic,
            1e-12,
        )?;
    }
    same(&SaSolver::new(2, 0, 1.0)?, &stochastic, 1e-13)
}

#[test]
fn third_order_is_one_parabola() -> Outcome {
    let exact = |solver: DpmSolverPlusPlus| solver.with_form(SecondOrderForm::Exact);
    let third = exact(DpmSolverPlusPlus::multistep(3)?);
    same(&ExponentialAdams::data(3)?, &third, 1e-12)?;
    same(&SaSolver::new(3, 0, 0.0)?, &third, 1e-12)?;
    same(
        &ExponentialAdams::data(3)?.with_tau(0.7)?,
        &third.with_tau(0.7)?,
        1e-12,
    )?;
    // UniP's second step is in its own form.
    same(
        &UniPc::order(3)?.predictor_only(),
        &DpmSolverPlusPlus::multistep(3)?,
        1e-12,
    )?;
    same(
        &ExponentialAdams::noise(3)?,
        &DpmSolver::multistep(3)?.with_form(SecondOrderForm::Exact),
        1e-12,
    )
}

#[test]
fn a_corrector_of_two_nodes_is_unic_1() -> Outcome {
    use diffusion_sampler::solver::Basis;
    same(
        &SaSolver::new(1, 2, 0.0)?.simple(),
        &UniPc::order(1)?.with_basis(Basis::Bh1),
        1e-13,
    )?;
    // Where both use all that there is.
    same(
        &SaSolver::new(3, 4, 0.0)?.simple(),
        &UniPc::order(3)?.with_basis(Basis::Bh1),
        1e-11,
    )
}

#[test]
fn a_number_without_meaning_changes_nothing() -> Outcome {
    let flow = RectifiedFlow::shifted(2.0)?;
    let range = LambdaRange::new(-3.0, flow.lambda_range().clean().min(2.0))?;
    let grid = diffusion_sampler::Grid::uniform_lambda(&flow, 8, range)?;
    let path = Path::new(&flow, &grid)?;
    let plan =
        |solver: &dyn Solver| -> Result<Plan, diffusion_sampler::Error> { solver.plan(&path) };
    // B cancels where a rule has more than two estimates, and the published weight is one of order 3.
    let second = DpmSolverPlusPlus::new();
    assert_eq!(plan(&second)?, plan(&second.as_published())?);
    let third = DpmSolverPlusPlus::multistep(3)?;
    assert_ne!(plan(&third)?, plan(&third.as_published())?);
    let unified = UniPc::order(2)?;
    assert_eq!(
        plan(&unified)?,
        plan(&unified.clone().without_corrector_at(vec![99]))?
    );
    assert_ne!(
        plan(&unified)?,
        plan(&unified.clone().without_corrector_at(vec![3]))?
    );
    Ok(())
}
