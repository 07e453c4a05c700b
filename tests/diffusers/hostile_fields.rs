//! Every field of every class with values that do not fit it.

use std::collections::BTreeSet;

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Request, SchedulerConfig, Value, classes};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::hostile::{of_class, outcome, published, usual};

/// Values that fit few fields or none.
fn hostile() -> Vec<(String, Value)> {
    let mut texts: Vec<String> = [
        "null",
        "true",
        "false",
        "\"\"",
        "\"x\"",
        "-1",
        "0",
        "0.5",
        "1",
        "2",
        "3",
        "7",
        "1e18",
        "1e308",
        "-1e308",
        "1e-308",
        "5e-324",
        "9007199254740992",
        "9007199254740994",
        "18446744073709551615",
        "-9223372036854775808",
        "1e-7",
        "0.9999999999999999",
        "Infinity",
        "-Infinity",
        "NaN",
        "[]",
        "[1]",
        "[-1]",
        "[0.5, \"x\"]",
        "[NaN]",
        "{}",
        "{\"a\": 1}",
        "[[[[[[1]]]]]]",
        "\"zero\"",
        "\"1\"",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push(format!("[{}0]", "0,".repeat(99_999)));
    let values = texts.into_iter().map(|text| {
        let config =
            SchedulerConfig::from_json(&format!(r#"{{"value": {text}}}"#)).expect("an object");
        let value = config.field("value").expect("it is there").clone();
        (text.chars().take(30).collect(), value)
    });
    let bare = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    values
        .chain(bare.map(|number| (format!("bare {number}"), number.into())))
        .collect()
}

/// All fields that any class knows, and those of the published files.
fn fields() -> Vec<String> {
    let mut fields: BTreeSet<String> = KNOWN.split_whitespace().map(str::to_owned).collect();
    for (_, text) in published() {
        // A field stands in quotes before a colon.
        let names = text.split('"').zip(text.split('"').skip(1));
        let names = names.filter(|(name, after)| after.starts_with(':') && !name.starts_with('_'));
        fields.extend(names.map(|(name, _)| name.to_owned()));
    }
    fields.into_iter().collect()
}

const KNOWN: &str = "algorithm_type base_image_seq_len base_shift beta_end beta_schedule beta_start \
    clip_sample clip_sample_range corrector_order disable_corrector dynamic_thresholding_ratio eta \
    euler_at_final final_sigmas_type flow_shift interpolation_type invert_sigmas lambda_min_clipped \
    lower_order_final max_image_seq_len max_shift noise_sampler_seed num_train_timesteps \
    original_inference_steps predict_x0 prediction_type predictor_order rescale_betas_zero_snr rho s \
    s_noise sample_max_value scale_factors scaler set_alpha_to_one shift shift_terminal sigma_data \
    sigma_max sigma_min sigma_schedule skip_prk_steps snr_shift_scale solver_order solver_p solver_type \
    steps_offset stochastic_sampling tau_func thresholding time_shift_type timestep_scaling \
    timestep_spacing timestep_type trained_betas upscale_mode use_beta_sigmas use_dynamic_shifting \
    use_exponential_sigmas use_flow_sigmas use_karras_sigmas use_lu_lambdas variance_type";

/// Fields that make others matter.
const SETTINGS: [&[(&str, &str)]; 8] = [
    &[],
    &[("thresholding", "true"), ("clip_sample", "false")],
    &[("clip_sample", "true")],
    &[("use_karras_sigmas", "true")],
    &[("use_exponential_sigmas", "true")],
    &[
        ("use_flow_sigmas", "true"),
        ("prediction_type", "\"flow_prediction\""),
    ],
    &[("use_dynamic_shifting", "true")],
    &[
        ("use_flow_sigmas", "true"),
        ("prediction_type", "\"flow_prediction\""),
        ("use_dynamic_shifting", "true"),
    ],
];

fn with_settings(mut config: SchedulerConfig, settings: &[(&str, &str)]) -> SchedulerConfig {
    for (name, text) in settings {
        let one =
            SchedulerConfig::from_json(&format!(r#"{{"value": {text}}}"#)).expect("an object");
        config = config.with_field(name, one.field("value").expect("it is there").clone());
    }
    config
}

#[test]
fn every_field_with_every_hostile_value_gives_a_sound_sampler_or_names_what_is_wrong() {
    let (fields, hostile) = (fields(), hostile());
    let show = std::env::var("SHOW_MESSAGES").is_ok();
    let mut unnamed = BTreeSet::new();
    let (mut sound, mut refused) = (0, 0);
    for class in classes() {
        let mut tested = BTreeSet::new();
        for settings in SETTINGS {
            let config = with_settings(of_class(class), settings);
            let Ok(plain) = config.sampler(&usual()) else {
                continue;
            };
            let read: Vec<&str> = plain.report().read.iter().map(|field| field.name).collect();
            for field in &fields {
                // A field that is not read can only be listed.
                let of_settings = settings.iter().any(|(name, _)| name == field);
                if of_settings || !read.contains(&field.as_str()) || !tested.insert(field.clone()) {
                    continue;
                }
                for (text, value) in &hostile {
                    let config = config.clone().with_field(field, value.clone());
                    let place = format!("{class}: {field} = {text}");
                    for request in [usual(), usual().as_published()] {
                        match outcome(&config, &request, &place) {
                            Ok(_) => sound += 1,
                            Err(error) => {
                                refused += 1;
                                let message = error.to_string();
                                if show {
                                    println!("{place}: {message}");
                                }
                                let shown = match value {
                                    Value::Number(0.0) => "0".to_owned(),
                                    value => value.to_string(),
                                };
                                // Two fields lead to α = 0, where noise says nothing of the data.
                                let of_pure_noise =
                                    matches!(error, Error::PredictionUndefined { alpha: 0.0, .. })
                                        && (field == "rescale_betas_zero_snr"
                                            || field == "use_flow_sigmas");
                                let named = message.contains(field) || message.contains(&shown);
                                if !(named || of_pure_noise) {
                                    unnamed.insert(format!("{place}: {message}"));
                                }
                            }
                        }
                    }
                }
            }
        }
        assert!(!tested.is_empty(), "{class}: {tested:?}");
    }
    assert!(
        sound > 1000 && refused > 1000,
        "{sound} sound, {refused} refused"
    );
    let unnamed: Vec<String> = unnamed.into_iter().collect();
    assert!(
        unnamed.is_empty(),
        "{} messages:\n{}",
        unnamed.len(),
        unnamed.join("\n")
    );
}

/// A value that the field may well have.
fn plausible(field: &str) -> BoxedStrategy<Value> {
    fn words(words: &'static [&'static str]) -> BoxedStrategy<Value> {
        proptest::sample::select(words)
            .prop_map(Value::from)
            .boxed()
    }
    fn numbers(range: std::ops::Range<f64>) -> BoxedStrategy<Value> {
        range.prop_map(Value::from).boxed()
    }
    fn counts(range: std::ops::Range<usize>) -> BoxedStrategy<Value> {
        range.prop_map(Value::from).boxed()
    }
    match field {
        "algorithm_type" => words(&[
            "dpmsolver++",
            "sde-dpmsolver++",
            "dpmsolver",
            "sde-dpmsolver",
            "deis",
            "data_prediction",
            "noise_prediction",
        ]),
        "base_image_seq_len" | "max_image_seq_len" => counts(1..5000),
        "base_shift" | "max_shift" | "flow_shift" | "shift" => numbers(0.1..12.0),
        "beta_schedule" => words(&[
            "linear",
            "scaled_linear",
            "squaredcos_cap_v2",
            "sigmoid",
            "exp",
            "laplace",
        ]),
        "beta_start" | "beta_end" => prop_oneof![numbers(1e-5..0.02), numbers(0.001..0.9)].boxed(),
        "clip_sample_range" | "sample_max_value" => numbers(0.5..4.0),
        "corrector_order" | "predictor_order" | "solver_order" => counts(0..5),
        "disable_corrector" => proptest::collection::vec(0..6u8, 0..4)
            .prop_map(|list| Value::from(list.into_iter().map(f64::from).collect::<Vec<_>>()))
            .boxed(),
        "dynamic_thresholding_ratio" | "eta" | "shift_terminal" | "s" => numbers(0.0..1.0),
        "final_sigmas_type" => words(&["zero", "sigma_min"]),
        "interpolation_type" => words(&["linear", "log_linear"]),
        "lambda_min_clipped" => {
            prop_oneof![numbers(-8.0..3.0), Just(Value::from("-Infinity"))].boxed()
        }
        "num_train_timesteps" => prop_oneof![counts(1..20), counts(20..1200)].boxed(),
        "original_inference_steps" => counts(1..60),
        "prediction_type" => words(&["epsilon", "sample", "v_prediction", "flow_prediction"]),
        "rho" => prop_oneof![numbers(1.0..9.0), numbers(-3.0..3.0)].boxed(),
        "sigma_data" | "s_noise" | "scaler" | "snr_shift_scale" => numbers(0.01..4.0),
        "sigma_max" => prop_oneof![numbers(0.5..100.0), Just(Value::Null)].boxed(),
        "sigma_min" => prop_oneof![numbers(0.001..1.0), Just(Value::Null)].boxed(),
        "sigma_schedule" => words(&["karras", "exponential"]),
        "solver_type" => words(&["midpoint", "heun", "bh1", "bh2", "logrho"]),
        "steps_offset" => counts(0..3),
        "time_shift_type" => words(&["exponential", "linear"]),
        "timestep_scaling" => numbers(0.0..20.0),
        "timestep_spacing" => words(&["leading", "linspace", "trailing"]),
        "timestep_type" => words(&["discrete", "continuous"]),
        "variance_type" => words(&["fixed_small", "fixed_small_log", "fixed_large", "learned"]),
        "trained_betas" | "scale_factors" | "solver_p" | "tau_func" | "noise_sampler_seed" => {
            Just(Value::Null).boxed()
        }
        _ => any::<bool>().prop_map(Value::from).boxed(),
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let list = |low: f64, high: f64| {
        proptest::collection::vec(low..high, 1..8).prop_map(|mut list| {
            list.sort_by(|a, b| b.total_cmp(a));
            list
        })
    };
    let length = prop_oneof![
        6 => (1..40usize).prop_map(Request::steps),
        1 => list(0.0, 1.0).prop_map(|list| Request::of_sigmas(&list)),
        1 => list(0.0, 60.0).prop_map(|list| {
            Request::of_times(&list.into_iter().map(f64::round).collect::<Vec<_>>())
        }),
    ];
    let options = (
        proptest::option::of(1..6000usize),
        proptest::option::of(0.0..1.0f64),
        proptest::option::of(0.0..1.2f64),
        proptest::option::of(-2.0..3.0f64),
        any::<[bool; 6]>(),
    );
    (length, options).prop_map(|(mut request, (tokens, strength, eta, mu, flags))| {
        if let Some(tokens) = tokens {
            request = request.image_tokens(tokens);
        }
        if let Some(strength) = strength {
            request = request.strength(strength);
        }
        if let Some(eta) = eta {
            request = request.eta(eta);
        }
        if let Some(mu) = mu {
            request = request.mu(mu);
        }
        let [uniform, published, reversed, told, clipped, single] = flags;
        type Change = fn(Request) -> Request;
        let changes: [(bool, Change); 6] = [
            (uniform, Request::uniform_sigmas),
            (published, Request::as_published),
            (reversed, Request::reversed_output),
            (told, Request::network_time_from_one),
            (clipped, Request::use_clipped_model_output),
            (single, Request::in_float32),
        ];
        for (_, change) in changes.into_iter().filter(|(on, _)| *on) {
            request = change(request);
        }
        request
    })
}

fn configurations() -> impl Strategy<Value = SchedulerConfig> {
    let names: Vec<String> = KNOWN.split_whitespace().map(str::to_owned).collect();
    let some = proptest::sample::subsequence(names, 0..24);
    let fields = some.prop_flat_map(|names| {
        let values: Vec<_> = names.iter().map(|name| plausible(name)).collect();
        (Just(names), values)
    });
    let classes: Vec<&str> = classes().collect();
    (proptest::sample::select(classes), fields).prop_map(|(class, (names, values))| {
        let fields = names.into_iter().zip(values);
        fields.fold(of_class(class), |config, (name, value)| {
            config.with_field(&name, value)
        })
    })
}

proptest! {
    #![proptest_config(Config {
        cases: 4000,
        rng_seed: RngSeed::Fixed(0xD1FF),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn a_random_configuration_gives_a_sound_sampler_or_a_typed_error(
        config in configurations(),
        request in requests(),
    ) {
        let place = format!("{config:?}\n{request:?}");
        let _ = outcome(&config, &request, &place);
    }
}
