//! How several model outputs combine: weights, folded into the update.

use crate::error::Error;

/// The most outputs that one combination can hold.
pub const MAX_OUTPUTS: usize = 6;

/// Linear guidance at one level: a weight for each output of the model.
///
/// *Model* outputs o_j enter with weights w_j that sum to one, so that the combination is the same on x₀, ε, v and u:
/// D = Σ w_j D_j. *Gradient* outputs g_j = ∇ₓ log p(y | x) bend the noise, E ← E − w_j σ g_j (Dhariwal and Nichol 2021,
/// "Diffusion Models Beat GANs on Image Synthesis", Algorithm 2), that is D ← D + w_j (σ²/α) g_j.
///
/// ```
/// use diffusion_sampler::guidance::Combination;
///
/// let cfg = Combination::new(&[2.5, -1.5], &[])?;
/// assert_eq!(cfg.len(), 2);
/// assert!(Combination::new(&[2.5, -1.0], &[]).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combination {
    weights: [f64; MAX_OUTPUTS],
    models: usize,
    gradients: usize,
}

impl Combination {
    /// The model's one output as it is.
    pub fn single() -> Self {
        Self {
            weights: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            models: 1,
            gradients: 0,
        }
    }

    /// The weights of the model outputs, which come first, and of the gradient outputs behind them.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyTerms`] for more than [`MAX_OUTPUTS`]; [`Error::InvalidEntry`] for a weight that is not finite;
    /// [`Error::InvalidParameter`] unless the model weights sum to one (to rounding).
    pub fn new(models: &[f64], gradients: &[f64]) -> Result<Self, Error> {
        let found = models.len() + gradients.len();
        if found > MAX_OUTPUTS {
            return Err(Error::TooManyTerms {
                found,
                max: MAX_OUTPUTS,
            });
        }
        let mut weights = [0.0; MAX_OUTPUTS];
        for (index, (slot, &value)) in weights
            .iter_mut()
            .zip(models.iter().chain(gradients))
            .enumerate()
        {
            if !value.is_finite() {
                return Err(Error::InvalidEntry {
                    name: "weights",
                    index,
                    value,
                    requirement: "finite",
                });
            }
            *slot = value;
        }
        let (sum, scale) = models
            .iter()
            .fold((0.0, 0.0), |(sum, scale), w| (sum + w, scale + w.abs()));
        crate::error::require(
            (sum - 1.0).abs() <= 1e-12 * f64::max(1.0, scale),
            "sum of the model weights",
            sum,
            "1",
        )?;
        Ok(Self {
            weights,
            models: models.len(),
            gradients: gradients.len(),
        })
    }

    /// The same combination with one gradient more, behind the others.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_gradient(&self, weight: f64) -> Result<Self, Error> {
        let len = self.len();
        if len == MAX_OUTPUTS {
            return Err(Error::TooManyTerms {
                found: len + 1,
                max: MAX_OUTPUTS,
            });
        }
        crate::error::require(weight.is_finite(), "gradient weight", weight, "finite")?;
        let mut combination = *self;
        combination.weights[len] = weight;
        combination.gradients += 1;
        Ok(combination)
    }

    /// The number of outputs.
    pub fn len(&self) -> usize {
        self.models + self.gradients
    }

    /// Never: a combination holds at least one model output.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The weights of the model outputs.
    pub fn models(&self) -> &[f64] {
        &self.weights[..self.models]
    }

    /// The weights of the gradient outputs.
    pub fn gradients(&self) -> &[f64] {
        &self.weights[self.models..self.len()]
    }
}
