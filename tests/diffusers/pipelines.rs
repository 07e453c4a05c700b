//! What the pipelines of known models pass, by the model's name.

use diffusion_sampler::Prediction;
use diffusion_sampler::diffusers::{self, Configured, Defect, Request, pipelines};
use serde_json::json;

use super::common::{Run, golden, numbers};
use super::compare::difference;

const REVERSED: Prediction = Prediction::Linear {
    data: 1.0,
    noise: -1.0,
};

/// The preset of a golden run: with the tokens of the image that it was recorded for.
fn preset(run: &Run) -> Request {
    let square = pipelines::image_tokens(1024, 1024);
    match run.name.as_str() {
        "flux-1-dev" | "flux-1-schnell" => pipelines::flux(run.steps, square),
        "flux-2-dev" => pipelines::flux2(run.steps, square),
        "qwen-image" => pipelines::qwen_image(run.steps, pipelines::image_tokens(928, 1664)),
        "stable-diffusion-3-medium" => pipelines::stable_diffusion_3(run.steps),
        "auraflow" => pipelines::aura_flow(run.steps),
        "hunyuan-video" => pipelines::hunyuan_video(run.steps),
        "ltx-video-0.9.1" => pipelines::ltx_video(run.steps, pipelines::ltx_tokens(97, 512, 768)),
        "wan-2.1-t2v-14b" => pipelines::wan(run.steps),
        // Recorded with the list that its pipeline had before.
        "z-image-turbo" => Request::steps(run.steps)
            .reversed_output()
            .network_time_to_one()
            .reproducing(Defect::ShiftedTwice),
        _ => Request::steps(run.steps),
    }
}

fn read(config: serde_json::Value, request: &Request) -> Configured {
    diffusers::sampler(&config.to_string(), request).expect("it is read")
}

fn close(ours: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(ours.len(), expected.len());
    let error = difference(ours, expected);
    assert!(error <= bound, "{error:e}: {ours:?}, {expected:?}");
}

#[test]
fn a_models_preset_tells_its_network_what_the_librarys_pipeline_does() {
    for run in golden() {
        let configured = run.configured(&preset(&run)).expect("it is read");
        let ours = configured.network_times();
        let theirs = numbers(&run.whole["f64"]["network_times"]);
        // A last step that changes nothing is left out: its call too.
        let idle = usize::from(run.name == "cosmos-edm");
        let kept = theirs.len() - idle;
        let place = format!("{} in {} steps", run.name, run.steps);
        assert_eq!(ours.len(), kept, "{place}");
        let error = difference(&ours, &theirs);
        assert!(error < 1e-11, "{place}: {error:e}");
        let reversed = run.how["sign"].as_f64() == Some(-1.0);
        assert_eq!(reversed, configured.prediction() == REVERSED, "{place}");
    }
}

#[test]
fn a_flow_models_preset_gives_the_states_of_the_librarys_run() {
    let flow = |run: &Run| run.class.starts_with("FlowMatch") || run.name.starts_with("wan");
    let runs: Vec<Run> = golden().into_iter().filter(flow).collect();
    assert!(runs.len() > 20);
    for run in runs {
        let configured = run.configured(&preset(&run)).expect("it is read");
        let error = run.error_of_states(&configured);
        assert!(error < 1e-10, "{} in {}: {error:e}", run.name, run.steps);
    }
}

/// σ = s u/(1 + (s − 1) u) at u = 1 − i/K.
fn shifted(steps: usize, shift: f64) -> Vec<f64> {
    let uniform = (0..steps).map(|i| (steps - i) as f64 / steps as f64);
    uniform
        .map(|u| shift * u / (1.0 + (shift - 1.0) * u))
        .collect()
}

#[test]
fn z_image_and_lumina_count_from_noise_to_data_on_a_uniform_list_that_is_shifted() {
    for (request, shift) in [(pipelines::z_image(9), 3.0), (pipelines::lumina2(9), 6.0)] {
        let config = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": shift});
        let configured = read(config, &request);
        let times: Vec<f64> = shifted(9, shift).iter().map(|sigma| 1.0 - sigma).collect();
        close(&configured.network_times(), &times, 1e-15);
        assert_eq!(configured.prediction(), REVERSED);
        assert!(configured.report().unused.is_empty());
    }
}

