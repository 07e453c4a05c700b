//! Philox4x32-10.

/// The multipliers and key increments of Philox4x32 (Salmon et al., table 2 and section 3.3).
const M0: u64 = 0xD251_1F53;
const M1: u64 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// The low half of a 64-bit lane.
const LOW: u64 = 0xFFFF_FFFF;

/// Philox4x32 with ten rounds: four 32-bit words from a counter and a key.
///
/// Each word lives in the low half of a `u64`, and the high halves are unspecified. That
/// is for the SIMD units: their 32 × 32 → 64-bit multiplication reads the low half of each 64-bit
/// lane, so neither the masks below nor any shuffle is left in the vector code.
///
/// Salmon, Moraes, Dror and Shaw (2011), "Parallel Random Numbers: As Easy as 1, 2, 3", section
/// 3.3.
#[inline(always)]
pub(super) fn philox4x32_10(counter: [u64; 4], key: [u32; 2]) -> [u64; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = M0 * (c0 & LOW);
        let p1 = M1 * (c2 & LOW);
        c0 = (p1 >> 32) ^ c1 ^ u64::from(k0);
        c1 = p1;
        c2 = (p0 >> 32) ^ c3 ^ u64::from(k1);
        c3 = p0;
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0, c1, c2, c3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file kat_vectors of Random123 1.14, lines "philox4x32 10".
    #[test]
    fn philox_gives_the_published_known_answers() {
        let cases: [([u64; 4], [u32; 2], [u32; 4]); 3] = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [0xffff_ffff; 4],
                [0xffff_ffff; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in cases {
            assert_eq!(philox4x32_10(counter, key).map(|w| w as u32), words);
        }
    }
}
