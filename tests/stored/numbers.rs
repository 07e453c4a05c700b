//! Numbers in text: infinite ones, signed zeros, integers, and what readers make of them.

use diffusion_sampler::{
    Clip, KeyedNoise, NoiseLevel, Sampler,
    noise::Interval,
    plan::{Kept, Plan},
    run::Snapshot,
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow},
    solver::FirstOrder,
};
use ndarray::Array2;
use serde_json::{Value, json};

use crate::formats::{json, of_json, shown};
use crate::specimens::{plan_by_hand, sampler, snapshot};

#[test]
fn infinite_numbers_are_strings_in_text() {
    let range = RectifiedFlow::new().lambda_range();
    assert_eq!(json(&range), r#"{"noisy":"-inf","clean":"inf"}"#);
    let text = r#"{"noisy": "-inf", "clean": 2}"#;
    let read: LambdaRange = of_json(text).unwrap();
    assert_eq!(read, LambdaRange::new(f64::NEG_INFINITY, 2.0).unwrap());
    let level: NoiseLevel = of_json(&json(&NoiseLevel::clean())).unwrap();
    assert_eq!(level.log_sigma(), f64::NEG_INFINITY);
    for wrong in [
        "\"infinity\"",
        "\"nan\"",
        "\"NaN\"",
        "\"1\"",
        "NaN",
        "1e999",
        "-1e999",
        "[1]",
        "{}",
    ] {
        let text = format!(r#"{{"from": {wrong}, "to": 2}}"#);
        assert!(of_json::<Interval>(&text).is_err(), "{wrong}");
    }
}

#[test]
fn an_infinite_number_where_none_belongs_is_refused() {
    for wrong in ["\"inf\"", "1e999", "null", "\"1\""] {
        let text = format!(r#"{{"linear": {{"state": {wrong}, "data": 0}}}}"#);
        assert!(of_json::<Kept>(&text).is_err(), "{wrong}");
    }
}

#[test]
fn zeros_keep_their_sign_and_integers_are_numbers() {
    let kept: Kept = of_json(r#"{"linear": {"state": -0.0, "data": 3}}"#).unwrap();
    assert_eq!(shown(&kept), "Linear { state: -0.0, data: 3.0 }");
    let interval: Interval = of_json(r#"{"from": -0.0, "to": -3}"#).unwrap();
    assert_eq!(shown(&interval), "Interval { from: -0.0, to: -3.0 }");
    assert_eq!(json(&interval), r#"{"from":-0.0,"to":-3.0}"#);
}

#[test]
fn all_64_bits_of_seeds_and_fingerprints_survive() {
    for seed in [0, (1 << 53) + 1, 0x0123_4567_89AB_CDEF, u64::MAX] {
        let text = json(&KeyedNoise::new(seed));
        assert_eq!(text, format!(r#"{{"seed":{seed},"first_sample":0}}"#));
        assert_eq!(of_json::<KeyedNoise>(&text).unwrap().seed(), seed);
    }
    for wrong in ["-1", "1.5", "18446744073709551616", "1e3", "\"7\""] {
        let text = format!(r#"{{"seed": {wrong}, "first_sample": 0}}"#);
        assert!(of_json::<KeyedNoise>(&text).is_err(), "{wrong}");
    }
}

/// What `serde_json` with its feature `arbitrary_precision` gives to a reader of any type.
#[test]
fn numbers_of_arbitrary_precision_are_read() {
    let number = |text: &str| json!({"$serde_json::private::Number": text});
    let tree = json!({"from": number("-1.5"), "to": number("0.30000000000000004")});
    let interval: Interval = serde_json::from_value(tree).unwrap();
    assert_eq!(interval, Interval::new(-1.5, 0.1 + 0.2));
    for wrong in [
        json!({"from": number("x"), "to": 1}),
        json!({"from": number("NaN"), "to": 1}),
        json!({"from": {"other": "1"}, "to": 1}),
        json!({"from": {"$serde_json::private::Number": 1}, "to": 1}),
    ] {
        assert!(serde_json::from_value::<Interval>(wrong).is_err());
    }
}

/// Every float of a tree, one rounding off.
fn each_rounding(tree: &Value, act: &mut dyn FnMut(Value)) {
    fn paths(node: &Value, path: &str, all: &mut Vec<String>) {
        match node {
            Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| paths(value, &format!("{path}/{key}"), all)),
            Value::Array(list) => (list.iter().enumerate())
                .for_each(|(index, value)| paths(value, &format!("{path}/{index}"), all)),
            Value::Number(number) if number.is_f64() => all.push(path.to_owned()),
            _ => (),
        }
    }
    let mut all = Vec::new();
    paths(tree, "", &mut all);
    assert!(all.len() > 10);
    for path in all {
        let mut copy = tree.clone();
        let node = copy.pointer_mut(&path).unwrap();
        *node = json!(node.as_f64().unwrap().next_up());
        act(copy);
    }
}

/// A reader that is not exact, as `serde_json` without `float_roundtrip`.
#[test]
fn a_reader_that_rounds_is_found_by_the_checksum() {
    let plan = serde_json::to_value(plan_by_hand()).unwrap();
    each_rounding(&plan, &mut |tree| {
        assert!(serde_json::from_value::<Plan>(tree).is_err());
    });
    let clip = Clip::dynamic(0.995, 10.0).unwrap();
    let clipped = sampler(&FirstOrder::ddim()).with_clip(clip);
    let clipped = serde_json::to_value(clipped).unwrap();
    each_rounding(&clipped, &mut |tree| {
        assert!(serde_json::from_value::<Sampler>(tree).is_err());
    });
    let stored = serde_json::to_value(snapshot()).unwrap();
    each_rounding(&stored, &mut |tree| {
        let text = serde_json::from_value::<Snapshot<Array2<f64>>>(tree)
            .unwrap_err()
            .to_string();
        assert!(text.contains("float_roundtrip"), "{text}");
    });
}
