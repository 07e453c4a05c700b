//! What a flow says of a batch.

use super::super::element_errors::Moments;
use super::nodes::State;
use super::{FlowLikelihood, Trace};
use crate::error::{Error, require_all};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::Oracle;
use crate::special::LOG_TAU;

/// ln p of each sample of a batch, with its standard error where the trace was estimated, and the
/// latents that the samples have flown to.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowDensity {
    dim: usize,
    /// ln p(x_T), each.
    starts: Vec<f64>,
    /// What the flow adds to it.
    changes: Vec<f64>,
    standard_errors: Vec<f64>,
    log_densities: Vec<f64>,
    latents: Vec<f64>,
    noisy: NoiseLevel,
}

impl FlowDensity {
    /// From x̂ at the noisy end and ∫ div dλ from the clean end to it, `lanes` for each sample.
    pub(super) fn new(
        flow: &FlowLikelihood,
        (samples, dim): (usize, usize),
        lanes: usize,
        trace: Trace,
        state: &State,
    ) -> Result<Self, Error> {
        let (noisy, clean) = (flow.noisy(), flow.clean());
        let scale = dim as f64 * (noisy.log_norm() - clean.log_norm());
        let latents: Vec<f64> = state.x.iter().map(|x| noisy.norm * x).listed()?;
        let volumes = state.volumes.chunks_exact(lanes.max(1));
        let moments: Vec<Moments> = volumes
            .map(|lanes| {
                let mut moments = Moments::default();
                lanes.iter().for_each(|volume| moments.add(*volume));
                moments
            })
            .listed()?;
        let errors = moments.iter().map(Moments::standard_error);
        Self {
            dim,
            starts: normal_densities(&latents, samples, flow.start_variance)?,
            changes: moments.iter().map(|m| m.mean + scale).listed()?,
            standard_errors: match trace {
                Trace::Exact => crate::memory::repeated(0.0, samples)?,
                Trace::Estimated => errors.listed()?,
            },
            log_densities: Vec::new(),
            latents,
            noisy: noisy.level,
        }
        .summed()
    }

    fn summed(mut self) -> Result<Self, Error> {
        let terms = self.starts.iter().zip(&self.changes);
        self.log_densities = terms.map(|(start, change)| start + change).listed()?;
        require_all(
            "log-densities",
            &self.log_densities,
            |_, value| value.is_finite(),
            "finite",
        )?;
        Ok(self)
    }

    /// The same with the exact density of `data` at the noisy end in place of N(0, v_T I): what is
    /// then left is the error of the model and of the steps.
    ///
    /// # Errors
    ///
    /// As [`Oracle::log_density`].
    pub fn with_exact_start(mut self, data: &impl Oracle) -> Result<Self, Error> {
        let rows = (0..self.starts.len()).map(|sample| {
            let row = sample * self.dim..(sample + 1) * self.dim;
            data.log_density(&self.latents[row], &self.noisy)
        });
        self.starts = rows.all_listed()?;
        self.summed()
    }

    /// ln p of each sample, in nats.
    pub fn log_densities(&self) -> &[f64] {
        &self.log_densities
    }

    /// The standard error of each, over the probes: 0 where the trace is exact, +∞ for one probe.
    pub fn standard_errors(&self) -> &[f64] {
        &self.standard_errors
    }

    /// −ln p/(d ln 2) of each sample; 0 for d = 0.
    pub fn bits_per_dimension(&self) -> Result<Vec<f64>, Error> {
        let scale = self.dim as f64 * std::f64::consts::LN_2;
        let bits = |log_density: &f64| match self.dim {
            0 => 0.0,
            _ => -log_density / scale,
        };
        self.log_densities.iter().map(bits).listed()
    }

    /// x_T of each sample, where the flow from the data ends: rows of [`dim`](Self::dim) elements.
    pub fn latents(&self) -> &[f64] {
        &self.latents
    }

    /// The number of elements d of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }
}

/// ln N(x; 0, v I) of each row.
fn normal_densities(x: &[f64], samples: usize, variance: f64) -> Result<Vec<f64>, Error> {
    let dim = x.len() / samples.max(1);
    let row = |sample: usize| {
        let row = &x[sample * dim..(sample + 1) * dim];
        let square: f64 = row.iter().map(|x| x * x).sum();
        -0.5 * (dim as f64 * (LOG_TAU + libm::log(variance)) + square / variance)
    };
    (0..samples).map(row).listed()
}
