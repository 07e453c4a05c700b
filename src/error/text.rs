//! Values within the texts of errors: readable, and never long.

use std::fmt;

/// A number, in the shortest form that reads back, and in scientific notation where that would be a
/// long row of digits.
pub(crate) struct Number(pub(crate) f64);

impl Number {
    pub(crate) fn of(value: &f64) -> Self {
        Self(*value)
    }
}

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

/// The axes of a shape: the first ones and their number where there are many.
pub(crate) struct Shape<'a>(pub(crate) &'a [usize]);

/// How many axes of a shape are shown.
const AXES: usize = 8;

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..AXES) {
            Some(first) if first.len() < self.0.len() => {
                write!(f, "{first:?}… ({} axes)", self.0.len())
            }
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// A text that came from outside: its beginning and its length where it is long. `Debug` quotes it.
pub(crate) struct Shortened<'a>(pub(crate) &'a str);

/// How many characters of a long text are shown. The names of all known things are shorter.
const SHOWN: usize = 80;

impl Shortened<'_> {
    /// What is shown, where a character takes so many, and whether more follows.
    fn parts(&self, width: impl Fn(char) -> usize) -> (&str, bool) {
        let mut shown = 0;
        let end = self.0.char_indices().find(|&(_, character)| {
            shown += width(character);
            shown > SHOWN
        });
        let start = end.and_then(|(end, _)| self.0.get(..end));
        (start.unwrap_or(self.0), start.is_some())
    }
}

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts(|_| 1) {
            (whole, false) => f.write_str(whole),
            (start, true) => write!(f, "{start}… ({} bytes)", self.0.len()),
        }
    }
}

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts(|character| character.escape_debug().count()) {
            (whole, false) => write!(f, "{whole:?}"),
            (start, true) => write!(f, "{start:?}… ({} bytes)", self.0.len()),
        }
    }
}

/// What a field of an error is at its extreme.
#[cfg(test)]
pub(super) trait Extreme {
    fn extreme(number: f64, text: &str) -> Self;
}

#[cfg(test)]
macro_rules! extremes {
    ($($type:ty: |$number:pat_param, $text:pat_param| $value:expr;)*) => {$(
        impl Extreme for $type {
            fn extreme($number: f64, $text: &str) -> Self {
                $value
            }
        }
    )*};
}

#[cfg(test)]
extremes! {
    f64: |number, _| number;
    usize: |_, _| usize::MAX - 1;
    u32: |_, _| u32::MAX;
    u64: |_, _| u64::MAX;
    String: |_, text| text.to_owned();
    // As long as the crate's own are.
    &'static str: |_, _| "a text that is as long as what a parameter must be, or as the reason why something is not";
    Vec<usize>: |_, _| vec![usize::MAX; 100];
    Vec<&'static str>: |_, _| vec!["Euler's method with Karras' spacing"; 3];
}

#[cfg(test)]
mod tests {
    use super::{Number, Shape, Shortened};

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
        // What is written for a character counts.
        let strange = "\u{10ffff}".repeat(9);
        assert_eq!(
            format!("{:?}", Shortened(&strange)),
            format!("\"{}\"… (36 bytes)", "\\u{10ffff}".repeat(8))
        );
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

    #[test]
    fn a_shape_of_many_axes_is_shown_by_its_first_ones() {
        assert_eq!(Shape(&[]).to_string(), "[]");
        assert_eq!(Shape(&[2; 8]).to_string(), "[2, 2, 2, 2, 2, 2, 2, 2]");
        assert_eq!(
            Shape(&[1; 9]).to_string(),
            "[1, 1, 1, 1, 1, 1, 1, 1]… (9 axes)"
        );
    }
}
