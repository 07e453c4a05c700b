//! From a sampler to runs on tensors.

use super::arrays::{self, Arrays};
use super::{TensorError, TensorRun};
use crate::denoiser::Query;
use crate::error::{Error, RunError, require_length, require_shape};
use crate::noise::{Demand, KeyedNoise, NoiseSource, Stream};
use crate::prediction::Prediction;
use crate::run::Snapshot;
use crate::run::driver::Driver;
use crate::sampler::Sampler;
use crate::tensor::{Flat, TensorOps};

/// A sampler for the tensors of one library; made by [`Sampler::on`].
#[derive(Clone, Debug)]
pub struct TensorSampler<O> {
    sampler: Sampler,
    ops: O,
}

impl<O: TensorOps> TensorSampler<O> {
    pub(crate) fn new(sampler: Sampler, ops: O) -> Self {
        Self { sampler, ops }
    }

    /// Samples with the keyed noise of `seed`, on tensors like `like`, by a model
    /// `model(x, query)` that makes `prediction`.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, Sampler};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::DpmSolverPlusPlus};
    /// use diffusion_sampler::tensor::{Flat, FlatOps};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::trailing(&schedule, 8)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let like = Flat::<f32>::zeros(&[4, 16])?;
    /// let samples = sampler.on(FlatOps::new()).sample(&like, Prediction::Data, 42, |x, _query| {
    ///     Flat::new(vec![0.5; x.as_slice().len()], x.shape())
    /// })?;
    /// assert!(samples.as_slice().iter().all(|x| (x - 0.5).abs() < 1e-6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`TensorRun::complete`].
    pub fn sample<E>(
        self,
        like: &O::Tensor,
        prediction: Prediction,
        seed: u64,
        model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<O::Tensor, E>,
    ) -> Result<O::Tensor, RunError<E, O::Error>> {
        let mut run = self
            .start(like, prediction, KeyedNoise::new(seed))
            .map_err(RunError::widen)?;
        run.complete(model)?;
        Ok(run.into_state())
    }

    /// A run from the initial distribution x_T ~ N(0, v_T I), on tensors like `like`: its shape,
    /// element type and device.
    ///
    /// # Errors
    ///
    /// As [`Sampler::start`]; the library's own.
    pub fn start<N: NoiseSource<O::Element>>(
        self,
        like: &O::Tensor,
        prediction: Prediction,
        mut noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        self.sampler.plan().require_denoising()?;
        if self.ops.shape(like).as_ref().is_empty() {
            return Err(Error::NoSampleAxis.into());
        }
        let (samples, elements) = arrays::batch_of(&self.ops, like);
        noise.check(&Demand::batch(samples, elements, 0..1, Stream::Start))?;
        let normals =
            arrays::normals(&self.ops, like, &mut noise, (0, Stream::Start), (&[], None))?;
        let deviation = self.sampler.start_variance().sqrt();
        let x = arrays::scaled(&self.ops, deviation, &normals)?;
        self.start_from(x, prediction, noise)
    }

    /// A run from a given state at the plan's first level: image to image, inversion, a state
    /// computed elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Sampler::start_from`]; the library's own.
    pub fn start_from<N: NoiseSource<O::Element>>(
        self,
        x: O::Tensor,
        prediction: Prediction,
        noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        self.start_with(x, Vec::new(), prediction, noise)
    }

    /// A run whose first history slots are given.
    ///
    /// # Errors
    ///
    /// As [`Sampler::start_with`]; the library's own.
    pub fn start_with<N: NoiseSource<O::Element>>(
        self,
        x: O::Tensor,
        history: Vec<O::Tensor>,
        prediction: Prediction,
        noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        let given = self.sampler.plan().given();
        require_length("given history slots", given, history.len())?;
        let driver = self.driver(&x, prediction, &noise)?;
        self.run(driver, (x, history, None), noise)
    }

    /// Resumes a run from a [snapshot](TensorRun::snapshot), taken from a sampler with the same
    /// plan.
    ///
    /// # Errors
    ///
    /// As [`Sampler::resume`]; the library's own.
    pub fn resume<N: NoiseSource<O::Element>>(
        self,
        snapshot: Snapshot<O::Tensor>,
        prediction: Prediction,
        noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        let driver = self
            .driver(&snapshot.state, prediction, &noise)?
            .at(&snapshot, &noise)?;
        let Snapshot {
            state,
            history,
            memory,
            ..
        } = snapshot;
        self.run(driver, (state, history, memory), noise)
    }

    /// Resumes a run from a [snapshot on the host](TensorRun::snapshot_on_host), on tensors like
    /// `like`.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Query, Sampler};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::DpmSolverPlusPlus};
    /// use diffusion_sampler::tensor::{Flat, FlatOps};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::trailing(&schedule, 6)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let (like, noise) = (Flat::<f32>::zeros(&[2, 8])?, KeyedNoise::new(1));
    /// let model = |x: &Flat<f32>, _: &Query<'_>| Flat::new(vec![0.5; 16], x.shape());
    /// let mut run = sampler.on(FlatOps::new()).start(&like, Prediction::Data, noise)?;
    /// run.advance(model)?;
    /// // With the feature `serde` this can be written to a file.
    /// let stored = run.snapshot_on_host()?;
    /// let there = sampler.on(FlatOps::new());
    /// let mut there = there.resume_from_host(stored, &like, Prediction::Data, noise)?;
    /// run.complete(model)?;
    /// there.complete(model)?;
    /// assert_eq!(run.state(), there.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume); [`Error::ShapeMismatch`] unless the snapshot has the shape of
    /// `like`.
    pub fn resume_from_host<N: NoiseSource<O::Element>>(
        self,
        snapshot: Snapshot<Flat<O::Element>>,
        like: &O::Tensor,
        prediction: Prediction,
        noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        let snapshot = snapshot.try_map(|array| {
            let shape = self.ops.shape(like);
            require_shape("snapshot", shape.as_ref(), array.shape())?;
            let tensor = self.ops.upload(array.into_vec(), like);
            tensor.map_err(TensorError::Tensor)
        })?;
        self.resume(snapshot, prediction, noise)
    }

    fn driver(
        &self,
        x: &O::Tensor,
        prediction: Prediction,
        noise: &impl NoiseSource<O::Element>,
    ) -> Result<Driver, Error> {
        let (plan, clip) = (self.sampler.shared_plan(), self.sampler.clip());
        let batch = arrays::batch_of(&self.ops, x);
        Driver::new(plan, prediction, clip, (batch, noise))
    }

    fn run<N: NoiseSource<O::Element>>(
        self,
        driver: Driver,
        (x, history, memory): (O::Tensor, Vec<O::Tensor>, Option<O::Tensor>),
        noise: N,
    ) -> Result<TensorRun<O, N>, TensorError<O::Error>> {
        let slots = driver.plan().slots();
        let arrays = Arrays::new(&self.ops, x, (history, memory), slots)?;
        Ok(TensorRun {
            driver,
            ops: self.ops,
            arrays,
            noise,
        })
    }
}
