//! What a network predicts, as two scalars on (x, output). Its methods on arrays are in
//! `on_arrays.rs`.

#[cfg(feature = "serde")]
mod stored;

use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;

/// What a network's output means. Every kind is linear in (x, output), so that converting it costs
/// two scalars.
///
/// With D the estimate of x₀ and E the estimate of ε, x = αD + σE:
///
/// | variant | output | D | E | undefined at |
/// |---|---|---|---|---|
/// | [`Noise`](Self::Noise) | ε | (x − σo)/α | o | α = 0 |
/// | [`Data`](Self::Data) | x₀ | o | (x − αo)/σ | |
/// | [`Velocity`](Self::Velocity) | v = αε − σx₀ | (αx − σo)/(α²+σ²) | (σx + αo)/(α²+σ²) | |
/// | [`Score`](Self::Score) | −ε/σ | (x + σ²o)/α | −σo | α = 0 |
/// | [`Flow`](Self::Flow) | u = ε − x₀ | (x − σo)/(α+σ) | (x + αo)/(α+σ) | |
/// | [`Edm`](Self::Edm) | F | c_skip x/α + c_out o | (x − αD)/σ | α = 0 |
/// | [`EdmVelocity`](Self::EdmVelocity) | −F | c_skip x/α − c_out o | (x − αD)/σ | α = 0 |
/// | [`Linear`](Self::Linear) | px₀ + qε | (qx − σo)/(αq − σp) | (αo − px)/(αq − σp) | αq = σp |
///
/// EDM's preconditioning with data standard deviation s (Karras et al. 2022, "Elucidating the
/// Design Space of Diffusion-Based Generative Models", Table 1): c_skip = s²/(ρ²+s²), c_out =
/// ρs/√(ρ²+s²), and the network sees [`input_scale`](Self::input_scale) · x = c_in x/α with c_in =
/// 1/√(ρ²+s²), and [`edm_noise`](Self::edm_noise) = ln(ρ)/4. Both are the model's to apply in
/// [`denoise`](crate::Denoiser::denoise), which is given the unscaled x; c_skip and c_out are the
/// crate's. The velocity is Salimans and Ho's (2022, "Progressive Distillation for Fast Sampling of
/// Diffusion Models").
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let c = Prediction::Velocity.conversion(&level)?;
/// let (x0, noise) = (0.3, -1.2);
/// let (x, v) = (0.8 * x0 + 0.6 * noise, 0.8 * noise - 0.6 * x0);
/// assert!((c.data.of(x, v) - x0).abs() < 1e-15);
/// assert!((c.noise.of(x, v) - noise).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias("prediction_type", "parameterization"))]
pub enum Prediction {
    /// The noise ε.
    #[doc(alias = "epsilon")]
    Noise,
    /// The data x₀.
    #[doc(alias("sample", "x0"))]
    Data,
    /// The velocity v = αε − σx₀.
    #[doc(alias("v_prediction", "v"))]
    Velocity,
    /// The score ∇ log p_t(x) = −E/σ.
    Score,
    /// The velocity of a rectified flow, u = ε − x₀.
    #[doc(alias = "flow_prediction")]
    Flow,
    /// The raw network F of EDM's preconditioning.
    Edm {
        /// The data's standard deviation, σ_data in the paper; 0.5 there.
        data_std: f64,
    },
    /// −F: the network of EDM's preconditioning with the other sign, CosXL's and diffusers' EDM
    /// schedulers' `v_prediction`. With data of standard deviation 1 its target is the velocity αε −
    /// σx₀ of the variance-preserving level of the same ρ.
    EdmVelocity {
        /// The data's standard deviation.
        data_std: f64,
    },
    /// Any fixed combination px₀ + qε: a flow in the other direction, u = x₀ − ε, has p = 1 and q =
    /// −1.
    Linear {
        /// p, the coefficient on x₀.
        data: f64,
        /// q, the coefficient on ε.
        noise: f64,
    },
}

