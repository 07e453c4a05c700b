//! Adaptive projected guidance.

use super::combination::require_weight;
use super::{Combination, Evaluation, Guidance, Memory, Products, required};
use crate::error::{Error, require, require_positive};
use crate::prediction::Prediction;

/// Adaptive projected guidance, on D: D = D_c + w (δ_⊥ + η δ_∥), δ = D_c − D_u, clipped to a norm
/// radius and split against D_c for each sample. Sadat, Hilliges and Weber (2024), "Eliminating
/// Oversaturation and Artifacts of High Guidance Scales in Diffusion Models", Algorithm 1.
///
/// With momentum m, δ ← δ + m δ_previous before the clip, δ_previous being the accumulated one: an
/// array that the run keeps, clones and stores. η = 1 without radius and momentum is
/// classifier-free guidance. Outputs: conditional, unconditional.
///
/// ```
/// use diffusion_sampler::guidance::Projected;
///
/// let guidance = Projected::new(6.5)?.with_eta(0.0)?.with_radius(15.0)?.with_momentum(-0.5)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "APG")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projected {
    pub(super) weight: f64,
    pub(super) eta: f64,
    pub(super) radius: f64,
    pub(super) momentum: f64,
}

impl Projected {
    /// Weight w (a library's scale is 1 + w), η = 0, no radius, no momentum.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`weight`| ≤ 1e9.
    pub fn new(weight: f64) -> Result<Self, Error> {
        require_weight("guidance weight", weight)?;
        Ok(Self {
            weight,
            eta: 0.0,
            radius: f64::INFINITY,
            momentum: 0.0,
        })
    }

    /// A library's scale s = 1 + w, otherwise as [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`scale`| ≤ 1e9.
    pub fn with_scale(scale: f64) -> Result<Self, Error> {
        require_weight("guidance scale", scale)?;
        Self::new(scale - 1.0)
    }

    /// The share η of the part of δ that is parallel to D_c.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `eta` is finite.
    pub fn with_eta(self, eta: f64) -> Result<Self, Error> {
        require(eta.is_finite(), "eta", eta, "finite")?;
        Ok(Self { eta, ..self })
    }

    /// The largest norm of δ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `radius` is positive and finite.
    pub fn with_radius(self, radius: f64) -> Result<Self, Error> {
        require_positive("radius", radius)?;
        Ok(Self { radius, ..self })
    }

    /// The factor m on the accumulated δ of the step before; published values are negative.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |m| < 1.
    pub fn with_momentum(self, momentum: f64) -> Result<Self, Error> {
        let valid = momentum.abs() < 1.0;
        require(valid, "momentum", momentum, "in (-1, 1)")?;
        Ok(Self { momentum, ..self })
    }
}

impl Guidance for Projected {
    fn name(&self) -> &'static str {
        "projected guidance"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn wanted(&self, _: &Evaluation) -> Result<usize, Error> {
        Ok(if self.weight == 0.0 { 1 } else { 2 })
    }

    fn needs_products(&self, _: &Evaluation) -> bool {
        self.weight != 0.0
    }

    fn memory(&self, _: &Evaluation) -> Option<Memory> {
        (self.is_stateful() && self.weight != 0.0).then_some(Memory {
            decay: self.momentum,
        })
    }

    fn is_stateful(&self) -> bool {
        self.momentum != 0.0
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        if self.weight == 0.0 {
            return Ok(Combination::single());
        }
        let products = required(self.name(), products)?;
        let space = at.prediction().convert_to(Prediction::Data, at.level())?;
        let b = space.output;
        // δ = D_c − D_u = b (o_c − o_u), in which x cancels; with momentum it is the memory.
        let towards = [1.0, -1.0];
        let conditional = products.inner_in(space, 0, 0);
        let (squared, along) = if self.is_stateful() {
            (products.memory_squared(), products.memory_in(space, 0))
        } else {
            (
                b * b * products.inner_of(&towards, &towards),
                products.difference_in(space),
            )
        };
        let norm = squared.max(0.0).sqrt();
        // Equivalent mutant: replace > with >=: at equality the ratio is 1.
        let shrink = if norm > self.radius {
            self.radius / norm
        } else {
            1.0
        };
        // The part of δ' along D_c, as a multiple of D_c.
        let parallel = if conditional > 0.0 {
            shrink * along / conditional
        } else {
            0.0
        };
        let on_data = 1.0 - self.weight * (1.0 - self.eta) * parallel;
        let on_delta = self.weight * shrink;
        let combination = if self.is_stateful() {
            Combination::weighted(&[on_data, 0.0])?.with_memory(on_delta)?
        } else {
            Combination::weighted(&[on_data + on_delta, -on_delta])?
        };
        Ok(combination.in_space(Prediction::Data))
    }
}
