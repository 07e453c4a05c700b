//! Which sampler for a checkpoint.

use std::collections::HashMap;

use ndarray::ArrayRef2;

use super::ranking::{Candidate, Ranking, Reason, Refusal};
use super::spectrum::{Spectrum, small_to_zero};
use super::surrogate::Surrogate;
use crate::error::{Error, require};
use crate::grid::{Grid, Spacing, spacings};
use crate::memory::Listed;
use crate::noise::KeyedNoise;
use crate::oracle::{Gaussian, sample_moments};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::registry::{Entry, entries};
use crate::sampler::Sampler;
use crate::schedule::NoiseSchedule;
use crate::solver::Solver;

/// Which sampler for my checkpoint: every solver that has a name ([`registry`](crate::registry)) on
/// every spacing that has one ([`spacings`]), within a budget of evaluations of the network, ranked
/// by exact error.
///
/// The schedule and the prediction are the checkpoint's. What is known of the data is a Gaussian, a
/// sample, or nothing: then [`Spectrum::images`]. The error is W₂ of the sampler's exact
/// distribution from the data, in percent of the data's rms deviation, with an exact model: it ranks
/// what the samplers do to the linear part of the problem, and knows nothing of modes or of the
/// network's errors. The warnings of [`StabilityReport`](crate::stability::StabilityReport) say
/// where a model's errors would be multiplied.
///
/// A solver takes as many steps as the budget pays for (with two evaluations a step, half as many)
/// and the spacing has. Not candidates: samplers of distilled models (LCM, TCD), those that are
/// themselves under CFG++ only, inversion, RePaint, and published mistakes that are kept for parity.
/// They are listed among the refused, and so is what the prediction cannot do (ε at α = 0), each
/// with its reason.
///
/// **Units.** The data are those that the schedule adds noise to, in its units. The default has a
/// mean variance of 0.25, which is that of pixels from −1 to 1. Latents are scaled to about 1, and
/// are another distribution than pixels: give a sample of them, or at least
/// [`Spectrum::with_mean`]. **Guidance** is not known here either: a guided model leads to another
/// distribution than the data's, and errors under a strong scale are larger.
///
/// ```
/// use diffusion_sampler::{Prediction, schedule::TableSchedule, tuning::Choice};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let ranking = Choice::new(&schedule, Prediction::Noise, 10).without_noise().rank()?;
/// let best = ranking.best().expect("a sampler fits into 10 evaluations");
/// println!("{} on {}: {:.2} %", best.solver, best.spacing, best.error);
/// assert!(best.evaluations <= 10 && best.error < 3.0);
/// assert_eq!(best.sampler().plan().evaluations(), best.evaluations);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    schedule: &'a dyn NoiseSchedule,
    prediction: Prediction,
    budget: usize,
    noise: bool,
    data: Option<Gaussian>,
}

impl<'a> Choice<'a> {
    /// For a checkpoint with this schedule and prediction, and at most `budget` evaluations of the
    /// network a sample.
    pub fn new(schedule: &'a dyn NoiseSchedule, prediction: Prediction, budget: usize) -> Self {
        Self {
            schedule,
            prediction,
            budget,
            noise: true,
            data: None,
        }
    }

    /// The same with deterministic samplers only.
    #[must_use]
    pub fn without_noise(self) -> Self {
        Self {
            noise: false,
            ..self
        }
    }

    /// The same for data with this mean and spectrum, in the model's units. [`Spectrum::gaussian`]
    /// makes one of a spectrum.
    #[must_use]
    pub fn with_data(self, data: &Gaussian) -> Self {
        Self {
            data: Some(data.clone()),
            ..self
        }
    }

    /// The same for data like these rows \[n, d\]. The covariance's eigenvectors take O(d³): for
    /// large images take a patch, or a spectrum.
    ///
    /// # Errors
    ///
    /// As [`sample_moments`] and [`Gaussian::new`].
    pub fn with_sample<A: Real>(self, rows: &ArrayRef2<A>) -> Result<Self, Error> {
        let (mean, covariance) = sample_moments(rows)?;
        Ok(self.with_data(&Gaussian::new(&mean, &covariance)?))
    }

    /// The ranked list.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a budget of 0 or above 1000, or for data without variance.
    /// What a solver or a spacing refuses is no error, but part of the answer.
    ///
    /// The time grows with the budget and with the directions of the data.
    pub fn rank(&self) -> Result<Ranking, Error> {
        let budget = self.budget as f64;
        require(
            (1..=MOST).contains(&self.budget),
            "budget",
            budget,
            "1 to 1000",
        )?;
        let data = match &self.data {
            Some(data) => data.clone(),
            None => {
                let spectrum = Spectrum::images();
                spectrum.gaussian(spectrum.variances().len())?
            }
        };
        let surrogate = Surrogate::gaussian(&data)?;
        let task = Task {
            choice: self,
            coarse: coarse(surrogate.moments())?,
            surrogate,
        };
        let (mut candidates, mut refused) = (Vec::new(), Vec::new());
        let mut grids = HashMap::new();
        for entry in entries() {
            let refusal = |spacing, reason| Refusal {
                solver: entry.name,
                spacing,
                reason,
            };
            if let Some(why) = no_candidate(entry) {
                refused.push(refusal(None, Reason::NoCandidate(why)));
                continue;
            }
            let solver = entry.solver()?;
            for spacing in spacings().iter().map(|entry| entry.spacing) {
                match task.candidate(entry, &solver, spacing, &mut grids) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(reason) => refused.push(refusal(Some(spacing), reason)),
                }
            }
        }
        Ok(Ranking::new(self.budget, candidates, refused))
    }
}

