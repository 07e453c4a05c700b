//! Hostile input: every refusal is an error, with the crate's own text where a value is refused.

use ciborium::Value as Cbor;
use diffusion_sampler::plan::Plan;
use serde_json::{Value, json};

use crate::mutations::without_checksums;
use crate::specimens::{Specimen, all, plan_by_hand};

/// Calls `act` with a copy of the tree for each of its nodes, in which that node is changed: `edit`
/// is given the node with the name of its field, and says whether it changed it.
fn each_node(
    tree: &Value,
    edit: &dyn Fn(&str, &mut Value) -> bool,
    act: &mut dyn FnMut(&str, &Value),
) {
    fn paths(node: &Value, path: String, all: &mut Vec<String>) {
        match node {
            Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| paths(value, format!("{path}/{key}"), all)),
            Value::Array(list) => (list.iter().enumerate())
                .for_each(|(index, value)| paths(value, format!("{path}/{index}"), all)),
            _ => (),
        }
        all.push(path);
    }
    let mut all = Vec::new();
    paths(tree, String::new(), &mut all);
    for path in all {
        let mut copy = tree.clone();
        let field = path.rsplit('/').next().unwrap();
        if edit(field, copy.pointer_mut(&path).unwrap()) {
            act(&path, &copy);
        }
    }
}

fn open() -> Vec<Specimen> {
    let mut open = all();
    open.iter_mut().for_each(without_checksums);
    open
}

/// A tree in CBOR, which has infinite numbers. Where the tree stands for a float (or a list of
/// them), its integers are floats.
pub(crate) fn binary(tree: &Value, float: bool) -> Cbor {
    match tree {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(*value),
        Value::String(text) if text == "inf" => Cbor::Float(f64::INFINITY),
        Value::String(text) if text == "-inf" => Cbor::Float(f64::NEG_INFINITY),
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(list) => Cbor::Array(list.iter().map(|node| binary(node, float)).collect()),
        Value::Object(map) => Cbor::Map(
            map.iter()
                .map(|(key, node)| (Cbor::Text(key.clone()), binary(node, false)))
                .collect(),
        ),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(integer), _) if !float => Cbor::Integer(integer.into()),
            (_, Some(integer)) if !float => Cbor::Integer(integer.into()),
            _ => Cbor::Float(number.as_f64().unwrap()),
        },
    }
}

pub(crate) fn bytes(tree: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(tree, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_tree_that_is_not_changed_is_taken_in_text_and_in_binary() {
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        assert!(specimen.try_json(&tree.to_string()).is_ok());
        let taken = specimen.try_cbor(&bytes(&binary(&tree, false)));
        assert_eq!(
            taken,
            (specimen.cbor_again)(&specimen.cbor),
            "{}",
            specimen.name
        );
    }
}

fn assert_refused(specimen: &Specimen, path: &str, tree: &Value) {
    let text = serde_json::to_string(tree).unwrap();
    let taken = specimen.try_json(&text);
    assert!(taken.is_err(), "{}: {path} in {text}", specimen.name);
    let taken = specimen.try_cbor(&bytes(&binary(tree, false)));
    assert!(taken.is_err(), "{}: {path} in {text}, CBOR", specimen.name);
}

#[test]
fn no_field_may_be_missing_but_the_checksum() {
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        let fields: Vec<String> = specimen.json.split('"').map(str::to_owned).collect();
        for field in fields.iter().filter(|field| *field != "checksum") {
            let edit = |_: &str, node: &mut Value| {
                node.as_object_mut()
                    .is_some_and(|map| map.remove(field).is_some())
            };
            each_node(&tree, &edit, &mut |path, tree| {
                assert_refused(&specimen, &format!("{path} without {field}"), tree);
            });
        }
    }
    let mut tree = serde_json::to_value(plan_by_hand()).unwrap();
    tree.as_object_mut().unwrap().remove("checksum").unwrap();
    assert_eq!(
        serde_json::from_value::<Plan>(tree).unwrap(),
        plan_by_hand()
    );
}

#[test]
fn no_field_may_be_added() {
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        let edit = |_: &str, node: &mut Value| match node.as_object_mut() {
            Some(map) => map.insert("more".into(), json!(1)).is_none(),
            None => false,
        };
        each_node(&tree, &edit, &mut |path, tree| {
            assert_refused(&specimen, path, tree)
        });
    }
}

