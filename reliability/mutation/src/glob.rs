//! Patterns of paths: `*` within a name, `**` across directories.

/// Whether a pattern matches a whole path.
pub fn matches(pattern: &str, path: &str) -> bool {
    go(pattern.as_bytes(), path.as_bytes())
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
