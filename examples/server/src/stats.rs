//! What an engine has done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::StoreError;

/// The most errors that are kept.
const MOST_ERRORS: usize = 100;

/// What an engine has done and how long it took.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Calls of the network.
    pub calls: usize,
    /// Rows of all calls.
    pub rows: usize,
    /// The rows of the largest call.
    pub largest: usize,
    /// Requests that were answered with samples.
    pub done: usize,
    /// Samples of those.
    pub samples: usize,
    /// Requests that failed while they ran.
    pub failed: usize,
    /// Requests that were cancelled.
    pub cancelled: usize,
    /// The most ticks that a running request has waited between two turns.
    pub longest_wait: usize,
    /// Time in the network.
    pub network: Duration,
    /// Time in the runs: asking, gathering, telling.
    pub sampler: Duration,
    /// Time to make snapshots. The keeper writes them on a thread of its own.
    pub snapshots: Duration,
    /// Snapshots and results that were written.
    pub files: usize,
    /// What went wrong with the files, the first hundred times; the requests went on.
    pub store_errors: Vec<String>,
}

impl Stats {
    /// The mean number of rows of a call.
    pub fn mean_rows(&self) -> f64 {
        self.rows as f64 / self.calls.max(1) as f64
    }

    /// The runs' share of the time of network and runs.
    pub fn sampler_share(&self) -> f64 {
        let all = self.network + self.sampler;
        self.sampler.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// What has been done so far, for all to read. The engine writes its counts to it, the keeper what
/// becomes of the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Stats>>);

impl Board {
    pub(crate) fn read(&self) -> Stats {
        self.lock().clone()
    }

    /// The engine's counts.
    pub(crate) fn count(&self, counts: &Stats) {
        let mut shown = self.lock();
        *shown = Stats {
            files: shown.files,
            store_errors: std::mem::take(&mut shown.store_errors),
            ..counts.clone()
        };
    }

    /// How many files were written, or why not. A disk that is full says the same every time.
    pub(crate) fn wrote(&self, written: Result<usize, StoreError>) {
        match written {
            Ok(files) => self.lock().files += files,
            Err(error) => self.store_error(error.to_string()),
        }
    }

    pub(crate) fn store_error(&self, text: String) {
        let errors = &mut self.lock().store_errors;
        if errors.len() < MOST_ERRORS {
            errors.push(text);
        }
    }

    /// A thread that panicked left whole numbers behind.
    fn lock(&self) -> MutexGuard<'_, Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
