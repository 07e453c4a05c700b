//! A schedule of positions, the axis along which they lie, and the step's policy.

use std::sync::Arc;

use ndarray::{Array, Dimension, IntoDimension};

use super::{PositionRun, PositionSchedule};
use crate::apply::{Classes, affine, apply_along, batch_of, filler};
use crate::clip::Clip;
use crate::error::{Error, require_length};
use crate::fold;
use crate::kernel;
use crate::level::NoiseLevel;
use crate::memory;
use crate::memory::Listed;
use crate::noise::{Demand, Interval, NoiseSource, Stream};
use crate::posterior::{Kappa, ReverseVariance};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::DdimStep;
use crate::run::buffers::{self, check_start};
use crate::run::machine::Machine;

/// The first-order solver for runs in which positions along an axis (tokens, frames) have levels of
/// their own: a [`PositionSchedule`], the axis, and a [`Kappa`].
///
/// In each step every position that moves takes the step of
/// [`FirstOrder`](crate::solver::FirstOrder) between its own two levels, and every other stays as it
/// is, bit for bit. Noise has the key of its row, as in every run: with all positions together the
/// run is that of a [`Sampler`](crate::Sampler) with this solver, bit for bit.
///
/// ```
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::run::{PositionSampler, PositionSchedule};
/// use diffusion_sampler::{Grid, KeyedNoise, NoiseLevel, Prediction};
/// use diffusion_sampler::{posterior::Kappa, schedule::RectifiedFlow};
/// use ndarray::Array3;
///
/// // [B, frames, features]: the first frame is given.
/// let grid = Grid::trailing(&RectifiedFlow::new(), 10)?;
/// let schedule = PositionSchedule::together(&grid, 4)?.with_given([0], NoiseLevel::clean())?;
/// let sampler = PositionSampler::new(schedule, 1, Kappa::Ddim)?;
/// let data = Gaussian::isotropic(&[1.0; 8], 0.2)?;
/// let mut model = data.position_denoiser(1, Prediction::Flow);
/// let frames = Array3::<f32>::from_elem((2, 4, 8), 0.7);
/// let mut run = sampler.start_given(frames, Prediction::Flow, KeyedNoise::new(1))?;
/// run.complete(&mut model)?;
/// assert!(run.state().indexed_iter().all(|((_, frame, _), x)| (*x == 0.7) == (frame == 0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PositionSampler {
    schedule: Arc<PositionSchedule>,
    axis: usize,
    kappa: Kappa,
    reverse_variance: Option<ReverseVariance>,
    clip: Option<Clip>,
    /// The different edges of the schedule, and their steps.
    edges: Arc<Vec<(u32, u32)>>,
    steps: DdimStep,
}

impl PositionSampler {
    /// The sampler of `schedule`, whose positions lie along `axis`, with the same policy on every
    /// edge.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] where nothing moves; as
    /// [`StridedPosterior::new`](crate::posterior::StridedPosterior::new).
    pub fn new(schedule: PositionSchedule, axis: usize, kappa: Kappa) -> Result<Self, Error> {
        let mut edges: Vec<(u32, u32)> = Vec::new();
        let mut different = 0;
        for step in 0..schedule.steps() {
            memory::extend(&mut edges, schedule.moves(step))?;
            // No longer than twice what is different.
            if edges.len() >= 2 * different || step + 1 == schedule.steps() {
                edges.sort_unstable();
                edges.dedup();
                different = edges.len();
            }
        }
        let ends = edges.iter().filter_map(|&edge| schedule.edge(edge));
        let (from, to): (Vec<_>, Vec<_>) = ends.unzip();
        Ok(Self {
            schedule: Arc::new(schedule),
            axis,
            kappa,
            reverse_variance: None,
            clip: None,
            edges: Arc::new(edges),
            steps: DdimStep::per_sample(&from, &to, kappa)?,
        })
    }

    /// The same sampler with another reverse variance v_p.
    ///
    /// # Errors
    ///
    /// As [`StridedPosterior::reverse_variance`](crate::posterior::StridedPosterior::reverse_variance).
    pub fn with_reverse_variance(self, policy: ReverseVariance) -> Result<Self, Error> {
        Ok(Self {
            steps: self.steps.with_reverse_variance(policy)?,
            reverse_variance: Some(policy),
            ..self
        })
    }

    /// The same sampler with the estimate of x₀ clipped. Dynamic thresholding, which looks at whole
    /// samples, is refused where levels differ.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The schedule.
    pub fn schedule(&self) -> &PositionSchedule {
        &self.schedule
    }

    /// The axis of the positions.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// A run from the initial distribution at every position.
    ///
    /// # Errors
    ///
    /// [`Error::PositionNeedsData`] where a position is given, or begins below the first knot:
    /// [`start_given`](Self::start_given) has its data; as [`resume`](Self::resume);
    /// [`Error::TooLarge`].
    pub fn start<A, S, N>(
        &self,
        shape: S,
        prediction: Prediction,
        noise: N,
    ) -> Result<PositionRun<A, S::Dim, N>, Error>
    where
        A: Real,
        S: IntoDimension,
        N: NoiseSource<A>,
    {
        if let Some((position, level)) = self
            .schedule
            .given()
            .enumerate()
            .find_map(|(position, level)| Some((position, level?)))
        {
            let time = level.time();
            return Err(Error::PositionNeedsData { position, time });
        }
        self.start_given(memory::zeros(shape.into_dimension())?, prediction, noise)
    }

