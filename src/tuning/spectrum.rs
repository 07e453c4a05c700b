//! The spectrum of the data: how its variance is distributed over the directions.

use std::fmt;

use super::nnls::nnls;
use crate::error::{Error, require, require_all, require_length, require_positive};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::oracle::Gaussian;
use crate::posterior::DataErrors;

/// A distribution of variances: which share of the directions (eigenvectors of the data's
/// covariance) has which variance v. It is all that the linear part of a sampler depends on.
///
/// | made by | from |
/// |---|---|
/// | [`of`](Self::of) | a Gaussian: the moments of a sample, for example |
/// | [`fit`](Self::fit) | the errors M_t of a network, without any data |
/// | [`images`](Self::images) | nothing: what is typical for images |
/// | [`new`](Self::new) | a list |
///
/// ```
/// use diffusion_sampler::tuning::Spectrum;
///
/// let data = Spectrum::images().gaussian(64)?;
/// assert_eq!(data.variances().len(), 64);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    variances: Vec<f64>,
    /// Shares of the directions, which sum to 1.
    weights: Vec<f64>,
}

/// What [`Spectrum::fit`] found, and how well it explains the errors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpectrumFit {
    /// The spectrum.
    pub spectrum: Spectrum,
    /// The root mean square of (fitted M_t − M_t)/M_t over the levels with M_t > 0.
    pub misfit: f64,
    /// The largest of them in magnitude.
    pub worst: f64,
}

/// The directions of the typical spectrum of images.
const IMAGES: usize = 64;
/// Its mean variance: pixels from −1 to 1 have a deviation of about ½, EDM's σ_data.
const IMAGE_VARIANCE: f64 = 0.25;
/// Candidates of a fit for each factor of 10.
const A_DECADE: usize = 12;
/// So many levels decide a fit; of more, evenly chosen ones.
const LEVELS: usize = 80;
/// How firmly the shares sum to 1.
const TOGETHER: f64 = 1e3;
/// M_t is taken to be known no better than this, relative.
const EXACT: f64 = 1e-3;
/// An M_t below this share of the largest is none.
const NOTHING: f64 = 1e-30;

impl Spectrum {
    /// Variances, and the share of the directions that has each; shares are normalised.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyList`]; [`Error::WrongLength`] unless there is a share for each variance;
    /// [`Error::InvalidEntry`] for a variance that is neither 0 nor between 1e-60 and 1e60, a share
    /// that is negative or not finite, or shares that are all 0.
    pub fn new(variances: Vec<f64>, shares: Vec<f64>) -> Result<Self, Error> {
        if variances.is_empty() {
            return Err(Error::EmptyList { name: "variances" });
        }
        require_length("shares", variances.len(), shares.len())?;
        let valid = |_, v: f64| v == 0.0 || (1e-60..=1e60).contains(&v);
        require_all(
            "variances",
            &variances,
            valid,
            "0 or between 1e-60 and 1e60",
        )?;
        let total: f64 = shares.iter().sum();
        let valid = |_, w: f64| w.is_finite() && w >= 0.0 && total > 0.0 && total.is_finite();
        require_all("shares", &shares, valid, "at least 0, and not all 0")?;
        Ok(Self {
            variances,
            weights: shares.iter().map(|w| w / total).listed()?,
        })
    }

    /// The spectrum of a Gaussian: its variances, each with the same share.
    pub fn of(data: &Gaussian) -> Result<Self, Error> {
        let variances = data.variances().copy()?;
        let weights = crate::memory::repeated(1.0 / variances.len() as f64, variances.len())?;
        Ok(Self { variances, weights })
    }

    /// What is typical for images, where nothing is known: v_i = c/i², i = 1..64, with a mean of
    /// 0.25.
    ///
    /// The power of natural images falls with about the square of the spatial frequency (Field 1987,
    /// "Relations between the statistics of natural images and the response properties of cortical
    /// cells"): v_i is that at the i-th frequency along one axis. Pixels from −1 to 1 deviate by about
    /// ½, the σ_data of EDM (Karras et al. 2022). The tables of `docs/verification.md` and of
    /// `docs/choosing.md` are of the same data.
    pub fn images() -> Self {
        let raw: Vec<f64> = (1..=IMAGES).map(|i| 1.0 / (i * i) as f64).collect();
        let scale = IMAGE_VARIANCE * IMAGES as f64 / raw.iter().sum::<f64>();
        Self {
            variances: raw.iter().map(|v| scale * v).collect(),
            weights: vec![1.0 / IMAGES as f64; IMAGES],
        }
    }

