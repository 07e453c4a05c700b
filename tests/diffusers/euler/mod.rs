//! The classes that come from k-diffusion, field by field, against independent formulas.

mod edm;
mod lists;
mod refused;
mod steps;

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, Defect, Request, SchedulerConfig};
use serde_json::{Value, json};

type Outcome = Result<(), Error>;

/// The table of Stable Diffusion, with further fields.
fn config(class: &str, fields: Value) -> SchedulerConfig {
    let mut all = json!({
        "_class_name": format!("{class}Scheduler"),
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012
    });
    for (name, value) in fields.as_object().expect("an object") {
        all[name] = value.clone();
    }
    SchedulerConfig::from_json(&all.to_string()).expect("the text is JSON")
}

fn configured(class: &str, fields: Value, request: &Request) -> Result<Configured, Error> {
    config(class, fields).sampler(request)
}

/// ρ of every index of that table.
fn table() -> Vec<f64> {
    let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
    let mut log = 0.0;
    let rhos = (0..1000).map(|index| {
        let root = first + (last - first) * index as f64 / 999.0;
        log += (-root * root).ln_1p();
        // ρ² = (1 − ᾱ)/ᾱ.
        (-log).exp_m1().sqrt()
    });
    rhos.collect()
}

/// ρ at a fractional index, linear between its neighbours.
fn at(index: f64) -> f64 {
    let table = table();
    let below = index.floor();
    let share = index - below;
    match share == 0.0 {
        true => table[below as usize],
        false => {
            let (low, high) = (table[below as usize], table[below as usize + 1]);
            low + share * (high - low)
        }
    }
}

/// The index at which ln ρ has its value, linear between its neighbours', clipped at the ends.
fn index_of(rho: f64) -> f64 {
    let table = table();
    let upper = table.partition_point(|&other| other < rho);
    if upper == 0 {
        return 0.0;
    }
    if upper == table.len() {
        return 999.0;
    }
    let (low, high) = (table[upper - 1].ln(), table[upper].ln());
    (upper - 1) as f64 + (rho.ln() - low) / (high - low)
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?}, not {expected:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{a}, not {b}");
    }
}

fn defects(configured: &Configured) -> Vec<Defect> {
    let defects = configured.report().defects.iter();
    defects.map(|&(defect, _)| defect).collect()
}

/// Whether it is the error of this field.
fn names_field(result: Result<Configured, Error>, name: &str) {
    match result {
        Err(Error::UnsupportedField { field, .. } | Error::InvalidField { field, .. }) => {
            assert_eq!(field, name);
        }
        Err(Error::UnknownName { kind, .. }) => assert_eq!(kind, name),
        other => panic!("{name}: {:?}", other.map(|_| "no error")),
    }
}

const ALL: [&str; 7] = [
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DPMSolverSDE",
];

const WITH_RAMPS: [&str; 6] = [
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DPMSolverSDE",
];
