//! Forms of guidance as they are stored: those that are data. A weight by a function is refused.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::weight::Kind;
use super::{
    ClassifierFree, ClassifierGuidance, Combination, Composed, Guidance, GuidanceWeight, Memory,
    OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential,
    Unguided, WeightedSum, ZeroStar,
};
use crate::error::Error;
use crate::prediction::Prediction;
use crate::stored::{Extended, Finite, finite, present};

/// Numbers of a list, checked by the form that takes them.
fn numbers(list: &[Finite]) -> Vec<f64> {
    list.iter().map(|number| number.0).collect()
}

fn finites(list: &[f64]) -> Vec<Finite> {
    list.iter().copied().map(Finite).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WeightForm {
    Constant(Finite),
    Interval {
        weight: Finite,
        rho_low: Finite,
        rho_high: Extended,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UnguidedForm {
    Unguided,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeForm {
    weight: GuidanceWeight,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectedForm {
    weight: Finite,
    eta: Finite,
    radius: Extended,
    momentum: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZeroStarForm {
    scale: Finite,
    zero_steps: usize,
    space: Prediction,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlusPlusForm {
    lambda: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TangentialForm {
    scale: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerpendicularForm {
    scale: Finite,
    negative: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComposedForm {
    scales: Vec<Finite>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerturbedForm {
    scale: Finite,
    weight: GuidanceWeight,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SumForm {
    weights: Vec<Finite>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CombinationForm {
    models: Vec<Finite>,
    #[serde(deserialize_with = "present")]
    noise: Option<Vec<Finite>>,
    gradients: Vec<Finite>,
    memory: Finite,
    #[serde(deserialize_with = "present")]
    space: Option<Prediction>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Memory", deny_unknown_fields)]
struct MemoryForm {
    #[serde(with = "finite")]
    decay: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnIntervalForm<G> {
    inner: G,
    rho_low: Finite,
    rho_high: Extended,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RescaledForm<G> {
    inner: G,
    phi: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassifierForm<G> {
    inner: G,
    weight: GuidanceWeight,
}

crate::stored::through!(
    GuidanceWeight => WeightForm,
    Unguided => UnguidedForm,
    ClassifierFree => FreeForm,
    Projected => ProjectedForm,
    ZeroStar => ZeroStarForm,
    PlusPlus => PlusPlusForm,
    Tangential => TangentialForm,
    PerpendicularNegative => PerpendicularForm,
    Composed => ComposedForm,
    Perturbed => PerturbedForm,
    WeightedSum => SumForm,
    Combination => CombinationForm,
);
crate::stored::remote!(Memory => MemoryForm);

/// The same for a form around another.
macro_rules! around {
    ($($outer:ident => $form:ident),+ $(,)?) => {$(
        impl<G: Serialize> Serialize for $outer<G> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::from(self).serialize(serializer)
            }
        }

        impl<'de, G: Guidance + Deserialize<'de>> Deserialize<'de> for $outer<G> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form = $form::deserialize(deserializer)?;
                Self::try_from(form).map_err(D::Error::custom)
            }
        }
    )+};
}

around!(
    OnInterval => OnIntervalForm,
    Rescaled => RescaledForm,
    ClassifierGuidance => ClassifierForm,
);

impl TryFrom<&GuidanceWeight> for WeightForm {
    type Error = Error;

    fn try_from(weight: &GuidanceWeight) -> Result<Self, Error> {
        match weight.0 {
            Kind::Constant(weight) => Ok(Self::Constant(Finite(weight))),
            Kind::Interval { weight, low, high } => Ok(Self::Interval {
                weight: Finite(weight),
                rho_low: Finite(low),
                rho_high: Extended(high),
            }),
            Kind::Function(_) => Err(Error::FunctionNotStored {
                name: "the guidance weight by level",
            }),
        }
    }
}

impl TryFrom<WeightForm> for GuidanceWeight {
    type Error = Error;

    fn try_from(form: WeightForm) -> Result<Self, Error> {
        match form {
            WeightForm::Constant(weight) => Self::constant(weight.0),
            WeightForm::Interval {
                weight,
                rho_low,
                rho_high,
            } => Self::interval(weight.0, rho_low.0, rho_high.0),
        }
    }
}

impl From<&Unguided> for UnguidedForm {
    fn from(_: &Unguided) -> Self {
        Self::Unguided
    }
}

impl From<UnguidedForm> for Unguided {
    fn from(_: UnguidedForm) -> Self {
        // Equivalent mutant: replace body with Default::default(): the body is that.
        Self
    }
}

impl From<&ClassifierFree> for FreeForm {
    fn from(form: &ClassifierFree) -> Self {
        let weight = form.weight.clone();
        Self { weight }
    }
}

impl From<FreeForm> for ClassifierFree {
    fn from(form: FreeForm) -> Self {
        Self::new(form.weight)
    }
}

impl From<&Projected> for ProjectedForm {
    fn from(form: &Projected) -> Self {
        Self {
            weight: Finite(form.weight),
            eta: Finite(form.eta),
            radius: Extended(form.radius),
            momentum: Finite(form.momentum),
        }
    }
}

impl TryFrom<ProjectedForm> for Projected {
    type Error = Error;

    fn try_from(form: ProjectedForm) -> Result<Self, Error> {
        let unbounded = Self::new(form.weight.0)?
            .with_eta(form.eta.0)?
            .with_momentum(form.momentum.0)?;
        match form.radius.0 {
            f64::INFINITY => Ok(unbounded),
            radius => unbounded.with_radius(radius),
        }
    }
}

impl From<&ZeroStar> for ZeroStarForm {
    fn from(form: &ZeroStar) -> Self {
        Self {
            scale: Finite(form.scale),
            zero_steps: form.zero_steps,
            space: form.space,
        }
    }
}

impl TryFrom<ZeroStarForm> for ZeroStar {
    type Error = Error;

    fn try_from(form: ZeroStarForm) -> Result<Self, Error> {
        let plain = Self::with_scale(form.scale.0)?;
        Ok(plain.zero_steps(form.zero_steps).on(form.space))
    }
}

impl From<&PlusPlus> for PlusPlusForm {
    fn from(form: &PlusPlus) -> Self {
        let lambda = Finite(form.lambda);
        Self { lambda }
    }
}

impl TryFrom<PlusPlusForm> for PlusPlus {
    type Error = Error;

    fn try_from(form: PlusPlusForm) -> Result<Self, Error> {
        Self::new(form.lambda.0)
    }
}

impl From<&Tangential> for TangentialForm {
    fn from(form: &Tangential) -> Self {
        let scale = Finite(form.scale);
        Self { scale }
    }
}

impl TryFrom<TangentialForm> for Tangential {
    type Error = Error;

    fn try_from(form: TangentialForm) -> Result<Self, Error> {
        Self::with_scale(form.scale.0)
    }
}

impl From<&PerpendicularNegative> for PerpendicularForm {
    fn from(form: &PerpendicularNegative) -> Self {
        Self {
            scale: Finite(form.scale),
            negative: Finite(form.negative),
        }
    }
}

impl TryFrom<PerpendicularForm> for PerpendicularNegative {
    type Error = Error;

    fn try_from(form: PerpendicularForm) -> Result<Self, Error> {
        Self::new(form.scale.0, form.negative.0)
    }
}

impl From<&Composed> for ComposedForm {
    fn from(form: &Composed) -> Self {
        // The last weight is what the scales leave to 1.
        let scales = form
            .weights
            .split_last()
            .map_or(&[][..], |(_, scales)| scales);
        Self {
            scales: finites(scales),
        }
    }
}

impl TryFrom<ComposedForm> for Composed {
    type Error = Error;

    fn try_from(form: ComposedForm) -> Result<Self, Error> {
        Self::new(&numbers(&form.scales))
    }
}

impl From<&Perturbed> for PerturbedForm {
    fn from(form: &Perturbed) -> Self {
        Self {
            scale: Finite(form.scale),
            weight: form.weight.clone(),
        }
    }
}

impl TryFrom<PerturbedForm> for Perturbed {
    type Error = Error;

    fn try_from(form: PerturbedForm) -> Result<Self, Error> {
        Self::new(form.scale.0, form.weight)
    }
}

impl From<&WeightedSum> for SumForm {
    fn from(form: &WeightedSum) -> Self {
        let weights = finites(&form.weights);
        Self { weights }
    }
}

impl TryFrom<SumForm> for WeightedSum {
    type Error = Error;

    fn try_from(form: SumForm) -> Result<Self, Error> {
        Self::new(&numbers(&form.weights))
    }
}

impl From<&Combination> for CombinationForm {
    fn from(combination: &Combination) -> Self {
        Self {
            models: finites(combination.models()),
            noise: combination.noise().map(finites),
            gradients: finites(combination.gradients()),
            memory: Finite(combination.memory()),
            space: combination.space(),
        }
    }
}

impl TryFrom<CombinationForm> for Combination {
    type Error = Error;

    fn try_from(form: CombinationForm) -> Result<Self, Error> {
        let mut combination = Self::weighted(&numbers(&form.models))?.with_memory(form.memory.0)?;
        if let Some(noise) = form.noise {
            combination = combination.with_noise(&numbers(&noise))?;
        }
        if let Some(space) = form.space {
            combination = combination.in_space(space);
        }
        let gradients = form.gradients.into_iter();
        gradients
            .map(|weight| weight.0)
            .try_fold(combination, |sum, weight| sum.with_gradient(weight))
    }
}

impl<'a, G> From<&'a OnInterval<G>> for OnIntervalForm<&'a G> {
    fn from(form: &'a OnInterval<G>) -> Self {
        Self {
            inner: &form.inner,
            rho_low: Finite(form.rho_low),
            rho_high: Extended(form.rho_high),
        }
    }
}

impl<G: Guidance> TryFrom<OnIntervalForm<G>> for OnInterval<G> {
    type Error = Error;

    fn try_from(form: OnIntervalForm<G>) -> Result<Self, Error> {
        Self::new(form.inner, form.rho_low.0, form.rho_high.0)
    }
}

impl<'a, G> From<&'a Rescaled<G>> for RescaledForm<&'a G> {
    fn from(form: &'a Rescaled<G>) -> Self {
        Self {
            inner: &form.inner,
            phi: Finite(form.phi),
        }
    }
}

impl<G: Guidance> TryFrom<RescaledForm<G>> for Rescaled<G> {
    type Error = Error;

    fn try_from(form: RescaledForm<G>) -> Result<Self, Error> {
        Self::new(form.inner, form.phi.0)
    }
}

impl<'a, G> From<&'a ClassifierGuidance<G>> for ClassifierForm<&'a G> {
    fn from(form: &'a ClassifierGuidance<G>) -> Self {
        Self {
            inner: &form.inner,
            weight: form.weight.clone(),
        }
    }
}

impl<G: Guidance> From<ClassifierForm<G>> for ClassifierGuidance<G> {
    fn from(form: ClassifierForm<G>) -> Self {
        Self::around(form.inner, form.weight)
    }
}
