//! How several model outputs combine: weights, folded into the update.

use crate::error::{Error, require};
use crate::prediction::Prediction;

/// The most outputs that one combination can hold.
pub const MAX_OUTPUTS: usize = 6;

/// Weights that sum to one may miss it by this much of Σ|w|.
const SUM_TOLERANCE: f64 = 1e-12;
/// Larger sums Σ|w| would leave fewer than six digits of the result, in f64.
const LARGEST_SUM: f64 = 1e9;

/// One sample's guidance at one evaluation, as scalars: a weight for each output of the model.
///
/// *Model* outputs o_j enter D, the estimate of x₀, with weights w_j; *gradient* outputs
/// g_j = ∇ₓ log p(y | x) stand behind them and bend it, D ← D + w_j (σ²/α) g_j (Dhariwal and Nichol
/// 2021, "Diffusion Models Beat GANs on Image Synthesis", Algorithm 2: E ← E − w_j σ g_j).
///
/// | part | meaning | default |
/// |---|---|---|
/// | weights | Σ w_j o_j; they need not sum to one ([`affine`](Self::affine) checks it) | |
/// | [`in_space`](Self::in_space) | the prediction on which the weights act: Σ w_j v_j for v | the model's own output |
/// | [`with_noise`](Self::with_noise) | other weights for E, the estimate of ε, where it is not (x − αD)/σ | those of D |
/// | [`with_memory`](Self::with_memory) | a weight on the run's guidance memory, added to D | 0 |
///
/// Weights that sum to one give the same D on x₀, ε, v and u.
///
/// ```
/// use diffusion_sampler::guidance::Combination;
///
/// let cfg = Combination::affine(&[2.5, -1.5])?;
/// assert_eq!(cfg.outputs(), 2);
/// assert!(Combination::affine(&[2.5, -1.0]).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combination {
    weights: [f64; MAX_OUTPUTS],
    noise: Option<[f64; MAX_OUTPUTS]>,
    models: usize,
    gradients: usize,
    memory: f64,
    space: Option<Prediction>,
}

impl Combination {
    /// The model's one output as it is.
    pub fn single() -> Self {
        let mut weights = [0.0; MAX_OUTPUTS];
        weights[0] = 1.0;
        Self {
            weights,
            noise: None,
            models: 1,
            gradients: 0,
            memory: 0.0,
            space: None,
        }
    }

    /// Any weights of the model outputs.
    ///
    /// # Errors
    ///
    /// [`Error::OutputCount`] unless there are 1 to [`MAX_OUTPUTS`]; [`Error::InvalidEntry`] for a
    /// weight that is not finite or exceeds 1e9 in magnitude.
    pub fn weighted(weights: &[f64]) -> Result<Self, Error> {
        Ok(Self {
            weights: checked("weights", weights)?,
            models: weights.len(),
            ..Self::single()
        })
    }

    /// Weights that sum to one, to rounding.
    ///
    /// # Errors
    ///
    /// As [`weighted`](Self::weighted), and [`Error::InvalidParameter`] for another sum.
    pub fn affine(weights: &[f64]) -> Result<Self, Error> {
        let combination = Self::weighted(weights)?;
        let (sum, scale) = weights
            .iter()
            .fold((0.0, 0.0), |(sum, scale), w| (sum + w, scale + w.abs()));
        let tolerance = SUM_TOLERANCE * f64::max(1.0, scale);
        require(
            (sum - 1.0).abs() <= tolerance.min(1e-6),
            "sum of the model weights",
            sum,
            "1",
        )?;
        Ok(combination)
    }

    /// The same weights on another space than the model's own output: for CFG-Zero* the velocity of
    /// a flow, for projected guidance x₀.
    #[must_use]
    pub fn in_space(self, space: Prediction) -> Self {
        Self {
            space: Some(space),
            ..self
        }
    }

    /// Other weights, in the same space, for E, the estimate of ε: CFG++ adds noise back by the
    /// unconditional one.
    ///
    /// # Errors
    ///
    /// As [`weighted`](Self::weighted); [`Error::WrongLength`] unless there are as many.
    pub fn with_noise(self, weights: &[f64]) -> Result<Self, Error> {
        if weights.len() != self.models {
            return Err(Error::WrongLength {
                name: "noise weights",
                expected: self.models,
                found: weights.len(),
            });
        }
        Ok(Self {
            noise: Some(checked("noise weights", weights)?),
            ..self
        })
    }

