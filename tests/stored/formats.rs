//! The formats that these tests go through: a text format, a binary one that knows the names of
//! fields and types, and a binary one that knows neither.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

pub(crate) fn postcard<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap()
}

pub(crate) fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

pub(crate) fn of_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(crate) fn of_postcard<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}

pub(crate) fn of_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    ciborium::from_reader(bytes).map_err(|error| error.to_string())
}

/// What becomes of a value in every format.
pub(crate) fn returned<T: Serialize + DeserializeOwned>(value: &T) -> [T; 5] {
    [
        of_json(&json(value)).unwrap(),
        of_json(&serde_json::to_string_pretty(value).unwrap()).unwrap(),
        serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap(),
        of_postcard(&postcard(value)).unwrap(),
        of_cbor(&cbor(value)).unwrap(),
    ]
}

/// Every number of a value, to the bit: floats are shown by the digits that give them back, zeros
/// with their sign.
pub(crate) fn shown<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}

pub(crate) fn assert_returns<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    for back in returned(value) {
        assert_eq!(shown(&back), shown(value));
    }
}
