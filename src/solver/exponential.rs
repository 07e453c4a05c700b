//! Multistep rules of the exponential family: one routine for data and noise form.

use super::Path;
use super::extrapolation::Extrapolation;
use super::weights::{exponential, moment};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Which estimate a rule interpolates: D, with weights under e^−z, or E, with weights under e^z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Estimate {
    Data,
    Noise,
}

impl Estimate {
    /// z of the weights for a step of size z: the noise form is the data form run backwards.
    pub(super) fn signed(self, z: f64) -> f64 {
        match self {
            Self::Data => z,
            Self::Noise => -z,
        }
    }

    pub(super) fn store(self, slot: usize) -> Store {
        match self {
            Self::Data => Store::data(slot),
            Self::Noise => Store::noise(slot),
        }
    }
}

/// The weight of the slope over a step of size z, for rules of two estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slope {
    /// The exact integral zφ₂(−z).
    Exact,
    /// Half of all weight, (1 − e^−z)/2: UniPC's B₂, DPM-Solver's midpoint.
    Midpoint,
    /// z/2: UniPC's B₁, SA-Solver's simple form.
    Linear,
}

impl Slope {
    pub(super) fn weight(self, z: f64) -> f64 {
        match self {
            Self::Exact => moment(1, z),
            Self::Midpoint => -libm::expm1(-z) / 2.0,
            Self::Linear => z / 2.0,
        }
    }

    /// The weights of the older estimates at `places`, in steps: negative. That of the newest
    /// makes the sum 1 − e^−z.
    pub(super) fn older(self, z: f64, places: &[f64]) -> Vec<f64> {
        match *places {
            // Equivalent mutant: delete match arm []: without places the last arm has none either.
            [] => Vec::new(),
            [place] => vec![self.weight(z) / place],
            _ => {
                let nodes: Vec<f64> = std::iter::once(0.0).chain(places.iter().copied()).collect();
                exponential(z, &nodes)[1..nodes.len()].to_vec()
            }
        }
    }
}

/// h − ln κ, the size of the deterministic step to the level (α_s, κσ_s), for one whose noise is
/// added afterwards. With the constant rate τ it is (1 + τ²)h.
pub(super) fn down_size(posterior: &StridedPosterior) -> f64 {
    let (kappa, sigma) = (posterior.kappa(), posterior.to().sigma());
    // Equivalent mutant: replace < with <=: at 1/2 both forms are right to rounding.
    let log_kappa = if kappa < 0.5 || sigma == 0.0 {
        libm::log(kappa)
    } else {
        let ratio = posterior.gamma() / sigma;
        0.5 * libm::log1p(-ratio * ratio)
    };
    posterior.step_size() - log_kappa
}

/// The first-order step of a posterior, plus older estimates: (slot, weight).
///
/// The data form is c_t x + α_s Σ w_j D_j, the noise form (α_s/α_t) x + κσ_s Σ w_j E_j with the
/// weights' sign turned. In both the weight of the newest follows from the sum, and is written so
/// that nothing nearly equal is subtracted.
pub(super) fn update(
    estimate: Estimate,
    posterior: &StridedPosterior,
    older: &[(usize, f64)],
) -> Update {
    let (state, data) = (posterior.state_coefficient(), posterior.data_coefficient());
    let scale = match estimate {
        Estimate::Data => posterior.to().alpha(),
        Estimate::Noise => state * posterior.from().sigma(),
    };
    let history: Vec<(usize, f64)> = older.iter().map(|&(slot, w)| (slot, scale * w)).collect();
    let plain = Update::from(posterior.transition());
    let (state, data) = match estimate {
        Estimate::Data => (state, data - history.iter().map(|term| term.1).sum::<f64>()),
        Estimate::Noise => {
            let change = state * older.iter().map(|term| term.1).sum::<f64>();
            (state - change, data + posterior.from().alpha() * change)
        }
    };
    let update = Update {
        state,
        data,
        history,
        ..plain.clone()
    };
    // e^h of a very long step in noise form may overflow.
    if update.is_finite() { update } else { plain }
}

