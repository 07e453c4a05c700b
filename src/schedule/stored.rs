//! Schedules as they are stored.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Edm, LambdaRange, ModelTime, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule,
    UnitVariance, VarianceExploding, VariancePreserving,
};
use crate::error::{Error, require};
use crate::memory::{Copied, Listed};
use crate::stored::{Extended, Finite};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableForm {
    #[serde(deserialize_with = "crate::stored::listed")]
    log_alpha_squared: Vec<Extended>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreservingForm {
    beta_min: Finite,
    beta_max: Finite,
}

/// The logarithms of the ends: σ_min and σ_max do not come back from them to the bit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplodingForm {
    lambda_noisy: Finite,
    lambda_clean: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdmForm {
    sigma_min: Finite,
    sigma_max: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowForm {
    shift: Finite,
    model_time: ModelTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTimeForm {
    reversed: bool,
    factor: Finite,
    truncated: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeForm {
    noisy: Extended,
    clean: Extended,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SublevelsForm<S> {
    inner: S,
    count: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitVarianceForm<S> {
    inner: S,
    edm_noise: bool,
}

crate::stored::through!(
    TableSchedule => TableForm,
    VariancePreserving => PreservingForm,
    VarianceExploding => ExplodingForm,
    Edm => EdmForm,
    RectifiedFlow => FlowForm,
    ModelTime => ModelTimeForm,
    LambdaRange => RangeForm,
);

impl From<&TableSchedule> for TableForm {
    fn from(schedule: &TableSchedule) -> Self {
        // Knot 0 is always 0.
        let logs = schedule.log_alpha_squared.iter().skip(1);
        Self {
            log_alpha_squared: logs.copied().map(Extended).collect(),
        }
    }
}

impl TryFrom<TableForm> for TableSchedule {
    type Error = Error;

    fn try_from(form: TableForm) -> Result<Self, Error> {
        let logs: Vec<f64> = form.log_alpha_squared.iter().map(|log| log.0).listed()?;
        Self::from_logs(logs[..].copy()?, "log_alpha_squared", &logs)
    }
}

impl From<&VariancePreserving> for PreservingForm {
    fn from(schedule: &VariancePreserving) -> Self {
        Self {
            beta_min: Finite(schedule.beta_min),
            beta_max: Finite(schedule.beta_max),
        }
    }
}

impl TryFrom<PreservingForm> for VariancePreserving {
    type Error = Error;

    fn try_from(form: PreservingForm) -> Result<Self, Error> {
        Self::new(form.beta_min.0, form.beta_max.0)
    }
}

impl From<&VarianceExploding> for ExplodingForm {
    fn from(schedule: &VarianceExploding) -> Self {
        Self {
            lambda_noisy: Finite(schedule.range.noisy),
            lambda_clean: Finite(schedule.range.clean),
        }
    }
}

impl TryFrom<ExplodingForm> for VarianceExploding {
    type Error = Error;

    fn try_from(form: ExplodingForm) -> Result<Self, Error> {
        let (noisy, clean) = (form.lambda_noisy.0, form.lambda_clean.0);
        let largest = libm::exp(-noisy);
        let requirement = "such that sigma does not overflow";
        require(largest.is_finite(), "lambda_noisy", noisy, requirement)?;
        let requirement = "such that sigma does not vanish";
        require(libm::exp(-clean) > 0.0, "lambda_clean", clean, requirement)?;
        Ok(Self {
            range: LambdaRange::new(noisy, clean)?,
        })
    }
}

impl From<&Edm> for EdmForm {
    fn from(schedule: &Edm) -> Self {
        Self {
            sigma_min: Finite(schedule.sigma_min),
            sigma_max: Finite(schedule.sigma_max),
        }
    }
}

impl TryFrom<EdmForm> for Edm {
    type Error = Error;

    fn try_from(form: EdmForm) -> Result<Self, Error> {
        Self::new(form.sigma_min.0, form.sigma_max.0)
    }
}

impl From<&RectifiedFlow> for FlowForm {
    fn from(schedule: &RectifiedFlow) -> Self {
        Self {
            shift: Finite(schedule.shift),
            model_time: schedule.model_time,
        }
    }
}

impl TryFrom<FlowForm> for RectifiedFlow {
    type Error = Error;

    fn try_from(form: FlowForm) -> Result<Self, Error> {
        Ok(Self::shifted(form.shift.0)?.with_model_time(form.model_time))
    }
}

impl From<&ModelTime> for ModelTimeForm {
    fn from(time: &ModelTime) -> Self {
        Self {
            reversed: time.reversed,
            factor: Finite(time.factor),
            truncated: time.truncated,
        }
    }
}

impl TryFrom<ModelTimeForm> for ModelTime {
    type Error = Error;

    fn try_from(form: ModelTimeForm) -> Result<Self, Error> {
        let base = if form.reversed {
            Self::one_minus_sigma()
        } else {
            Self::sigma()
        };
        let time = base.times(form.factor.0)?;
        Ok(if form.truncated {
            time.truncated()
        } else {
            time
        })
    }
}

impl From<&LambdaRange> for RangeForm {
    fn from(range: &LambdaRange) -> Self {
        Self {
            noisy: Extended(range.noisy),
            clean: Extended(range.clean),
        }
    }
}

impl TryFrom<RangeForm> for LambdaRange {
    type Error = Error;

    fn try_from(form: RangeForm) -> Result<Self, Error> {
        Self::new(form.noisy.0, form.clean.0)
    }
}

impl<S: Serialize> Serialize for Sublevels<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        SublevelsForm {
            inner: &self.schedule,
            count: self.count,
        }
        .serialize(serializer)
    }
}

impl<'de, S: NoiseSchedule + Deserialize<'de>> Deserialize<'de> for Sublevels<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = SublevelsForm::<S>::deserialize(deserializer)?;
        Self::of(form.inner, form.count).map_err(D::Error::custom)
    }
}

impl<S: Serialize> Serialize for UnitVariance<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        UnitVarianceForm {
            inner: &self.schedule,
            edm_noise: self.edm_noise,
        }
        .serialize(serializer)
    }
}

impl<'de, S: NoiseSchedule + Deserialize<'de>> Deserialize<'de> for UnitVariance<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = UnitVarianceForm::<S>::deserialize(deserializer)?;
        let schedule = Self::of(form.inner);
        Ok(if form.edm_noise {
            schedule.with_edm_noise()
        } else {
            schedule
        })
    }
}
