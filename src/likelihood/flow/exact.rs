//! The flow of an oracle, and the Jacobian of its denoiser.

use ndarray::{ArrayRef, Dimension};

use super::JacobianProduct;
use super::nodes::{Node, State};
use crate::denoiser::{Denoiser, Query};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{self, Listed};
use crate::oracle::{ExactDenoiser, Oracle};
use crate::prediction::Prediction;
use crate::real::Real;

/// An oracle's drift and divergence.
pub(super) struct Field<'o, O> {
    oracle: &'o O,
    row: Vec<f64>,
    scratch: Vec<f64>,
}

impl<'o, O: Oracle> Field<'o, O> {
    pub(super) fn new(oracle: &'o O) -> Self {
        Self {
            oracle,
            row: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn slope(&mut self, node: &Node, x: &[f64], out: &mut State) -> Result<(), Error> {
        let samples = out.volumes.len();
        let dim = x.len() / samples.max(1);
        let (alpha, sigma) = (node.alpha, node.sigma);
        let ratio = (alpha / sigma) * (alpha / sigma);
        for sample in 0..samples {
            let own = sample * dim..(sample + 1) * dim;
            let (x, slope) = (&x[own.clone()], &mut out.x[own]);
            self.row.clear();
            memory::extend(&mut self.row, x.iter().map(|x| node.norm * x))?;
            let (row, scratch) = (&self.row, &mut self.scratch);
            if sigma <= alpha {
                // −σ̂E = σ̂σ·score.
                self.oracle.score_into(row, &node.level, scratch, slope)?;
                let scale = sigma * node.level.sigma();
                for (slope, x) in slope.iter_mut().zip(x) {
                    *slope = sigma * sigma * x + scale * *slope;
                }
            } else {
                self.oracle
                    .data_estimate_into(row, &node.level, scratch, slope)?;
                for (slope, x) in slope.iter_mut().zip(x) {
                    *slope = alpha * (*slope - alpha * x);
                }
            }
            let variance = self.oracle.posterior_variance(row, &node.level)?;
            out.volumes[sample] = ratio * variance - alpha * alpha * dim as f64;
        }
        Ok(())
    }
}

/// ∂D/∂x = (α/σ²) Cov\[x₀ given x_t\], and from it the Jacobian of any prediction.
impl<A: Real, D: Dimension, O: Oracle> JacobianProduct<A, D> for ExactDenoiser<O> {
    fn denoise_along(
        &mut self,
        x: &ArrayRef<A, D>,
        direction: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
        product: &mut ArrayRef<A, D>,
    ) -> Result<(), Error> {
        self.denoise(x, query, out)?;
        let prediction = Denoiser::<A, D>::prediction(self);
        let dim = self.oracle().dim();
        let wide = |array: &ArrayRef<A, D>| array.iter().map(|v| v.widen()).listed();
        let (x, direction) = (wide(x)?, wide(direction)?);
        let mut products = memory::reserve(&[x.len()])?;
        for (sample, (x, v)) in x
            .chunks_exact(dim)
            .zip(direction.chunks_exact(dim))
            .enumerate()
        {
            let level = query.level_of(sample).unwrap_or_else(|| query.level());
            let covariance = self.oracle().posterior_covariance(x, &level)?;
            let (state, spread) = jacobian(prediction, &level)?;
            for (row, own) in covariance.rows().into_iter().zip(v) {
                let spread = spread * row.iter().zip(v).map(|(c, v)| c * v).sum::<f64>();
                products.push(state * own + spread);
            }
        }
        for (out, value) in product.iter_mut().zip(products) {
            *out = A::cast(value);
        }
        Ok(())
    }
}

/// (a, b) of ∂o/∂x = aI + b·Cov: with o = pD + qE and E = (x − αD)/σ, a = q/σ and b = (p −
/// qα/σ)α/σ².
fn jacobian(prediction: Prediction, level: &NoiseLevel) -> Result<(f64, f64), Error> {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    // D = x/α where σ = 0.
    if sigma == 0.0 {
        return Ok((prediction.target(level)?.data / alpha, 0.0));
    }
    let target = prediction.target(level)?;
    let state = target.noise / sigma;
    let data = target.data - target.noise * (alpha / sigma);
    Ok((state, data * (alpha / sigma) / sigma))
}
