//! ER-SDE solvers: exponential integrators for a family of reverse SDEs, in D.

use super::extrapolation::MIN_RATIO_WITH_NOISE;
use super::history::History;
use super::quadrature::integral;
use super::slopes::{Axis, MIN_RATIO, on_nodes_apart};
use super::weights::{MAX_NODES, solve};
use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Step, Store, Update};
use crate::posterior::step_size;
use crate::special::softplus;

/// How much noise the reverse SDE of [`ErSde`] has: the function φ(ρ) that scales it, up to a
/// factor. A step keeps κ = φ(ρ_s)ρ_t/(φ(ρ_t)ρ_s) of the noise.
///
/// The names in brackets are those of Cui et al. (2023).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum ErNoise {
    /// φ = ρ: no noise, κ = 1 (ODE).
    Ode,
    /// φ = ρ²: κ = r, DDPM's (SDE).
    Sde,
    /// φ = ρ^p, p ≥ 1: constant noise rate τ² = p − 1. p = 1.5 is SDE 2, 2.5 is SDE 3.
    Power(f64),
    /// φ = ρ(e^(−1/ρ) + 10) (SDE 1).
    Reciprocal,
    /// φ = ρ^0.9 log₁₀(1 + 100ρ^1.5) (SDE 4). Beyond ρ = 1022, where it would ask for a negative
    /// variance, it adds no noise.
    Logarithmic,
    /// φ = ρ(e^(ρ^0.3) + 10): the authors' choice (SDE 5), and ComfyUI's.
    #[default]
    Exponential,
}

impl ErNoise {
    /// ln κ of the edge `noisy` → `clean` in λ, `clean` finite: ψ(ρ_s) − ψ(ρ_t) with ψ = ln(φ/ρ), at
    /// most 0. `h` is the edge's length.
    fn log_kappa(self, noisy: f64, clean: f64, h: f64) -> f64 {
        // ln((e^a + 10)/(e^b + 10)), a ≤ b, without subtracting the logarithms.
        let plus_ten =
            |change: f64, b: f64| libm::log1p(libm::expm1(change) / (1.0 + 10.0 * libm::exp(-b)));
        match self {
            Self::Ode => 0.0,
            Self::Sde => -h,
            Self::Power(1.0) => 0.0,
            Self::Power(power) => -(power - 1.0) * h,
            Self::Reciprocal => {
                let b = -libm::exp(noisy);
                let change = if h.is_finite() {
                    b * libm::expm1(h)
                } else {
                    -libm::exp(clean)
                };
                plus_ten(change, b)
            }
            Self::Exponential => {
                let b = libm::exp(-0.3 * noisy);
                plus_ten(b * libm::expm1(-0.3 * h), b)
            }
            Self::Logarithmic => logarithmic(noisy, h).min(0.0),
        }
    }

    fn is_stochastic(self) -> bool {
        self != Self::Ode && self != Self::Power(1.0)
    }
}

/// 0.1h + ln(L_s/L_t), L = ln(1 + e^y), y = ln(100ρ^1.5).
fn logarithmic(noisy: f64, h: f64) -> f64 {
    if !h.is_finite() {
        return 0.0;
    }
    let y = 2.0 * std::f64::consts::LN_10 - 1.5 * noisy;
    // Equivalent mutant: replace < with <=: at −40 both forms are right to rounding.
    if y < -40.0 {
        // L = e^y to rounding.
        return (0.1 - 1.5) * h;
    }
    let log = softplus(y);
    // Equivalent mutant: replace < with <=: at 1 both forms are right to rounding.
    let change = if h < 1.0 {
        libm::log1p(libm::expm1(-1.5 * h) / (1.0 + libm::exp(-y)))
    } else {
        softplus(y - 1.5 * h) - log
    };
    0.1 * h + libm::log1p(change / log)
}

