//! One run that evaluates many steps in one call.

mod told;

use std::sync::Arc;

use ndarray::{Array, ArrayRef, Axis, Dimension, Slice};

use super::lane::{Evaluated, Lane, Place, Settings};
use super::noise::RowNoise;
use super::window::{Filling, Window};
use super::{ParallelReport, ParallelSampler};
use crate::apply::batch_of;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_length};
use crate::guidance::{Guidance, is_unguided, output_count};
use crate::memory;
use crate::memory::Copied;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::buffers::check_start;
use crate::run::combiner;
use crate::run::driver::Driver;
use crate::run::machine::Machine;

/// One run of a [`ParallelSampler`]: Picard iteration on the evaluations of the plan.
///
/// Each sample has a front, the first evaluation whose state is settled, and a window of
/// evaluations from there on with a guess of the state at each. One **sweep** evaluates the model
/// at all of them in one call, for all samples: rows at levels of their own. Then the plan's own
/// updates are taken in order from the front, with the model's outputs where they were computed and
/// the history, stages and keyed noise of the sequential run; that gives new states, and the front
/// moves up to the first that differs by more than the tolerance from the one at which the model
/// was evaluated.
///
/// The front's own state is exact, so it moves by one evaluation at least: a run of E evaluations
/// ends after at most E sweeps, with tolerance 0 in the sequential result, bit for bit where the
/// model gives a row the same bits in every batch. With a tolerance it ends earlier. Convergence is
/// decided for each sample by itself, and a sample that has ended is left alone: results do not
/// depend on what else is in the batch.
///
/// The plan is any: several stages, a history, noise, steps back up. The model has to say that it
/// takes such rows ([`Denoiser::reads_rows`], [`PerRow`](crate::denoiser::PerRow)); it finds the
/// level of each by [`Query::level_of`](crate::Query::level_of), the sample that it belongs to by
/// [`Query::sample_of`](crate::Query::sample_of). Noise must be a pure function of its key, since
/// it is drawn in every sweep.
///
/// As in a [`Trajectory`](crate::Trajectory), [`ask`](Self::ask) says where the model is wanted,
/// [`tell`](Self::tell) takes its outputs, and [`complete`](Self::complete) does both.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
/// use ndarray::{Array2, Axis};
///
/// let schedule = TableSchedule::cosine(1000)?;
/// let grid = Grid::trailing(&schedule, 40)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let parallel = sampler.parallel(16, 1e-3)?;
/// let mut run = parallel.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
/// while let Some(question) = run.ask()? {
///     // Your network goes here, with the time of each row: E[ε | x] of the standard normal, σx.
///     let mut noise: Array2<f32> = question.x.to_owned();
///     let levels = question.query.row_levels(question.x.nrows());
///     for (mut row, level) in noise.axis_iter_mut(Axis(0)).zip(levels) {
///         row.mapv_inplace(|x| level.sigma() as f32 * x);
///     }
///     run.tell(&noise)?;
/// }
/// println!("{}", run.report());
/// assert_eq!(run.into_state().dim(), (4, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ParallelRun<A, D: Dimension, N = KeyedNoise> {
    sampler: ParallelSampler,
    prediction: Prediction,
    noise: Arc<N>,
    lanes: Vec<Lane<A, D>>,
    window: Window<A, D>,
    /// The memory of the window before.
    spare: Option<Filling<A>>,
    /// The memory of the outputs.
    outputs: Vec<A>,
    state: Array<A, D>,
    report: ParallelReport,
    /// What has ended the run before its time.
    failed: Option<Error>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> ParallelRun<A, D, N> {
    pub(super) fn new(
        sampler: ParallelSampler,
        prediction: Prediction,
        x: Array<A, D>,
        noise: N,
    ) -> Result<Self, Error> {
        let (plan, clip) = (sampler.sampler.shared_plan(), sampler.sampler.clip());
        let batch = batch_of(&x)?;
        require_length("given history slots", plan.given(), 0)?;
        check_start(&x, "start state")?;
        if plan.is_stochastic() && noise.as_pure().is_none() {
            return Err(Error::NoiseNotRepeatable);
        }
        let (slots, evaluations) = (plan.slots(), plan.evaluations());
        let driver = Driver::new(plan, prediction, clip, (batch, &noise))?;
        let samples = if x.is_empty() { 0 } else { batch.0 };
        let mut shape = x.raw_dim();
        let most = sampler.window.min(evaluations.max(1));
        shape[0] = most.saturating_mul(samples);
        let mut run = Self {
            window: Filling::new(shape.slice())?.full(&x)?,
            spare: Some(Filling::new(shape.slice())?),
            sampler,
            prediction,
            noise: Arc::new(noise),
            lanes: memory::reserve(&[samples])?,
            outputs: Vec::new(),
            state: x,
            report: ParallelReport::new(samples, evaluations)?,
            failed: None,
        };
        for sample in 0..samples {
            let row = run.state.slice_axis(Axis(0), one(sample)).copy()?;
            let front = Place {
                driver: driver.clone(),
                machine: Machine::new(row, slots)?,
                evaluation: 0,
            };
            memory::push(&mut run.lanes, Lane { front, rows: 0 })?;
        }
        run.open()?;
        Ok(run)
    }

    fn settings(&self) -> Settings {
        Settings {
            window: self.sampler.window,
            tolerance: self.sampler.tolerance,
            data_variance: self.sampler.data_variance,
        }
    }

    /// The first windows of all samples.
    fn open(&mut self) -> Result<(), Error> {
        let settings = self.settings();
        let mut filling = self.filling()?;
        for (sample, lane) in self.lanes.iter_mut().enumerate() {
            let noise = (sample, &mut RowNoise::new(&self.noise, sample));
            lane.open(settings, noise, &mut filling)
                .map_err(|error| of_sample(error, sample))?;
            let mut row = self.state.slice_axis_mut(Axis(0), one(sample));
            row.assign(lane.front.machine.state());
        }
        self.refill(filling)
    }

    fn filling(&mut self) -> Result<Filling<A>, Error> {
        match self.spare.take() {
            Some(spare) => Ok(spare),
            None => Filling::new(&[0]),
        }
    }

    /// Puts the next window in the place of the last.
    fn refill(&mut self, filling: Filling<A>) -> Result<(), Error> {
        let next = filling.full(&self.state)?;
        self.spare = Some(std::mem::replace(&mut self.window, next).empty());
        Ok(())
    }

    /// Makes one sweep with `model`, which may be guided.
    ///
    /// # Errors
    ///
    /// [`Error::RowsNotRead`], [`Error::PredictionMismatch`], [`Error::OutputNotWritten`]; the
    /// model's own error; otherwise as [`tell_guided`](Self::tell_guided).
    pub fn advance<M>(&mut self, model: &mut M) -> Result<(), RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
    {
        self.check_failed()?;
        let rows = self.require_rows()?;
        let (expected, found) = (self.prediction, model.prediction());
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            }
            .into());
        }
        if !model.reads_rows() {
            return Err(Error::RowsNotRead.into());
        }
        let guidance = model.guidance()?;
        let plain = is_unguided(guidance);
        let Some(query) = self.window.query() else {
            return Ok(());
        };
        let wanted = combiner::wanted(guidance, &query, self.prediction)?;
        let mut outputs = self.buffer(wanted)?;
        let query = self.window.query().map(|query| match plain {
            true => query.combined(),
            false => query.with_outputs(wanted),
        });
        if let Some(query) = query {
            let (dim, mut view) = (outputs.raw_dim(), outputs.view_mut());
            model
                .denoise(&self.window.x, &query, &mut view)
                .map_err(RunError::Denoiser)?;
            if view.raw_dim() != dim {
                let name = "output buffer";
                return Err(Error::LayoutChanged { name }.into());
            }
        }
        self.check_written(&outputs, rows)?;
        let guidance = model.guidance()?;
        Ok(self.sweep(guidance, outputs, wanted)?)
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
        self.check_failed()?;
        while !self.is_finished() {
            self.advance(model)?;
        }
        Ok(())
    }

    /// The outputs' buffer, all of it unwritten: `count` for each row of the window.
    fn buffer(&mut self, count: usize) -> Result<Array<A, D>, Error> {
        output_count(count)?;
        let mut shape = self.window.x.raw_dim();
        shape[0] = count.saturating_mul(self.window.rows());
        let len = shape.slice().iter().product();
        let mut values = std::mem::take(&mut self.outputs);
        values.clear();
        memory::resize(&mut values, len, A::unwritten())?;
        let name = "output buffer";
        Array::from_shape_vec(shape, values).map_err(|_| Error::LayoutChanged { name })
    }

    fn check_written(&self, outputs: &Array<A, D>, rows: usize) -> Result<(), Error> {
        let per_row = outputs.len() / outputs.shape().first().copied().unwrap_or(1).max(1);
        let values = outputs.as_slice().unwrap_or(&[]);
        for (index, row) in values.chunks_exact(per_row.max(1)).enumerate() {
            let unwritten = |value: Option<&A>| value.is_some_and(|value| value.is_unwritten());
            if unwritten(row.first()) || unwritten(row.last()) {
                let (sample, step) = self.window.place(index % rows);
                let element = row.iter().position(|value| value.is_unwritten());
                return Err(Error::OutputNotWritten {
                    step,
                    output: index / rows,
                    sample,
                    element: element.unwrap_or(0),
                });
            }
        }
        Ok(())
    }

    fn sweep(
        &mut self,
        guidance: &dyn Guidance,
        outputs: Array<A, D>,
        count: usize,
    ) -> Result<(), Error> {
        let swept = self.sweep_lanes(guidance, outputs, count);
        if let Err(error) = &swept {
            self.failed = Some(error.clone());
        }
        swept
    }

    fn sweep_lanes(
        &mut self,
        guidance: &dyn Guidance,
        mut outputs: Array<A, D>,
        count: usize,
    ) -> Result<(), Error> {
        let (settings, mut filling) = (self.settings(), self.filling()?);
        let report = &mut self.report;
        report.sweeps += 1;
        report.rows += self.window.rows();
        let mut first = 0;
        for (sample, lane) in self.lanes.iter_mut().enumerate() {
            let rows = lane.rows;
            if rows == 0 {
                continue;
            }
            let mut evaluated = Evaluated {
                x: &*self.window.x,
                outputs: &mut *outputs,
                first,
                all: self.window.rows(),
                count,
            };
            let noise = (sample, &mut RowNoise::new(&self.noise, sample));
            let kept = (&mut filling, &mut report.residuals[..]);
            lane.sweep(&mut evaluated, guidance, settings, noise, kept)
                .map_err(|error| of_sample(error, sample))?;
            let mut row = self.state.slice_axis_mut(Axis(0), one(sample));
            row.assign(lane.front.machine.state());
            if let Some(sweeps) = report.samples.get_mut(sample) {
                *sweeps += 1;
            }
            first += rows;
        }
        self.outputs = outputs.into_raw_vec_and_offset().0;
        self.refill(filling)
    }

    fn check_failed(&self) -> Result<(), Error> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The rows of the window, at least one.
    fn require_rows(&self) -> Result<usize, Error> {
        match self.window.rows() {
            0 => Err(Error::RunFinished {
                steps: self.sampler.sampler.plan().steps().len(),
            }),
            rows => Ok(rows),
        }
    }

    /// Whether all samples have reached the end of the plan. An empty batch has.
    pub fn is_finished(&self) -> bool {
        self.window.rows() == 0
    }

    /// The settled state of each sample, at the front of its own window; at the end the samples.
    pub fn state(&self) -> &ArrayRef<A, D> {
        &self.state
    }

    /// The samples, when the run is over.
    pub fn into_state(self) -> Array<A, D> {
        self.state
    }

    /// The samples and the report.
    pub fn into_parts(self) -> (Array<A, D>, ParallelReport) {
        (self.state, self.report)
    }

    /// What the run has cost so far.
    pub fn report(&self) -> &ParallelReport {
        &self.report
    }

    /// What the run's model predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }
}

fn one(row: usize) -> Slice {
    Slice::from(row..row + 1)
}

/// The error of a run of one row, as that of its sample.
fn of_sample(mut error: Error, of: usize) -> Error {
    if let Error::NonFinite { sample, .. } = &mut error {
        *sample = of;
    }
    error
}
