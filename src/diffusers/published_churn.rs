//! Euler's step with churn, and as the library takes it.

use std::sync::Arc;

use super::Defect;
use super::reading::Reading;
use crate::error::Error;
use crate::grid::Grid;
use crate::plan::{Plan, Step, Update};
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use crate::solver::{Churn, Euler, FirstOrder, Path, Solver};

/// Euler's method on a grid, with the request's churn where there is one. `calls` is the number of
/// the library's calls, by which it divides S_churn.
pub(super) fn euler(
    reading: &Reading<'_>,
    (schedule, grid): (&dyn NoiseSchedule, &Grid),
    prediction: Prediction,
    calls: usize,
) -> Arc<dyn Solver> {
    let Some(churn) = reading.request().churn else {
        return Arc::new(FirstOrder::ddim());
    };
    reading.uses("churn");
    let churned = |rho: f64| churn.growth(rho, calls);
    if !grid.edges().any(|(from, _)| churned(from.rho()) > 0.0) {
        return Arc::new(FirstOrder::ddim());
    }
    if reading.defect(Defect::ChurnAfterTheCall) {
        return Arc::new(PublishedChurn {
            churn,
            calls,
            prediction,
        });
    }
    let most = libm::exp(-schedule.lambda_range().noisy());
    if grid.edges().any(|(from, _)| {
        let rho = from.rho();
        // Equivalent mutant: replace > with >=: either is right at the border of a tolerance.
        rho.is_finite() && rho * (1.0 + churned(rho)) > most * (1.0 + 1e-12)
    }) {
        reading.note("churn goes up to the noisy end of the schedule and not beyond");
    }
    // The crate's divides by the steps of the run, which a strength makes fewer.
    let run = reading.kept_by_strength(grid.steps());
    Arc::new(Euler::new().with_churn(churn.times(run as f64 / calls as f64)))
}

/// The noise is added after the network's call, whose output is then read as if it were of the
/// noisier state: of v with the coefficients of the level before the noise, of the others with
/// those after.
#[derive(Clone, Copy, Debug)]
struct PublishedChurn {
    churn: Churn,
    calls: usize,
    prediction: Prediction,
}

impl PublishedChurn {
    /// D of the noisier state as a x̂ + b D + c z', where D is that of the state before and z' the
    /// noise added: (a, b, c).
    fn data(&self, rho: f64, churned: f64) -> (f64, f64, f64) {
        match self.prediction {
            Prediction::Edm { data_std } | Prediction::EdmVelocity { data_std } => {
                let skip = |rho: f64| {
                    let ratio = data_std / libm::hypot(rho, data_std);
                    ratio * ratio
                };
                // c_out over σ_data, which cancels in the quotient.
                let out = |rho: f64| rho / libm::hypot(rho, data_std);
                let kept = out(churned) / out(rho);
                (skip(churned) - kept * skip(rho), kept, skip(churned))
            }
            Prediction::Velocity => (0.0, 1.0, 1.0 / (rho * rho + 1.0)),
            Prediction::Data | Prediction::Linear { noise: 0.0, .. } => (0.0, 1.0, 0.0),
            _ => (1.0 - churned / rho, churned / rho, 1.0),
        }
    }
}

impl Solver for PublishedChurn {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let rho = from.rho();
            let churned = rho * (1.0 + self.churn.growth(rho, self.calls));
            let (state, data, noise) = self.data(rho, churned);
            let step = to.rho() / churned - 1.0;
            let spread = ((churned - rho) * (churned + rho)).sqrt() * self.churn.noise_scale();
            let update = Update {
                state: to.alpha() / from.alpha() * (1.0 + (1.0 - state) * step),
                data: -to.alpha() * data * step,
                noise: to.alpha() * spread * (1.0 + (1.0 - noise) * step),
                ..Update::default()
            };
            Ok(Step::simple(from, to, update))
        });
        Plan::new(steps.collect::<Result<_, Error>>()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}