/// The ER-SDE solver of order 1 to 3: one evaluation a step, in D, for a family of reverse SDEs that
/// share their marginals. Cui et al. (2023), "Elucidating the Solution Space of Extended Reverse-Time
/// SDE for Diffusion Models"; ComfyUI's `er_sde` (`max_stage` 3, `s_noise`).
///
/// ```text
/// x_s = (σ_s/σ_t) κ x_t + α_s Σ_j w_j D_j + σ_s √(1 − κ²) z        κ = φ(ρ_s)ρ_t/(φ(ρ_t)ρ_s)
/// w_j = ∫ l_j dΦ,  Φ(ρ) = φ(ρ_s)/φ(ρ)  from ρ_t to ρ_s
/// ```
///
/// with φ an [`ErNoise`] and l_j the Lagrange basis in ρ on the step's start and the knots before it.
/// Order 1 is the κ family's: DDIM, DDPM, constant τ or between them. The integrals are accurate to
/// rounding; ComfyUI takes sums of 200 terms, with which a weight differs by up to 2e-3 on Karras grids
/// of 10 to 50 steps.
///
/// The published order 3 is second order: it multiplies the second difference of D by (ρ − ρ_t)² in
/// place of (ρ − ρ_t)(ρ − ρ₋₁). [`as_published`](Self::as_published) is that form, which ComfyUI has.
///
/// Without noise the order is that of the estimates, 3 where the first two steps are exact. With noise
/// it is at most 2, in distribution: D at the knots before differs by the noise of a step, too. With
/// the authors' noise, which is little, order 3 still is the more accurate one.
///
/// The order grows with the steps taken. A step onto σ_s = 0 returns D; α_t = 0 is left by a
/// first-order step and enters no later one. D is not extrapolated from knots nearer to one another
/// than 1/16 of the step in ρ, or with noise 1/2.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
/// use diffusion_sampler::solver::{ErNoise, ErSde, Path, Solver};
///
/// let flow = RectifiedFlow::shifted(3.0)?;
/// let grid = Grid::trailing(&flow, 20)?;
/// let path = Path::new(&flow, &grid)?;
/// let plan = ErSde::order(3)?.plan(&path)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 2));
/// assert!(plan.is_stochastic());
/// assert!(!ErSde::order(3)?.with_noise(ErNoise::Ode)?.plan(&path)?.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "er_sde")]
#[doc(alias = "ER-SDE-Solver")]
#[doc(alias = "s_noise")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErSde {
    pub(super) order: usize,
    pub(super) noise: ErNoise,
    pub(super) s_noise: f64,
    pub(super) published: bool,
}

impl ErSde {
    /// The solver of this order, with the authors' noise.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 3.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1 to 3")?;
        Ok(Self {
            order,
            noise: ErNoise::default(),
            s_noise: 1.0,
            published: false,
        })
    }

    /// The same with another amount of noise.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a power that is not finite or below 1.
    pub fn with_noise(self, noise: ErNoise) -> Result<Self, Error> {
        if let ErNoise::Power(power) = noise {
            let valid = power.is_finite() && power >= 1.0;
            require(valid, "power", power, "finite and at least 1")?;
        }
        Ok(Self { noise, ..self })
    }

    /// The same with its noise multiplied by `s_noise`; anything but 1 leaves the marginals.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a factor that is negative or not finite.
    pub fn with_s_noise(self, s_noise: f64) -> Result<Self, Error> {
        require_non_negative("s_noise", s_noise)?;
        Ok(Self { s_noise, ..self })
    }

    /// The published form of order 3, a second-order method. Orders 1 and 2 do not change.
    #[must_use]
    pub fn as_published(self) -> Self {
        Self {
            published: true,
            ..self
        }
    }

    /// The weights of D at the step's start and at `nodes`, which are relative to the step in ρ.
    ///
    /// Moments Σ u_j^k w_j = ∫ u^k dΦ = k∫₀¹ u^(k−1) (1 − Φ) du for k > 0: nothing cancels.
    fn weights(&self, from: &NoiseLevel, to: &NoiseLevel, past: &[f64]) -> [f64; MAX_NODES] {
        let (h, whole) = (step_size(from, to), -libm::expm1(-step_size(from, to)));
        let (start, end) = (from.lambda(), to.lambda());
        // 1 − Φ at λ_t + v.
        let rest = |v: f64| {
            let left = h - v;
            -libm::expm1(self.noise.log_kappa(start + v, end, left) - left)
        };
        let moment = |power: u8| {
            let integrand = |v: f64| {
                let u = -libm::expm1(-v) / whole;
                num_traits::pow(u, usize::from(power - 1)) * rest(v) * libm::exp(-v)
            };
            f64::from(power) * integral(h, integrand) / whole
        };
        let first = rest(0.0);
        let apart = if self.noise.is_stochastic() {
            // As for all weights but the midpoint form's.
            MIN_RATIO_WITH_NOISE[1]
        } else {
            MIN_RATIO
        };
        on_nodes_apart(past, apart, |nodes| {
            let mut moments = [first, 0.0, 0.0, 0.0, 0.0];
            for (power, entry) in (0..).zip(moments.iter_mut().take(nodes.len())) {
                if power > 0 {
                    *entry = moment(power);
                }
            }
            match nodes {
                &[_, u1, u2] if self.published => taylor(moments, u1, u2),
                _ => solve(nodes, moments),
            }
        })
    }
}