/// The step of the data form under the constant rate τ, or that of the noise form,
///
/// ```text
/// x_s = (α_s/α_t) x_t − (1 + τ²) σ_s Σ w_j E_j + τ σ_s √(e^(2h) − 1) ζ
/// ```
///
/// The latter is (1 + τ²) times the deterministic one less τ² times (α_s/α_t) x_t, where the state's
/// factor is written so that a large τ² cancels nothing. Where h is
/// infinite, or e^h overflows, it is the data form's step of first order.
pub(super) fn update_at_rate(
    estimate: Estimate,
    (from, to): (NoiseLevel, NoiseLevel),
    tau: f64,
    older: &[(usize, f64)],
) -> Result<Update, Error> {
    let posterior = StridedPosterior::new(from, to, Kappa::Tau(tau))?;
    let h = posterior.step_size();
    if estimate == Estimate::Data || tau == 0.0 || h.is_infinite() {
        return Ok(update(estimate, &posterior, older));
    }
    let ddim = StridedPosterior::new(from, to, Kappa::Ddim)?;
    let plain = update(estimate, &ddim, older);
    let (rate, carry) = (1.0 + tau * tau, to.alpha() / from.alpha());
    let history = plain.history.iter();
    // What the older estimates take from σ_s/σ_t.
    let change = history.clone().map(|term| term.1).sum::<f64>() / from.sigma();
    let first = ddim.state_coefficient() + tau * tau * carry * libm::expm1(-h);
    let noisy = Update {
        state: first - rate * change,
        data: rate * plain.data,
        history: history.map(|&(slot, w)| (slot, rate * w)).listed()?,
        // σ_s e^h = (α_s/α_t) σ_t.
        noise: tau * carry * from.sigma() * (-libm::expm1(-2.0 * h)).sqrt(),
        store: None,
    };
    Ok(if noisy.is_finite() {
        noisy
    } else {
        update(estimate, &posterior, &[])
    })
}

/// A multistep rule without correction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) estimate: Estimate,
    pub(super) slope: Slope,
    /// Half the weight of the second difference at third order.
    pub(super) published: bool,
    /// The first step by a single-step method.
    pub(super) warmed_up: bool,
    pub(super) extrapolation: Extrapolation,
    /// τ of the noise form; the posteriors are then deterministic.
    pub(super) noise_tau: f64,
}

impl Rule {
    /// The steps along a path, `sizes` those on which estimates lie, `rate` times the sizes z.
    pub(super) fn steps(
        &self,
        path: &Path<'_>,
        posteriors: &[StridedPosterior],
        sizes: &[f64],
        rate: f64,
    ) -> Result<Vec<Step>, Error> {
        let policy = self.extrapolation;
        let mut history = policy.history();
        let mut steps = crate::memory::reserve(&[posteriors.len()])?;
        let mut cold = self.warmed_up && policy.order > 2 && self.noise_tau == 0.0;
        let edges = posteriors.iter().zip(sizes).zip(policy.kept(sizes)?);
        for (index, ((posterior, &size), keep)) in edges.enumerate() {
            let (from, to) = (posterior.from(), posterior.to());
            let warm = cold && size.is_finite() && posterior.gamma() == 0.0;
            cold = cold && size.is_infinite();
            if warm {
                crate::memory::push(&mut steps, self.single_step(path, from, to)?)?;
                for node in self.warm_nodes() {
                    history.push(node * size);
                }
                history.advance(size);
                if !keep {
                    history.clear();
                }
                continue;
            }
            let places = policy.older(size, history.held(), sizes.len() - index);
            let weights = self.older(self.estimate.signed(rate * size), &places);
            let mut update = if self.noise_tau > 0.0 {
                update_at_rate(self.estimate, (from, to), self.noise_tau, &weights)?
            } else {
                update(self.estimate, posterior, &weights)
            };
            if keep {
                update.store = history.push(0.0).map(|slot| self.estimate.store(slot));
            }
            history.advance(size);
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
        }
        Ok(steps)
    }

    /// (slot, weight) of the older estimates at (slot, place).
    fn older(&self, z: f64, places: &[(usize, f64)]) -> Vec<(usize, f64)> {
        let at: Vec<f64> = places.iter().map(|node| node.1).collect();
        let mut weights = self.slope.older(z, &at);
        if let ([a, b], true) = (&at[..], self.published) {
            // The divided difference of second order has 2zφ₃(−z), of which this takes half.
            let half = 0.5 * moment(2, z);
            weights[0] -= half / (a * (a - b));
            weights[1] -= half / (b * (b - a));
        }
        places.iter().map(|node| node.0).zip(weights).collect()
    }

