//! The multistep classes on flows.

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Defect, Request, Value};

use super::common::{golden, numbers};
use super::multistep_common::{
    DEIS, DPM, SA, SINGLE, TABLES, UNIPC, close, in_steps, read, refused,
};

fn flow(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let fields = [
        ("use_flow_sigmas", Value::from(true)),
        ("prediction_type", "flow_prediction".into()),
    ];
    fields.into_iter().chain(more.iter().cloned()).collect()
}

fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

#[test]
fn unipcs_list_starts_at_one_and_that_of_the_others_below() {
    let shift = 3.0;
    let fields = flow(&[("flow_shift", shift.into())]);
    for class in TABLES {
        let steps = 7;
        let part = |k: usize| k as f64 / steps as f64;
        let sigma = |k: usize| match class {
            UNIPC => 1.0 - 0.999 * part(k),
            _ => 0.999 * part(steps - k),
        };
        let expected: Vec<f64> = (0..steps).map(|k| shifted(sigma(k), shift)).collect();
        let configured = in_steps(class, &fields, steps);
        close(&configured.sigmas()[..steps], &expected, 1e-14);
        let times: Vec<f64> = expected
            .iter()
            .map(|sigma| (1000.0 * sigma).floor())
            .collect();
        let called = configured.times().len();
        assert_eq!(configured.times(), &times[..called], "{class}");
        for level in configured.grid().levels() {
            assert!((level.alpha() + level.sigma() - 1.0).abs() < 1e-15);
        }
    }
}

#[test]
fn a_first_sigma_of_one_stays_one_unless_asked_otherwise() {
    let fields = flow(&[("flow_shift", 5.0.into())]);
    let ours = in_steps(UNIPC, &fields, 10);
    assert_eq!(ours.grid().start().alpha(), 0.0);
    assert_eq!(ours.times()[0], 1000.0);
    assert_eq!(ours.report().defects, [(Defect::StartsBelowOne, false)]);
    let request = Request::steps(10).reproducing(Defect::StartsBelowOne);
    let theirs = read(UNIPC, &fields, &request);
    close(&theirs.sigmas()[..1], &[1.0 - 1e-6], 1e-16);
    assert_eq!(theirs.times()[0], 999.0);
    assert_eq!(theirs.sigmas()[1..], ours.sigmas()[1..]);
    assert!(in_steps(DPM, &fields, 10).report().defects.is_empty());
}

#[test]
fn a_dynamic_shift_is_that_of_mu() {
    let dynamic = flow(&[("use_dynamic_shifting", true.into())]);
    for class in [DPM, SINGLE, DEIS, UNIPC] {
        let given = read(class, &dynamic, &Request::steps(6).mu(0.8));
        let fixed = in_steps(class, &flow(&[("flow_shift", 0.8f64.exp().into())]), 6);
        close(&given.sigmas(), &fixed.sigmas(), 1e-14);
        // The line through (256, 0.5) and (4096, 1.15).
        let tokens = read(class, &dynamic, &Request::steps(6).image_tokens(2176));
        let middle = read(class, &dynamic, &Request::steps(6).mu(0.825));
        close(&tokens.sigmas(), &middle.sigmas(), 1e-13);
        // Where the shift is not dynamic, it has no effect, and the report says so.
        let unused = read(class, &flow(&[]), &Request::steps(6).mu(0.8));
        assert_eq!(unused.report().unused, ["mu"], "{class}");
    }
    let linear = flow(&[
        ("use_dynamic_shifting", true.into()),
        ("time_shift_type", "linear".into()),
    ]);
    let given = read(UNIPC, &linear, &Request::steps(6).mu(0.8));
    let fixed = in_steps(UNIPC, &flow(&[("flow_shift", 0.8.into())]), 6);
    close(&given.sigmas(), &fixed.sigmas(), 1e-14);
    let error = refused(DPM, &linear, &Request::steps(6).mu(0.8));
    assert!(
        matches!(
            error,
            Error::UnsupportedField {
                field: "time_shift_type",
                ..
            }
        ),
        "{error}"
    );
    // UniPC needs it; the others take the file's shift.
    let error = refused(UNIPC, &dynamic, &Request::steps(6));
    assert!(matches!(error, Error::RequestIncomplete { .. }), "{error}");
    assert_eq!(
        in_steps(DPM, &dynamic, 6).sigmas(),
        in_steps(DPM, &flow(&[]), 6).sigmas()
    );
}

