//! Damaged input: never a panic, and what is taken all the same is valid and comes back.

use ciborium::Value as Cbor;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::Value;

use crate::specimens::{Again, Specimen, all};

/// The specimen without checksums, which would refuse nearly every damage before anything else. In
/// CBOR what is damaged is read with the checksum of the damage; postcard, whose errors have no
/// text, keeps the one that was stored.
pub(crate) fn without_checksums(specimen: &mut Specimen) {
    let mut json: Value = serde_json::from_str(&specimen.json).unwrap();
    strip(&mut json);
    let text = serde_json::to_string(&json).unwrap();
    specimen.json = (specimen.json_again)(&text).map(|_| text).unwrap();
    let mut cbor: Cbor = ciborium::from_reader(&*specimen.cbor).unwrap();
    strip_cbor(&mut cbor);
    specimen.cbor.clear();
    ciborium::into_writer(&cbor, &mut specimen.cbor).unwrap();
    let none: Again<[u8], Vec<u8>> = Box::new(|_| Err("no reader".into()));
    let closed = std::mem::replace(&mut specimen.cbor_again, none);
    specimen.cbor_again = Box::new(move |bytes| sealed(&closed, bytes.to_vec()));
}

/// Reads CBOR with the checksums that it lacks, which the reader's refusals name one by one.
fn sealed(read: &Again<[u8], Vec<u8>>, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let refusal = match read(&bytes) {
        Ok(taken) => return Ok(taken),
        Err(refusal) => refusal,
    };
    match seal(&bytes, &refusal) {
        Some(bytes) => sealed(read, bytes),
        None => Err(refusal),
    }
}

/// The same tree with the checksum that a refusal finds missing.
fn seal(bytes: &[u8], refusal: &str) -> Option<Vec<u8>> {
    let (_, rest) = refusal.split_once("the stored ")?;
    let (name, rest) = rest.split_once(" has no checksum: what was read has ")?;
    let sum: u64 = rest.split_once(',')?.0.parse().unwrap();
    let mut tree: Cbor = ciborium::from_reader(bytes).ok()?;
    let form = match (name, field(&mut tree, "plan")) {
        ("plan", Some(plan)) => plan,
        _ => &mut tree,
    };
    *field(form, "checksum").filter(|sum| sum.is_null())? = Cbor::Integer(sum.into());
    let mut bytes = Vec::new();
    ciborium::into_writer(&tree, &mut bytes).unwrap();
    Some(bytes)
}

fn field<'a>(tree: &'a mut Cbor, name: &str) -> Option<&'a mut Cbor> {
    let fields = tree.as_map_mut()?.iter_mut();
    let mut named = fields.filter(|(key, _)| key.as_text() == Some(name));
    named.next().map(|(_, value)| value)
}

fn has_checksum(specimen: &Specimen) -> bool {
    ["plan", "sampler", "snapshot"]
        .iter()
        .any(|start| specimen.name.starts_with(start))
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| match key.as_str() {
            "checksum" => *value = Value::Null,
            _ => strip(value),
        }),
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => (),
    }
}

fn strip_cbor(value: &mut Cbor) {
    match value {
        Cbor::Map(map) => map.iter_mut().for_each(|(key, value)| match key.as_text() {
            Some("checksum") => *value = Cbor::Null,
            _ => strip_cbor(value),
        }),
        Cbor::Array(list) => list.iter_mut().for_each(strip_cbor),
        _ => (),
    }
}

/// With checksums and without.
fn both() -> impl Iterator<Item = Specimen> {
    let mut open = all();
    open.iter_mut().for_each(without_checksums);
    all().into_iter().chain(open)
}

impl Specimen {
    /// Reads damaged text; what is taken must come back from what is written of it.
    pub(crate) fn try_json(&self, text: &str) -> Result<String, String> {
        let taken = (self.json_again)(text)?;
        assert_eq!(
            (self.json_again)(&taken).as_deref(),
            Ok(&*taken),
            "{}",
            self.name
        );
        Ok(taken)
    }

    fn try_postcard(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let taken = (self.postcard_again)(bytes)?;
        assert_eq!(
            (self.postcard_again)(&taken).as_deref(),
            Ok(&*taken),
            "{}",
            self.name
        );
        Ok(taken)
    }

    pub(crate) fn try_cbor(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let taken = (self.cbor_again)(bytes)?;
        assert_eq!(
            (self.cbor_again)(&taken).as_deref(),
            Ok(&*taken),
            "{}",
            self.name
        );
        Ok(taken)
    }
}

