//! What a parallel run has cost, and how exact it was.

use crate::error::Error;
use std::fmt;

/// What a [`ParallelRun`](super::ParallelRun) has cost so far, and how near its evaluations were to
/// the states that they stand for.
///
/// ```
/// use diffusion_sampler::{Grid, Prediction, Sampler, oracle::{Gaussian, Oracle}};
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
/// use ndarray::Array2;
///
/// let schedule = TableSchedule::cosine(1000)?;
/// let grid = Grid::trailing(&schedule, 50)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?.parallel(50, 1e-3)?;
/// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Noise);
/// let (_, report): (Array2<f64>, _) = sampler.sample(&mut model, (3, 2), 5)?;
/// assert!(report.sweeps() < report.evaluations() / 3);
/// assert!(report.residuals().iter().all(|residual| *residual <= 1e-3));
/// println!("{report}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParallelReport {
    pub(super) sweeps: usize,
    pub(super) rows: usize,
    pub(super) samples: Vec<usize>,
    pub(super) residuals: Vec<f64>,
}

impl ParallelReport {
    pub(super) fn new(samples: usize, evaluations: usize) -> Result<Self, Error> {
        Ok(Self {
            sweeps: 0,
            rows: 0,
            samples: crate::memory::repeated(0, samples)?,
            residuals: crate::memory::repeated(0.0, evaluations)?,
        })
    }

    /// The evaluations of the sequential run: its calls of the model.
    pub fn evaluations(&self) -> usize {
        self.residuals.len()
    }

    /// The sweeps, one call of the model each.
    pub fn sweeps(&self) -> usize {
        self.sweeps
    }

    /// The rows that the model has been given in all calls together, each output of guidance not
    /// counted for itself. The sequential run gives it one for each sample and evaluation.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The sweeps that each sample took part in.
    pub fn sweeps_of_samples(&self) -> &[usize] {
        &self.samples
    }

    /// For each evaluation of the plan, the distance between the state at which the model was
    /// evaluated and the one that the output was then used for, the largest over the samples, in
    /// the units of the [tolerance](super::ParallelSampler); 0 for those that are not yet settled.
    pub fn residuals(&self) -> &[f64] {
        &self.residuals
    }
}

impl fmt::Display for ParallelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.residuals.iter().copied().fold(0.0, f64::max);
        write!(
            f,
            "{} sweeps in place of {} evaluations, {} rows, largest residual {largest:.1e}",
            self.sweeps,
            self.evaluations(),
            self.rows
        )
    }
}
