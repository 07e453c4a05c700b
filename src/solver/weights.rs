//! Weights of interpolating quadrature rules: what every multistep solver is made of.

use crate::special::phi;

/// The most nodes of a rule.
pub(super) const MAX_NODES: usize = 5;

/// The weights w_j = ∫₀ʰ p e^(−p(h−v)) l_j(v) dv of an exponential Adams method, l_j the Lagrange
/// basis on the nodes.
///
/// `nodes` are u_j = v_j/h, relative to the step: 0 is its start, 1 its end, older knots are
/// negative. `z` = ph, +∞ included. Σ w_j = 1 − e^(−z).
///
/// By moments: Σ_j u_j^k w_j = z k! φ_{k+1}(−z), k = 0..n − 1.
///
/// With z = −h these are the weights of the noise form, with the other sign: −∫₀ʰ e^(h−v) l_j(v) dv.
pub(super) fn exponential(z: f64, nodes: &[f64]) -> [f64; MAX_NODES] {
    let mut moments = [0.0; MAX_NODES];
    for (k, value) in moments.iter_mut().enumerate().take(nodes.len()) {
        *value = moment(k, z);
    }
    solve(nodes, moments)
}

/// ∫₀¹ z e^(−z(1−u)) u^k du = z k! φ_{k+1}(−z); 1 at z = +∞.
pub(super) fn moment(k: usize, z: f64) -> f64 {
    let factorial: f64 = (1..=k).map(|i| i as f64).product();
    match k {
        // φ₁ in its own form, which is right for every z.
        0 => -libm::expm1(-z),
        // z φ₂(−z) = 1 + expm1(−z)/z, which is finite for a z that is not.
        // Equivalent mutant: replace > with >=: at 1 both forms are right to rounding.
        1 if z > 1.0 => 1.0 + libm::expm1(-z) / z,
        // Beyond this z all moments are 1 to rounding.
        // Equivalent mutant: replace > with >=: at 1e17 both are 1 to rounding.
        _ if z > 1e17 => 1.0,
        _ => z * factorial * phi(k + 1, -z),
    }
}

/// The weights w_j = ∫₀¹ l_j(u) du of an Adams method, on the same nodes: moments 1/(k + 1).
pub(super) fn polynomial(nodes: &[f64]) -> [f64; MAX_NODES] {
    let mut moments = [0.0; MAX_NODES];
    for (k, moment) in moments.iter_mut().enumerate().take(nodes.len()) {
        *moment = 1.0 / (k as f64 + 1.0);
    }
    solve(nodes, moments)
}

/// w with Σ_j u_j^k w_j = moment_k (Björck and Pereyra 1970). The nodes must be distinct.
pub(super) fn solve(nodes: &[f64], mut w: [f64; MAX_NODES]) -> [f64; MAX_NODES] {
    let n = nodes.len();
    for (k, node) in nodes.iter().enumerate() {
        for i in (k + 1..n).rev() {
            w[i] -= node * w[i - 1];
        }
    }
    for k in (0..n.saturating_sub(1)).rev() {
        for i in k + 1..n {
            w[i] /= nodes[i] - nodes[i - k - 1];
        }
        for i in k..n - 1 {
            w[i] -= w[i + 1];
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::{MAX_NODES, exponential, moment, polynomial};

    /// l_j at u.
    fn basis(nodes: &[f64], j: usize, u: f64) -> f64 {
        let others = nodes.iter().enumerate().filter(|(i, _)| *i != j);
        others
            .map(|(_, node)| (u - node) / (nodes[j] - node))
            .product()
    }

    /// ∫₀¹ f by Gauss–Legendre with three nodes on 400 panels.
    fn integral(f: impl Fn(f64) -> f64) -> f64 {
        let (panels, x) = (400, 0.6f64.sqrt());
        let panel = |k: i32| {
            let at = |x: f64| f((f64::from(k) + 0.5 + 0.5 * x) / f64::from(panels));
            (5.0 * at(-x) + 8.0 * at(0.0) + 5.0 * at(x)) / 18.0
        };
        (0..panels).map(panel).sum::<f64>() / f64::from(panels)
    }

    #[test]
    fn weights_are_integrals_of_the_lagrange_basis() {
        let all = [0.0, -0.7, -2.1, -2.6, 1.0];
        for n in 1..=if cfg!(miri) { 2 } else { MAX_NODES } {
            for nodes in [&all[..n], &all[MAX_NODES - n..]] {
                let weights = polynomial(nodes);
                for (j, weight) in weights.iter().enumerate().take(n) {
                    let exact = integral(|u| basis(nodes, j, u));
                    assert!((weight - exact).abs() < 1e-11, "{nodes:?} {j}");
                }
                for z in [1e-9, 1e-3, 0.3, 1.0, 5.0, 20.0] {
                    let weights = exponential(z, nodes);
                    for (j, weight) in weights.iter().enumerate().take(n) {
                        let exact = integral(|u| z * (-z * (1.0 - u)).exp() * basis(nodes, j, u));
                        let error = (weight - exact).abs() / z.min(1.0);
                        assert!(error < 1e-9, "{nodes:?} {j} {z}: {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn moments_of_a_long_step_are_rounded_once() {
        // e^−z is nothing beside 1: the moments are 1 and (z − 1)/z.
        for z in (40..200).map(f64::from) {
            assert_eq!(moment(0, z), 1.0, "{z}");
            // (z − 1)/z lies in [1/2, 1), whose numbers are 2⁻⁵³ apart; 1/z is rounded, too.
            let error = moment(1, z).mul_add(z, 1.0 - z) / z;
            assert!(
                error.abs() < 0.52 * num_traits::pow(0.5, 53),
                "{z}: {error:e}"
            );
        }
        for k in 0..MAX_NODES {
            assert_eq!(moment(k, f64::INFINITY), 1.0, "{k}");
            assert_eq!(moment(k, f64::MAX), 1.0, "{k}");
        }
    }
}
