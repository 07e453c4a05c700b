//! The joint distribution of the state and the live history slots as matrices, where Gaussians do
//! not share their axes.

use super::affine::Folded;
use super::guided::{Rows, Weights};
use super::ranges;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::linalg;
use crate::memory::{Copied, Listed};
use crate::oracle::{Gaussian, Scales};
use crate::plan::{Plan, Stage};

/// The distribution of the state after every step; `rows` has one entry for each stage.
///
/// What is propagated is a factor F of the joint covariance FFᵀ, never the covariance: the
/// variances of the result are sums of squares.
pub(super) fn propagate(
    plan: &Plan,
    data: &[Gaussian],
    rows: &[Option<Rows>],
    initial: &Gaussian,
) -> Result<Vec<Gaussian>, Error> {
    let mut joint = Joint::new(plan.slots(), initial)?;
    let mut stages = rows.iter().zip(plan.live_after()?);
    let mut states = crate::memory::reserve(&[plan.steps().len()])?;
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in &step.stages {
            let Some((row, live)) = stages.next() else {
                continue;
            };
            joint.apply(stage, &Maps::new(data, stage, row.as_ref())?)?;
            joint.forget(&live);
        }
        crate::memory::push(&mut states, joint.state(index)?)?;
    }
    Ok(states)
}

/// x ↦ gain·x + offset.
struct Map {
    gain: Vec<f64>,
    offset: Vec<f64>,
}

/// D and D' as maps of x.
struct Maps {
    data: Map,
    other: Option<Map>,
    /// α at the evaluation where E is not D's own.
    own: Option<f64>,
}

impl Maps {
    fn new(data: &[Gaussian], stage: &Stage, rows: Option<&Rows>) -> Result<Self, Error> {
        let dim = data.first().map_or(0, |data| data.mean().len());
        Ok(match (rows, &stage.evaluate) {
            (Some((row, other)), Some(level)) => Self {
                data: Map::weighted(data, row, level, dim)?,
                other: other
                    .as_ref()
                    .map(|row| Map::weighted(data, row, level, dim))
                    .transpose()?,
                own: other.map(|_| level.alpha()),
            },
            _ => Self {
                data: Map::zero(dim)?,
                other: None,
                own: None,
            },
        })
    }

    /// What is made of an update or a store.
    fn folded(&self, folded: Folded) -> Result<Map, Error> {
        let dim = self.data.offset.len();
        let mut map = Map::zero(dim)?;
        map.add(folded.data, &self.data);
        if let Some(other) = &self.other {
            map.add(folded.other, other);
        }
        map.add_state(folded.state);
        Ok(map)
    }
}

impl Map {
    fn zero(dim: usize) -> Result<Self, Error> {
        Ok(Self {
            gain: crate::memory::repeated(0.0, dim * dim)?,
            offset: crate::memory::repeated(0.0, dim)?,
        })
    }

    fn add(&mut self, weight: f64, map: &Self) {
        linalg::axpy(weight, &map.gain, &mut self.gain);
        linalg::axpy(weight, &map.offset, &mut self.offset);
    }

    fn add_state(&mut self, weight: f64) {
        let dim = self.offset.len();
        for i in 0..dim {
            self.gain[i * dim + i] += weight;
        }
    }

    /// state·x + Σ w_i D_i at a level.
    fn weighted(
        data: &[Gaussian],
        row: &Weights,
        level: &NoiseLevel,
        dim: usize,
    ) -> Result<Self, Error> {
        let scales = Scales::unchecked(level);
        let mut map = Self::zero(dim)?;
        for (gaussian, &weight) in data.iter().zip(&row.of) {
            if weight != 0.0 {
                gaussian.add_spectral(weight, |v| scales.gain(v), &mut map.gain);
                gaussian.add_share(weight, &scales, &mut map.offset)?;
            }
        }
        map.add_state(row.state);
        Ok(map)
    }
}

/// A part of the joint: mean \[d\] and factor \[d, columns\].
#[derive(Clone)]
struct Part {
    mean: Vec<f64>,
    factor: Vec<f64>,
}

/// The state and the live history slots: mean + factor·n, with n independent standard normals.
struct Joint {
    dim: usize,
    columns: usize,
    state: Part,
    slots: Vec<Option<Part>>,
}

