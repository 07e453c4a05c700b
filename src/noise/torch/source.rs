//! The noise of a run from torch's generators.

use super::generator::{Block, Piece, TorchGenerator};
use crate::error::{Error, require, require_length};
use crate::memory::Listed;
use crate::noise::fingerprint::{self, Fingerprint};
use crate::noise::{Demand, NoiseKey, NoiseSource, NormalElement, Stream};

/// What a wrong number of samples is refused by.
const BATCH: &str = "batch of torch's noise";

/// The noise that a run of a torch library would have drawn: successive `torch.randn(shape)` calls
/// of one generator for the whole batch, or of one for each sample.
///
/// A run asks for x_T and then, step by step, for the noise of each stage; each of these is one
/// tensor, the whole batch or (with a generator for each sample) the sample, whatever the pieces
/// are in which it is asked for. `randn` of a batch is no concatenation of its samples, and depends
/// on the number of elements as a whole; so the shape is told here, and a batch of another shape is
/// refused when a run is started and before a single step or call draws. Elements that are left out
/// (a sample whose noise has no weight, in a call with a level for each) are drawn and dropped; calls
/// of that kind need a step of their own each, which tells the tensors apart: two in which different
/// samples are left out would share one tensor under the same step. Going back within a tensor gives
/// NaN; no run does that. A [`DdimStep`](crate::run::DdimStep) with a level for each sample asks for
/// each by itself, and takes a generator for each only.
///
/// This is for compatibility: for pictures that a torch program made, or a comparison with one,
/// number by number. A sample depends on its place in the batch, and one that is added or left out
/// changes the others; threads (feature `rayon`) leave it to one of them. Everywhere else
/// [`KeyedNoise`](crate::KeyedNoise) is better.
///
/// # Which tensors a library draws
///
/// In diffusers, a pipeline draws x_T with `randn_tensor(shape, generator)` and hands the generator
/// to its scheduler, whose `step` draws a tensor of the state's shape. A list of generators is one
/// for each sample ([`per_sample`](Self::per_sample)). Where the two differ from a run's draws:
///
/// - Most of its stochastic schedulers draw for the step to σ = 0 too, and multiply by 0. A plan
///   does not, which changes nothing before. `DDPMScheduler` draws for t > 0 only, as a plan does.
/// - `SASolverScheduler` draws at every step, and its default uses no noise on the first and the last
///   ones: [`at_every_step`](Self::at_every_step).
/// - A pipeline that draws before x_T (for an image's encoder, say): draw the same with
///   [`randn`](super::TorchCpu::randn), and only then make the source of the generator.
/// - A pipeline in half precision draws half tensors, which are other numbers.
///
/// # Going on later
///
/// The source is the generator's state, and a snapshot of a run does not hold it: clone it, or store
/// it (feature `serde`) with the snapshot, and give the copy to the run that resumes. A run owns its
/// noise; with `&mut noise` it stays yours.
///
/// ```
/// use diffusion_sampler::noise::{TorchCpu, TorchNoise};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{Grid, Prediction, Sampler, schedule::TableSchedule, solver::FirstOrder};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 20)?, &FirstOrder::ddpm())?;
/// // torch.Generator().manual_seed(7), and latents of shape (2, 4, 3, 3).
/// let shape = (2, 4, 3, 3);
/// let noise = TorchNoise::new(TorchCpu::new(7), &[2, 4, 3, 3])?;
/// let mut run = sampler.start::<f32, _, _>(shape, Prediction::Noise, noise)?;
///
/// let mut latents = [0.0f32; 72];
/// TorchCpu::new(7).randn(&mut latents);
/// let deviation = sampler.start_variance().sqrt() as f32;
/// assert!(run.state().iter().zip(latents).all(|(x, z)| *x == deviation * z));
/// let mut model = Gaussian::isotropic(&[0.0; 36], 1.0)?.denoiser(Prediction::Noise);
/// run.complete(&mut model)?;
///
/// // Not that shape: an error, before anything is drawn.
/// let noise = TorchNoise::new(TorchCpu::new(7), &[2, 4, 3, 3])?;
/// assert!(sampler.start::<f32, _, _>((1, 4, 3, 3), Prediction::Noise, noise).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("generator", "randn_tensor"))]
#[derive(Clone, Debug, PartialEq)]
pub struct TorchNoise<G> {
    /// One for the whole batch, or one for each sample.
    pub(super) tensors: Vec<Tensors<G>>,
    pub(super) samples: usize,
    pub(super) elements: usize,
    pub(super) every_step: bool,
}

/// A generator and its tensors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensors<G> {
    pub(super) generator: G,
    /// The step after the last that drew.
    pub(super) next_step: u32,
    /// The tensor that is half drawn; none between two draws.
    pub(super) begun: Option<Begun>,
}

