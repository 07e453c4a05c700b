//! Time and memory against samples and processes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::check::check;
use crate::error::{Error, Result};
use crate::report::Report;
use crate::say::say;

/// Steps where time is measured. Memory does not depend on them.
const STEPS: u64 = 8;

/// Samples where memory is measured.
const MANY: u64 = 16_000;

/// Prints both tables.
pub(crate) fn print() -> Result<()> {
    let folder = Folder::new()?;
    say(format_args!(
        "{STEPS} steps of DPM++ 2M, guided; times to the end of the last process\n\n\
         | samples | processes | seconds | CPU ms a sample | speed | network | sampler | disk |\n\
         |---|---|---|---|---|---|---|---|"
    ))?;
    for samples in [500, 2_000, 8_000] {
        times(samples, &folder)?;
    }
    say(format_args!(
        "\n| samples | processes | batch | share of one, KiB | peak memory of one, KiB |\n\
         |---|---|---|---|---|"
    ))?;
    for (count, batch) in [
        (1, 16_000),
        (2, 16_000),
        (4, 16_000),
        (1, 256),
        (4, 256),
        (4, 16),
    ] {
        let run = Run {
            samples: MANY,
            steps: 1,
            count,
            batch,
        };
        memory(run, &run.go(&folder)?)?;
    }
    Ok(())
}

/// The rows of the first table for one number of samples, which must have one hash.
fn times(samples: u64, folder: &Folder) -> Result<()> {
    let mut first: Option<Outcome> = None;
    for count in [1, 2, 4] {
        let run = Run {
            samples,
            steps: STEPS,
            count,
            batch: 256,
        };
        let outcome = run.go(folder)?;
        let alone = first.as_ref().unwrap_or(&outcome);
        if alone.hash != outcome.hash {
            let arguments = format!("sample --samples {samples} --shard i/{count}");
            let said = format!("hash {}, alone {}", outcome.hash, alone.hash);
            return Err(Error::Process { arguments, said });
        }
        let (seconds, speed) = (outcome.seconds, alone.seconds / outcome.seconds);
        let cpu: f64 = outcome.reports.iter().map(|report| report.cpu).sum();
        let each = 1e3 * cpu / samples as f64;
        let [network, sampler, disk] = outcome.parts().map(|part| format!("{:.1} %", 100.0 * part));
        say(format_args!(
            "| {samples} | {count} | {seconds:.2} | {each:.3} | {speed:.2} \
             | {network} | {sampler} | {disk} |"
        ))?;
        first.get_or_insert(outcome);
    }
    Ok(())
}

/// A row of the second table.
fn memory(run: Run, outcome: &Outcome) -> Result<()> {
    let Run {
        samples,
        count,
        batch,
        ..
    } = run;
    let reports = || outcome.reports.iter();
    let share = reports().map(Report::share_kib).fold(0.0, f64::max);
    let peak = reports().map(|report| report.peak_kib).max().unwrap_or(0);
    say(format_args!(
        "| {samples} | {count} | {batch} | {share:.0} | {peak} |"
    ))
}

/// A job that is shared by so many processes at once.
#[derive(Clone, Copy, Debug)]
struct Run {
    samples: u64,
    steps: u64,
    count: u64,
    batch: u64,
}

/// What came of it.
struct Outcome {
    seconds: f64,
    reports: Vec<Report>,
    hash: String,
}

impl Outcome {
    /// What part of the processes' time network, sampler and disk took.
    fn parts(&self) -> [f64; 3] {
        let sum = |part: fn(&Report) -> f64| self.reports.iter().map(part).sum::<f64>();
        let all = sum(|report| report.seconds);
        [
            sum(|report| report.network),
            sum(Report::sampler),
            sum(|report| report.writing),
        ]
        .map(|part| part / all)
    }
}

impl Run {
    fn go(self, folder: &Folder) -> Result<Outcome> {
        let Self {
            samples,
            count,
            batch,
            ..
        } = self;
        let out = folder.0.join(format!("{samples}-{count}-{batch}.npy"));
        let begin = Instant::now();
        let shards = (0..count).map(|index| self.start(index, &out));
        let shards: Vec<_> = shards.collect::<Result<_>>()?;
        let reports = shards.into_iter().map(wait).collect::<Result<_>>()?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Outcome {
            seconds,
            reports,
            hash: check(&out)?,
        })
    }

    fn start(self, index: u64, out: &Path) -> Result<(Child, String)> {
        let Self {
            samples,
            steps,
            count,
            batch,
        } = self;
        let rest =
            format!("--samples {samples} --steps {steps} --batch {batch} --shard {index}/{count}");
        let program =
            env::current_exe().map_err(Error::io("finding", Path::new("this program")))?;
        let mut command = Command::new(&program);
        command
            .args(["sample", "--out"])
            .arg(out)
            .args(rest.split(' '));
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let child = command.spawn().map_err(Error::io("starting", &program))?;
        Ok((child, rest))
    }
}

/// What a process reports in the end.
fn wait((child, arguments): (Child, String)) -> Result<Report> {
    let output = child
        .wait_with_output()
        .map_err(Error::io("waiting for", Path::new("a shard")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = Report::read(&said).filter(|_| output.status.success());
    report.ok_or(Error::Process { arguments, said })
}

/// A folder that is gone when its owner is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("shards-cost-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(Error::io("making", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing can be done where it cannot be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
