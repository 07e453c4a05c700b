//! What a search of spacings found.

use std::fmt;

use crate::error::Error;
use crate::grid::{Grid, Spacing};

/// A fixed spacing beside a searched one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FixedSpacing {
    /// The spacing.
    pub spacing: Spacing,
    /// Its grid.
    pub grid: Grid,
    /// Its error on the surrogate, in percent of the data's rms deviation.
    pub error: f64,
    /// Its error on the held-out surrogate.
    pub held_out: f64,
    /// Whether its plan has no warnings of stability.
    pub stable: bool,
}

/// The answer of [`SpacingSearch::run`](super::SpacingSearch::run): the searched spacing beside the
/// fixed ones, and which of them to use. It prints as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchedSpacing {
    searched: (Grid, f64, f64),
    fixed: Vec<FixedSpacing>,
    refused: Vec<(Spacing, Error)>,
    /// The place of the best fixed one.
    best: usize,
    evaluations: usize,
}

impl SearchedSpacing {
    /// The fixed spacings are sorted by their held-out error, stable ones first.
    pub(super) fn new(
        searched: (Grid, f64, f64),
        mut fixed: Vec<FixedSpacing>,
        refused: Vec<(Spacing, Error)>,
        evaluations: usize,
    ) -> Result<Self, Error> {
        fixed.sort_by(|a, b| a.held_out.total_cmp(&b.held_out));
        let stable = fixed.iter().position(|spacing| spacing.stable);
        if fixed.is_empty() {
            return Err(Error::EmptyList {
                name: "fixed spacings",
            });
        }
        Ok(Self {
            searched,
            best: stable.unwrap_or(0),
            fixed,
            refused,
            evaluations,
        })
    }

    /// Whether the searched spacing beats every stable fixed one, on the surrogate and on the
    /// held-out one. Where no fixed one is stable it does.
    pub fn accepted(&self) -> bool {
        let (_, error, held_out) = self.searched;
        let mut stable = self.fixed.iter().filter(|fixed| fixed.stable);
        stable.all(|fixed| error < fixed.error && held_out < fixed.held_out)
    }

    /// The grid to use: the searched one where it is accepted, else the best fixed one.
    pub fn grid(&self) -> &Grid {
        if self.accepted() {
            self.searched_grid()
        } else {
            &self.best_fixed().grid
        }
    }

    /// The searched grid, accepted or not.
    pub fn searched_grid(&self) -> &Grid {
        &self.searched.0
    }

    /// The searched grid's error on the surrogate, in percent of the data's rms deviation.
    pub fn error(&self) -> f64 {
        self.searched.1
    }

    /// The searched grid's error on the held-out surrogate.
    pub fn held_out_error(&self) -> f64 {
        self.searched.2
    }

    /// The fixed spacing with the least held-out error, of the stable ones if there is one.
    pub fn best_fixed(&self) -> &FixedSpacing {
        &self.fixed[self.best]
    }

    /// All fixed spacings that have a grid here, from the least held-out error on.
    pub fn fixed(&self) -> &[FixedSpacing] {
        &self.fixed
    }

    /// The fixed spacings that have none, and why.
    pub fn refused(&self) -> &[(Spacing, Error)] {
        &self.refused
    }

    /// How many errors the search computed, beside those of the fixed spacings.
    pub fn evaluations(&self) -> usize {
        self.evaluations
    }
}

/// The errors of the searched spacing and of the fixed ones, what to use, and its times.
impl fmt::Display for SearchedSpacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>10} {:>10}",
            "spacing", "error %", "held out %"
        )?;
        let (_, error, held_out) = self.searched;
        writeln!(f, "{:<24} {error:>10.4} {held_out:>10.4}", "searched")?;
        for fixed in &self.fixed {
            let mark = if fixed.stable { "" } else { "  unstable" };
            let (name, error, held_out) = (fixed.spacing, fixed.error, fixed.held_out);
            writeln!(f, "{name:<24} {error:>10.4} {held_out:>10.4}{mark}")?;
        }
        for (spacing, error) in &self.refused {
            writeln!(f, "{spacing:<24} none here: {error}")?;
        }
        if self.accepted() {
            writeln!(f, "accepted: the searched spacing, at the times")?;
        } else {
            let best = self.best_fixed();
            let why = if held_out < best.held_out {
                "no better on the data of the search"
            } else {
                "no better on held-out data"
            };
            let spacing = best.spacing;
            writeln!(f, "refused: {why}; use {spacing}, at the times")?;
        }
        let times = self.grid().levels().iter();
        let times: Vec<String> = times.map(|level| format!("{:.5}", level.time())).collect();
        writeln!(f, "{}", times.join(" "))
    }
}