#[test]
fn a_list_is_stretched_to_its_terminal_sigma() {
    let plain = in_steps(UNIPC, &flow(&[]), 6).sigmas();
    let stretched = in_steps(UNIPC, &flow(&[("shift_terminal", 0.1.into())]), 6).sigmas();
    assert!((stretched[5] - 0.1).abs() < 1e-15);
    // Distances from 1 keep their ratios.
    for (before, after) in plain[..6].iter().zip(&stretched[..6]) {
        let factor = 0.9 / (1.0 - plain[5]);
        assert!(((1.0 - after) - factor * (1.0 - before)).abs() < 1e-15);
    }
    for off in [Value::Null, false.into()] {
        assert_eq!(
            in_steps(UNIPC, &flow(&[("shift_terminal", off)]), 6).sigmas(),
            plain
        );
    }
}

#[test]
fn unipc_takes_a_list_of_sigma_and_shifts_it() {
    let fields = flow(&[("flow_shift", 2.0.into())]);
    let list = [0.9, 0.6, 0.2];
    let configured = read(UNIPC, &fields, &Request::of_sigmas(&list));
    let expected: Vec<f64> = list
        .iter()
        .map(|&sigma| shifted(sigma, 2.0))
        .chain([0.0])
        .collect();
    close(&configured.sigmas(), &expected, 1e-15);
    let uniform = read(UNIPC, &flow(&[]), &Request::steps(4).uniform_sigmas());
    assert_eq!(uniform.sigmas(), [1.0, 0.75, 0.5, 0.25, 0.0]);
    assert!(uniform.report().unused.is_empty());
    for class in [DPM, SINGLE, DEIS, SA] {
        let error = refused(class, &fields, &Request::of_sigmas(&list));
        assert!(
            matches!(
                error,
                Error::RequestRefused {
                    what: "list of sigmas",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn unipcs_karras_ramp_is_one_of_rho_also_on_a_flow() {
    let karras = ("use_karras_sigmas", Value::from(true));
    let (on_flow, on_table) = (
        in_steps(UNIPC, &flow(std::slice::from_ref(&karras)), 6),
        in_steps(UNIPC, &[karras], 6),
    );
    for (sigma, rho) in on_flow.sigmas().iter().zip(on_table.sigmas()) {
        assert!((sigma - rho / (1.0 + rho)).abs() < 1e-14);
    }
}

#[test]
fn in_float32_rounds_each_sigma_once() {
    let fields = flow(&[("flow_shift", 3.0.into())]);
    for class in [DPM, UNIPC] {
        let exact = in_steps(class, &fields, 9);
        let rounded = read(class, &fields, &Request::steps(9).in_float32());
        let expected: Vec<f64> = exact
            .sigmas()
            .iter()
            .map(|&sigma| f64::from(sigma as f32))
            .collect();
        assert_eq!(rounded.sigmas(), expected, "{class}");
        assert_eq!(rounded.times(), exact.times());
    }
}

#[test]
fn in_float32_a_flows_sigmas_are_the_librarys_to_the_last_bit() {
    let mut compared = 0;
    for run in golden() {
        if ![DPM, UNIPC].contains(&run.class.as_str()) || run.config["use_flow_sigmas"] != true {
            continue;
        }
        let request = run.request().as_published().in_float32();
        let configured = run.configured(&request).expect("it is read");
        let stock = numbers(&run.whole["stock_f32"]["sigmas"]);
        let stock: Vec<f64> = stock.iter().map(|&sigma| f64::from(sigma as f32)).collect();
        assert_eq!(
            configured.sigmas(),
            stock,
            "{} in {} steps",
            run.name,
            run.steps
        );
        compared += 1;
    }
    assert!(compared >= 4, "{compared}");
}