    /// The spectrum that explains the errors M_t of a model by level: of a Gaussian
    ///
    /// ```text
    /// M_t/d = mean_i v_iσ²/(α²v_i + σ²)
    /// ```
    ///
    /// so that the shares of variances on a logarithmic grid follow by least squares, none of them
    /// negative (Lawson and Hanson 1974), in relative errors. Data that are not Gaussian have less
    /// error than the Gaussian with their covariance at every level: the spectrum is then that of
    /// the Gaussian which is as hard to denoise. Many spectra explain the same errors; what they
    /// agree on is what a sampler sees.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, posterior::DataErrors, schedule::TableSchedule};
    /// use diffusion_sampler::tuning::Spectrum;
    ///
    /// let known = Spectrum::new(vec![1.0, 0.01], vec![0.25, 0.75])?;
    /// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 25)?;
    /// let levels = grid.levels()[..25].to_vec();
    /// let errors = levels.iter().map(|level| 8.0 * known.data_error(level)).collect();
    /// let fit = Spectrum::fit(&DataErrors::new(8, 8.0 * known.mean(), levels, errors)?)?;
    /// assert!(fit.misfit < 1e-3, "{fit}");
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] where d = 0, no M_t is positive, or the largest M_t/d is not
    /// between 1e-50 and 1e50. An M_t below 1e-30 of the largest counts as 0.
    pub fn fit(errors: &DataErrors) -> Result<SpectrumFit, Error> {
        let d = errors.dim() as f64;
        require(d > 0.0, "dimension", d, "at least 1")?;
        let known = Known::of(errors, d)?;
        let grid = known.candidates(d)?;
        let columns: Vec<Vec<f64>> = grid.iter().map(|&v| known.column(v)).all_listed()?;
        let mut target: Vec<f64> = known.rows.iter().map(|row| row.weight).listed()?;
        crate::memory::push(&mut target, TOGETHER)?;
        let shares = nnls(&columns, &target);
        let held = grid.into_iter().zip(shares).filter(|(_, w)| *w > 0.0);
        let (variances, shares) = held.unzip();
        let spectrum = Self::new(variances, shares)?;
        let miss = |row: &Row| spectrum.data_error(&row.level) / row.error - 1.0;
        let misses: Vec<f64> = known.rows.iter().map(miss).listed()?;
        let square: f64 = misses.iter().map(|m| m * m).sum();
        Ok(SpectrumFit {
            misfit: (square / misses.len() as f64).sqrt(),
            worst: misses.iter().fold(0.0, |worst, m| f64::max(worst, m.abs())),
            spectrum,
        })
    }

    /// The same distribution in other units: with variances in proportion, and this mean.
    ///
    /// The latents of autoencoders are scaled to a variance of about 1, pixels from −1 to 1 have
    /// about ¼. What else is different about latents, this does not know.
    ///
    /// ```
    /// use diffusion_sampler::tuning::Spectrum;
    ///
    /// let latents = Spectrum::images().with_mean(1.0)?;
    /// assert!((latents.mean() - 1.0).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless both means are positive; [`Error::InvalidEntry`] for a
    /// variance out of range.
    pub fn with_mean(self, mean: f64) -> Result<Self, Error> {
        let own = self.mean();
        require(own > 0.0, "mean variance", own, "positive")?;
        require_positive("mean variance", mean)?;
        let scaled = self.variances.iter().map(|v| mean * (v / own)).listed()?;
        Self::new(scaled, self.weights)
    }

    /// The variances.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The share of the directions that has each variance.
    pub fn shares(&self) -> &[f64] {
        &self.weights
    }

    /// The mean variance of a direction, which is that of an element.
    pub fn mean(&self) -> f64 {
        self.average(|v| v)
    }

    /// M_t/d, the squared error of E\[x₀ given x_t\] for each element of Gaussian data with this
    /// spectrum.
    pub fn data_error(&self, level: &NoiseLevel) -> f64 {
        self.average(|v| error_of(v, level))
    }

    fn average(&self, f: impl Fn(f64) -> f64) -> f64 {
        let pairs = self.variances.iter().zip(&self.weights);
        pairs.map(|(&v, w)| w * f(v)).sum()
    }

    /// The spectrum with v replaced by v·(v/mean)^`power`, scaled to the same mean: steeper for a
    /// positive power, flatter for a negative one. A perturbation, to see what depends on the
    /// spectrum being exactly this.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless −1 < `power` < 1 and the mean is positive;
    /// [`Error::InvalidEntry`] for a variance out of range.
    pub fn tilted(&self, power: f64) -> Result<Self, Error> {
        require(power.abs() < 1.0, "power", power, "between -1 and 1")?;
        let mean = self.mean();
        require(mean > 0.0, "mean variance", mean, "positive")?;
        let bent: Vec<f64> = self
            .variances
            .iter()
            .map(|v| v * libm::pow(v / mean, power))
            .map(|v| if v.is_nan() { 0.0 } else { v })
            .listed()?;
        let bent = Self::new(bent, self.weights[..].copy()?)?;
        bent.with_mean(mean)
    }

    /// N(0, diag v) in `directions` dimensions with this spectrum: v_i is the mean of the spectrum
    /// over the i-th of as many equal shares of the directions, from the largest variance on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] without directions; [`Error::TooLarge`].
    pub fn gaussian(&self, directions: usize) -> Result<Gaussian, Error> {
        require(directions > 0, "directions", 0.0, "at least 1")?;
        let atoms: Vec<(f64, f64)> = self
            .variances
            .iter()
            .copied()
            .zip(self.weights.iter().map(|w| w * directions as f64))
            .listed()?;
        let atoms = crate::memory::sorted(&atoms, |a, b| b.0.total_cmp(&a.0))?;
        let mut atoms = atoms.into_iter();
        let mut current = atoms.next().unwrap_or((0.0, f64::INFINITY));
        let mut variances = crate::memory::reserve(&[directions.min(1 << 20)])?;
        for _ in 0..directions {
            let (mut room, mut sum) = (1.0, 0.0);
            while room > 0.0 {
                let part = f64::min(room, current.1);
                sum += part * current.0;
                room -= part;
                current.1 -= part;
                if current.1 <= 0.0 {
                    // The last atom also has what rounding left over.
                    current = atoms.next().unwrap_or((current.0, f64::INFINITY));
                }
            }
            variances.push(small_to_zero(sum));
        }
        Gaussian::diagonal(&crate::memory::repeated(0.0, directions)?, &variances)
    }
}

