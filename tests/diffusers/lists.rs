//! The lists of σ and of times, against those of the library in its own `f32`.

use diffusion_sampler::diffusers::Configured;
use serde_json::Value;

use super::common::{Run, golden, numbers};
use super::compare::difference;
use super::page::float_steps;

fn configured(run: &Run, float32: bool) -> Configured {
    let request = run.request().as_published();
    let request = match float32 {
        true => request.in_float32(),
        false => request,
    };
    run.configured(&request).expect("a golden run")
}

/// The lists of a golden run, and what the library calls its times.
fn all(float32: bool, check: impl Fn(&Run, &Configured, &Value)) {
    let runs = golden();
    assert_eq!(runs.len(), 68);
    for run in runs {
        let configured = configured(&run, float32);
        check(&run, &configured, &run.whole["stock_f32"]);
    }
}

fn is_flow(run: &Run) -> bool {
    run.class.starts_with("Flow") || run.config["use_flow_sigmas"] == true
}

#[test]
fn whole_number_times_are_the_librarys() {
    all(false, |run, configured, stock| {
        if stock["timesteps_dtype"] != "torch.int64" {
            return;
        }
        let place = format!("{} in {} steps", run.name, run.steps);
        assert_eq!(configured.times(), numbers(&stock["timesteps"]), "{place}");
    });
}

#[test]
fn lists_of_flows_in_f32_are_the_librarys_to_the_last_bit() {
    all(true, |run, configured, stock| {
        if !is_flow(run) {
            return;
        }
        let place = format!("{} in {} steps", run.name, run.steps);
        let of = |ours: &[f64], name: &str| float_steps(ours, &stock[name]);
        assert_eq!(of(&configured.sigmas(), "sigmas"), Some(0), "{place}");
        assert_eq!(of(configured.times(), "timesteps"), Some(0), "{place}");
    });
}

#[test]
fn lists_of_flows_in_f64_differ_in_the_last_bits_of_an_f32_only() {
    all(false, |run, configured, stock| {
        if !is_flow(run) {
            return;
        }
        // A stretch to a terminal σ cancels 1 − σ.
        let most = match run.config["shift_terminal"].is_number() {
            true => 10,
            false => 2,
        };
        let place = format!("{} in {} steps", run.name, run.steps);
        let of = |ours: &[f64], name: &str| float_steps(ours, &stock[name]);
        assert!(of(&configured.sigmas(), "sigmas") <= Some(most), "{place}");
        assert!(of(configured.times(), "timesteps") <= Some(most), "{place}");
    });
}

#[test]
fn sigmas_of_tables_are_the_librarys_up_to_its_rounding() {
    all(false, |run, configured, stock| {
        if is_flow(run) || stock["sigmas"].is_null() {
            return;
        }
        let place = format!("{} in {} steps", run.name, run.steps);
        let ours = configured.sigmas();
        let theirs = numbers(&stock["sigmas"]);
        let (theirs, beyond) = theirs.split_at(ours.len());
        // A last step of the library that changes nothing is left out.
        assert!(
            beyond.iter().all(|last| Some(last) == theirs.last()),
            "{place}"
        );
        let errors = ours.iter().zip(theirs).map(|(a, b)| match b {
            0.0 => a.abs(),
            b => (a - b).abs() / b,
        });
        assert!(errors.fold(0.0, f64::max) < 2e-5, "{place}");
    });
}

#[test]
fn sigmas_of_tables_in_f32_are_the_librarys_to_one_bit() {
    all(true, |run, configured, stock| {
        if is_flow(run) || stock["sigmas"].is_null() {
            return;
        }
        // Zero terminal SNR subtracts nearly equal numbers.
        let most = match run.config["rescale_betas_zero_snr"] == true {
            true => 28,
            false => 1,
        };
        let place = format!("{} in {} steps", run.name, run.steps);
        let steps = float_steps(&configured.sigmas(), &stock["sigmas"]);
        assert!(steps <= Some(most), "{place}: {steps:?}");
    });
}

#[test]
fn fractional_times_of_tables_are_the_librarys() {
    all(false, |run, configured, stock| {
        if is_flow(run) || stock["timesteps_dtype"] != "torch.float32" {
            return;
        }
        let place = format!("{} in {} steps", run.name, run.steps);
        let theirs = numbers(&stock["timesteps"]);
        let error = difference(configured.times(), &theirs);
        assert!(error < 1e-7, "{place}: {error:e}");
    });
}

#[test]
fn the_first_state_has_the_librarys_size() {
    all(false, |run, configured, stock| {
        let place = format!("{} in {} steps", run.name, run.steps);
        let theirs = stock["init_noise_sigma"].as_f64().expect("a number");
        let ours = configured.init_noise_sigma();
        assert!((ours - theirs).abs() < 2e-6 * theirs, "{place}: {ours}");
        let start = configured.grid().start();
        let factor = configured.state_factor(&start);
        let deviation = configured.sampler().start_variance().sqrt();
        assert!((deviation * factor - ours).abs() < 1e-12 * ours, "{place}");
    });
}
