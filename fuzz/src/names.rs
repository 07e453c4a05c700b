//! Names of samplers and spacings: a solver, or an error that proposes names that are known.

use std::sync::LazyLock;

use diffusion_sampler::Error;
use diffusion_sampler::grid::{Spacing, spacings};
use diffusion_sampler::registry;

use crate::input::Input;

/// Every name that means something, of samplers and of spacings.
static KNOWN: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let samplers = registry::entries().flat_map(registry::Entry::all_names);
    let refused = registry::refused().flat_map(|refused| refused.names.iter().copied());
    let spacings = spacings().iter().flat_map(|entry| {
        let aliases = entry.aliases.iter().copied();
        std::iter::once(entry.name).chain(aliases)
    });
    samplers.chain(refused).chain(spacings).collect()
});

const BETWEEN: [&str; 8] = ["", " ", "_", "-", "+", "/", "k_", "sample_"];

/// Any text, or known names and what is between them, with some characters changed.
fn name(bytes: &[u8]) -> String {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    if kind.is_multiple_of(4) {
        return String::from_utf8_lossy(input.rest()).into_owned();
    }
    let mut name = String::new();
    for _ in 0..usize::from(kind % 4) {
        let between: &str = *input.choose(&BETWEEN[..]);
        name.push_str(between);
        let known: &str = *input.choose(&KNOWN[..]);
        name.push_str(known);
    }
    let mut characters: Vec<char> = name.chars().collect();
    while !input.is_empty() {
        let at = input.below(characters.len() + 1);
        let other = char::from_u32(input.word() as u32).unwrap_or('\u{1F600}');
        match input.below(4) {
            0 => characters.insert(at, other),
            1 if at < characters.len() => drop(characters.remove(at)),
            2 => characters.truncate(at),
            _ if at < characters.len() => characters[at] = other,
            _ => characters.push(char::from(input.byte())),
        }
        if characters.len() > 400 {
            break;
        }
    }
    characters.into_iter().collect()
}

/// Refuses an error of other kinds, and proposals that are unknown or given twice.
fn check_error(error: &Error, asked: &str) {
    match error {
        Error::UnknownName { kind, nearest, .. } => {
            assert!(
                !nearest.is_empty() || *kind == "spacing",
                "{asked:?}: nothing is near"
            );
            for (index, near) in nearest.iter().enumerate() {
                assert!(!nearest[..index].contains(near), "{asked:?}: {near} twice");
                let known = match *kind {
                    "sampler" => registry::sampler(near).is_ok(),
                    _ => Spacing::named(near).is_ok(),
                };
                assert!(known, "{asked:?}: {near} is proposed and unknown");
            }
        }
        Error::NotASampler { name, reason, .. } => {
            assert_eq!(name, asked);
            assert!(!reason.is_empty());
        }
        other => panic!("{asked:?}: {other:?}"),
    }
    // The message holds the name once or twice at most.
    assert!(error.to_string().len() < 1000 + 12 * asked.len());
}

/// Case and punctuation change nothing.
fn spelled(name: &str) -> String {
    let upper = |c: char| {
        let c = if c == '+' {
            'P'
        } else {
            c.to_ascii_uppercase()
        };
        [c, '-']
    };
    name.chars().flat_map(upper).collect()
}

/// What is asked for by a name, of samplers and of spacings.
pub fn registry_name(bytes: &[u8]) {
    let name = name(bytes);
    let other = spelled(&name);
    match registry::sampler(&name) {
        Ok(named) => {
            let again = registry::sampler(&other).expect("the same name in another spelling");
            assert_eq!(again.entry.name, named.entry.name, "{name:?}");
            assert_eq!(again.spacing, named.spacing, "{name:?}");
            assert!(named.solver.order() >= 1, "{name:?}");
        }
        Err(error) => {
            check_error(&error, &name);
            assert!(registry::sampler(&other).is_err(), "{name:?}");
        }
    }
    match Spacing::named(&name) {
        Ok(spacing) => {
            assert_eq!(Spacing::named(&other), Ok(spacing), "{name:?}");
            assert_eq!(Spacing::named(spacing.name()), Ok(spacing));
        }
        Err(error) => check_error(&error, &name),
    }
}
