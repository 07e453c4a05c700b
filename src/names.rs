//! Names that people type: their normal form, and the nearest of those known.

/// The normal form in which names are compared: lowercase, letters and digits only, "+" as "p", so
/// that "DPM++ 2M" and "dpmpp_2m" agree.
pub(crate) fn normalise(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            '+' => Some('p'),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

/// No name is longer: what follows cannot bring a long input nearer to one, and its cost stays
/// small.
const LONGEST: usize = 64;

/// The `count` names of `known` with the smallest edit distance from `wanted`, both in their normal
/// form; of equally near ones the earlier first. None is given twice.
pub(crate) fn nearest(
    wanted: &str,
    known: impl IntoIterator<Item = &'static str>,
    count: usize,
) -> Vec<&'static str> {
    let wanted: Vec<char> = normalise(wanted).chars().take(LONGEST).collect();
    let mut ranked: Vec<(usize, &'static str)> = Vec::new();
    for name in known {
        if ranked.iter().all(|&(_, listed)| listed != name) {
            ranked.push((distance(&wanted, &normalise(name)), name));
        }
    }
    ranked.sort_by_key(|&(distance, _)| distance);
    ranked
        .into_iter()
        .take(count)
        .map(|(_, name)| name)
        .collect()
}

/// Those of the `known` names that differ from `wanted` in at most a third of its characters, what a
/// slip of the finger makes, with their distances; the nearest first.
pub(crate) fn close(
    wanted: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Vec<(usize, &'static str)> {
    let letters: Vec<char> = normalise(wanted).chars().take(LONGEST + 1).collect();
    if letters.len() > LONGEST {
        return Vec::new();
    }
    let distances = known
        .into_iter()
        .map(|name| (distance(&letters, &normalise(name)), name));
    let mut close: Vec<_> = distances
        .filter(|(distance, _)| 3 * distance <= letters.len())
        .collect();
    close.sort_by_key(|&(distance, _)| distance);
    close
}

/// Levenshtein's distance: the fewest insertions, deletions and replacements of one character.
fn distance(a: &[char], b: &str) -> usize {
    // Entry i: the distance of the first i characters of a from the part of b read so far.
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (read, other) in b.chars().enumerate() {
        let (mut diagonal, mut left) = (read, read + 1);
        for (entry, own) in std::iter::once(None).chain(a.iter().map(Some)).enumerate() {
            let above = row.get(entry).copied().unwrap_or(usize::MAX - 1);
            let new = match own {
                None => left,
                Some(own) => {
                    let replaced = diagonal + usize::from(*own != other);
                    replaced.min(above + 1).min(left + 1)
                }
            };
            diagonal = above;
            left = new;
            if let Some(slot) = row.get_mut(entry) {
                *slot = new;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{close, distance, nearest, normalise};

    #[test]
    fn spellings_of_one_name_agree() {
        for name in ["DPM++ 2M", "dpmpp_2m", "dpm++2m", "DPM-PP 2M"] {
            assert_eq!(normalise(name), "dpmpp2m");
        }
        assert_eq!(normalise("Euler a"), "eulera");
        assert_eq!(normalise(" _-/ "), "");
    }

    #[test]
    fn only_slips_are_close() {
        let known = ["normal", "karras", "align_your_steps_sd15", "ve"];
        assert_eq!(close("Karass", known), [(2, "karras")]);
        assert_eq!(
            close("align your steps", known),
            [(4, "align_your_steps_sd15")]
        );
        for far in ["", "max", "2", "automatic", &"x".repeat(1 << 12)] {
            assert!(close(far, known).is_empty(), "{far}");
        }
    }

    #[test]
    fn the_distance_is_levenshteins() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("euler", "heun", 4),
            ("ab", "ba", 2),
            ("saturday", "sunday", 3),
            ("same", "same", 0),
        ] {
            assert_eq!((of(a, b), of(b, a)), (expected, expected), "{a}, {b}");
        }
    }

    #[test]
    fn the_nearest_come_first_and_ties_keep_their_order() {
        let known = ["karras", "normal", "simple", "sample", "normal"];
        assert_eq!(nearest("Karas", known, 1), ["karras"]);
        assert_eq!(nearest("sumple", known, 2), ["simple", "sample"]);
        assert_eq!(nearest("norm", known, 9).len(), 4);
        assert!(nearest("norm", known, 0).is_empty());
        let long = if cfg!(miri) { 1 << 8 } else { 1 << 20 };
        assert_eq!(nearest(&"x".repeat(long), known, 4).len(), 4);
    }
}
