//! Values within the texts of errors: readable, and never long.

use std::fmt;

/// A number, in scientific notation where it would be a long row of digits.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if self.0.is_finite() && size != 0.0 && !(1e-6..1e17).contains(&size) {
            write!(f, "{:e}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// A text that came from outside: its beginning and its length where it is long. `Debug` quotes it.
pub(crate) struct Shortened<'a>(pub(crate) &'a str);

/// How many characters of a long text are shown. The names of all known things are shorter.
const SHOWN: usize = 80;

impl Shortened<'_> {
    /// What is shown, and whether more follows.
    fn parts(&self) -> (&str, bool) {
        let end = self.0.char_indices().nth(SHOWN).map(|(at, _)| at);
        let shown = end.and_then(|end| self.0.get(..end));
        (shown.unwrap_or(self.0), shown.is_some())
    }
}

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (whole, false) => f.write_str(whole),
            (start, true) => write!(f, "{start}… ({} bytes)", self.0.len()),
        }
    }
}

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (whole, false) => write!(f, "{whole:?}"),
            (start, true) => write!(f, "{start:?}… ({} bytes)", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, Shortened};

    #[test]
    fn a_short_text_is_shown_whole_and_a_long_one_by_its_start_and_length() {
        let (short, long) = ("ä".repeat(80), "ä".repeat(81));
        assert_eq!(Shortened(&short).to_string(), short);
        assert_eq!(format!("{:?}", Shortened(&short)), format!("{short:?}"));
        assert_eq!(
            Shortened(&long).to_string(),
            format!("{short}… (162 bytes)")
        );
        assert_eq!(format!("{:?}", Shortened("a\"")), "\"a\\\"\"");
        let long = if cfg!(miri) { 1 << 10 } else { 1 << 20 };
        assert!(format!("{:?}", Shortened(&"x".repeat(long))).len() < 120);
    }

    #[test]
    fn a_number_is_no_long_row_of_digits() {
        for (number, text) in [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (1e308, "1e308"),
            (5e-324, "5e-324"),
            (1000.0, "1000"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
