//! The variational bound of one grid.

use super::prior::prior_cost;
use super::{Bound, Decoder, EdgeVariance};
use crate::error::{Error, require, require_all, require_length, require_non_negative};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::posterior::{Kappa, StridedPosterior};

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
    pub(super) edges: Vec<StridedPosterior>,
    /// v_p of each edge.
    pub(super) variances: Vec<EdgeVariance>,
    pub(super) start: NoiseLevel,
    pub(super) start_variance: f64,
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
        require_clean_end(grid)?;
        let edges: Vec<_> = grid
            .edges()
            .take(grid.steps() - 1)
            .map(|(from, to)| {
                let posterior = StridedPosterior::new(from, to, kappa)?;
                variance.check(&posterior)?;
                Ok(posterior)
            })
            .all_listed()?;
        Ok(Self {
            variances: crate::memory::repeated(variance, edges.len())?,
            edges,
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
        let last = data_errors.last().copied().unwrap_or(0.0);
        let edges = self
            .edges
            .iter()
            .zip(&self.variances)
            .zip(data_errors)
            .map(|((posterior, variance), &error)| variance.cost(posterior, dim, error))
            .all_listed()?;
        Bound {
            prior: prior_cost(&self.start, self.start_variance, dim, second_moment)?,
            edges,
            decoder: decoder.nats(dim, last)?,
            dim,
            likelihood: decoder.likelihood(),
        }
        .checked()
    }
}

/// A grid of which there is a likelihood of data.
pub(super) fn require_clean_end(grid: &Grid) -> Result<(), Error> {
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
    )
}
