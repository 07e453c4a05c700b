//! One run of positions at levels of their own.

use ndarray::{Array, ArrayRef, ArrayViewMut, Dimension};

use super::{PositionSampler, PositionSchedule, check_combine};
use crate::denoiser::{Denoiser, Query};
use crate::element::ModelElement;
use crate::error::{Error, RunError};
use crate::guidance::{Combination, Guidance, Unguided};
use crate::level::NoiseLevel;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::DdimStep;
use crate::run::combiner;
use crate::run::machine::Machine;
use crate::run::outputs::Combine;
use crate::run::trajectory::Question;

/// One run of a [`PositionSampler`]: positions along an axis walk down a grid, each in its own time.
///
/// As in a [`Trajectory`](crate::Trajectory), [`ask`](Self::ask) says on which state and at which
/// levels the model is wanted, [`tell`](Self::tell) takes its output, and
/// [`complete`](Self::complete) does both with a [`Denoiser`] that
/// [reads the levels](Denoiser::reads_positions). The model is called once a step for all positions;
/// a step in which none moves is left out. What it says of a position that stays is not looked at,
/// and may be NaN.
///
/// ```
/// use diffusion_sampler::run::{PositionSampler, PositionSchedule};
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction};
/// use diffusion_sampler::{posterior::Kappa, schedule::RectifiedFlow};
/// use ndarray::Array3;
///
/// // Diffusion forcing: each token two steps behind the one before it.
/// let grid = Grid::trailing(&RectifiedFlow::new(), 10)?;
/// let sampler = PositionSampler::new(PositionSchedule::staircase(&grid, 5, 2)?, 1, Kappa::Ddim)?;
/// let mut run = sampler.start::<f32, _, _>((1, 5, 8), Prediction::Flow, KeyedNoise::new(1))?;
/// while let Some(question) = run.ask()? {
///     // Your network goes here, with the time of each token.
///     let time = |token| question.query.level_at(0, token).map(|level| level.model_time());
///     assert!(time(0) <= time(1));
///     let velocity = Array3::from_shape_fn((1, 5, 8), |at| question.x[at]);
///     run.tell(&velocity)?;
/// }
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PositionRun<A, D: Dimension, N = KeyedNoise> {
    sampler: PositionSampler,
    prediction: Prediction,
    machine: Machine<A, D>,
    noise: N,
    /// The next step and its number; none at the end.
    next: Option<(usize, DdimStep)>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> PositionRun<A, D, N> {
    pub(super) fn new(
        sampler: PositionSampler,
        prediction: Prediction,
        (machine, step): (Machine<A, D>, usize),
        noise: N,
    ) -> Result<Self, Error> {
        let run = Self {
            next: sampler.next(step)?,
            sampler,
            prediction,
            machine,
            noise,
        };
        if let Some((step, next)) = &run.next {
            let instruction = next.instruction(*step as u32);
            check_combine(&instruction, Combine::Given(&[]), prediction)?;
        }
        Ok(run)
    }

    /// What to evaluate next; `None` when the run is finished.
    ///
    /// # Errors
    ///
    /// None: it is a result as that of [`Trajectory::ask`](crate::Trajectory::ask) is.
    pub fn ask(&self) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        let query = self.query()?;
        Ok(query.map(|query| self.question(query)))
    }

    /// The same for [`tell_guided`](Self::tell_guided): [`query.outputs()`](Query::outputs) says how
    /// many outputs `guidance` wants, the most of all positions.
    ///
    /// # Errors
    ///
    /// [`Error::NotPerPosition`] for guidance that looks at whole samples, where levels differ; what
    /// the guidance refuses.
    pub fn ask_guided(
        &self,
        guidance: &dyn Guidance,
    ) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        let (Some(query), Some((step, next))) = (self.query()?, &self.next) else {
            return Ok(None);
        };
        let instruction = next.instruction(*step as u32);
        check_combine(&instruction, Combine::By(guidance), self.prediction)?;
        let wanted = combiner::wanted(guidance, &query, self.prediction)?;
        Ok(Some(self.question(query.with_outputs(wanted))))
    }

    fn query(&self) -> Result<Option<Query<'_>>, Error> {
        match &self.next {
            Some((step, next)) => {
                let instruction = next.instruction(*step as u32);
                instruction.query_for(self.state().shape())
            }
            None => Ok(None),
        }
    }

    fn question<'a>(&'a self, query: Query<'a>) -> Question<'a, ArrayRef<A, D>> {
        Question {
            x: self.machine.state(),
            query,
            stage: 0,
        }
    }

    /// Takes the model's output at the levels that [`ask`](Self::ask) gave, and applies the step.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] after the last step, [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn tell<O: ModelElement<A>>(&mut self, output: &ArrayRef<O, D>) -> Result<(), Error> {
        self.tell_by(Combine::By(&Unguided), &[output])
    }

    /// Takes the outputs that `guidance` wants, and combines them by it, with its weights at the
    /// level of each position.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell); [`Error::WrongLength`] for fewer outputs than the guidance reads; as
    /// [`ask_guided`](Self::ask_guided).
    pub fn tell_guided<O: ModelElement<A>>(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::By(guidance), outputs)
    }

    /// Takes several outputs and the weights by which they combine, the same for all positions.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless it has as many outputs as there
    /// are.
    pub fn tell_combined<O: ModelElement<A>>(
        &mut self,
        combination: &Combination,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::Given(std::slice::from_ref(combination)), outputs)
    }

    fn tell_by<O: ModelElement<A>>(
        &mut self,
        combine: Combine<'_>,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        let Some((step, next)) = &self.next else {
            return Err(self.finished());
        };
        let instruction = next.instruction(*step as u32);
        let (prediction, noise) = (self.prediction, &mut self.noise);
        self.machine
            .tell_all(&instruction, prediction, combine, outputs, (noise, None))?;
        self.go_on()
    }

    /// Takes one step with `model`, which may be guided. An empty state takes its steps without the
    /// model.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`], [`Error::PredictionMismatch`], [`Error::PositionsNotRead`],
    /// [`Error::NotPerPosition`], [`Error::NonFinite`], [`Error::OutputNotWritten`]; what the model's
    /// guidance refuses; the model's own error.
    pub fn advance<M>(&mut self, model: &mut M) -> Result<(), RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
    {
        let Some((step, next)) = &self.next else {
            return Err(self.finished().into());
        };
        let (expected, found) = (self.prediction, model.prediction());
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            }
            .into());
        }
        let instruction = next.instruction(*step as u32);
        self.machine
            .take_observed(&instruction, model, &mut self.noise, None)?;
        Ok(self.go_on()?)
    }

    /// Runs to the end with `model`.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub fn complete<M>(&mut self, model: &mut M) -> Result<(), RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
    {
        while !self.is_finished() {
            self.advance(model)?;
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), Error> {
        self.next = self.sampler.next(self.step() + 1)?;
        Ok(())
    }

    fn finished(&self) -> Error {
        let steps = self.schedule().steps();
        Error::RunFinished { steps }
    }

    /// The state.
    pub fn state(&self) -> &ArrayRef<A, D> {
        self.machine.state()
    }

    /// The state, for edits between steps.
    pub fn state_mut(&mut self) -> ArrayViewMut<'_, A, D> {
        self.machine.state_mut()
    }

    /// The state, when the run is over.
    pub fn into_state(self) -> Array<A, D> {
        self.machine.into_parts().0
    }

    /// The next step, counted from 0, steps in which nothing moves included; the number of all at
    /// the end.
    pub fn step(&self) -> usize {
        let steps = self.schedule().steps();
        self.next.as_ref().map_or(steps, |(step, _)| *step)
    }

    /// Whether all steps have been taken.
    pub fn is_finished(&self) -> bool {
        self.next.is_none()
    }

    /// The level of a position now; `None` for a position that there is not.
    pub fn level(&self, position: usize) -> Option<NoiseLevel> {
        self.schedule().level(self.step(), position)
    }

    /// The schedule.
    pub fn schedule(&self) -> &PositionSchedule {
        self.sampler.schedule()
    }

    /// What the run's model predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }
}
