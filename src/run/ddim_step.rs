//! One first-order step on its own, for callers who own the loop.

use ndarray::{ArrayRef, Axis, Dimension, Slice};

use crate::apply::{apply, filler};
use crate::combination::Combination;
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, RunError};
use crate::fold::{self, Estimate};
use crate::kernel::find_non_finite;
use crate::level::NoiseLevel;
use crate::noise::{NoiseSource, Stream};
use crate::plan::Update;
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::solver::posterior_update;

/// One DDIM step (or DDPM, or any other κ) between two levels, for the whole batch or with levels of each sample's own.
///
/// x_s = (σ_s/σ_t) κ x_t + α_s (1 − κ r) D + √v_p z, as in [`FirstOrder`](crate::solver::FirstOrder). A [`Trajectory`](crate::Trajectory)
/// runs whole plans; this type is for parallel-in-time, streaming and other generators, whose samples stand at different
/// levels.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, Prediction, posterior::Kappa, run::DdimStep, schedule::{NoiseSchedule, TableSchedule}};
/// use ndarray::array;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let (t, s) = (schedule.level(500.0)?, schedule.level(250.0)?);
/// let step = DdimStep::new(t, s, Kappa::Ddim)?;
/// let mut x = array![[0.3f64, -1.0]];
/// let x0 = array![[0.1, -0.7]];
/// step.apply(&mut x, &x0, Prediction::Data, &mut KeyedNoise::new(0), 0)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DdimStep {
    edges: Vec<(StridedPosterior, Update)>,
    from: Vec<NoiseLevel>,
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
    /// [`Error::WrongLength`] unless both lists have the same length; as [`StridedPosterior::new`].
    pub fn per_sample(from: &[NoiseLevel], to: &[NoiseLevel], kappa: Kappa) -> Result<Self, Error> {
        if from.len() != to.len() {
            return Err(Error::WrongLength {
                name: "target levels",
                expected: from.len(),
                found: to.len(),
            });
        }
        let edges = from
            .iter()
            .zip(to)
            .map(|(&from, &to)| {
                let posterior = StridedPosterior::new(from, to, kappa)?;
                let update = posterior_update(&posterior, posterior.gamma());
                Ok((posterior, update))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            edges,
            from: from.to_vec(),
        })
    }

    /// The same step with another reverse variance v_p.
    ///
    /// # Errors
    ///
    /// As [`StridedPosterior::reverse_variance`].
    pub fn with_reverse_variance(mut self, policy: ReverseVariance) -> Result<Self, Error> {
        for (posterior, update) in &mut self.edges {
            update.noise = posterior.reverse_variance(policy)?.sqrt();
        }
        Ok(self)
    }

    /// The posteriors, one for the batch or one per sample.
    pub fn posteriors(&self) -> impl Iterator<Item = &StridedPosterior> {
        self.edges.iter().map(|(posterior, _)| posterior)
    }

    /// Applies the step in place, given the model's output at `x` and the step's starting level(s). `step` keys the noise.
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`], [`Error::WrongLength`] unless there are as many samples as levels,
    /// [`Error::ShapeMismatch`], [`Error::NoSampleAxis`], [`Error::NonFinite`].
    pub fn apply<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        output: &ArrayRef<A, D>,
        prediction: Prediction,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        let single = |_| Combination::single();
        self.apply_combined(x, &[output], prediction, single, noise, step)
    }

    /// Evaluates `model` into `buffer`, of shape \[n·B, …\] with n = [`Denoiser::outputs`], and applies the step in place.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply); [`Error::ShapeMismatch`] for a buffer that is too small; [`Error::UnsupportedPlan`] when
    /// the samples' levels want different numbers of outputs; what the model's [`combination`](Denoiser::combination)
    /// refuses, or the model's own error.
    pub fn run<A, D, M, N>(
        &self,
        x: &mut ArrayRef<A, D>,
        model: &mut M,
        buffer: &mut ArrayRef<A, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        let samples = x.shape().first().copied().ok_or(Error::NoSampleAxis)?;
        let combinations = self
            .from
            .iter()
            .map(|level| model.combination(level))
            .collect::<Result<Vec<_>, _>>()?;
        let first = combinations
            .first()
            .copied()
            .unwrap_or_else(Combination::single);
        let (outputs, models) = (first.len(), first.models().len());
        if combinations
            .iter()
            .any(|c| c.len() != outputs || c.models().len() != models)
        {
            return Err(Error::UnsupportedPlan {
                feature: "levels in one batch that want different numbers of model outputs",
            }
            .into());
        }
        if x.is_empty() {
            return Ok(());
        }
        let mut expected = x.shape().to_vec();
        expected[0] = outputs * samples;
        let fits = buffer.ndim() == x.ndim()
            && buffer.shape()[0] >= expected[0]
            && buffer.shape()[1..] == x.shape()[1..];
        if !fits {
            return Err(Error::ShapeMismatch {
                name: "output buffer",
                expected,
                found: buffer.shape().to_vec(),
            }
            .into());
        }
        let mut used = buffer.slice_axis_mut(Axis(0), Slice::from(0..outputs * samples));
        let query = Query::per_sample(&self.from).with_outputs(outputs);
        model
            .denoise(x, &query, &mut used)
            .map_err(RunError::Denoiser)?;
        if used.shape() != expected {
            return Err(Error::LayoutChanged {
                name: "output buffer",
            }
            .into());
        }
        let views: Vec<_> = (0..outputs)
            .map(|j| used.slice_axis(Axis(0), Slice::from(j * samples..(j + 1) * samples)))
            .collect();
        let views: Vec<&ArrayRef<A, D>> = views.iter().map(|view| &**view).collect();
        self.apply_combined(
            x,
            &views,
            model.prediction(),
            |i| combinations[i],
            noise,
            step,
        )?;
        Ok(())
    }

    fn apply_combined<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        outputs: &[&ArrayRef<A, D>],
        prediction: Prediction,
        combination: impl Fn(usize) -> Combination,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        let form = |(index, (posterior, update)): (usize, &(StridedPosterior, Update))| {
            let level = posterior.from();
            let estimate = Estimate {
                row: fold::data_row(prediction, &level, &combination(index))?,
                outputs: outputs.len(),
                alpha: level.alpha(),
                clip: None,
            };
            Ok::<_, Error>(fold::form(update, &estimate))
        };
        let mut fill = filler(noise, step, Stream::Step(0));
        // The step of a whole batch allocates nothing.
        let finite = match self.edges.as_slice() {
            [edge] => apply(&[form((0, edge))?], x, outputs, Some(&mut fill))?,
            edges => {
                let forms = edges.iter().enumerate().map(form);
                let forms = forms.collect::<Result<Vec<_>, _>>()?;
                apply(&forms, x, outputs, Some(&mut fill))?
            }
        };
        if finite {
            return Ok(());
        }
        let step = step as usize;
        for output in outputs {
            find_non_finite(output, step, "model output")?;
        }
        find_non_finite(x, step, "state")
    }
}
