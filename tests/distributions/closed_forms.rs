//! The guided flow against its differential equation, and the tilted density against its
//! definition.

use diffusion_sampler::{
    Error, NoiseLevel,
    moments::GuidedGaussian,
    oracle::{Gaussian, Oracle},
    schedule::{NoiseSchedule, RectifiedFlow},
};

use super::common::{Outcome, difference, gaussians};

/// A variance-preserving level.
fn level(lambda: f64) -> Result<NoiseLevel, Error> {
    let log_alpha = -0.5 * (-2.0 * lambda).exp().ln_1p();
    NoiseLevel::from_logs(1.0 - 0.01 * lambda, log_alpha, log_alpha - lambda)
}

/// One part: weight, mean and variance.
type Part = (f64, f64, f64);

fn guided(parts: &[Part]) -> Result<GuidedGaussian, Error> {
    let weights: Vec<f64> = parts.iter().map(|p| p.0).collect();
    let gaussians = parts.iter().map(|p| Gaussian::isotropic(&[p.1], p.2));
    GuidedGaussian::new(&weights, gaussians.collect::<Result<_, _>>()?)
}

/// dx/dλ = σ²x − σE with α² + σ² = 1 and E = Σ s_i σ(x − αm_i)/(α²v_i + σ²), in small steps of the
/// classical Runge–Kutta method; written out here, not taken from the crate.
fn solved(parts: &[Part], start: f64, (from, to): (f64, f64), steps: usize) -> f64 {
    let velocity = |lambda: f64, x: f64| {
        let a2 = 1.0 / (1.0 + (-2.0 * lambda).exp());
        let s2 = 1.0 - a2;
        let noise: f64 = parts
            .iter()
            .map(|(s, m, v)| s * (x - a2.sqrt() * m) / (a2 * v + s2))
            .sum();
        s2 * (x - noise)
    };
    let h = (to - from) / steps as f64;
    (0..steps).fold(start, |x, k| {
        let lambda = from + h * k as f64;
        let k1 = velocity(lambda, x);
        let k2 = velocity(lambda + 0.5 * h, x + 0.5 * h * k1);
        let k3 = velocity(lambda + 0.5 * h, x + 0.5 * h * k2);
        let k4 = velocity(lambda + h, x + h * k3);
        x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    })
}

const CASES: [&[Part]; 5] = [
    &[(1.0, 0.7, 0.3)],
    &[(2.0, 1.0, 0.25), (-1.0, -0.5, 1.0)],
    &[(5.0, 1.0, 0.25), (-4.0, 0.0, 1.0)],
    &[(3.5, -2.0, 0.01), (-2.5, 1.0, 4.0)],
    &[(2.0, 1.0, 0.3), (1.5, -1.0, 0.5), (-2.5, 0.2, 1.3)],
];

#[test]
fn the_guided_flow_solves_its_differential_equation() -> Outcome {
    for parts in CASES {
        for (from, to) in [(-3.0, 3.0), (-1.0, 1.5), (2.0, -2.0)] {
            // The map is affine: two starts say all. The equation is solved to some 1e-12.
            let ends = [0.0, 1.0].map(|x| solved(parts, x, (from, to), 20_000));
            let initial = Gaussian::isotropic(&[0.4], 0.49)?;
            let found = guided(parts)?.flow(&initial, &level(from)?, &level(to)?)?;
            let slope = ends[1] - ends[0];
            let mean = ends[0] + slope * 0.4;
            let size = mean.abs().max(1.0);
            assert!(
                (found.mean()[0] - mean).abs() < 2e-12 * size,
                "{parts:?} {from} {to}: {} {mean}",
                found.mean()[0]
            );
            let miss = found.variances()[0].sqrt() - slope.abs() * 0.7;
            assert!(miss.abs() < 2e-12 * size, "{parts:?} {from} {to}: {miss:e}");
        }
    }
    Ok(())
}

