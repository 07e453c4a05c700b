//! A configuration file.

use std::collections::BTreeMap;

use super::classes::{CLASSES, classes, refused_class};
use super::reading::Reading;
use super::{Configured, Request, Value, json};
use crate::error::Error;
use crate::names::{nearest, normalise};

/// The field that names the class.
const CLASS: &str = "_class_name";

/// The content of a `scheduler_config.json`.
///
/// ```
/// use diffusion_sampler::diffusers::{Request, SchedulerConfig};
///
/// let text = r#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
///     "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "steps_offset": 1,
///     "set_alpha_to_one": false}"#;
/// let config = SchedulerConfig::from_json(text)?;
/// let configured = config.sampler(&Request::steps(50))?;
/// assert_eq!(configured.times()[..2], [981.0, 961.0]);
///
/// // The same checkpoint with another scheduler, as diffusers' `from_config` makes it.
/// let other = config.with_class("DPMSolverMultistepScheduler").with_field("use_karras_sigmas", true);
/// assert_eq!(other.sampler(&Request::steps(20))?.sampler().plan().evaluations(), 20);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("scheduler_config.json", "from_config", "from_pretrained"))]
pub struct SchedulerConfig {
    fields: BTreeMap<String, Value>,
}

impl SchedulerConfig {
    /// Reads the text of a configuration file: JSON, and the bare `Infinity`, `-Infinity` and `NaN`
    /// that Python writes into it.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigurationSyntax`] for a text that is not the JSON of an object, or nested
    /// deeper than 127 levels.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let fields = json::fields(text)?;
        Ok(Self { fields })
    }

    /// The class that the file names, if any.
    pub fn class(&self) -> Option<&str> {
        match self.fields.get(CLASS) {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        }
    }

    /// The same configuration for another class, which takes the fields that it knows: what
    /// `from_config` does.
    #[must_use]
    pub fn with_class(self, class: &str) -> Self {
        self.with_field(CLASS, class)
    }

    /// The same configuration with one field changed or added.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The sampler that the file and the request describe.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] where a field has the wrong type or lies out of range,
    /// [`Error::UnsupportedField`] where it asks for what is not here, [`Error::UnknownName`] for a
    /// word or a class that nobody knows, [`Error::NotASampler`] for a class that is no sampler
    /// here, [`Error::RequestIncomplete`] and [`Error::RequestRefused`] for a request that does not
    /// fit the file; what schedules, grids and solvers refuse.
    pub fn sampler(&self, request: &Request) -> Result<Configured, Error> {
        let name = match self.fields.get(CLASS) {
            Some(Value::Text(name)) => name,
            Some(other) => {
                return Err(Error::InvalidField {
                    class: "",
                    field: CLASS,
                    value: other.to_string(),
                    requirement: "a string",
                });
            }
            None => {
                return Err(Error::InvalidField {
                    class: "",
                    field: CLASS,
                    value: "nothing".to_owned(),
                    requirement: "there, or given by with_class",
                });
            }
        };
        let Some(class) = CLASSES
            .iter()
            .find(|class| class.names.contains(&name.as_str()))
        else {
            return Err(unknown_class(name));
        };
        request.check()?;
        let reading = Reading::new(class.names[0], class.fields, &self.fields, request);
        let recipe = (class.read)(&reading)?;
        Configured::new(recipe, reading)
    }
}

/// A class that is not read here: one that is known, or one that nobody knows.
fn unknown_class(name: &str) -> Error {
    if let Some(refused) = refused_class(name) {
        return refused;
    }
    Error::UnknownName {
        kind: "scheduler class",
        name: name.to_owned(),
        nearest: proposals(name),
    }
}

/// The classes whose name contains this one ("Euler" of "EulerScheduler"), then the nearest others.
fn proposals(name: &str) -> Vec<&'static str> {
    const COUNT: usize = 4;
    let stem = normalise(name.strip_suffix("Scheduler").unwrap_or(name));
    let contains = |known: &str| !stem.is_empty() && normalise(known).contains(&stem);
    let (containing, others): (Vec<_>, Vec<_>) = classes().partition(|known| contains(known));
    let mut proposed = nearest(name, containing, COUNT);
    let left = COUNT - proposed.len();
    proposed.extend(nearest(name, others, left));
    proposed
}
