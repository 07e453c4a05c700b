//! The ranked list of samplers.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::grid::Spacing;
use crate::sampler::Sampler;
use crate::stability::StabilityWarning;

/// A sampler that fits the checkpoint and the budget.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The solver's name in the [`registry`](crate::registry).
    pub solver: &'static str,
    /// The spacing.
    pub spacing: Spacing,
    /// The steps of its grid.
    pub steps: usize,
    /// The evaluations of the network.
    pub evaluations: usize,
    /// W₂ of the result from the data, in percent of the data's rms deviation.
    pub error: f64,
    /// What its plan does to errors, where that exceeds a bound.
    pub warnings: Vec<StabilityWarning>,
    /// The place of an earlier candidate whose plan is the same, bit for bit.
    pub same_as: Option<usize>,
    sampler: Sampler,
}

impl Candidate {
    pub(super) fn new(
        solver: &'static str,
        spacing: Spacing,
        steps: usize,
        error: f64,
        warnings: Vec<StabilityWarning>,
        sampler: Sampler,
    ) -> Self {
        Self {
            solver,
            spacing,
            steps,
            evaluations: sampler.plan().evaluations(),
            error,
            warnings,
            same_as: None,
            sampler,
        }
    }

    /// The sampler, ready to run.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }
}

/// Why a sampler is not among the candidates.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It is no sampler for a plain checkpoint.
    NoCandidate(&'static str),
    /// It adds noise, which was excluded.
    Noise,
    /// A single step needs more evaluations than the budget: so many.
    Budget(usize),
    /// The spacing, the solver or the prediction refused, or the distribution left the range of
    /// numbers.
    Refused(Error),
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidate(why) => write!(f, "{why}"),
            Self::Noise => write!(f, "adds noise"),
            Self::Budget(evaluations) => write!(f, "needs {evaluations} evaluations for one step"),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

/// A solver, on a spacing or on any, that is not among the candidates.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The solver's name.
    pub solver: &'static str,
    /// The spacing; `None` where no spacing would help.
    pub spacing: Option<Spacing>,
    /// Why.
    pub reason: Reason,
}

/// The answer of [`Choice::rank`](super::Choice::rank): all candidates from the least error on, and
/// all that were refused. It prints as a table of the first twenty; [`table`](Self::table) takes any
/// number.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    budget: usize,
    candidates: Vec<Candidate>,
    refused: Vec<Refusal>,
}

/// Errors closer than this, relative, are a tie.
const TIE: f64 = 1e-6;
/// The lines of a printed table.
const SHOWN: usize = 20;

impl Ranking {
    pub(super) fn new(
        budget: usize,
        mut candidates: Vec<Candidate>,
        refused: Vec<Refusal>,
    ) -> Self {
        // A stable sort: ties stay in the registry's order. NaN comes last.
        candidates.sort_by(|a, b| by_error(a, b).then(a.evaluations.cmp(&b.evaluations)));
        let mut first = HashMap::new();
        for (place, candidate) in candidates.iter_mut().enumerate() {
            let plan = candidate.sampler.plan().fingerprint();
            candidate.same_as = first.get(&plan).copied();
            first.entry(plan).or_insert(place);
        }
        Self {
            budget,
            candidates,
            refused,
        }
    }

    /// The candidates, from the least error on; of equal errors the one with fewer evaluations, then
    /// in the order of the registry.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The candidate with the least error that has no warnings.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|c| c.warnings.is_empty())
    }

    /// The place of a solver on a spacing, from 0.
    pub fn place(&self, solver: &str, spacing: Spacing) -> Option<usize> {
        let found = |c: &Candidate| c.solver == solver && c.spacing == spacing;
        self.candidates.iter().position(found)
    }

    /// The candidates whose error is that of the one at `place` to 1e-6, itself among them.
    pub fn ties(&self, place: usize) -> &[Candidate] {
        let Some(own) = self.candidates.get(place) else {
            return &[];
        };
        let near = |c: &&Candidate| (c.error - own.error).abs() <= TIE * own.error.abs();
        let before = self.candidates[..place].iter().rev().take_while(near);
        let after = self.candidates[place + 1..].iter().take_while(near);
        let (first, last) = (place - before.count(), place + 1 + after.count());
        &self.candidates[first..last]
    }

    /// What is not among the candidates, and why.
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// The first `lines` candidates as a table; those with warnings are marked, and so are the plans
    /// that are another's.
    pub fn table(&self, lines: usize) -> impl fmt::Display + '_ {
        Table {
            ranking: self,
            lines,
        }
    }
}

fn by_error(a: &Candidate, b: &Candidate) -> Ordering {
    a.error.total_cmp(&b.error)
}

struct Table<'r> {
    ranking: &'r Ranking,
    lines: usize,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ranking {
            budget,
            candidates,
            refused,
        } = self.ranking;
        writeln!(
            f,
            "{:>4}  {:<28} {:<22} {:>5} {:>5} {:>10}",
            "", "solver", "spacing", "steps", "calls", "error %"
        )?;
        for (place, candidate) in candidates.iter().enumerate().take(self.lines) {
            write!(
                f,
                "{:>4}  {:<28} {:<22} {:>5} {:>5} ",
                place + 1,
                candidate.solver,
                candidate.spacing,
                candidate.steps,
                candidate.evaluations,
            )?;
            match candidate.error {
                error if error < 1e5 => write!(f, "{error:>10.4}")?,
                error => write!(f, "{error:>10.3e}")?,
            }
            if !candidate.warnings.is_empty() {
                write!(f, "  unstable")?;
            }
            if let Some(same) = candidate.same_as {
                write!(f, "  as {}", same + 1)?;
            }
            writeln!(f)?;
        }
        let unstable = candidates.iter().filter(|c| !c.warnings.is_empty());
        writeln!(
            f,
            "{} candidates within {budget} evaluations, {} of them with warnings; {} refused",
            candidates.len(),
            unstable.count(),
            refused.len()
        )
    }
}

/// The first twenty candidates.
impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(SHOWN).fmt(f)
    }
}