    /// The same combination plus `weight` times the run's guidance memory
    /// ([`Guidance::memory`](super::Guidance::memory)), on D.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a weight that is not finite or exceeds 1e9 in magnitude.
    pub fn with_memory(self, weight: f64) -> Result<Self, Error> {
        require(in_range(weight), "memory weight", weight, RANGE)?;
        Ok(Self {
            memory: weight,
            ..self
        })
    }

    /// The same combination with one gradient more, behind the others.
    ///
    /// # Errors
    ///
    /// [`Error::OutputCount`], and [`Error::InvalidParameter`] as for the other weights.
    pub fn with_gradient(&self, weight: f64) -> Result<Self, Error> {
        let at = self.outputs();
        output_count(at + 1)?;
        require(in_range(weight), "gradient weight", weight, RANGE)?;
        let mut combination = *self;
        combination.weights[at] = weight;
        combination.gradients += 1;
        Ok(combination)
    }

    /// The same weights over `outputs` outputs; those beyond its own get weight 0.
    pub(super) fn over(self, outputs: usize) -> Result<Self, Error> {
        if self.gradients > 0 && outputs > self.outputs() {
            return Err(Error::NestedGuidance {
                outer: "classifier guidance",
                inner: "classifier guidance that is off where the outer one is on",
            });
        }
        output_count(outputs)?;
        Ok(Self {
            models: self.models.max(outputs.saturating_sub(self.gradients)),
            ..self
        })
    }

    /// The model weights times `factor`, where they act on the model's own output.
    pub(super) fn scaled(&self, factor: f64) -> Result<Self, Error> {
        Self::weighted(
            &self
                .models()
                .iter()
                .map(|w| factor * w)
                .collect::<Weights>(),
        )
    }

    /// The number of outputs that it reads.
    pub fn outputs(&self) -> usize {
        self.models + self.gradients
    }

    /// The weights of the model outputs, for D.
    pub fn models(&self) -> &[f64] {
        &self.weights[..self.models]
    }

    /// The weights of the model outputs for E, where they differ.
    pub fn noise(&self) -> Option<&[f64]> {
        self.noise.as_ref().map(|weights| &weights[..self.models])
    }

    /// The weights of the gradient outputs.
    pub fn gradients(&self) -> &[f64] {
        &self.weights[self.models..self.outputs()]
    }

    /// The weight of the guidance memory.
    pub fn memory(&self) -> f64 {
        self.memory
    }

    /// The space in which the weights act; `None` for the model's own output.
    pub fn space(&self) -> Option<Prediction> {
        self.space
    }

    /// Whether it is nothing but weights on the model's own outputs.
    pub(super) fn is_weights_only(&self) -> bool {
        self.space.is_none() && self.noise.is_none() && self.memory == 0.0 && self.gradients == 0
    }
}

/// At most [`MAX_OUTPUTS`] weights, collected without allocation.
pub(super) struct Weights([f64; MAX_OUTPUTS], usize);

impl FromIterator<f64> for Weights {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut weights = Self([0.0; MAX_OUTPUTS], 0);
        for (slot, value) in weights.0.iter_mut().zip(values) {
            *slot = value;
            weights.1 += 1;
        }
        weights
    }
}

impl std::ops::Deref for Weights {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0[..self.1]
    }
}

const RANGE: &str = "finite and at most 1e9 in magnitude";

/// Refuses a weight or scale of a form that no combination could hold.
pub(super) fn require_weight(name: &'static str, weight: f64) -> Result<(), Error> {
    require(in_range(weight), name, weight, RANGE)
}

fn in_range(weight: f64) -> bool {
    weight.abs() <= LARGEST_SUM
}

/// One to [`MAX_OUTPUTS`] outputs.
pub(crate) fn output_count(found: usize) -> Result<(), Error> {
    if (1..=MAX_OUTPUTS).contains(&found) {
        Ok(())
    } else {
        Err(Error::OutputCount {
            found,
            max: MAX_OUTPUTS,
        })
    }
}

fn checked(name: &'static str, values: &[f64]) -> Result<[f64; MAX_OUTPUTS], Error> {
    output_count(values.len())?;
    let mut weights = [0.0; MAX_OUTPUTS];
    for (index, (slot, &value)) in weights.iter_mut().zip(values).enumerate() {
        if !in_range(value) {
            return Err(Error::InvalidEntry {
                name,
                index,
                value,
                requirement: RANGE,
            });
        }
        *slot = value;
    }
    Ok(weights)
}
