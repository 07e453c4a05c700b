//! The command line.

use std::ops::Range;
use std::path::PathBuf;

use crate::job::Job;
use crate::misuse::Misuse;
use crate::rows::Shard;
use crate::words::{Taken, Words, invalid};
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
shards verify --out FILE               sample finished rows again and compare
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
        let taken = taken(command).ok_or_else(|| Misuse::UnknownCommand {
            found: command.to_owned(),
        })?;
        if rest.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(Self::Help);
        }
        let words = Words::read(command, rest, taken)?;
        Ok(match command {
            "sample" | "resume" => sample(&words)?,
            "status" => Self::Status {
                out: words.path("--out")?,
            },
            "check" => Self::Check {
                out: words.path("--out")?,
            },
            "verify" => Self::Verify {
                out: words.path("--out")?,
                rows: words.rows()?,
                batch: batch(&words)?,
            },
            "merge" => Self::Merge {
                out: words.path("--out")?,
                parts: words.paths("--from")?,
            },
            "cost" => Self::Cost,
            _ => Self::Help,
        })
    }
}

/// What a command takes; `None` where there is no such command.
fn taken(command: &str) -> Option<Taken> {
    let (options, flags): (&[_], &[_]) = match command {
        "sample" => (
            &[
                "--out",
                "--samples",
                "--sampler",
                "--steps",
                "--scale",
                "--seed",
                "--shard",
                "--rows",
                "--batch",
                "--shuffle",
            ],
            &["--mpi", "--gather"],
        ),
        "resume" => (
            &["--out", "--shard", "--rows", "--batch", "--shuffle"],
            &["--mpi", "--gather"],
        ),
        "status" | "check" => (&["--out"], &[]),
        "verify" => (&["--out", "--rows", "--batch"], &[]),
        "merge" => (&["--out", "--from"], &[]),
        "cost" | "help" | "--help" | "-h" => (&[], &[]),
        _ => return None,
    };
    Some(Taken { options, flags })
}

fn sample(words: &Words<'_>) -> Result<Command, Misuse> {
    let out = words.path("--out")?;
    let job = match words.command() {
        "sample" => Some(job(words)?),
        _ => None,
    };
    let work = Work {
        batch: batch(words)?,
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

fn job(words: &Words<'_>) -> Result<Job, Misuse> {
    Ok(Job {
        samples: words.required("--samples", words.whole("--samples")?)?,
        sampler: words
            .value("--sampler")
            .unwrap_or("DPM++ 2M trailing")
            .to_owned(),
        steps: words.whole("--steps")?.unwrap_or(20),
        scale: words.number("--scale")?.unwrap_or(2.0),
        seed: words.whole("--seed")?.unwrap_or(0),
    })
}

fn batch(words: &Words<'_>) -> Result<u64, Misuse> {
    let option = "--batch";
    match words.whole(option)? {
        Some(0) => Err(invalid(option, "0", "at least 1")),
        batch => Ok(batch.unwrap_or(BATCH)),
    }
}

/// What is asked for; `None` for the rank's.
fn part(words: &Words<'_>) -> Result<Option<Part>, Misuse> {
    let shard = words.value("--shard");
    match (shard, words.rows()?, words.flag("--mpi")) {
        (None, None, true) => Ok(None),
        (None, Some(rows), false) => Ok(Some(Part::Rows(rows))),
        (Some(shard), None, false) => Ok(Some(Part::Shard(Shard::parse(shard)?))),
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
        for line in ["", "help", "--help", "sample --help", "verify --out a -h"] {
            assert_eq!(read(line), Ok(Command::Help), "{line}");
        }
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
            ("sampel", "no command \"sampel\""),
            ("sampel --help", "no command \"sampel\""),
            ("sample --samples 3", "needs --out"),
            ("sample --out a", "needs --samples"),
            ("sample --out a --samples", "--samples needs a value"),
            ("sample --out --samples 3", "--out needs a value"),
            ("sample --out a --samples 3 --wat 1", "no \"--wat\""),
            ("sample --ot a --samples 3", "no \"--ot\""),
            ("sample --out a --samples 3 4", "no \"4\""),
            (
                "sample --out a --samples 3 --samples 4",
                "--samples is given twice",
            ),
            (
                "sample --out a --mpi --samples 3 --mpi",
                "--mpi is given twice",
            ),
            (
                "sample --out a --samples 3 --shard 2/2",
                "2 must be below 2",
            ),
            (
                "sample --out a --samples 3 --shard 0/0",
                "n must be at least 1",
            ),
            (
                "sample --out a --samples 3 --shard 0/2 --rows 0..1",
                "--rows",
            ),
            ("sample --out a --samples 3 --shard 0/2 --mpi", "--mpi"),
            ("sample --out a --samples 3 --rows 0..2 --mpi", "--mpi"),
            ("sample --out a --samples 3 --gather", "--mpi"),
            ("resume --out a --samples 3", "no \"--samples\""),
            ("merge --out a", "needs --from"),
            ("cost 3", "no \"3\""),
        ];
        for (line, named) in others {
            let refused = read(line).unwrap_err().to_string();
            assert!(refused.contains(named), "{line}: {refused}");
        }
        let nameless = ["check", "--out", ""].map(str::to_owned);
        let refused = Command::read(&nameless).unwrap_err().to_string();
        assert_eq!(refused, "--out \"\": must be the name of a file");
    }
}
