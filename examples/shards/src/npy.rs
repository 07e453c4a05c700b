//! The file of samples: numpy's `.npy`, of a size that is known before anything is sampled.
//!
//! Version 1.0 of the format: the eight bytes `\x93NUMPY\x01\x00`, the length of the header in two
//! bytes, the header (a dictionary in Python's spelling, filled up with spaces so that the data
//! begin at a multiple of 64), then the elements in row-major order. See "numpy.lib.format" in
//! numpy's reference.

use digits_network::PIXELS;

/// Bytes before the first row. The header of any number of rows fits, so every file has this many.
pub(crate) const HEADER: u64 = 128;

/// Bytes of a row.
pub(crate) const ROW: u64 = (PIXELS * size_of::<f32>()) as u64;

/// The most rows: a file's length is below 2⁶³. (The keyed noise counts them to 2⁵³.)
pub(crate) const MOST_ROWS: u64 = 1 << 53;

/// The header of an array of `samples` rows of f32.
pub(crate) fn header(samples: u64) -> Vec<u8> {
    let dictionary =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({samples}, {PIXELS}), }}");
    let before = 10;
    let length = HEADER as usize - before;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{dictionary:<0$}\n", length - 1).bytes());
    bytes
}

/// Where a row begins.
pub(crate) fn offset(row: u64) -> u64 {
    HEADER + row * ROW
}

/// The bytes of elements in order.
pub(crate) fn bytes<'a>(elements: impl IntoIterator<Item = &'a f32>) -> Vec<u8> {
    elements
        .into_iter()
        .flat_map(|element| element.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_has_the_length_that_offsets_count_on() {
        for samples in [0, 1, 999, MOST_ROWS] {
            let header = header(samples);
            assert_eq!(header.len() as u64, HEADER);
            assert_eq!(header.last(), Some(&b'\n'));
            assert_eq!(u16::from_le_bytes([header[8], header[9]]), 118);
        }
        assert!(offset(MOST_ROWS) < 1 << 63);
    }
}
