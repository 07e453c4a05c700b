//! One call of the network: the questions of several runs, row below row.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};

use crate::failure::Failure;
use crate::job::Job;
use crate::network::{Network, Row};

/// Rows for one call of the network. The arrays are made once.
#[derive(Debug)]
pub(crate) struct Batch {
    x: Array2<f32>,
    out: Array2<f32>,
    rows: Vec<Row>,
}

impl Batch {
    pub(crate) fn new(most: usize, elements: usize) -> Self {
        Self {
            x: Array2::zeros((most, elements)),
            out: Array2::zeros((most, elements)),
            rows: Vec::with_capacity(most),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Asks a run, and adds its rows: first those with the class, then, where guidance wants them,
    /// those without. `None` where they do not fit any more.
    pub(crate) fn add(&mut self, job: &mut Job) -> Result<Option<Range<usize>>, Failure> {
        let class = job.class();
        let question = job.question()?;
        let (samples, outputs) = (question.x.nrows(), question.query.outputs());
        let begin = self.rows.len();
        let end = begin.saturating_add(samples.saturating_mul(outputs));
        if end > self.x.nrows() {
            return Ok(None);
        }
        let level = question.level();
        for output in 0..outputs {
            let first = begin + output * samples;
            let mut rows = self.x.slice_mut(s![first..first + samples, ..]);
            rows.assign(question.x);
            let class = (output == 0).then_some(class);
            let row = Row { level, class };
            self.rows.extend(std::iter::repeat_n(row, samples));
        }
        Ok(Some(begin..end))
    }

    /// Calls the network for some of the rows.
    pub(crate) fn call<N: Network>(
        &mut self,
        network: &mut N,
        rows: Range<usize>,
    ) -> Result<(), N::Error> {
        let x = self.x.slice(s![rows.clone(), ..]);
        let mut out = self.out.slice_mut(s![rows.clone(), ..]);
        // A row that the network forgets is then an error of its request, not another's old row.
        out.fill(f32::NAN);
        network.forward(x, self.rows.get(rows).unwrap_or_default(), out)
    }

    /// What the network wrote to some of the rows.
    pub(crate) fn outputs(&self, rows: Range<usize>) -> ArrayView2<'_, f32> {
        self.out.slice(s![rows, ..])
    }
}
