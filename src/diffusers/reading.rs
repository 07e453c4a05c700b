//! A configuration while it is read: typed fields, and a record of what was asked for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::request::{NetworkTime, Request};
use super::{Defect, FieldRead, Ignored, Report, Value};
use crate::error::{Error, require};
use crate::grid::Grid;

/// The longest table: one of a thousand times the usual length, and of 8 MB.
pub(super) const MAX_TABLE: usize = 1 << 20;

/// A configuration and a request while they are read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    class: &'static str,
    known: &'static [&'static [&'static str]],
    fields: &'a BTreeMap<String, Value>,
    request: &'a Request,
    report: RefCell<Report>,
    used: RefCell<Vec<&'static str>>,
    /// How many of the library's last steps are no steps.
    left_out: Cell<usize>,
    /// Whether the network's second output is the variance.
    learned: Cell<bool>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        class: &'static str,
        known: &'static [&'static [&'static str]],
        fields: &'a BTreeMap<String, Value>,
        request: &'a Request,
    ) -> Self {
        Self {
            class,
            known,
            fields,
            request,
            report: RefCell::new(Report {
                class,
                ..Report::default()
            }),
            used: RefCell::default(),
            left_out: Cell::default(),
            learned: Cell::default(),
        }
    }

    /// What the request always says.
    pub(super) fn request(&self) -> &'a Request {
        self.request
    }

    /// Refuses a network's time in parts of T, for classes whose times are none of 1 to T.
    pub(super) fn times_are_no_numbers_of_steps(&self) -> Result<(), Error> {
        match self.request.time {
            NetworkTime::Listed => Ok(()),
            _ => Err(self.refused(
                "network_time_from_one or network_time_to_one",
                "its times do not count training steps, and are told as they are",
            )),
        }
    }

    /// Notes that an optional part of the request has an effect.
    pub(super) fn uses(&self, part: &'static str) {
        self.used.borrow_mut().push(part);
    }

    /// A defect that makes a difference for this run: whether it is to be reproduced. Asked only
    /// where it does.
    pub(super) fn defect(&self, defect: Defect) -> bool {
        let reproduced = self.request.defects.contains(&defect);
        let mut report = self.report.borrow_mut();
        if !report.defects.iter().any(|&(known, _)| known == defect) {
            report.defects.push((defect, reproduced));
        }
        reproduced
    }

    /// Something worth knowing.
    pub(super) fn note(&self, note: impl Into<String>) {
        let note = note.into();
        let mut report = self.report.borrow_mut();
        if !report.notes.contains(&note) {
            report.notes.push(note);
        }
    }

    /// Whether the class has this field.
    pub(super) fn knows(&self, name: &str) -> bool {
        knows(self.known, name)
    }

    /// The library's last step ends where it begins; the grid is one step shorter.
    pub(super) fn ends_idle(&self) {
        self.left_out.set(1);
    }

    /// The run reads a variance from the network.
    pub(super) fn learns_variance(&self) {
        self.learned.set(true);
        self.note(
            "variance_type: the network has twice the channels, and the second half is its \
             variance: Configured::sample takes a model of two outputs (denoiser::split_channels); \
             a run by hand has noise::LearnedNoise",
        );
    }

    /// Whether it does.
    pub(super) fn has_learned_variance(&self) -> bool {
        self.learned.get()
    }

    /// The same, where that step changes nothing.
    pub(super) fn leaves_out_idle_end(&self) {
        self.ends_idle();
        self.note(
            "the last step of the library leads from the last level to itself; it changes nothing \
             (where it is not a number), and is left out",
        );
    }

    /// How many steps of a grid a strength keeps. It is a share of the library's steps, rounded down;
    /// of a flow-matching scheduler up, as its pipelines have it.
    pub(super) fn kept_by_strength(&self, steps: usize) -> usize {
        let Some(strength) = self.request.strength else {
            return steps;
        };
        let (left_out, all) = (self.left_out.get(), steps + self.left_out.get());
        let share = all as f64 * strength;
        let kept = match self.class.starts_with("FlowMatch") {
            true => all - ((all as f64 - share) as usize).min(all),
            false => (share as usize).min(all),
        };
        kept.saturating_sub(left_out)
    }

    /// The part of a grid that the request's strength leaves.
    pub(super) fn cut(&self, grid: &Grid) -> Result<Grid, Error> {
        let Some(strength) = self.request.strength else {
            return Ok(grid.clone());
        };
        let valid = (0.0..=1.0).contains(&strength);
        require(valid, "strength", strength, "between 0 and 1")?;
        let steps = grid.steps();
        match self.kept_by_strength(steps) {
            0 => Err(Error::InvalidParameter {
                name: "strength",
                value: strength,
                requirement: "so large that a step of the list is left",
            }),
            kept => grid.section(steps - kept..steps),
        }
    }

    /// Whether the file has this field, and not as `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        !matches!(self.fields.get(name), None | Some(Value::Null))
    }

    /// A number.
    pub(super) fn number(&self, name: &'static str, default: f64) -> Result<f64, Error> {
        let value = self.given(name);
        let read = match value {
            None => default,
            Some(value) => number(value).ok_or_else(|| self.invalid(name, value, "a number"))?,
        };
        self.record(name, Value::Number(read), value.is_none());
        Ok(read)
    }

    /// A number for which this holds, in code and in words.
    pub(super) fn number_where(
        &self,
        name: &'static str,
        default: f64,
        valid: impl Fn(f64) -> bool,
        requirement: &'static str,
    ) -> Result<f64, Error> {
        let read = self.number(name, default)?;
        match valid(read) {
            true => Ok(read),
            false => Err(self.invalid(name, &Value::Number(read), requirement)),
        }
    }

    /// A positive and finite number.
    pub(super) fn positive(&self, name: &'static str, default: f64) -> Result<f64, Error> {
        let valid = |number: f64| number.is_finite() && number > 0.0;
        self.number_where(name, default, valid, "positive and finite")
    }

    /// A number, or nothing: `null`, `false` or missing.
    pub(super) fn optional_number(&self, name: &'static str) -> Result<Option<f64>, Error> {
        let read = match self.fields.get(name) {
            None | Some(Value::Null | Value::Flag(false)) => None,
            Some(value) => {
                let expected = "a number, null or false";
                Some(number(value).ok_or_else(|| self.invalid(name, value, expected))?)
            }
        };
        let value = read.map_or(Value::Null, Value::Number);
        self.record(name, value, !self.fields.contains_key(name));
        Ok(read)
    }

    /// A whole number.
    pub(super) fn count(&self, name: &'static str, default: usize) -> Result<usize, Error> {
        let value = self.given(name);
        let read = match value {
            None => default,
            Some(value) => {
                let expected = "a whole number from 0 to 2^53";
                count(value).ok_or_else(|| self.invalid(name, value, expected))?
            }
        };
        self.record(name, Value::from(read), value.is_none());
        Ok(read)
    }

    /// `num_train_timesteps`, T: at least 1, and at most `max`.
    pub(super) fn training_times(&self, max: usize) -> Result<usize, Error> {
        let name = "num_train_timesteps";
        let read = self.count(name, 1000)?;
        if (1..=max).contains(&read) {
            return Ok(read);
        }
        let requirement = match max {
            MAX_TABLE => "a whole number from 1 to 2^20",
            _ => "a whole number, at least 1",
        };
        Err(self.invalid(name, &Value::from(read), requirement))
    }

    /// True or false; `null` is false.
    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool, Error> {
        let value = self.fields.get(name);
        let read = match value {
            None => default,
            Some(Value::Flag(flag)) => *flag,
            Some(Value::Null) => false,
            Some(value) => return Err(self.invalid(name, value, "true, false or null")),
        };
        self.record(name, Value::Flag(read), value.is_none());
        Ok(read)
    }

    /// One of several words. The first of each list is the word that is given back, the others are
    /// those of the file that mean the same.
    pub(super) fn choice(
        &self,
        name: &'static str,
        default: &'static str,
        choices: &[&[&'static str]],
    ) -> Result<&'static str, Error> {
        let value = self.given(name);
        let (read, recorded) = match value {
            None => (default, default.to_owned()),
            Some(Value::Text(text)) => {
                let choice = choices.iter().find(|words| words.contains(&text.as_str()));
                match choice.and_then(|words| words.first()) {
                    Some(word) => (*word, text.clone()),
                    None => return Err(self.unknown_word(name, text, choices)),
                }
            }
            Some(value) => return Err(self.invalid(name, value, "a string")),
        };
        let recorded = match recorded == read {
            true => Value::Text(recorded),
            false => Value::Text(format!("{recorded}, read as {read}")),
        };
        self.record(name, recorded, value.is_none());
        Ok(read)
    }

    /// A list of numbers, or nothing.
    pub(super) fn numbers(&self, name: &'static str) -> Result<Option<&'a [f64]>, Error> {
        let read = match self.fields.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::Numbers(numbers)) => Some(numbers.as_slice()),
            Some(value) => return Err(self.invalid(name, value, "a list of numbers or null")),
        };
        let value = read.map_or(Value::Null, |numbers| Value::Numbers(numbers.to_vec()));
        self.record(name, value, !self.fields.contains_key(name));
        Ok(read)
    }

    /// The error of a field whose value is understood, and asks for what is not here.
    pub(super) fn unsupported(
        &self,
        name: &'static str,
        reason: &'static str,
        closest: &'static str,
    ) -> Error {
        let value = self.fields.get(name).unwrap_or(&Value::Null);
        Error::UnsupportedField {
            class: self.class,
            field: name,
            value: value.to_string(),
            reason,
            closest,
        }
    }

    /// The error of a field whose value is of the wrong kind or out of range.
    pub(super) fn invalid(
        &self,
        name: &'static str,
        value: &Value,
        requirement: &'static str,
    ) -> Error {
        Error::InvalidField {
            class: self.class,
            field: name,
            value: value.to_string(),
            requirement,
        }
    }

    /// The same of the value that the file has.
    pub(super) fn invalid_as_given(&self, name: &'static str, requirement: &'static str) -> Error {
        self.invalid(
            name,
            self.fields.get(name).unwrap_or(&Value::Null),
            requirement,
        )
    }

    /// The error of a network that says nothing at a level, where the file's table is the reason.
    pub(super) fn where_nothing_is_said(&self, error: Error) -> Error {
        let zero = self.fields.get("rescale_betas_zero_snr") == Some(&Value::Flag(true));
        match error {
            Error::PredictionUndefined { .. } if zero => self.unsupported(
                "rescale_betas_zero_snr",
                "the network predicts noise, which says nothing where the signal-to-noise ratio is \
                 zero",
                "\"v_prediction\", or Request::reproducing(Defect::NearlyZeroTerminalSnr) for Euler, \
                 DPM-Solver and UniPC",
            ),
            error => error,
        }
    }

    /// The error of a request that leaves out what this configuration needs.
    pub(super) fn missing(&self, what: &'static str, reason: &'static str) -> Error {
        Error::RequestIncomplete {
            class: self.class,
            what,
            reason,
        }
    }

    /// The error of a request that asks for what this configuration cannot give.
    pub(super) fn refused(&self, what: &'static str, reason: &'static str) -> Error {
        Error::RequestRefused {
            class: self.class,
            what,
            reason,
        }
    }

    /// What was read, and what was not.
    pub(super) fn into_report(self) -> Report {
        let mut report = self.report.into_inner();
        let read = |name: &str| report.read.iter().any(|field| field.name == name);
        let ignored = self
            .fields
            .iter()
            .filter(|(name, _)| !name.starts_with('_') && !read(name));
        report.ignored = ignored
            .map(|(name, value)| Ignored {
                name: name.clone(),
                value: value.clone(),
                known: knows(self.known, name),
                nearest: match knows(self.known, name) {
                    true => None,
                    false => slip_of(self.known, name),
                },
            })
            .collect();
        let used = self.used.into_inner();
        let parts = self.request.parts().into_iter();
        report.unused = parts.filter(|part| !used.contains(part)).collect();
        report
    }

    /// The field's value; `null` is none.
    fn given(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| **value != Value::Null)
    }

    fn record(&self, name: &'static str, value: Value, default: bool) {
        let mut report = self.report.borrow_mut();
        if !report.read.iter().any(|field| field.name == name) {
            report.read.push(FieldRead {
                name,
                value: value.to_string(),
                default,
            });
        }
    }

    fn unknown_word(&self, name: &'static str, text: &str, choices: &[&[&'static str]]) -> Error {
        let known = choices.iter().flat_map(|words| words.iter().copied());
        Error::UnknownName {
            kind: name,
            name: text.to_owned(),
            nearest: crate::names::nearest(text, known, usize::MAX),
        }
    }
}

/// The field that differs from a name by a slip of the finger.
fn slip_of(known: &[&[&'static str]], name: &str) -> Option<&'static str> {
    let fields = known.iter().flat_map(|group| group.iter().copied());
    // Two fields may differ in a third of their letters; a slip is one letter or two.
    let close = crate::names::close(name, fields);
    close
        .first()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, field)| *field)
}

/// Whether a class with these fields has this one.
fn knows(known: &[&[&str]], name: &str) -> bool {
    known.iter().any(|group| group.contains(&name))
}

/// A number; one that is not finite is the string that stands for it in the text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn count(value: &Value) -> Option<usize> {
    let number = number(value)?;
    let whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    whole.then_some(number as usize)
}
