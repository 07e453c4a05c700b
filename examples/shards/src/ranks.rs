//! The job among the ranks of MPI: the rank is the shard.
//!
//! While they sample, ranks say nothing to each other: a rank needs nothing of another, and what it
//! has finished is on the disk. Only when all are done do they report to rank 0, which checks the
//! file.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use digits_network::PIXELS;
use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::check::check;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::job::Job;
use crate::npy;
use crate::output::Output;
use crate::prepare;
use crate::report::{NUMBERS, Report};
use crate::rows::Shard;
use crate::say::{complain, say};
use crate::work::{Part, Work};

/// What is wrong among the ranks.
#[derive(Debug)]
pub(crate) enum RankError {
    /// MPI does not start.
    NotStarted,
    /// The gathered array has more elements than MPI counts.
    TooManyToGather { samples: u64, allowed: u64 },
    /// The gathered array is not the file's.
    GatheredDiffers { file: String, gathered: String },
    /// Ranks that failed; each has said why.
    Failed { ranks: Vec<usize> },
}

impl fmt::Display for RankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("MPI does not start"),
            Self::TooManyToGather { samples, allowed } => write!(
                f,
                "--gather: {samples} samples; MPI counts in 32 bits, which allows {allowed}"
            ),
            Self::GatheredDiffers { file, gathered } => {
                write!(f, "the gathered array has hash {gathered}, the file {file}")
            }
            Self::Failed { ranks } => write!(f, "ranks failed: {ranks:?}"),
        }
    }
}

impl From<RankError> for Error {
    fn from(error: RankError) -> Self {
        Self::Ranks(error)
    }
}

/// A rank's part in the job; at rank 0 the hash of all is printed at the end.
///
/// What cannot be said keeps no rank from its collectives, in which the others would wait for it.
pub(crate) fn run(out: &Path, job: Option<Job>, work: Work, gather: bool) -> Result<()> {
    let universe = mpi::initialize().ok_or(RankError::NotStarted)?;
    let world = universe.world();
    let (rank, size) = (world.rank(), world.size());
    let process = std::process::id();
    let mut said = say(format_args!("rank {rank} of {size} is process {process}"));
    let done = share(&world, out, job, work);
    let reports = reported(&world, done.as_ref().ok().map(|(report, _)| report));
    if rank == 0 {
        said = said.and_then(|()| print(&reports));
    }
    let samples = agreed(&world, done.map(|(_, samples)| samples))?;
    let gathered = match gather {
        true => gathered(&world, out, samples)?,
        false => None,
    };
    if rank != 0 {
        return said;
    }
    let file = check(out)?;
    said?;
    say(format_args!("{file}  {}", out.display()))?;
    match gathered {
        Some(gathered) if gathered != file => {
            Err(RankError::GatheredDiffers { file, gathered }.into())
        }
        Some(gathered) => say(format_args!("{gathered}  gathered at rank 0")),
        None => Ok(()),
    }
}

/// Samples this rank's rows; its report, and N. The file is closed at the end, so that rank 0 sees
/// on a network's file system what was written.
fn share(
    world: &SimpleCommunicator,
    out: &Path,
    job: Option<Job>,
    work: Work,
) -> Result<(Report, u64)> {
    let part = Part::Shard(Shard::new(world.rank() as u64, world.size() as u64)?);
    let (sampling, mut output) = prepare(out, job, &part)?;
    let report = work.run(&part, &sampling, &mut output)?;
    Ok((report, output.samples()))
}

/// What every rank has, where all ranks have it; else an error at all of them. A rank that failed
/// says why.
fn agreed<T>(world: &SimpleCommunicator, mine: Result<T>) -> Result<T> {
    if let Err(error) = &mine {
        complain(format_args!("rank {}: {error}", world.rank()));
    }
    let mut failed = vec![0u8; world.size() as usize];
    world.all_gather_into(&u8::from(mine.is_err()), &mut failed[..]);
    let ranks = failed.iter().enumerate().filter(|(_, failed)| **failed > 0);
    let ranks: Vec<usize> = ranks.map(|(rank, _)| rank).collect();
    if ranks.is_empty() {
        return mine;
    }
    Err(RankError::Failed { ranks }.into())
}

/// The reports of all ranks, as far as they have one.
fn reported(world: &SimpleCommunicator, mine: Option<&Report>) -> Vec<Option<Report>> {
    // No report: a row that no job has.
    let numbers = mine.map_or([-1.0; NUMBERS], Report::numbers);
    let mut all = vec![0.0; NUMBERS * world.size() as usize];
    world.all_gather_into(&numbers, &mut all[..]);
    let (all, _) = all.as_chunks::<NUMBERS>();
    let report = |numbers: &[f64; NUMBERS]| {
        let sound = numbers.iter().all(|number| *number >= 0.0);
        sound.then(|| Report::of_numbers(*numbers))
    };
    all.iter().map(report).collect()
}

fn print(reports: &[Option<Report>]) -> Result<()> {
    for (rank, report) in reports.iter().enumerate() {
        if let Some(report) = report {
            say(format_args!("rank {rank}: {report}"))?;
        }
    }
    Ok(())
}

/// The whole array in the memory of rank 0, for those that go on with it there: the hash of the
/// file that it would be. Every rank brings its own rows.
fn gathered(world: &SimpleCommunicator, out: &Path, samples: u64) -> Result<Option<String>> {
    // All that can fail is done before the ranks agree to meet in the gather.
    let ready = shares(world, samples)
        .and_then(|shares| Ok((elements(out, shares.get(world.rank() as usize))?, shares)));
    let (mine, shares) = agreed(world, ready)?;
    let root = world.process_at_rank(0);
    if world.rank() != 0 {
        root.gather_varcount_into(&mine[..]);
        return Ok(None);
    }
    let count = |rows: u64| (rows * PIXELS as u64) as Count;
    let counts: Vec<Count> = shares
        .iter()
        .map(|rows| count(rows.end - rows.start))
        .collect();
    let places: Vec<Count> = shares.iter().map(|rows| count(rows.start)).collect();
    let mut array = vec![0.0f32; samples as usize * PIXELS];
    let mut partition = PartitionMut::new(&mut array[..], counts, places);
    root.gather_varcount_into_root(&mine[..], &mut partition);
    let mut hash = Hash::new();
    hash.add(&npy::header(samples));
    hash.add(&npy::bytes(&array));
    Ok(Some(hash.finish()))
}

/// The rows of every rank, where MPI can count all their elements.
fn shares(world: &SimpleCommunicator, samples: u64) -> Result<Vec<Range<u64>>> {
    let allowed = Count::MAX as u64 / PIXELS as u64;
    if samples > allowed {
        return Err(RankError::TooManyToGather { samples, allowed }.into());
    }
    let size = world.size() as u64;
    let shares = (0..size).map(|rank| Ok(Shard::new(rank, size)?.rows(samples)));
    shares.collect()
}

/// The elements of these rows in the file.
fn elements(out: &Path, rows: Option<&Range<u64>>) -> Result<Vec<f32>> {
    let rows = rows.cloned().unwrap_or(0..0);
    let bytes = Output::open(out)?.read(&rows)?;
    let (elements, _) = bytes.as_chunks::<4>();
    let elements = elements.iter().map(|element| f32::from_le_bytes(*element));
    Ok(elements.collect())
}
