//! Configuration files: any text, and published files with fields changed, under any request. What
//! is read is a sound sampler that runs to finite numbers, or a typed error.

use std::sync::LazyLock;

use diffusion_sampler::diffusers::{Configured, Defect, Request, SchedulerConfig, Value, classes};
use diffusion_sampler::solver::Churn;
use diffusion_sampler::{Error, from_fn};
use ndarray::{Array2, Ix2};

use crate::grids::{check_grid, check_plan};
use crate::input::{Input, is_readable};

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(include_str!(concat!("../../tests/data/schedulers/", $name, ".json"))),+]
    };
}

/// The published files.
const FILES: [&str; 27] = files![
    "auraflow",
    "cogvideox-5b",
    "cosmos-edm",
    "ddpm-cifar10-32",
    "diffusion-policy-ddim",
    "diffusion-policy-pusht",
    "dpmpp-2m-karras-sd15",
    "euler-karras-zsnr-v",
    "flux-1-dev",
    "flux-1-schnell",
    "flux-2-dev",
    "hunyuan-video",
    "kandinsky-3",
    "lcm-lora-sd15",
    "ltx-video-0.9.1",
    "pixart-sigma-xl-2-1024",
    "qwen-image",
    "sana-1600m",
    "sdxl-base-1.0",
    "sdxl-turbo",
    "stable-diffusion-2-1",
    "stable-diffusion-3-medium",
    "stable-diffusion-v1-5-ddim",
    "stable-diffusion-v1-5",
    "unipc-sd15",
    "wan-2.1-t2v-14b",
    "z-image-turbo",
];

static CLASSES: LazyLock<Vec<&'static str>> = LazyLock::new(|| classes().collect());

/// The fields that some class knows.
const FIELDS: [&str; 70] = [
    "algorithm_type",
    "base_image_seq_len",
    "base_shift",
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "corrector_order",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "eta",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "invert_sigmas",
    "lambda_min_clipped",
    "lower_order_final",
    "max_image_seq_len",
    "max_shift",
    "noise_sampler_seed",
    "num_train_timesteps",
    "original_inference_steps",
    "predict_x0",
    "prediction_type",
    "predictor_order",
    "rescale_betas_zero_snr",
    "rho",
    "s",
    "s_noise",
    "sample_max_value",
    "scale_factors",
    "scaler",
    "set_alpha_to_one",
    "shift",
    "shift_terminal",
    "sigma_data",
    "sigma_max",
    "sigma_min",
    "sigma_schedule",
    "skip_prk_steps",
    "snr_shift_scale",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "stochastic_sampling",
    "tau_func",
    "thresholding",
    "time_shift_type",
    "timestep_scaling",
    "timestep_spacing",
    "timestep_type",
    "trained_betas",
    "upscale_mode",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
    "beta_schedule",
    "timestep_spacing",
    "prediction_type",
    "solver_order",
    "use_flow_sigmas",
    "trained_betas",
    "unknown_field",
];

/// The words that fields have.
const WORDS: [&str; 44] = [
    "linear",
    "scaled_linear",
    "squaredcos_cap_v2",
    "sigmoid",
    "laplace",
    "exp",
    "epsilon",
    "sample",
    "v_prediction",
    "flow_prediction",
    "trailing",
    "leading",
    "linspace",
    "dpmsolver++",
    "dpmsolver",
    "sde-dpmsolver++",
    "sde-dpmsolver",
    "midpoint",
    "heun",
    "bh1",
    "bh2",
    "logrho",
    "zero",
    "sigma_min",
    "fixed_small",
    "fixed_small_log",
    "fixed_large",
    "fixed_large_log",
    "learned",
    "learned_range",
    "exponential",
    "karras",
    "beta",
    "continuous",
    "discrete",
    "log_linear",
    "log-linear",
    "polynomial",
    "none",
    "",
    "1",
    "lagrange",
    "cosine",
    "\u{1F600}",
];

fn value(input: &mut Input<'_>) -> Value {
    match input.below(8) {
        0 => Value::Flag(true),
        1 => Value::Flag(false),
        2 | 3 => Value::Text((*input.choose(&WORDS[..])).to_owned()),
        4 => Value::Number(input.number()),
        5 => Value::Number(f64::from(input.byte())),
        6 => Value::Numbers(match input.flag() {
            true => input.numbers(12),
            false => (0..input.below(40)).map(|_| input.unit()).collect(),
        }),
        _ => Value::Null,
    }
}

/// A published file, or a class alone, with fields changed.
fn changed(input: &mut Input<'_>) -> SchedulerConfig {
    let text = match input.flag() {
        true => *input.choose(&FILES[..]),
        false => "{}",
    };
    let mut config = SchedulerConfig::from_json(text).expect("an object");
    if config.class().is_none() || input.flag() {
        config = config.with_class(*input.choose(&CLASSES[..]));
    }
    // A short table: a case takes microseconds.
    if !input.byte().is_multiple_of(16) {
        config = config.with_field("num_train_timesteps", f64::from(input.byte() % 64));
    }
    for _ in 0..input.below(7) {
        config = config.with_field(*input.choose(&FIELDS[..]), value(input));
    }
    config
}

