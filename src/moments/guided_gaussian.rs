//! What guidance between Gaussians samples, and what it is said to sample, in closed form.

use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::linalg;
use crate::memory::{Copied, Listed};
use crate::oracle::{Gaussian, Scales};
use crate::solver::quadrature;

/// Guidance with fixed weights, E = Σ s_i E_i with Σ s_i = 1, between the exact estimates of
/// Gaussians N(m_i, C_i).
///
/// | method | distribution |
/// |---|---|
/// | [`flow`](Self::flow) | that of the guided probability-flow ODE, which every guided sampler approaches with its steps |
/// | [`tilted`](Self::tilted) | ∝ Π p_i^{s_i}, for classifier-free guidance p(x given y)^{1+w} p(x)^{−w}: what guidance is often said to sample, and does not |
///
/// ```
/// use diffusion_sampler::{NoiseLevel, moments::GuidedGaussian, oracle::Gaussian};
///
/// let class = Gaussian::isotropic(&[0.0], 0.25)?;
/// let all = Gaussian::isotropic(&[0.0], 1.0)?;
/// let guided = GuidedGaussian::classifier_free(1.0, class, all)?;
/// let (noise, clean) = (NoiseLevel::new(1.0, 0.0, 1.0)?, NoiseLevel::clean());
/// let sampled = guided.flow(&Gaussian::centred(1, 1.0)?, &noise, &clean)?;
/// assert!((sampled.variances()[0].sqrt() - 0.25).abs() < 1e-15); // v_c^((1+w)/2) v_u^(−w/2)
/// let tilted = guided.tilted(&clean)?;
/// assert!((tilted.variances()[0] - 1.0 / 7.0).abs() < 1e-15); // 1/((1 + w)/v_c − w/v_u)
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GuidedGaussian {
    weights: Vec<f64>,
    parts: Vec<Gaussian>,
}

/// One part along one axis: its weight, mean and variance.
type Part = (f64, f64, f64);

impl GuidedGaussian {
    /// E = Σ `weights`_i E_i, with E_i the exact estimate of ε of `parts`_i.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless there is a weight for each part and all have one dimension;
    /// [`Error::InvalidParameter`] without parts, or unless the weights are finite and sum to one.
    pub fn new(weights: &[f64], parts: Vec<Gaussian>) -> Result<Self, Error> {
        let count = parts.len();
        require(count > 0, "parts", count as f64, "at least 1")?;
        crate::error::require_length("weights", count, weights.len())?;
        for part in &parts {
            parts[0].check_dim(part)?;
        }
        let (sum, size) = weights
            .iter()
            .fold((0.0, 1.0), |(sum, size), w| (sum + w, size + w.abs()));
        let valid = (sum - 1.0).abs() <= 1e-12 * size && size <= 1e9;
        require(valid, "sum of the guidance weights", sum, "1")?;
        Ok(Self {
            weights: weights.copy()?,
            parts,
        })
    }