    /// Where in the first step its estimates lie that the next ones use.
    fn warm_nodes(&self) -> &'static [f64] {
        if self.extrapolation.order > 3 {
            &[0.0, 2.0 / 3.0]
        } else {
            &[0.0]
        }
    }

    /// A step by the single-step method 2S with its node in the middle (local error h³) or, for
    /// order 4, 3S with nodes at thirds (h⁴); see MATHEMATICS, single-step. In place: the state at
    /// the step's start is recovered from that at the node.
    fn single_step(
        &self,
        path: &Path<'_>,
        from: NoiseLevel,
        to: NoiseLevel,
    ) -> Result<Step, Error> {
        let (start, end) = (from.lambda(), to.lambda());
        let h = end - start;
        let estimate = self.estimate;
        let z = |part: f64| estimate.signed(part * h);
        let whole = |part: f64| moment(0, z(part));
        let slope = |part: f64| Slope::Exact.weight(z(part));
        let stage = |from: NoiseLevel, to: NoiseLevel, older: &[(usize, f64)], store| {
            let posterior = StridedPosterior::new(from, to, Kappa::Ddim)?;
            let mut update = update(estimate, &posterior, older);
            update.store = store;
            Ok::<_, Error>(Stage::evaluating(from, update))
        };
        let keep = |slot| Some(estimate.store(slot));
        let stages = if self.extrapolation.order > 3 {
            let one = path.at_lambda(start + h / 3.0)?;
            let two = path.at_lambda(start + 2.0 * h / 3.0)?;
            let (second, third) = (1.0 / 3.0, 2.0 / 3.0);
            // The weight of the first node's estimate at the second node, and of that at the end.
            let (inner, outer) = (2.0 * slope(third), slope(1.0) / third);
            let carried = 1.0 - whole(1.0 - third);
            let at_two = [(0, whole(third - second) - inner)];
            let at_end = [
                (0, (whole(1.0) - outer) - carried * (whole(third) - inner)),
                (1, -carried * inner),
            ];
            vec![
                stage(from, one, &[], keep(0))?,
                stage(one, two, &at_two, keep(1))?,
                stage(two, to, &at_end, keep(1))?,
            ]
        } else {
            let middle = path.at_lambda(start + 0.5 * h)?;
            let at_end = [(0, whole(0.5) - 2.0 * slope(1.0))];
            vec![
                stage(from, middle, &[], keep(0))?,
                stage(middle, to, &at_end, None)?,
            ]
        };
        Ok(Step { from, to, stages })
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, down_size, update};
    use crate::error::Error;
    use crate::level::NoiseLevel;
    use crate::plan::Update;
    use crate::posterior::{Kappa, StridedPosterior};

    /// An edge of this size in λ.
    fn edge(h: f64, kappa: Kappa) -> Result<StridedPosterior, Error> {
        let from = NoiseLevel::from_logs(2.0, 0.0, h)?;
        StridedPosterior::new(from, NoiseLevel::from_logs(1.0, 0.0, 0.0)?, kappa)
    }

    #[test]
    fn a_step_with_a_constant_rate_goes_down_by_its_multiple() -> Result<(), Error> {
        for h in [1e-12, 1e-6, 0.1, 0.7, 3.0, 40.0] {
            for tau in [0.0, 0.5, 1.0, 2.0] {
                let expected = (1.0 + tau * tau) * h;
                let found = down_size(&edge(h, Kappa::Tau(tau))?);
                let error = (found / expected - 1.0).abs();
                assert!(error < 1e-14, "{h}, {tau}: {error:e}");
            }
        }
        let from = NoiseLevel::from_logs(2.0, 0.0, 0.0)?;
        for kappa in [Kappa::Ddim, Kappa::Tau(1.0)] {
            let last = StridedPosterior::new(from, NoiseLevel::clean(), kappa)?;
            assert_eq!(down_size(&last), f64::INFINITY);
        }
        Ok(())
    }

    #[test]
    fn older_estimates_that_are_the_newest_change_nothing() -> Result<(), Error> {
        for kappa in [Kappa::Ddim, Kappa::Tau(0.5)] {
            let edge = edge(0.5, kappa)?;
            let first = Update::from(edge.transition());
            let (weight, near) = (-0.3, |a: f64, b: f64| (a - b).abs() < 1e-15);
            let data = update(Estimate::Data, &edge, &[(0, weight)]);
            assert_eq!(data.history, [(0, edge.to().alpha() * weight)]);
            assert!(
                near(data.state, first.state) && near(data.data + data.history[0].1, first.data)
            );
            // E = (x − αD)/σ, with the factor κσ_s.
            let noise = update(Estimate::Noise, &edge, &[(0, weight)]);
            let taken = noise.history[0].1;
            assert!(near(taken, edge.kappa() * edge.to().sigma() * weight));
            let (alpha, sigma) = (edge.from().alpha(), edge.from().sigma());
            assert!(near(noise.state + taken / sigma, first.state));
            assert!(near(noise.data - taken * alpha / sigma, first.data));
            for update in [data, noise] {
                assert_eq!((update.noise, update.store), (first.noise, None));
            }
        }
        Ok(())
    }

    #[test]
    fn a_weight_that_overflows_leaves_the_first_order_step() -> Result<(), Error> {
        for estimate in [Estimate::Data, Estimate::Noise] {
            for kappa in [Kappa::Ddim, Kappa::Tau(0.5)] {
                let edge = edge(0.5, kappa)?;
                let first = Update::from(edge.transition());
                assert_eq!(update(estimate, &edge, &[(0, f64::INFINITY)]), first);
                assert_ne!(update(estimate, &edge, &[(0, -0.1)]), first);
            }
        }
        Ok(())
    }
}
