//! How well a model knows each element of the data at each level.

use super::DataErrors;
use super::between::Place;
use crate::error::{Error, require_all, require_length};
use crate::level::NoiseLevel;
use crate::memory::{self, Copied, Listed};

/// The squared error of a model's estimate of each element of x₀ at each of a list of levels,
/// M_{t,i} = E(x₀ − D(x_t))_i²: [`DataErrors`], element by element.
///
/// Exact ones come from [`Gaussian::element_errors`](crate::oracle::Gaussian::element_errors),
/// measured ones from [`likelihood::element_errors`](crate::likelihood::element_errors).
///
/// ```
/// use diffusion_sampler::{Grid, oracle::Gaussian, schedule::TableSchedule};
///
/// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 4)?;
/// let data = Gaussian::diagonal(&[0.0, 1.0], &[0.5, 0.01])?;
/// let errors = data.element_errors(&grid.levels()[..4])?;
/// let at = errors.at(&grid.levels()[3])?;
/// assert!(at[0] > at[1]);
/// assert!((errors.total()?.errors()[3] - (at[0] + at[1])).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ElementErrors {
    dim: usize,
    levels: Vec<NoiseLevel>,
    /// A row of `dim` errors for each level.
    errors: Vec<f64>,
    /// The same, of each error.
    standard_errors: Vec<f64>,
}

impl ElementErrors {
    /// Exact errors: a row of `dim` elements for each of `levels`, one row behind the other. The
    /// levels have strictly decreasing noise, and none of them is clean.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without levels; [`Error::WrongLength`] unless there are `dim` errors
    /// for each; [`Error::NoiseNotDecreasing`]; [`Error::InvalidEntry`] for an error that is
    /// negative or not finite, or a clean level.
    pub fn new(dim: usize, levels: Vec<NoiseLevel>, errors: Vec<f64>) -> Result<Self, Error> {
        let standard_errors = memory::repeated(0.0, errors.len())?;
        Self::with_standard_errors(dim, levels, errors, standard_errors)
    }

    /// The same of errors that were sampled, with the standard error of each.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), of both lists.
    pub fn with_standard_errors(
        dim: usize,
        levels: Vec<NoiseLevel>,
        errors: Vec<f64>,
        standard_errors: Vec<f64>,
    ) -> Result<Self, Error> {
        let valid = |_, value: f64| value.is_finite() && value >= 0.0;
        let expected = dim.saturating_mul(levels.len());
        for (name, list) in [
            ("element errors", &errors),
            ("standard errors", &standard_errors),
        ] {
            require_length(name, expected, list.len())?;
            require_all(name, list, valid, "finite and at least 0")?;
        }
        // The list of levels has one set of rules.
        let none = memory::repeated(0.0, levels.len())?;
        DataErrors::new(dim, 0.0, levels[..].copy()?, none)?;
        Ok(Self {
            dim,
            levels,
            errors,
            standard_errors,
        })
    }

    /// The number of elements d of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The levels, from the noisy end.
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// M_{t,i}: a row of d elements for each level.
    pub fn errors(&self) -> &[f64] {
        &self.errors
    }

    /// The standard error of each: 0 where it is exact.
    pub fn standard_errors(&self) -> &[f64] {
        &self.standard_errors
    }

    /// M_t = Σ_i M_{t,i} of each level, which serves [`AnalyticVariance`](super::AnalyticVariance);
    /// its second moment is 0, for this list does not know it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] where a sum overflows.
    pub fn total(&self) -> Result<DataErrors, Error> {
        let sums = (0..self.levels.len()).map(|level| self.row(level).iter().sum());
        DataErrors::new(self.dim, 0.0, self.levels[..].copy()?, sums.listed()?)
    }

    /// M_{t,i} of all elements at a level: those of the listed level with the same λ, else
    /// interpolated linearly in λ between its neighbours, ln M where both are positive.
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] for a level beyond the listed ones, or beside one with α = 0.
    pub fn at(&self, level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let place = Place::of(level, &self.levels)?;
        let value = |element: usize| place.value(|index| self.row(index)[element]);
        (0..self.dim).map(value).listed()
    }

    fn row(&self, level: usize) -> &[f64] {
        &self.errors[level * self.dim..(level + 1) * self.dim]
    }
}
