//! The cost of each edge: the variational bound for any grid.

mod element_errors;
mod flow;

pub use element_errors::element_errors;
pub use flow::{FiniteDifferences, FlowDensity, FlowLikelihood, JacobianProduct, Probes};

use std::f64::consts::PI;

use crate::error::{
    Error, require, require_all, require_cost, require_length, require_non_negative,
    require_positive,
};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};
use crate::special::LOG_TAU;

/// The variational bound on −ln p(x₀) for a grid: KL terms for all edges but the last, a decoder
/// for the edge onto the clean end, and the prior's KL.
///
/// An edge t → s with reverse variance v_p and squared data error M_t = E|x₀ − D(x_t)|² (summed
/// over the d elements) costs
///
/// ```text
/// L = (d/2)[γ²/v_p − 1 − ln(γ²/v_p)] + c² M_t/(2 v_p)        c = α_s(1 − κr)
/// ```
///
/// nats, which is ω M_t for v_p = γ² ([`StridedPosterior::elbo_weight`]). α_s is that of the
/// *strided* s. γ = 0 has no bound. Ho, Jain and Abbeel (2020) for κ = r on neighbouring knots; the
/// general κ follows from the Gaussian KL.
///
/// ```
/// use diffusion_sampler::{Grid, likelihood::{Decoder, EdgeVariance, Elbo}, posterior::Kappa};
/// use diffusion_sampler::schedule::TableSchedule;
///
/// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 4)?;
/// let elbo = Elbo::new(&grid, Kappa::Ddpm, EdgeVariance::Optimal)?;
/// // M_t at the four knots where a step starts, from a validation set; here for d = 2 elements.
/// let bound = elbo.evaluate(2, &[1.9, 1.2, 0.5, 0.1], 2.0, Decoder::GaussianOptimal)?;
/// println!("{} bits per dimension", bound.bits_per_dimension());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Elbo {
    edges: Vec<StridedPosterior>,
    variance: EdgeVariance,
    start: NoiseLevel,
    start_variance: f64,
}

/// The reverse variance v_p of the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EdgeVariance {
    /// A sampler's policy.
    Policy(ReverseVariance),
    /// The best for the given errors, v_p = γ² + c²M_t/d: L = (d/2) ln(1 + 2ωM_t/d).
    Optimal,
}

/// The last edge, onto the clean end: what turns the last estimate into a likelihood of data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decoder {
    /// N(D, v I) with the best v = M_t/d: (d/2) ln(2πe M_t/d).
    GaussianOptimal,
    /// N(D, v I) with this variance: (d/2) ln(2πv) + M_t/(2v).
    Gaussian(f64),
    /// A value computed elsewhere, in nats; [`discretised_gaussian_nats`] for pixels.
    Nats(f64),
}

/// A bound and its parts, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// KL(q(x_T | x₀) ‖ N(0, v_T I)).
    pub prior: f64,
    /// The edges' KL terms, from the noisy end.
    pub edges: Vec<f64>,
    /// The decoder's −ln p.
    pub decoder: f64,
    /// The number of elements d.
    pub dim: usize,
}

impl Bound {
    /// The bound on −ln p(x₀), in nats.
    pub fn nats(&self) -> f64 {
        self.prior + self.edges.iter().sum::<f64>() + self.decoder
    }

    /// The bound in bits per dimension, nats/(d ln 2); 0 for d = 0.
    pub fn bits_per_dimension(&self) -> f64 {
        if self.dim == 0 {
            return 0.0;
        }
        self.nats() / (self.dim as f64 * std::f64::consts::LN_2)
    }
}

