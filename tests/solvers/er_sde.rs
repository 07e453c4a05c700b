//! ER-SDE against its published recurrences, its limits, and its sums against integrals.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::Kappa,
    schedule::{Edm, NoiseSchedule, RectifiedFlow},
    solver::{ErNoise, ErSde, FirstOrder, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const NOISES: [ErNoise; 7] = [
    ErNoise::Ode,
    ErNoise::Sde,
    ErNoise::Power(1.5),
    ErNoise::Power(2.5),
    ErNoise::Reciprocal,
    ErNoise::Logarithmic,
    ErNoise::Exponential,
];

type Scheduled = (Box<dyn NoiseSchedule>, Grid);

/// φ, as the authors' code has it.
fn phi(noise: ErNoise, x: f64) -> f64 {
    match noise {
        ErNoise::Ode => x,
        ErNoise::Sde => x * x,
        ErNoise::Power(power) => x.powf(power),
        ErNoise::Reciprocal => x * ((-1.0 / x).exp() + 10.0),
        ErNoise::Logarithmic => x.powf(0.9) * (1.0 + 100.0 * x.powf(1.5)).log10(),
        _ => x * (x.powf(0.3).exp() + 10.0),
    }
}

/// ∫ f over [low, high] by Romberg's rule in ln.
fn integral(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (from, to) = (low.ln(), high.ln());
    let g = |v: f64| f(v.exp()) * v.exp();
    let trapezoidal = |n: usize| {
        let inner: f64 = (1..n)
            .map(|k| g(from + (to - from) * k as f64 / n as f64))
            .sum();
        (to - from) / n as f64 * (inner + 0.5 * (g(from) + g(to)))
    };
    let mut row: Vec<f64> = (0..9).map(|level| trapezoidal(8 << level)).collect();
    for column in 1..9 {
        let factor = f64::powi(4.0, column);
        row = row
            .windows(2)
            .map(|pair| pair[1] + (pair[1] - pair[0]) / (factor - 1.0))
            .collect();
    }
    row[0]
}

/// A left sum of 200 terms, ComfyUI's.
fn sum_of_200(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / 200.0;
    (0..200).map(|k| f(low + step * f64::from(k))).sum::<f64>() * step
}

type Integral<'a> = &'a dyn Fn(f64, f64, &dyn Fn(f64) -> f64) -> f64;

/// The loop of the published solver, its stages up to `order`; with the Newton form of the third where
/// not `published`.
fn recurrence(
    path: &Path<'_>,
    (noise, order, published, s_noise): (ErNoise, usize, bool, f64),
    integrate: Integral<'_>,
    start: f64,
) -> Vec<f64> {
    let mut x = start;
    let mut old: Vec<(f64, f64)> = Vec::new();
    let mut states = Vec::new();
    for (i, (from, to)) in path.edges().enumerate() {
        let d = denoise(x, &from);
        let (s, t) = (from.rho(), to.rho());
        if t == 0.0 {
            x = to.alpha() * d;
        } else {
            let r = phi(noise, t) / phi(noise, s);
            x = to.alpha() / from.alpha() * r * x + to.alpha() * (1.0 - r) * d;
            let dt = t - s;
            if order >= 2
                && let Some(&(d1, s1)) = old.first()
            {
                let first = integrate(t, s, &|l| 1.0 / phi(noise, l));
                let slope = (d - d1) / (s - s1);
                let weight = dt + first * phi(noise, t);
                x += to.alpha() * weight * slope;
                if order >= 3
                    && let Some(&(d2, s2)) = old.get(1)
                {
                    let second = integrate(t, s, &|l| (l - s) / phi(noise, l));
                    let curvature = (slope - (d1 - d2) / (s1 - s2)) / ((s - s2) / 2.0);
                    let mut factor = dt * dt / 2.0 + second * phi(noise, t);
                    if !published {
                        // (l − s)(l − s₁) in place of (l − s)².
                        factor += 0.5 * (s - s1) * weight;
                    }
                    x += to.alpha() * factor * curvature;
                }
            }
            let variance = t * t - s * s * r * r;
            // As the authors do: what rounding leaves, or a negative variance, is none.
            let variance = if variance < 1e-12 * t * t {
                0.0
            } else {
                variance
            };
            x += to.alpha() * normal(i as u32, 0) * s_noise * variance.sqrt();
        }
        old.insert(0, (d, s));
        states.push(x);
    }
    states
}

#[test]
fn every_noise_and_order_is_the_published_recurrence() -> Outcome {
    let exact = |low: f64, high: f64, f: &dyn Fn(f64) -> f64| integral(low, high, f);
    for noise in NOISES {
        for (order, published) in [(1, false), (2, false), (3, true), (3, false)] {
            let mut solver = ErSde::order(order)?.with_noise(noise)?.with_s_noise(0.9)?;
            if published {
                solver = solver.as_published();
            }
            for steps in [1, 2, 5, 12] {
                for clean in [true, false] {
                    for (schedule, grid) in paths(steps, clean)? {
                        let path = Path::new(&schedule, &grid)?;
                        let start = 0.7 * grid.start().sigma();
                        let ours = states(&path, &solver, start)?;
                        let options = (noise, order, published, 0.9);
                        let theirs = recurrence(&path, options, &exact, start);
                        let place = format!("{solver:?}, {schedule:?}, {steps}, {clean}");
                        // The recurrence subtracts φ_s S and ρ_t − ρ_s, and κ² from 1: its own digits.
                        assert_close(&ours, &theirs, 1e-10, &place);
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn order_one_is_the_kappa_family() -> Outcome {
    let pairs = [
        (ErNoise::Ode, Kappa::Ddim),
        (ErNoise::Sde, Kappa::Ddpm),
        (ErNoise::Power(1.0), Kappa::Ddim),
        (ErNoise::Power(2.0), Kappa::Ddpm),
        (ErNoise::Power(1.25), Kappa::Tau(0.5)),
    ];
    for (schedule, grid) in paths(8, true)?.into_iter().chain([pure_noise()?]) {
        let path = Path::new(&schedule, &grid)?;
        for (noise, kappa) in pairs {
            let ours = ErSde::order(1)?.with_noise(noise)?.plan(&path)?;
            let first = FirstOrder::new(kappa).plan(&path)?;
            for (a, b) in ours.stages().zip(first.stages()) {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-15 * b.abs();
                assert!(near(a.update.state, b.update.state), "{noise:?}");
                assert!(near(a.update.data, b.update.data), "{noise:?}");
                assert!(near(a.update.noise, b.update.noise), "{noise:?}");
            }
        }
    }
    Ok(())
}

/// A flow that starts at α = 0.
fn pure_noise() -> Result<Scheduled, Error> {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 6)?;
    Ok((Box::new(flow), grid))
}

#[test]
fn pure_noise_is_left_with_the_limit_of_kappa() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let rho = grid.levels()[1].rho();
    let reciprocal = ((-1.0 / rho).exp() + 10.0) / 11.0;
    let limits = [1.0, 0.0, 0.0, 0.0, reciprocal, 1.0, 0.0];
    for (noise, kappa) in NOISES.into_iter().zip(limits) {
        let solver = ErSde::order(3)?.with_noise(noise)?;
        let plan = solver.plan(&Path::new(&flow, &grid)?)?;
        let update = &plan.steps()[0].stages[0].update;
        let (to, from) = (grid.levels()[1], grid.levels()[0]);
        let state = to.sigma() / from.sigma() * kappa;
        assert!((update.state - state).abs() < 1e-15, "{noise:?}");
        assert_eq!(update.data, to.alpha());
        let noise_squared = to.sigma() * to.sigma() * (1.0 - kappa * kappa);
        assert!((update.noise * update.noise - noise_squared).abs() < 1e-15);
        assert!(update.store.is_none());
    }
    Ok(())
}

/// With L = ln(1 + e^y), y = ln(100ρ^1.5), ln κ = 0.1h + ln(L_s/L_t): L is e^y where y is far below 0,
/// and over a short edge ln κ is h times its slope.
#[test]
fn the_logarithmic_noise_has_its_digits_at_every_level_and_length() -> Outcome {
    let solver = ErSde::order(1)?.with_noise(ErNoise::Logarithmic)?;
    let y = |lambda: f64| 2.0 * std::f64::consts::LN_10 - 1.5 * lambda;
    let level = |lambda: f64, time: f64| NoiseLevel::from_logs(time, 0.0, -lambda);
    let slope = |lambda: f64| {
        let e = y(lambda).exp();
        0.1 - 1.5 * (e / (1.0 + e)) / e.ln_1p()
    };
    let short = |noisy: f64, h: f64| h * slope(noisy + 0.5 * h);
    let log = |lambda: f64| y(lambda).exp().ln_1p();
    let long = |noisy: f64, h: f64| 0.1 * h + (log(noisy + h) / log(noisy)).ln();
    let cases = [
        (-1.0, 1e-6, None),
        (2.0, 1e-6, None),
        (12.0, 1e-6, None),
        // Far below 0: κ = e^(−1.4h).
        (31.0, 0.5, Some(-0.7)),
        (31.0, 2.0, Some(-2.8)),
        // Where e^y is 0 in f64.
        (520.0, 0.5, Some(-0.7)),
        (-6.5, 3.0, Some(long(-6.5, 3.0))),
        (-6.5, 8.0, Some(long(-6.5, 8.0))),
        (-20.0, 26.0, Some(long(-20.0, 26.0))),
    ];
    for (noisy, h, expected) in cases {
        let levels = vec![level(noisy, 2.0)?, level(noisy + h, 1.0)?];
        let h = levels[1].lambda() - levels[0].lambda();
        let grid = Grid::from_levels(levels, 1.0)?;
        let plan = solver.plan(&Path::without_schedule(&grid))?;
        let (from, to) = (grid.levels()[0], grid.levels()[1]);
        let update = &plan.steps()[0].stages[0].update;
        let expected = expected.unwrap_or_else(|| short(noisy, h)).min(0.0);
        let kappa = update.state * from.sigma() / to.sigma();
        assert!((kappa / expected.exp() - 1.0).abs() < 1e-12, "{noisy}, {h}");
        let noise = to.sigma() * (-(2.0 * expected).exp_m1()).sqrt();
        assert!(
            (update.noise - noise).abs() <= 1e-11 * noise,
            "{noisy}, {h}: {} {noise}",
            update.noise
        );
    }
    Ok(())
}

#[test]
fn kappa_stays_between_zero_and_one_at_any_level() -> Outcome {
    let mut lambdas: Vec<f64> = (-40..=40).map(|k| f64::from(k) * 8.0).collect();
    lambdas.insert(7, -263.0 + 1e-9);
    lambdas.sort_by(f64::total_cmp);
    let levels = lambdas
        .iter()
        .enumerate()
        .map(|(k, lambda)| NoiseLevel::from_logs(1e3 - k as f64, 0.5 * lambda, -0.5 * lambda))
        .collect::<Result<_, _>>()?;
    let grid = Grid::from_levels(levels, 1.0)?;
    for noise in NOISES {
        for order in 1..=3 {
            let plan = ErSde::order(order)?
                .with_noise(noise)?
                .plan(&Path::without_schedule(&grid))?;
            for (stage, edge) in plan.stages().zip(Path::without_schedule(&grid).edges()) {
                let kappa = stage.update.state * edge.0.sigma() / edge.1.sigma();
                assert!((0.0..=1.0 + 1e-12).contains(&kappa), "{noise:?}: {kappa}");
            }
            assert!(
                plan.mean_defect()
                    .unwrap()
                    .iter()
                    .all(|defect| *defect < 1e-12)
            );
        }
    }
    Ok(())
}

#[test]
fn sums_of_200_terms_are_near_the_integrals() -> Outcome {
    // The difference of the weight on D's slope, in units of α_s and of D per step.
    let edm = Edm::default();
    let mut worst = 0.0f64;
    for steps in [10, 20, 50] {
        let grid = Grid::karras(&edm, steps, edm.lambda_range(), 7.0)?;
        for pair in grid.levels().windows(2).take(steps - 1) {
            let (s, t) = (pair[0].rho(), pair[1].rho());
            let inverse = |l: f64| 1.0 / phi(ErNoise::Exponential, l);
            let difference = sum_of_200(t, s, inverse) - integral(t, s, inverse);
            let in_steps = phi(ErNoise::Exponential, t) * difference / (s - t);
            worst = worst.max(in_steps.abs());
        }
    }
    assert!((1e-3..2.5e-3).contains(&worst), "{worst:e}");
    Ok(())
}

#[test]
fn options_out_of_range_are_refused() -> Outcome {
    for order in [0, 4] {
        assert!(ErSde::order(order).is_err());
    }
    for power in [0.99, f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(
            ErSde::order(2)?.with_noise(ErNoise::Power(power)),
            Err(Error::InvalidParameter { name: "power", .. })
        ));
    }
    for factor in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(ErSde::order(2)?.with_s_noise(factor).is_err());
    }
    Ok(())
}
