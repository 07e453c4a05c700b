//! A schedule whose network is told other times.

use std::sync::Arc;

use super::request::NetworkTime;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::schedule::{LambdaRange, NoiseSchedule};

/// A schedule whose network is told other times: a function of the listed ones.
#[derive(Clone, Debug)]
pub(super) struct Retimed {
    pub(super) inner: Arc<dyn NoiseSchedule>,
    pub(super) map: NetworkTime,
    /// T.
    pub(super) table: f64,
}

impl Retimed {
    fn told(&self, level: NoiseLevel) -> NoiseLevel {
        level.with_model_time(self.map.of(level.model_time(), self.table))
    }
}

impl NoiseSchedule for Retimed {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        Ok(self.told(self.inner.level(time)?))
    }

    fn last_time(&self) -> f64 {
        self.inner.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.inner.time_of_lambda(lambda)
    }

    fn lambda_range(&self) -> LambdaRange {
        self.inner.lambda_range()
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        self.inner.start_variance(level)
    }

    fn table_len(&self) -> Option<usize> {
        self.inner.table_len()
    }

    fn knot_time(&self, knot: f64) -> Result<f64, Error> {
        self.inner.knot_time(knot)
    }

    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        Ok(self.told(self.inner.knot_level(knot)?))
    }
}
