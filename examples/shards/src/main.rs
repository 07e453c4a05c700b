//! One sampling job on many processes or machines, with MPI or without. See the README.

mod arguments;
mod check;
mod cost;
mod error;
mod hash;
mod job;
mod journal;
mod merge;
mod misuse;
mod npy;
mod output;
#[cfg(feature = "mpi")]
mod ranks;
mod report;
mod rows;
mod sampling;
mod say;
mod words;
mod work;

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use arguments::{Command, HELP};
use error::{Error, Listed, Result};
use job::{Job, require_same};
use output::{Output, job_of};
use sampling::Sampling;
use say::{complain, say};
use work::{Part, Work};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match Command::read(&words).map_err(Error::from).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as `head` does.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Sample {
            out,
            job,
            part,
            work,
        } => {
            let (sampling, mut output) = prepare(&out, job, &part)?;
            let report = work.run(&part, &sampling, &mut output)?;
            say(format_args!("{part}: {report}"))
        }
        Command::Ranks {
            out,
            job,
            work,
            gather,
        } => ranks(&out, job, work, gather),
        Command::Status { out } => status(&out),
        Command::Check { out } => {
            let hash = check::check(&out)?;
            say(format_args!("{hash}  {}", out.display()))
        }
        Command::Verify { out, rows, batch } => {
            let rows = check::verify(&out, rows, batch)?;
            let out = out.display();
            say(format_args!("{rows} rows come out as they are in {out}"))
        }
        Command::Merge { out, parts } => {
            let rows = merge::merge(&out, &parts)?;
            say(format_args!("{rows} rows copied into {}", out.display()))?;
            status(&out)
        }
        Command::Cost => cost::print(),
        Command::Help => say(format_args!("{}", HELP.trim_end())),
    }
}

/// All that a process needs to work on its part of a job: the one given, or the one that is stored.
fn prepare(out: &Path, job: Option<Job>, part: &Part) -> Result<(Sampling, Output)> {
    let (job, stored) = match job {
        Some(job) => (job.with_full_name()?, None),
        None => job_of(out).map(|(job, text)| (job, Some(text)))?,
    };
    part.rows(job.samples)?;
    let sampling = Sampling::new(&job)?;
    let text = sampling.text(&job)?;
    if let Some(stored) = stored {
        require_same(&stored, &text, out)?;
    }
    let output = Output::create(out, job.samples, &text)?;
    Ok((sampling, output))
}

#[cfg(feature = "mpi")]
fn ranks(out: &Path, job: Option<Job>, work: Work, gather: bool) -> Result<()> {
    ranks::run(out, job, work, gather)
}

#[cfg(not(feature = "mpi"))]
fn ranks(_: &Path, _: Option<Job>, _: Work, _: bool) -> Result<()> {
    Err(misuse::Misuse::WithoutMpi.into())
}

fn status(out: &Path) -> Result<()> {
    let (job, text) = job_of(out)?;
    let finished = Output::open(out)?.finished()?;
    let missing = finished.missing(0..job.samples);
    say(format_args!("{}", text.trim_end()))?;
    say(format_args!(
        "finished = {} of {}",
        finished.len(),
        job.samples
    ))?;
    match missing.len() {
        0 => Ok(()),
        _ => say(format_args!("missing = {}", Listed(missing.ranges()))),
    }
}
