//! The engine: it owns the network, and works tick by tick on a thread of its own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use ndarray::Array2;
use tokio::sync::mpsc::Receiver;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::job::Job;
use crate::network::Network;
use crate::stats::{Board, Stats};
use crate::store::Keeper;

/// What an engine is sent.
#[derive(Debug)]
pub(crate) enum Message {
    Run(Box<Job>),
    /// Look at what the server wants.
    Wake,
}

/// What the server wants of its engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish(Arc<AtomicU8>);

impl Wish {
    /// Accept nothing more, and finish what was accepted.
    pub(crate) fn drain(&self) {
        self.0.fetch_max(1, Ordering::AcqRel);
    }

    /// Stop after this tick.
    pub(crate) fn stop(&self) {
        self.0.fetch_max(2, Ordering::AcqRel);
    }

    fn drains(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }

    fn stops(&self) -> bool {
        self.0.load(Ordering::Acquire) == 2
    }
}

/// A run and its rows in the batch.
type Turn = (Range<usize>, Box<Job>);

/// The engine.
#[derive(Debug)]
pub(crate) struct Engine<N> {
    pub(crate) network: N,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) wish: Wish,
    /// The most requests that run at a time.
    pub(crate) places: usize,
    /// The requests that run; the next turn is the first one's.
    pub(crate) active: VecDeque<Box<Job>>,
    pub(crate) batch: Batch,
    pub(crate) keeper: Option<Keeper>,
    /// Its own counts, copied to the board.
    pub(crate) stats: Stats,
    pub(crate) board: Board,
}

impl<N: Network> Engine<N> {
    /// Works until the server wants it to end, or everybody who could ask is gone.
    pub(crate) fn run(mut self) -> Stats {
        while self.admit() {
            self.tick();
            self.keep(false);
            self.sweep();
            self.board.count(&self.stats);
        }
        self.close()
    }

    /// Takes requests from the queue while there are places; waits for one where none runs. Whether
    /// there is work.
    fn admit(&mut self) -> bool {
        loop {
            if self.wish.stops() {
                return false;
            }
            if self.wish.drains() {
                self.inbox.close();
            }
            if self.active.len() >= self.places {
                return true;
            }
            // A queue that is closed is not waited for: a client that was given a place in it, and
            // is held up, would hold the server up.
            let message = if self.active.is_empty() && !self.inbox.is_closed() {
                self.inbox.blocking_recv()
            } else {
                self.inbox.try_recv().ok()
            };
            match message {
                Some(Message::Run(job)) => self.take(job),
                Some(Message::Wake) => {}
                None => return !self.active.is_empty(),
            }
        }
    }

    fn take(&mut self, mut job: Box<Job>) {
        let id = job.id();
        if self.active.iter().any(|other| other.id() == id) {
            // The other one's file must stay: the keeper does not hear of this one.
            let (_, _, link) = job.into_parts();
            self.stats.failed += 1;
            self.board.count(&self.stats);
            link.answer(Err(Failure::Duplicate { id }));
            return;
        }
        if job.is_cancelled() {
            return self.cancel(job);
        }
        match job.settle() {
            Ok(false) => self.active.push_back(job),
            Ok(true) => self.finish(job),
            Err(failure) => self.fail(job, failure),
        }
    }

    /// Asks the runs whose turn it is, calls the network once, and tells each its rows.
    fn tick(&mut self) {
        let began = Instant::now();
        let turns = self.gather();
        let gathered = Instant::now();
        let answers = self.call(&turns);
        let called = Instant::now();
        for ((rows, mut job), answer) in turns.into_iter().zip(answers) {
            let told = answer.and_then(|()| job.tell(&self.batch.outputs(rows)));
            match told.and_then(|()| job.settle()) {
                Ok(false) => self.active.push_back(job),
                Ok(true) => self.finish(job),
                Err(failure) => self.fail(job, failure),
            }
        }
        self.stats.network += called - gathered;
        self.stats.sampler += (gathered - began) + called.elapsed();
    }

