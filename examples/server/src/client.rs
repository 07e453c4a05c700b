//! Who may ask the server for samples.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::engine::Message;
use crate::failure::Failure;
use crate::handle::Handle;
use crate::job::Job;
use crate::network::Model;
use crate::request::Request;
use crate::store::Stored;

/// Asks the server for samples. Clones ask the same server.
///
/// A request is checked and its run is made here, in the caller's task, which takes well under a
/// millisecond; the engine only ever sees requests that can run.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) model: Arc<Model>,
    /// The most rows of a call.
    pub(crate) rows: usize,
    /// The places of the queue.
    pub(crate) queue: usize,
    pub(crate) inbox: Sender<Message>,
}

impl Client {
    /// Asks for samples; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`], [`Failure::UnknownClass`], [`Failure::Rows`],
    /// [`Failure::NeedsPlusPlus`], [`Failure::NotForPlusPlus`]; [`Failure::Stopped`] where the
    /// server stopped.
    pub async fn submit(&self, request: Request) -> Result<Handle, Failure> {
        self.send(Job::new(request, &self.model, self.rows)?).await
    }

    /// The same, where the queue has a place.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), and [`Failure::Busy`].
    pub fn try_submit(&self, request: Request) -> Result<Handle, Failure> {
        let (job, handle) = Job::new(request, &self.model, self.rows)?;
        match self.inbox.try_send(Message::Run(Box::new(job))) {
            Ok(()) => self.accepted(handle),
            Err(TrySendError::Full(_)) => Err(Failure::Busy { places: self.queue }),
            Err(TrySendError::Closed(_)) => Err(Failure::Stopped),
        }
    }

    /// Lets a stored run go on; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), [`Failure::OtherNetwork`], and [`Failure::Refused`] for a
    /// snapshot of another plan or shape.
    pub async fn resume(&self, stored: Stored) -> Result<Handle, Failure> {
        self.send(Job::resume(stored, &self.model, self.rows)?)
            .await
    }

    async fn send(&self, (job, handle): (Job, Handle)) -> Result<Handle, Failure> {
        let sent = self.inbox.send(Message::Run(Box::new(job))).await;
        sent.map_err(|_| Failure::Stopped)?;
        self.accepted(handle)
    }

    /// What is put into a queue while it is closed may be seen by nobody.
    fn accepted(&self, handle: Handle) -> Result<Handle, Failure> {
        match self.inbox.is_closed() {
            true => Err(Failure::Stopped),
            false => Ok(handle),
        }
    }
}
