//! Solvers around another solver as they are stored.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::restart::Interval;
use super::super::{RePaint, Restart, Solver};
use crate::stored::Finite;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartForm<S> {
    inner: S,
    intervals: Vec<IntervalForm>,
    least_steps: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntervalForm {
    rho_min: Finite,
    rho_max: Finite,
    repeats: usize,
    steps: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RePaintForm<S> {
    inner: S,
    jump_length: usize,
    resamplings: usize,
}

impl<S: Serialize> Serialize for Restart<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let intervals = self.intervals.iter().map(IntervalForm::from).collect();
        let inner = &self.inner;
        RestartForm {
            inner,
            intervals,
            least_steps: self.least_steps,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Solver + Deserialize<'de>> Deserialize<'de> for Restart<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RestartForm::<S>::deserialize(deserializer)?;
        let solver = Self::new(form.inner).on_grids_from(form.least_steps);
        form.intervals
            .into_iter()
            .try_fold(solver, |solver, interval| {
                let IntervalForm {
                    rho_min,
                    rho_max,
                    repeats,
                    steps,
                } = interval;
                solver.with_interval(rho_min.0, rho_max.0, repeats, steps)
            })
            .map_err(D::Error::custom)
    }
}

impl From<&Interval> for IntervalForm {
    fn from(interval: &Interval) -> Self {
        Self {
            rho_min: Finite(interval.rho_min),
            rho_max: Finite(interval.rho_max),
            repeats: interval.repeats,
            steps: interval.steps,
        }
    }
}

impl<S: Serialize> Serialize for RePaint<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        RePaintForm {
            inner: &self.solver,
            jump_length: self.jump_length,
            resamplings: self.resamplings,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Solver + Deserialize<'de>> Deserialize<'de> for RePaint<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RePaintForm::<S>::deserialize(deserializer)?;
        Self::new(form.inner, form.jump_length, form.resamplings).map_err(D::Error::custom)
    }
}
