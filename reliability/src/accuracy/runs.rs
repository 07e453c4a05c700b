//! Runs of the real machine, with noise that is known.

use diffusion_sampler::noise::{NoiseKey, NoiseSource, Stream};
use diffusion_sampler::oracle::{Gaussian, Oracle};
use diffusion_sampler::{Error, Prediction, Real, RunError, Sampler};
use ndarray::Array2;

use super::reference::{Row, noise};

/// The noise of each row.
#[derive(Clone, Debug)]
struct Signs {
    rows: Vec<u64>,
}

impl<A: Real> NoiseSource<A> for Signs {
    fn fill(&mut self, key: NoiseKey, _: u64, out: &mut [A]) {
        let row = self.rows.get(key.row as usize).copied().unwrap_or(0);
        let value = match key.stream {
            Stream::Step(stage) => noise(row, key.step as usize, usize::from(stage)),
            _ => f64::NAN,
        };
        out.fill(A::cast(value));
    }
}

/// The states at the end, `[rows, directions]`, of a run whose rows start at `rows[r][direction]`.
///
/// # Errors
///
/// Those of the run.
pub fn run<A: Real>(
    sampler: &Sampler,
    data: &Gaussian,
    prediction: Prediction,
    rows: &[Vec<Row>],
) -> Result<Array2<f64>, RunError<Error>> {
    let directions = data.mean().len();
    let start = Array2::from_shape_fn((rows.len(), directions), |(r, k)| A::cast(rows[r][k].start));
    let signs = Signs {
        rows: rows.iter().map(|row| row[0].noise).collect(),
    };
    let mut run = sampler.start_from(start, prediction, signs)?;
    run.complete(&mut data.denoiser(prediction))?;
    Ok(run.state().mapv(Real::widen))
}
