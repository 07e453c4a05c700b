//! What the network of a class predicts that knows tables and flows.

use super::common;
use super::reading::Reading;
use super::recipe::State;
use crate::error::Error;
use crate::prediction::Prediction;

/// `prediction_type`, on a table or on a flow.
pub(super) fn prediction(reading: &Reading<'_>, state: State) -> Result<Prediction, Error> {
    match (common::predicted(reading)?, state) {
        ("flow_prediction", State::Same | State::OverAlpha) => Err(common::flow_on_table(
            reading,
            "use_flow_sigmas, or another prediction_type",
        )),
        ("v_prediction", State::Flow) => Err(reading.unsupported(
            "prediction_type",
            "the velocity of a variance-preserving schedule says nothing on a flow",
            "\"flow_prediction\"",
        )),
        _ => common::any_prediction(reading),
    }
}
