//! DEIS with polynomials in the time of a variance-preserving schedule.

use super::quadrature::integral;
use super::slopes::{Axis, MIN_RATIO, Slopes, on_nodes_apart};
use super::weights::{MAX_NODES, solve};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::plan::Plan;
use crate::posterior::step_size;
use crate::special::softplus;

/// tAB-DEIS: the integral over ρ of the polynomial *in time* through the last k estimates E of ε.
/// One evaluation a step, order k where the first k − 1 steps are exact.
///
/// ```text
/// x_s/α_s = x_t/α_t + Σ_j C_j E_j        C_j = ∫ l_j(T(ρ)) dρ  from ρ_t to ρ_s
/// ```
///
/// with l_j the Lagrange basis on the times T_j = T(ρ_j), and T the time of a variance-preserving
/// schedule, 1 + ρ² = exp(½β_d T² + β_min T). Zhang and Chen (2023), "Fast Sampling of Diffusion
/// Models with Exponential Integrator". As in diff-sampler and ComfyUI's `deis`, T belongs to ρ =
/// 0.002 at T = 0.001 and ρ = 80 at T = 1, whatever the schedule, so that every schedule has it by
/// its ρ. ComfyUI's `max_order` is 3.
///
/// The integrals are accurate to rounding. Those libraries take a sum of 10,000 terms instead: on
/// Karras grids of 10 to 40 steps C_j then differs by up to 3e-5 of ρ_s − ρ_t.
///
/// Order ramp, end, α_t = 0 and near knots are those of [`LinearMultistep`](super::LinearMultistep),
/// which is the same with polynomials in ρ (`deis_mode = "rhoab"`): the step onto σ_s = 0 returns D,
/// and from order 3 on the first-order start makes it converge with order 2.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{Deis, Path, Solver}};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let plan = Deis::tab(3)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (10, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "deis")]
#[doc(alias = "tAB-DEIS")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deis {
    pub(super) order: usize,
    pub(super) axis: Axis,
}

impl Deis {
    /// tAB-DEIS of this order; 1 is DDIM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    pub fn tab(order: usize) -> Result<Self, Error> {
        require((1..=4).contains(&order), "order", order as f64, "1 to 4")?;
        Ok(Self {
            order,
            axis: Axis::Rho,
        })
    }

    /// The same rule for the velocity E − D in flow time τ = σ/(α + σ), with T(τ) in place of T(ρ):
    /// what ComfyUI's `deis` does with a flow model.
    #[must_use]
    pub fn in_flow_time(self) -> Self {
        Self {
            axis: Axis::FlowTime,
            ..self
        }
    }

    /// The weights on an edge: Σ_j u_j^k w_j = ∫ u(ρ)^k dρ/(ρ_s − ρ_t), u relative to the step in T.
    fn weights(&self, from: &NoiseLevel, to: &NoiseLevel, past: &[NoiseLevel]) -> [f64; MAX_NODES] {
        let time = VpTime::new();
        let start = self.log_axis(from);
        let length = self.log_step(from, to);
        let whole = time.advance(start, length);
        let node = |knot: &NoiseLevel| time.advance(start, -self.log_step(knot, from)) / whole;
        let past: Vec<f64> = past.iter().map(node).collect();
        let moment = |power: u8| {
            let integrand = |v: f64| {
                let u = time.advance(start, v) / whole;
                num_traits::pow(u, usize::from(power)) * libm::exp(-v)
            };
            integral(length, integrand) / -libm::expm1(-length)
        };
        on_nodes_apart(&past, MIN_RATIO, |nodes| {
            let mut moments = [0.0; MAX_NODES];
            for (power, entry) in (0..).zip(moments.iter_mut().take(nodes.len())) {
                *entry = if power == 0 { 1.0 } else { moment(power) };
            }
            solve(nodes, moments)
        })
    }

    /// ln τ.
    fn log_axis(&self, level: &NoiseLevel) -> f64 {
        match self.axis {
            Axis::Rho => -level.lambda(),
            Axis::FlowTime => level.log_sigma() - libm::log(self.axis.scale(level)),
        }
    }

    /// ln τ_from − ln τ_to: −ln(1 − (τ_from − τ_to)/τ_from), where that share is not near 1.
    fn log_step(&self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        match self.axis {
            Axis::Rho => step_size(from, to),
            Axis::FlowTime => {
                let whole = from.sigma() / self.axis.scale(from);
                let share = self.axis.distance(from, to) / whole;
                // Equivalent mutant: replace < with <=: at 1/2 both forms are right to rounding.
                if share < 0.5 {
                    -libm::log1p(-share)
                } else {
                    // Below 1e-16 of τ_from nothing is left of 1 − share.
                    self.log_axis(from) - self.log_axis(to)
                }
            }
        }
    }
}

