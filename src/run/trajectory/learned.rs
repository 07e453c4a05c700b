//! A run of a network that gives the variance beside its prediction.

use ndarray::{ArrayRef, Axis, Dimension, Slice};

use super::Trajectory;
use crate::apply::batch_of;
use crate::denoiser::Denoiser;
use crate::element::ModelElement;
use crate::error::{Error, RunError, require_shape};
use crate::guidance::is_unguided;
use crate::kernel;
use crate::noise::{LearnedNoise, NoiseSource};
use crate::real::Real;
use crate::run::buffers;
use crate::run::learned::{NAME, factor};

impl<A, D, S> Trajectory<A, D, LearnedNoise<A, S>>
where
    A: Real,
    D: Dimension,
    S: NoiseSource<A> + Sync,
{
    /// Takes the network's second output f for the update to come, of the shape of the state: the
    /// noise of this step has the variance v = exp(u ln β + (1 − u) ln γ²), u = (f + 1)/2, element
    /// by element ([`learned_variance`](crate::posterior::StridedPosterior::learned_variance)),
    /// where γ is the plan's own noise: the plan has v_p = γ², which is the default of
    /// [`FirstOrder`](crate::solver::FirstOrder).
    ///
    /// For outputs that combine: after it come [`tell`](Self::tell),
    /// [`tell_guided`](Self::tell_guided) and the others. A guided run takes the f of the
    /// conditional output. On a step that adds no noise f is checked, and not used.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] for an f that is not finite;
    /// [`Error::RunFinished`]; [`Error::StageCount`] for a plan whose step has several stages: a
    /// network's variance is that of one jump; [`Error::DeterministicLikelihood`] on an edge with γ
    /// = 0, of which there is no logarithm; [`Error::DegenerateEdge`] where a step without a history
    /// has another v_p than γ², to 1e-9 of it. The run is then what it was.
    pub fn interpolate<O: ModelElement<A>>(&mut self, f: &ArrayRef<O, D>) -> Result<(), Error> {
        self.settle()?;
        require_shape(NAME, self.state().shape(), f.shape())?;
        let index = self.driver.step();
        self.driver.require_unfinished()?;
        kernel::find_non_finite::<A, O, D>(f, index, NAME)?;
        let range = self.driver.learned_range()?;
        let (_, elements) = batch_of(self.machine.state())?;
        let factors = f.iter().map(|f| factor(f.widened(), range));
        self.noise.set(index, elements, factors)
    }

    /// Takes the prediction and the network's second output f at the level that
    /// [`ask`](Self::ask) gave, both of the shape of the state, and applies the update.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, noise::LearnedNoise};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::cosine(1000)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    /// let noise = LearnedNoise::new(KeyedNoise::new(1));
    /// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, noise)?;
    /// while let Some(question) = run.ask()? {
    ///     let noise = question.x.mapv(|x| x * question.level().sigma() as f32);
    ///     let f = Array2::from_elem((4, 2), -0.5f32);
    ///     run.tell_learned(&noise, &f)?;
    /// }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`interpolate`](Self::interpolate) and [`tell`](Self::tell).
    pub fn tell_learned<O: ModelElement<A>>(
        &mut self,
        output: &ArrayRef<O, D>,
        f: &ArrayRef<O, D>,
    ) -> Result<(), Error> {
        self.interpolate(f)?;
        self.tell(output)
    }

    /// Takes one step with a model of two outputs: the prediction, and f. One call of the network
    /// gives both; [`split_channels`](crate::denoiser::split_channels) cuts what it returns.
    ///
    /// An empty state takes its steps without calling the model.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance) and [`interpolate`](Self::interpolate);
    /// [`Error::TooFewOutputs`]; [`Error::NestedGuidance`] for a guided model, whose outputs are
    /// not these two.
    pub fn advance_learned<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>> {
        self.driver.require_unfinished()?;
        self.check_learned(model)?;
        if self.machine.state().is_empty() {
            self.driver.advance_step();
            return Ok(());
        }
        let Some(query) = self.driver.query() else {
            return Ok(self.settle()?);
        };
        let samples = self.machine.x.shape()[0];
        let mut shape = self.machine.x.raw_dim();
        shape[0] = samples.saturating_mul(2);
        let mut outputs = match self.machine.outputs.take() {
            // Equivalent mutant: replace match guard outputs.raw_dim() == shape with false: a new
            // buffer each time is slower and holds the same.
            Some(outputs) if outputs.raw_dim() == shape => outputs,
            _ => buffers::unwritten(shape.clone())?,
        };
        buffers::mark_unwritten(&mut outputs, 2 * samples);
        let query = query.with_outputs(2);
        let called = model.denoise(&self.machine.x, &query, &mut outputs);
        if outputs.raw_dim() != shape {
            let name = "output buffer";
            return Err(Error::LayoutChanged { name }.into());
        }
        let told = called
            .map_err(RunError::Denoiser)
            .and_then(|()| Ok(self.tell_halves(&outputs, samples)?));
        self.machine.outputs = Some(outputs);
        told
    }

    /// Runs the plan to its end with a model of two outputs; see
    /// [`advance_learned`](Self::advance_learned).
    ///
    /// # Errors
    ///
    /// As [`advance_learned`](Self::advance_learned).
    pub fn complete_learned<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>> {
        while !self.is_finished() {
            self.advance_learned(model)?;
        }
        Ok(())
    }

    fn check_learned<M: Denoiser<A, D> + ?Sized>(&self, model: &M) -> Result<(), Error> {
        let (expected, found) = (self.driver.prediction(), model.prediction());
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            });
        }
        let guidance = model.guidance()?;
        if !is_unguided(guidance) {
            return Err(Error::NestedGuidance {
                outer: "learned variance",
                inner: guidance.name(),
            });
        }
        match model.outputs() {
            Some(found) if found < 2 => Err(Error::TooFewOutputs {
                guidance: "learned variance",
                wanted: 2,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Tells both outputs, one behind the other.
    fn tell_halves(&mut self, outputs: &ArrayRef<A, D>, samples: usize) -> Result<(), Error> {
        let half = |start: usize| {
            let rows = Slice::from(start * samples..(start + 1) * samples);
            outputs.slice_axis(Axis(0), rows)
        };
        let told = match self.interpolate(&half(1)) {
            Ok(()) => self.tell(&half(0)),
            refused => refused,
        };
        if told.is_err() {
            for index in 0..2 {
                buffers::find_unwritten(&half(index), self.driver.step(), index, |_, _| true)?;
            }
        }
        told
    }
}
