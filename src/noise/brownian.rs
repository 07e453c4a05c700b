//! Noise as one path over all levels, whatever the steps.

use super::fingerprint::{self, Fingerprint};
use super::{
    Demand, Interval, KeyedNoise, NoiseKey, NoiseSource, NormalElement, PureNoise, Stream,
};
use crate::error::{Error, require};

/// The depth of the tree: cells are 2⁻²⁰ of the interval.
const DEPTH: usize = 20;

/// The cells of the interval.
const CELLS: f64 = (1 << DEPTH) as f64;

/// The shortest distance of two knots, in cells: a place is right to 2⁻³² of a cell, and a step's
/// normals to that over its length.
const NEAREST: f64 = 1.0 / (1 << 16) as f64;

/// The tree of stream `Step(n)` is stream `TREES + n` of the keyed noise, whose first 514 are
/// taken.
const TREES: u32 = 514;

/// The names of normals that are no node of the tree: the path at its start, what its end adds, and
/// the noise onto σ = 0. Nodes are numbered as in a heap, from 1, and the cells below go on.
const START: u32 = 0;
const END: u32 = u32::MAX - 1;
const CLEAN: u32 = u32::MAX;

/// The most normals in a step's noise: the walks to both ends, with their cells and the path's
/// ends.
const TERMS: usize = 2 * (DEPTH + 3);

/// Elements worked on at a time.
const PIECE: usize = 256;

/// Noise as one path over λ, keyed by (seed, sample, element): runs of other numbers of steps
/// follow the same path.
///
/// Divided by σ, the noise of a diffusion of constant rate τ is the stationary Ornstein–Uhlenbeck
/// process in λ = ln(α/σ) (time-changed Brownian motion: Y = e^{−τ²λ} W(e^{2τ²λ}); at τ = 1, W runs
/// in the signal-to-noise ratio). A step from λ_t to λ_s draws
///
/// ```text
/// z = (Y(λ_s) − κ Y(λ_t)) / √(1 − κ²),   κ = e^{−τ²(λ_s − λ_t)},
/// ```
///
/// a standard normal, independent of the normals of all other steps. The noises of two adjacent
/// steps, κ₂√(1 − κ₁²) z₁ + √(1 − κ₂²) z₂, add to the noise of their union exactly, to rounding. So
/// for κ-policies [`Tau`](crate::posterior::Kappa::Tau) with the same τ, and `Ddpm` with τ = 1, K
/// and 2K steps have the same noise, and samples differ by the error of the solver only. `Eta` with
/// η other than 0 and 1 is no such diffusion at finite steps; τ = η is its limit. Any policy may
/// draw from any path: its normals are independent in every case.
///
/// The path is a tree of depth 20 over an interval of λ, \[−16, 16\] by default. A knot
/// is found by a walk down the tree, from 22 normals, and placed within its cell, exactly where it
/// is, by one more; memory is a few blocks. So a step costs up to 45 normals an element (measured:
/// 47 times the time of [`KeyedNoise`] on 65536 `f32`, on one thread). Two knots of one run within
/// one cell are refused, and so are two as close on both sides of a border; as are steps that leave the interval, lead upwards or go over a part of
/// the path twice: [`check`](NoiseSource::check), which a run asks before it starts. λ = −∞ (α = 0)
/// and λ = +∞ (σ = 0) belong to the path.
///
/// The noise additions of one step, [`Stream::Step`]`(n)`, are increments of one path where the
/// plan gives each its part of the step
/// ([`Step::interval_of`](crate::plan::Step::interval_of)), as two-stage solvers need it; otherwise
/// they take independent paths n ([`NoiseKey::path`]). Rows outside a step (x_T, the forward chain) are those of
/// [`KeyedNoise`] with the same seed.
///
/// ```
/// use diffusion_sampler::{Grid, Prediction, Sampler, noise::BrownianPath};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// for steps in [50, 100] {
///     let grid = Grid::trailing(&schedule, steps)?;
///     let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
///     let run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, BrownianPath::new(7))?;
///     assert_eq!(run.step(), 0);
/// }
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Kidger and others (2021), "Efficient and Accurate Gradients for Neural SDEs"; Li, Wong, Chen and
/// Duvenaud (2020), "Scalable Gradients for Stochastic Differential Equations" (virtual Brownian
/// tree).
#[doc(alias("BrownianTreeNoiseSampler", "BrownianTree"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BrownianPath {
    pub(super) normals: KeyedNoise,
    pub(super) interval: Interval,
    /// τ².
    pub(super) rate: f64,
}

