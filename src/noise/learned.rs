//! Noise whose variance the model gives with its prediction.

use super::fingerprint::{self, Fingerprint};
use super::scaled::multiply;
use super::{Demand, KeyedNoise, NoiseKey, NoiseSource, NormalElement, PureNoise, Stream};
use crate::error::Error;
use crate::memory;

/// A source for runs of a network that gives the variance of each element beside its prediction
/// (iDDPM, guided-diffusion: "learned range"), a variance for every sample, step and element.
///
/// The run hands it the network's second output before each step's update: by
/// [`complete_learned`](crate::Trajectory::complete_learned) and
/// [`advance_learned`](crate::Trajectory::advance_learned) with a model of two outputs,
/// [`tell_learned`](crate::Trajectory::tell_learned) with both arrays, or
/// [`interpolate`](crate::Trajectory::interpolate) before any other `tell`. It holds that one
/// step's factors, an array of the state's shape, and nothing else. The noise of a step that was
/// given no variance is NaN, which stops the run: never silently of another variance.
///
/// Its normals are those of the source, so that batch, order and threads change no sample.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::denoiser::{from_query_fn, split_channels};
/// use diffusion_sampler::noise::LearnedNoise;
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::{Array4, Ix4};
///
/// let schedule = TableSchedule::cosine(1000)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
/// // A network that returns [B, 6, H, W] for images of [B, 3, H, W].
/// let mut model = from_query_fn::<f32, Ix4, diffusion_sampler::Error>(
///     Prediction::Noise,
///     2,
///     |x, query, out| {
///         let (samples, _, height, width) = x.dim();
///         let mut network = Array4::<f32>::zeros((samples, 6, height, width));
///         network.slice_mut(ndarray::s![.., ..3, .., ..]).assign(x);
///         network *= query.level().sigma() as f32;
///         split_channels(&network, out)
///     },
/// );
/// let noise = LearnedNoise::new(KeyedNoise::new(7));
/// let mut run = sampler.start::<f32, _, _>((2, 3, 8, 8), Prediction::Noise, noise)?;
/// run.complete_learned(&mut model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nichol and Dhariwal (2021), "Improved Denoising Diffusion Probabilistic Models".
#[doc(alias("learned_range", "LEARNED_RANGE"))]
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedNoise<A, S = KeyedNoise> {
    source: S,
    /// The step that the factors are for.
    step: Option<u32>,
    elements: usize,
    /// A row of factors for each sample.
    factors: Vec<A>,
}

impl<A, S> LearnedNoise<A, S> {
    /// The normals of `source`, to be scaled by what the model says.
    pub fn new(source: S) -> Self {
        Self {
            source,
            step: None,
            elements: 0,
            factors: Vec::new(),
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The factors of one step: rows of `elements` elements.
    pub(crate) fn set(
        &mut self,
        step: usize,
        elements: usize,
        factors: impl Iterator<Item = A>,
    ) -> Result<(), Error> {
        self.step = u32::try_from(step).ok();
        self.elements = elements;
        self.factors.clear();
        memory::extend(&mut self.factors, factors)
    }
}

impl<A: NormalElement, S> LearnedNoise<A, S> {
    fn scale(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        if !matches!(key.stream, Stream::Step(_)) {
            return;
        }
        let own = self.step == Some(key.step);
        let factors = own.then(|| self.row(key.row, first, out.len())).flatten();
        match factors {
            Some(factors) => multiply(out, factors.iter().map(|factor| factor.wide())),
            None => out.fill(A::narrow(f64::NAN)),
        }
    }

    fn row(&self, row: u64, first: u64, length: usize) -> Option<&[A]> {
        let (row, first) = (usize::try_from(row).ok()?, usize::try_from(first).ok()?);
        if first.checked_add(length)? > self.elements {
            return None;
        }
        let start = row.checked_mul(self.elements)?.checked_add(first)?;
        self.factors.get(start..start.checked_add(length)?)
    }
}

impl<A: NormalElement, S: NoiseSource<A> + Sync> PureNoise<A> for LearnedNoise<A, S> {
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

impl<A: NormalElement, S: NoiseSource<A> + Sync> NoiseSource<A> for LearnedNoise<A, S> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.source.fill(key, first, out);
        self.scale(key, first, out);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        self.source.check(demand)
    }

    fn reads_intervals(&self) -> bool {
        self.source.reads_intervals()
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        self.source.as_pure().map(|_| self as &dyn PureNoise<A>)
    }

    fn fingerprint(&self) -> Option<u64> {
        let of = Fingerprint::of_kind(fingerprint::LEARNED);
        Some(of.word(self.source.fingerprint()?).value())
    }
}