/// The fields that may be null.
const NULLABLE: [&str; 10] = [
    "checksum",
    "churn",
    "clip",
    "evaluate",
    "evaluations",
    "interval",
    "memory",
    "noise",
    "space",
    "store",
];

#[test]
fn other_types_are_refused() {
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        for other in [
            json!("nonsense"),
            json!({"x": 1}),
            json!([[]]),
            json!(true),
            json!(null),
        ] {
            let edit = |field: &str, node: &mut Value| {
                let right = node.is_boolean() && other.is_boolean()
                    || other.is_null() && NULLABLE.contains(&field);
                *node = other.clone();
                !right
            };
            each_node(&tree, &edit, &mut |path, tree| {
                assert_refused(&specimen, path, tree)
            });
        }
    }
}

#[test]
fn null_is_no_number() {
    // What writers that know no NaN make of it.
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        let edit = |field: &str, node: &mut Value| {
            // These are no number where there is none; a field `noise` of an update is one.
            let optional = field == "noise" && specimen.name.contains("snapshot");
            node.is_number() && !optional && !["checksum", "evaluations"].contains(&field) && {
                *node = Value::Null;
                true
            }
        };
        each_node(&tree, &edit, &mut |path, tree| {
            assert_refused(&specimen, path, tree)
        });
    }
}

#[test]
fn other_numbers_are_refused_or_give_something_valid() {
    for specimen in open() {
        let tree: Value = serde_json::from_str(&specimen.json).unwrap();
        for number in [
            json!(-1),
            json!(0),
            json!(-0.0),
            json!(1),
            json!(1u64 << 40),
            json!(u64::MAX),
            json!(5e-324),
            json!(-1e-320),
            json!(1e308),
            json!(-1.7976931348623157e308),
            json!("inf"),
            json!("-inf"),
        ] {
            let edit = |_: &str, node: &mut Value| {
                node.is_number() && {
                    *node = number.clone();
                    true
                }
            };
            each_node(&tree, &edit, &mut |_, tree| {
                let _ = specimen.try_json(&serde_json::to_string(tree).unwrap());
            });
        }
    }
}

/// Every float of a CBOR tree in turn replaced by a value.
fn each_float(bytes: &[u8], value: f64, act: &mut dyn FnMut(&[u8])) {
    fn replace(node: &mut Cbor, left: &mut usize, value: f64) -> bool {
        match node {
            Cbor::Float(float) if *left == 0 => {
                *float = value;
                true
            }
            Cbor::Float(_) => {
                *left -= 1;
                false
            }
            Cbor::Array(list) => list.iter_mut().any(|node| replace(node, left, value)),
            Cbor::Map(map) => map.iter_mut().any(|(_, node)| replace(node, left, value)),
            _ => false,
        }
    }
    for index in 0.. {
        let mut tree: Cbor = ciborium::from_reader(bytes).unwrap();
        if !replace(&mut tree, &mut { index }, value) {
            return;
        }
        let mut damaged = Vec::new();
        ciborium::into_writer(&tree, &mut damaged).unwrap();
        act(&damaged);
    }
}

#[test]
fn nan_never_enters() {
    let mut floats = 0;
    for specimen in open() {
        each_float(&specimen.cbor, f64::NAN, &mut |bytes| {
            assert!(specimen.try_cbor(bytes).is_err(), "{}", specimen.name);
            floats += 1;
        });
        for infinite in [f64::INFINITY, f64::NEG_INFINITY] {
            each_float(&specimen.cbor, infinite, &mut |bytes| {
                let _ = specimen.try_cbor(bytes);
            });
        }
    }
    assert!(floats > 200, "{floats}");
}

#[test]
fn deep_nesting_is_refused() {
    for specimen in all() {
        for (open, close) in [("[", "]"), ("{\"level\":", "}"), ("{\"inner\":", "}")] {
            let text = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            assert!(specimen.try_json(&text).is_err());
        }
        // An array of one, a map of one, an array of unknown length, a tag.
        for byte in [0x81u8, 0xA1, 0x9F, 0xC1] {
            assert!(specimen.try_cbor(&vec![byte; 100_000]).is_err());
        }
    }
}