#[test]
fn guided_flows_compose_and_return() -> Outcome {
    for parts in CASES {
        let flow = guided(parts)?;
        let initial = Gaussian::isotropic(&[0.4], 0.49)?;
        let [far, middle, near] = [level(-4.0)?, level(0.3)?, level(5.0)?];
        let whole = flow.flow(&initial, &far, &near)?;
        let half = flow.flow(&initial, &far, &middle)?;
        let halves = flow.flow(&half, &middle, &near)?;
        assert!(difference(&whole, &halves) < 1e-13, "{parts:?}");
        let back = flow.flow(&half, &middle, &far)?;
        assert!(difference(&initial, &back) < 1e-12, "{parts:?}");
    }
    Ok(())
}

#[test]
fn the_flow_of_one_part_is_the_gaussians_own_across_axes_and_at_both_ends() -> Outcome {
    let data = &gaussians()?[0];
    let flow = GuidedGaussian::new(&[1.0], vec![data.clone()])?;
    let schedule = RectifiedFlow::new();
    let (noise, clean) = (schedule.level(1.0)?, schedule.level(0.0)?);
    assert!(noise.alpha() == 0.0 && clean.sigma() == 0.0);
    let initial = Gaussian::centred(3, 1.0)?;
    let end = flow.flow(&initial, &noise, &clean)?;
    assert!(difference(&end, data) < 1e-14);
    // The same weights split in two parts of one Gaussian.
    let split = GuidedGaussian::new(&[1.7, -0.7], vec![data.clone(), data.clone()])?;
    let same = split.flow(&initial, &noise, &clean)?;
    assert!(difference(&same, data) < 1e-14);
    // A whole number of standard deviations stays one.
    let (mid, mut out) = (schedule.level(0.4)?, [0.0; 3]);
    data.flow(&[0.3, -0.2, 0.9], &noise, &mid, &mut out)?;
    let point = Gaussian::isotropic(&[0.3, -0.2, 0.9], 0.0)?;
    let found = flow.flow(&point, &noise, &mid)?;
    for (found, expected) in found.mean().iter().zip(out) {
        assert!((found - expected).abs() < 1e-14);
    }
    Ok(())
}

#[test]
fn guided_from_pure_noise_to_clean_is_the_limit_of_finite_ends() -> Outcome {
    let parts = CASES[1];
    let (flow, initial) = (guided(parts)?, Gaussian::centred(1, 1.0)?);
    let noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
    let whole = flow.flow(&initial, &noise, &NoiseLevel::clean())?;
    let mut last = f64::INFINITY;
    for reach in [4.0, 6.0, 8.0, 10.0] {
        let finite = flow.flow(&initial, &level(-reach)?, &level(reach)?)?;
        let miss = difference(&whole, &finite);
        // α at the noisy end is e^−λ: the miss falls as it does.
        assert!(
            miss < last && miss < 6.0 * (-reach).exp(),
            "{reach}: {miss:e}"
        );
        last = miss;
    }
    let factor = (0.25f64.powi(2) / 1.0).sqrt();
    assert!((whole.variances()[0].sqrt() - factor).abs() < 1e-14);
    Ok(())
}

#[test]
fn a_tilted_density_is_the_product_of_powers_of_the_others() -> Outcome {
    let all = gaussians()?;
    let guided = GuidedGaussian::new(&[2.0, -0.4, -0.6], all.clone())?;
    let shared = GuidedGaussian::new(
        &[1.5, -0.5],
        vec![
            Gaussian::diagonal(&[1.0, 2.0, 0.0], &[0.3, 0.5, 1.0])?,
            Gaussian::diagonal(&[0.0, 1.0, -1.0], &[1.0, 2.0, 1.5])?,
        ],
    )?;
    let cases = [
        (guided, vec![2.0, -0.4, -0.6], all),
        (
            shared,
            vec![1.5, -0.5],
            vec![
                Gaussian::diagonal(&[1.0, 2.0, 0.0], &[0.3, 0.5, 1.0])?,
                Gaussian::diagonal(&[0.0, 1.0, -1.0], &[1.0, 2.0, 1.5])?,
            ],
        ),
    ];
    for (guided, weights, parts) in cases {
        for at in [NoiseLevel::clean(), level(0.2)?, level(-2.0)?] {
            let Ok(tilted) = guided.tilted(&at) else {
                return Err(format!("no density at {at}").into());
            };
            // ln p − Σ s_i ln p_i is one constant.
            let excess = |x: &[f64]| -> Result<f64, Error> {
                let mut sum = tilted.log_density(x, &NoiseLevel::clean())?;
                for (s, part) in weights.iter().zip(&parts) {
                    sum -= s * part.log_density(x, &at)?;
                }
                Ok(sum)
            };
            let constant = excess(&[0.0; 3])?;
            for x in [[1.0, 0.0, 0.0], [-1.0, 2.0, 0.5], [0.3, -0.7, 4.0]] {
                assert!((excess(&x)? - constant).abs() < 1e-11);
            }
        }
    }
    Ok(())
}

