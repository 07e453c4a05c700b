//! Integrals that have no closed form, to rounding.

/// Positive nodes and weights of the Gauss–Legendre rule with eight nodes on \[−1, 1\].
const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// ∫₀ᵉ f, e = `end` > 0 and finite, on panels of at most ½.
///
/// For a function that is analytic within π/2 of the real axis, as those of ln ρ here are, a panel's
/// error is 12.6⁻¹⁶ of the function's size there.
pub(crate) fn integral(end: f64, f: impl Fn(f64) -> f64) -> f64 {
    let panels = (2.0 * end).ceil().max(1.0);
    let half = 0.5 * end / panels;
    let panel = |index: usize| {
        let middle = (2 * index + 1) as f64 * half;
        let pair = |&(x, w): &(f64, f64)| w * (f(middle - half * x) + f(middle + half * x));
        NODES.iter().map(pair).sum::<f64>()
    };
    half * (0..panels as usize).map(panel).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::integral;

    #[test]
    fn integrals_are_exact_to_rounding() {
        for end in [1e-9, 0.3, 0.5, 0.51, 3.0, 40.0] {
            let cases = [
                (integral(end, |v| (-v).exp()), -(-end).exp_m1()),
                (integral(end, |v| v.powi(15)), end.powi(16) / 16.0),
                // Poles at ±iπ/2.
                (
                    integral(end, |v| 1.0 / v.cosh()),
                    2.0 * (0.5 * end).tanh().atan(),
                ),
            ];
            for (k, (found, exact)) in cases.into_iter().enumerate() {
                let error = (found / exact - 1.0).abs();
                assert!(error < 2e-14, "{k}, up to {end}: {error:e}");
            }
        }
    }

    #[test]
    fn an_integral_takes_as_few_panels_of_at_most_a_half_as_it_can() {
        for (end, panels) in [
            (1e-9, 1),
            (0.5, 1),
            (0.51, 2),
            (3.0, 6),
            (3.1, 7),
            (40.0, 80),
        ] {
            let calls = std::cell::Cell::new(0);
            integral(end, |_| {
                calls.set(calls.get() + 1);
                1.0
            });
            assert_eq!(calls.get(), 8 * panels, "up to {end}");
        }
    }
}
