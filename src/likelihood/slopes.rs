//! How a bound depends on the errors that it is made of.

use super::EdgeCosts;
use super::edge_costs::Ends;
use crate::error::Error;
use crate::posterior::StridedPosterior;

/// The derivatives of a stride's bound.
pub(super) struct Slopes {
    /// By M_t at each level of the path.
    pub(super) errors: Vec<f64>,
    /// By E|x₀|².
    pub(super) prior: f64,
}

impl EdgeCosts {
    pub(super) fn slopes(&self, path: &[usize]) -> Result<Slopes, Error> {
        self.require_path(path)?;
        let levels = self.levels();
        let (kind, dim) = (self.edge, self.dim());
        let mut errors = crate::memory::reserve(&[path.len()])?;
        for pair in path.windows(2) {
            let posterior = StridedPosterior::new(levels[pair[0]], levels[pair[1]], kind.kappa)?;
            let error = self.errors[pair[0]];
            errors.push(kind.variance.slope(&posterior, dim, error)?);
        }
        let (first, last) = (path[0], path[path.len() - 1]);
        errors.push(match self.ends {
            Ends::By(decoder) => decoder.slope(dim, self.errors[last]),
            Ends::Pixels(..) => 0.0,
        });
        let alpha = levels[first].alpha();
        let part = self.grid.section(first..self.grid.steps())?;
        Ok(Slopes {
            errors,
            prior: 0.5 * alpha * alpha / part.start_variance(),
        })
    }
}