#[test]
fn what_is_not_damaged_comes_back_with_and_without_checksums() {
    for specimen in both() {
        let written = specimen.try_postcard(&specimen.postcard).unwrap();
        assert_eq!(specimen.try_postcard(&written), Ok(written));
        assert!(specimen.try_json(&specimen.json).is_ok());
        assert!(specimen.try_cbor(&specimen.cbor).is_ok());
    }
}

#[test]
fn every_truncation_is_refused() {
    for specimen in both() {
        for end in 0..specimen.postcard.len() {
            let cut = &specimen.postcard[..end];
            assert!(
                specimen.try_postcard(cut).is_err(),
                "{} {end}",
                specimen.name
            );
        }
        for end in 0..specimen.cbor.len() {
            let cut = &specimen.cbor[..end];
            assert!(specimen.try_cbor(cut).is_err(), "{} {end}", specimen.name);
        }
        for end in 0..specimen.json.len() {
            let cut = &specimen.json[..end];
            assert!(specimen.try_json(cut).is_err(), "{} {end}", specimen.name);
        }
    }
}

/// Every byte changed in every bit, to all zeros and to all ones.
fn each_byte(bytes: &[u8], mut try_one: impl FnMut(&[u8])) {
    let mut damaged = bytes.to_vec();
    for index in 0..bytes.len() {
        let byte = bytes[index];
        let flips = (0..8).map(|bit| byte ^ (1 << bit));
        for other in flips.chain([0, 0xFF, b'0', b'9', b'-', b'e']) {
            damaged[index] = other;
            try_one(&damaged);
        }
        damaged[index] = byte;
    }
}

#[test]
fn a_changed_byte_is_refused_or_gives_something_valid() {
    let (mut taken, mut all) = (0, 0);
    for specimen in both() {
        let mut count = |ok: bool| {
            all += 1;
            taken += usize::from(ok);
        };
        each_byte(&specimen.postcard, |bytes| {
            count(specimen.try_postcard(bytes).is_ok())
        });
        each_byte(&specimen.cbor, |bytes| {
            count(specimen.try_cbor(bytes).is_ok())
        });
        each_byte(specimen.json.as_bytes(), |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                count(specimen.try_json(text).is_ok());
            }
        });
    }
    // Some digits may be others; most damage is found.
    assert!(taken > all / 100 && taken < all / 2, "{taken} of {all}");
}

#[test]
fn a_changed_byte_never_passes_a_checksum_with_another_value() {
    for specimen in all().iter().filter(|specimen| has_checksum(specimen)) {
        each_byte(&specimen.cbor, |bytes| {
            if let Ok(taken) = specimen.try_cbor(bytes) {
                // The sign of a scalar that is 0 is not in a plan's fingerprint.
                let mut pairs = taken.iter().zip(&specimen.cbor);
                let signs = pairs.all(|(a, b)| a == b || a ^ b == 0x80);
                let length = taken.len() == specimen.cbor.len();
                assert!(length && signs, "{}", specimen.name);
            }
        });
    }
}

#[test]
fn random_bytes_are_refused_or_give_something_valid() {
    let mut rng = SmallRng::seed_from_u64(5);
    for specimen in all() {
        for _ in 0..2000 {
            let length = rng.random_range(0..200);
            let bytes: Vec<u8> = (0..length)
                .map(|_| match rng.random_range(0..3) {
                    0 => rng.random_range(0..4),
                    _ => rng.random(),
                })
                .collect();
            let _ = specimen.try_postcard(&bytes);
            let _ = specimen.try_cbor(&bytes);
            let _ = specimen.try_json(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn pieces_of_valid_input_in_another_order_are_refused_or_valid() {
    let mut rng = SmallRng::seed_from_u64(6);
    for specimen in both() {
        for _ in 0..300 {
            let (a, b) = (&specimen.postcard, &specimen.cbor);
            for (bytes, is_cbor) in [(a, false), (b, true)] {
                let mut damaged = bytes.clone();
                let at = |rng: &mut SmallRng| rng.random_range(0..=bytes.len());
                let (from, to) = (at(&mut rng), at(&mut rng));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                let place = at(&mut rng);
                match rng.random_range(0..3) {
                    0 => damaged.splice(place..place, piece).for_each(drop),
                    1 => damaged.drain(from.min(to)..from.max(to)).for_each(drop),
                    _ => {
                        let end = (place + piece.len()).min(damaged.len());
                        damaged.splice(place..end, piece).for_each(drop);
                    }
                }
                let _ = match is_cbor {
                    true => specimen.try_cbor(&damaged),
                    false => specimen.try_postcard(&damaged),
                };
            }
        }
    }
}