/// A tensor that is half drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Begun {
    used_for: (u32, Stream),
    drawn: u64,
    block: Block,
    /// The size of an element, which tells its type.
    bytes: usize,
}

impl<G> Tensors<G> {
    pub(super) fn new(generator: G) -> Self {
        Self {
            generator,
            next_step: 0,
            begun: None,
        }
    }

    /// Draws a piece of a tensor, and drops what lies before it. Returns whether it has it.
    fn draw<A: NormalElement>(&mut self, wanted: Wanted, out: &mut [A]) -> bool
    where
        G: TorchGenerator<A>,
    {
        // Nothing is asked for: not a tensor's beginning, and not another one behind its end.
        if out.is_empty() {
            return true;
        }
        let Wanted {
            used_for, piece, ..
        } = wanted;
        let end = piece.first.saturating_add(out.len() as u64);
        if end > piece.length {
            return false;
        }
        let begun = self.begun.filter(|tensor| tensor.used_for == used_for);
        let mut tensor = match begun.filter(|_| piece.first > 0) {
            Some(tensor) => tensor,
            None => match self.begin::<A>(wanted) {
                Some(tensor) => tensor,
                None => return false,
            },
        };
        if piece.first < tensor.drawn || tensor.bytes != size_of::<A>() {
            return false;
        }
        self.pass::<A>(&mut tensor, piece.length, piece.first);
        self.generator.draw(piece, &mut tensor.block, out);
        tensor.drawn = end;
        self.begun = (0 < end && end < piece.length).then_some(tensor);
        true
    }

    /// A new tensor: what is left of the last one is drawn and dropped, and so are those of steps
    /// between. None if the last one is of another type.
    fn begin<A: NormalElement>(&mut self, wanted: Wanted) -> Option<Begun>
    where
        G: TorchGenerator<A>,
    {
        let (Wanted { used_for, .. }, length) = (wanted, wanted.piece.length);
        let mut tensor = Begun {
            used_for,
            drawn: 0,
            block: Block::default(),
            bytes: size_of::<A>(),
        };
        if let Some(mut last) = self.begun {
            if last.bytes != tensor.bytes {
                return None;
            }
            self.pass::<A>(&mut last, length, length);
            self.begun = None;
        }
        self.next_step = match used_for {
            (step, Stream::Step(_)) => {
                // A step that was drawn before begins another run.
                let next = Some(self.next_step).filter(|next| *next <= step);
                let between = next.unwrap_or(0)..if wanted.every_step { step } else { 0 };
                for _ in between {
                    self.pass::<A>(&mut tensor, length, length);
                    tensor.drawn = 0;
                }
                step.saturating_add(1)
            }
            (_, Stream::Start) => 0,
            // A caller's own noise between two steps is no new run.
            _ => self.next_step,
        };
        Some(tensor)
    }

    /// Draws a tensor's elements before `end` and drops them.
    fn pass<A: NormalElement>(&mut self, tensor: &mut Begun, length: u64, end: u64)
    where
        G: TorchGenerator<A>,
    {
        let mut dropped = [A::narrow(0.0); 16];
        while tensor.drawn < end {
            let first = tensor.drawn;
            let count = (end - first).min(16);
            let (dropped, _) = dropped.split_at_mut(count as usize);
            let piece = Piece { length, first };
            self.generator.draw(piece, &mut tensor.block, dropped);
            tensor.drawn += count;
        }
    }
}

/// A piece of a tensor, and what the tensor is for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    used_for: (u32, Stream),
    piece: Piece,
    /// Whether the library draws at every step.
    every_step: bool,
}

impl<G> TorchNoise<G> {
    /// One generator for the whole batch: each noise is `torch.randn(shape, generator=generator)`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`] for an empty shape, [`Error::TooLarge`] for more elements than can be
    /// counted.
    pub fn new(generator: G, shape: &[usize]) -> Result<Self, Error> {
        Self::of([generator], shape)
    }

    /// A generator for each sample, as a list of them is in diffusers: the noise of sample i is
    /// `torch.randn([1] + shape[1:], generator=generators[i])`.
    ///
    /// ```
    /// use diffusion_sampler::noise::{NoiseKey, NoiseSource, Stream, TorchCpu, TorchNoise};
    ///
    /// let generators = [7, 8].map(TorchCpu::new);
    /// let mut noise = TorchNoise::per_sample(generators, &[2, 5, 5])?;
    /// let (mut batch, mut second) = ([0.0f32; 50], [0.0f32; 25]);
    /// noise.fill_batch(NoiseKey::new(0, 0, Stream::Start), 2, &mut batch)?;
    /// TorchCpu::new(8).randn(&mut second);
    /// assert_eq!(batch[25..], second);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`Error::WrongLength`] unless there are as many as samples.
    pub fn per_sample(
        generators: impl IntoIterator<Item = G>,
        shape: &[usize],
    ) -> Result<Self, Error> {
        let noise = Self::of(generators, shape)?;
        require_length("list of generators", noise.samples, noise.tensors.len())?;
        Ok(noise)
    }