impl Elbo {
    /// The bound for the knots of `grid` and the posteriors of `kappa`.
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] where γ or v_p is 0 on an edge before the last;
    /// [`Error::DegenerateEdge`] unless the grid ends clean; [`Error::InvalidParameter`] for a
    /// start variance of 0; as [`StridedPosterior::new`] and
    /// [`StridedPosterior::reverse_variance`].
    pub fn new(grid: &Grid, kappa: Kappa, variance: EdgeVariance) -> Result<Self, Error> {
        if !grid.end().is_clean() {
            return Err(Error::DegenerateEdge {
                from: grid.start().time(),
                to: grid.end().time(),
                requirement: "end at sigma = 0 for a likelihood of data",
            });
        }
        require(
            grid.start_variance() > 0.0,
            "start_variance",
            grid.start_variance(),
            "positive for a likelihood",
        )?;
        let edges = grid
            .edges()
            .take(grid.steps() - 1)
            .map(|(from, to)| {
                let posterior = StridedPosterior::new(from, to, kappa)?;
                posterior.elbo_weight()?;
                if let EdgeVariance::Policy(policy) = variance
                    && posterior.reverse_variance(policy)? == 0.0
                {
                    return Err(Error::DeterministicLikelihood {
                        from: from.time(),
                        to: to.time(),
                    });
                }
                Ok(posterior)
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            edges,
            variance,
            start: grid.start(),
            start_variance: grid.start_variance(),
        })
    }

    /// The posteriors of the KL terms, from the noisy end: all edges but the last.
    pub fn edges(&self) -> &[StridedPosterior] {
        &self.edges
    }

    /// The bound for `dim` elements. `data_errors` are M_t = E|x₀ − D(x_t)|² at the K knots at
    /// which a step starts, from the noisy end; `second_moment` is E|x₀|².
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless there are K errors; [`Error::InvalidEntry`] and
    /// [`Error::InvalidParameter`] for a negative or non-finite value, and a vanishing M_t or
    /// variance where a Gaussian decoder needs one; [`Error::CostOverflow`] for a cost that f64
    /// cannot hold.
    pub fn evaluate(
        &self,
        dim: usize,
        data_errors: &[f64],
        second_moment: f64,
        decoder: Decoder,
    ) -> Result<Bound, Error> {
        require_length("data errors", self.edges.len() + 1, data_errors.len())?;
        require_all(
            "data errors",
            data_errors,
            |_, error| error.is_finite() && error >= 0.0,
            "finite and at least 0",
        )?;
        require_non_negative("second moment of the data", second_moment)?;
        let edges = self
            .edges
            .iter()
            .zip(data_errors)
            .map(|(posterior, &error)| self.edge(posterior, dim, error))
            .collect::<Result<_, Error>>()?;
        Ok(Bound {
            prior: require_cost("prior's KL", self.prior(dim, second_moment))?,
            edges,
            decoder: decoder.nats(dim, data_errors[self.edges.len()])?,
            dim,
        })
    }

    /// KL(q(x_T | x₀) ‖ N(0, v_T I)) averaged over data: ½[dσ²/v + α²E|x₀|²/v − d − d ln(σ²/v)].
    fn prior(&self, dim: usize, second_moment: f64) -> f64 {
        let (alpha, v) = (self.start.alpha(), self.start_variance);
        // ln(σ²/v) from ln σ, which keeps the difference to 1 where σ² is nearly v.
        let log_ratio = 2.0 * self.start.log_sigma() - libm::log(v);
        let spread = libm::expm1(log_ratio) - log_ratio;
        0.5 * (dim as f64 * spread + alpha * alpha * second_moment / v)
    }

    fn edge(&self, posterior: &StridedPosterior, dim: usize, error: f64) -> Result<f64, Error> {
        match self.variance {
            EdgeVariance::Policy(policy) => {
                posterior.kl(dim, error, posterior.reverse_variance(policy)?)
            }
            EdgeVariance::Optimal if dim == 0 => Ok(0.0),
            EdgeVariance::Optimal => {
                let d = dim as f64;
                require_cost(
                    "optimal cost of an edge",
                    0.5 * d * libm::log1p(2.0 * posterior.elbo_weight()? * error / d),
                )
            }
        }
    }
}

impl Decoder {
    fn nats(&self, dim: usize, error: f64) -> Result<f64, Error> {
        let d = dim as f64;
        match *self {
            Self::GaussianOptimal if dim == 0 => Ok(0.0),
            Self::GaussianOptimal => {
                require_positive("last data error", error)?;
                // The sum of logarithms: the product 2πe·M/d may overflow.
                Ok(0.5 * d * (LOG_TAU + 1.0 + (libm::log(error) - libm::log(d))))
            }
            Self::Gaussian(variance) => {
                require_positive("decoder variance", variance)?;
                require_cost(
                    "Gaussian decoder's cost",
                    0.5 * (d * (LOG_TAU + libm::log(variance)) + error / variance),
                )
            }
            Self::Nats(nats) => {
                require(nats.is_finite(), "decoder nats", nats, "finite")?;
                Ok(nats)
            }
        }
    }
}

