//! What an engine has done.

use std::time::Duration;

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
