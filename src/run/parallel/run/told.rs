//! Ask and tell: the rows that a run wants evaluated, and the outputs of a model that the caller
//! calls.

use ndarray::{ArrayRef, Dimension};

use super::ParallelRun;
use crate::error::{Error, require_length};
use crate::guidance::{Guidance, Unguided};
use crate::memory::Listed;
use crate::noise::NoiseSource;
use crate::real::Real;
use crate::run::combiner;
use crate::run::trajectory::Question;

impl<A: Real, D: Dimension, N: NoiseSource<A>> ParallelRun<A, D, N> {
    /// What to evaluate next, many rows at levels of their own; `None` when the run is finished.
    ///
    /// # Errors
    ///
    /// What has ended the run before.
    pub fn ask(&self) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        self.check_failed()?;
        Ok(self.window.query().map(|query| Question {
            x: &*self.window.x,
            query,
            stage: 0,
        }))
    }

    /// The same for [`tell_guided`](Self::tell_guided): [`query.outputs()`](crate::Query::outputs)
    /// says how many outputs `guidance` wants, the most of all rows.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); what the guidance refuses.
    pub fn ask_guided(
        &self,
        guidance: &dyn Guidance,
    ) -> Result<Option<Question<'_, ArrayRef<A, D>>>, Error> {
        let Some(question) = self.ask()? else {
            return Ok(None);
        };
        let wanted = combiner::wanted(guidance, &question.query, self.prediction)?;
        let query = question.query.with_outputs(wanted);
        Ok(Some(Question { query, ..question }))
    }

    /// Takes the model's output for all rows that [`ask`](Self::ask) gave, and makes the sweep.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] at the end, [`Error::ShapeMismatch`]. [`Error::NonFinite`] where the
    /// sequential run would meet it too, with its step and sample; the run is then at its end, and
    /// says so again. A guess too far away for the model is no error: that of a later sweep takes
    /// its place.
    pub fn tell(&mut self, output: &ArrayRef<A, D>) -> Result<(), Error> {
        self.tell_guided(&Unguided, output)
    }

    /// The same with several outputs in one array, as a [`Denoiser`](crate::Denoiser) writes them,
    /// \[n·rows, …\], and the form that combines them.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell); [`Error::WrongLength`] for fewer outputs than the guidance wants, or
    /// more than it reads; what the guidance refuses.
    pub fn tell_guided(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &ArrayRef<A, D>,
    ) -> Result<(), Error> {
        self.check_failed()?;
        let rows = self.require_rows()?;
        let found = outputs.shape().first().copied().unwrap_or(0);
        let (count, shape) = (found / rows, self.window.x.shape());
        if count * rows != found || count == 0 || outputs.shape().get(1..) != shape.get(1..) {
            let expected = std::iter::once(count.max(1).saturating_mul(rows));
            return Err(Error::ShapeMismatch {
                name: "model outputs",
                expected: expected.chain(shape.iter().skip(1).copied()).listed()?,
                found: outputs.shape().to_vec(),
            });
        }
        let query = self.window.query();
        let wanted = query.map(|query| combiner::wanted(guidance, &query, self.prediction));
        let wanted = wanted.transpose()?.unwrap_or(1);
        let expected = count.clamp(wanted, guidance.outputs().max(wanted));
        require_length("outputs", expected, count)?;
        let mut own = self.buffer(count)?;
        own.assign(outputs);
        self.sweep(guidance, own, count)
    }
}
