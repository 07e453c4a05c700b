//! Every table of betas, in `f64` and in torch's `f32`, against its formula.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, Request};

use super::multistep_common::{Fields, read};

/// Neither they nor their differences are numbers of `f32`.
const ENDS: (f64, f64) = (1e-4, 0.02);
const COUNT: usize = 12;

/// The level's α² at every index.
fn products(configured: &Configured) -> Result<Vec<f64>, Error> {
    let schedule = configured.schedule().expect("a table");
    let count = schedule.table_len().expect("a table");
    let level = |index: usize| schedule.level(index as f64);
    (1..=count)
        .map(|index| level(index).map(|level| level.alpha().powi(2)))
        .collect()
}

fn table(name: &str, count: usize, float32: bool) -> Configured {
    let fields: Fields<'_> = &[
        ("beta_schedule", name.into()),
        ("beta_start", ENDS.0.into()),
        ("beta_end", ENDS.1.into()),
        ("num_train_timesteps", count.into()),
    ];
    let request = Request::steps(1);
    let request = match float32 {
        true => request.in_float32(),
        false => request,
    };
    read("EulerDiscreteScheduler", fields, &request)
}

/// torch.linspace in `f32`: from the nearer end, product and sum in one rounding.
fn linspace(first: f64, last: f64, count: usize) -> Vec<f32> {
    let (first, last) = (first as f32, last as f32);
    let step = match count {
        1 => 0.0,
        _ => (last - first) / (count - 1) as f32,
    };
    let value = |i: usize| match i < count / 2 || count == 1 {
        true => step.mul_add(i as f32, first),
        false => (-step).mul_add((count - 1 - i) as f32, last),
    };
    (0..count).map(value).collect()
}

/// The library's functions of u = t/T, of which ratios are 1 − β.
fn alpha_bar(name: &str) -> Option<fn(f64) -> f64> {
    match name {
        "squaredcos_cap_v2" => Some(|u| {
            ((u + 0.008) / 1.008 * std::f64::consts::PI / 2.0)
                .cos()
                .powi(2)
        }),
        "exp" => Some(|u| (-12.0 * u).exp()),
        "laplace" => Some(|u| {
            // copysign(1, ½ − u), which is + at ½.
            let sign = if u <= 0.5 { 1.0 } else { -1.0 };
            let log = -0.5 * sign * (1.0 - 2.0 * (0.5 - u).abs() + 1e-6).ln();
            (log.exp() / (1.0 + log.exp())).sqrt()
        }),
        _ => None,
    }
}

fn betas(name: &str, count: usize) -> Vec<f32> {
    let (start, end) = ENDS;
    if let Some(bar) = alpha_bar(name) {
        let at = |knot: usize| bar(knot as f64 / count as f64);
        let beta = |i: usize| (1.0 - at(i + 1) / at(i)).min(0.999) as f32;
        return (0..count).map(beta).collect();
    }
    match name {
        "linear" => linspace(start, end, count),
        "scaled_linear" => {
            let roots = linspace(start.sqrt(), end.sqrt(), count);
            roots.into_iter().map(|root| root * root).collect()
        }
        _ => {
            let logistic = |z: f32| 1.0 / (1.0 + (-f64::from(z)).exp() as f32);
            let places = linspace(-6.0, 6.0, count).into_iter();
            places
                .map(|z| logistic(z) * (end - start) as f32 + start as f32)
                .collect()
        }
    }
}

const NAMES: [&str; 6] = [
    "linear",
    "scaled_linear",
    "sigmoid",
    "squaredcos_cap_v2",
    "exp",
    "laplace",
];

#[test]
fn a_table_in_f32_is_made_of_betas_in_f32() -> Result<(), Error> {
    for name in NAMES {
        for count in [1, 2, COUNT, COUNT + 1, 1000] {
            // Accumulated in f64, each product rounded.
            let mut product = 1.0;
            let expected = betas(name, count).into_iter().map(|beta| {
                product *= f64::from(1.0 - beta);
                product as f32
            });
            let expected: Vec<f32> = expected.collect();
            let found = products(&table(name, count, true))?;
            let found: Vec<f32> = found.into_iter().map(|product| product as f32).collect();
            assert_eq!(found, expected, "{name} of {count}");
        }
    }
    Ok(())
}

/// The ratios multiply to ᾱ itself, up to the first β that is cut at 0.999.
#[test]
fn a_table_by_a_function_has_its_values() -> Result<(), Error> {
    for name in NAMES {
        let Some(bar) = alpha_bar(name) else {
            continue;
        };
        let found = products(&table(name, COUNT, false))?;
        let at = |knot: usize| bar(knot as f64 / COUNT as f64);
        let cut = |&knot: &usize| 1.0 - at(knot) / at(knot - 1) > 0.999;
        let whole = (1..=COUNT).find(cut).unwrap_or(COUNT + 1);
        assert!(whole >= COUNT);
        for knot in 1..whole {
            let expected = at(knot) / at(0);
            let ratio = found[knot - 1] / expected;
            assert!((ratio - 1.0).abs() < 1e-12, "{name} at {knot}: {ratio}");
        }
    }
    Ok(())
}
