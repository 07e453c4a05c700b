//! Configurations and requests that nobody should write: a typed error, or a sampler that is sound.

use std::time::{Duration, Instant};

use diffusion_sampler::diffusers::{Configured, Request, SchedulerConfig, Value, classes, sampler};
use diffusion_sampler::{Error, from_fn};
use ndarray::{Array2, Ix2};

/// The published files.
pub(super) fn published() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/schedulers");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !(path.ends_with("golden.json") || path.ends_with("more.json")))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a text");
            (path.display().to_string(), text)
        })
        .collect();
    files.sort();
    assert!(files.len() > 20);
    files
}

/// What a configured sampler must be, whatever it was made of.
pub(super) fn assert_sound(configured: &Configured, place: &str) {
    let plan = configured.sampler().plan();
    assert!(plan.evaluations() >= 1, "{place}: no evaluation");
    for update in plan.stages().map(|stage| &stage.update) {
        let history = update.history.iter().map(|&(_, weight)| weight);
        let scalars = [update.state, update.data, update.noise];
        let finite = scalars.into_iter().chain(history).all(f64::is_finite);
        assert!(finite, "{place}: {update:?}");
    }
    let levels = configured.grid().levels();
    let falls = |pair: &[_]| {
        let [one, two]: &[diffusion_sampler::NoiseLevel; 2] = pair.try_into().expect("a pair");
        one.lambda() < two.lambda()
    };
    assert!(levels.len() >= 2 && levels.windows(2).all(falls), "{place}");
    let times = configured
        .times()
        .iter()
        .chain(&configured.network_times())
        .copied()
        .collect::<Vec<_>>();
    assert!(
        times.iter().all(|time| time.is_finite()),
        "{place}: {times:?}"
    );
    assert_eq!(times.len(), 2 * plan.evaluations(), "{place}");
    let variance = configured.sampler().start_variance();
    assert!(
        variance.is_finite() && variance >= 0.0,
        "{place}: {variance}"
    );
    assert!(configured.init_noise_sigma() > 0.0, "{place}");
    let shown = configured.to_string();
    assert!(
        shown.len() < 20_000,
        "{place}: {} bytes of text",
        shown.len()
    );
    if plan.evaluations() <= 200 {
        assert_ends_finite(configured, place);
    }
}

/// A run with a bounded network ends with numbers, or with a typed error.
fn assert_ends_finite(configured: &Configured, place: &str) {
    let mut network = from_fn::<f64, Ix2>(configured.prediction(), |x, level, out| {
        out.zip_mut_with(x, |out, x| *out = (x + 0.001 * level.model_time()).sin());
    });
    let samples: Result<Array2<f64>, _> = configured.sampler().sample(&mut network, (1, 2), 7);
    match samples {
        Ok(samples) => assert!(samples.iter().all(|x| x.is_finite()), "{place}: {samples}"),
        Err(error) => assert_readable(&error.to_string(), place),
    }
}

/// What a message must be, whatever caused it.
pub(super) fn assert_readable(message: &str, place: &str) {
    assert!(message.len() > 10, "{place}: {message}");
    assert!(message.len() < 700, "{place}: {} bytes", message.len());
}

/// A sound sampler, or an error that can be read.
pub(super) fn outcome(
    config: &SchedulerConfig,
    request: &Request,
    place: &str,
) -> Result<Configured, Error> {
    let started = Instant::now();
    let outcome = config.sampler(request);
    match &outcome {
        Ok(configured) => assert_sound(configured, place),
        Err(error) => assert_readable(&error.to_string(), place),
    }
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{place}: {elapsed:?}");
    outcome
}

/// The same of a text.
fn outcome_of(text: &str, request: &Request, place: &str) -> Result<Configured, Error> {
    match SchedulerConfig::from_json(text) {
        Ok(config) => outcome(&config, request, place),
        Err(error) => {
            assert!(
                matches!(error, Error::ConfigurationSyntax { .. }),
                "{place}: {error:?}"
            );
            assert_readable(&error.to_string(), place);
            Err(error)
        }
    }
}

