//! How a stage's outputs combine, sample by sample, as scalars: what runs over any kind of array
//! share.

use super::instruction::Instruction;
use super::outputs::Combine;
use crate::clip::{Bounds, Clip};
use crate::denoiser::Query;
use crate::error::{Error, require_length};
use crate::fold::Estimate;
use crate::guidance::{Combination, Evaluation, Guidance, Products};
use crate::prediction::Prediction;

/// What is known of a stage's outputs before they are read.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// How many there are.
    pub(super) count: usize,
    /// The samples of the batch.
    pub(super) samples: usize,
    /// Whether the run has a guidance memory.
    pub(super) memory: bool,
}

/// The combination of the outputs of one evaluation.
pub(super) struct Combiner<'a> {
    query: Query<'a>,
    /// Whether stages go by positions, and how many there are.
    by_position: bool,
    entries: usize,
    prediction: Prediction,
    combine: Combine<'a>,
    outputs: Known,
    fixed: Option<Bounds>,
    /// The clip, where its bounds depend on the arrays.
    pub(super) dynamic: Option<Clip>,
    /// Whether the sums and inner products of every sample are needed.
    pub(super) products: bool,
}

impl<'a> Combiner<'a> {
    /// `None` for a stage without the model.
    pub(super) fn new(
        instruction: &Instruction<'a>,
        prediction: Prediction,
        combine: Combine<'a>,
        outputs: Known,
    ) -> Result<Option<Self>, Error> {
        let Some(query) = instruction.query() else {
            return Ok(None);
        };
        crate::guidance::output_count(outputs.count)?;
        let by_position = instruction.along().is_some();
        let mut combiner = Self {
            query,
            by_position,
            entries: instruction.stages.len(),
            prediction,
            combine,
            outputs,
            fixed: instruction.clip.and_then(|clip| clip.fixed()),
            dynamic: instruction.clip.filter(|clip| clip.fixed().is_none()),
            products: false,
        };
        if let Combine::By(guidance) = combine {
            if guidance.outputs() < outputs.count {
                return Err(Error::WrongLength {
                    name: "outputs",
                    expected: guidance.outputs(),
                    found: outputs.count,
                });
            }
            let asked = match by_position {
                true => combiner.entries,
                false => query.levels().len().min(outputs.samples),
            };
            combiner.products =
                (0..asked).any(|sample| guidance.needs_products(&combiner.at(sample)));
        }
        Ok(Some(combiner))
    }

    /// The number of estimates: one for the batch, for each sample, or for each of the different
    /// stages of positions.
    pub(super) fn entries(&self) -> usize {
        if self.by_position {
            return self.entries;
        }
        let shared = self.query.levels().len() == 1;
        let many = matches!(self.combine, Combine::Given(given) if given.len() > 1);
        if shared && !many && !self.products && self.dynamic.is_none() {
            1
        } else {
            self.outputs.samples
        }
    }

    /// The combination of one entry.
    pub(super) fn combination(
        &self,
        sample: usize,
        products: Option<&Products>,
    ) -> Result<Combination, Error> {
        let count = self.outputs.count;
        let combination = match self.combine {
            Combine::By(guidance) => guidance.combine(&self.at(sample), products)?,
            Combine::Given(given) if self.by_position => {
                require_length("combinations", 1, given.len())?;
                given_of(given, 0, self.outputs)?
            }
            Combine::Given(given) => given_of(given, sample, self.outputs)?,
        };
        if combination.memory() != 0.0 && !self.outputs.memory {
            return Err(Error::MemoryMissing {
                weight: combination.memory(),
            });
        }
        if combination.outputs() > count {
            return Err(Error::WrongLength {
                name: "outputs",
                expected: combination.outputs(),
                found: count,
            });
        }
        Ok(combination)
    }

    /// The estimate of x₀ that a combination makes for one entry; `bounds` are those of dynamic
    /// thresholding.
    pub(super) fn estimate(
        &self,
        sample: usize,
        combination: &Combination,
        bounds: Option<Bounds>,
    ) -> Result<Estimate, Error> {
        let at = self.at(sample);
        let inputs = (self.outputs.count, self.outputs.memory);
        let bounds = bounds.or(self.fixed);
        Estimate::new(self.prediction, at.level(), combination, inputs, bounds)
    }

    fn at(&self, sample: usize) -> Evaluation {
        self.query.evaluation(sample, self.prediction)
    }
}

/// How the guidance memory changes at each level of a query: (decay, slope) of
/// m ← decay·m + slope·(o₀ − o₁), in which x cancels.
pub(super) fn remembering(
    guidance: &dyn Guidance,
    query: &Query<'_>,
    prediction: Prediction,
    sample: usize,
) -> Result<(f64, f64), Error> {
    let at = query.evaluation(sample, prediction);
    let slope = prediction.data(at.level())?.output;
    Ok(match guidance.memory(&at) {
        Some(memory) => (memory.decay, slope),
        // Unchanged where the form says nothing.
        None => (1.0, 0.0),
    })
}

/// How many outputs a guidance wants at a query.
pub(super) fn wanted(
    guidance: &dyn Guidance,
    query: &Query<'_>,
    prediction: Prediction,
) -> Result<usize, Error> {
    let mut wanted = 1;
    for sample in 0..query.entries() {
        wanted = wanted.max(guidance.wanted(&query.evaluation(sample, prediction))?);
    }
    // Refused before the model computes what cannot be told.
    crate::guidance::output_count(wanted)?;
    Ok(wanted)
}

/// The combination of one sample among those given.
fn given_of(given: &[Combination], sample: usize, outputs: Known) -> Result<Combination, Error> {
    let combination = match given {
        [one] => *one,
        many if many.len() == outputs.samples => many[sample],
        many => {
            return Err(Error::WrongLength {
                name: "combinations",
                expected: outputs.samples,
                found: many.len(),
            });
        }
    };
    if combination.outputs() != outputs.count {
        return Err(Error::WrongLength {
            name: "outputs",
            expected: combination.outputs(),
            found: outputs.count,
        });
    }
    Ok(combination)
}
