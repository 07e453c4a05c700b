//! The command line.

use std::ops::Range;
use std::path::PathBuf;

use crate::job::Job;
use crate::misuse::Misuse;
use crate::rows::Shard;
use crate::work::{Part, Work};

/// What `shards help` prints.
pub(crate) const HELP: &str = "\
one sampling job on many processes

shards sample --out FILE --samples N   sample what is missing of this process's share
    [--sampler NAME] [--steps K] [--scale S] [--seed N]
shards resume --out FILE               the same, with the settings that are stored there
    both: [--shard I/N | --rows A..B | --mpi [--gather]] [--batch ROWS] [--shuffle SEED]
shards status --out FILE               the job, and which rows are missing
shards check  --out FILE               whether it is whole and unchanged, and its hash
shards verify --out FILE               sample rows again and compare
    [--rows A..B] [--batch ROWS]
shards merge  --out FILE --from FILE…  one file from several that were written apart
shards cost                            time and memory against samples and processes

--shard I/N    rows IN/N to (I + 1)N/N; I counts from 0
--rows A..B    these rows, finished or not
--mpi          the rank is I, the number of ranks N
--gather       the whole array at rank 0 too
--batch ROWS   the most rows at a time, 256 unless said
--shuffle SEED batches in another order
--sampler NAME by any name of the registry, \"DPM++ 2M trailing\" unless said
--steps K      20 unless said
--scale S      of classifier-free guidance, 2 unless said; 1 is none
--seed N       0 unless said
";

/// A command with its options.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Sample; without a job, the stored one.
    Sample {
        out: PathBuf,
        job: Option<Job>,
        part: Part,
        work: Work,
    },
    /// The same at every rank of MPI.
    Ranks {
        out: PathBuf,
        job: Option<Job>,
        work: Work,
        gather: bool,
    },
    /// Say what is missing.
    Status { out: PathBuf },
    /// Check, and give the hash.
    Check { out: PathBuf },
    /// Sample again and compare.
    Verify {
        out: PathBuf,
        rows: Option<Range<u64>>,
        batch: u64,
    },
    /// Put files together.
    Merge { out: PathBuf, parts: Vec<PathBuf> },
    /// Measure.
    Cost,
    /// Explain.
    Help,
}

/// Rows at a time.
const BATCH: u64 = 256;

impl Command {
    /// From the words behind the program's name.
    pub(crate) fn read(words: &[String]) -> Result<Self, Misuse> {
        let (command, rest) = match words.split_first() {
            Some((command, rest)) => (command.as_str(), rest),
            None => ("help", words),
        };
        let mut words = Words {
            command,
            rest: rest.to_vec(),
        };
        let command = match command {
            "sample" | "resume" => sample(&mut words)?,
            "status" => Self::Status {
                out: words.path("--out")?,
            },
            "check" => Self::Check {
                out: words.path("--out")?,
            },
            "verify" => Self::Verify {
                out: words.path("--out")?,
                rows: words.rows()?,
                batch: words.batch()?,
            },
            "merge" => Self::Merge {
                out: words.path("--out")?,
                parts: words.paths("--from")?,
            },
            "cost" => Self::Cost,
            "help" | "--help" | "-h" => Self::Help,
            found => {
                return Err(Misuse::UnknownCommand {
                    found: found.to_owned(),
                });
            }
        };
        words.finish(command)
    }
}

fn sample(words: &mut Words<'_>) -> Result<Command, Misuse> {
    let out = words.path("--out")?;
    let job = match words.command {
        "sample" => Some(job(words)?),
        _ => None,
    };
    let work = Work {
        batch: words.batch()?,
        shuffle: words.whole("--shuffle")?,
    };
    let (part, gather) = (part(words)?, words.flag("--gather"));
    match part {
        None => Ok(Command::Ranks {
            out,
            job,
            work,
            gather,
        }),
        Some(_) if gather => Err(Misuse::Without {
            one: "--gather",
            other: "--mpi",
        }),
        Some(part) => Ok(Command::Sample {
            out,
            job,
            part,
            work,
        }),
    }
}