impl BrownianPath {
    /// The path of a seed, with τ = 1 over λ in \[−16, 16\].
    pub fn new(seed: u64) -> Self {
        Self {
            normals: KeyedNoise::new(seed),
            interval: Interval::new(-16.0, 16.0),
            rate: 1.0,
        }
    }

    /// The path of a diffusion with another constant noise rate τ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 10⁻⁶ ≤ τ ≤ 100.
    pub fn with_tau(self, tau: f64) -> Result<Self, Error> {
        require(
            (1e-6..=100.0).contains(&tau),
            "tau",
            tau,
            "from 1e-6 to 100",
        )?;
        Ok(Self {
            rate: tau * tau,
            ..self
        })
    }

    /// A path over another interval of λ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless both ends lie in \[−1000, 1000\] and are at least 10⁻³
    /// apart.
    pub fn with_interval(self, interval: Interval) -> Result<Self, Error> {
        for end in [interval.from(), interval.to()] {
            let finite = (-1000.0..=1000.0).contains(&end);
            require(finite, "end of the path", end, "from -1000 to 1000")?;
        }
        let length = interval.to() - interval.from();
        require(
            length >= 1e-3,
            "length of the path",
            length,
            "at least 1e-3",
        )?;
        Ok(Self { interval, ..self })
    }

    /// The same path for a batch whose row 0 is sample `index` of the whole.
    ///
    /// # Errors
    ///
    /// As [`KeyedNoise::with_first_sample`].
    pub fn with_first_sample(self, index: u64) -> Result<Self, Error> {
        Ok(Self {
            normals: self.normals.with_first_sample(index)?,
            ..self
        })
    }

    /// λ in cells from the path's start.
    fn place(&self, lambda: f64) -> f64 {
        (lambda - self.interval.from()) / (self.interval.to() - self.interval.from()) * CELLS
    }

    /// Refuses a knot that is neither in the interval nor infinite.
    fn check_knot(&self, lambda: f64) -> Result<(), Error> {
        let (noisy, clean) = (self.interval.from(), self.interval.to());
        if lambda.is_infinite() || (noisy..=clean).contains(&lambda) {
            return Ok(());
        }
        Err(Error::KnotOutsidePath {
            lambda,
            noisy,
            clean,
        })
    }

    /// Adds `scale`·Y(λ) to `terms`, from the cell up to the root.
    fn add(&self, terms: &mut Terms, lambda: f64, scale: f64) {
        let place = self.place(lambda);
        let cell = place.floor().clamp(0.0, CELLS - 1.0);
        let fraction = place - cell;
        let length = self.rate * (self.interval.to() - self.interval.from());

        // Within the cell: the bridge of the process between the cell's ends.
        let cell_length = length / CELLS;
        let all = libm::sinh(cell_length);
        let left = libm::sinh(cell_length * (1.0 - fraction));
        let right = libm::sinh(cell_length * fraction);
        let (mut a, mut b) = (scale * left / all, scale * right / all);
        let mut node = (1u32 << DEPTH) + cell as u32;
        terms.add(node, scale * (2.0 * left * (right / all)).sqrt());

        // Upwards: one of a node's ends is the middle of its parent.
        let mut half = cell_length;
        while node > 1 {
            let weight = 0.5 / libm::cosh(half);
            let deviation = libm::tanh(half).sqrt();
            let is_right = node % 2 == 1;
            node /= 2;
            if is_right {
                terms.add(node, a * deviation);
                (a, b) = (a * weight, b + a * weight);
            } else {
                terms.add(node, b * deviation);
                (a, b) = (a + b * weight, b * weight);
            }
            half *= 2.0;
        }
        terms.add(START, a + b * libm::exp(-length));
        terms.add(END, b * (-libm::expm1(-2.0 * length)).sqrt());
    }

