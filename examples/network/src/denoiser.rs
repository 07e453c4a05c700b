//! The network as a model for runs.

use diffusion_sampler::{Denoiser, NoiseLevel, Prediction, Query};
use ndarray::{Array2, ArrayRef, Axis, Ix2};

use crate::architecture::{LAMBDA_LIMIT, NO_CLASS, PIXELS, PREDICTION};
use crate::error::Error;
use crate::network::Network;

/// The network with a class for each sample: a [`Denoiser`] with two outputs, the prediction with
/// the class and the one without, for classifier-free guidance. One batched call computes both.
///
/// It takes levels of any schedule. At a level with s² = α² + σ² ≠ 1 (a flow's, say) the network
/// sees x/s, which has a variance-preserving level of the same λ, and its output times s is the
/// velocity αε − σx₀.
#[derive(Clone, Debug)]
pub struct ByClass<'n> {
    network: &'n Network,
    /// Each sample's class.
    classes: Vec<usize>,
    /// λ and class of each row of the call.
    lambdas: Vec<f32>,
    of_rows: Vec<usize>,
    x: Array2<f32>,
}

impl<'n> ByClass<'n> {
    /// With classes that are known.
    pub(crate) fn new(network: &'n Network, classes: &[usize]) -> Self {
        Self {
            network,
            classes: classes.to_vec(),
            lambdas: Vec::new(),
            of_rows: Vec::new(),
            x: Array2::zeros((0, PIXELS)),
        }
    }

    /// Refuses rows without a class.
    fn check_classes(&self, rows: usize, query: &Query<'_>) -> Result<(), Error> {
        let classes = self.classes.len();
        let found = match query.samples() {
            None if rows == classes => return Ok(()),
            None => rows,
            Some(samples) => match samples.iter().max() {
                Some(&last) if last >= classes => last + 1,
                _ => return Ok(()),
            },
        };
        Err(Error::WrongClasses {
            classes,
            rows: found,
        })
    }

    /// λ and class of every row, and the rows themselves, each divided by its s.
    fn fill(&mut self, x: &ArrayRef<f32, Ix2>, query: &Query<'_>) {
        let (samples, outputs) = (x.nrows(), query.outputs());
        self.lambdas.clear();
        self.of_rows.clear();
        if self.x.dim() != (outputs * samples, x.ncols()) {
            self.x = Array2::zeros((outputs * samples, x.ncols()));
        }
        for output in 0..outputs {
            for sample in 0..samples {
                let level = level_of(query, sample);
                self.lambdas.push(lambda(&level));
                let class = self.classes.get(query.sample_of(sample));
                let class = class.filter(|_| output == 0);
                self.of_rows.push(class.copied().unwrap_or(NO_CLASS));
                let mut row = self.x.row_mut(output * samples + sample);
                let scale = 1.0 / norm(&level);
                row.zip_mut_with(&x.row(sample), |row, x| *row = x * scale);
            }
        }
    }
}

impl Denoiser<f32, Ix2> for ByClass<'_> {
    type Error = Error;

    fn prediction(&self) -> Prediction {
        PREDICTION
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> Result<(), Error> {
        self.check_classes(x.nrows(), query)?;
        if query.outputs() > 2 {
            let found = query.outputs();
            return Err(Error::TooManyOutputs { found });
        }
        if let Some(axis) = query.axis().filter(|axis| *axis > 0) {
            return Err(Error::LevelsWithinSamples { axis });
        }
        self.fill(x, query);
        let (lambdas, classes) = (&self.lambdas, &self.of_rows);
        self.network
            .forward(self.x.view(), lambdas, classes, out.view_mut())?;
        for (index, mut row) in out.axis_iter_mut(Axis(0)).enumerate() {
            let scale = norm(&level_of(query, index % x.nrows()));
            if scale != 1.0 {
                row.map_inplace(|value| *value *= scale);
            }
        }
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        Some(2)
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

fn level_of(query: &Query<'_>, sample: usize) -> NoiseLevel {
    query.level_of(sample).unwrap_or(query.level())
}

/// λ, where it is infinite the network's limit: the network clamps λ to that anyway.
fn lambda(level: &NoiseLevel) -> f32 {
    let limit = f64::from(LAMBDA_LIMIT);
    level.lambda().clamp(-limit, limit) as f32
}

/// s = √(α² + σ²), and 1 where it is that to rounding.
fn norm(level: &NoiseLevel) -> f32 {
    libm::hypot(level.alpha(), level.sigma()) as f32
}
