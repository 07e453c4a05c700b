//! The cheapest strides, for every number of edges at once.

use super::{Bound, EdgeCosts};
use crate::error::{Error, require_cost};
use crate::grid::Grid;

/// The cheapest strides from one level onto the clean end, for every number of edges at once: made
/// by [`EdgeCosts::cheapest`].
///
/// For the errors of an exact model, κ = r, and v_p = γ² or the best, the bound falls with the
/// number of edges, but for the last few: a stride of nearly T edges is forced through nearly all
/// levels, also those that do not pay.
///
/// Where M_t was measured on few data, a search finds what its noise made cheap: price the stride
/// on other data.
///
/// They are the best for *likelihood*, the variational bound with this κ and reverse variance. They
/// are not made for the quality of samples, and often harm it: the page
/// [likelihood](crate::guide::likelihood#what-the-strides-are-for) has the measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Strides<'c> {
    costs: &'c EdgeCosts,
    start: usize,
    /// For each number of edges, from 1, the total in nats and the last level before the clean end.
    best: Vec<(f64, usize)>,
    /// For each number of KL edges, from 1, the level before each level.
    before: Vec<Vec<u32>>,
}

impl EdgeCosts {
    /// The cheapest strides from the noisiest level, for every number of edges up to T, by dynamic
    /// programming: O(T³) time, O(T²) memory; half a second for 1000 levels.
    ///
    /// With C_k(s) the cost of the cheapest path of k edges to level s, C_k(s) = min over t < s of
    /// C_{k−1}(t) + L(t → s).
    ///
    /// Watson, Ho, Norouzi and Chan (2021), "Learning to Efficiently Sample from Diffusion
    /// Probabilistic Models".
    pub fn cheapest(&self) -> Result<Strides<'_>, Error> {
        self.search(0, self.levels().len())
    }

    /// The same from another level, with at most `steps` edges: O(`steps` T²) time, O(`steps` T)
    /// memory.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `start` < T; [`Error::StepCount`] unless `steps` lies
    /// between 1 and the number of levels from `start` on.
    pub fn cheapest_from(&self, start: usize, steps: usize) -> Result<Strides<'_>, Error> {
        self.require_level(start)?;
        require_steps(steps, self.levels().len() - start)?;
        self.search(start, steps)
    }

    fn search(&self, start: usize, steps: usize) -> Result<Strides<'_>, Error> {
        let count = self.levels().len();
        let prior = self.prior(start).unwrap_or(f64::INFINITY);
        let mut reached = crate::memory::repeated(f64::INFINITY, count)?;
        if let Some(first) = reached.get_mut(start) {
            *first = 0.0;
        }
        let mut strides = Strides {
            costs: self,
            start,
            best: crate::memory::reserve(&[steps])?,
            before: Vec::new(),
        };
        for edges in 0..steps {
            if edges > 0 {
                let (next, before) = self.one_more(&reached)?;
                reached = next;
                crate::memory::push(&mut strides.before, before)?;
            }
            let ends = reached.iter().enumerate().map(|(level, cost)| {
                let end = self.decoder(level).unwrap_or(f64::INFINITY);
                (prior + cost + end, level)
            });
            let best = ends.min_by(|a, b| a.0.total_cmp(&b.0));
            strides.best.push(best.unwrap_or((f64::INFINITY, start)));
        }
        Ok(strides)
    }

    /// The cheapest ways to each level with one edge more, and the level before it.
    fn one_more(&self, reached: &[f64]) -> Result<(Vec<f64>, Vec<u32>), Error> {
        let mut next = crate::memory::repeated(f64::INFINITY, reached.len())?;
        let mut before = crate::memory::repeated(0, reached.len())?;
        for (from, &cost) in reached.iter().enumerate() {
            let row = self.row(from).filter(|_| cost < f64::INFINITY);
            let ends = next.iter_mut().zip(&mut before).skip(from + 1);
            for ((best, before), edge) in ends.zip(row.unwrap_or_default()) {
                let total = cost + edge;
                if total < *best {
                    *best = total;
                    *before = from as u32;
                }
            }
        }
        Ok((next, before))
    }
}

impl Strides<'_> {
    /// The largest number of edges that was searched.
    pub fn steps(&self) -> usize {
        self.best.len()
    }

    /// The levels at which the steps of the cheapest stride of so many edges start, from the noisy
    /// end: indices among the matrix's levels.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] unless `steps` lies between 1 and [`steps`](Self::steps);
    /// [`Error::CostOverflow`] where f64 cannot hold the bound of any such stride.
    pub fn path(&self, steps: usize) -> Result<Vec<usize>, Error> {
        require_steps(steps, self.steps())?;
        let best = self.best.get(steps - 1).copied();
        let (nats, mut level) = best.unwrap_or((f64::INFINITY, self.start));
        require_cost("bound of a stride", nats)?;
        let mut path = vec![level];
        for before in self.before.iter().take(steps - 1).rev() {
            level = before
                .get(level)
                .map_or(self.start, |&level| level as usize);
            path.push(level);
        }
        path.reverse();
        Ok(path)
    }

    /// Its bound, in nats and in parts.
    ///
    /// # Errors
    ///
    /// As [`path`](Self::path).
    pub fn bound(&self, steps: usize) -> Result<Bound, Error> {
        self.costs.bound(&self.path(steps)?)
    }

    /// The stride as a grid, for a [`Sampler`](crate::Sampler) or an [`Elbo`](super::Elbo).
    ///
    /// # Errors
    ///
    /// As [`path`](Self::path).
    pub fn grid(&self, steps: usize) -> Result<Grid, Error> {
        self.costs.grid_of(&self.path(steps)?)
    }
}

fn require_steps(steps: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&steps) {
        return Ok(());
    }
    Err(Error::StepCount { steps, min: 1, max })
}
