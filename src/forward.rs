//! The forward chain and the posterior on arrays.

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::kernel::{self, FillNoise, Form, Forms, Row};
use crate::level::NoiseLevel;
use crate::noise::{Interval, NoiseSource, StepNoise, Stream};
use crate::posterior::{StridedPosterior, Upward};
use crate::prediction::Prediction;
use crate::real::Real;

/// The form x' = a·x + b·input + n·z.
fn affine(state: f64, input: f64, noise: f64) -> Form {
    let mut x = Row::ZERO;
    x.x = state;
    x.inputs[0] = input;
    Form {
        x,
        x_from_y: 0.0,
        noise,
        y: None,
        clip: None,
    }
}

/// Applies one form, or one per sample; a batch has as many forms as samples.
pub(crate) fn apply<A: Real, D: Dimension>(
    forms: &[Form],
    x: &mut ArrayRef<A, D>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    let forms = match forms {
        [one] => Forms::Same(one),
        many => Forms::PerSample(many),
    };
    kernel::update(forms, x, None, inputs, noise)
}

/// Lends a noise source to the kernels for rows outside a step.
fn filler<N>(noise: &mut N, step: u32, stream: Stream) -> StepNoise<'_, &mut N> {
    StepNoise::new(noise, step, stream, &[])
}

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
/// [`Error::NoSampleAxis`].
pub fn fill_normal<A: Real, D: Dimension, N: NoiseSource<A>>(
    out: &mut ArrayRef<A, D>,
    noise: &mut N,
    step: u32,
    stream: Stream,
) -> Result<(), Error> {
    out.fill(A::zero());
    let mut fill = filler(noise, step, stream);
    apply(&[affine(0.0, 0.0, 1.0)], out, &[], Some(&mut fill)).map(drop)
}

/// The start law: x ← x + deviation·z on zeros.
pub(crate) fn start_noise<A: Real, D: Dimension, N: NoiseSource<A>>(
    x: &mut ArrayRef<A, D>,
    deviation: f64,
    noise: &mut N,
) -> Result<(), Error> {
    let mut fill = filler(noise, 0, Stream::Start);
    apply(&[affine(0.0, 0.0, deviation)], x, &[], Some(&mut fill)).map(drop)
}

/// Samples q(x_t | x₀) in place: x ← αx + σz, with one level for the batch or one per sample.
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
/// [`Error::NoSampleAxis`]; [`Error::WrongLength`] unless there is one level, or one per sample.
pub fn diffuse<A: Real, D: Dimension, N: NoiseSource<A>>(
    x: &mut ArrayRef<A, D>,
    levels: &[NoiseLevel],
    noise: &mut N,
    step: u32,
) -> Result<(), Error> {
    let forms: Vec<Form> = levels
        .iter()
        .map(|level| affine(level.alpha(), 0.0, level.sigma()))
        .collect();
    let mut fill = filler(noise, step, Stream::Forward);
    apply(&forms, x, &[], Some(&mut fill)).map(drop)
}

/// x_t = αx₀ + σε in place for a given ε, with one level for the batch or one per sample: the input of training.
///
/// # Errors
///
/// As [`diffuse`], and [`Error::ShapeMismatch`].
pub fn diffuse_with<A: Real, D: Dimension>(
    x: &mut ArrayRef<A, D>,
    noise: &ArrayRef<A, D>,
    levels: &[NoiseLevel],
) -> Result<(), Error> {
    let forms: Vec<Form> = levels
        .iter()
        .map(|level| affine(level.alpha(), level.sigma(), 0.0))
        .collect();
    apply(&forms, x, &[noise], None).map(drop)
}

