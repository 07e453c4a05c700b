//! A schedule whose network is told other times.

use std::sync::Arc;

use super::request::NetworkTime;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::{LambdaRange, NoiseSchedule};

/// A schedule whose network is told other times.
#[derive(Clone, Debug)]
pub(super) struct Retimed {
    pub(super) inner: Arc<dyn NoiseSchedule>,
    pub(super) told: Told,
}

/// What a network is told of a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    /// A function of the level's own time, of T training times.
    Listed { map: NetworkTime, table: f64 },
    /// ln(σ)/4, of EDM's networks. Of the clean end it is told nothing, and its time is 0.
    EdmNoise,
    /// (2/π) arctan σ, of Stable Audio's.
    Angle,
}

impl Told {
    pub(super) fn of(self, level: NoiseLevel) -> NoiseLevel {
        let time = match self {
            Self::Listed { map, table } => map.of(level.model_time(), table),
            _ if level.is_clean() => return level,
            Self::EdmNoise => Prediction::edm_noise(&level),
            Self::Angle => libm::atan(level.sigma()) / std::f64::consts::PI * 2.0,
        };
        level.with_model_time(time)
    }
}

impl NoiseSchedule for Retimed {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        Ok(self.told.of(self.inner.level(time)?))
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
        Ok(self.told.of(self.inner.knot_level(knot)?))
    }
}