fn job(words: &mut Words<'_>) -> Result<Job, Misuse> {
    let command = words.command.to_owned();
    let samples = words.whole("--samples")?;
    Ok(Job {
        samples: samples.ok_or(Misuse::MissingOption {
            command,
            option: "--samples",
        })?,
        sampler: words
            .value("--sampler")?
            .unwrap_or_else(|| "DPM++ 2M trailing".to_owned()),
        steps: words.whole("--steps")?.unwrap_or(20),
        scale: words.number("--scale")?.unwrap_or(2.0),
        seed: words.whole("--seed")?.unwrap_or(0),
    })
}

/// What is asked for; `None` for the rank's.
fn part(words: &mut Words<'_>) -> Result<Option<Part>, Misuse> {
    let shard = words.value("--shard")?;
    match (shard, words.rows()?, words.flag("--mpi")) {
        (None, None, true) => Ok(None),
        (None, Some(rows), false) => Ok(Some(Part::Rows(rows))),
        (Some(shard), None, false) => Ok(Some(Part::Shard(Shard::parse(&shard)?))),
        (None, None, false) => Ok(Some(Part::Shard(Shard::WHOLE))),
        (Some(_), Some(_), _) => Err(Misuse::Together {
            one: "--shard",
            other: "--rows",
        }),
        (Some(_), _, true) => Err(Misuse::Together {
            one: "--shard",
            other: "--mpi",
        }),
        (_, Some(_), true) => Err(Misuse::Together {
            one: "--rows",
            other: "--mpi",
        }),
    }
}

/// The words that nobody has taken yet.
struct Words<'c> {
    command: &'c str,
    rest: Vec<String>,
}

