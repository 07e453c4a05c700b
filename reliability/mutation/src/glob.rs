//! Patterns of paths: `*` within a name, `**` across directories.

/// Whether a pattern matches a whole path.
pub fn matches(pattern: &str, path: &str) -> bool {
    go(pattern.as_bytes(), path.as_bytes())
}

/// Whether a path is chosen by patterns, of which those behind a `!` leave paths out; without any
/// others all paths are.
pub fn chosen(patterns: &[String], path: &str) -> bool {
    let out = |pattern: &&String| pattern.starts_with('!');
    let mut left_out = patterns.iter().filter(out).map(|pattern| &pattern[1..]);
    let mut wanted = patterns.iter().filter(|pattern| !out(pattern)).peekable();
    let any = wanted.peek().is_none();
    (any || wanted.any(|pattern| matches(pattern, path))) && !left_out.any(|p| matches(p, path))
}

fn go(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|skip| go(rest, &path[skip..])),
        [b'*', rest @ ..] => (0..=path.len())
            .take_while(|skip| *skip == 0 || path[skip - 1] != b'/')
            .any(|skip| go(rest, &path[skip..])),
        [one, rest @ ..] => path.first() == Some(one) && go(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::{chosen, matches};

    #[test]
    fn one_star_stays_in_a_folder_and_two_do_not() {
        for (pattern, path, expected) in [
            ("src/grid/*", "src/grid/mod.rs", true),
            ("src/*", "src/grid/mod.rs", false),
            ("src/**", "src/grid/mod.rs", true),
            ("src/level*", "src/level.rs", true),
            ("src/level*", "src/level/along.rs", false),
            ("src/level.rs", "src/level.rs", true),
            ("src/level", "src/level.rs", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_mark_leaves_paths_out() {
        let of = |patterns: &[&str], path| {
            chosen(
                &patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(),
                path,
            )
        };
        assert!(of(&[], "src/a.rs") && of(&["!src/b.rs"], "src/a.rs"));
        assert!(!of(&["!src/b.rs"], "src/b.rs"));
        assert!(of(&["src/*", "!src/b.rs"], "src/a.rs"));
        assert!(!of(&["src/*", "!src/b.rs"], "src/b.rs") && !of(&["src/*"], "tests/a.rs"));
    }
}
