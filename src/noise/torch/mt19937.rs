//! MT19937.

/// The words of the state, and the distance of the recurrence.
pub(super) const WORDS: usize = 624;
const DISTANCE: usize = 397;

/// The Mersenne Twister of 32-bit words with period 2¹⁹⁹³⁷ − 1, seeded by one word.
///
/// Matsumoto and Nishimura (1998), "Mersenne Twister: A 623-Dimensionally Equidistributed Uniform
/// Pseudo-Random Number Generator"; the seeding is that of their revision of 2002
/// (`init_genrand`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mt19937 {
    pub(super) words: [u32; WORDS],
    /// How many of the words were given out; all of them where new ones are due.
    pub(super) used: usize,
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Self {
        let mut words = [seed; WORDS];
        let mut last = seed;
        for (index, word) in (0u32..).zip(&mut words).skip(1) {
            last = (last ^ (last >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(index);
            *word = last;
        }
        Self { words, used: WORDS }
    }

    /// The next word.
    #[inline]
    pub(super) fn word(&mut self) -> u32 {
        let word = match self.words.get(self.used) {
            Some(word) => *word,
            None => {
                self.renew();
                self.words[0]
            }
        };
        self.used += 1;
        tempered(word)
    }

    /// The next two words as one, the first above the second.
    #[inline]
    pub(super) fn double_word(&mut self) -> u64 {
        let high = u64::from(self.word());
        high << 32 | u64::from(self.word())
    }

    /// The next state: each word from itself, the one after it and the one `DISTANCE` after it,
    /// cyclically and in place.
    fn renew(&mut self) {
        const UPPER: u32 = 1 << 31;
        const TWIST: u32 = 0x9908_B0DF;
        for index in 0..WORDS {
            let next = self.words[(index + 1) % WORDS];
            let joined = (self.words[index] & UPPER) | (next & !UPPER);
            let twist = if joined & 1 == 1 { TWIST } else { 0 };
            self.words[index] = self.words[(index + DISTANCE) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.used = 0;
    }
}

#[inline(always)]
fn tempered(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9D2C_5680;
    word ^= (word << 15) & 0xEFC6_0000;
    word ^ (word >> 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the reference implementation's `init_genrand(5489)`.
    #[test]
    fn the_first_words_are_the_reference_implementations() {
        let mut words = Mt19937::new(5489);
        let first = [(); 5].map(|()| words.word());
        let published = [
            3_499_211_612,
            581_869_302,
            3_890_346_734,
            3_586_334_585,
            545_404_204,
        ];
        assert_eq!(first, published);
    }

    /// C++11, section 26.5.5 [rand.predef]: the 10000th output of a default-constructed `mt19937`,
    /// whose seed is 5489.
    #[test]
    fn the_ten_thousandth_word_is_the_standards() {
        let mut words = Mt19937::new(5489);
        for _ in 1..10_000 {
            words.word();
        }
        assert_eq!(words.word(), 4_123_659_995);
    }
}
