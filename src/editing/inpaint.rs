//! Inpainting: the known part is put back after every step.

use ndarray::{Array, ArrayRef, Dimension, Zip};

use crate::apply::{affine, apply, filler};
use crate::error::{Error, require_shape};
use crate::level::NoiseLevel;
use crate::memory;
use crate::noise::{KeyedNoise, NoiseSource, Stream};
use crate::real::Real;
use crate::run::{Trajectory, check_start};

/// Masked blending: after every step the known part of the state is replaced by the known image at
/// the level that the step reached, x ← m (α x₀ + σ z) + (1 − m) x.
///
/// The mask m is 1 where the image is known, 0 where it is to be made, and between them where it is
/// soft. z is fresh for every level ([`new`](Self::new)) or one noise for all
/// ([`with_one_noise`](Self::with_one_noise)). [`blend`](Self::blend) once before the first step and
/// after each; at a clean end σ = 0, and where m = 1 the result is the image itself, bit for bit. A
/// run that ends above the clean level ends with noise on the known part too.
///
/// Any solver can be used: where m = 1 the state is replaced whatever a solver has kept in its
/// history, and elsewhere the history belongs to the same run. Where the mask is soft a blended
/// state has less noise than its level, √(m² + (1 − m)²)σ, by up to a factor of √2; keep soft
/// borders narrow. Replacement understates how the unknown part depends on the known one:
/// [`RePaint`](crate::solver::RePaint) mends it by resampling. After a step *up*, to more noise,
/// nothing is replaced (Lugmayr et al. 2022, Algorithm 1).
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, editing::Inpaint};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
/// use ndarray::{Array2, array};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let mut model = Gaussian::isotropic(&[0.5; 3], 0.1)?.denoiser(Prediction::Noise);
/// let image = array![[0.1f32, 0.2, 0.3], [0.4, 0.5, 0.6]];
/// // The first pixel is known; one mask for all samples.
/// let mut inpaint = Inpaint::new(image.clone(), &array![[1.0, 0.0, 0.0]], KeyedNoise::new(7))?;
///
/// let mut run = sampler.start((2, 3), Prediction::Noise, KeyedNoise::new(7))?;
/// inpaint.blend(&mut run)?;
/// while !run.is_finished() {
///     run.advance(&mut model)?;
///     inpaint.blend(&mut run)?;
/// }
/// assert_eq!(run.state().column(0), image.column(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "mask")]
#[doc(alias = "blended latent")]
pub struct Inpaint<A, D: Dimension, N = KeyedNoise> {
    known: Array<A, D>,
    mask: Array<A, D>,
    noise: KnownNoise<A, D, N>,
    /// The known image at the level.
    noisy: Array<A, D>,
}