    /// Classifier-free guidance of weight w: (1 + w) E_c − w E_u.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn classifier_free(
        w: f64,
        conditional: Gaussian,
        unconditional: Gaussian,
    ) -> Result<Self, Error> {
        Self::new(&[1.0 + w, -w], vec![conditional, unconditional])
    }

    /// The exact distribution at the level `to` of the guided probability-flow ODE, started at the
    /// level `from` from `initial`.
    ///
    /// Along an axis on which the parts have variances v_i and means m_i, with S_i = α_s²v_i + σ_s²
    /// at `to`, T_i = α_t²v_i + σ_t² at `from` and m = Σ s_i m_i, the ODE dy/dρ = E, y = x/α, has
    /// the solution
    ///
    /// ```text
    /// x_s = F x_t + (α_s − F α_t) m + J        F = Π (S_i/T_i)^(s_i/2)
    /// J = ∫ from ρ_s to ρ_t of Π (S_i/(v_i + r²))^(s_i/2) Σ s_i (m_i − m) r/(v_i + r²) dr
    /// ```
    ///
    /// J is 0 where all means are equal; otherwise it is computed by Gauss–Legendre panels in ln r,
    /// to some 1e-13 of the means' differences. For one part this is [`Gaussian::flow`]. Derived
    /// here; the test compares it with the ODE solved in small steps.
    ///
    /// # Errors
    ///
    /// [`Error::AxesDiffer`] unless all Gaussians share their axes; [`Error::InvalidEntry`] for a
    /// part with a direction of variance 0, and for a result out of range; [`Error::WrongLength`]
    /// for another dimension; [`Error::InvalidParameter`] for levels out of range.
    pub fn flow(
        &self,
        initial: &Gaussian,
        from: &NoiseLevel,
        to: &NoiseLevel,
    ) -> Result<Gaussian, Error> {
        self.parts[0].check_dim(initial)?;
        let (start, end) = (Scales::of(from)?, Scales::of(to)?);
        self.require_densities(None)?;
        let frame = self.parts[0].frame_with(self.parts[1..].iter().chain([initial]))?;
        let means: Vec<_> = self
            .parts
            .iter()
            .map(|g| frame.to_axes(g.mean()))
            .all_listed()?;
        let mut mean = frame.to_axes(initial.mean())?;
        let mut variances = initial.variances().copy()?;
        for (axis, (mean, variance)) in mean.iter_mut().zip(&mut variances).enumerate() {
            let parts = self.weights.iter().zip(&self.parts).zip(&means);
            let parts: Vec<Part> = parts
                .map(|((&s, part), mean)| (s, mean[axis], part.variances()[axis]))
                .listed()?;
            let (factor, offset) = along_axis(&parts, (&start, &end), (from.rho(), to.rho()));
            *mean = factor * *mean + offset;
            *variance *= factor * factor;
        }
        checked(frame.with_axes_of(&mean, &variances)?)
    }

    /// N ∝ Π p_i^{s_i}, with p_i the distribution of part i at `level`. At the clean level it is
    /// the tilted distribution of the data; at another it is the product of the noisy marginals,
    /// whose score is the guided one there, and which is not what noise makes of the tilted data
    /// (`tilted(&NoiseLevel::clean())?.at_level(&level)`).
    ///
    /// The precisions are P = Σ s_i C_i⁻¹, the mean is P⁻¹ Σ s_i C_i⁻¹ m_i; axes may differ.
    ///
    /// # Errors
    ///
    /// [`Error::NoTiltedDensity`] where P is not positive definite, so that the product has no
    /// integral; [`Error::InvalidEntry`] for a part without a density at `level`, and for a result
    /// out of range; [`Error::InvalidParameter`] for a level out of range.
    pub fn tilted(&self, level: &NoiseLevel) -> Result<Gaussian, Error> {
        let scales = Scales::of(level)?;
        self.require_densities(Some(&scales))?;
        let d = self.parts[0].mean().len();
        let Ok(frame) = self.parts[0].frame_with(self.parts[1..].iter()) else {
            return self.tilted_across(&scales, d);
        };
        let means: Vec<_> = self
            .parts
            .iter()
            .map(|g| frame.to_axes(g.mean()))
            .all_listed()?;
        let (mut mean, mut variances) = (
            crate::memory::repeated(0.0, d)?,
            crate::memory::repeated(0.0, d)?,
        );
        for axis in 0..d {
            let (mut precision, mut pull, mut size) = (0.0, 0.0, 0.0);
            for ((s, part), mean) in self.weights.iter().zip(&self.parts).zip(&means) {
                let share = s / scales.variance(part.variances()[axis]);
                precision += share;
                size += share.abs();
                pull += share * scales.alpha() * mean[axis];
            }
            require_precision(axis, precision, size)?;
            variances[axis] = 1.0 / precision;
            mean[axis] = pull / precision;
        }
        checked(frame.with_axes_of(&mean, &variances)?)
    }

    /// The same where axes differ.
    fn tilted_across(&self, scales: &Scales, d: usize) -> Result<Gaussian, Error> {
        let (mut precision, mut pull, mut size) = (
            crate::memory::repeated(0.0, d * d)?,
            crate::memory::repeated(0.0, d)?,
            0.0,
        );
        for (&s, part) in self.weights.iter().zip(&self.parts) {
            let mut own = crate::memory::repeated(0.0, d * d)?;
            part.add_spectral(s, |v| 1.0 / scales.variance(v), &mut own);
            for ((total, row), pull) in precision
                .chunks_exact_mut(d)
                .zip(own.chunks_exact(d))
                .zip(&mut pull)
            {
                linalg::axpy(1.0, row, total);
                *pull += scales.alpha() * linalg::dot(row, part.mean());
            }
            for &v in part.variances() {
                size = f64::max(size, (s / scales.variance(v)).abs());
            }
        }
        let eigen = linalg::symmetric_eigen(precision, d)?;
        for (axis, &value) in eigen.values.iter().enumerate() {
            require_precision(axis, value, size)?;
        }
        let variances: Vec<f64> = eigen.values.iter().map(|p| 1.0 / p).listed()?;
        let axes = Gaussian::with_axes(crate::memory::repeated(0.0, d)?, variances, eigen.vectors)?;
        let along = axes.to_axes(&pull)?;
        let mean: Vec<f64> = along
            .iter()
            .zip(axes.variances())
            .map(|(p, v)| p * v)
            .listed()?;
        checked(axes.with_axes_of(&mean, axes.variances())?)
    }

    /// Every part has a density at these scales, or as data.
    fn require_densities(&self, scales: Option<&Scales>) -> Result<(), Error> {
        let variance = |v: f64| scales.map_or(v, |scales| scales.variance(v));
        for part in &self.parts {
            if let Some(index) = part.variances().iter().position(|&v| variance(v) == 0.0) {
                return Err(Error::InvalidEntry {
                    name: "variances",
                    index,
                    value: 0.0,
                    requirement: "positive where a density is needed",
                });
            }
        }
        Ok(())
    }
}