/// The largest budget: from there on the choice does not matter, and ranking takes long.
const MOST: usize = 1000;
/// So many numbers of steps in a row that do not fit end the search for more.
const BEYOND: usize = 3;
/// Directions along which errors are followed: it costs more than the moments do.
const DIRECTIONS: usize = 64;

/// Why an entry is no sampler for a plain checkpoint.
fn no_candidate(entry: &Entry) -> Option<&'static str> {
    match entry.name {
        _ if entry.plus_plus => Some("is itself under CFG++ only"),
        "LCM" | "LCM with boundary" => Some("is for consistency models"),
        "TCD" => Some("is for trajectory consistency models"),
        "DDIM inversion" => Some("leads from data to noise"),
        "RePaint" => Some("is for inpainting"),
        name if name.ends_with("as published") => Some("keeps a published mistake, for parity"),
        _ => None,
    }
}

/// The data along its axes, or as many directions as are followed: each stands for a share of
/// them, from the largest variances on. Variance and square of the mean are summed over the share,
/// in units in which their means, the unit of errors among them, are the data's.
fn coarse(data: &Gaussian) -> Result<Gaussian, Error> {
    let d = data.variances().len();
    if d <= DIRECTIONS {
        return data.copied();
    }
    let pairs: Vec<(f64, f64)> = {
        let variances = data.variances().iter().copied();
        variances.zip(data.mean().iter().copied()).listed()?
    };
    let pairs = crate::memory::sorted(&pairs, |a, b| b.0.total_cmp(&a.0))?;
    let scale = DIRECTIONS as f64 / d as f64;
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    for k in 0..DIRECTIONS {
        let share = &pairs[k * d / DIRECTIONS..(k + 1) * d / DIRECTIONS];
        let square: f64 = share.iter().map(|(_, m)| m * m).sum();
        let variance: f64 = share.iter().map(|(v, _)| v).sum();
        means.push((scale * square).sqrt());
        variances.push(small_to_zero(scale * variance));
    }
    Gaussian::diagonal(&means, &variances)
}

type Grids = HashMap<(Spacing, usize), Result<Grid, Error>>;

struct Task<'a, 'c> {
    choice: &'c Choice<'a>,
    surrogate: Surrogate,
    coarse: Gaussian,
}

impl Task<'_, '_> {
    fn candidate(
        &self,
        entry: &'static Entry,
        solver: &dyn Solver,
        spacing: Spacing,
        grids: &mut Grids,
    ) -> Result<Candidate, Reason> {
        let (steps, sampler) = self.within_budget(solver, spacing, grids)?;
        if !self.choice.noise && sampler.plan().is_stochastic() {
            return Err(Reason::Noise);
        }
        // A run of no samples checks what any run checks.
        let prediction = self.choice.prediction;
        sampler.start::<f64, _, _>((0, 1), prediction, KeyedNoise::new(0))?;
        let error = self.surrogate.error(&sampler)?;
        let warnings = sampler.stability(&self.coarse)?.warnings();
        Ok(Candidate::new(
            entry.name, spacing, steps, error, warnings?, sampler,
        ))
    }

    /// The sampler of the most steps that the budget pays for and the spacing has.
    fn within_budget(
        &self,
        solver: &dyn Solver,
        spacing: Spacing,
        grids: &mut Grids,
    ) -> Result<(usize, Sampler), Reason> {
        let budget = self.choice.budget;
        let (mut steps, mut most) = (budget, budget);
        let mut found = loop {
            let sampler = match self.sampler(solver, (spacing, steps), grids) {
                // Some spacings are short lists of knots.
                Err(Error::StepCount { max, .. }) if (1..steps).contains(&max) => {
                    (steps, most) = (max, max);
                    continue;
                }
                sampler => sampler?,
            };
            let evaluations = sampler.plan().evaluations();
            if evaluations <= budget {
                break (steps, sampler);
            }
            if steps == 1 {
                return Err(Reason::Budget(evaluations));
            }
            // About as many as fit, and one less at least.
            let fitting = (steps * budget).div_ceil(evaluations) + 1;
            steps = fitting.min(steps - 1);
        };
        // Where only some of the steps take more evaluations, more of them may fit after all.
        let mut beyond = 0;
        for steps in found.0 + 1..=most {
            match self.sampler(solver, (spacing, steps), grids) {
                Ok(more) if more.plan().evaluations() <= budget => {
                    (found, beyond) = ((steps, more), 0);
                }
                _ => beyond += 1,
            }
            if beyond == BEYOND {
                break;
            }
        }
        Ok(found)
    }

    fn sampler(
        &self,
        solver: &dyn Solver,
        (spacing, steps): (Spacing, usize),
        grids: &mut Grids,
    ) -> Result<Sampler, Error> {
        let schedule = self.choice.schedule;
        let grid = grids
            .entry((spacing, steps))
            .or_insert_with(|| spacing.grid(schedule, steps));
        Sampler::new(schedule, grid.as_ref().map_err(Clone::clone)?, solver)
    }
}
