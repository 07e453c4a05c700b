//! Who writes the files: a thread of its own, so that the network does not wait for the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use ndarray::Array2;

use super::{Store, StoreError, Stored};
use crate::failure::Failure;
use crate::handle::Link;
use crate::request::Request;

/// The most errors that are kept until the end.
const MOST_ERRORS: usize = 100;

/// What is to be written. It is done in order.
#[derive(Debug)]
enum Errand {
    Keep(Vec<Stored>),
    /// The last word on a request: said when its file is written or removed.
    Answer(Box<Request>, Result<Array2<f32>, Failure>, Link),
}

/// Writes files on a thread of its own.
#[derive(Debug)]
pub(crate) struct Keeper {
    errands: SyncSender<Errand>,
    thread: JoinHandle<(usize, Vec<String>)>,
    /// Whether a round of snapshots is being written.
    busy: Arc<AtomicBool>,
    /// A round of snapshots is due after so many ticks.
    every: usize,
    ticks: usize,
}

impl Keeper {
    /// At most `unwritten` errands wait: where the disk cannot keep up, the engine waits for it, so
    /// that results do not pile up in memory.
    pub(crate) fn start(store: Store, every: usize, unwritten: usize) -> io::Result<Self> {
        let (errands, received) = sync_channel(unwritten);
        let busy = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            busy: Arc::clone(&busy),
            files: 0,
            errors: Vec::new(),
        };
        let thread = Builder::new().name("keeper".to_owned());
        Ok(Self {
            errands,
            thread: thread.spawn(move || writer.run(received))?,
            busy,
            every,
            ticks: 0,
        })
    }

    /// Counts a tick; whether snapshots are due, and the last ones are written.
    pub(crate) fn is_due(&mut self) -> bool {
        self.ticks += 1;
        let due = self.ticks >= self.every && !self.busy.load(Ordering::Acquire);
        if due {
            self.ticks = 0;
        }
        due
    }

    pub(crate) fn keep(&self, round: Vec<Stored>) {
        self.busy.store(true, Ordering::Release);
        // The writer goes when this keeper goes, not before.
        let _ = self.errands.send(Errand::Keep(round));
    }

    pub(crate) fn answer(
        &self,
        request: Request,
        answer: Result<Array2<f32>, Failure>,
        link: Link,
    ) {
        let errand = Errand::Answer(Box::new(request), answer, link);
        let _ = self.errands.send(errand);
    }

    /// Waits until all is written: how many files, and what went wrong.
    pub(crate) fn close(self) -> (usize, Vec<String>) {
        drop(self.errands);
        let lost = |_| (0, vec!["the keeper panicked".to_owned()]);
        self.thread.join().unwrap_or_else(lost)
    }
}

struct Writer {
    store: Store,
    busy: Arc<AtomicBool>,
    files: usize,
    errors: Vec<String>,
}

impl Writer {
    fn run(mut self, errands: Receiver<Errand>) -> (usize, Vec<String>) {
        for errand in errands {
            match errand {
                Errand::Keep(round) => {
                    for stored in round {
                        let kept = self.store.keep(&stored);
                        self.note(kept.map(|()| 1));
                    }
                    let synced = self.store.sync();
                    self.note(synced.map(|()| 0));
                    self.busy.store(false, Ordering::Release);
                }
                Errand::Answer(request, answer, link) => {
                    let written = self.last(*request, &answer);
                    self.note(written);
                    link.answer(answer);
                }
            }
        }
        (self.files, self.errors)
    }

    /// The file of a request's last word; how many were written.
    fn last(
        &self,
        request: Request,
        answer: &Result<Array2<f32>, Failure>,
    ) -> Result<usize, StoreError> {
        match answer {
            Ok(samples) => self.store.finish(request, samples).map(|()| 1),
            // Its snapshot waits for the next server.
            Err(Failure::Stopped) => Ok(0),
            Err(_) => self.store.forget(request.id).map(|()| 0),
        }
    }

    /// A request that is not stored still runs: what went wrong is told at the end.
    fn note(&mut self, written: Result<usize, StoreError>) {
        match written {
            Ok(files) => self.files += files,
            Err(error) if self.errors.len() < MOST_ERRORS => self.errors.push(error.to_string()),
            // A disk that is full says the same every time.
            Err(_) => {}
        }
    }
}
