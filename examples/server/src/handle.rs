//! The client's end of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;
use tokio::sync::{oneshot, watch};

use crate::failure::Failure;

/// Where a request is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The steps that it has taken.
    pub step: usize,
    /// The steps that it takes.
    pub of: usize,
    /// The estimate of x₀, \[samples, elements\], for requests that want previews.
    pub preview: Option<Arc<Array2<f32>>>,
}

/// A request that was accepted. Dropping it cancels the request.
#[derive(Debug)]
pub struct Handle {
    pub(crate) id: u64,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) answer: oneshot::Receiver<Result<Array2<f32>, Failure>>,
    pub(crate) canceller: Canceller,
}

impl Handle {
    /// The request's name.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its progress: the latest one, a slow reader misses some. It ends with the request.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// What cancels it from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Waits for the samples, \[samples, elements\].
    ///
    /// # Errors
    ///
    /// [`Failure::Run`], [`Failure::Network`], [`Failure::Duplicate`], [`Failure::Cancelled`],
    /// [`Failure::Stopped`].
    pub async fn samples(self) -> Result<Array2<f32>, Failure> {
        self.answer.await.unwrap_or(Err(Failure::Stopped))
    }
}

/// Cancels a request, from any thread. It takes effect at the engine's next tick.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Cancels the request, which is answered by [`Failure::Cancelled`] unless it is done.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The server's end of a request.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) progress: watch::Sender<Progress>,
    answer: oneshot::Sender<Result<Array2<f32>, Failure>>,
    canceller: Canceller,
}

impl Link {
    /// Both ends.
    pub(crate) fn new(id: u64, at: Progress) -> (Self, Handle) {
        let (progress, watched) = watch::channel(at);
        let (answer, answered) = oneshot::channel();
        let canceller = Canceller::default();
        let handle = Handle {
            id,
            progress: watched,
            answer: answered,
            canceller: canceller.clone(),
        };
        let link = Self {
            progress,
            answer,
            canceller,
        };
        (link, handle)
    }

    /// Whether nobody wants the answer any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.canceller.is_cancelled() || self.answer.is_closed()
    }

    /// The last word. A client that is gone does not hear it.
    pub(crate) fn answer(self, answer: Result<Array2<f32>, Failure>) {
        let _ = self.answer.send(answer);
    }
}
