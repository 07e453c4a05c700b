//! What was read of a configuration, and what was not.

use std::fmt;

use super::{Defect, Value};
use crate::error::Shortened;

/// What was read of a configuration, what was ignored, and which defects of the library make a
/// difference.
#[derive(Clone, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The scheduler's class.
    pub class: &'static str,
    /// The fields that have an effect, with their values; those that the file does not have take
    /// the class's defaults.
    pub read: Vec<FieldRead>,
    /// The fields of the file that have none.
    pub ignored: Vec<Ignored>,
    /// What the request says that has no effect on this configuration.
    pub unused: Vec<&'static str>,
    /// The known defects of the library that concern this run, and whether it has them.
    pub defects: Vec<(Defect, bool)>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// A field that has an effect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldRead {
    /// Its name.
    pub name: &'static str,
    /// Its value, as JSON.
    pub value: String,
    /// Whether the value is the class's default.
    pub default: bool,
}

/// A field without an effect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ignored {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Whether the class has such a field, which has no effect beside the others.
    pub known: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "class: {}", self.class)?;
        for field in &self.read {
            let default = if field.default { " (default)" } else { "" };
            writeln!(f, "read: {} = {}{default}", field.name, field.value)?;
        }
        for field in &self.ignored {
            let why = match field.known {
                true => "has no effect here",
                false => "is no field of this class",
            };
            let name = Shortened(&field.name);
            writeln!(f, "ignored: {name} = {}: it {why}", field.value)?;
        }
        for what in &self.unused {
            writeln!(f, "ignored: the request's {what}: it has no effect here")?;
        }
        for (defect, reproduced) in &self.defects {
            if *reproduced {
                writeln!(f, "reproduced, as requested: {}", defect.description())?;
            } else {
                writeln!(
                    f,
                    "not reproduced: {} Here: {} To have it: \
                     Request::reproducing(Defect::{defect})",
                    defect.description(),
                    defect.instead()
                )?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