/// Positive beyond the rounding of its terms.
fn require_precision(axis: usize, precision: f64, size: f64) -> Result<(), Error> {
    if precision > 1e-14 * size {
        return Ok(());
    }
    Err(Error::NoTiltedDensity { axis, precision })
}

/// A result in the range of Gaussians.
fn checked(gaussian: Gaussian) -> Result<Gaussian, Error> {
    gaussian.at_level(&NoiseLevel::clean())
}

/// (F, offset) of x_s = F x_t + offset.
fn along_axis(parts: &[Part], (start, end): (&Scales, &Scales), rhos: (f64, f64)) -> (f64, f64) {
    let power = |of: &dyn Fn(f64) -> f64| {
        let terms = parts.iter().map(|&(s, _, v)| {
            let (high, low) = (end.variance(v), of(v));
            0.5 * s * (libm::log(high) - libm::log(low))
        });
        libm::exp(terms.sum())
    };
    let factor = power(&|v| start.variance(v));
    let mean: f64 = parts.iter().map(|(s, m, _)| s * m).sum();
    let equal = parts.iter().all(|(_, m, _)| *m == parts[0].1);
    let offset = (end.alpha() - factor * start.alpha()) * if equal { parts[0].1 } else { mean };
    if equal {
        return (factor, offset);
    }
    // J, in u = ln r: below the smallest deviation the integrand falls as r², beyond the largest as
    // r⁻³ and faster.
    let variances = parts.iter().map(|part| part.2);
    let (least, most) = variances.fold((f64::INFINITY, 0.0f64), |(least, most), v| {
        (least.min(v), most.max(v))
    });
    let (low, high) = (1e-10 * least.sqrt(), 1e7 * most.sqrt());
    let [from, to] = [rhos.0, rhos.1].map(|rho| libm::log(rho.clamp(low, high)));
    let integrand = |r: f64| {
        let pull: f64 = parts
            .iter()
            .map(|(s, m, v)| s * (m - mean) * (r / (v + r * r)))
            .sum();
        r * pull * power(&|v| v + r * r)
    };
    // Panels of a quarter, half of what `integral` takes.
    let (lower, length) = (from.min(to), (from - to).abs());
    if length == 0.0 {
        return (factor, offset);
    }
    let integral =
        0.5 * quadrature::integral(2.0 * length, |u| integrand(libm::exp(lower + 0.5 * u)));
    (
        factor,
        offset + if from >= to { integral } else { -integral },
    )
}
