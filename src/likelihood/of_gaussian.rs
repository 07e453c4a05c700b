//! What the exact model of Gaussian data knows at each level.

use crate::error::Error;
use crate::grid::Grid;
use crate::memory::Listed;
use crate::oracle::{Gaussian, Scales};
use crate::posterior::DataErrors;

impl DataErrors {
    /// The errors of the exact model of Gaussian data at the knots of a grid but its clean end:
    ///
    /// ```text
    /// M_t = Σ_i v_i σ²/(α²v_i + σ²)        m_t = (1/d) Σ_i σ²/(α²v_i + σ²)
    /// ```
    ///
    /// with v_i the eigenvalues of the covariance.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, oracle::Gaussian, posterior::DataErrors};
    /// use diffusion_sampler::schedule::VariancePreserving;
    ///
    /// let grid = Grid::trailing(&VariancePreserving::default(), 10)?;
    /// let errors = DataErrors::of_gaussian(&Gaussian::centred(3, 1.0)?, &grid)?;
    /// let level = grid.levels()[4];
    /// assert!((errors.at(&level)? - 3.0 * level.sigma() * level.sigma()).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for α or σ neither 0 nor between 1e-30 and 1e30.
    pub fn of_gaussian(data: &Gaussian, grid: &Grid) -> Result<Self, Error> {
        let (variances, dim) = (data.variances(), data.mean().len());
        let noisy = grid.levels().iter().filter(|level| !level.is_clean());
        let levels: Vec<_> = noisy.copied().listed()?;
        let (mut errors, mut moments) = (Vec::new(), Vec::new());
        for level in &levels {
            let scales = Scales::of(level)?;
            let share = |v: &f64| scales.noise_share(*v);
            errors.push(variances.iter().map(|v| v * share(v)).sum());
            moments.push(variances.iter().map(share).sum::<f64>() / dim as f64);
        }
        let squares = data.mean().iter().map(|m| m * m);
        let second_moment = squares.sum::<f64>() + variances.iter().sum::<f64>();
        Self::new(dim, second_moment, levels, errors)?.with_noise_moments(moments)
    }
}
