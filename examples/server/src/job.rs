//! A request that runs.

use std::sync::Arc;

use diffusion_sampler::guidance::Guidance;
use diffusion_sampler::run::{Question, Snapshot};
use diffusion_sampler::{Error, KeyedNoise, Trajectory};
use ndarray::{Array2, ArrayRef2, Ix2};

use crate::failure::Failure;
use crate::handle::{Handle, Link, Progress};
use crate::network::Model;
use crate::request::Request;
use crate::store::Stored;

/// A request, its run, and the way to its client.
#[derive(Debug)]
pub(crate) struct Job {
    request: Request,
    run: Trajectory<f32, Ix2>,
    guidance: Box<dyn Guidance>,
    link: Link,
    /// Whether it has moved since its last snapshot.
    moved: bool,
    /// Ticks since its last turn.
    pub(crate) waited: usize,
}

impl Job {
    /// A run from the start, for a network whose calls have at most so many rows.
    pub(crate) fn new(
        request: Request,
        model: &Model,
        most: usize,
    ) -> Result<(Self, Handle), Failure> {
        let guidance = check(&request, model, most)?;
        let sampler = request
            .sampler(&*model.schedule)
            .map_err(Failure::Refused)?;
        let (shape, noise) = (
            (request.samples, model.elements),
            KeyedNoise::new(request.seed),
        );
        let run = sampler.start(shape, model.prediction, noise);
        Self::of(request, run.map_err(Failure::Refused)?, guidance)
    }

    /// A run that goes on where it was stored.
    pub(crate) fn resume(
        stored: Stored,
        model: &Model,
        most: usize,
    ) -> Result<(Self, Handle), Failure> {
        let Stored {
            request,
            network,
            snapshot,
        } = stored;
        let (stored, here) = (network, model.fingerprint);
        if stored != here {
            return Err(Failure::OtherNetwork { stored, here });
        }
        let guidance = check(&request, model, most)?;
        let run = resumed(&request, model, snapshot).map_err(Failure::Refused)?;
        Self::of(request, run, guidance)
    }

    fn of(
        request: Request,
        run: Trajectory<f32, Ix2>,
        guidance: Box<dyn Guidance>,
    ) -> Result<(Self, Handle), Failure> {
        let run = match request.previews {
            true => run.keeping_data().map_err(Failure::Refused)?,
            false => run,
        };
        let (link, handle) = Link::new(request.id, progress(&run));
        let job = Self {
            request,
            run,
            guidance,
            link,
            moved: true,
            waited: 0,
        };
        Ok((job, handle))
    }

    pub(crate) fn id(&self) -> u64 {
        self.request.id
    }

    pub(crate) fn class(&self) -> usize {
        self.request.class
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.link.is_cancelled()
    }

    /// The steps that it has taken.
    pub(crate) fn step(&self) -> usize {
        self.run.step()
    }

    /// What the network is asked next, with as many outputs as the guidance wants at this level.
    pub(crate) fn question(&mut self) -> Result<Question<'_, ArrayRef2<f32>>, Failure> {
        let steps = self.run.plan().steps().len();
        let question = self.run.ask_guided(&self.guidance).map_err(Failure::Run)?;
        question.ok_or(Failure::Run(Error::RunFinished { steps }))
    }

    /// Takes the rows that answer the question.
    pub(crate) fn tell(&mut self, outputs: &ArrayRef2<f32>) -> Result<(), Failure> {
        let told = self.run.tell_stacked(&self.guidance, outputs);
        self.moved = true;
        told.map_err(Failure::Run)
    }

    /// Takes the updates that need no network, shows the progress, and says whether the run is
    /// over.
    pub(crate) fn settle(&mut self) -> Result<bool, Failure> {
        let over = self.run.ask().map_err(Failure::Run)?.is_none();
        let run = &self.run;
        self.link.progress.send_if_modified(|shown| {
            let news = shown.step != run.step();
            if news {
                *shown = progress(run);
            }
            news
        });
        Ok(over)
    }

    /// The run as data, if it has moved since the last time.
    pub(crate) fn snapshot(&mut self, network: u64) -> Option<Stored> {
        if !self.moved {
            return None;
        }
        // Where there is no memory for it now, the next time will do.
        let snapshot = self.run.snapshot().ok()?;
        self.moved = false;
        Some(Stored {
            request: self.request.clone(),
            network,
            snapshot,
        })
    }

    /// What is needed for the last word: the request, its samples, the way to the client.
    pub(crate) fn into_parts(self) -> (Request, Array2<f32>, Link) {
        (self.request, self.run.into_state(), self.link)
    }
}

/// What can be said before a run is made; the guidance.
fn check(request: &Request, model: &Model, most: usize) -> Result<Box<dyn Guidance>, Failure> {
    let (class, classes) = (request.class, model.classes);
    if class >= classes {
        return Err(Failure::UnknownClass { class, classes });
    }
    let guidance = request.guidance()?;
    let rows = request.samples.saturating_mul(guidance.outputs());
    if rows == 0 || rows > most {
        return Err(Failure::Rows { rows, most });
    }
    Ok(guidance)
}

fn resumed(
    request: &Request,
    model: &Model,
    snapshot: Snapshot<Array2<f32>>,
) -> Result<Trajectory<f32, Ix2>, Error> {
    let (expected, found) = ([request.samples, model.elements], snapshot.state.shape());
    if expected != found {
        return Err(Error::ShapeMismatch {
            name: "stored state",
            expected: expected.to_vec(),
            found: found.to_vec(),
        });
    }
    let (sampler, noise) = (
        request.sampler(&*model.schedule)?,
        KeyedNoise::new(request.seed),
    );
    sampler.resume(snapshot, model.prediction, noise)
}

fn progress(run: &Trajectory<f32, Ix2>) -> Progress {
    Progress {
        step: run.step(),
        of: run.plan().steps().len(),
        preview: run.data().map(|data| Arc::new(data.to_owned())),
    }
}