    pub(super) fn of(
        generators: impl IntoIterator<Item = G>,
        shape: &[usize],
    ) -> Result<Self, Error> {
        let (&samples, axes) = shape.split_first().ok_or(Error::NoSampleAxis)?;
        let product = |axes: &[usize]| {
            let mut axes = axes.iter();
            let all = axes.try_fold(1usize, |all, axis| all.checked_mul(*axis));
            all.ok_or_else(|| Error::TooLarge {
                shape: shape.to_vec(),
            })
        };
        product(shape)?;
        Ok(Self {
            tensors: generators.into_iter().map(Tensors::new).listed()?,
            samples,
            elements: product(axes)?,
            every_step: false,
        })
    }

    /// The same for a run of a library that draws at every step, also where ours needs no noise: the
    /// tensors of steps between two that draw are drawn and dropped. One for each, so that a solver
    /// of two noises a step is beyond it. Noise of the caller's in between is a tensor of its own, and
    /// a step that is not after the last begins another run, at its step 0.
    #[must_use]
    pub fn at_every_step(self) -> Self {
        Self {
            every_step: true,
            ..self
        }
    }

    /// The generators, for what is to be drawn after the run.
    pub fn generators(&self) -> impl Iterator<Item = &G> {
        self.tensors.iter().map(|tensor| &tensor.generator)
    }

    /// Refuses a source that stands within a tensor, to store it.
    #[cfg(feature = "serde")]
    pub(super) fn require_between(&self) -> Result<(), Error> {
        let begun = |tensors: &&Tensors<G>| tensors.begun.is_some();
        let begun = self.tensors.iter().filter(begun).count();
        let none = "0: a source is stored between two tensors";
        require(begun == 0, "half-drawn tensors", begun as f64, none)
    }

    /// Whether each tensor is a whole batch.
    fn is_shared(&self) -> bool {
        self.tensors.len() == 1
    }

    /// The generator of a piece of a row, and the piece of its tensor.
    fn piece(&self, row: u64, first: u64) -> Option<(usize, Piece)> {
        let (row, elements) = (usize::try_from(row).ok()?, self.elements as u64);
        if row >= self.samples {
            return None;
        }
        let (index, tensors, before) = match self.is_shared() {
            true => (0, self.samples as u64, row as u64),
            false => (row, 1, 0),
        };
        let piece = Piece {
            length: elements * tensors,
            first: (elements * before).checked_add(first)?,
        };
        Some((index, piece))
    }

    fn draw<A: NormalElement>(&mut self, key: NoiseKey, first: u64, out: &mut [A]) -> Option<bool>
    where
        G: TorchGenerator<A>,
    {
        let (index, piece) = self.piece(key.row, first)?;
        let wanted = Wanted {
            used_for: (key.step, key.stream),
            piece,
            every_step: self.every_step,
        };
        Some(self.tensors.get_mut(index)?.draw(wanted, out))
    }
}

impl<A: NormalElement, G: TorchGenerator<A>> NoiseSource<A> for TorchNoise<G> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        if self.draw(key, first, out) != Some(true) {
            out.fill(A::narrow(f64::NAN));
        }
    }

    /// Whole blocks are cheaper: a tensor depends on no interval.
    fn reads_intervals(&self) -> bool {
        false
    }

    fn fingerprint(&self) -> Option<u64> {
        let mut of = Fingerprint::of_kind(fingerprint::TORCH)
            .word(self.samples as u64)
            .word(self.elements as u64)
            .word(u64::from(self.every_step));
        for tensors in &self.tensors {
            let mut words = |word| of = of.word(word);
            tensors.generator.words(&mut words);
            words(u64::from(tensors.next_step));
        }
        Some(of.value())
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        let rows = demand.rows.end.saturating_sub(demand.rows.start);
        let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        if self.is_shared() || demand.whole {
            require_length(BATCH, self.samples, count(rows))?;
            let (valid, start) = (demand.rows.start == 0, demand.rows.start as f64);
            let beginning = "0, where the tensor begins";
            require(valid, "first row of torch's noise", start, beginning)?;
        } else if demand.rows.end > self.samples as u64 {
            require_length(BATCH, self.samples, count(demand.rows.end))?;
        }
        if rows == 0 {
            return Ok(());
        }
        let elements = count(demand.elements);
        require_length("sample of torch's noise", self.elements, elements)
    }
}
