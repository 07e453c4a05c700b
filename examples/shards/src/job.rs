//! What a job is, as a text that is stored beside its result and compared.

use std::path::Path;

use diffusion_sampler::Sampler;
use diffusion_sampler::grid::Spacing;
use diffusion_sampler::guidance::{ClassifierFree, Guidance, PlusPlus};
use diffusion_sampler::registry::{self, Named};
use diffusion_sampler::schedule::TableSchedule;

use crate::error::{Error, Result};
use crate::misuse::Misuse;
use crate::npy::MOST_ROWS;

/// The settings that decide every bit of the result. How the rows are shared out is none of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// N, the rows of the result.
    pub(crate) samples: u64,
    /// The sampler's name, with its spacing.
    pub(crate) sampler: String,
    /// Its steps.
    pub(crate) steps: u64,
    /// The scale of classifier-free guidance; 1 is none.
    pub(crate) scale: f64,
    /// The seed of the noise.
    pub(crate) seed: u64,
}

/// The fields of a stored job, in order.
const FIELDS: [&str; 7] = [
    "samples", "sampler", "steps", "scale", "seed", "plan", "network",
];

/// The first line of a stored job.
const TITLE: &str = "shards job, form 1";

impl Job {
    /// The same job under its sampler's full name, so that two spellings are one job.
    pub(crate) fn with_full_name(self) -> Result<Self> {
        if self.samples > MOST_ROWS {
            let (samples, allowed) = (self.samples, MOST_ROWS);
            return Err(Misuse::TooManySamples { samples, allowed }.into());
        }
        let (named, spacing) = self.registered()?;
        let sampler = format!("{} {}", named.entry.name, spacing.name());
        Ok(Self { sampler, ..self })
    }

    /// What the name stands for. A name without a spacing is meant on the trailing one.
    fn registered(&self) -> Result<(Named, Spacing)> {
        let named = registry::sampler(&self.sampler)?;
        let spacing = named.spacing.unwrap_or(Spacing::Trailing);
        Ok((named, spacing))
    }

    /// The sampler. The network reads λ, so that it works on any variance-preserving schedule.
    pub(crate) fn sampler(&self) -> Result<Sampler> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let (named, spacing) = self.registered()?;
        let steps = usize::try_from(self.steps).unwrap_or(usize::MAX);
        Ok(named.with_spacing(spacing).sampler(&schedule, steps)?)
    }

    /// The guidance that the sampler is meant for.
    pub(crate) fn guidance(&self) -> Result<Box<dyn Guidance>> {
        Ok(if self.registered()?.0.entry.plus_plus {
            Box::new(PlusPlus::new(self.scale)?)
        } else {
            Box::new(ClassifierFree::with_scale(self.scale)?)
        })
    }

    /// What is stored. `plan` and `network` stand for the code that computes: a machine on which
    /// either gives other numbers does not work on this job.
    pub(crate) fn text(&self, plan: &str, network: &str) -> String {
        let values = [
            self.samples.to_string(),
            self.sampler.clone(),
            self.steps.to_string(),
            self.scale.to_string(),
            self.seed.to_string(),
            plan.to_owned(),
            network.to_owned(),
        ];
        let mut text = format!("{TITLE}\n");
        for (field, value) in FIELDS.iter().zip(values) {
            text += &format!("{field} = {value}\n");
        }
        text
    }

    /// The job of a stored text; `path` is where it stood.
    pub(crate) fn read(text: &str, path: &Path) -> Result<Self> {
        let values = values(text, path)?;
        let [samples, sampler, steps, scale, seed, _, _] = values;
        let damaged = |line: &str| damaged(path, line);
        Ok(Self {
            samples: samples.parse().map_err(|_| damaged(samples))?,
            sampler: sampler.to_owned(),
            steps: steps.parse().map_err(|_| damaged(steps))?,
            scale: scale.parse().map_err(|_| damaged(scale))?,
            seed: seed.parse().map_err(|_| damaged(seed))?,
        })
    }
}

/// That two stored texts are of the same job; `path` is where the first stood.
pub(crate) fn require_same(stored: &str, wanted: &str, path: &Path) -> Result<()> {
    let pairs = values(stored, path)?.into_iter().zip(values(wanted, path)?);
    match FIELDS
        .into_iter()
        .zip(pairs)
        .find(|(_, (stored, wanted))| stored != wanted)
    {
        None => Ok(()),
        Some((field, (stored, wanted))) => Err(Error::AnotherJob {
            path: path.to_owned(),
            field,
            stored: stored.to_owned(),
            wanted: wanted.to_owned(),
        }),
    }
}

/// The values of a stored text, in the order of [`FIELDS`].
fn values<'t>(text: &'t str, path: &Path) -> Result<[&'t str; FIELDS.len()]> {
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    if title != TITLE {
        return Err(damaged(path, title));
    }
    let mut values = [""; FIELDS.len()];
    for (value, field) in values.iter_mut().zip(FIELDS) {
        let line = lines.next().unwrap_or_default();
        let rest = line
            .strip_prefix(field)
            .and_then(|rest| rest.strip_prefix(" = "));
        *value = rest.ok_or_else(|| damaged(path, line))?;
    }
    Ok(values)
}

fn damaged(path: &Path, line: &str) -> Error {
    Error::DamagedJob {
        path: path.to_owned(),
        line: line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            samples: 10,
            sampler: "dpmpp_2m karras".into(),
            steps: 8,
            scale: 0.1,
            seed: u64::MAX,
        }
    }

    #[test]
    fn a_stored_job_is_read_back() {
        let job = job().with_full_name().unwrap();
        assert_eq!(job.sampler, "DPM++ 2M karras");
        let text = job.text("a", "b");
        assert_eq!(Job::read(&text, Path::new("x")).unwrap(), job);
        for line in 0..=FIELDS.len() {
            let without: Vec<&str> = text
                .lines()
                .enumerate()
                .filter(|(at, _)| *at != line)
                .map(|(_, line)| line)
                .collect();
            assert!(matches!(
                Job::read(&without.join("\n"), Path::new("x")),
                Err(Error::DamagedJob { .. })
            ));
        }
    }

    #[test]
    fn jobs_that_differ_in_one_setting_are_not_the_same() {
        let (path, mine) = (Path::new("x"), job().text("a", "b"));
        let others = [
            (
                "samples",
                Job {
                    samples: 11,
                    ..job()
                }
                .text("a", "b"),
            ),
            (
                "sampler",
                Job {
                    sampler: "DDIM".into(),
                    ..job()
                }
                .text("a", "b"),
            ),
            ("steps", Job { steps: 9, ..job() }.text("a", "b")),
            (
                "scale",
                Job {
                    scale: 0.1f64.next_up(),
                    ..job()
                }
                .text("a", "b"),
            ),
            (
                "seed",
                Job {
                    seed: u64::MAX - 1,
                    ..job()
                }
                .text("a", "b"),
            ),
            ("plan", job().text("c", "b")),
            ("network", job().text("a", "c")),
        ];
        assert!(require_same(&mine, &mine, path).is_ok());
        for (name, other) in others {
            let refused = require_same(&mine, &other, path);
            assert!(
                matches!(refused, Err(Error::AnotherJob { field, .. }) if field == name),
                "{name}"
            );
        }
    }
}