    /// The normals that make a step's noise; not finite for an interval that `check` refuses.
    fn terms(&self, interval: Interval) -> Terms {
        let mut terms = Terms::default();
        let (from, to) = (interval.from(), interval.to());
        if self.check_step(interval).is_err() {
            terms.add(START, f64::NAN);
        } else if to.is_infinite() {
            terms.add(CLEAN, 1.0);
        } else if from.is_infinite() {
            self.add(&mut terms, to, 1.0);
        } else {
            let h = self.rate * (to - from);
            let scale = 1.0 / (-libm::expm1(-2.0 * h)).sqrt();
            self.add(&mut terms, to, scale);
            self.add(&mut terms, from, -scale * libm::exp(-h));
        }
        terms
    }

    /// Refuses one step's interval.
    fn check_step(&self, interval: Interval) -> Result<(), Error> {
        let (from, to) = (interval.from(), interval.to());
        self.check_knot(from)?;
        self.check_knot(to)?;
        if from >= to {
            return Err(Error::PathRetraced { from, to });
        }
        self.check_cells(from, to)
    }

    /// Refuses two knots within one cell.
    fn check_cells(&self, from: f64, to: f64) -> Result<(), Error> {
        let (low, high) = (self.place(from), self.place(to));
        // A knot on the border of two cells is in neither.
        let within = low.floor() == high.floor() && low > low.floor();
        if from < to && (within || high - low < NEAREST) {
            let cell = (self.interval.to() - self.interval.from()) / CELLS;
            return Err(Error::KnotsTooClose { from, to, cell });
        }
        Ok(())
    }
}

impl<A: NormalElement> PureNoise<A> for BrownianPath {
    fn draw(&self, key: NoiseKey, mut first: u64, out: &mut [A]) {
        let (Stream::Step(_), Some(interval)) = (key.stream, key.interval) else {
            return self.normals.draw(key, first, out);
        };
        let terms = self.terms(interval);
        let stream = TREES + u32::from(key.path);
        for piece in out.chunks_mut(PIECE) {
            let mut sums = [0.0; PIECE];
            for &(node, weight) in &terms.list[..terms.count] {
                // `piece` holds each term's normals in turn, and the sum at last.
                self.normals.row(key.row, node, stream, first, piece);
                for (sum, z) in sums.iter_mut().zip(&*piece) {
                    *sum += weight * z.wide();
                }
            }
            for (z, sum) in piece.iter_mut().zip(sums) {
                *z = A::narrow(sum);
            }
            first = first.wrapping_add(piece.len() as u64);
        }
    }
}

impl<A: NormalElement> NoiseSource<A> for BrownianPath {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.draw(key, first, out);
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        Some(self)
    }

    fn fingerprint(&self) -> Option<u64> {
        let of = Fingerprint::of_kind(fingerprint::BROWNIAN)
            .word(self.normals.seed)
            .word(self.normals.first_sample)
            .number(self.interval.from())
            .number(self.interval.to())
            .number(self.rate);
        Some(of.value())
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        let mut reached = f64::NEG_INFINITY;
        for interval in demand.intervals {
            self.check_step(*interval)?;
            if interval.from() < reached {
                return Err(Error::PathRetraced {
                    from: reached,
                    to: interval.from(),
                });
            }
            // Between two noisy steps there may be one without noise.
            self.check_cells(reached, interval.from())?;
            reached = interval.to();
        }
        Ok(())
    }
}

/// A sum of normals: the name and the weight of each.
struct Terms {
    list: [(u32, f64); TERMS],
    count: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            list: [(0, 0.0); TERMS],
            count: 0,
        }
    }
}

impl Terms {
    fn add(&mut self, name: u32, weight: f64) {
        if weight == 0.0 {
            return;
        }
        let used = &mut self.list[..self.count];
        if let Some((_, sum)) = used.iter_mut().find(|(other, _)| *other == name) {
            *sum += weight;
        } else if let Some(free) = self.list.get_mut(self.count) {
            *free = (name, weight);
            self.count += 1;
        }
    }
}