#[test]
fn cogview4_shifts_whole_times_over_1000_and_tells_them_unshifted() {
    let config = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "base_shift": 0.25,
        "max_shift": 0.75, "base_image_seq_len": 256, "use_dynamic_shifting": true,
        "time_shift_type": "linear"});
    // In 30 steps the last sum is below 1 by rounding.
    for steps in [1, 2, 7, 30, 50] {
        let configured = read(config.clone(), &pipelines::cogview4(steps, 4096));
        // μ = 0.75 √16 + 0.25.
        let mu = 3.25;
        let whole: Vec<f64> = (0..steps)
            .map(|i| 1000 - (999 * i).div_ceil((steps - 1).max(1)))
            .map(|time| time as f64)
            .collect();
        close(&configured.network_times(), &whole, 0.0);
        let mut sigmas: Vec<f64> = whole.iter().map(|t| mu / (mu + 1000.0 / t - 1.0)).collect();
        sigmas.push(0.0);
        close(&configured.sigmas(), &sigmas, 1e-14);
        assert_eq!(configured.prediction(), Prediction::Flow);
    }
}

#[test]
fn mochi_goes_a_fortieth_of_the_way_linearly_and_then_along_a_parabola_to_the_end() {
    let config = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": true});
    for steps in [2, 3, 28, 64] {
        let configured = read(config.clone(), &pipelines::mochi(steps));
        let progress: Vec<f64> = configured
            .network_times()
            .iter()
            .map(|t| t / 1000.0)
            .collect();
        let half = steps / 2;
        for (i, p) in progress.iter().enumerate().take(half + 1) {
            assert!((p - 0.025 * i as f64 / half as f64).abs() < 1e-12);
        }
        // Its third differences vanish, the end included.
        let parabola = [&progress[half..], &[1.0]].concat();
        for p in parabola.windows(4) {
            assert!((p[3] - 3.0 * p[2] + 3.0 * p[1] - p[0]).abs() < 1e-12);
        }
        // And it begins with the line's slope: extended by one step back, it meets it.
        if let [p0, p1, p2, ..] = parabola[..] {
            let before = 3.0 * p0 - 3.0 * p1 + p2;
            let slope = (p1 - before) / 2.0;
            assert!((slope - 0.025 / half as f64).abs() < 1e-12);
        }
        assert_eq!(configured.prediction(), REVERSED);
    }
    let single = read(config, &pipelines::mochi(1));
    assert_eq!(single.network_times(), [0.0]);
}

#[test]
fn hidreams_files_of_both_classes_are_read_with_a_reversed_output() {
    let unipc = json!({"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0,
        "use_flow_sigmas": true, "prediction_type": "flow_prediction"});
    let lcm = json!({"_class_name": "FlowMatchLCMScheduler", "shift": 6.0});
    for config in [unipc, lcm] {
        let configured = read(config, &pipelines::hidream(16));
        assert_eq!(configured.prediction(), REVERSED);
        assert_eq!(configured.network_times().len(), 16);
    }
}

#[test]
fn qwen_layered_takes_mu_from_the_root_of_its_tokens() {
    let config = json!({"_class_name": "FlowMatchEulerDiscreteScheduler",
        "use_dynamic_shifting": true, "time_shift_type": "exponential"});
    let configured = read(config, &pipelines::qwen_image_layered(10, 1600));
    // √(1600/256) = 2.5.
    close(
        &configured.network_times(),
        &shifted(10, 2.5f64.exp()),
        1e-14,
    );
}

#[test]
fn tokens_are_whole_patches() {
    assert_eq!(pipelines::image_tokens(1024, 1024), 64 * 64);
    assert_eq!(pipelines::image_tokens(1328, 1328), 83 * 83);
    assert_eq!(pipelines::image_tokens(1031, 1039), 64 * 64);
    assert_eq!(pipelines::image_tokens(15, 1024), 0);
    assert_eq!(pipelines::image_tokens(usize::MAX, usize::MAX), usize::MAX);
    assert_eq!(pipelines::ltx_tokens(1, 512, 704), 16 * 22);
    assert_eq!(pipelines::ltx_tokens(161, 512, 704), 21 * 16 * 22);
    assert_eq!(pipelines::ltx_tokens(0, 32, 32), 1);
}

#[test]
fn no_preset_of_no_steps_is_read() {
    let config = json!({"_class_name": "FlowMatchEulerDiscreteScheduler"});
    for request in [
        pipelines::flux(0, 16),
        pipelines::stable_diffusion_3(0),
        pipelines::z_image(0),
        pipelines::mochi(0),
        pipelines::cogview4(0, 16),
    ] {
        assert!(diffusers::sampler(&config.to_string(), &request).is_err());
    }
}
