//! A schedule that was generated, and says how.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::schedule::{LambdaRange, NoiseSchedule};

/// Any schedule, with the expression that makes it: what the [strategies](super::strategies)
/// generate.
///
/// A failed case shows the expression, not a table of a thousand numbers.
///
/// ```
/// use diffusion_sampler::{schedule::{NoiseSchedule, RectifiedFlow}, testing::AnySchedule};
///
/// let any = AnySchedule::new("RectifiedFlow::shifted(3.0)?", RectifiedFlow::shifted(3.0)?);
/// assert_eq!(format!("{any:?}"), "RectifiedFlow::shifted(3.0)?");
/// assert_eq!(any.level(0.5)?.sigma(), 0.75);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone)]
pub struct AnySchedule {
    recipe: String,
    schedule: Arc<dyn NoiseSchedule>,
}

impl AnySchedule {
    /// A schedule and the expression that makes it.
    pub fn new(recipe: impl Into<String>, schedule: impl NoiseSchedule + 'static) -> Self {
        Self {
            recipe: recipe.into(),
            schedule: Arc::new(schedule),
        }
    }

    /// The expression that makes it.
    pub fn recipe(&self) -> &str {
        &self.recipe
    }
}

/// The expression that makes it.
impl fmt::Debug for AnySchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.recipe)
    }
}

impl NoiseSchedule for AnySchedule {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        self.schedule.level(time)
    }

    fn last_time(&self) -> f64 {
        self.schedule.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.schedule.time_of_lambda(lambda)
    }

    fn time_of_flow_sigma(&self, sigma: f64) -> Result<f64, Error> {
        self.schedule.time_of_flow_sigma(sigma)
    }

    fn lambda_range(&self) -> LambdaRange {
        self.schedule.lambda_range()
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        self.schedule.start_variance(level)
    }

    fn table_len(&self) -> Option<usize> {
        self.schedule.table_len()
    }

    fn knot_time(&self, knot: f64) -> Result<f64, Error> {
        self.schedule.knot_time(knot)
    }

    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        self.schedule.knot_level(knot)
    }
}
