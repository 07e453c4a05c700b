//! A checksum of bytes.

/// FNV-1a of 64 bits (Fowler, Noll and Vo): finds damage, and no forger.
pub fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
    // The offset basis and the prime of the 64-bit form.
    let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, fold)
}
