//! Gaussian mixtures fitted to a sample of the data.

use ndarray::ArrayRef2;

use super::GaussianMixture;
use super::em::{Run, Sample};
use super::start::Starts;
use crate::error::{Error, require, require_non_negative, require_positive};
use crate::oracle::check;
use crate::real::Real;

/// Fits a [`GaussianMixture`] to rows of data by expectation–maximisation: a surrogate of the data
/// whose denoiser is known exactly.
///
/// Each round takes the responsibilities r_ik of every component k for every row x_i, then, with
/// N_k = Σ_i r_ik,
///
/// ```text
/// w_k = N_k/n    m_k = Σ_i r_ik x_i / N_k    S_k = Σ_i r_ik (x_i − m_k)(x_i − m_k)ᵀ / N_k
/// C_k = S_k with its eigenvalues (or its diagonal) raised to the floor
/// ```
///
/// Raising the eigenvalues of S_k is the exact maximiser under the constraint C_k ⪰ floor · I, so
/// that the likelihood never falls. The fit begins from several keyed starts of a few rounds each
/// and goes on with the best of them: centres by k-means++, then the covariance of all clusters
/// together. The same data and seed give the same bits on every machine.
///
/// | option | default |
/// |---|---|
/// | [`diagonal`](Self::diagonal) | full covariances |
/// | [`with_floor`](Self::with_floor) | 1e-3 of the mean variance of the data |
/// | [`with_starts`](Self::with_starts) | 4 |
/// | [`with_rounds`](Self::with_rounds) | at most 200 |
/// | [`with_tolerance`](Self::with_tolerance) | until a round gains less than 1e-6 nats a row |
/// | [`with_seed`](Self::with_seed) | 0 |
///
/// A round costs O(nKd²), and O(Kd³) for the eigenvectors: a second or so for 1000 rows of 64
/// elements and 10 components in all.
///
/// ```
/// use diffusion_sampler::oracle::{MixtureFit, Oracle};
/// use ndarray::array;
///
/// let rows = array![[-2.1], [-1.9], [-2.0], [1.9], [2.0], [2.1]];
/// let fitted = MixtureFit::new(2).with_floor(1e-4)?.fit(&rows)?;
/// let mut means: Vec<f64> = fitted.mixture.components().iter().map(|c| c.mean()[0]).collect();
/// means.sort_by(f64::total_cmp);
/// assert!((means[0] + 2.0).abs() < 1e-12 && (means[1] - 2.0).abs() < 1e-12);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM Algorithm";
/// Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding"; the short starts
/// are those of Biernacki, Celeux and Govaert 2003.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixtureFit {
    components: usize,
    diagonal: bool,
    floor: Option<f64>,
    starts: usize,
    rounds: usize,
    tolerance: f64,
    seed: u64,
}

/// What [`MixtureFit::fit`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FittedMixture {
    /// The mixture; component k has the label k. It has fewer components than requested where one
    /// lost all rows.
    pub mixture: GaussianMixture,
    /// The mean log-likelihood of a row in nats, at the start and after each round: it never falls.
    pub log_likelihoods: Vec<f64>,
    /// Whether the last round gained less than the tolerance.
    pub converged: bool,
}

/// The share of the mean variance that no variance falls below, unless the caller says.
const FLOOR: f64 = 1e-3;
/// Where all rows are one point.
const LEAST_FLOOR: f64 = 1e-30;
/// The rounds of each start.
const SHORT: usize = 5;

impl MixtureFit {
    /// A fit with this many components.
    pub fn new(components: usize) -> Self {
        Self {
            components,
            diagonal: false,
            floor: None,
            starts: 4,
            rounds: 200,
            tolerance: 1e-6,
            seed: 0,
        }
    }

    /// The same with diagonal covariances.
    #[must_use]
    pub fn diagonal(self) -> Self {
        Self {
            diagonal: true,
            ..self
        }
    }

    /// The same with this least variance, in units of the data squared.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is between 1e-60 and 1e60.
    pub fn with_floor(self, floor: f64) -> Result<Self, Error> {
        require_positive("variance floor", floor)?;
        check::variance("variance floor", floor)?;
        Ok(Self {
            floor: Some(floor),
            ..self
        })
    }

    /// The same with this many starts, of which the best is continued.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for none.
    pub fn with_starts(self, starts: usize) -> Result<Self, Error> {
        require(starts > 0, "starts", 0.0, "at least 1")?;
        Ok(Self { starts, ..self })
    }

    /// The same with at most this many rounds; 0 gives the best start as it is.
    #[must_use]
    pub fn with_rounds(self, rounds: usize) -> Self {
        Self { rounds, ..self }
    }

    /// The same that stops where a round gains less than `nats` a row.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is finite and at least 0.
    pub fn with_tolerance(self, nats: f64) -> Result<Self, Error> {
        require_non_negative("tolerance", nats)?;
        Ok(Self {
            tolerance: nats,
            ..self
        })
    }

    /// The same with other starts.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Fits the mixture to rows of shape \[n, d\].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for fewer than 2 rows, d = 0, no component, or more components
    /// than rows; [`Error::InvalidEntry`], with the entry's position in its row, for an entry that is
    /// not finite or exceeds 1e30.
    pub fn fit<A: Real>(&self, rows: &ArrayRef2<A>) -> Result<FittedMixture, Error> {
        let sample = Sample::of(rows)?;
        let (n, k) = (sample.count as f64, self.components as f64);
        require(sample.count >= 2, "rows", n, "at least 2")?;
        require(self.components > 0, "components", k, "at least 1")?;
        let enough = self.components <= sample.count;
        require(enough, "components", k, "at most the number of rows")?;
        let floor = match self.floor {
            Some(floor) => floor,
            None => (FLOOR * sample.mean_variance()?).max(LEAST_FLOOR),
        };
        let starts = Starts::new(&sample.rows, sample.dim, self.components, self.seed);
        let mut best: Option<Run<'_>> = None;
        for start in 0..self.starts {
            let parts = starts.assign(start as u64)?;
            let mut run = Run::from_clusters(&sample, &parts, (self.diagonal, floor))?;
            run.advance(SHORT.min(self.rounds), self.tolerance)?;
            let better = best.as_ref().is_none_or(|best| run.last() > best.last());
            if better {
                best = Some(run);
            }
        }
        // There is a start.
        let Some(mut run) = best else {
            return Err(Error::EmptyList { name: "starts" });
        };
        let left = (self.rounds + 1).saturating_sub(run.history.len());
        run.advance(left, self.tolerance)?;
        Ok(FittedMixture {
            mixture: run.mixture,
            log_likelihoods: run.history,
            converged: run.converged,
        })
    }
}

impl GaussianMixture {
    /// A mixture of `components` Gaussians of full covariance, fitted to rows of shape \[n, d\] with
    /// the defaults of [`MixtureFit`], which has the options.
    ///
    /// # Errors
    ///
    /// As [`MixtureFit::fit`].
    pub fn fit<A: Real>(rows: &ArrayRef2<A>, components: usize) -> Result<Self, Error> {
        Ok(MixtureFit::new(components).fit(rows)?.mixture)
    }
}