    /// A run in which some positions are given by `data`: those with a level of their own
    /// ([`PositionSchedule::with_given`]), and those that begin below the first knot. They get the
    /// noise of that level; a clean one stays bit for bit. All others get the initial distribution,
    /// and what `data` holds there does not matter, as long as it is finite: zeros will do.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn start_given<A, D, N>(
        &self,
        data: Array<A, D>,
        prediction: Prediction,
        mut noise: N,
    ) -> Result<PositionRun<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        self.check_shape(data.shape())?;
        check_start(&data, "given data")?;
        let mut x = buffers::standard(data)?;
        let mut classes = Classes::default();
        let stays = |level: &NoiseLevel| level.alpha() == 1.0 && level.is_clean();
        classes.set(self.schedule.given(), |given| {
            !given.is_some_and(|l| stays(&l))
        })?;
        let deviation = self.schedule.start_variance().sqrt();
        let forms: Vec<_> = classes
            .different
            .iter()
            .take(classes.moving)
            .map(|given| match given {
                None => affine(0.0, 0.0, deviation),
                Some(level) => affine(level.alpha(), 0.0, level.sigma()),
            })
            .listed()?;
        let mut fill = filler(&x, &mut noise, 0, Stream::Start)?;
        let along = (self.axis, &classes.of[..]);
        apply_along(&forms, along, &mut x, &[], Some(&mut fill))?;
        self.resume(x, 0, prediction, noise)
    }

    /// A run from a state before step `step`, every position of which is at its level there: one
    /// made elsewhere, or that of a run that was stopped.
    ///
    /// # Errors
    ///
    /// [`Error::WrongAxis`] and [`Error::WrongLength`] unless the axis has as many positions as the
    /// schedule; [`Error::StepCount`] for a step beyond the last; [`Error::NonFiniteStart`];
    /// [`Error::NotPerPosition`] for dynamic thresholding; [`Error::PredictionUndefined`] where the
    /// prediction says nothing at a level that a position leaves; [`Error::CoefficientOverflow`];
    /// what the noise's [`check`](NoiseSource::check) refuses.
    pub fn resume<A, D, N>(
        &self,
        x: Array<A, D>,
        step: usize,
        prediction: Prediction,
        noise: N,
    ) -> Result<PositionRun<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        self.check_shape(x.shape())?;
        let steps = self.schedule.steps();
        if step > steps {
            return Err(Error::StepCount {
                steps: step,
                min: 0,
                max: steps,
            });
        }
        self.check_model::<A>(prediction)?;
        self.check_noise(step, batch_of(&x)?, &noise)?;
        let machine = Machine::new(x, 0)?;
        PositionRun::new(self.clone(), prediction, (machine, step), noise)
    }

    fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        let found = kernel::positions(shape, self.axis)?;
        require_length("positions", self.schedule.positions(), found)
    }

    /// Refuses a prediction that says nothing at a level, and scalars that the type cannot hold.
    fn check_model<A: Real>(&self, prediction: Prediction) -> Result<(), Error> {
        let fixed = self.clip.and_then(|clip| clip.fixed());
        for stage in self.steps.stages() {
            let form = fold::plain_form(stage, prediction, fixed)?;
            fold::check_cast::<A>(&form, 0)?;
        }
        Ok(())
    }

    /// Refuses noise that the source does not have, for the steps from this one on.
    fn check_noise<A>(
        &self,
        step: usize,
        (samples, elements): (usize, usize),
        noise: &impl NoiseSource<A>,
    ) -> Result<(), Error> {
        let stages = self.steps.stages();
        let noisy = |edge: (u32, u32)| {
            let index = self.edges.binary_search(&edge).ok();
            index
                .and_then(|index| stages.get(index))
                .is_some_and(|stage| stage.update.noise != 0.0)
        };
        let draws = |step: &usize| self.schedule.moves(*step).any(noisy);
        let steps = step..self.schedule.steps();
        let first = steps.clone().find(draws).unwrap_or(0);
        let end = steps.rev().find(draws).map_or(0, |last| last + 1);
        let demand = || {
            let steps = first as u64..end as u64;
            Demand::batch(samples, elements, steps, Stream::Step(0))
        };
        noise.check(&demand())?;
        for &edge in self.edges.iter().filter(|&&edge| noisy(edge)) {
            if let Some((from, to)) = self.schedule.edge(edge) {
                let interval = Interval::new(from.lambda(), to.lambda());
                noise.check(&demand().with_intervals(&[interval]))?;
            }
        }
        Ok(())
    }

    /// The first step from this one on in which something moves, and its number.
    pub(super) fn next(&self, from: usize) -> Result<Option<(usize, DdimStep)>, Error> {
        let mut steps = from..self.schedule.steps();
        let Some(step) = steps.find(|step| self.schedule.moves(*step).next().is_some()) else {
            return Ok(None);
        };
        let levels = |step| self.schedule.levels(step).listed();
        let (from, to) = (levels(step)?, levels(step + 1)?);
        let mut next = DdimStep::along(self.axis, &from, &to, self.kappa)?;
        if let Some(policy) = self.reverse_variance {
            next = next.with_reverse_variance(policy)?;
        }
        if let Some(clip) = self.clip {
            next = next.with_clip(clip);
        }
        Ok(Some((step, next)))
    }
}
