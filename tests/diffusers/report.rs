//! What a configured sampler prints.

use diffusion_sampler::diffusers::{self, Defect, Request, pipelines};

const FLUX: &str = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0,
    "use_dynamic_shifting": true, "base_image_seq_len": 256, "base_shift": 0.5,
    "max_image_seq_len": 4096, "max_shift": 1.15}"#;
const SD3: &str = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#;

fn printed(text: &str, request: &Request) -> String {
    let configured = diffusers::sampler(text, request).expect("it is read");
    configured.to_string()
}

fn assert_lines(printed: &str, lines: &[&str]) {
    let mut rest = printed.lines();
    for line in lines {
        assert!(
            rest.any(|printed| printed == *line),
            "no line {line:?}, in this order, in\n{printed}"
        );
    }
}

#[test]
fn the_guide_shows_what_flux_prints() {
    let printed = printed(FLUX, &pipelines::flux(28, 4096));
    let page = include_str!("../../docs/models.md");
    let block = format!("```text\n{printed}```\n");
    assert!(page.contains(&block), "{printed}");
}

#[test]
fn what_the_network_must_do_comes_first() {
    let text = r#"{"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0,
        "sigma_data": 0.5}"#;
    let edm = printed(text, &Request::steps(2));
    assert_lines(
        &edm,
        &[
            "EDMEulerScheduler: 2 steps, 2 calls of the network",
            "  network predicts  EDM (data_std 0.5)",
            // ln(80)/4 and ln(0.002)/4.
            "  it is told times  1.09551 to -1.55365",
            // 1/√(80² + ½²) and 1/√(0.002² + ½²).
            "  its input is      the state times Prediction::input_scale, 0.0124998 to 1.99998",
            "  sigma             80 to 0 (noise over signal)",
        ],
    );
    let z_image = printed(SD3, &pipelines::z_image(1));
    assert_lines(
        &z_image,
        &[
            "FlowMatchEulerDiscreteScheduler: 1 step, 1 call of the network",
            "  network predicts  flow, reversed: data - noise",
            "  it is told times  0 to 0",
            "  its input is      the state as it is",
            "  sigma             1 to 0",
            "  start             normals times 1",
        ],
    );
}

#[test]
fn clipping_is_said_in_words() {
    let ddim = r#"{"_class_name": "DDIMScheduler", "clip_sample_range": 2.0}"#;
    let line = "  estimate of x0    clipped to -2 to 2, the estimate of the noise kept";
    assert_lines(&printed(ddim, &Request::steps(4)), &[line]);
    let dynamic = r#"{"_class_name": "DPMSolverMultistepScheduler", "thresholding": true,
        "dynamic_thresholding_ratio": 0.99, "sample_max_value": 4.0}"#;
    let line = "  estimate of x0    thresholded at the quantile 0.99 of each sample, from 1 to 4";
    assert_lines(&printed(dynamic, &Request::steps(4)), &[line]);
}

#[test]
fn every_field_is_under_one_title() {
    let text = r#"{"_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1",
        "beta_schedule": "scaled_linear", "clip_sample": false, "clip_sample_range": 2.0,
        "skip_prk_steps": true, "prediction_type": "v_prediction"}"#;
    let printed = printed(text, &Request::steps(10).image_tokens(16));
    assert_lines(
        &printed,
        &[
            "  network predicts  velocity (v)",
            "  estimate of x0    not clipped",
            "read from the file:",
            "  beta_schedule = \"scaled_linear\"",
            "not in the file, so the class's default:",
            "  beta_end = 0.02",
            "in the file, without an effect here:",
            "  clip_sample_range = 2",
            "in the file, but no field of this class:",
            "  skip_prk_steps = true",
            "requested, without an effect here:",
            "  image_tokens",
        ],
    );
    assert!(!printed.contains("_diffusers_version"));
    for name in ["beta_schedule", "clip_sample_range", "skip_prk_steps"] {
        assert_eq!(printed.matches(&format!("  {name} =")).count(), 1);
    }
}

#[test]
fn a_defect_is_said_with_the_way_to_have_it() {
    let defect = Defect::ShiftedTwice;
    let (there, here) = (defect.description(), defect.instead());
    let lines = [
        "unlike the library (ShiftedTwice):".to_owned(),
        format!("  There: {there}"),
        format!("  Here: {here}"),
        "  To have it: Request::reproducing(Defect::ShiftedTwice)".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_lines(&printed(SD3, &Request::steps(28)), &lines);

    let reproduced = printed(SD3, &pipelines::stable_diffusion_3(28));
    let title = "as the library has it, because it was asked for (ShiftedTwice):";
    assert_lines(&reproduced, &[title, &format!("  {there}")]);
    assert!(!reproduced.contains("unlike the library"));
}

#[test]
fn a_report_alone_begins_with_its_class() {
    let configured = diffusers::sampler(SD3, &Request::steps(4)).expect("it is read");
    let report = configured.report().to_string();
    assert!(report.starts_with("FlowMatchEulerDiscreteScheduler\nread from the file:\n"));
    assert!(
        configured
            .to_string()
            .ends_with(report.split_once('\n').expect("lines").1)
    );
}