#[test]
fn the_tilted_density_is_not_what_the_flow_samples_nor_what_noise_makes_of_it() -> Outcome {
    let guided = guided(&[(2.0, 0.0, 0.25), (-1.0, 0.0, 1.0)])?;
    let (noise, clean) = (NoiseLevel::new(1.0, 0.0, 1.0)?, NoiseLevel::clean());
    let sampled = guided.flow(&Gaussian::centred(1, 1.0)?, &noise, &clean)?;
    let tilted = guided.tilted(&clean)?;
    assert!((sampled.variances()[0] - 1.0 / 16.0).abs() < 1e-15);
    assert!((tilted.variances()[0] - 1.0 / 7.0).abs() < 1e-15);
    let at = level(0.0)?;
    let (product, noised) = (guided.tilted(&at)?, tilted.at_level(&at)?);
    // ½·¼ + ½ = .625, ½ + ½ = 1: 1/(2/.625 − 1) against ½/7 + ½.
    assert!((product.variances()[0] - 1.0 / 2.2).abs() < 1e-14);
    assert!((noised.variances()[0] - 4.0 / 7.0).abs() < 1e-14);
    Ok(())
}

#[test]
fn what_has_no_density_is_refused() -> Outcome {
    // Away from what is narrower: 2/1 − 1/0.25 < 0.
    let wide = guided(&[(2.0, 0.0, 1.0), (-1.0, 0.0, 0.25)])?;
    let clean = NoiseLevel::clean();
    assert!(matches!(
        wide.tilted(&clean),
        Err(Error::NoTiltedDensity { axis: 0, precision }) if precision == -2.0
    ));
    // With enough noise the product has an integral again: the marginals are alike.
    assert!(wide.tilted(&level(-3.0)?).is_ok());
    let all = gaussians()?;
    let across = GuidedGaussian::new(&[5.0, -4.0], vec![all[1].clone(), all[0].clone()])?;
    assert!(matches!(
        across.tilted(&clean),
        Err(Error::NoTiltedDensity { .. })
    ));
    assert!(matches!(
        across.flow(&all[2], &level(-3.0)?, &clean),
        Err(Error::AxesDiffer { .. })
    ));
    let point = guided(&[(1.0, 0.0, 0.0)])?;
    let refused = Error::InvalidEntry {
        name: "variances",
        index: 0,
        value: 0.0,
        requirement: "positive where a density is needed",
    };
    assert_eq!(point.tilted(&clean), Err(refused.clone()));
    let initial = Gaussian::centred(1, 1.0)?;
    assert_eq!(point.flow(&initial, &level(-3.0)?, &clean), Err(refused));
    for weights in [
        [1.0, 1.0],
        [f64::NAN, 1.0],
        [f64::INFINITY, f64::NEG_INFINITY],
    ] {
        let parts = vec![initial.clone(), initial.clone()];
        assert!(matches!(
            GuidedGaussian::new(&weights, parts),
            Err(Error::InvalidParameter { .. })
        ));
    }
    assert!(GuidedGaussian::new(&[1.0], vec![]).is_err());
    assert!(GuidedGaussian::new(&[], vec![]).is_err());
    Ok(())
}
