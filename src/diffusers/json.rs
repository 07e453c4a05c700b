//! The text of a configuration file: JSON as Python writes it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Value;
use crate::error::Error;

/// The numbers that Python's `json` module writes and reads beside those of the standard.
const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The fields of the object that `text` is.
pub(super) fn fields(text: &str) -> Result<BTreeMap<String, Value>, Error> {
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = serde_json::from_str(&standard(text));
    let parsed: serde_json::Map<String, serde_json::Value> =
        parsed.map_err(|error| Error::ConfigurationSyntax {
            line: error.line(),
            column: error.column(),
            problem: error.to_string(),
        })?;
    let fields = parsed.into_iter();
    Ok(fields.map(|(name, value)| (name, value.into())).collect())
}

/// The same text with the numbers that are not finite as strings, which standard JSON can hold.
fn standard(text: &str) -> Cow<'_, str> {
    let mut changed = String::new();
    // How much of the text stands in `changed`.
    let mut copied = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first == '"' {
            at += string_length(rest);
            continue;
        }
        let Some(name) = NOT_FINITE.iter().find(|name| rest.starts_with(**name)) else {
            at += first.len_utf8();
            continue;
        };
        changed.push_str(text.get(copied..at).unwrap_or_default());
        changed.extend(["\"", name, "\""]);
        at += name.len();
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    changed.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(changed)
}

/// The bytes of the string with which `text` begins, its quotes included; all where it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Flag(flag),
            serde_json::Value::Number(number) => match number.as_f64() {
                Some(number) => Self::Number(number),
                None => Self::Other(number.to_string()),
            },
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(list) => {
                let numbers = list.iter().map(serde_json::Value::as_f64);
                match numbers.collect() {
                    Some(numbers) => Self::Numbers(numbers),
                    None => Self::Other(serde_json::Value::Array(list).to_string()),
                }
            }
            object @ serde_json::Value::Object(_) => Self::Other(object.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, fields, standard};

    #[test]
    fn numbers_that_are_not_finite_are_read_as_python_writes_them() {
        let text = r#"{"a": -Infinity, "b": [NaN, 1], "c": "-Infinity, \"NaN", "d": Infinity}"#;
        let expected =
            r#"{"a": "-Infinity", "b": ["NaN", 1], "c": "-Infinity, \"NaN", "d": "Infinity"}"#;
        assert_eq!(standard(text), expected);
        assert_eq!(standard("{}"), "{}");
        assert_eq!(standard("\"open NaN"), "\"open NaN");
    }

    #[test]
    fn a_value_is_what_json_says() {
        let read = fields(r#"{"a": null, "b": true, "c": 1e3, "d": [1, 2.5], "e": {"f": 1}}"#);
        let read = read.expect("the text is JSON");
        let expected = [
            ("a", Value::Null),
            ("b", Value::Flag(true)),
            ("c", Value::Number(1000.0)),
            ("d", Value::Numbers(vec![1.0, 2.5])),
            ("e", Value::Other(r#"{"f":1}"#.to_owned())),
        ];
        assert_eq!(
            read,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }
}
