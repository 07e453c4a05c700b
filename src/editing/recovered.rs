//! DDPM inversion: the noises with which a stochastic sampler makes a given image.

use ndarray::{Array, ArrayRef, Dimension};

use super::inversion::{ExactInversion, InvertedStep, StepSolver, require_converged, slope};
use crate::apply::batch_of;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError};
use crate::forward::diffuse;
use crate::memory::{self, Copied, Listed};
use crate::noise::{Demand, NoiseKey, NoiseSource, PureNoise, Stream};
use crate::plan::{Stage, Step};
use crate::real::Real;
use crate::sampler::Sampler;

/// DDPM inversion: noises for a stochastic first-order plan with which its run makes a given image.
///
/// A state x_t = α_t x₀ + σ_t ε is drawn for every knot, each with a noise of its own, and the noise
/// of the step t → s is what leads from one to the next: z = (x_s − μ(x_t))/γ, with μ the step
/// without its noise. Replayed, they give the states at all knots and the image at the end; with
/// another model or prompt they give an edit that keeps the image's layout. These noises are not
/// independent and have more than unit variance, which is what makes them edit friendly.
/// Huberman-Spiegelglas, Kulikov and Michaeli (2024), "An Edit Friendly DDPM Noise Space: Inversion
/// and Manipulations".
///
/// A step without noise, as the last one onto σ = 0, leaves nothing to choose: its starting state is
/// solved for, as by [`ExactInversion`]. (The published code sets that step's noise to 0 and misses
/// the image by what the step changes.) A plan without any noise becomes that inversion.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, editing::DdpmInversion};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::array;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 20)?, &FirstOrder::ddpm())?;
/// let mut model = Gaussian::isotropic(&[0.5, -1.0], 0.2)?.denoiser(Prediction::Noise);
/// let image = array![[0.3f64, -0.4]];
/// let inversion = DdpmInversion::new(&sampler)?;
/// let found = inversion.invert(&image, &mut model, &mut KeyedNoise::new(1))?.converged()?;
///
/// let start = found.states[0].clone();
/// let mut run = sampler.start_from(start, Prediction::Noise, found.noise)?;
/// run.complete(&mut model)?; // or a model with another prompt
/// assert!((run.into_state() - image).iter().all(|d| d.abs() < 1e-12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "edit friendly")]
#[derive(Clone, Debug, PartialEq)]
pub struct DdpmInversion {
    options: ExactInversion,
    /// Every step without its noise.
    quiet: Vec<Step>,
}

impl DdpmInversion {
    /// The inversion of a sampler's plan: [`FirstOrder`](crate::solver::FirstOrder) with any policy,
    /// on any edge.
    ///
    /// # Errors
    ///
    /// [`Error::StageCount`] for a step of several stages, and [`Error::InvalidEntry`] for one that
    /// reads a history slot: their noise does not lead to their end alone;
    /// [`Error::DegenerateEdge`] for one without noise that keeps nothing of its state.
    pub fn new(sampler: &Sampler) -> Result<Self, Error> {
        let mut quiet = sampler.plan().steps().iter().cloned().listed()?;
        for (index, step) in quiet.iter_mut().enumerate() {
            let found = step.stages.len();
            let [Stage { update, .. }] = step.stages.as_mut_slice() else {
                let (step, max) = (index, 1);
                return Err(Error::StageCount { step, found, max });
            };
            if !update.history.is_empty() {
                return Err(Error::InvalidEntry {
                    name: "history terms of step",
                    index,
                    value: update.history.len() as f64,
                    requirement: "0: noises are recovered for first-order steps",
                });
            }
            let is_quiet = std::mem::take(&mut update.noise) == 0.0;
            if is_quiet {
                slope(step)?;
            }
        }
        Ok(Self {
            options: ExactInversion::unchecked(sampler),
            quiet,
        })
    }

