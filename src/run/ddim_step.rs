//! One first-order step on its own, for callers who own the loop.

use ndarray::{ArrayRef, Dimension};

use super::instruction::Instruction;
use super::machine::Machine;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::element::ModelElement;
use crate::error::{Error, RunError};
use crate::guidance::Combination;
use crate::level::NoiseLevel;
use crate::noise::NoiseSource;
use crate::plan::{Stage, Update};
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};
use crate::prediction::Prediction;
use crate::real::Real;

/// One DDIM step (or DDPM, or any other κ) between two levels, for the whole batch or with levels
/// of each sample's own.
///
/// x_s = (σ_s/σ_t) κ x_t + α_s (1 − κ r) D + √v_p z, as in
/// [`FirstOrder`](crate::solver::FirstOrder). A [`Trajectory`](crate::Trajectory) runs whole plans;
/// this type is for parallel-in-time, streaming and other generators, whose samples stand at
/// different levels. It is taken by a [`Machine`], which keeps the state and the model's outputs.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, Prediction, posterior::Kappa};
/// use diffusion_sampler::{run::{DdimStep, Machine}, schedule::{NoiseSchedule, TableSchedule}};
/// use ndarray::array;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let (t, s) = (schedule.level(500.0)?, schedule.level(250.0)?);
/// let step = DdimStep::new(t, s, Kappa::Ddim)?;
/// let mut machine = Machine::new(array![[0.3f64, -1.0]], 0)?;
/// let x0 = array![[0.1, -0.7]];
/// step.tell(&mut machine, Prediction::Data, &x0, &mut KeyedNoise::new(0), 0)?;
/// println!("{}", machine.state());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DdimStep {
    posteriors: Vec<StridedPosterior>,
    stages: Vec<Stage>,
    from: Vec<NoiseLevel>,
    to: Vec<NoiseLevel>,
    clip: Option<Clip>,
}

impl DdimStep {
    /// The step `from` → `to` of a whole batch.
    ///
    /// # Errors
    ///
    /// As [`StridedPosterior::new`].
    pub fn new(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Result<Self, Error> {
        Self::per_sample(&[from], &[to], kappa)
    }

    /// The steps of a batch in which every sample has its own levels.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both lists have the same length, at least 1; as
    /// [`StridedPosterior::new`].
    pub fn per_sample(from: &[NoiseLevel], to: &[NoiseLevel], kappa: Kappa) -> Result<Self, Error> {
        if from.is_empty() {
            return Err(Error::EmptyList { name: "levels" });
        }
        if from.len() != to.len() {
            return Err(Error::WrongLength {
                name: "target levels",
                expected: from.len(),
                found: to.len(),
            });
        }
        let posteriors = from
            .iter()
            .zip(to)
            .map(|(&from, &to)| StridedPosterior::new(from, to, kappa))
            .collect::<Result<Vec<_>, _>>()?;
        let stages = posteriors
            .iter()
            .map(|posterior| {
                Stage::evaluating(posterior.from(), Update::from(posterior.transition()))
            })
            .collect();
        Ok(Self {
            posteriors,
            stages,
            from: from.to_vec(),
            to: to.to_vec(),
            clip: None,
        })
    }

    /// The same step with another reverse variance v_p.
    ///
    /// # Errors
    ///
    /// As [`StridedPosterior::reverse_variance`].
    pub fn with_reverse_variance(mut self, policy: ReverseVariance) -> Result<Self, Error> {
        for (posterior, stage) in self.posteriors.iter().zip(&mut self.stages) {
            stage.update.noise = posterior.reverse_variance(policy)?.sqrt();
        }
        Ok(self)
    }

    /// The same step with the estimate of x₀ clipped.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The posteriors, one for the batch or one for each sample.
    pub fn posteriors(&self) -> &[StridedPosterior] {
        &self.posteriors
    }

    /// Takes the step with the model's output at the machine's state and the step's starting
    /// level(s). `step` keys the noise. The output's elements may be shorter than the state's
    /// ([`ModelElement`]).
    ///
    /// # Errors
    ///
    /// As [`Machine::tell`].
    pub fn tell<A, O, D, N>(
        &self,
        machine: &mut Machine<A, D>,
        prediction: Prediction,
        output: &ArrayRef<O, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error>
    where
        A: Real,
        O: ModelElement<A>,
        D: Dimension,
        N: NoiseSource<A>,
    {
        machine.tell(&self.instruction(step), prediction, output, noise)
    }

    /// Takes the step with several outputs of the model and the weights by which they combine, for
    /// the batch or for each sample: every request of a batch may have a guidance weight of its own.
    ///
    /// ```
    /// use diffusion_sampler::{KeyedNoise, Prediction, guidance::Combination, posterior::Kappa};
    /// use diffusion_sampler::{run::{DdimStep, Machine}, schedule::{NoiseSchedule, TableSchedule}};
    /// use ndarray::{ArrayRef2, array};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let (clean, noisy) = (schedule.level(0.0)?, schedule.level(500.0)?);
    /// let step = DdimStep::per_sample(&[noisy; 2], &[clean; 2], Kappa::Ddim)?;
    /// let mut machine = Machine::new(array![[0.3f64], [0.3]], 0)?;
    /// // Weights 0 and 2: the second sample is guided away from the unconditional output.
    /// let weights = [Combination::affine(&[1.0, 0.0])?, Combination::affine(&[3.0, -2.0])?];
    /// let (conditional, unconditional) = (array![[0.5], [0.5]], array![[0.1], [0.1]]);
    /// let outputs: &[&ArrayRef2<f64>] = &[&conditional, &unconditional];
    /// let noise = &mut KeyedNoise::new(0);
    /// step.tell_combined(&mut machine, Prediction::Data, &weights, outputs, noise, 0)?;
    /// assert_eq!(machine.state()[[0, 0]], 0.5);
    /// assert!((machine.state()[[1, 0]] - 1.3).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Machine::tell_combined`].
    pub fn tell_combined<A, O, D, N>(
        &self,
        machine: &mut Machine<A, D>,
        prediction: Prediction,
        combinations: &[Combination],
        outputs: &[&ArrayRef<O, D>],
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error>
    where
        A: Real,
        O: ModelElement<A>,
        D: Dimension,
        N: NoiseSource<A>,
    {
        let instruction = self.instruction(step);
        machine.tell_combined(&instruction, prediction, combinations, outputs, noise)
    }

    /// Takes the step with `model`, which may be guided.
    ///
    /// # Errors
    ///
    /// As [`Machine::take`].
    pub fn take<A, D, M, N>(
        &self,
        machine: &mut Machine<A, D>,
        model: &mut M,
        noise: &mut N,
        step: u32,
    ) -> Result<(), RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        machine.take(&self.instruction(step), model, noise)
    }

    fn instruction(&self, step: u32) -> Instruction<'_> {
        Instruction {
            stages: &self.stages,
            levels: &self.from,
            from: &self.from,
            to: &self.to,
            noise: None,
            step: step as usize,
            stage: 0,
            clip: self.clip,
        }
    }
}