/// The kind, with its parameters.
impl std::fmt::Display for Prediction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edm { data_std } => write!(f, "EDM (data_std {data_std})"),
            Self::EdmVelocity { data_std } => write!(f, "EDM velocity (data_std {data_std})"),
            Self::Linear { data, noise } => write!(f, "linear ({data} x0 + {noise} noise)"),
            kind => f.pad(kind.name()),
        }
    }
}

/// A linear form a·x + b·o in the state x and the model's output o.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Linear {
    /// The coefficient on x.
    pub x: f64,
    /// The coefficient on the output.
    pub output: f64,
}

impl Linear {
    /// a·x + b·o.
    pub fn of(&self, x: f64, output: f64) -> f64 {
        self.x * x + self.output * output
    }

    /// The same of an output with the other sign.
    fn reversed(self) -> Self {
        Self {
            output: -self.output,
            ..self
        }
    }
}

/// D and E as linear forms in (x, output).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    /// D, the estimate of x₀.
    pub data: Linear,
    /// E, the estimate of ε.
    pub noise: Linear,
}

impl Prediction {
    /// The kind's name, as errors show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Data => "data",
            Self::Velocity => "velocity",
            Self::Score => "score",
            Self::Flow => "flow",
            Self::Edm { .. } => "EDM",
            Self::EdmVelocity { .. } => "EDM velocity",
            Self::Linear { .. } => "linear",
        }
    }

    /// D as a linear form in (x, output): all that a sampler needs.
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`] where the output does not determine x₀: ε, score and EDM at α
    /// = 0. [`Error::ConversionOverflow`] where a coefficient overflows.
    /// [`Error::InvalidParameter`] for an EDM data standard deviation that is not positive and
    /// finite.
    pub fn data(&self, level: &NoiseLevel) -> Result<Linear, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let linear = |x: f64, output: f64| Linear { x, output };
        let data = match *self {
            Self::Data => linear(0.0, 1.0),
            Self::Velocity => {
                let (a, s) = over_variance(level);
                linear(a, -s)
            }
            Self::Flow => {
                let norm = alpha + sigma;
                linear(1.0 / norm, -sigma / norm)
            }
            Self::Noise | Self::Score | Self::Edm { .. } | Self::EdmVelocity { .. }
                if alpha == 0.0 =>
            {
                return Err(self.undefined(level));
            }
            Self::Noise => linear(1.0 / alpha, -sigma / alpha),
            Self::Score => linear(1.0 / alpha, sigma * (sigma / alpha)),
            Self::Edm { data_std } => {
                let s = self.edm_std(data_std)?;
                let rho = level.rho();
                let norm = libm::hypot(rho, s);
                let ratio = s / norm;
                linear(ratio * ratio / alpha, rho * ratio)
            }
            Self::EdmVelocity { data_std } => Self::Edm { data_std }.data(level)?.reversed(),
            Self::Linear { data, noise } => {
                let (p, q) = combination(data, noise)?;
                // x₀ alone is its own estimate at every level, also where σ = 0.
                if q == 0.0 {
                    linear(0.0, 1.0 / p)
                } else {
                    let determinant = self.determinant(level, p, q)?;
                    linear(q / determinant, -sigma / determinant)
                }
            }
        };
        self.finite(level, data)
    }

    /// D and E as linear forms in (x, output).
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data); and [`Error::PredictionUndefined`] where the output does not
    /// determine ε: x₀, score and EDM at σ = 0.
    pub fn conversion(&self, level: &NoiseLevel) -> Result<Conversion, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let data = self.data(level)?;
        let linear = |x: f64, output: f64| Linear { x, output };
        let noise = match *self {
            Self::Noise => linear(0.0, 1.0),
            Self::Velocity => {
                let (a, s) = over_variance(level);
                linear(s, a)
            }
            Self::Flow => {
                let norm = alpha + sigma;
                linear(1.0 / norm, alpha / norm)
            }
            Self::Data | Self::Score | Self::Edm { .. } | Self::EdmVelocity { .. }
                if sigma == 0.0 =>
            {
                return Err(self.undefined(level));
            }
            Self::Data => linear(1.0 / sigma, -alpha / sigma),
            Self::Score => linear(0.0, -sigma),
            // (x − αD)/σ with 1 − c_skip = ρ²/(ρ²+s²): no difference of nearly equal numbers.
            Self::Edm { data_std } => {
                let rho = level.rho();
                let norm = libm::hypot(rho, data_std);
                let ratio = rho / norm;
                linear(ratio * ratio / sigma, -data_std / norm)
            }
            Self::EdmVelocity { data_std } => {
                let edm = Self::Edm { data_std }.conversion(level)?;
                edm.noise.reversed()
            }
            Self::Linear { data, noise } => {
                let (p, q) = combination(data, noise)?;
                if p == 0.0 {
                    linear(0.0, 1.0 / q)
                } else {
                    let determinant = self.determinant(level, p, q)?;
                    linear(-p / determinant, alpha / determinant)
                }
            }
        };
        let noise = self.finite(level, noise)?;
        Ok(Conversion { data, noise })
    }

    /// This output as another kind's: o_target = a·x + b·o.
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`] when either kind is undefined at the level; the same kind is
    /// itself everywhere.
    pub fn convert_to(&self, target: Prediction, level: &NoiseLevel) -> Result<Linear, Error> {
        if *self == target {
            return Ok(Linear {
                x: 0.0,
                output: 1.0,
            });
        }
        let c = self.conversion(level)?;
        let t = target.target(level)?;
        let converted = Linear {
            x: t.data * c.data.x + t.noise * c.noise.x,
            output: t.data * c.data.output + t.noise * c.noise.output,
        };
        self.finite(level, converted)
    }

    /// The training target as a linear form in (x₀, ε): what the output should be when x = αx₀ +
    /// σε.
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`]: EDM at α = 0, score and EDM at σ = 0.
    /// [`Error::InvalidParameter`] for an EDM data standard deviation that is not positive and
    /// finite.
    #[doc(alias = "get_velocity")]
    pub fn target(&self, level: &NoiseLevel) -> Result<Target, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let target = |data: f64, noise: f64| Target { data, noise };
        let target = match *self {
            Self::Noise => target(0.0, 1.0),
            Self::Data => target(1.0, 0.0),
            Self::Velocity => target(-sigma, alpha),
            Self::Flow => target(-1.0, 1.0),
            Self::Score if sigma == 0.0 => return Err(self.undefined(level)),
            Self::Score => target(0.0, -1.0 / sigma),
            Self::Edm { .. } | Self::EdmVelocity { .. } if sigma == 0.0 || alpha == 0.0 => {
                return Err(self.undefined(level));
            }
            // F = (x₀ − c_skip(x₀ + ρε))/c_out with c_skip and c_out inserted.
            Self::Edm { data_std } => {
                let s = self.edm_std(data_std)?;
                let rho = level.rho();
                let norm = libm::hypot(rho, s);
                target(rho / (s * norm), -s / norm)
            }
            Self::EdmVelocity { data_std } => {
                let edm = Self::Edm { data_std }.target(level)?;
                target(-edm.data, -edm.noise)
            }
            Self::Linear { data, noise } => {
                let (p, q) = combination(data, noise)?;
                target(p, q)
            }
        };
        let finite = self.finite(
            level,
            Linear {
                x: target.data,
                output: target.noise,
            },
        )?;
        Ok(Target {
            data: finite.x,
            noise: finite.output,
        })
    }

    /// The factor on x at the network's input: c_in/α for EDM, 1 for all others.
    ///
    /// A run hands the model the unscaled x; the model multiplies by this factor in
    /// [`denoise`](crate::Denoiser::denoise). Libraries that keep x/α as their state (k-diffusion,
    /// and diffusers' Euler schedulers) scale ε networks by 1/√(ρ² + 1) for the same reason; with
    /// this crate's x = αx₀ + σε that factor is already in a variance-preserving x.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Prediction};
    ///
    /// let level = NoiseLevel::new(2.0, 1.0, 2.0)?;
    /// let scale = Prediction::Edm { data_std: 0.5 }.input_scale(&level)?;
    /// assert!((scale - 1.0 / (4.0f64 + 0.25).sqrt()).abs() < 1e-15);
    /// assert_eq!(Prediction::Noise.input_scale(&level)?, 1.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an EDM data standard deviation that is not positive and
    /// finite; [`Error::ConversionOverflow`] where the factor overflows.
    #[doc(alias("scale_model_input", "c_in"))]
    pub fn input_scale(&self, level: &NoiseLevel) -> Result<f64, Error> {
        let scale = match *self {
            Self::Edm { data_std } | Self::EdmVelocity { data_std } => {
                1.0 / libm::hypot(level.sigma(), level.alpha() * self.edm_std(data_std)?)
            }
            _ => 1.0,
        };
        if scale.is_finite() {
            Ok(scale)
        } else {
            Err(self.overflow(level))
        }
    }

    /// EDM's noise conditioning c_noise = ln(ρ)/4; −∞ when clean, +∞ at α = 0.
    pub fn edm_noise(level: &NoiseLevel) -> f64 {
        -0.25 * level.lambda()
    }

    /// |output − target|² = `data_weight` · |x₀ − D|²: the weight that a plain loss on the output puts on the data error.
    ///
    /// snr for ε, 1 for x₀, snr + 1 for v under a variance-preserving schedule.
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data). At σ = 0, and where it overflows, the weight is +∞ for all but x₀.
    pub fn data_weight(&self, level: &NoiseLevel) -> Result<f64, Error> {
        let slope = self.data(level)?.output;
        Ok(1.0 / (slope * slope))
    }

    fn edm_std(&self, data_std: f64) -> Result<f64, Error> {
        require_positive("data_std", data_std)?;
        Ok(data_std)
    }

    /// αq − σp, which is 0 where px₀ + qε is a multiple of x and says nothing else.
    fn determinant(&self, level: &NoiseLevel, p: f64, q: f64) -> Result<f64, Error> {
        let determinant = level.alpha() * q - level.sigma() * p;
        if determinant == 0.0 {
            return Err(self.undefined(level));
        }
        Ok(determinant)
    }

    /// Refuses coefficients that f64 cannot hold.
    fn finite(&self, level: &NoiseLevel, linear: Linear) -> Result<Linear, Error> {
        if linear.x.is_finite() && linear.output.is_finite() {
            return Ok(linear);
        }
        Err(self.overflow(level))
    }

    fn overflow(&self, level: &NoiseLevel) -> Error {
        Error::ConversionOverflow {
            prediction: self.name(),
            alpha: level.alpha(),
            sigma: level.sigma(),
            time: level.time(),
        }
    }

    fn undefined(&self, level: &NoiseLevel) -> Error {
        Error::PredictionUndefined {
            prediction: self.name(),
            alpha: level.alpha(),
            sigma: level.sigma(),
            time: level.time(),
        }
    }
}

/// (p, q) of a linear prediction: finite, not both 0.
fn combination(data: f64, noise: f64) -> Result<(f64, f64), Error> {
    require(data.is_finite(), "coefficient on the data", data, "finite")?;
    require(
        noise.is_finite(),
        "coefficient on the noise",
        noise,
        "finite",
    )?;
    require(
        data != 0.0 || noise != 0.0,
        "coefficient on the noise",
        noise,
        "different from 0 where that on the data is 0",
    )?;
    Ok((data, noise))
}

/// α/(α² + σ²) and σ/(α² + σ²).
fn over_variance(level: &NoiseLevel) -> (f64, f64) {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let norm = level.marginal_variance(1.0);
    if norm.is_normal() {
        return (alpha / norm, sigma / norm);
    }
    // The squares overflow or underflow; the quotients need not.
    let root = libm::hypot(alpha, sigma);
    (alpha / root / root, sigma / root / root)
}

/// A training target a·x₀ + b·ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The coefficient on x₀.
    pub data: f64,
    /// The coefficient on ε.
    pub noise: f64,
}