#[derive(Clone, Debug)]
enum KnownNoise<A, D: Dimension, N> {
    Fresh(N),
    One(Array<A, D>),
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> Inpaint<A, D, N> {
    /// Keeps `known` where `mask` is 1, with fresh noise of `noise` for every level:
    /// [`Stream::Forward`], keyed by the number of steps taken. It may be the run's own source, whose
    /// streams are others.
    ///
    /// The mask is broadcast to the image: axes of length 1 serve for all samples or channels.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::ShapeMismatch`] for a mask that cannot be broadcast;
    /// [`Error::InvalidEntry`] for an entry of it that is not between 0 and 1;
    /// [`Error::NonFiniteStart`] for an image that is not finite; [`Error::TooLarge`].
    pub fn new(known: Array<A, D>, mask: &ArrayRef<A, D>, noise: N) -> Result<Self, Error> {
        if known.ndim() == 0 {
            return Err(Error::NoSampleAxis);
        }
        check_start(&known, "known image")?;
        let valid = |m: A| m >= A::zero() && m <= A::one();
        if let Some((index, value)) = mask.iter().enumerate().find(|(_, m)| !valid(**m)) {
            return Err(Error::InvalidEntry {
                name: "mask",
                index,
                value: value.widen(),
                requirement: "between 0 (to be made) and 1 (known)",
            });
        }
        let broadcast = mask.broadcast(known.raw_dim());
        let broadcast = broadcast.ok_or_else(|| Error::ShapeMismatch {
            name: "mask",
            expected: known.shape().to_vec(),
            found: mask.shape().to_vec(),
        })?;
        let mut mask = memory::zeros(known.raw_dim())?;
        mask.assign(&broadcast);
        Ok(Self {
            noisy: memory::zeros(known.raw_dim())?,
            known,
            mask,
            noise: KnownNoise::Fresh(noise),
        })
    }

    /// Blends a run's state at the level where it stands: before the first step, and after each.
    ///
    /// # Errors
    ///
    /// [`Error::WithinStep`] for a run that stands within a step; as [`apply`](Self::apply).
    pub fn blend<M: NoiseSource<A>>(&mut self, run: &mut Trajectory<A, D, M>) -> Result<(), Error> {
        let (step, stage) = (run.step(), run.cursor().stage_index());
        if stage > 0 {
            return Err(Error::WithinStep { step, stage });
        }
        let last = step
            .checked_sub(1)
            .and_then(|last| run.plan().steps().get(last));
        if last.is_some_and(|last| last.to.lambda() < last.from.lambda()) {
            return Ok(());
        }
        let level = run.level();
        self.apply(&mut run.state_mut(), &level, step as u32)
    }

    /// Blends any array at any level: the state of a [`Machine`](crate::run::Machine), of an
    /// observer's [`StepReport`](crate::run::StepReport), of a loop of the caller's own. `step` keys
    /// the noise.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] unless `x` has the image's shape; what the noise's
    /// [`check`](NoiseSource::check) refuses. `x` is then unchanged.
    pub fn apply(
        &mut self,
        x: &mut ArrayRef<A, D>,
        level: &NoiseLevel,
        step: u32,
    ) -> Result<(), Error> {
        require_shape("state", self.known.shape(), x.shape())?;
        self.noisy.assign(&self.known);
        let (signal, noise) = (level.alpha(), level.sigma());
        match &mut self.noise {
            KnownNoise::Fresh(source) if noise != 0.0 => {
                let mut fill = filler(&self.noisy, source, step, Stream::Forward)?;
                let form = [affine(signal, 0.0, noise)];
                apply(&form, &mut self.noisy, &[], Some(&mut fill))?;
            }
            KnownNoise::Fresh(_) => {
                apply(&[affine(signal, 0.0, 0.0)], &mut self.noisy, &[], None)?;
            }
            KnownNoise::One(array) => {
                apply(
                    &[affine(signal, noise, 0.0)],
                    &mut self.noisy,
                    &[array],
                    None,
                )?;
            }
        }
        Zip::from(x)
            .and(&self.noisy)
            .and(&self.mask)
            .for_each(|x, &known, &m| {
                // Not by the sum alone: 0·x is NaN where x is not finite, and −0 + 0 is +0.
                if m == A::one() {
                    *x = known;
                } else if m != A::zero() {
                    *x = m * known + (A::one() - m) * *x;
                }
            });
        Ok(())
    }
}

impl<A: Real, D: Dimension> Inpaint<A, D> {
    /// The same with one noise for all levels, standard normals of the image's shape: the noise that
    /// the run starts from, for example. The known part then moves on a straight line through the
    /// levels, as under a deterministic solver with an exact model of that one image.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::ShapeMismatch`] and [`Error::NonFiniteStart`] for the noise.
    pub fn with_one_noise(
        known: Array<A, D>,
        mask: &ArrayRef<A, D>,
        noise: Array<A, D>,
    ) -> Result<Self, Error> {
        require_shape("noise", known.shape(), noise.shape())?;
        check_start(&noise, "noise")?;
        let fresh = Self::new(known, mask, KeyedNoise::new(0))?;
        Ok(Self {
            noise: KnownNoise::One(noise),
            ..fresh
        })
    }
}