/// m₀D + m₁f\[0, u₁\] + m₂f\[0, u₁, u₂\], in divided differences of D.
fn taylor([m0, m1, m2, ..]: [f64; MAX_NODES], u1: f64, u2: f64) -> [f64; MAX_NODES] {
    let (slope, curvature) = (m1 / u1, m2 / (u1 * (u1 - u2)));
    [
        m0 - slope + m2 / (u1 * u2),
        slope + curvature,
        m2 / (u2 * (u2 - u1)),
        0.0,
        0.0,
    ]
}

impl Solver for ErSde {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let edges: Vec<_> = path.edges().listed()?;
        let last_reader = edges.iter().rposition(|(_, to)| !to.is_clean());
        let mut history = History::new(0, self.order - 1);
        let mut steps = crate::memory::reserve(&[edges.len()])?;
        for (index, (from, to)) in edges.into_iter().enumerate() {
            let mut update = if to.is_clean() {
                Update {
                    data: to.alpha(),
                    ..Update::default()
                }
            } else {
                self.update(&from, &to, history.held())
            };
            let read = last_reader.is_some_and(|last| index < last);
            if read && from.alpha() > 0.0 {
                update.store = history.push(from).map(Store::data);
            }
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
        }
        Plan::of_steps(steps)
    }

    /// With noise, and in the published form, order 3 has order 2.
    fn order(&self) -> usize {
        if self.published || self.noise.is_stochastic() {
            self.order.min(2)
        } else {
            self.order
        }
    }
}

impl ErSde {
    /// The update of an edge that does not end at σ = 0.
    fn update(&self, from: &NoiseLevel, to: &NoiseLevel, held: &[(usize, NoiseLevel)]) -> Update {
        let log_kappa = self
            .noise
            .log_kappa(from.lambda(), to.lambda(), step_size(from, to));
        let past: Vec<NoiseLevel> = held.iter().map(|&(_, level)| level).collect();
        let [first, rest @ ..] = if past.is_empty() {
            let only = -libm::expm1(log_kappa - step_size(from, to));
            [only, 0.0, 0.0, 0.0, 0.0]
        } else {
            self.weights(from, to, &Axis::Rho.nodes(from, to, &past))
        };
        let earlier = held.iter().zip(rest).filter(|&(_, weight)| weight != 0.0);
        Update {
            state: to.sigma() / from.sigma() * libm::exp(log_kappa),
            data: to.alpha() * first,
            history: earlier
                .map(|(&(slot, _), weight)| (slot, to.alpha() * weight))
                .collect(),
            noise: self.s_noise * to.sigma() * (-libm::expm1(2.0 * log_kappa)).sqrt(),
            store: None,
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Cui et al. 2023";
    let named = [
        ("ER-SDE 1", 1, ErNoise::Exponential, false),
        ("ER-SDE 2", 2, ErNoise::Exponential, false),
        ("ER-SDE 3", 3, ErNoise::Exponential, false),
        ("ER-SDE 3, as published", 3, ErNoise::Exponential, true),
        ("ER-SDE 2, without noise", 2, ErNoise::Ode, false),
        ("ER-SDE 3, without noise", 3, ErNoise::Ode, false),
        (
            "ER-SDE 3, as published, without noise",
            3,
            ErNoise::Ode,
            true,
        ),
    ];
    let entry = |(name, order, noise, published)| {
        let solver = ErSde::order(order).ok()?.with_noise(noise).ok()?;
        let solver = if published {
            solver.as_published()
        } else {
            solver
        };
        Some(Entry::new(name, solver, source))
    };
    named.into_iter().filter_map(entry).collect()
}
