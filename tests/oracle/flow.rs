//! The exact map of the probability-flow ODE on Gaussian data.

use diffusion_sampler::{
    Error, NoiseLevel,
    oracle::{Gaussian, Oracle},
};
use proptest::prelude::*;

use crate::specimens::*;

fn flow(data: &Gaussian, x: &[f64], from: &NoiseLevel, to: &NoiseLevel) -> Vec<f64> {
    let mut out = vec![f64::NAN; x.len()];
    data.flow(x, from, to, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn flows_compose_and_invert(
        x in prop::collection::vec(-4.0f64..4.0, 3),
        angles in prop::collection::vec(0.0f64..=1.0, 3),
    ) {
        // Any three levels of a variance-preserving path, its ends included.
        let data = correlated();
        let [t, u, s] = [angles[0], angles[1], angles[2]]
            .map(|a| NoiseLevel::variance_preserving(a, (1.0 - a).ln() * 3.0).unwrap());
        let direct = flow(&data, &x, &t, &s);
        let through = flow(&data, &flow(&data, &x, &t, &u), &u, &s);
        let back = flow(&data, &direct, &s, &t);
        for i in 0..3 {
            prop_assert!((direct[i] - through[i]).abs() < 1e-13 * (1.0 + direct[i].abs()));
            prop_assert!((x[i] - back[i]).abs() < 1e-13 * (1.0 + x[i].abs()));
        }
    }
}

#[test]
fn the_flow_solves_the_probability_flow_ode() {
    // dx/dθ = α' D + σ' E along α = cos θ, σ = 2 sin θ, by the classical Runge–Kutta method.
    let data = correlated();
    let at = |angle: f64| level(angle.cos(), 2.0 * angle.sin());
    let slope = |angle: f64, x: &[f64]| -> Vec<f64> {
        let level = at(angle);
        let d = data.data_estimate(x, &level).unwrap();
        x.iter()
            .zip(d)
            .map(|(x, d)| {
                let e = (x - level.alpha() * d) / level.sigma();
                -angle.sin() * d + 2.0 * angle.cos() * e
            })
            .collect()
    };
    let (start, end, steps) = (1.3, 0.1, 2000);
    let h = (end - start) / f64::from(steps);
    let first = vec![1.0, -2.0, 0.7];
    let mut x = first.clone();
    let moved = |x: &[f64], k: &[f64], h: f64| -> Vec<f64> {
        x.iter().zip(k).map(|(x, k)| x + h * k).collect()
    };
    for step in 0..steps {
        let angle = start + f64::from(step) * h;
        let k1 = slope(angle, &x);
        let k2 = slope(angle + h / 2.0, &moved(&x, &k1, h / 2.0));
        let k3 = slope(angle + h / 2.0, &moved(&x, &k2, h / 2.0));
        let k4 = slope(angle + h, &moved(&x, &k3, h));
        for i in 0..3 {
            x[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
        }
    }
    assert_close(
        &flow(&data, &first, &at(start), &at(end)),
        &x,
        1e-10,
        "flow",
    );
}

#[test]
fn the_flow_maps_the_law_at_one_level_to_the_law_at_the_other() {
    // Change of variables: ln p_s(flow(x)) − ln p_t(x) = −ln |det|, the same for every x.
    let (data, t, s) = (correlated(), level(0.3, 0.9), level(0.9, 0.2));
    let change = |x: &[f64]| {
        let moved = flow(&data, x, &t, &s);
        data.log_density(&moved, &s).unwrap() - data.log_density(x, &t).unwrap()
    };
    let reference = change(&[0.0; 3]);
    for x in [[1.0, 2.0, 3.0], [-4.0, 0.1, 0.0], [0.0, 0.0, 9.0]] {
        assert!((change(&x) - reference).abs() < 1e-11);
    }
}

#[test]
fn a_flow_cannot_leave_a_point() {
    let data = Gaussian::diagonal(&[1.0, 2.0], &[1.0, 0.0]).unwrap();
    let mut out = [0.0; 2];
    let refused = data.flow(&[0.0, 2.0], &level(1.0, 0.0), &level(0.8, 0.6), &mut out);
    assert!(matches!(
        refused,
        Err(Error::InvalidParameter { name: "sigma", .. })
    ));
    data.flow(&[0.0, 5.0], &level(0.8, 0.6), &level(1.0, 0.0), &mut out)
        .unwrap();
    assert_eq!(out[1], 2.0);
}