/// −ln P(value) of one pixel under a Gaussian discretised to `bins` values spread evenly over \[−1,
/// 1\]: the mass of the pixel's bin, the outermost bins reaching to infinity (Ho, Jain and Abbeel
/// 2020, section 3.3, with 256 bins).
///
/// Both tails are computed without cancellation, so that far pixels have a large finite cost.
///
/// ```
/// let nats = diffusion_sampler::likelihood::discretised_gaussian_nats(0.5, 0.49, 0.05, 256)?;
/// assert!((nats - 2.79).abs() < 0.01);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidParameter`] unless `value` lies in \[−1, 1\], |`mean`| ≤ 1e100, `deviation` is
/// finite and at least 1e-50, and there are at least 2 bins.
pub fn discretised_gaussian_nats(
    value: f64,
    mean: f64,
    deviation: f64,
    bins: usize,
) -> Result<f64, Error> {
    require(
        (-1.0..=1.0).contains(&value),
        "pixel value",
        value,
        "in [-1, 1]",
    )?;
    require(mean.abs() <= MAX_MEAN, "mean", mean, "in [-1e100, 1e100]")?;
    require(
        deviation.is_finite() && deviation >= MIN_DEVIATION,
        "deviation",
        deviation,
        "finite and at least 1e-50",
    )?;
    require(bins >= 2, "bins", bins as f64, "at least 2")?;
    let half = 1.0 / (bins - 1) as f64;
    let low = if value - half <= -1.0 {
        f64::NEG_INFINITY
    } else {
        (value - half - mean) / deviation
    };
    let high = if value + half >= 1.0 {
        f64::INFINITY
    } else {
        (value + half - mean) / deviation
    };
    // A bin far narrower than the deviation: its density at the middle, with the second
    // derivative's correction; the difference of two tails would lose it to rounding.
    let (width, middle) = (high - low, 0.5 * (low + high));
    if width * (1.0 + middle.abs()) < 1e-3 {
        let curvature = width * width * (middle * middle - 1.0) / 24.0;
        let log_step = libm::log(2.0 * half) - libm::log(deviation);
        return Ok(0.5 * (middle * middle + libm::log(2.0 * PI))
            - log_step
            - libm::log1p(curvature));
    }
    // The tail on the far side of the mean: differences of small masses, not of numbers close to 1.
    let (near, far) = if low + high >= 0.0 || high == f64::INFINITY && low > 0.0 {
        (low, high)
    } else {
        (-high, -low)
    };
    // 0 − …, not −…: certainty costs 0 nats, not −0.
    Ok(0.0 - (log_upper_tail(near) + libm::log1p(-tail_ratio(near, far))))
}

/// Beyond these the square of the distance in deviations, and with it the cost, would overflow.
const MAX_MEAN: f64 = 1e100;
const MIN_DEVIATION: f64 = 1e-50;

/// ln P(Z > z) of the standard normal.
fn log_upper_tail(z: f64) -> f64 {
    // erfc underflows beyond; there Mills' ratio 1/z(1 − 1/z² + 3/z⁴ − 15/z⁶) has a relative error
    // below 1e-9.
    if z < 25.0 {
        libm::log(0.5 * libm::erfc(z / std::f64::consts::SQRT_2))
    } else {
        let w = 1.0 / (z * z);
        -0.5 * z * z - libm::log(z * (2.0 * PI).sqrt())
            + libm::log1p(-w * (1.0 - w * (3.0 - 15.0 * w)))
    }
}

/// P(Z > far)/P(Z > near).
fn tail_ratio(near: f64, far: f64) -> f64 {
    if far == f64::INFINITY {
        0.0
    } else {
        libm::exp(log_upper_tail(far) - log_upper_tail(near))
    }
}