/// vσ²/(α²v + σ²); 0 where both v and σ are 0.
pub(super) fn error_of(v: f64, level: &NoiseLevel) -> f64 {
    let square = level.marginal_variance(v);
    if square == 0.0 {
        0.0
    } else {
        v * (level.sigma() * level.sigma() / square)
    }
}

/// A variance below 1e-60 counts as 0, as everywhere.
pub(super) fn small_to_zero(v: f64) -> f64 {
    if v < 1e-60 { 0.0 } else { v }
}

/// A level of a fit: M_t/d there, and how much it counts.
struct Row {
    level: NoiseLevel,
    error: f64,
    weight: f64,
}

/// The levels that decide a fit.
struct Known {
    rows: Vec<Row>,
}

impl Known {
    fn of(errors: &DataErrors, d: f64) -> Result<Self, Error> {
        let largest = errors.errors().iter().fold(0.0, |m, &e| f64::max(m, e));
        require(largest > 0.0, "largest data error", largest, "positive")?;
        let range = "between 1e-50 and 1e50 an element";
        let valid = (1e-50..=1e50).contains(&(largest / d));
        require(valid, "largest data error", largest / d, range)?;
        let all = errors.levels().iter().zip(errors.errors());
        let all = all.zip(errors.standard_errors());
        let rows: Vec<Row> = all
            .filter(|((_, error), _)| **error > NOTHING * largest)
            .map(|((level, error), standard)| Row {
                level: *level,
                error: error / d,
                weight: 1.0 / (standard / error).clamp(EXACT, 1.0 / EXACT),
            })
            .listed()?;
        let best = rows.iter().fold(0.0, |w, row| f64::max(w, row.weight));
        let step = rows.len().div_ceil(LEVELS);
        let mut rows: Vec<Row> = rows.into_iter().step_by(step).listed()?;
        rows.iter_mut().for_each(|row| row.weight /= best);
        Ok(Self { rows })
    }

    /// Variances on a logarithmic grid: from below what the least noisy level sees to all of the
    /// variance in one direction; and 0.
    fn candidates(&self, d: f64) -> Result<Vec<f64>, Error> {
        let mean = self.rows.iter().fold(0.0, |m, row| f64::max(m, row.error));
        let rho = |row: &Row| row.level.rho();
        let least = self.rows.iter().map(rho).fold(f64::INFINITY, f64::min);
        let low = (1e-2 * least * least).clamp(1e-10 * mean, 0.1 * mean);
        let high = 2.0 * mean * d.max(2.0);
        let decades = libm::log10(high / low);
        let count = (decades * A_DECADE as f64).ceil().max(1.0) as usize;
        let at = |k: usize| low * libm::pow(10.0, decades * k as f64 / count as f64);
        std::iter::once(0.0).chain((0..=count).map(at)).listed()
    }

    fn column(&self, v: f64) -> Result<Vec<f64>, Error> {
        let entry = |row: &Row| row.weight * (error_of(v, &row.level) / row.error);
        let mut column: Vec<f64> = self.rows.iter().map(entry).listed()?;
        crate::memory::push(&mut column, TOGETHER)?;
        Ok(column)
    }
}

/// A line for each variance: v and its share.
impl fmt::Display for Spectrum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12} {:>8}", "variance", "share")?;
        let pairs = self.variances.iter().zip(&self.weights);
        pairs
            .into_iter()
            .try_for_each(|(v, w)| writeln!(f, "{v:>12.4e} {w:>8.5}"))
    }
}

/// The spectrum, and the misfit in percent.
impl fmt::Display for SpectrumFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (misfit, worst) = (100.0 * self.misfit, 100.0 * self.worst);
        write!(f, "{}", self.spectrum)?;
        writeln!(
            f,
            "explains the errors to {misfit:.3} % (rms), {worst:.3} % at worst"
        )
    }
}