    /// The runs that fit into one call, in the order of the queue: they go to its end afterwards.
    /// The first that does not fit ends the list, so that a request of many rows is not passed for
    /// ever: between two turns of a request every other one has at most one.
    fn gather(&mut self) -> Vec<Turn> {
        self.batch.clear();
        let mut turns = Vec::with_capacity(self.active.len());
        while let Some(mut job) = self.active.pop_front() {
            match self.batch.add(&mut job) {
                Ok(Some(rows)) => {
                    self.stats.longest_wait = self.stats.longest_wait.max(job.waited);
                    job.waited = 0;
                    turns.push((rows, job));
                }
                Ok(None) => {
                    self.active.push_front(job);
                    break;
                }
                Err(failure) => self.fail(job, failure),
            }
        }
        for job in &mut self.active {
            job.waited += 1;
        }
        turns
    }

    /// One call for all. Where it fails, one for each, so that a request suffers for itself only.
    fn call(&mut self, turns: &[Turn]) -> Vec<Result<(), Failure>> {
        let all = self.batch.len();
        if all == 0 {
            return Vec::new();
        }
        self.stats.calls += 1;
        self.stats.rows += all;
        self.stats.largest = self.stats.largest.max(all);
        if self.batch.call(&mut self.network, 0..all).is_ok() {
            return turns.iter().map(|_| Ok(())).collect();
        }
        let alone = turns.iter().map(|(rows, _)| {
            self.stats.calls += 1;
            self.stats.rows += rows.len();
            let answer = self.batch.call(&mut self.network, rows.clone());
            answer.map_err(|error| Failure::Network(Arc::new(error)))
        });
        alone.collect()
    }

    /// Lets those go that nobody waits for.
    fn sweep(&mut self) {
        let all = std::mem::take(&mut self.active);
        let (gone, stay): (VecDeque<_>, _) = all.into_iter().partition(|job| job.is_cancelled());
        self.active = stay;
        for job in gone {
            self.cancel(job);
        }
    }

    /// Snapshots of the runs that have moved, when they are due.
    fn keep(&mut self, at_once: bool) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if !keeper.is_due() && !at_once {
            return;
        }
        let began = Instant::now();
        let network = self.network.model().fingerprint;
        let moved = self.active.iter_mut();
        keeper.keep(moved.filter_map(|job| job.snapshot(network)).collect());
        self.stats.snapshots += began.elapsed();
    }

    fn finish(&mut self, job: Box<Job>) {
        self.stats.done += 1;
        self.answer(job, None);
    }

    fn fail(&mut self, job: Box<Job>, failure: Failure) {
        self.stats.failed += 1;
        self.answer(job, Some(failure));
    }

    fn cancel(&mut self, job: Box<Job>) {
        self.stats.cancelled += 1;
        let step = job.step();
        self.answer(job, Some(Failure::Cancelled { step }));
    }

    /// The last word, after what it says is on the disk and counted.
    fn answer(&mut self, job: Box<Job>, failure: Option<Failure>) {
        let (request, samples, link) = job.into_parts();
        let answer: Result<Array2<f32>, Failure> = match failure {
            None => {
                self.stats.samples += samples.nrows();
                Ok(samples)
            }
            Some(failure) => Err(failure),
        };
        self.board.count(&self.stats);
        match &self.keeper {
            Some(keeper) => keeper.answer(request, answer, link),
            None => link.answer(answer),
        }
    }

    /// Stores what runs, and tells everybody who still waits that the server stopped.
    fn close(mut self) -> Stats {
        self.keep(true);
        self.inbox.close();
        for job in std::mem::take(&mut self.active) {
            self.answer(job, Some(Failure::Stopped));
        }
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Run(job) = message {
                self.answer(job, Some(Failure::Stopped));
            }
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.close();
        }
        self.board.count(&self.stats);
        self.board.read()
    }
}
