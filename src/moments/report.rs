//! The distribution after every step beside the truth, as data that prints.

use std::fmt;

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::Gaussian;
use crate::plan::Plan;

/// The exact distribution of the state after every step, beside the one that it should have there.
///
/// Made by [`Sampler::moment_report`](crate::Sampler::moment_report) and
/// [`Sampler::guided_moment_report`](crate::Sampler::guided_moment_report). It prints as a table.
/// Moments say nothing of modes: see [`ModeReport`](crate::modes::ModeReport).
///
/// ```
/// use diffusion_sampler::{Grid, Sampler, oracle::Gaussian};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
/// let report = sampler.moment_report(&Gaussian::isotropic(&[2.0], 0.25)?)?;
/// println!("{report}");
/// assert_eq!(report.steps().len(), 10);
/// assert!(report.last().wasserstein < 0.2);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MomentReport {
    start: StepMoments,
    steps: Vec<StepMoments>,
}

/// The state at one level, beside the truth.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepMoments {
    /// The level.
    pub level: NoiseLevel,
    /// The state's exact distribution.
    pub state: Gaussian,
    /// The distribution that it should have.
    pub truth: Gaussian,
    /// Their 2-Wasserstein distance, the root of the Fréchet distance; in the units of x.
    pub wasserstein: f64,
    /// KL(state ‖ truth) in nats; `None` where one of them has no density.
    pub kl: Option<f64>,
}

impl MomentReport {
    pub(crate) fn new(
        plan: &Plan,
        initial: &Gaussian,
        states: Vec<Gaussian>,
        truth: impl Fn(&NoiseLevel) -> Result<Gaussian, Error>,
    ) -> Result<Self, Error> {
        let beside = |level: NoiseLevel, state: Gaussian| {
            let truth = truth(&level)?;
            let dense = state.has_density() && truth.has_density();
            Ok(StepMoments {
                level,
                wasserstein: state.wasserstein_squared(&truth)?.sqrt(),
                kl: dense.then(|| state.kl(&truth)).transpose()?,
                state,
                truth,
            })
        };
        let steps = plan.steps().iter().zip(states);
        Ok(Self {
            start: beside(plan.start(), initial.copied()?)?,
            steps: steps
                .map(|(step, state)| beside(step.to, state))
                .all_listed()?,
        })
    }

    /// The initial distribution.
    pub fn start(&self) -> &StepMoments {
        &self.start
    }

    /// The state after every step.
    pub fn steps(&self) -> &[StepMoments] {
        &self.steps
    }

    /// The result.
    pub fn last(&self) -> &StepMoments {
        self.steps.last().unwrap_or(&self.start)
    }
}

/// The root mean square of the deviations along the axes.
fn deviation(gaussian: &Gaussian) -> f64 {
    let variances = gaussian.variances();
    (variances.iter().sum::<f64>() / variances.len() as f64).sqrt()
}

/// |m − m'|.
fn miss(step: &StepMoments) -> f64 {
    let pairs = step.state.mean().iter().zip(step.truth.mean());
    pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// A table by step: how far the mean is off, the deviations (root mean square over the axes) of
/// state and truth, W₂ and KL.
impl fmt::Display for MomentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>5} {:>9} {:>11} {:>10} {:>10} {:>10} {:>11}",
            "step", "lambda", "mean off by", "deviation", "truth", "W2", "KL (nats)"
        )?;
        let rows = std::iter::once(&self.start).chain(&self.steps);
        for (index, step) in rows.enumerate() {
            let name = match index {
                0 => "start".to_owned(),
                index => index.to_string(),
            };
            write!(
                f,
                "{name:>5} {:>9.3} {:>11.4e} {:>10.5} {:>10.5} {:>10.5}",
                step.level.lambda(),
                miss(step),
                deviation(&step.state),
                deviation(&step.truth),
                step.wasserstein,
            )?;
            match step.kl {
                Some(kl) => writeln!(f, " {kl:>11.4e}")?,
                None => writeln!(f, " {:>11}", "-")?,
            }
        }
        Ok(())
    }
}
