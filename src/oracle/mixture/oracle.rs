//! A mixture as an oracle.

use ndarray::Array2;

use super::GaussianMixture;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::linalg;
use crate::oracle::softmax::{self, NEGLIGIBLE};
use crate::oracle::{LabelledOracle, Oracle, checked, require_label};

impl Oracle for GaussianMixture {
    fn dim(&self) -> usize {
        self.dim
    }

    fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Error> {
        let (mut mean, mut centres) = (
            crate::memory::repeated(0.0, self.dim)?,
            crate::memory::reserve(&[self.components.len(), self.dim])?,
        );
        for (w, component) in self.weights.iter().zip(&self.components) {
            linalg::axpy(*w, component.mean(), &mut mean);
            centres.extend_from_slice(component.mean());
        }
        let covariance =
            self.total_covariance(&self.weights, (&centres, &mean), |component, w, total| {
                component.add_spectral(w, |v| v, total);
            });
        Ok((mean, covariance?))
    }

    fn data_estimate_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = checked(self, x, level, out)?;
        if scales.clean_estimate(x, out) {
            return Ok(());
        }
        let (r, ys) = self.scratch(scratch)?;
        self.logits(x, &scales, ys, r);
        softmax::softmax(r);
        out.fill(0.0);
        for (k, y) in ys.chunks_exact(self.dim).enumerate() {
            if r[k] >= NEGLIGIBLE {
                self.components[k].add_data(r[k], y, &scales, out);
            }
        }
        Ok(())
    }

    fn score_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = checked(self, x, level, out)?;
        let responsibilities = |logits: &mut [f64]| {
            softmax::softmax(logits);
        };
        self.combine_scores((x, &scales), responsibilities, scratch, out)
    }

    fn log_density(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let located = self.located(x, level)?;
        Ok(located.offset + softmax::log_sum_exp(&located.logits))
    }

    fn posterior_covariance(&self, x: &[f64], level: &NoiseLevel) -> Result<Array2<f64>, Error> {
        let Some((r, centres, scales)) = self.posterior(x, level)? else {
            return crate::memory::square_of((self.dim, self.dim), |_| 0.0);
        };
        let mean = self.weighted_mean(&r, &centres)?;
        self.total_covariance(&r, (&centres, &mean), |component, w, total| {
            component.add_posterior_covariance(w, &scales, total);
        })
    }

    fn posterior_variance(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let Some((r, centres, scales)) = self.posterior(x, level)? else {
            return Ok(0.0);
        };
        let mean = self.weighted_mean(&r, &centres)?;
        let each = r
            .iter()
            .zip(&self.components)
            .zip(centres.chunks_exact(self.dim));
        let terms = each.map(|((r, component), centre)| {
            let offset = linalg::squared_distance(centre, 1.0, &mean);
            r * (component.posterior_variance_at(&scales) + offset)
        });
        Ok(terms.sum())
    }
}

impl LabelledOracle for GaussianMixture {
    fn label_count(&self) -> usize {
        self.label_count
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn class_log_posterior(&self, x: &[f64], level: &NoiseLevel) -> Result<Vec<f64>, Error> {
        let logits = self.located(x, level)?.logits;
        softmax::class_log_posterior(&logits, &self.labels, self.label_count)
    }

    fn class_gradient_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        label: usize,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = checked(self, x, level, out)?;
        require_label(self, label)?;
        if scales.alpha == 0.0 {
            // Pure noise knows nothing of the class.
            out.fill(0.0);
            return Ok(());
        }
        let slopes = |logits: &mut [f64]| softmax::class_slopes(logits, &self.labels, label);
        self.combine_scores((x, &scales), slopes, scratch, out)
    }
}
