//! MiniMax-H3's flow.

use std::sync::Arc;

use super::classes::Class;
use super::flow_match::List;
use super::reading::Reading;
use super::recipe::Recipe;
use super::request::Length;
use crate::error::Error;
use crate::grid::FlowSigmas;
use crate::solver::FirstOrder;

pub(super) const CLASS: Class = Class {
    names: &["MiniMaxH3Scheduler"],
    fields: &[&["shift"]],
    read,
};

/// σ from 1 to 0, both counted among the K steps that the library is asked for; the network is told
/// 1 − σ, and predicts data − noise.
fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    reading.times_are_no_numbers_of_steps()?;
    let within = |shift: f64| (1e-6..=1e6).contains(&shift);
    let shift = reading.number_where("shift", 12.0, within, "from 1e-6 to 1e6")?;
    let list = match &reading.request().length {
        &Length::Steps(points) if points < 2 => {
            return Err(Error::StepCount {
                steps: points,
                min: 2,
                max: usize::MAX,
            });
        }
        &Length::Steps(points) => {
            reading.note("its number of steps counts the clean end too: one call less");
            let list = FlowSigmas::linspace(1.0, 0.0, points)?;
            let list = match reading.request().float32 {
                true => list.in_f32(),
                false => list,
            };
            list.shifted(shift)?
        }
        // As they are, the end included.
        Length::Sigmas(sigmas) => FlowSigmas::new(sigmas.clone())?,
        Length::Times(_) => return Err(reading.refused("list of times", "it takes one of sigma")),
    };
    List::to_its_end(list, 1).recipe(reading, Arc::new(FirstOrder::ddim()), true)
}
