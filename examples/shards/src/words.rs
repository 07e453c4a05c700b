//! The words behind a command: its options, with their values.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use crate::misuse::Misuse;

/// The option that may be there more than once.
const REPEATABLE: &str = "--from";

/// What a command takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Options with a value behind them.
    pub(crate) options: &'static [&'static str],
    /// Options without one.
    pub(crate) flags: &'static [&'static str],
}

/// The options that a command was given.
pub(crate) struct Words<'w> {
    command: &'w str,
    /// With their values; a flag's is empty.
    given: Vec<(&'w str, &'w str)>,
}

impl<'w> Words<'w> {
    /// From the words behind a command. A word that it does not take is refused before anything
    /// else is asked of them, so that a misspelt option is named, not the one that it should be.
    pub(crate) fn read(command: &'w str, rest: &'w [String], taken: Taken) -> Result<Self, Misuse> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        let mut rest = rest.iter().map(String::as_str);
        while let Some(word) = rest.next() {
            let value = if taken.flags.contains(&word) {
                ""
            } else if taken.options.contains(&word) {
                let value = rest.next().filter(|value| !value.starts_with("--"));
                value.ok_or_else(|| Misuse::MissingValue {
                    option: word.to_owned(),
                })?
            } else {
                return Err(Misuse::UnknownOption {
                    command: command.to_owned(),
                    found: word.to_owned(),
                });
            };
            if word != REPEATABLE && given.iter().any(|(option, _)| *option == word) {
                return Err(Misuse::RepeatedOption {
                    option: word.to_owned(),
                });
            }
            given.push((word, value));
        }
        Ok(Self { command, given })
    }

    /// The command.
    pub(crate) fn command(&self) -> &str {
        self.command
    }

    fn values(&self, option: &'static str) -> impl Iterator<Item = &'w str> {
        let given = self.given.iter().filter(move |(name, _)| *name == option);
        given.map(|(_, value)| *value)
    }

    /// Whether the option is there.
    pub(crate) fn flag(&self, option: &'static str) -> bool {
        self.values(option).next().is_some()
    }

    /// The option's value.
    pub(crate) fn value(&self, option: &'static str) -> Option<&'w str> {
        self.values(option).next()
    }

    /// The value, or the error that there is none.
    pub(crate) fn required<T>(&self, option: &'static str, value: Option<T>) -> Result<T, Misuse> {
        let command = self.command.to_owned();
        value.ok_or(Misuse::MissingOption { command, option })
    }

    /// The one file that the option names.
    pub(crate) fn path(&self, option: &'static str) -> Result<PathBuf, Misuse> {
        self.required(option, self.paths(option)?.into_iter().next())
    }

    /// The files that the option names, at least one.
    pub(crate) fn paths(&self, option: &'static str) -> Result<Vec<PathBuf>, Misuse> {
        let paths = self.values(option).map(|value| match value {
            "" => Err(invalid(option, value, "the name of a file")),
            name => Ok(name.into()),
        });
        let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
        self.required(option, (!paths.is_empty()).then_some(paths))
    }

    /// A whole number.
    pub(crate) fn whole(&self, option: &'static str) -> Result<Option<u64>, Misuse> {
        self.parsed(option, "a whole number from 0 to 2^64 - 1")
    }

    /// A number.
    pub(crate) fn number(&self, option: &'static str) -> Result<Option<f64>, Misuse> {
        self.parsed(option, "a number")
    }

    fn parsed<T: FromStr>(
        &self,
        option: &'static str,
        allowed: &'static str,
    ) -> Result<Option<T>, Misuse> {
        let parse = |value: &str| {
            let parsed = value.parse();
            parsed.map_err(|_| invalid(option, value, allowed))
        };
        self.value(option).map(parse).transpose()
    }

    /// The rows of `--rows a..b`.
    pub(crate) fn rows(&self) -> Result<Option<Range<u64>>, Misuse> {
        let option = "--rows";
        let Some(value) = self.value(option) else {
            return Ok(None);
        };
        let bounds = value.split_once("..");
        let rows = bounds.and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
        let rows = rows.ok_or_else(|| invalid(option, value, "a..b, two whole numbers"))?;
        Ok(Some(rows))
    }
}

/// The error of a value that is not what it must be.
pub(crate) fn invalid(option: &'static str, value: &str, allowed: &'static str) -> Misuse {
    let value = value.to_owned();
    Misuse::InvalidValue {
        option,
        value,
        allowed,
    }
}