fn list(input: &mut Input<'_>) -> Vec<f64> {
    let mut list = match input.flag() {
        true => input.numbers(10),
        false => (0..input.below(10)).map(|_| 64.0 * input.unit()).collect(),
    };
    if input.flag() {
        list.sort_by(|a, b| b.total_cmp(a));
    }
    list
}

fn request(input: &mut Input<'_>) -> Request {
    let mut request = match input.below(8) {
        0 => Request::of_sigmas(&list(input)),
        1 => Request::of_times(&list(input)),
        2 => Request::steps(usize::from(input.byte())),
        3 if input.byte() == 0 => Request::steps(usize::MAX),
        _ => Request::steps(1 + input.below(8)),
    };
    let flags = input.word();
    let on = |bit: u32| flags >> bit & 1 == 1;
    if on(0) {
        request = request.image_tokens(input.word());
    }
    if on(1) {
        request = request.uniform_sigmas();
    }
    if on(2) {
        request = request.as_published();
    }
    if on(3) {
        request = request.in_float32();
    }
    if on(4) && on(5) {
        request = request.mu(input.number());
    }
    if on(6) && on(7) {
        request = request.strength(input.unit());
    }
    if on(8) && on(9) {
        request = request.eta(input.number());
    }
    if on(10) {
        request = match input.below(6) {
            0 => request.mu_of_flux2(),
            1 => request.mu_of_cogview4(),
            2 => request.mu_of_qwen_layered(),
            3 => request.reversed_output(),
            4 => request.network_time_from_one(),
            _ => request.network_time_to_one(),
        };
    }
    if on(11) && on(12) {
        request = request.with_times(&list(input));
    }
    if on(13) && on(14) {
        let churn = Churn::new(input.number())
            .and_then(|churn| churn.between(input.number(), input.number()))
            .and_then(|churn| churn.with_noise(input.number()));
        if let Ok(churn) = churn {
            request = request.churn(churn);
        }
    }
    if on(15) {
        request = request.use_clipped_model_output();
        request = request.reproducing(*input.choose(Defect::ALL));
    }
    request
}

fn check_error(error: &Error) {
    let message = error.to_string();
    assert!(is_readable(&message), "{message}");
}

/// What a configured sampler must be, whatever it was made of.
fn check(configured: &Configured) {
    let sampler = configured.sampler();
    let plan = sampler.plan();
    assert!(plan.evaluations() >= 1);
    check_plan(plan);
    check_grid(configured.grid());
    let (times, told) = (configured.times(), configured.network_times());
    assert!(times.iter().chain(&told).all(|time| time.is_finite()));
    assert_eq!(
        (times.len(), told.len()),
        (plan.evaluations(), plan.evaluations())
    );
    assert!(sampler.start_variance().is_finite() && sampler.start_variance() >= 0.0);
    assert!(configured.init_noise_sigma() > 0.0);
    let sigmas = configured.sigmas();
    // Levels whose λ differ by rounding may have one σ.
    assert!(
        sigmas.windows(2).all(|pair| pair[0] >= pair[1]),
        "{sigmas:?}"
    );
    let shown = configured.to_string();
    assert!(shown.len() < 20_000, "{} bytes", shown.len());
    if plan.evaluations() > 64 {
        return;
    }
    let mut network = from_fn::<f64, Ix2>(configured.prediction(), |x, level, out| {
        out.zip_mut_with(x, |out, x| {
            let x = x + 0.001 * level.model_time();
            *out = x / (1.0 + x.abs());
        });
    });
    let samples: Result<Array2<f64>, _> = sampler.sample(&mut network, (1, 2), 7);
    match samples {
        Ok(samples) => assert!(samples.iter().all(|x| x.is_finite()), "{samples}"),
        Err(error) => assert!(is_readable(&error.to_string())),
    }
}

/// The longest table of a text that is sampled: one of millions takes a second.
const LONGEST_TABLE: f64 = 2000.0;

/// Any text, or a changed file, under any request.
pub fn configuration_file(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (config, request) = if input.byte().is_multiple_of(4) {
        let request = request(&mut input);
        let text = String::from_utf8_lossy(input.rest()).into_owned();
        let strict = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
        let config = match SchedulerConfig::from_json(&text) {
            Ok(config) => config,
            Err(error) => {
                assert!(
                    matches!(error, Error::ConfigurationSyntax { .. }),
                    "{error:?}"
                );
                check_error(&error);
                // Beyond 127 levels, which the crate says, and 127 which that reader has.
                assert!(strict.is_err(), "strict JSON is refused: {error}");
                return;
            }
        };
        let table = config.field("num_train_timesteps");
        if matches!(table, Some(Value::Number(length)) if *length > LONGEST_TABLE) {
            return;
        }
        (config, request)
    } else {
        let config = changed(&mut input);
        (config, request(&mut input))
    };
    match config.sampler(&request) {
        Ok(configured) => check(&configured),
        Err(error) => check_error(&error),
    }
}