impl Joint {
    fn new(slots: usize, initial: &Gaussian) -> Result<Self, Error> {
        let dim = initial.mean().len();
        Ok(Self {
            dim,
            columns: dim,
            state: Part {
                mean: initial.mean().copy()?,
                factor: initial.factor()?,
            },
            slots: vec![None; slots],
        })
    }

    /// gain·part + offset.
    fn image(&self, map: &Map, part: &Part) -> Result<Part, Error> {
        let (d, n) = (self.dim, self.columns);
        let (mut mean, mut factor) = (map.offset[..].copy()?, crate::memory::repeated(0.0, d * n)?);
        let gains = map.gain.chunks_exact(d);
        for ((gains, mean), row) in gains.zip(&mut mean).zip(factor.chunks_exact_mut(n)) {
            *mean += linalg::dot(gains, &part.mean);
            linalg::add_rows(&part.factor, |k| gains[k], row);
        }
        Ok(Part { mean, factor })
    }

    /// The distribution after an update.
    fn apply(&mut self, stage: &Stage, maps: &Maps) -> Result<(), Error> {
        let update = &stage.update;
        let map = maps.folded(Folded::update(update, maps.own))?;
        let mut next = self.image(&map, &self.state)?;
        for &(slot, weight) in &update.history {
            if let Some(part) = &self.slots[slot] {
                linalg::axpy(weight, &part.mean, &mut next.mean);
                linalg::axpy(weight, &part.factor, &mut next.factor);
            }
        }
        if let (Some(store), Some((slot, on_state, on_data))) = (&update.store, stage.stored()) {
            let kept = Folded::store(store, (on_state, on_data), maps.own);
            self.slots[slot] = Some(self.image(&maps.folded(kept)?, &self.state)?);
        }
        self.state = next;
        if update.noise != 0.0 {
            self.add_noise(update.noise)?;
        }
        Ok(())
    }

    /// Drops the slots that nothing reads any more.
    fn forget(&mut self, live: &[bool]) {
        for (slot, live) in self.slots.iter_mut().zip(live) {
            if !live {
                *slot = None;
            }
        }
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        std::iter::once(&mut self.state).chain(self.slots.iter_mut().flatten())
    }

    /// New normals in columns of their own. Columns are taken together again where there are more
    /// than twice as many as rows.
    fn add_noise(&mut self, noise: f64) -> Result<(), Error> {
        let (d, n) = (self.dim, self.columns);
        self.columns = n + d;
        for part in self.parts_mut() {
            let mut wide = crate::memory::repeated(0.0, d * (n + d))?;
            let rows = wide.chunks_exact_mut(n + d);
            for (wide, row) in rows.zip(part.factor.chunks_exact(n)) {
                wide[..n].copy_from_slice(row);
            }
            part.factor = wide;
        }
        for (i, row) in self.state.factor.chunks_exact_mut(n + d).enumerate() {
            row[n + i] = noise;
        }
        let rows = d * self.parts_mut().count();
        if self.columns > 2 * rows {
            self.compress(rows)?;
        }
        Ok(())
    }

    /// A factor of as many columns as rows, with the same product with its transpose.
    fn compress(&mut self, rows: usize) -> Result<(), Error> {
        let (d, n) = (self.dim, self.columns);
        let mut stacked: Vec<f64> = crate::memory::reserve(&[rows * n])?;
        for part in self.parts_mut() {
            stacked.append(&mut part.factor);
        }
        linalg::lower_factor(&mut stacked, rows, n)?;
        for (part, block) in self.parts_mut().zip(stacked.chunks_exact(d * n)) {
            let kept = block.chunks_exact(n).flat_map(|row| &row[..rows]);
            part.factor = kept.copied().listed()?;
        }
        self.columns = rows;
        Ok(())
    }

    /// The distribution of the state.
    fn state(&self, step: usize) -> Result<Gaussian, Error> {
        ranges::require_means(step, &self.state.mean)?;
        let factor = self.state.factor[..].copy()?;
        let size = factor.iter().fold(0.0, |size: f64, f| size + f.abs());
        // What is not finite has no axes.
        ranges::variance(step, if size.is_finite() { 0.0 } else { f64::INFINITY })?;
        let (mut variances, axes) = linalg::principal_axes(factor, self.dim, self.columns)?;
        for variance in &mut variances {
            *variance = ranges::variance(step, *variance)?;
        }
        Gaussian::with_axes(self.state.mean[..].copy()?, variances, axes)
    }
}
