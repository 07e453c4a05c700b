//! Where a run is in its plan, and the scalars of its stages: what runs over any kind of array
//! share.

use std::sync::Arc;

use super::combiner;
use super::cursor::Cursor;
use super::instruction::Instruction;
use super::noise::RunNoise;
use super::snapshot::Snapshot;
use super::trajectory::Question;
use crate::clip::Clip;
use crate::denoiser::Query;
use crate::error::{Error, require_length};
use crate::fold;
use crate::guidance::Guidance;
use crate::kernel::Form;
use crate::level::NoiseLevel;
use crate::noise::NoiseSource;
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;

/// A plan, the position in it, and the folded scalars of its stages.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    plan: Arc<Plan>,
    prediction: Prediction,
    clip: Option<Clip>,
    cursor: Cursor,
    needs: RunNoise,
    /// The folded scalars of the plan's stages for a model with one output.
    forms: Arc<Vec<Form>>,
}

/// The most stages whose scalars are folded when a run is started, some 2 MiB; those of later ones
/// are folded when they come.
const FOLDED: usize = 4096;

impl Driver {
    /// A run at the start of `plan` on a batch of so many samples and elements of each, of type `A`.
    /// Refused here, before anything is evaluated: noise that the source does not have, a prediction that says nothing at one of the
    /// plan's levels, and scalars that the element type cannot hold.
    pub(super) fn new<A: Real>(
        plan: Arc<Plan>,
        prediction: Prediction,
        clip: Option<Clip>,
        (batch, noise): ((usize, usize), &impl NoiseSource<A>),
    ) -> Result<Self, Error> {
        let needs = RunNoise::of(&plan)?;
        needs.check(batch, noise)?;
        let fixed = clip.and_then(|clip| clip.fixed());
        let mut forms = crate::memory::reserve(&[plan.stages().count().min(FOLDED)])?;
        for (index, step) in plan.steps().iter().enumerate() {
            for stage in &step.stages {
                let form = fold::plain_form(stage, prediction, fixed)?;
                fold::check_cast::<A>(&form, index)?;
                if forms.len() < FOLDED {
                    forms.push(form);
                }
            }
        }
        Ok(Self {
            plan,
            prediction,
            clip,
            cursor: Cursor::default(),
            needs,
            forms: Arc::new(forms),
        })
    }

    /// Refuses to begin anew with noise that has not what the run needs.
    pub(super) fn check_restart<A>(
        &self,
        batch: (usize, usize),
        noise: &impl NoiseSource<A>,
    ) -> Result<(), Error> {
        require_length("given history slots", self.plan.given(), 0)?;
        self.needs.check(batch, noise)
    }

    /// Goes back to the start.
    pub(super) fn rewind(&mut self) {
        self.cursor = Cursor::default();
    }

    /// The same at the position of a snapshot of this plan.
    pub(super) fn at<T, A>(
        self,
        snapshot: &Snapshot<T>,
        noise: &impl NoiseSource<A>,
    ) -> Result<Self, Error> {
        let expected = self.plan.fingerprint();
        if snapshot.plan != expected {
            return Err(Error::SnapshotOfAnotherPlan {
                expected,
                found: snapshot.plan,
                time: snapshot.level.time(),
            });
        }
        let time = snapshot.level.time();
        let another = |what, expected, found| Error::SnapshotOfAnother {
            what,
            expected,
            found,
            time,
        };
        if snapshot.prediction != self.prediction {
            let [expected, found] =
                [self.prediction, snapshot.prediction].map(|p| format!("{p:?}"));
            return Err(another("prediction", expected, found));
        }
        if snapshot.clip != self.clip {
            let name = |clip: Option<Clip>| clip.map_or("none".to_owned(), |c| format!("{c:?}"));
            return Err(another("clip", name(self.clip), name(snapshot.clip)));
        }
        let noise = self.noise_of(noise);
        if snapshot.noise != noise {
            let name = |noise: Option<u64>| match noise {
                Some(fingerprint) => format!("{fingerprint:016x}"),
                None => "of a source without a fingerprint".to_owned(),
            };
            return Err(another("noise", name(noise), name(snapshot.noise)));
        }
        let misplaced = Error::SnapshotMisplaced {
            step: snapshot.step,
            stage: snapshot.stage,
            steps: self.plan.steps().len(),
            time: snapshot.level.time(),
        };
        let cursor = Cursor::at(&self.plan, snapshot.step, snapshot.stage)
            .filter(|cursor| cursor.level(&self.plan) == snapshot.level)
            .ok_or(misplaced)?;
        if snapshot.history.len() != self.plan.slots() {
            return Err(Error::WrongLength {
                name: "history",
                expected: self.plan.slots(),
                found: snapshot.history.len(),
            });
        }
        Ok(Self { cursor, ..self })
    }

