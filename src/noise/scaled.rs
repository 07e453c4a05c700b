//! Noise of another size for each element.

use super::fingerprint::{self, Fingerprint};
use super::{
    Demand, KeyedNoise, NoiseKey, NoiseScales, NoiseSource, NormalElement, PureNoise, Stream,
};
use crate::error::{Error, require_length};

/// A source whose normals of a run's steps are multiplied by a factor for each step and element, so
/// that a plan with one noise a step gives every element a variance of its own.
///
/// [`FirstOrder::plan_diagonal`](crate::solver::FirstOrder::plan_diagonal) makes the plan and the
/// factors together. They belong to that plan: with another one the variances are wrong, and
/// nothing says so unless its length or the number of elements differs. x_T and the forward process
/// draw from the source as it is.
///
/// It is a pure function of its key where the source is one, so that threads, batches and shards
/// change no bit. In a batch of several requests ([`PerSample`](super::PerSample)) each has a
/// scaled source. A tensor library that makes normals of its own
/// ([`TensorOps::normals`](crate::tensor::TensorOps::normals)) asks no source, and so does not
/// scale.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::{noise::ScaledNoise, oracle::{Gaussian, Oracle}};
/// use diffusion_sampler::posterior::{DiagonalVariance, Kappa};
/// use diffusion_sampler::{schedule::TableSchedule, solver::{FirstOrder, Path}};
/// use ndarray::Array2;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 5)?;
/// let data = Gaussian::diagonal(&[1.0, -2.0], &[0.5, 0.001])?;
/// let variance = DiagonalVariance::new(data.element_errors(&grid.levels()[..5])?);
///
/// let path = Path::new(&schedule, &grid)?;
/// let solver = FirstOrder::new(Kappa::Ddpm);
/// let (plan, scales) = solver.plan_diagonal(&path, &variance.with_final_noise())?;
/// let sampler = Sampler::from_plan(plan, grid.start_variance())?;
/// let noise = ScaledNoise::new(KeyedNoise::new(7), scales);
/// let mut run = sampler.start::<f64, _, _>((4, 2), Prediction::Noise, noise)?;
/// run.complete(&mut data.denoiser(Prediction::Noise))?;
/// let samples: Array2<f64> = run.into_state();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScaledNoise<S = KeyedNoise> {
    source: S,
    scales: NoiseScales,
}

impl<S> ScaledNoise<S> {
    /// The normals of `source`, scaled.
    pub fn new(source: S, scales: NoiseScales) -> Self {
        Self { source, scales }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The factors.
    pub fn scales(&self) -> &NoiseScales {
        &self.scales
    }

    fn scale<A: NormalElement>(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        if !matches!(key.stream, Stream::Step(_)) {
            return;
        }
        let factors = self.scales.step(key.step as usize);
        let start = usize::try_from(first).ok();
        let own = factors.zip(start).and_then(|(row, start)| row.get(start..));
        match own {
            Some(factors) if factors.len() >= out.len() => multiply(out, factors.iter().copied()),
            // What `check` refuses.
            _ => out.fill(A::narrow(f64::NAN)),
        }
    }
}

/// z ← factor·z, rounded once.
pub(super) fn multiply<A: NormalElement>(out: &mut [A], factors: impl Iterator<Item = f64>) {
    for (z, factor) in out.iter_mut().zip(factors) {
        *z = A::narrow(z.wide() * factor);
    }
}

impl<A: NormalElement, S: NoiseSource<A> + Sync> PureNoise<A> for ScaledNoise<S> {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        match self.source.as_pure() {
            Some(source) => {
                source.draw(key, first, out);
                self.scale(key, first, out);
            }
            None => out.fill(A::narrow(f64::NAN)),
        }
    }
}

impl<A: NormalElement, S: NoiseSource<A> + Sync> NoiseSource<A> for ScaledNoise<S> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.source.fill(key, first, out);
        self.scale(key, first, out);
    }

    /// # Errors
    ///
    /// [`Error::WrongLength`] for samples of another number of elements, or more steps; those of
    /// the source.
    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        // Where nothing is drawn there may be no sample to say how many elements it has.
        let draws = !demand.steps.is_empty() && demand.elements > 0;
        if matches!(demand.stream, Stream::Step(_)) && draws {
            let elements = usize::try_from(demand.elements).unwrap_or(usize::MAX);
            require_length("noise scales of a step", elements, self.scales.dim)?;
            let steps = usize::try_from(demand.steps.end).unwrap_or(usize::MAX);
            if steps > self.scales.steps() {
                require_length("steps with noise scales", steps, self.scales.steps())?;
            }
        }
        self.source.check(demand)
    }

    fn reads_intervals(&self) -> bool {
        self.source.reads_intervals()
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        self.source.as_pure().map(|_| self as &dyn PureNoise<A>)
    }

    fn fingerprint(&self) -> Option<u64> {
        let of = Fingerprint::of_kind(fingerprint::SCALED)
            .word(self.source.fingerprint()?)
            .word(self.scales.fingerprint());
        Some(of.value())
    }
}