/// T(ρ) = (√(β_min² + 2β_d L) − β_min)/β_d, L = ln(1 + ρ²).
struct VpTime {
    beta_d: f64,
    beta_min_squared: f64,
}

impl VpTime {
    /// The time that runs from 0.001 at ρ = 0.002 to 1 at ρ = 80.
    fn new() -> Self {
        const START: f64 = 1e-3;
        let log = |rho: f64| libm::log1p(rho * rho);
        let (clean, noisy) = (log(0.002), log(80.0));
        let beta_d = 2.0 * (clean / START - noisy) / (START - 1.0);
        let beta_min = noisy - 0.5 * beta_d;
        Self {
            beta_d,
            beta_min_squared: beta_min * beta_min,
        }
    }

    /// T at ln ρ = `log_rho` − v, minus T at `log_rho`, times β_d: (A' − A)/(√A' + √A).
    fn advance(&self, log_rho: f64, v: f64) -> f64 {
        let log = softplus(2.0 * log_rho);
        // Equivalent mutant: replace < with <=: at 1 both forms are right to rounding.
        let change = if v.abs() < 1.0 {
            libm::log1p(libm::expm1(-2.0 * v) / (1.0 + libm::exp(-2.0 * log_rho)))
        } else {
            softplus(2.0 * (log_rho - v)) - log
        };
        let root = |log: f64| (self.beta_min_squared + 2.0 * self.beta_d * log).sqrt();
        2.0 * self.beta_d * change / (root(log) + root(log + change))
    }
}

impl Solver for Deis {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let slopes = Slopes {
            axis: self.axis,
            depth: self.order - 1,
            extrapolated_end: false,
        };
        slopes.plan(path, |from, to, past| self.weights(from, to, past))
    }

    fn order(&self) -> usize {
        self.order
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Zhang and Chen 2023 (tAB-DEIS)";
    let named = [(2, "tAB-DEIS 2"), (3, "tAB-DEIS 3"), (4, "tAB-DEIS 4")];
    let entry = |(order, name)| Some(Entry::new(name, Deis::tab(order).ok()?, source));
    named.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::{Deis, VpTime};
    use crate::error::Error;
    use crate::level::NoiseLevel;

    #[test]
    fn the_variance_preserving_time_is_that_of_its_ends() {
        let time = VpTime::new();
        // From ρ = 80 and time 1 to ρ = 0.002 and time 0.001.
        let whole = time.advance(80f64.ln(), 40_000f64.ln()) / time.beta_d;
        assert!((whole + 0.999).abs() < 1e-12, "{whole}");
    }

    #[test]
    fn a_short_step_in_time_is_as_its_derivative_says() {
        let time = VpTime::new();
        for log_rho in [-3.0f64, 0.0, 2.0] {
            let squared = (2.0 * log_rho).exp();
            // L = ln(1 + ρ²) has the slope 2ρ²/(1 + ρ²) in ln ρ, and β_d T the slope β_d/√ in it.
            let root = (time.beta_min_squared + 2.0 * time.beta_d * squared.ln_1p()).sqrt();
            let slope = time.beta_d / root * 2.0 * squared / (1.0 + squared);
            for v in [1e-13, -1e-13, 1e-15] {
                let error = (time.advance(log_rho, v) / (-v * slope) - 1.0).abs();
                assert!(error < 1e-11, "{log_rho}, {v}: {error:e}");
            }
        }
    }

    #[test]
    fn a_short_step_in_flow_time_keeps_its_digits() -> Result<(), Error> {
        let deis = Deis::tab(2)?.in_flow_time();
        // ln τ = −ln(1 + e^λ), which around λ = 0 changes by h/2 + h²/8.
        let h = num_traits::pow(0.5, 39);
        let from = NoiseLevel::from_logs(2.0, -1.0, -1.0)?;
        let to = NoiseLevel::from_logs(1.0, -1.0, -1.0 - h)?;
        let error = (deis.log_step(&from, &to) / (0.5 * h + 0.125 * h * h) - 1.0).abs();
        assert!(error < 1e-14, "{error:e}");
        Ok(())
    }
}