/// A configuration of a class, on a short table.
pub(super) fn of_class(class: &str) -> SchedulerConfig {
    SchedulerConfig::from_json(r#"{"num_train_timesteps": 60}"#)
        .expect("an object")
        .with_class(class)
}

/// A request that every class can follow, once it is told what it asks for.
pub(super) fn usual() -> Request {
    Request::steps(5).image_tokens(600)
}

#[test]
fn a_file_that_was_cut_short_is_refused_as_such() {
    for (name, text) in published() {
        let whole = text.trim_end().len();
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let read = SchedulerConfig::from_json(&text[..end]);
            match read {
                Ok(_) => assert!(end >= whole, "{name}: {end} bytes"),
                Err(Error::ConfigurationSyntax { .. }) => {
                    assert!(end < whole, "{name}: {end} bytes")
                }
                Err(other) => panic!("{name}: {end} bytes: {other}"),
            }
        }
    }
}

#[test]
fn a_file_with_one_byte_wrong_gives_a_sound_sampler_or_a_typed_error() {
    let request = usual();
    let chosen = [
        "flux-1-dev",
        "pixart-sigma",
        "stable-diffusion-v1-5.json",
        "cosmos-edm",
    ];
    let files = published()
        .into_iter()
        .filter(|(name, _)| chosen.iter().any(|part| name.contains(part)));
    let mut counts = (0, 0);
    for (name, text) in files {
        assert!(text.is_ascii());
        for at in 0..text.len() {
            for put in ["", "\"", "9", "-", "}", "\\", "\u{1}"] {
                let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
                let place = format!("{name}, byte {at} as {put:?}");
                match outcome_of(&changed, &request, &place) {
                    Ok(_) => counts.0 += 1,
                    Err(_) => counts.1 += 1,
                }
            }
        }
    }
    assert!(counts.0 > 500 && counts.1 > 500, "{counts:?}");
}

