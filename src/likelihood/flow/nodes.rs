//! The nodes of the fixed steps, and the integration along them.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::{Linear, Prediction};

/// A level in the scale in which α̂² + σ̂² = 1: x = n·x̂.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) level: NoiseLevel,
    pub(super) norm: f64,
    pub(super) alpha: f64,
    pub(super) sigma: f64,
}

impl Node {
    pub(super) fn new(level: NoiseLevel) -> Result<Self, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        if alpha == 0.0 || sigma == 0.0 {
            return Err(Error::DegenerateEdge {
                from: level.time(),
                to: level.time(),
                requirement: "have alpha > 0 and sigma > 0: the flow ends at a finite lambda",
            });
        }
        let norm = libm::hypot(alpha, sigma);
        Ok(Self {
            level,
            norm,
            alpha: alpha / norm,
            sigma: sigma / norm,
        })
    }

    /// ln n.
    pub(super) fn log_norm(&self) -> f64 {
        // From the logarithms: n² may overflow.
        let (a, s) = (self.level.log_alpha(), self.level.log_sigma());
        a.max(s) + 0.5 * libm::log1p(libm::exp(-2.0 * (a - s).abs()))
    }

    /// dx̂/dλ as a linear form in (x̂, output): σ̂²x̂ − σ̂E where σ ≤ α, and α̂(D − α̂x̂) beyond.
    /// The two are equal, and each is free of cancellation there.
    pub(super) fn drift(&self, prediction: Prediction) -> Result<Linear, Error> {
        if self.sigma <= self.alpha {
            let noise = prediction.conversion(&self.level)?.noise;
            return Ok(Linear {
                x: self.sigma * (self.sigma - noise.x * self.norm),
                output: -self.sigma * noise.output,
            });
        }
        let data = prediction.data(&self.level)?;
        Ok(Linear {
            x: self.alpha * (data.x * self.norm - self.alpha),
            output: self.alpha * data.output,
        })
    }
}

/// One step of Runge and Kutta, from its clean end to its noisy one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) clean: Node,
    pub(super) middle: Node,
    pub(super) noisy: Node,
}

impl Step {
    /// λ of the noisy end minus that of the clean one: negative.
    fn size(&self) -> f64 {
        self.noisy.level.lambda() - self.clean.level.lambda()
    }
}

/// x̂ of a batch, and the integrals ∫ div dλ of its samples, several for each where the divergence
/// is estimated several times.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) x: Vec<f64>,
    pub(super) volumes: Vec<f64>,
}

impl State {
    fn copy_from(&mut self, other: &Self) {
        self.x.copy_from_slice(&other.x);
        self.volumes.copy_from_slice(&other.volumes);
    }

    fn zeros(&self) -> Result<Self, Error> {
        Ok(Self {
            x: crate::memory::repeated(0.0, self.x.len())?,
            volumes: crate::memory::repeated(0.0, self.volumes.len())?,
        })
    }

    /// self ← base + h·slope.
    fn set(&mut self, base: &Self, h: f64, slope: &Self) {
        let add = |out: &mut [f64], base: &[f64], slope: &[f64]| {
            for (out, (base, slope)) in out.iter_mut().zip(base.iter().zip(slope)) {
                *out = base + h * slope;
            }
        };
        add(&mut self.x, &base.x, &slope.x);
        add(&mut self.volumes, &base.volumes, &slope.volumes);
    }
}

/// Integrates from the clean end to the noisy one by the classical method of Runge and Kutta, of
/// order 4. `slope(step, node, x, out)` writes dx̂/dλ and the divergences.
pub(super) fn integrate<E>(
    steps: &[Step],
    state: &mut State,
    mut slope: impl FnMut(usize, &Node, &[f64], &mut State) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<Error>,
{
    let (mut k, mut at, mut next) = (state.zeros()?, state.zeros()?, state.zeros()?);
    for (index, step) in steps.iter().enumerate().rev() {
        let h = step.size();
        let stages = [
            (&step.clean, 1.0 / 6.0, 0.5),
            (&step.middle, 1.0 / 3.0, 0.5),
            (&step.middle, 1.0 / 3.0, 1.0),
            (&step.noisy, 1.0 / 6.0, 0.0),
        ];
        next.copy_from(state);
        at.copy_from(state);
        for (node, weight, ahead) in stages {
            slope(index, node, &at.x, &mut k)?;
            at.set(state, ahead * h, &k);
            for (out, k) in next.x.iter_mut().zip(&k.x) {
                *out += weight * h * k;
            }
            for (out, k) in next.volumes.iter_mut().zip(&k.volumes) {
                *out += weight * h * k;
            }
        }
        std::mem::swap(state, &mut next);
    }
    Ok(())
}
