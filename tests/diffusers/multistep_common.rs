//! The multistep classes: their names, a table by its products, and what tests ask of a sampler.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, Defect, Request, SchedulerConfig, Value};

pub(crate) const DPM: &str = "DPMSolverMultistepScheduler";
pub(crate) const SINGLE: &str = "DPMSolverSinglestepScheduler";
pub(crate) const UNIPC: &str = "UniPCMultistepScheduler";
pub(crate) const DEIS: &str = "DEISMultistepScheduler";
pub(crate) const SA: &str = "SASolverScheduler";
pub(crate) const EDM: &str = "EDMDPMSolverMultistepScheduler";
pub(crate) const COSINE: &str = "CosineDPMSolverMultistepScheduler";
/// Those that know tables and flows.
pub(crate) const TABLES: [&str; 5] = [DPM, SINGLE, UNIPC, DEIS, SA];

pub(crate) type Fields<'a> = &'a [(&'a str, Value)];

/// Stable Diffusion's table, and these fields.
pub(crate) fn config(class: &str, fields: Fields<'_>) -> SchedulerConfig {
    let text = r#"{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}"#;
    let config = SchedulerConfig::from_json(text).expect("the text is JSON");
    let fields = fields.iter().cloned();
    fields.fold(config.with_class(class), |config, (name, value)| {
        config.with_field(name, value)
    })
}

pub(crate) fn read(class: &str, fields: Fields<'_>, request: &Request) -> Configured {
    let read = config(class, fields).sampler(request);
    read.unwrap_or_else(|error| panic!("{class} {fields:?}: {error}"))
}

pub(crate) fn in_steps(class: &str, fields: Fields<'_>, steps: usize) -> Configured {
    read(class, fields, &Request::steps(steps))
}

pub(crate) fn refused(class: &str, fields: Fields<'_>, request: &Request) -> Error {
    match config(class, fields).sampler(request) {
        Ok(_) => panic!("{class} {fields:?} is read"),
        Err(error) => error,
    }
}

/// ρ at the indices of Stable Diffusion's table, by the products themselves.
pub(crate) fn rhos() -> Vec<f64> {
    let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
    let mut log = 0.0;
    let rho = |i: u32| {
        let root = first + (last - first) * f64::from(i) / 999.0;
        log += (-root * root).ln_1p();
        (-f64::exp_m1(log) / log.exp()).sqrt()
    };
    (0..1000).map(rho).collect()
}

/// The index, linear in ln ρ between two, at which the table has this ρ.
pub(crate) fn index(rho: f64) -> f64 {
    let table = rhos();
    let above = table.iter().position(|&entry| entry > rho);
    let high = above.unwrap_or(999).max(1);
    let (a, b) = (table[high - 1].ln(), table[high].ln());
    (high - 1) as f64 + ((rho.ln() - a) / (b - a)).clamp(0.0, 1.0)
}

pub(crate) fn close(ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{ours:?} {expected:?}");
    for (a, b) in ours.iter().zip(expected) {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "{ours:?} {expected:?}"
        );
    }
}

/// The number of older estimates in each step.
pub(crate) fn older(configured: &Configured) -> Vec<usize> {
    let steps = configured.sampler().plan().steps().iter();
    steps
        .map(|step| step.stages[0].update.history.len())
        .collect()
}

pub(crate) fn mentions(configured: &Configured, word: &str) -> bool {
    configured
        .report()
        .notes
        .iter()
        .any(|note| note.contains(word))
}

pub(crate) fn names(defects: &[(Defect, bool)]) -> Vec<Defect> {
    defects.iter().map(|&(defect, _)| defect).collect()
}
