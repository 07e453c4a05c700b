//! One first-order step on its own, for callers who own the loop.

use ndarray::{ArrayRef, Dimension};

use super::instruction::{Along, Instruction};
use super::machine::Machine;
use crate::apply::Classes;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::element::ModelElement;
use crate::error::{Error, RunError, require_length};
use crate::guidance::Combination;
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::noise::NoiseSource;
use crate::plan::{Stage, Update};
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};
use crate::prediction::Prediction;
use crate::real::Real;

/// One DDIM step (or DDPM, or any other κ) between two levels, for the whole batch, with levels of
/// each sample's own, or of each position's along an axis.
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
    positions: Option<Positions>,
}

/// The axis of the positions, and the stage of each.
#[derive(Clone, Debug, PartialEq)]
struct Positions {
    axis: usize,
    of: Vec<u32>,
}

impl Positions {
    fn along(&self) -> Along<'_> {
        Along {
            axis: self.axis,
            of: &self.of,
        }
    }
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
    /// The model is shown the level of each ([`Query::level_of`](crate::Query::level_of)); one that
    /// does not [read them](Denoiser::reads_rows) is refused, unless all are the same.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both lists have the same length, at least 1; as
    /// [`StridedPosterior::new`].
    pub fn per_sample(from: &[NoiseLevel], to: &[NoiseLevel], kappa: Kappa) -> Result<Self, Error> {
        check_lists(from, to)?;
        Self::of_edges((from.copy()?, to.copy()?), from.len(), kappa)
    }

    /// The steps of positions along an axis, tokens or frames, each between levels of its own: as
    /// many as [`Levels::along`](crate::Levels::along) says, in the same order for `to`.
    ///
    /// A position whose two levels are the same stays as it is, bit for bit, whatever the model says
    /// of it: a frame that is given (σ = 0, or a constant small noise), a token that waits. The model
    /// is shown the level of each position ([`Query::level_at`](crate::Query::level_at)); one that
    /// does not [read them](Denoiser::reads_positions) is refused, unless all are the same. Guidance
    /// has its weights at the level of each position; what looks at whole samples (inner products, a
    /// memory, dynamic thresholding) is refused.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, NoiseLevel, Prediction, posterior::Kappa};
    /// use diffusion_sampler::{run::{DdimStep, Machine}, schedule::RectifiedFlow};
    /// use ndarray::array;
    ///
    /// // Three tokens of one sample, each on its way to the next knot below its own level.
    /// let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    /// let from = [NoiseLevel::clean(), grid.levels()[2], grid.levels()[0]];
    /// let to = from.map(|level| grid.next_below(&level).unwrap_or(level));
    /// let step = DdimStep::along(1, &from, &to, Kappa::Ddim)?;
    /// let mut machine = Machine::new(array![[[1.0f64], [2.0], [3.0]]], 0)?;
    /// let velocity = array![[[9.0], [4.0], [8.0]]];
    /// step.tell(&mut machine, Prediction::Flow, &velocity, &mut KeyedNoise::new(0), 0)?;
    /// // x − (σ_t − σ_s) u with σ from 0.5 to 0.25 and from 1 to 0.75.
    /// assert_eq!(*machine.state(), array![[[1.0], [1.0], [1.0]]]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] and [`Error::WrongLength`] unless both lists have the same length, at
    /// least 1; as [`StridedPosterior::new`] where the levels differ. When the step is taken:
    /// [`Error::WrongAxis`] and [`Error::WrongLength`] for arrays with other positions,
    /// [`Error::NotPerPosition`], [`Error::PositionsNotRead`].
    #[doc(alias = "per_token_timesteps")]
    pub fn along(
        axis: usize,
        from: &[NoiseLevel],
        to: &[NoiseLevel],
        kappa: Kappa,
    ) -> Result<Self, Error> {
        check_lists(from, to)?;
        let mut classes = Classes::default();
        let edges = from.iter().copied().zip(to.iter().copied());
        classes.set(edges, |(from, to)| from != to)?;
        let from = classes.different.iter().map(|edge| edge.0).listed()?;
        let to = classes.different.iter().map(|edge| edge.1).listed()?;
        let edges = (from, to);
        let step = Self::of_edges(edges, classes.moving, kappa)?;
        let of = classes.of;
        Ok(Self {
            positions: Some(Positions { axis, of }),
            ..step
        })
    }

    /// The steps on the first `moving` edges; the others are those of positions that stay.
    fn of_edges(
        (from, to): (Vec<NoiseLevel>, Vec<NoiseLevel>),
        moving: usize,
        kappa: Kappa,
    ) -> Result<Self, Error> {
        let edges = from.iter().zip(&to).take(moving);
        let posteriors = edges
            .map(|(&from, &to)| StridedPosterior::new(from, to, kappa))
            .all_listed()?;
        let stages = posteriors
            .iter()
            .map(|posterior| {
                Stage::evaluating(posterior.from(), Update::from(posterior.transition()))
            })
            .listed()?;
        Ok(Self {
            posteriors,
            stages,
            from,
            to,
            clip: None,
            positions: None,
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

    /// The posteriors, one for the batch or one for each sample; of positions, one for each pair of
    /// levels that differ.
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

    /// The stages: of each pair of levels that differ.
    pub(super) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    pub(super) fn instruction(&self, step: u32) -> Instruction<'_> {
        Instruction {
            stages: &self.stages,
            levels: &self.from,
            from: &self.from,
            to: &self.to,
            noise: None,
            step: step as usize,
            stage: 0,
            clip: self.clip,
            positions: self.positions.as_ref().map(Positions::along),
        }
    }
}

/// Refuses lists of levels of which one is empty or longer than the other.
fn check_lists(from: &[NoiseLevel], to: &[NoiseLevel]) -> Result<(), Error> {
    if from.is_empty() {
        return Err(Error::EmptyList { name: "levels" });
    }
    require_length("target levels", from.len(), to.len())
}
