//! A Gaussian as an oracle.

use ndarray::Array2;

use super::Gaussian;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Copied;
use crate::oracle::{Oracle, check, checked, moments};

impl Oracle for Gaussian {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Error> {
        let d = self.dim();
        let mut covariance = crate::memory::repeated(0.0, d * d)?;
        self.add_spectral(1.0, |v| v, &mut covariance);
        Ok((self.mean[..].copy()?, moments::square(d, &covariance)?))
    }

    fn data_estimate_into(
        &self,
        x: &[f64],
        level: &NoiseLevel,
        scratch: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let scales = checked(self, x, level, out)?;
        if !scales.clean_estimate(x, out) {
            let y = check::scratch(scratch, self.dim())?;
            self.rotate(x, scales.alpha, y);
            out.fill(0.0);
            self.add_data(1.0, y, &scales, out);
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
        scales.require_density(self.has_density())?;
        let y = check::scratch(scratch, self.dim())?;
        self.rotate(x, scales.alpha, y);
        out.fill(0.0);
        self.add_score(1.0, y, &scales, out);
        Ok(())
    }

    fn log_density(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let mut y = crate::memory::repeated(0.0, self.dim())?;
        let scales = checked(self, x, level, &y)?;
        scales.require_density(self.has_density())?;
        self.rotate(x, scales.alpha, &mut y);
        Ok(self.log_density_at(&y, &scales))
    }

    fn posterior_covariance(&self, x: &[f64], level: &NoiseLevel) -> Result<Array2<f64>, Error> {
        let d = self.dim();
        let scales = checked(self, x, level, x)?;
        let mut covariance = crate::memory::repeated(0.0, d * d)?;
        if scales.sigma > 0.0 {
            self.add_posterior_covariance(1.0, &scales, &mut covariance);
        }
        moments::square(d, &covariance)
    }

    fn posterior_variance(&self, x: &[f64], level: &NoiseLevel) -> Result<f64, Error> {
        let scales = checked(self, x, level, x)?;
        if scales.sigma == 0.0 {
            return Ok(0.0);
        }
        Ok(self.posterior_variance_at(&scales))
    }
}
