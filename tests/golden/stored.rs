//! Stored forms: the bytes of one value of every type, in three formats.

use crate::hash::Lines;
use crate::specimens;

pub(crate) fn add(lines: &mut Lines) {
    for specimen in specimens::all() {
        lines.add(format!("stored: {}", specimen.name), |hash| {
            hash.bytes(specimen.json.as_bytes());
            hash.bytes(&specimen.postcard);
            hash.bytes(&specimen.cbor);
        });
    }
}
