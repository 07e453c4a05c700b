//! The cost of every edge between any two of a list of levels.

use super::measurement::Pixels;
use super::prior::prior_cost;
use super::{Bound, Decoder, EdgeVariance, Likelihood, Measured, PixelCosts};
use crate::error::{Error, require, require_all, require_length};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory;
use crate::memory::Listed;
use crate::posterior::{DataErrors, Kappa, StridedPosterior};

/// The edge matrix: what each edge t → s between any two of a grid's levels costs in nats, what it
/// costs to start at each level, and to end at each with a decoder. The bound of every stride over
/// these levels is a sum of its entries.
///
/// With T levels before the clean end, counted from 0 at the noisy end:
///
/// | method | |
/// |---|---|
/// | [`edge(t, s)`](Self::edge) | the KL of the edge from t to s > t ([`Elbo`](super::Elbo) has the formula) |
/// | [`decoder(t)`](Self::decoder) | the edge from t onto the clean end |
/// | [`prior(t)`](Self::prior) | KL(q(x_t \| x₀) ‖ N(0, v I)), with v the grid's start variance at t |
/// | [`bound(path)`](Self::bound) | their sum along a path, in parts |
/// | [`cheapest`](Self::cheapest) | the cheapest paths, for every number of edges |
///
/// It takes T(T − 1)/2 numbers and as many evaluations of the formula, none of the model.
///
/// ```
/// use diffusion_sampler::{Grid, oracle::Gaussian, posterior::{DataErrors, Kappa}};
/// use diffusion_sampler::likelihood::{Decoder, EdgeCosts, EdgeVariance};
/// use diffusion_sampler::schedule::TableSchedule;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let fine = Grid::trailing(&schedule, 100)?;
/// let errors = DataErrors::of_gaussian(&Gaussian::diagonal(&[0.0; 2], &[1.0, 0.01])?, &fine)?;
/// let decoder = Decoder::GaussianOptimal;
/// let costs = EdgeCosts::new(&fine, Kappa::Ddpm, EdgeVariance::Optimal, &errors, decoder)?;
/// let uniform = costs.bound(&[0, 25, 50, 75])?;
/// let strides = costs.cheapest()?;
/// assert!(strides.bound(4)?.nats() < uniform.nats());
/// println!("{}", strides.grid(4)?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Watson, Ho, Norouzi and Chan (2021), "Learning to Efficiently Sample from Diffusion
/// Probabilistic Models".
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeCosts {
    pub(super) grid: Grid,
    pub(super) edge: EdgeKind,
    dim: usize,
    pub(super) errors: Vec<f64>,
    priors: Vec<f64>,
    /// Row t holds the costs of t → t + 1, …, t → T − 1.
    costs: Vec<f64>,
    pub(super) ends: Ends,
    decoders: Vec<f64>,
}

/// What an edge is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EdgeKind {
    pub(super) kappa: Kappa,
    pub(super) variance: EdgeVariance,
}

/// How the decoders are given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ends {
    By(Decoder),
    /// The pixels, and the deviation of each level by its index.
    Pixels(Pixels, Vec<usize>),
}

impl EdgeCosts {
    /// The costs of all edges between the levels of `grid`, which ends clean, for the posteriors of
    /// `kappa`, with M_t taken from `errors`, and with the same decoder at every level.
    ///
    /// # Errors
    ///
    /// As [`Elbo::new`](super::Elbo::new) for every edge, [`DataErrors::at`] for every level and
    /// [`Elbo::evaluate`](super::Elbo::evaluate); [`Error::TooLarge`] for more costs than there is
    /// memory for.
    pub fn new(
        grid: &Grid,
        kappa: Kappa,
        variance: EdgeVariance,
        errors: &DataErrors,
        decoder: Decoder,
    ) -> Result<Self, Error> {
        Self::without_decoder(grid, kappa, variance, errors)?.with_decoder(decoder)
    }

    /// The same of what was measured of a model on pixels, with the discretised Gaussian at every
    /// level ([`with_pixels`](Self::with_pixels)).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::EmptyList`] unless the measurement has pixels; as
    /// [`with_pixels`](Self::with_pixels).
    pub fn of_pixels(
        grid: &Grid,
        kappa: Kappa,
        variance: EdgeVariance,
        measured: &Measured,
    ) -> Result<Self, Error> {
        let name = "pixel costs";
        let pixels = measured.pixels().ok_or(Error::EmptyList { name })?;
        Self::without_decoder(grid, kappa, variance, measured.errors())?.with_pixels(pixels)
    }

    fn without_decoder(
        grid: &Grid,
        kappa: Kappa,
        variance: EdgeVariance,
        errors: &DataErrors,
    ) -> Result<Self, Error> {
        super::elbo::require_clean_end(grid)?;
        let (levels, dim) = (&grid.levels()[..grid.steps()], errors.dim());
        let edge = EdgeKind { kappa, variance };
        let errors_along = errors.along(grid)?;
        let mut costs = memory::reserve(&[levels.len(), levels.len().div_ceil(2)])?;
        for (t, (from, &error)) in levels.iter().zip(&errors_along).enumerate() {
            for to in levels.iter().skip(t + 1) {
                let posterior = StridedPosterior::new(*from, *to, kappa)?;
                variance.check(&posterior)?;
                costs.push(variance.cost(&posterior, dim, error)?);
            }
        }
        let priors = levels.iter().enumerate().map(|(t, level)| {
            let start_variance = grid.section(t..grid.steps())?.start_variance();
            prior_cost(level, start_variance, dim, errors.second_moment())
        });
        Ok(Self {
            grid: grid.clone(),
            edge,
            dim,
            priors: priors.all_listed()?,
            errors: errors_along,
            costs,
            ends: Ends::By(Decoder::Density(0.0)),
            decoders: Vec::new(),
        })
    }