impl Words<'_> {
    fn flag(&mut self, option: &str) -> bool {
        let at = self.rest.iter().position(|word| word == option);
        at.map(|at| self.rest.remove(at)).is_some()
    }

    fn value(&mut self, option: &'static str) -> Result<Option<String>, Misuse> {
        let Some(at) = self.rest.iter().position(|word| word == option) else {
            return Ok(None);
        };
        if at + 1 == self.rest.len() {
            return Err(Misuse::MissingValue { option });
        }
        self.rest.remove(at);
        Ok(Some(self.rest.remove(at)))
    }

    fn path(&mut self, option: &'static str) -> Result<PathBuf, Misuse> {
        let command = self.command.to_owned();
        let value = self.value(option)?;
        Ok(value
            .ok_or(Misuse::MissingOption { command, option })?
            .into())
    }

    fn paths(&mut self, option: &'static str) -> Result<Vec<PathBuf>, Misuse> {
        let mut paths = vec![self.path(option)?];
        while let Some(path) = self.value(option)? {
            paths.push(path.into());
        }
        Ok(paths)
    }

    fn whole(&mut self, option: &'static str) -> Result<Option<u64>, Misuse> {
        self.parsed(option, "a whole number from 0 to 2^64 - 1")
    }

    fn number(&mut self, option: &'static str) -> Result<Option<f64>, Misuse> {
        self.parsed(option, "a number")
    }

    fn parsed<T: std::str::FromStr>(
        &mut self,
        option: &'static str,
        allowed: &'static str,
    ) -> Result<Option<T>, Misuse> {
        let Some(value) = self.value(option)? else {
            return Ok(None);
        };
        let parsed = value.parse();
        parsed.map(Some).map_err(|_| Misuse::InvalidValue {
            option,
            value,
            allowed,
        })
    }

    fn batch(&mut self) -> Result<u64, Misuse> {
        let (option, allowed) = ("--batch", "at least 1");
        match self.whole(option)? {
            Some(0) => Err(Misuse::InvalidValue {
                option,
                value: "0".to_owned(),
                allowed,
            }),
            batch => Ok(batch.unwrap_or(BATCH)),
        }
    }

    fn rows(&mut self) -> Result<Option<Range<u64>>, Misuse> {
        let option = "--rows";
        let Some(value) = self.value(option)? else {
            return Ok(None);
        };
        let bounds = value.split_once("..");
        let rows = bounds.and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
        let allowed = "a..b, two whole numbers";
        rows.map(Some).ok_or(Misuse::InvalidValue {
            option,
            value,
            allowed,
        })
    }

    /// The command, if nothing is left.
    fn finish(self, command: Command) -> Result<Command, Misuse> {
        match self.rest.into_iter().next() {
            None => Ok(command),
            Some(found) => Err(Misuse::UnknownOption {
                command: self.command.to_owned(),
                found,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Misuse> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Command::read(&words)
    }

    #[test]
    fn a_whole_command_line_is_read_in_any_order() {
        let line = "sample --seed 7 --out a.npy --shard 1/3 --steps 8 --batch 5 --samples 100 \
                    --scale -0.5 --sampler ddim --shuffle 4";
        let job = Job {
            samples: 100,
            sampler: "ddim".into(),
            steps: 8,
            scale: -0.5,
            seed: 7,
        };
        let sample = Command::Sample {
            out: "a.npy".into(),
            job: Some(job),
            part: Part::Shard(Shard::new(1, 3).unwrap()),
            work: Work {
                batch: 5,
                shuffle: Some(4),
            },
        };
        assert_eq!(read(line), Ok(sample));
        let ranks = Command::Ranks {
            out: "a".into(),
            job: None,
            work: Work {
                batch: BATCH,
                shuffle: None,
            },
            gather: true,
        };
        assert_eq!(read("resume --gather --mpi --out a"), Ok(ranks));
        let parts = vec!["b".into(), "c".into()];
        assert_eq!(
            read("merge --from b --out a --from c"),
            Ok(Command::Merge {
                out: "a".into(),
                parts
            })
        );
        assert_eq!(read(""), Ok(Command::Help));
    }

    #[test]
    fn wrong_words_are_refused_with_their_values() {
        let invalid = [
            ("sample --out a --samples -3", "--samples", "-3"),
            ("sample --out a --samples 3.5", "--samples", "3.5"),
            ("sample --out a --samples 3 --seed x", "--seed", "x"),
            ("sample --out a --samples 3 --scale two", "--scale", "two"),
            ("sample --out a --samples 3 --batch 0", "--batch", "0"),
            ("sample --out a --samples 3 --rows 5", "--rows", "5"),
            ("verify --out a --rows ..5", "--rows", "..5"),
            (
                "sample --out a --samples 3 --shard one/two",
                "--shard",
                "one/two",
            ),
        ];
        for (line, option, found) in invalid {
            let refused = read(line).unwrap_err();
            let Misuse::InvalidValue {
                option: named,
                value,
                ..
            } = &refused
            else {
                panic!("{line}: {refused}");
            };
            assert_eq!((*named, value.as_str()), (option, found));
            assert!(refused.to_string().contains(found));
        }
        let others = [
            ("sampel", "sampel"),
            ("sample --samples 3", "--out"),
            ("sample --out a", "--samples"),
            ("sample --out a --samples", "--samples"),
            ("sample --out a --samples 3 --wat 1", "--wat"),
            ("sample --out a --samples 3 --samples 4", "--samples"),
            ("sample --out a --samples 3 --shard 2/2", "2/2"),
            (
                "sample --out a --samples 3 --shard 0/2 --rows 0..1",
                "--rows",
            ),
            ("sample --out a --samples 3 --shard 0/2 --mpi", "--mpi"),
            ("sample --out a --samples 3 --rows 0..2 --mpi", "--mpi"),
            ("sample --out a --samples 3 --gather", "--mpi"),
            ("resume --out a --samples 3", "--samples"),
            ("merge --out a", "--from"),
            ("cost 3", "3"),
        ];
        for (line, named) in others {
            let refused = read(line).unwrap_err().to_string();
            assert!(refused.contains(named), "{line}: {refused}");
        }
    }
}
