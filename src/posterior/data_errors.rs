//! How well a model knows the data at each level.

use super::between::Place;
use crate::error::{Error, require_all, require_length, require_non_negative};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::{self, Listed};

/// The squared error of a model's estimate of x₀ at each of a list of levels, M_t = E|x₀ −
/// D(x_t)|², summed over the d elements of a sample.
///
/// These numbers are all that the variational bound of *any* grid over the same levels needs, and
/// all that the analytic reverse variance needs: one pass over data serves every stride.
///
/// | method | quantity |
/// |---|---|
/// | [`dim`](Self::dim) | d |
/// | [`second_moment`](Self::second_moment) | E\|x₀\|² |
/// | [`levels`](Self::levels) | the levels, from the noisy end |
/// | [`errors`](Self::errors) | M_t at each of them |
/// | [`standard_errors`](Self::standard_errors) | of each M_t, where it was sampled; 0 where it is exact |
/// | [`noise_moments`](Self::noise_moments) | m_t = E\|E(x_t)\|²/d, where it is known |
///
/// They come from a model and data ([`Measurement`](crate::likelihood::Measurement)), from a
/// Gaussian ([`of_gaussian`](Self::of_gaussian)), from any exact model of one dimension
/// ([`by_quadrature`](Self::by_quadrature)), from any list ([`new`](Self::new)).
///
/// For an exact model, D = E\[x₀ | x_t\], M_t/d = ρ_t²(1 − m_t) with ρ = σ/α: ε is E plus an error
/// that is uncorrelated with it. A trained network's two numbers may differ.
///
/// ```
/// use diffusion_sampler::{Grid, posterior::DataErrors, schedule::TableSchedule};
///
/// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 2)?;
/// // Standard normal data in 3 dimensions: M_t = 3σ_t².
/// let levels = &grid.levels()[..2];
/// let errors = levels.iter().map(|level| 3.0 * level.sigma() * level.sigma()).collect();
/// let errors = DataErrors::new(3, 3.0, levels.to_vec(), errors)?;
/// assert!((errors.at(&levels[1])? - errors.errors()[1]).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DataErrors {
    dim: usize,
    second_moment: f64,
    levels: Vec<NoiseLevel>,
    errors: Vec<f64>,
    standard_errors: Vec<f64>,
    noise_moments: Option<Vec<f64>>,
}

impl DataErrors {
    /// Exact errors: M_t at each of `levels`, which have strictly decreasing noise and none of
    /// which is clean; `second_moment` is E|x₀|².
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without levels; [`Error::WrongLength`] unless there is an error for
    /// each; [`Error::NoiseNotDecreasing`]; [`Error::InvalidEntry`] for an error that is negative
    /// or not finite, or a clean level; [`Error::InvalidParameter`] for such a second moment.
    pub fn new(
        dim: usize,
        second_moment: f64,
        levels: Vec<NoiseLevel>,
        errors: Vec<f64>,
    ) -> Result<Self, Error> {
        let standard_errors = memory::repeated(0.0, errors.len())?;
        Self {
            dim,
            second_moment,
            levels,
            errors,
            standard_errors,
            noise_moments: None,
        }
        .checked()
    }

    /// The same with the standard error of each M_t, of errors that were sampled.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`], [`Error::InvalidEntry`] as for the errors.
    pub fn with_standard_errors(self, standard_errors: Vec<f64>) -> Result<Self, Error> {
        Self {
            standard_errors,
            ..self
        }
        .checked()
    }

    /// The same with the second moment of the model's estimate of ε at each level, m_t =
    /// E|E(x_t)|²/d with E = (x_t − α_t D)/σ_t.
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`], [`Error::InvalidEntry`] as for the errors.
    pub fn with_noise_moments(self, noise_moments: Vec<f64>) -> Result<Self, Error> {
        Self {
            noise_moments: Some(noise_moments),
            ..self
        }
        .checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if self.levels.is_empty() {
            return Err(Error::EmptyList { name: "levels" });
        }
        require_non_negative("second moment of the data", self.second_moment)?;
        let lists = [
            ("data errors", Some(&self.errors)),
            ("standard errors", Some(&self.standard_errors)),
            ("noise moments", self.noise_moments.as_ref()),
        ];
        for (name, list) in lists {
            let Some(list) = list else { continue };
            require_length(name, self.levels.len(), list.len())?;
            let valid = |_, value: f64| value.is_finite() && value >= 0.0;
            require_all(name, list, valid, "finite and at least 0")?;
        }
        let sigmas: Vec<f64> = self.levels.iter().map(NoiseLevel::sigma).listed()?;
        let noisy = |_, sigma| sigma > 0.0;
        require_all(
            "sigma of the levels",
            &sigmas,
            noisy,
            "positive: at a clean level there is no error",
        )?;
        for (index, pair) in self.levels.windows(2).enumerate() {
            let (lambda_before, lambda) = (pair[0].lambda(), pair[1].lambda());
            if lambda <= lambda_before {
                return Err(Error::NoiseNotDecreasing {
                    knot: index + 1,
                    lambda_before,
                    lambda,
                });
            }
        }
        Ok(self)
    }

    /// The number of elements d of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// E|x₀|².
    pub fn second_moment(&self) -> f64 {
        self.second_moment
    }

    /// The levels, from the noisy end.
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// M_t at each level, summed over the elements.
    pub fn errors(&self) -> &[f64] {
        &self.errors
    }

    /// The standard error of each M_t: 0 where it is exact.
    pub fn standard_errors(&self) -> &[f64] {
        &self.standard_errors
    }

    /// m_t = E|E(x_t)|²/d at each level, where it is known.
    pub fn noise_moments(&self) -> Option<&[f64]> {
        self.noise_moments.as_deref()
    }

    /// M_t at a level: that of the listed level with the same λ (to 1e-9), else ln M interpolated
    /// linearly in λ between its neighbours (M itself where one of them is 0).
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] for a level beyond the listed ones, or beside one with α = 0.
    pub fn at(&self, level: &NoiseLevel) -> Result<f64, Error> {
        self.interpolated(&self.errors, level)
    }

    /// m_t at a level, found in the same way as [`at`](Self::at).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] where no m_t is known; as [`at`](Self::at).
    pub fn noise_moment_at(&self, level: &NoiseLevel) -> Result<f64, Error> {
        match &self.noise_moments {
            Some(moments) => self.interpolated(moments, level),
            None => Err(Error::EmptyList {
                name: "noise moments",
            }),
        }
    }

    /// M_t at each knot of a grid at which a step starts, from the noisy end: all but the last
    /// knot.
    ///
    /// # Errors
    ///
    /// As [`at`](Self::at).
    pub fn along(&self, grid: &Grid) -> Result<Vec<f64>, Error> {
        grid.edges().map(|(from, _)| self.at(&from)).all_listed()
    }

    fn interpolated(&self, values: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        Ok(Place::of(level, &self.levels)?.value(|index| values[index]))
    }
}