    /// The same with this decoder at every level.
    ///
    /// # Errors
    ///
    /// As [`Elbo::evaluate`](super::Elbo::evaluate).
    pub fn with_decoder(self, decoder: Decoder) -> Result<Self, Error> {
        let nats = self
            .errors
            .iter()
            .map(|&error| decoder.nats(self.dim, error));
        Ok(Self {
            decoders: nats.all_listed()?,
            ends: Ends::By(decoder),
            ..self
        })
    }

    /// The same with the discretised Gaussian at every level, of the deviation that is the cheapest
    /// there among those measured.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] and [`Error::InvalidEntry`] unless `pixels` were measured at these
    /// levels, on samples of as many elements.
    pub fn with_pixels(self, pixels: &PixelCosts) -> Result<Self, Error> {
        require_length("pixel costs", self.errors.len(), pixels.levels())?;
        require_length("elements of the pixel costs", self.dim, pixels.dim)?;
        let measured: Vec<f64> = pixels.at.iter().map(NoiseLevel::lambda).listed()?;
        require_all(
            "lambda of the pixel costs",
            &measured,
            |index, lambda| self.levels().get(index).map(NoiseLevel::lambda) == Some(lambda),
            "that of the matrix's level",
        )?;
        let best = (0..pixels.levels()).map(|level| pixels.best(level));
        let (deviations, decoders) = best.unzip();
        Ok(Self {
            decoders,
            ends: Ends::Pixels(pixels.pixels.clone(), deviations),
            ..self
        })
    }

    /// The levels, from the noisy end, without the clean one: T of them.
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.grid.levels()[..self.grid.steps()]
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// The KL in nats of the edge between two levels; `None` unless `from` < `to` < T.
    pub fn edge(&self, from: usize, to: usize) -> Option<f64> {
        let index = to.checked_sub(from)?.checked_sub(1)?;
        self.row(from)?.get(index).copied()
    }

    /// The costs of the edges from a level to all cleaner ones.
    pub(super) fn row(&self, from: usize) -> Option<&[f64]> {
        let count = self.errors.len();
        let len = count.checked_sub(from)?.checked_sub(1)?;
        // Rows of T − 1, T − 2, … numbers come before it.
        let start = from * (2 * count - from - 1) / 2;
        self.costs.get(start..start + len)
    }

    /// The decoder's −ln p in nats at a level; `None` beyond the last.
    pub fn decoder(&self, from: usize) -> Option<f64> {
        self.decoders.get(from).copied()
    }

    /// The prior's KL in nats for runs that start at a level; `None` beyond the last.
    pub fn prior(&self, start: usize) -> Option<f64> {
        self.priors.get(start).copied()
    }

    /// What the decoders' −ln p are of.
    pub fn likelihood(&self) -> Likelihood {
        match &self.ends {
            Ends::By(decoder) => decoder.likelihood(),
            Ends::Pixels(..) => Likelihood::Mass,
        }
    }

    /// The bound of a stride: the levels at which its steps start, from the noisy end. The last
    /// step leads onto the clean end.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without levels; [`Error::InvalidEntry`] unless they ascend and are less
    /// than T; [`Error::CostOverflow`] for a sum that f64 cannot hold.
    pub fn bound(&self, path: &[usize]) -> Result<Bound, Error> {
        self.require_path(path)?;
        let at = |list: &[f64], level: Option<&usize>| {
            let value = level.and_then(|&level| list.get(level));
            value.copied().unwrap_or(f64::NAN)
        };
        let edges = path.windows(2).map(|pair| self.edge(pair[0], pair[1]));
        Bound {
            prior: at(&self.priors, path.first()),
            edges: edges.flatten().listed()?,
            decoder: at(&self.decoders, path.last()),
            dim: self.dim,
            likelihood: self.likelihood(),
        }
        .checked()
    }

    /// A stride as a grid: these levels, then the clean end.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] and [`Error::InvalidEntry`] as [`bound`](Self::bound).
    pub fn grid_of(&self, path: &[usize]) -> Result<Grid, Error> {
        self.require_path(path)?;
        let levels = self.grid.levels();
        let knots = path.iter().filter_map(|&level| levels.get(level));
        let knots = knots.copied().chain([self.grid.end()]).listed()?;
        let start = path.first().copied().unwrap_or(0);
        let part = self.grid.section(start..self.grid.steps())?;
        Grid::from_levels(knots, part.start_variance())
    }

    pub(super) fn require_path(&self, path: &[usize]) -> Result<(), Error> {
        if path.is_empty() {
            return Err(Error::EmptyList { name: "path" });
        }
        for (index, &level) in path.iter().enumerate() {
            let ascends = index == 0 || path.get(index - 1).is_some_and(|&last| last < level);
            if !(ascends && level < self.errors.len()) {
                return Err(Error::InvalidEntry {
                    name: "path",
                    index,
                    value: level as f64,
                    requirement: "above the one before it and less than the number of levels",
                });
            }
        }
        Ok(())
    }

    pub(super) fn require_level(&self, start: usize) -> Result<(), Error> {
        require(
            start < self.errors.len(),
            "start level",
            start as f64,
            "less than the number of levels",
        )
    }
}
