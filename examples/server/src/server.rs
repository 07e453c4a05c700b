//! The server: an engine that can be started and stopped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Semaphore, oneshot};

use crate::batch::Batch;
use crate::client::Client;
use crate::engine::{Engine, Message, Wish};
use crate::failure::Failure;
use crate::network::Network;
use crate::stats::{Board, Stats};
use crate::store::{Keeper, Store};

/// How much a server does at a time. No number may be 0.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most rows of one call of the network.
    pub rows: usize,
    /// The most requests that run at a time; each keeps its run's arrays.
    pub places: usize,
    /// The most requests that wait for a place; who asks for more waits, or is told
    /// [`Failure::Busy`].
    pub queue: usize,
    /// Where running requests and results are stored, and after how many ticks; a round of
    /// snapshots that comes while the last one is still being written is left out.
    pub store: Option<(Store, usize)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rows: 64,
            places: 64,
            queue: 64,
            store: None,
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    client: Client,
    wish: Wish,
    /// A place of the server's own in the queue, to wake the engine, whoever holds the others.
    waker: Option<OwnedPermit<Message>>,
    ended: oneshot::Receiver<Stats>,
    board: Board,
}

impl Server {
    /// Starts an engine on a thread of its own.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a setting of 0, or a queue longer than a channel can be; no thread to be
    /// had.
    pub fn start<N: Network>(network: N, settings: Settings) -> io::Result<Self> {
        let every = settings.store.as_ref().map_or(1, |(_, every)| *every);
        let (rows, places, queue) = (settings.rows, settings.places, settings.queue);
        let numbers = [rows, places, queue, every];
        let names = ["rows", "places", "queue", "ticks between snapshots"];
        if let Some((name, _)) = names.iter().zip(numbers).find(|(_, number)| *number == 0) {
            let text = format!("{name} must be at least 1, found 0");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // One place more than the clients', for the server itself.
        let longest = Semaphore::MAX_PERMITS - 1;
        if queue > longest {
            let text = format!("queue must be at most {longest}, found {queue}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let model = Arc::new(network.model());
        let (inbox, messages) = mpsc::channel(queue + 1);
        let waker = inbox.clone().try_reserve_owned().ok();
        let (ending, ended) = oneshot::channel();
        let board = Board::default();
        let keeper = settings.store;
        let keeper = keeper.map(|store| Keeper::start(store, places, board.clone()));
        let wish = Wish::default();
        let engine = Engine {
            network,
            inbox: messages,
            wish: wish.clone(),
            places,
            active: VecDeque::new(),
            batch: Batch::new(rows, model.elements),
            keeper: keeper.transpose()?,
            stats: Stats::default(),
            board: board.clone(),
        };
        thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                // A server that was dropped does not hear how it ended.
                let _ = ending.send(engine.run());
            })?;
        let client = Client {
            model,
            rows,
            queue,
            inbox,
        };
        Ok(Self {
            client,
            wish,
            waker,
            ended,
            board,
        })
    }

    /// Who may ask; to be cloned.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the engine has done so far, up to its last tick; a request that was answered is in it.
    /// That of an engine that is gone (its network panicked) stays.
    pub fn stats(&self) -> Stats {
        self.board.read()
    }

    /// Accepts nothing more, finishes what was accepted, and ends.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`] where the engine had already gone: its network panicked.
    pub async fn drain(mut self) -> Result<Stats, Failure> {
        self.wish.drain();
        wake(self.waker.take());
        (&mut self.ended).await.map_err(|_| Failure::Stopped)
    }

    /// Ends after the current tick. Running requests are stored, where there is a store; all that
    /// are not done are answered by [`Failure::Stopped`].
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    pub async fn stop(mut self) -> Result<Stats, Failure> {
        self.wish.stop();
        wake(self.waker.take());
        (&mut self.ended).await.map_err(|_| Failure::Stopped)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.wish.stop();
        wake(self.waker.take());
    }
}

/// An engine that waits for work looks at the wish. Once is enough: it does not wait again.
fn wake(waker: Option<OwnedPermit<Message>>) {
    if let Some(waker) = waker {
        waker.send(Message::Wake);
    }
}
