//! PNDM and PLMS.

use std::fmt;
use std::sync::Arc;

use super::Defect;
use super::adams::{Base, Call, Weighted, weights};
use super::betas::{self, Betas};
use super::classes::Class;
use super::common::any_prediction;
use super::ddim;
use super::fields;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use super::times::{self, Points};
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Stage, Step};
use crate::prediction::Prediction;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::solver::{Path, Pndm, Solver};

pub(super) const CLASS: Class = Class {
    names: &["PNDMScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        &["skip_prk_steps", "set_alpha_to_one", "prediction_type"],
    ],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LINEAR)?;
    if matches!(reading.request().length, Length::Times(_)) {
        return Err(reading.refused("list of times", "its steps are given by their number"));
    }
    let times = times::whole(reading, &table, Points::Steps, "leading")?;
    let end = ddim::end(reading, &table, false)?;
    let plms = reading.flag("skip_prk_steps", false)?;
    let prediction = any_prediction(reading)?;
    let weighted = match prediction {
        Prediction::Noise | Prediction::Linear { data: 0.0, .. } => Weighted::Noise,
        Prediction::Velocity => Weighted::Velocity,
        _ => {
            return Err(reading.unsupported(
                "prediction_type",
                "the class weighs noise or velocity",
                "\"epsilon\" or \"v_prediction\"",
            ));
        }
    };
    let stride = table.table_len().unwrap_or(1) / times.len();
    let even = times
        .windows(2)
        .all(|pair| pair[0] - pair[1] == stride as f64);
    let same = even && weighted == Weighted::Noise && times.len() > 1;
    let written = !(same && (plms || stride % 2 == 0)) && reading.defect(Defect::PndmAsWritten);
    let grid = match written && times.last() == Some(&0.0) {
        // The library's last call changes nothing, but it is one.
        true => Grid::from_indices(&table, &times)?,
        false => ddim::grid(reading, &table, &times, end)?,
    };
    if reading.request().strength.is_some() {
        reading.note(
            "the library cuts its list of calls, which has one time twice, so that its first step is \
             one earlier and a later one is skipped; here the last steps are taken as they are",
        );
    }
    if !plms && times.len() < 4 {
        return Err(Error::StepCount {
            steps: times.len(),
            min: 4,
            max: table.table_len().unwrap_or(1),
        });
    }
    let solver: Arc<dyn Solver> = match (written, plms) {
        (true, _) => Arc::new(AsWritten {
            table: table.clone(),
            end,
            stride: stride as f64,
            plms,
            weighted,
        }),
        (false, true) => Arc::new(Pndm::plms().extrapolated_end()),
        (false, false) => Arc::new(Pndm::new().extrapolated_end()),
    };
    Ok(Recipe {
        prediction,
        grid,
        solver,
        clip: None,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

/// The library's calls, with its steps from t to t − ⌊T/K⌋.
#[derive(Clone)]
struct AsWritten {
    table: TableSchedule,
    end: NoiseLevel,
    stride: f64,
    plms: bool,
    weighted: Weighted,
}

/// The outputs kept: four of whole steps, and two within a Runge–Kutta step.
const SLOTS: usize = 6;

/// Without the table.
impl fmt::Debug for AsWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsWritten")
            .field("stride", &self.stride)
            .field("plms", &self.plms)
            .field("weighted", &self.weighted)
            .finish_non_exhaustive()
    }
}

impl AsWritten {
    /// The level of a network index; below 0 the end.
    fn at(&self, index: f64) -> Result<NoiseLevel, Error> {
        match index >= 0.0 {
            true => self.table.knot_level(index + 1.0),
            false => Ok(self.end),
        }
    }

    fn call<'a>(&self, ends: [NoiseLevel; 3], base: &'a Base, weight: f64) -> Call<'a> {
        let [evaluate, from, to] = ends;
        Call {
            weighted: self.weighted,
            evaluate,
            from,
            to,
            base,
            weight,
            past: &[],
            slot: None,
        }
    }

    /// The first step without Runge–Kutta: a step, and the same again with the mean of both outputs.
    fn two_calls(&self, first: NoiseLevel, second: f64) -> Result<Vec<Stage>, Error> {
        let index = first.time() - 1.0;
        let current = Base::current();
        let one = Call {
            slot: Some(0),
            ..self.call([first, first, self.at(index - self.stride)?], &current, 1.0)
        };
        let base = one.base_after()?;
        let at = self.at(second)?;
        let two = Call {
            past: &[(0, 0.5)],
            ..self.call([at, self.at(second + self.stride)?, at], &base, 0.5)
        };
        Ok(vec![one.stage(), two.stage()])
    }

    /// A pseudo Runge–Kutta step, its first output kept in `slot`.
    fn runge_kutta(&self, first: NoiseLevel, next: f64, slot: usize) -> Result<Vec<Stage>, Error> {
        let half = (self.stride / 2.0).floor();
        let index = first.time() - 1.0;
        // The slots after those of whole steps.
        let (m, n) = (4, 5);
        let current = Base::current();
        let middle = self.at(index - half)?;
        let one = Call {
            slot: Some(slot),
            ..self.call([first, first, middle], &current, 1.0)
        };
        let base = one.base_after()?;
        let at = self.at(next + half)?;
        let two = Call {
            slot: Some(m),
            ..self.call([at, first, at], &base, 1.0)
        };
        let base = two.base_after()?;
        let three = Call {
            slot: Some(n),
            ..self.call([at, first, self.at(next + half - half)?], &base, 1.0)
        };
        let base = three.base_after()?;
        let at = self.at(next)?;
        let four = Call {
            past: &[(slot, 1.0 / 6.0), (m, 1.0 / 3.0), (n, 1.0 / 3.0)],
            ..self.call([at, first, at], &base, 1.0 / 6.0)
        };
        Ok([one, two, three, four].iter().map(Call::stage).collect())
    }
}

impl Solver for AsWritten {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut steps = Vec::new();
        // The slots of the outputs of whole steps, newest first.
        let mut kept: Vec<usize> = Vec::new();
        let current = Base::current();
        let edges: Vec<_> = path.edges().collect();
        let last = edges.len() - 1;
        for (i, &(from, to)) in edges.iter().enumerate() {
            let index = from.time() - 1.0;
            let slot = i % 4;
            let stages = if self.plms && i == 0 && last > 0 {
                self.two_calls(from, to.time() - 1.0)?
            } else if !self.plms && i < 3 {
                self.runge_kutta(from, to.time() - 1.0, slot)?
            } else {
                let [weight, rest @ ..] = weights(kept.len() + 1) else {
                    return Err(Error::EmptyList { name: "weights" });
                };
                let past: Vec<_> = kept.iter().copied().zip(rest.iter().copied()).collect();
                let call = Call {
                    past: &past,
                    slot: Some(slot),
                    ..self.call(
                        [from, from, self.at(index - self.stride)?],
                        &current,
                        *weight,
                    )
                };
                vec![call.stage()]
            };
            kept.insert(0, slot);
            kept.truncate(3);
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        Plan::new(steps, SLOTS)
    }

    fn order(&self) -> usize {
        1
    }
}
