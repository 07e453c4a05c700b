//! Ask and tell: the run's questions, and the answers of a model that the caller evaluates.

use ndarray::{ArrayRef, Axis, Dimension};

use super::{Question, Trajectory};
use crate::apply::batch_of;
use crate::element::ModelElement;
use crate::error::Error;
use crate::guidance::{Combination, Guidance, MAX_OUTPUTS, Unguided, output_count};
use crate::kernel::Forms;
use crate::memory::Listed;
use crate::noise::NoiseSource;
use crate::real::Real;
use crate::run::outputs::{Combine, Outputs};

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// What to evaluate next, after running the updates before it that need no model; `None` when
    /// the run is finished.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] when such an update overflows.
    pub fn ask(&mut self) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        self.settle()?;
        Ok(self.driver.question(self.machine.state()))
    }

    /// The same for [`tell_guided`](Self::tell_guided):
    /// [`query.outputs()`](crate::Query::outputs) says how many outputs `guidance` wants at this
    /// level.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, guidance::ClassifierFree};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let guidance = ClassifierFree::with_scale(5.0)?;
    /// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
    /// while let Some(question) = run.ask_guided(&guidance)? {
    ///     // With the condition and, where it is wanted, without.
    ///     let output = |j: usize| question.x.mapv(|x| x * (0.9 - 0.1 * j as f32));
    ///     let outputs: Vec<Array2<f32>> = (0..question.query.outputs()).map(output).collect();
    ///     run.tell_guided(&guidance, &outputs.iter().map(|o| &**o).collect::<Vec<_>>())?;
    /// }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); what the guidance refuses.
    pub fn ask_guided(
        &mut self,
        guidance: &dyn Guidance,
    ) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        self.settle()?;
        self.driver.guided_question(guidance, self.machine.state())
    }

    /// Takes the model's output at the level that [`ask`](Self::ask) gave, and applies the update.
    ///
    /// Its elements may be shorter than the state's: with the feature `half`, a state of `f32` takes
    /// outputs of `half::f16` and `half::bf16`, without a pass or a buffer more, and with the bits of
    /// the same output widened first ([`ModelElement`]). Only what reads the outputs beside the
    /// update is given a widened copy, for which the run keeps one array more: guidance by inner
    /// products or with a memory, dynamic thresholding, and layouts other than the standard one.
    ///
    /// ```
    /// # #[cfg(feature = "half")] {
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, kernel::narrow};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
    /// use half::bf16;
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
    /// let mut input = Array2::<bf16>::default((4, 2));
    /// while let Some(question) = run.ask()? {
    ///     // A half copy of the state, the network, its half output.
    ///     narrow(question.x, &mut input)?;
    ///     let sigma = bf16::from_f64(question.level().sigma());
    ///     let output = input.mapv(|x| x * sigma);
    ///     run.tell(&output)?;
    /// }
    /// assert_eq!(run.into_state().dim(), (4, 2));
    /// # }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] after the last step, [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn tell<O: ModelElement<A>>(&mut self, output: &ArrayRef<O, D>) -> Result<(), Error> {
        self.settle()?;
        let driver = &self.driver;
        let instruction = driver.instruction()?;
        let ready = driver
            .folded()
            .filter(|_| !driver.clips_dynamically() && self.machine.memory().is_none())
            .filter(|_| self.data.is_none());
        let outputs = &[output];
        // Equivalent mutant: replace || with &&: the other way gives the same bits.
        let ready = ready.filter(|_| O::same(outputs).is_some() || output.is_standard_layout());
        match ready {
            Some(form) => {
                self.machine.check_told(outputs)?;
                if !output.is_empty() {
                    let (forms, outputs) = (Forms::Same(form), Outputs::Told(outputs));
                    let noise = &mut self.noise;
                    self.machine
                        .apply_forms(&instruction, forms, outputs, noise)?;
                }
            }
            None => {
                let (combine, noise) = (Combine::By(&Unguided), &mut self.noise);
                let (prediction, data) = (driver.prediction(), self.data.as_mut());
                self.machine
                    .tell_all(&instruction, prediction, combine, outputs, (noise, data))?;
            }
        }
        self.driver.advance();
        Ok(())
    }

    /// Takes several outputs, all of one type, and the weights by which they combine, for the batch
    /// or for each sample.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless there is one combination or one
    /// for each sample, with as many outputs as there are.
    pub fn tell_combined<O: ModelElement<A>>(
        &mut self,
        combinations: &[Combination],
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::Given(combinations), outputs)
    }

    /// Takes the outputs that `guidance` wants at this level, and combines them by it. Arrays that
    /// are made in a loop become the list by `outputs.iter().map(|output| &**output)`, as in
    /// [`ask_guided`](Self::ask_guided).
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell); [`Error::WrongLength`] for fewer outputs than the guidance reads;
    /// what the guidance refuses.
    pub fn tell_guided<O: ModelElement<A>>(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::By(guidance), outputs)
    }

    /// The same with the outputs in one array, as a [`Denoiser`](crate::Denoiser) writes them:
    /// \[n·B, …\], output j in the rows j·B..(j+1)·B. A server that calls the model once for many
    /// runs tells each the rows that belong to it.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, guidance::ClassifierFree};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    /// use ndarray::{Array2, s};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let guidance = ClassifierFree::with_scale(5.0)?;
    /// let mut run = sampler.start::<f32, _, _>((2, 3), Prediction::Noise, KeyedNoise::new(1))?;
    /// while let Some(question) = run.ask_guided(&guidance)? {
    ///     // Rows 4.. of a batch in which others are: with the condition, then without.
    ///     let batch = Array2::from_elem((4 + 2 * question.query.outputs(), 3), 0.1f32);
    ///     run.tell_stacked(&guidance, &batch.slice(s![4.., ..]))?;
    /// }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`tell_guided`](Self::tell_guided); [`Error::ShapeMismatch`] unless the rows are one time
    /// the batch or several times, [`Error::OutputCount`] for too many outputs.
    pub fn tell_stacked<O: ModelElement<A>>(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &ArrayRef<O, D>,
    ) -> Result<(), Error> {
        let (samples, _) = batch_of(self.state())?;
        let rows = outputs.shape().first().copied().unwrap_or(0);
        if samples == 0 {
            return self.tell_guided(guidance, &[outputs]);
        }
        let (count, own) = (rows / samples, self.state().shape());
        // The shape that was needed is made where it is told only: a step allocates nothing.
        if count * samples != rows || count == 0 || outputs.shape().get(1..) != own.get(1..) {
            let expected = std::iter::once(count.max(1).saturating_mul(samples));
            return Err(Error::ShapeMismatch {
                name: "model outputs",
                expected: expected.chain(own.iter().skip(1).copied()).listed()?,
                found: outputs.shape().to_vec(),
            });
        }
        output_count(count)?;
        let mut chunks = outputs.axis_chunks_iter(Axis(0), samples);
        let views: [_; MAX_OUTPUTS] = std::array::from_fn(|_| chunks.next());
        let told = views
            .each_ref()
            .map(|view| view.as_deref().unwrap_or(outputs));
        self.tell_by(Combine::By(guidance), told.get(..count).unwrap_or(&[]))
    }

    fn tell_by<O: ModelElement<A>>(
        &mut self,
        combine: Combine<'_>,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.settle()?;
        let (instruction, noise) = (self.driver.instruction()?, &mut self.noise);
        let (prediction, data) = (self.driver.prediction(), self.data.as_mut());
        self.machine
            .tell_all(&instruction, prediction, combine, outputs, (noise, data))?;
        self.driver.advance();
        Ok(())
    }
}
