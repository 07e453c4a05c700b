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
use crate::stats::Board;

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
    thread: JoinHandle<()>,
    board: Board,
    /// Whether a round of snapshots is being written.
    busy: Arc<AtomicBool>,
    /// A round of snapshots is due after so many ticks.
    every: usize,
    ticks: usize,
}

impl Keeper {
    /// At most `unwritten` errands wait: where the disk cannot keep up, the engine waits for it, so
    /// that results do not pile up in memory.
    pub(crate) fn start(
        (store, every): (Store, usize),
        unwritten: usize,
        board: Board,
    ) -> io::Result<Self> {
        let (errands, received) = sync_channel(unwritten);
        let busy = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            busy: Arc::clone(&busy),
            board: board.clone(),
        };
        let thread = Builder::new().name("keeper".to_owned());
        Ok(Self {
            errands,
            thread: thread.spawn(move || writer.run(received))?,
            board,
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

    /// Waits until all is written.
    pub(crate) fn close(self) {
        drop(self.errands);
        if self.thread.join().is_err() {
            self.board.store_error("the keeper panicked".to_owned());
        }
    }
}

struct Writer {
    store: Store,
    busy: Arc<AtomicBool>,
    board: Board,
}

impl Writer {
    // A request that is not stored still runs: the board says what went wrong.
    fn run(self, errands: Receiver<Errand>) {
        for errand in errands {
            match errand {
                Errand::Keep(round) => {
                    for stored in round {
                        let kept = self.store.keep(&stored);
                        self.board.wrote(kept.map(|()| 1));
                    }
                    let synced = self.store.sync();
                    self.board.wrote(synced.map(|()| 0));
                    self.busy.store(false, Ordering::Release);
                }
                Errand::Answer(request, answer, link) => {
                    let written = self.last(*request, &answer);
                    self.board.wrote(written);
                    link.answer(answer);
                }
            }
        }
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
}
