//! The job among the ranks of MPI: the rank is the shard.
//!
//! While they sample, ranks say nothing to each other: a rank needs nothing of another, and what it
//! has finished is on the disk. Only when all are done do they report to rank 0, which checks the
//! file.

use std::fmt;
use std::path::Path;

use digits_network::PIXELS;
use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Root};

use crate::check::check;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::job::Job;
use crate::npy;
use crate::output::Output;
use crate::prepare;
use crate::report::{NUMBERS, Report};
use crate::rows::Shard;
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
pub(crate) fn run(out: &Path, job: Option<Job>, work: Work, gather: bool) -> Result<()> {
    let universe = mpi::initialize().ok_or(RankError::NotStarted)?;
    let world = universe.world();
    let (rank, size) = (world.rank(), world.size());
    println!("rank {rank} of {size} is process {}", std::process::id());
    let done = share(&world, out, job, work);
    if let Err(error) = &done {
        eprintln!("shards: rank {rank}: {error}");
    }
    let mine = done.as_ref().ok().map(|(report, _)| report);
    reported(&world, mine)?;
    let gathered = match &done {
        Ok((report, samples)) if gather => gathered(&world, out, report, *samples)?,
        _ => None,
    };
    if rank != 0 {
        return Ok(());
    }
    let file = check(out)?;
    println!("{file}  {}", out.display());
    match gathered {
        Some(gathered) if gathered != file => {
            Err(RankError::GatheredDiffers { file, gathered }.into())
        }
        Some(gathered) => {
            println!("{gathered}  gathered at rank 0");
            Ok(())
        }
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

/// Prints all reports at rank 0. An error at every rank if one has none.
fn reported(world: &SimpleCommunicator, mine: Option<&Report>) -> Result<()> {
    // No report: a row that no job has.
    let numbers = mine.map_or([-1.0; NUMBERS], Report::numbers);
    let root = world.process_at_rank(0);
    let mut all = vec![0.0; NUMBERS * world.size() as usize];
    if world.rank() == 0 {
        root.gather_into_root(&numbers, &mut all);
    } else {
        root.gather_into(&numbers);
    }
    root.broadcast_into(&mut all);
    let mut failed = Vec::new();
    for (rank, numbers) in all.chunks_exact(NUMBERS).enumerate() {
        match <[f64; NUMBERS]>::try_from(numbers) {
            Ok(numbers) if numbers.iter().all(|number| *number >= 0.0) => {
                if world.rank() == 0 {
                    println!("rank {rank}: {}", Report::of_numbers(numbers));
                }
            }
            _ => failed.push(rank),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(RankError::Failed { ranks: failed }.into())
}

/// The whole array in the memory of rank 0, for those that go on with it there: the hash of the
/// file that it would be. Every rank brings its own rows.
fn gathered(
    world: &SimpleCommunicator,
    out: &Path,
    report: &Report,
    samples: u64,
) -> Result<Option<String>> {
    let count = |rows: u64| Count::try_from(rows * PIXELS as u64).ok();
    let allowed = Count::MAX as u64 / PIXELS as u64;
    let all = count(samples).ok_or(RankError::TooManyToGather { samples, allowed })?;
    let bytes = Output::open(out)?.read(&report.rows)?;
    let (elements, _) = bytes.as_chunks::<4>();
    let mine: Vec<f32> = elements
        .iter()
        .map(|element| f32::from_le_bytes(*element))
        .collect();
    let root = world.process_at_rank(0);
    if world.rank() != 0 {
        root.gather_varcount_into(&mine[..]);
        return Ok(None);
    }
    let size = world.size() as u64;
    let shards = (0..size).map(|rank| Ok(Shard::new(rank, size)?.rows(samples)));
    let shards: Vec<_> = shards.collect::<Result<_>>()?;
    let counts: Vec<Count> = shards
        .iter()
        .filter_map(|rows| count(rows.end - rows.start))
        .collect();
    let places: Vec<Count> = shards.iter().filter_map(|rows| count(rows.start)).collect();
    let mut array = vec![0.0f32; all as usize];
    let mut partition = PartitionMut::new(&mut array[..], counts, places);
    root.gather_varcount_into_root(&mine[..], &mut partition);
    let mut hash = Hash::new();
    hash.add(&npy::header(samples));
    hash.add(&npy::bytes(&array));
    Ok(Some(hash.finish()))
}
