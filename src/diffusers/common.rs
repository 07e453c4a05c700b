//! Fields that several classes share.

use super::reading::Reading;
use crate::clip::Clip;
use crate::error::Error;
use crate::prediction::Prediction;

/// What the network predicts, of a class that knows tables alone.
pub(super) fn prediction(reading: &Reading<'_>) -> Result<Prediction, Error> {
    match any_prediction(reading)? {
        Prediction::Flow | Prediction::Linear { data: 1.0, .. } => {
            Err(flow_on_table(reading, "another prediction_type"))
        }
        prediction => Ok(prediction),
    }
}

/// The error of a flow's network on a table.
pub(super) fn flow_on_table(reading: &Reading<'_>, closest: &'static str) -> Error {
    reading.unsupported(
        "prediction_type",
        "a flow's velocity says nothing on the noise levels of a table of betas",
        closest,
    )
}

/// The words of `prediction_type`.
const PREDICTIONS: &[&[&str]] = &[
    &["epsilon"],
    &["sample", "original_sample"],
    &["v_prediction"],
    &["flow_prediction"],
];

/// The word of `prediction_type`.
pub(super) fn predicted(reading: &Reading<'_>) -> Result<&'static str, Error> {
    reading.choice("prediction_type", "epsilon", PREDICTIONS)
}

/// What the network predicts, of a class that keeps x = αx₀ + σε.
pub(super) fn any_prediction(reading: &Reading<'_>) -> Result<Prediction, Error> {
    let prediction = match predicted(reading)? {
        "epsilon" => Prediction::Noise,
        "sample" => Prediction::Data,
        "v_prediction" => Prediction::Velocity,
        _ => Prediction::Flow,
    };
    signed(reading, prediction)
}

/// The same for a network whose output has the other sign.
pub(super) fn signed(reading: &Reading<'_>, prediction: Prediction) -> Result<Prediction, Error> {
    if !reading.request().reversed {
        return Ok(prediction);
    }
    reading.uses("reversed_output");
    Ok(match prediction {
        Prediction::Noise => Prediction::Linear {
            data: 0.0,
            noise: -1.0,
        },
        Prediction::Data => Prediction::Linear {
            data: -1.0,
            noise: 0.0,
        },
        Prediction::Flow => Prediction::Linear {
            data: 1.0,
            noise: -1.0,
        },
        _ => {
            return Err(reading.refused(
                "reversed_output",
                "only a network that predicts noise, data or a flow has another sign anywhere",
            ));
        }
    })
}

/// Dynamic thresholding where it is on, which replaces clipping; else clipping where that is on.
pub(super) fn clip(reading: &Reading<'_>, clips: bool) -> Result<Option<Clip>, Error> {
    match thresholding(reading)? {
        Some(clip) => Ok(Some(clip)),
        None => static_clip(reading, clips),
    }
}

/// `clip_sample` and its range.
pub(super) fn static_clip(reading: &Reading<'_>, default: bool) -> Result<Option<Clip>, Error> {
    if !reading.flag("clip_sample", default)? {
        return Ok(None);
    }
    let range = reading.positive("clip_sample_range", 1.0)?;
    Clip::new(-range, range).map(Some)
}

/// `thresholding` and its fields.
pub(super) fn thresholding(reading: &Reading<'_>) -> Result<Option<Clip>, Error> {
    if !reading.flag("thresholding", false)? {
        return Ok(None);
    }
    let within = |ratio| (0.0..=1.0).contains(&ratio);
    let ratio = "dynamic_thresholding_ratio";
    let ratio = reading.number_where(ratio, 0.995, within, "from 0 to 1")?;
    let within = |max: f64| max.is_finite() && max >= 1.0;
    let max = reading.number_where("sample_max_value", 1.0, within, "finite and at least 1")?;
    Clip::dynamic(ratio, max).map(Some)
}