    /// The current stage.
    #[inline]
    pub(super) fn instruction(&self) -> Result<Instruction<'_>, Error> {
        match self.cursor.current(&self.plan) {
            Some(step) => {
                let (stage, index) = (self.cursor.stage_index(), self.cursor.step());
                Ok(Instruction::of_plan(step, stage, index)?.with_clip(self.clip))
            }
            None => Err(Error::RunFinished {
                steps: self.plan.steps().len(),
            }),
        }
    }

    /// The query of the current stage, where it needs the model.
    pub(super) fn query(&self) -> Option<Query<'_>> {
        self.instruction().ok()?.query()
    }

    /// The same for as many outputs as `guidance` wants.
    pub(super) fn guided_query(&self, guidance: &dyn Guidance) -> Result<Option<Query<'_>>, Error> {
        let Some(query) = self.query() else {
            return Ok(None);
        };
        let wanted = combiner::wanted(guidance, &query, self.prediction)?;
        Ok(Some(query.with_outputs(wanted)))
    }

    /// Where the model is wanted next, on the state `x`.
    pub(super) fn question<'a, X: ?Sized>(&'a self, x: &'a X) -> Option<Question<'a, X>> {
        self.query().map(|query| self.ask(x, query))
    }

    /// The same for as many outputs as `guidance` wants.
    pub(super) fn guided_question<'a, X: ?Sized>(
        &'a self,
        guidance: &dyn Guidance,
        x: &'a X,
    ) -> Result<Option<Question<'a, X>>, Error> {
        let query = self.guided_query(guidance)?;
        Ok(query.map(|query| self.ask(x, query)))
    }

    fn ask<'a, X: ?Sized>(&self, x: &'a X, query: Query<'a>) -> Question<'a, X> {
        let stage = self.cursor.stage_index();
        Question { x, query, stage }
    }

    /// Whether the current stage needs no model.
    #[inline]
    pub(super) fn settles(&self) -> bool {
        self.cursor
            .stage(&self.plan)
            .is_some_and(|stage| stage.evaluate.is_none())
    }

    /// The folded scalars of the current stage for one output, unless dynamic thresholding bends
    /// them.
    #[inline]
    pub(super) fn folded(&self) -> Option<&Form> {
        // Equivalent mutant: replace body with None: scalars that are not there are folded anew, to the
        // same bits.
        self.forms.get(self.cursor.stages_before())
    }

    /// Whether the clip's bounds depend on the arrays.
    #[inline]
    pub(super) fn clips_dynamically(&self) -> bool {
        // Equivalent mutant: replace body with true: the scalars are folded anew, to the same bits.
        self.clip.is_some_and(|clip| clip.fixed().is_none())
    }

    /// Goes on to the next stage.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.cursor.advance(&self.plan);
    }

    /// Goes on to the next step.
    pub(super) fn advance_step(&mut self) {
        self.cursor.advance_step(&self.plan);
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn step(&self) -> usize {
        self.cursor.step()
    }

    /// The error for a run without a next step.
    pub(super) fn require_unfinished(&self) -> Result<(), Error> {
        if self.is_finished() {
            return Err(Error::RunFinished { steps: self.step() });
        }
        Ok(())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.cursor.step() == self.plan.steps().len()
    }

    pub(super) fn level(&self) -> NoiseLevel {
        self.cursor.level(&self.plan)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// Which noise it is, where the plan draws any.
    fn noise_of<A>(&self, noise: &impl NoiseSource<A>) -> Option<u64> {
        noise.fingerprint().filter(|_| self.needs.draws())
    }

    /// The run as plain data with these arrays.
    pub(super) fn snapshot<T, A>(
        &self,
        (state, history, memory): (T, Vec<T>, Option<T>),
        noise: &impl NoiseSource<A>,
    ) -> Snapshot<T> {
        Snapshot {
            plan: self.plan.fingerprint(),
            prediction: self.prediction,
            clip: self.clip,
            noise: self.noise_of(noise),
            step: self.cursor.step(),
            stage: self.cursor.stage_index(),
            level: self.level(),
            state,
            history,
            memory,
        }
    }
}