    /// Draws the states ([`Stream::Forward`] of `noise`, keyed by the knot's number), and recovers
    /// the noises between them. `x` is a state at the plan's end: the image.
    ///
    /// # Errors
    ///
    /// As [`ExactInversion::invert`]; what the noise's [`check`](NoiseSource::check) refuses.
    pub fn invert<A, D, M, N>(
        &self,
        x: &ArrayRef<A, D>,
        model: &mut M,
        noise: &mut N,
    ) -> Result<RecoveredRun<A, D>, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        let mut solver = StepSolver::new(&self.options, x)?;
        let end = self.options.plan().end();
        // From the end: what every step must reach.
        let mut states: Vec<Array<A, D>> = memory::reserve(&[self.quiet.len() + 1])?;
        memory::push(&mut states, x.copy()?)?;
        let mut solved = memory::reserve(&[self.quiet.len()])?;
        for (index, step) in self.options.plan().steps().iter().enumerate().rev() {
            let state = if step.stages[0].update.noise == 0.0 {
                let mut state = states[states.len() - 1].copy()?;
                let of_step = solver.solve(step, index, &mut state, model)?;
                memory::push(&mut solved, of_step)?;
                state
            } else {
                let mut state = memory::zeros(x.raw_dim())?;
                // The image is a state of the end: α x₀ there.
                let scale = A::cast(1.0 / end.alpha());
                state.zip_mut_with(x, |state, &x| *state = x * scale);
                diffuse(&mut state, &[step.from], noise, index as u32)?;
                state
            };
            memory::push(&mut states, state)?;
        }
        states.reverse();
        let (samples, elements) = batch_of(x)?;
        let mut recovered = RecoveredNoise {
            samples,
            elements,
            skipped: 0,
            steps: memory::reserve(&[self.quiet.len()])?,
        };
        // From the start, along the states that a run really takes.
        for (index, (step, quiet)) in self
            .options
            .plan()
            .steps()
            .iter()
            .zip(&self.quiet)
            .enumerate()
        {
            let gamma = step.stages[0].update.noise;
            let (before, after) = states.split_at_mut(index + 1);
            let mean = solver.take(quiet, index, &before[index], model)?;
            let target = &mut after[0];
            let mut normals = Vec::new();
            if gamma != 0.0 {
                normals = memory::reserve(&[target.len()])?;
                for (target, &mean) in target.iter_mut().zip(mean) {
                    let z = A::cast((target.widen() - mean.widen()) / gamma);
                    normals.push(z);
                    // The bits of the run's update.
                    *target = mean + A::cast(gamma) * z;
                }
            } else {
                target.assign(mean);
            }
            memory::push(&mut recovered.steps, normals)?;
        }
        Ok(RecoveredRun {
            noise: recovered,
            states,
            steps: solved,
            tolerance: solver.tolerance,
        })
    }
}

/// What [`DdpmInversion`] has found.
#[derive(Clone, Debug)]
pub struct RecoveredRun<A, D: Dimension> {
    /// The noises of the steps.
    pub noise: RecoveredNoise<A>,
    /// The states of the run at all knots, from the plan's start, where it begins, to its end.
    pub states: Vec<Array<A, D>>,
    /// How well the steps without noise were solved.
    pub steps: Vec<InvertedStep>,
    tolerance: f64,
}

impl<A, D: Dimension> RecoveredRun<A, D> {
    /// The same, if every step without noise was solved to the tolerance.
    ///
    /// # Errors
    ///
    /// [`Error::NotConverged`] with the first step that was not.
    pub fn converged(self) -> Result<Self, Error> {
        require_converged(&self.steps, self.tolerance)?;
        Ok(self)
    }
}

/// The noises that [`DdpmInversion`] has recovered: a source for runs of the same plan, or of its
/// last steps, from a recovered state.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredNoise<A> {
    samples: usize,
    elements: usize,
    skipped: usize,
    /// The normals of every step, row by row; empty where it draws none.
    steps: Vec<Vec<A>>,
}

impl<A> RecoveredNoise<A> {
    /// The normals of one step, row after row; `None` for a step that draws none.
    pub fn normals(&self, step: usize) -> Option<&[A]> {
        let normals = self.steps.get(self.skipped.checked_add(step)?)?;
        (!normals.is_empty()).then_some(normals)
    }

    /// The same for a run that leaves out the first `steps` steps, from the recovered state at that
    /// knot on [`Grid::section`](crate::Grid::section)`(steps..)`: the later it starts, the more of
    /// the image it keeps.
    #[must_use]
    pub fn skipping(self, steps: usize) -> Self {
        Self {
            skipped: self.skipped.saturating_add(steps),
            ..self
        }
    }
}

impl<A: Real> NoiseSource<A> for RecoveredNoise<A> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.draw(key, first, out);
    }

    /// # Errors
    ///
    /// [`Error::WrongLength`] for other samples, elements or steps than were recovered, and for any
    /// other noise than that of steps.
    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        if demand.steps.is_empty() {
            return Ok(());
        }
        let wrong = |name, expected: u64, found: u64| {
            let (expected, found) = (expected as usize, found as usize);
            Err(Error::WrongLength {
                name,
                expected,
                found,
            })
        };
        if demand.stream != Stream::Step(0) {
            return wrong("recovered noise of another stream", 1, 0);
        }
        let steps = self.steps.len().saturating_sub(self.skipped) as u64;
        if demand.steps.end > steps {
            return wrong("steps of recovered noise", demand.steps.end, steps);
        }
        if demand.rows.end > self.samples as u64 {
            return wrong(
                "samples of recovered noise",
                demand.rows.end,
                self.samples as u64,
            );
        }
        if demand.elements != self.elements as u64 {
            return wrong(
                "elements of recovered noise",
                demand.elements,
                self.elements as u64,
            );
        }
        Ok(())
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        Some(self)
    }
}

impl<A: Real> PureNoise<A> for RecoveredNoise<A> {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        let piece = || {
            let normals = self.normals(key.step as usize)?;
            let start = key
                .row
                .checked_mul(self.elements as u64)?
                .checked_add(first)?;
            let start = usize::try_from(start).ok()?;
            normals.get(start..)?.get(..out.len())
        };
        match piece() {
            Some(piece) if key.stream == Stream::Step(0) => out.copy_from_slice(piece),
            // What was not recovered is NaN, which stops a run at once.
            _ => out.fill(A::nan()),
        }
    }
}
