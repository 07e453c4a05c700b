//! Multistep solvers as they are stored.

use serde::{Deserialize, Serialize};

use super::super::cfg_plus_plus::Rule;
use super::super::exponential::Estimate;
use super::super::extrapolation::Bounds;
use super::super::sa_solver::Within;
use super::super::{
    Basis, CfgPlusPlus, DpmSolver, DpmSolverPlusPlus, ErNoise, ErSde, ExponentialAdams, SaSolver,
    SecondOrderForm, UniPc,
};
use crate::posterior::Kappa;
use crate::stored::{Extended, Finite, finite};

#[derive(Serialize, Deserialize)]
#[serde(remote = "SecondOrderForm", rename_all = "snake_case")]
enum OrderForm {
    Midpoint,
    Exact,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Estimate", rename_all = "snake_case")]
enum EstimateForm {
    Data,
    Noise,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Bounds", deny_unknown_fields)]
struct BoundsForm {
    guarded: bool,
    unbounded: bool,
    lower_order_final: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Rule", rename_all = "snake_case")]
enum RuleForm {
    Multistep,
    Res,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Basis", rename_all = "snake_case")]
enum BasisForm {
    Bh1,
    Bh2,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ErNoise", rename_all = "snake_case")]
enum ErNoiseForm {
    Ode,
    Sde,
    Power(#[serde(with = "finite")] f64),
    Reciprocal,
    Logarithmic,
    Exponential,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WithinForm {
    All,
    EndRho(Extended, Extended),
    StartTime(Extended, Extended),
    End(Finite, Finite),
    Start(Finite, Finite),
}

crate::stored::remote!(
    SecondOrderForm => OrderForm,
    Estimate => EstimateForm,
    Bounds => BoundsForm,
    Rule => RuleForm,
    Basis => BasisForm,
    ErNoise => ErNoiseForm,
);

super::options! {
    DpmSolverPlusPlus {
        order: usize,
        tau: Finite,
        form: SecondOrderForm,
        published: bool,
        warmed_up: bool,
        bounds: Bounds,
    } => Ok(Self {
        form, published, warmed_up, bounds,
        ..Self::multistep(order)?.with_tau(tau.0)?
    });
    DpmSolver {
        order: usize,
        tau: Finite,
        form: SecondOrderForm,
        published: bool,
        warmed_up: bool,
        bounds: Bounds,
    } => Ok(Self {
        form, published, warmed_up, bounds,
        ..Self::multistep(order)?.with_tau(tau.0)?
    });
    ExponentialAdams {
        estimate: Estimate,
        order: usize,
        kappa: Kappa,
        warmed_up: bool,
        bounds: Bounds,
    } => Ok(Self { kappa, warmed_up, bounds, ..Self::new(estimate, order)? });
    UniPc {
        order: usize,
        basis: Basis,
        estimate: Estimate,
        corrected: bool,
        without: Vec<usize>,
        bounds: Bounds,
    } => Ok(Self { basis, estimate, corrected, without, bounds, ..Self::order(order)? });
    SaSolver {
        predictor: usize,
        corrector: usize,
        tau: Finite,
        within: WithinForm,
        estimate: Estimate,
        simple: bool,
        evaluates_twice: bool,
        before_clean_end: bool,
        bounds: Bounds,
    } => {
        let solver = Self::new(predictor, corrector, tau.0)?;
        let solver = match within {
            WithinForm::All => solver,
            WithinForm::EndRho(low, high) => solver.within_rho(low.0, high.0)?,
            WithinForm::StartTime(low, high) => solver.within_model_time(low.0, high.0)?,
            WithinForm::End(low, high) => solver.ending_within(low.0, high.0)?,
            WithinForm::Start(low, high) => solver.starting_within(low.0, high.0)?,
        };
        Ok(Self { estimate, simple, evaluates_twice, before_clean_end, bounds, ..solver })
    };
    CfgPlusPlus { rule: Rule, kappa: Kappa, bounds: Bounds } => Ok(Self { rule, kappa, bounds });
    ErSde { order: usize, noise: ErNoise, s_noise: Finite, published: bool } => {
        let solver = Self::order(order)?.with_noise(noise)?;
        Ok(Self { published, ..solver.with_s_noise(s_noise.0)? })
    };
}

impl From<Within> for WithinForm {
    fn from(within: Within) -> Self {
        match within {
            Within::All => Self::All,
            Within::EndRho(low, high) => Self::EndRho(low.into(), high.into()),
            Within::StartTime(low, high) => Self::StartTime(low.into(), high.into()),
            Within::End(low, high) => Self::End(Finite(low), Finite(high)),
            Within::Start(low, high) => Self::Start(Finite(low), Finite(high)),
        }
    }
}