impl Prediction {
    /// The training target in place: `noise`, which holds ε, becomes what the network should return for
    /// x_t = αx₀ + σε, with one level for the batch or one per sample.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Prediction};
    /// use ndarray::array;
    ///
    /// let (data, mut target) = (array![[0.5f64]], array![[2.0]]);
    /// Prediction::Flow.write_target(&mut target, &data, &[NoiseLevel::new(0.3, 0.7, 0.3)?])?;
    /// assert_eq!(target[[0, 0]], 1.5);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`target`](Self::target) and [`diffuse_with`].
    pub fn write_target<A: Real, D: Dimension>(
        &self,
        noise: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
        levels: &[NoiseLevel],
    ) -> Result<(), Error> {
        let forms = levels
            .iter()
            .map(|level| {
                let target = self.target(level)?;
                Ok(affine(target.noise, target.data, 0.0))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        apply(&forms, noise, &[data], None).map(drop)
    }

    /// Converts a model's output in place to another prediction: o ← a·o + b·x, with one level for the batch or one per
    /// sample.
    ///
    /// # Errors
    ///
    /// As [`convert_to`](Self::convert_to) and [`diffuse_with`].
    pub fn convert<A: Real, D: Dimension>(
        &self,
        target: Prediction,
        output: &mut ArrayRef<A, D>,
        x: &ArrayRef<A, D>,
        levels: &[NoiseLevel],
    ) -> Result<(), Error> {
        let forms = levels
            .iter()
            .map(|level| {
                let linear = self.convert_to(target, level)?;
                Ok(affine(linear.output, linear.x, 0.0))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        apply(&forms, output, &[x], None).map(drop)
    }
}

impl StridedPosterior {
    /// The mean of q(x_s | x_t, x₀) in place: `x` holds x_t and becomes c_t x_t + c_0 x₀.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`].
    pub fn mean<A: Real, D: Dimension>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
    ) -> Result<(), Error> {
        let form = affine(self.state_coefficient(), self.data_coefficient(), 0.0);
        apply(&[form], x, &[data], None).map(drop)
    }

    /// A sample of q(x_s | x_t, x₀) in place: `x` holds x_t and becomes x_s. `step` keys the noise.
    ///
    /// # Errors
    ///
    /// As [`mean`](Self::mean); what the noise source's [`check`](NoiseSource::check) refuses.
    pub fn sample<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        let form = affine(
            self.state_coefficient(),
            self.data_coefficient(),
            self.gamma(),
        );
        let intervals = [Interval::new(self.from().lambda(), self.to().lambda())];
        if self.gamma() != 0.0 {
            noise.check(&intervals)?;
        }
        let mut fill = StepNoise::new(noise, step, Stream::Step(0), &intervals);
        apply(&[form], x, &[data], Some(&mut fill)).map(drop)
    }

    /// ln q(x_s | x_t, x₀) of every sample, in nats.
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0, where there is no density; as [`mean`](Self::mean).
    pub fn log_density<A: Real, D: Dimension>(
        &self,
        x_s: &ArrayRef<A, D>,
        x_t: &ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
    ) -> Result<Vec<f64>, Error> {
        if self.variance() == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from().time(),
                to: self.to().time(),
            });
        }
        let terms = [
            (self.state_coefficient(), x_t),
            (self.data_coefficient(), data),
        ];
        let mut values = kernel::squared_residuals(x_s, &terms)?;
        let dim = x_s.len() / values.len().max(1);
        let norm = 0.5 * dim as f64 * libm::log(std::f64::consts::TAU * self.variance());
        for value in &mut values {
            *value = -0.5 * *value / self.variance() - norm;
        }
        Ok(values)
    }
}

impl Upward {
    /// A sample of the chain's step upwards in place: `x` holds x_s and becomes x_t. `step` keys the noise.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`].
    pub fn sample<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        data: &ArrayRef<A, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        let form = affine(self.state, self.data, self.deviation);
        let mut fill = filler(noise, step, Stream::Forward);
        apply(&[form], x, &[data], Some(&mut fill)).map(drop)
    }

    /// The same where no x₀ is needed ([`StridedPosterior::up_step`]); an x₀ coefficient that is not 0 is refused.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the step depends on x₀; [`Error::NoSampleAxis`].
    pub fn sample_without_data<A: Real, D: Dimension, N: NoiseSource<A>>(
        &self,
        x: &mut ArrayRef<A, D>,
        noise: &mut N,
        step: u32,
    ) -> Result<(), Error> {
        crate::error::require(
            self.data == 0.0,
            "coefficient on the data",
            self.data,
            "0 for a step without data",
        )?;
        let form = affine(self.state, 0.0, self.deviation);
        let mut fill = filler(noise, step, Stream::Forward);
        apply(&[form], x, &[], Some(&mut fill)).map(drop)
    }
}
