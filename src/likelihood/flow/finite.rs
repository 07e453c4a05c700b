//! Derivatives of models that have none: differences.

use ndarray::{ArrayRef, Dimension};

use super::JacobianProduct;
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, require_positive};
use crate::level::NoiseLevel;
use crate::memory::{self, Copied};
use crate::prediction::Prediction;
use crate::real::Real;

/// Any denoiser, guided ones too, with the [`JacobianProduct`] that central differences give:
///
/// ```text
/// Jv ≈ (o(x + hv) − o(x − hv))/(2h)        h = (ε n σ²)^(1/3)/max|v|,   n² = α² + σ²
/// ```
///
/// with ε the rounding of the element type, a step for each sample. A model's output varies on the
/// scale of σ and its input is known to εn: that step balances the error of the formula, (h/σ)²/6,
/// against that of rounding, εn/h. Both are then about (εn/σ)^(2/3), relative to |Jv|: 2·10⁻⁵ in
/// f32 and 4·10⁻¹¹ in f64 at σ = n, and 5·10⁻⁴ and 8·10⁻¹⁰ at σ = n/100. A network whose output is
/// rougher than its input's rounding (f16 inside) needs a larger step
/// ([`with_step`](Self::with_step)).
///
/// It costs three evaluations a product. Samples are independent: the derivative is that of each by
/// itself.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, Query, from_fn};
/// use diffusion_sampler::likelihood::{FiniteDifferences, JacobianProduct};
/// use ndarray::{Array2, Ix2, array};
///
/// let model = from_fn::<f64, Ix2>(Prediction::Noise, |x, _, out| {
///     out.zip_mut_with(x, |o, &x| *o = x * x);
/// });
/// let (x, v) = (array![[3.0, -1.0]], array![[1.0, 0.5]]);
/// let (mut out, mut product) = (Array2::zeros((1, 2)), Array2::zeros((1, 2)));
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let mut model = FiniteDifferences::new(model);
/// model.denoise_along(&x, &v, &Query::new(&level), &mut out, &mut product)?;
/// assert!((&product - &array![[6.0, -1.0]]).iter().all(|miss| miss.abs() < 1e-9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FiniteDifferences<M> {
    model: M,
    factor: f64,
}

impl<M> FiniteDifferences<M> {
    /// The differences of `model`.
    pub fn new(model: M) -> Self {
        Self { model, factor: 1.0 }
    }

    /// The same with a step so many times as large.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is positive and finite.
    pub fn with_step(self, factor: f64) -> Result<Self, Error> {
        require_positive("step of the difference", factor)?;
        Ok(Self { factor, ..self })
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// h·max|v|.
    fn size<A: Real>(&self, level: &NoiseLevel) -> f64 {
        let (norm, sigma) = (libm::hypot(level.alpha(), level.sigma()), level.sigma());
        // At σ = 0 the scale of the data is all there is.
        let scale = if sigma > 0.0 { sigma } else { norm };
        let relative = A::epsilon().widen() * (scale / norm) * (scale / norm);
        self.factor * norm * libm::cbrt(relative)
    }
}

impl<A: Real, D: Dimension, M: Denoiser<A, D>> Denoiser<A, D> for FiniteDifferences<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        self.model.denoise(x, query, out)
    }

    fn outputs(&self) -> Option<usize> {
        self.model.outputs()
    }

    fn reads_positions(&self) -> bool {
        self.model.reads_positions()
    }

    fn reads_rows(&self) -> bool {
        self.model.reads_rows()
    }
}

impl<A: Real, D: Dimension, M: Denoiser<A, D>> JacobianProduct<A, D> for FiniteDifferences<M> {
    fn denoise_along(
        &mut self,
        x: &ArrayRef<A, D>,
        direction: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
        product: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        let query = query.combined();
        self.model.denoise(x, &query, out)?;
        let samples = x.shape().first().copied().unwrap_or(0).max(1);
        let per_sample = (x.len() / samples).max(1);
        let copies = (
            memory::repeated(0.0, samples),
            x.copy(),
            memory::zeros::<A, D>(product.raw_dim()),
        );
        // Where they cannot be had there is no answer.
        let (Ok(mut steps), Ok(mut shifted), Ok(mut up)) = copies else {
            product.fill(A::unwritten());
            return Ok(());
        };
        for (place, v) in direction.iter().enumerate() {
            if let Some(largest) = steps.get_mut(place / per_sample) {
                *largest = f64::max(*largest, v.widen().abs());
            }
        }
        for (sample, step) in steps.iter_mut().enumerate() {
            let level = query.level_of(sample).unwrap_or_else(|| query.level());
            // No direction has no derivative but 0.
            *step = if *step > 0.0 {
                self.size::<A>(&level) / *step
            } else {
                1.0
            };
        }
        let shift = |shifted: &mut ArrayRef<A, D>, sign: f64| {
            let places = shifted.iter_mut().zip(x.iter().zip(direction.iter()));
            for (place, (out, (x, v))) in places.enumerate() {
                let step = sign * steps[place / per_sample];
                *out = A::cast(x.widen() + step * v.widen());
            }
        };
        shift(&mut shifted, 1.0);
        self.model.denoise(&shifted, &query, product)?;
        up.assign(product);
        shift(&mut shifted, -1.0);
        self.model.denoise(&shifted, &query, product)?;
        for (place, (down, up)) in product.iter_mut().zip(up.iter()).enumerate() {
            let step = steps.get(place / per_sample).copied().unwrap_or(f64::NAN);
            *down = A::cast((up.widen() - down.widen()) / (2.0 * step));
        }
        Ok(())
    }
}
