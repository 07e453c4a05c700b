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
    /// Of an unknown one: the field of the class that it may be a slip of.
    pub nearest: Option<&'static str>,
}

impl Report {
    /// All but the class: a section for each list that is not empty.
    pub(super) fn sections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (default, given): (Vec<_>, Vec<_>) = self.read.iter().partition(|field| field.default);
        fields(f, "read from the file", &given)?;
        fields(f, "not in the file, so the class's default", &default)?;
        let (idle, unknown): (Vec<_>, Vec<_>) = self.ignored.iter().partition(|field| field.known);
        ignored(f, "in the file, without an effect here", &idle)?;
        ignored(f, "in the file, but no field of this class", &unknown)?;
        for field in unknown {
            if let Some(nearest) = field.nearest {
                let name = Shortened(&field.name);
                writeln!(f, "  (is {name} meant to be {nearest}?)")?;
            }
        }
        if !self.unused.is_empty() {
            let unused = self.unused.join(", ");
            writeln!(f, "requested, without an effect here:\n  {unused}")?;
        }
        self.write_defects(f)?;
        for note in &self.notes {
            writeln!(f, "note:\n  {note}")?;
        }
        Ok(())
    }

    fn write_defects(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (defect, _) in self.defects.iter().filter(|(_, reproduced)| *reproduced) {
            let does = defect.description();
            writeln!(
                f,
                "as the library has it, because it was asked for ({defect}):\n  {does}"
            )?;
        }
        for (defect, _) in self.defects.iter().filter(|(_, reproduced)| !reproduced) {
            let (does, here) = (defect.description(), defect.instead());
            writeln!(
                f,
                "unlike the library ({defect}):\n  There: {does}\n  Here: {here}"
            )?;
            writeln!(f, "  To have it: Request::reproducing(Defect::{defect})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.class)?;
        self.sections(f)
    }
}

fn fields(f: &mut fmt::Formatter<'_>, title: &str, fields: &[&FieldRead]) -> fmt::Result {
    let list = fields.iter().map(|field| (field.name, &field.value));
    section(f, title, list)
}

fn ignored(f: &mut fmt::Formatter<'_>, title: &str, fields: &[&Ignored]) -> fmt::Result {
    let list = fields
        .iter()
        .map(|field| (field.name.as_str(), &field.value));
    section(f, title, list)
}

/// A title, and a line for each field; nothing for none.
fn section<'a, V: fmt::Display + 'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    fields: impl ExactSizeIterator<Item = (&'a str, &'a V)>,
) -> fmt::Result {
    if fields.len() > 0 {
        writeln!(f, "{title}:")?;
    }
    for (name, value) in fields {
        writeln!(f, "  {} = {value}", Shortened(name))?;
    }
    Ok(())
}
