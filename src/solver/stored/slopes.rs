//! Solvers that weigh slopes as they are stored.

use serde::{Deserialize, Serialize};

use super::super::coordinate::Coordinate;
use super::super::ipndm::Steps;
use super::super::slopes::Axis;
use super::super::{Deis, GradientEstimation, HeavyBall, Ipndm, LinearMultistep, Pndm};
use crate::error::require;
use crate::stored::Finite;

/// Flow time or ρ.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct FlowTime(bool);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Steps", rename_all = "snake_case")]
enum StepsForm {
    Even,
    Variable,
    VariableAsPublished,
}

crate::stored::through!(Axis => FlowTime, Coordinate => FlowTime);
crate::stored::remote!(Steps => StepsForm);

super::options! {
    Deis { order: usize, #[serde(rename = "flow_time")] axis: Axis } =>
        Ok(Self { axis, ..Self::tab(order)? });
    LinearMultistep {
        order: usize,
        #[serde(rename = "flow_time")] axis: Axis,
        extrapolated_end: bool,
    } => Ok(Self { axis, extrapolated_end, ..Self::order(order)? });
    Ipndm {
        order: usize,
        steps: Steps,
        #[serde(rename = "flow_time")] axis: Axis,
        extrapolated_end: bool,
    } => Ok(Self { steps, axis, extrapolated_end, ..Self::order(order)? });
    Pndm { runge_kutta_steps: usize, extrapolated_end: bool } => {
        let (name, value) = ("runge_kutta_steps", runge_kutta_steps as f64);
        require(matches!(runge_kutta_steps, 0 | 3), name, value, "0 or 3")?;
        Ok(Self { runge_kutta_steps, extrapolated_end })
    };
    GradientEstimation { gamma: Finite, #[serde(rename = "flow_time")] axis: Axis } =>
        Ok(Self { axis, ..Self::new().with_gamma(gamma.0)? });
    HeavyBall { order: usize, beta: Finite, generalised: bool } =>
        Ok(Self { generalised, ..Self::order(order)?.with_beta(beta.0)? });
}

impl From<&Axis> for FlowTime {
    fn from(axis: &Axis) -> Self {
        Self(*axis == Axis::FlowTime)
    }
}

impl From<FlowTime> for Axis {
    fn from(FlowTime(flow_time): FlowTime) -> Self {
        match flow_time {
            true => Self::FlowTime,
            false => Self::Rho,
        }
    }
}

impl From<&Coordinate> for FlowTime {
    fn from(coordinate: &Coordinate) -> Self {
        Self(*coordinate == Coordinate::FlowTime)
    }
}

impl From<FlowTime> for Coordinate {
    fn from(FlowTime(flow_time): FlowTime) -> Self {
        match flow_time {
            true => Self::FlowTime,
            false => Self::Rho,
        }
    }
}
