//! The forward process on arrays: noising data, and its transitions between two levels.

use ndarray::{ArrayRef, Dimension};

use crate::apply::{affine, apply, apply_levels, filler};
use crate::error::{Error, require};
use crate::level::{Levels, NoiseLevel};
use crate::noise::{NoiseSource, Stream};
use crate::posterior::Transition;
use crate::real::Real;

/// Fills an array with standard normals: ε for training, or noise for the caller's own steps.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, forward::fill_normal, noise::Stream};
/// use ndarray::Array2;
///
/// let mut noise = Array2::<f32>::zeros((4, 3));
/// fill_normal(&mut noise, &mut KeyedNoise::new(1), 0, Stream::User(0))?;
/// assert!(noise.iter().all(|z| *z != 0.0));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NoSampleAxis`]; what the source's [`check`](NoiseSource::check) refuses.
pub fn fill_normal<A: Real, D: Dimension, N: NoiseSource<A>>(
    out: &mut ArrayRef<A, D>,
    noise: &mut N,
    step: u32,
    stream: Stream,
) -> Result<(), Error> {
    let mut fill = filler(out, noise, step, stream)?;
    out.fill(A::zero());
    apply(&[affine(0.0, 0.0, 1.0)], out, &[], Some(&mut fill)).map(drop)
}

/// Samples q(x_t | x₀) in place: x ← αx + σz, with one level for the batch, one per sample, or one
/// per position along an axis ([`Levels::along`]: tokens, frames).
///
/// `step` keys the noise: the same (seed, step) gives the same noise.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, forward::diffuse, schedule::{NoiseSchedule, RectifiedFlow}};
/// use ndarray::array;
///
/// let schedule = RectifiedFlow::new();
/// let levels = [schedule.level(0.0)?, schedule.level(0.5)?];
/// let mut x = array![[1.0f64, 2.0], [3.0, 4.0]];
/// diffuse(&mut x, &levels, &mut KeyedNoise::new(1), 0)?;
/// assert_eq!(x[[0, 1]], 2.0);
/// assert_ne!(x[[1, 1]], 2.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NoSampleAxis`]; [`Error::WrongLength`] unless there is one level, or one per sample, or
/// as many as [`Levels::along`] says; [`Error::WrongAxis`] for an axis that `x` does not have; what
/// the source's [`check`](NoiseSource::check) refuses.
#[doc(alias = "add_noise")]
#[doc(alias = "q_sample")]
pub fn diffuse<'l, A: Real, D: Dimension, N: NoiseSource<A>>(
    x: &mut ArrayRef<A, D>,
    levels: impl Into<Levels<'l>>,
    noise: &mut N,
    step: u32,
) -> Result<(), Error> {
    let form = |level: &NoiseLevel| affine(level.alpha(), 0.0, level.sigma());
    let mut fill = filler(x, noise, step, Stream::Forward)?;
    apply_levels(levels.into(), form, x, &[], Some(&mut fill))
}

/// x_t = αx₀ + σε in place for a given ε, with one level for the batch, one per sample, or one per
/// position along an axis ([`Levels::along`]): the input of training.
///
/// # Errors
///
/// As [`diffuse`], and [`Error::ShapeMismatch`].
pub fn diffuse_with<'l, A: Real, D: Dimension>(
    x: &mut ArrayRef<A, D>,
    noise: &ArrayRef<A, D>,
    levels: impl Into<Levels<'l>>,
) -> Result<(), Error> {
    let form = |level: &NoiseLevel| affine(level.alpha(), level.sigma(), 0.0);
    apply_levels(levels.into(), form, x, &[noise], None)
}

impl Transition {
    /// A sample of this transition in place: x ← state·x + data·x₀ + noise·z. `step` and `stream`
    /// key the noise; [`Stream::Forward`] is that of the forward process. `data` is not needed
    /// where its coefficient is 0, as for [`forward_step`](Self::forward_step).
    ///
    /// ```
    /// use diffusion_sampler::{KeyedNoise, noise::Stream, posterior::Transition};
    /// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let up = Transition::forward_step(&schedule.level(200.0)?, &schedule.level(400.0)?)?;
    /// let mut x = Array2::<f32>::zeros((4, 3));
    /// up.sample_in_place(&mut x, None, &mut KeyedNoise::new(1), 0, Stream::Forward)?;
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] without `data` where its coefficient is not 0;
    /// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`]; what the source's
    /// [`check`](NoiseSource::check) refuses.
    pub fn sample_in_place<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: Option<&ArrayRef<A, D>>,
        noise: &mut N,
        step: u32,
        stream: Stream,
    ) -> Result<(), Error> {
        let mut fill = filler(x, noise, step, stream)?;
        let form = affine(self.state, self.data, self.noise);
        match data {
            Some(data) => apply(&[form], x, &[data], Some(&mut fill)),
            None => {
                require(
                    self.data == 0.0,
                    "coefficient on the data",
                    self.data,
                    "0 for a transition without data: give the data",
                )?;
                apply(&[form], x, &[], Some(&mut fill))
            }
        }
        .map(drop)
    }
}