#[test]
fn deep_nesting_and_long_texts_are_refused_in_a_few_words() {
    let request = Request::steps(5);
    let long = "x".repeat(10 << 20);
    let class = r#""_class_name": "DDIMScheduler""#;
    let deep = "[".repeat(100_000);
    let objects = r#"{"a":"#.repeat(100_000);
    let list = format!("[{}0]", "0,".repeat(99_999));
    for (text, words) in [
        (deep.clone(), &["line 1", "object"][..]),
        (objects.clone(), &["line 1", "recursion"]),
        (
            format!(r#"{{{class}, "beta_start": {deep}"#),
            &["line 1", "recursion"],
        ),
        (
            format!(r#"{{"_class_name": "{long}"}}"#),
            &["scheduler class", "xxx", "10485760"],
        ),
        (
            format!(r#"{{{class}, "beta_start": "{long}"}}"#),
            &["beta_start", "a number", "10485760"],
        ),
        (
            format!(r#"{{{class}, "beta_schedule": "{long}"}}"#),
            &["beta_schedule", "scaled_linear"],
        ),
        (
            format!(r#"{{{class}, "beta_start": {list}}}"#),
            &["beta_start", "100000 numbers"],
        ),
        (
            format!(r#"{{{class}, "trained_betas": {list}}}"#),
            &["trained_betas", "100000"],
        ),
        (
            format!(r#"{{{class}, "trained_betas": {{"a": {list}}}}}"#),
            &["trained_betas", "list"],
        ),
        (format!("\"{long}\""), &["line 1", "object"]),
        (format!("{{\"{long}"), &["line 1", "string"]),
        (
            format!("{{{class}, \"eta\": {}}}", "9".repeat(1 << 20)),
            &["line 1", "out of range"],
        ),
        (format!("{}{{}}", "\n".repeat(1 << 20)), &["_class_name"]),
        (
            format!("{{\"a\": [{}1]}}", "NaN, ".repeat(100_000)),
            &["_class_name"],
        ),
    ] {
        let place = format!("{} …", &text[..text.len().min(60)]);
        let started = Instant::now();
        let error = sampler(&text, &request).expect_err(&place).to_string();
        assert!(started.elapsed() < Duration::from_secs(20), "{place}");
        assert_readable(&error, &place);
        for word in words {
            assert!(error.contains(word), "{place}: {error}");
        }
    }
    // What has no effect is listed, in a few words too.
    let text = format!(r#"{{{class}, "{long}": "{long}", "other": {{"a": {list}}}}}"#);
    let configured = sampler(&text, &request).expect("unknown fields have no effect");
    assert!(configured.to_string().len() < 5_000);
    assert_eq!(configured.report().ignored.len(), 2);
}

#[test]
fn texts_that_are_no_json_object_are_refused_with_their_place() {
    let class = r#""_class_name": "DDIMScheduler""#;
    for text in [
        "",
        " \n\t",
        "\u{feff}",
        "[]",
        "1",
        "null",
        "true",
        "\"text\"",
        "NaN",
        "-Infinity",
        "{",
        "}",
        "{}{}",
        "{,}",
        &format!("{{{class},}}"),
        &format!("{{{class}}} // text"),
        &format!("{{// text\n{class}}}"),
        &format!("{{/* text */ {class}}}"),
        &format!("{{{class}}} trailing"),
        "{'_class_name': 'DDIMScheduler'}",
        "{_class_name: \"DDIMScheduler\"}",
        "{\"_class_name\" \"DDIMScheduler\"}",
        "{\"_class_name\": \"\\x\"}",
        "{\"_class_name\": \"\\u12\"}",
        "{\"_class_name\": \"\\ud800\"}",
        "{\"_class_name\": \"a\nb\"}",
        "{\"_class_name\": \"\u{0}\"}",
        &format!("{{{class}, \"eta\": 1e999}}"),
        &format!("{{{class}, \"eta\": -1e999}}"),
        &format!("{{{class}, \"eta\": .5}}"),
        &format!("{{{class}, \"eta\": 01}}"),
        &format!("{{{class}, \"eta\": +1}}"),
        &format!("{{{class}, \"eta\": 0x1}}"),
        &format!("{{{class}, \"eta\": 1e}}"),
        &format!("{{{class}, \"eta\": True}}"),
        &format!("{{{class}, \"eta\": None}}"),
        &format!("{{{class}, \"eta\": nan}}"),
        &format!("{{{class}, \"eta\": inf}}"),
        &format!("{{{class}, \"eta\": --Infinity}}"),
        &format!("{{{class}, \"eta\": NaN NaN}}"),
        &format!("{{{class}, NaN: 1}}"),
        &format!("NaN{{{class}}}"),
        &format!("{{{class}}}NaN"),
        &format!("{{{class} NaN}}"),
        &format!("\u{feff}\u{feff}{{{class}}}"),
    ] {
        match sampler(text, &Request::steps(5)) {
            Err(error @ Error::ConfigurationSyntax { .. }) => {
                let message = error.to_string();
                assert!(message.starts_with("line "), "{text:?}: {message}");
                assert_eq!(message.matches("line ").count(), 1, "{text:?}: {message}");
                assert_readable(&message, text);
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn what_python_reads_is_read_as_python_reads_it() {
    let read = |text: &str| {
        SchedulerConfig::from_json(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    // The last of equal names counts.
    let twice = read(r#"{"a": 1, "a": "two", "a": null}"#);
    assert_eq!(twice.field("a"), Some(&Value::Null));
    // A byte order mark, escapes, names in any script.
    assert_eq!(
        read("\u{feff}{\"\\u0061\": 1}").field("a"),
        Some(&Value::Number(1.0))
    );
    assert_eq!(
        read("{\"σ_мин\": \"\\ud83d\\ude00\"}").field("σ_мин"),
        Some(&Value::from("😀"))
    );
    // Too small a number is 0.
    assert_eq!(
        read(r#"{"a": 1e-999}"#).field("a"),
        Some(&Value::Number(0.0))
    );
    assert_eq!(read(r#"{"a": -0.0}"#).field("a"), Some(&Value::Number(0.0)));
    // What is not finite is read at every place of a value, and in a string stays text.
    for text in ["NaN", "Infinity", "-Infinity"] {
        for around in [
            format!(r#"{{"a":{text}}}"#),
            format!(r#"{{"a": {text} }}"#),
            format!("{{\"a\":\n{text}\n}}"),
            format!(r#"{{"a": "{text}"}}"#),
            format!(r#"{{"a": 1, "{text}": {text}, "a": {text}}}"#),
        ] {
            assert_eq!(
                read(&around).field("a"),
                Some(&Value::from(text)),
                "{around}"
            );
        }
        let within = read(&format!(r#"{{"a": [{text}, 1], "b": {{"c": {text}}}}}"#));
        assert!(matches!(within.field("a"), Some(Value::Other(_))));
    }
}

#[test]
fn a_class_that_is_missing_misspelt_or_no_name_is_named() {
    let refused = |text: &str| sampler(text, &Request::steps(5)).expect_err(text);
    for (text, found) in [
        ("{}", "nothing"),
        (r#"{"_class_name": null}"#, "null"),
        (r#"{"_class_name": 1}"#, "1"),
        (r#"{"_class_name": ["DDIMScheduler"]}"#, "DDIMScheduler"),
        (r#"{"_class_name": {}}"#, "{}"),
    ] {
        let error = refused(text);
        assert!(
            matches!(
                error,
                Error::InvalidField {
                    field: "_class_name",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains(found), "{error}");
    }
    for (name, proposed) in [
        ("DDIMSheduler", "DDIMScheduler"),
        ("ddimscheduler", "DDIMScheduler"),
        ("EulerScheduler", "EulerDiscreteScheduler"),
        ("FlowMatchEulerScheduler", "FlowMatchEulerDiscreteScheduler"),
        ("UniPCScheduler", "UniPCMultistepScheduler"),
    ] {
        match refused(&format!(r#"{{"_class_name": "{name}"}}"#)) {
            Error::UnknownName { nearest, .. } => {
                assert!(nearest.contains(&proposed), "{nearest:?}")
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for name in ["", " ", "σ", "DDIMScheduler ", "\\u0000"] {
        let error = refused(&format!(r#"{{"_class_name": "{name}"}}"#));
        assert!(
            matches!(error, Error::UnknownName { .. }),
            "{name}: {error:?}"
        );
        assert_readable(&error.to_string(), name);
    }
}

#[test]
fn a_table_of_any_length_is_made_in_time_or_refused() {
    for class in classes() {
        for text in [
            "squaredcos_cap_v2",
            "linear",
            "scaled_linear",
            "sigmoid",
            "exp",
            "laplace",
        ] {
            for (length, end) in [
                (1usize << 20, 1e-5),
                ((1 << 20) + 1, 1e-5),
                (1 << 24, 0.02),
                (1 << 53, 0.02),
            ] {
                // One schedule is enough for the lengths that all of them refuse.
                if length > 1 << 20 && text != "exp"
                    || length == 1 << 20 && class != "DDIMScheduler"
                {
                    continue;
                }
                let config = of_class(class)
                    .with_field("num_train_timesteps", length)
                    .with_field("beta_schedule", text)
                    .with_field("beta_start", 1e-6)
                    .with_field("beta_end", end);
                let place = format!("{class}, {text}, {length}");
                let _ = outcome(&config, &usual(), &place);
            }
        }
    }
}
