//! A checksum of bytes.

/// FNV-1a of 64 bits (Fowler, Noll and Vo): finds damage, and no forger.
pub fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
    // The offset basis and the prime of the 64-bit form.
    let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_values_are_met() {
        // From the test suite of the authors' page, for "", "a" and "foobar".
        assert_eq!(super::checksum(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::checksum(*b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(super::checksum(*b"foobar"), 0x8594_4171_f739_67e8);
    }
}
