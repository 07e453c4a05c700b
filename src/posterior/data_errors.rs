//! How well a model knows the data at each level.

use crate::error::{Error, require_all, require_length, require_non_negative};
use crate::level::NoiseLevel;

/// The squared error of a model's estimate of x₀ at each of a list of levels, M_t = E|x₀ − D(x_t)|²,
/// summed over the d elements of a sample.
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
}

/// How far λ of a level may lie from a listed one's to be the same level, relative to max(1, |λ|).
const SAME_LAMBDA: f64 = 1e-9;

impl DataErrors {
    /// Exact errors: M_t at each of `levels`, which have strictly decreasing noise and none of which
    /// is clean; `second_moment` is E|x₀|².
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`] without levels; [`Error::WrongLength`] unless there is an error for each;
    /// [`Error::NoiseNotDecreasing`]; [`Error::InvalidEntry`] for an error that is negative or not
    /// finite, or a clean level; [`Error::InvalidParameter`] for such a second moment.
    pub fn new(
        dim: usize,
        second_moment: f64,
        levels: Vec<NoiseLevel>,
        errors: Vec<f64>,
    ) -> Result<Self, Error> {
        let standard_errors = vec![0.0; errors.len()];
        Self {
            dim,
            second_moment,
            levels,
            errors,
            standard_errors,
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

    fn checked(self) -> Result<Self, Error> {
        if self.levels.is_empty() {
            return Err(Error::EmptyList { name: "levels" });
        }
        require_non_negative("second moment of the data", self.second_moment)?;
        for (name, list) in [
            ("data errors", &self.errors),
            ("standard errors", &self.standard_errors),
        ] {
            require_length(name, self.levels.len(), list.len())?;
            let valid = |_, value: f64| value.is_finite() && value >= 0.0;
            require_all(name, list, valid, "finite and at least 0")?;
        }
        let sigmas: Vec<f64> = self.levels.iter().map(NoiseLevel::sigma).collect();
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

    /// M_t at a level: that of the listed level with the same λ (to 1e-9), else ln M interpolated
    /// linearly in λ between its neighbours (M itself where one of them is 0).
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] for a level beyond the listed ones, or beside one with α = 0.
    pub fn at(&self, level: &NoiseLevel) -> Result<f64, Error> {
        let lambda = level.lambda();
        let near =
            |own: f64| own == lambda || (own - lambda).abs() <= SAME_LAMBDA * own.abs().max(1.0);
        let after = self.levels.partition_point(|own| own.lambda() < lambda);
        for index in [after.checked_sub(1), Some(after)].into_iter().flatten() {
            if let (Some(own), Some(&error)) = (self.levels.get(index), self.errors.get(index))
                && near(own.lambda())
            {
                return Ok(error);
            }
        }
        let outside = || Error::LambdaOutOfRange {
            lambda,
            noisy: self.levels[0].lambda(),
            clean: self.levels[self.levels.len() - 1].lambda(),
        };
        if after == 0 || after == self.levels.len() {
            return Err(outside());
        }
        let (from, to) = (self.levels[after - 1].lambda(), self.levels[after].lambda());
        if from == f64::NEG_INFINITY {
            return Err(outside());
        }
        let share = (lambda - from) / (to - from);
        let (a, b) = (self.errors[after - 1], self.errors[after]);
        if a == 0.0 || b == 0.0 {
            return Ok((1.0 - share) * a + share * b);
        }
        Ok(libm::exp(
            (1.0 - share) * libm::log(a) + share * libm::log(b),
        ))
    }
}
