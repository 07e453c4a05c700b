//! The text of a configuration file: JSON as Python writes it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Value;
use crate::error::{Error, Shortened};

/// The numbers that Python's `json` module writes and reads beside those of the standard.
const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The fields of the object that `text` is.
pub(super) fn fields(text: &str) -> Result<BTreeMap<String, Value>, Error> {
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = serde_json::from_str(&standard(text));
    let parsed: serde_json::Map<String, serde_json::Value> =
        parsed.map_err(|error| syntax(&error, text))?;
    let fields = parsed.into_iter();
    Ok(fields.map(|(name, value)| (name, value.into())).collect())
}

/// The error of a text that is not the JSON of an object.
fn syntax(error: &serde_json::Error, text: &str) -> Error {
    let (line, column) = (error.line(), error.column());
    let place = format!(" at line {line} column {column}");
    let problem = error.to_string();
    let problem = match error.is_data() {
        // JSON, of anything else.
        true => "expected an object, {...}",
        false if looks_like_a_path(text) => {
            "expected the text of a file, found what looks like its path: read it first"
        }
        false => problem.strip_suffix(&place).unwrap_or(&problem),
    };
    Error::ConfigurationSyntax {
        line,
        column: column_of(text, line, column),
        problem: Shortened(problem).to_string(),
    }
}

/// Whether the text may be the name of a file.
fn looks_like_a_path(text: &str) -> bool {
    let text = text.trim();
    text.ends_with(".json") && !text.contains(['{', '\n'])
}

/// The column of `text` that is this column of its standard form.
fn column_of(text: &str, line: usize, column: usize) -> usize {
    let line = text.split('\n').nth(line.saturating_sub(1));
    let mut column = column;
    // Two quotes are put around each number that is not finite, and nothing is wrong between them.
    for (at, _) in line.map(not_finite).into_iter().flatten() {
        if column <= at + 1 {
            break;
        }
        column -= 2;
    }
    column
}

/// The same text with the numbers that are not finite as strings, which standard JSON can hold.
fn standard(text: &str) -> Cow<'_, str> {
    let mut changed = String::new();
    // How much of the text stands in `changed`.
    let mut copied = 0;
    for (at, name) in not_finite(text) {
        changed.push_str(text.get(copied..at).unwrap_or_default());
        changed.extend(["\"", name, "\""]);
        copied = at + name.len();
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    changed.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(changed)
}

/// Where a number stands that is not finite, outside strings, and which. The name of a field must
/// be a string.
fn not_finite(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
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
        let behind = rest.get(name.len()..).unwrap_or_default();
        if !behind.trim_start().starts_with(':') {
            found.push((at, *name));
        }
        at += name.len();
    }
    found
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
    use super::{Error, Value, fields, standard};

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
    fn the_place_of_an_error_is_that_of_the_text_and_is_told_once() {
        for text in [
            r#"{"a": 1 "b"}"#,
            r#"{"a": NaN "b"}"#,
            "{\"a\": [NaN, -Infinity],\n\"b\": [NaN, -Infinity \"b\"}",
        ] {
            let wrong = text.rfind("\"b\"").expect("it is there");
            let line_start = text[..wrong].rfind('\n').map_or(0, |at| at + 1);
            match fields(text) {
                Err(Error::ConfigurationSyntax {
                    line,
                    column,
                    problem,
                }) => {
                    assert_eq!(line, text[..wrong].split('\n').count(), "{text}");
                    assert_eq!(column, wrong - line_start + 1, "{text}");
                    assert!(!problem.contains("column"), "{problem}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        // A name is a string.
        assert!(fields("{NaN : 1}").is_err());
    }

    #[test]
    fn a_number_that_is_not_finite_at_the_wrong_place_is_where_it_begins_or_ends() {
        for (text, expected) in [
            (r#"{"a": 1 NaN}"#, 9),
            (r#"{"a" -Infinity}"#, 6),
            (r#"{"a": NaN Infinity}"#, 11),
            // All of it was read: its last letter.
            ("NaN", 3),
            ("-Infinity", 9),
        ] {
            match fields(text) {
                Err(Error::ConfigurationSyntax { column, .. }) => {
                    assert_eq!(column, expected, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
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
