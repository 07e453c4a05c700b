//! The size of the next step.

/// k-diffusion's PID controller of step sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Controller {
    step: f64,
    exponents: [f64; 3],
    safety: f64,
    /// 1/E of this attempt and of the two last accepted steps.
    inverses: Option<[f64; 3]>,
}

/// What is added to an error, which may be 0.
const SMALL: f64 = 1e-8;

impl Controller {
    pub(super) fn new(step: f64, exponents: [f64; 3], safety: f64) -> Self {
        Self {
            step,
            exponents,
            safety,
            inverses: None,
        }
    }

    /// The step to try next.
    pub(super) fn step(&self) -> f64 {
        self.step
    }

    /// Shrinks the step as far as any error does.
    pub(super) fn shrink(&mut self) {
        self.step *= 1.0 - std::f64::consts::FRAC_PI_4;
    }

    /// Whether a step of this error is accepted; adapts the step.
    pub(super) fn accepts(&mut self, error: f64) -> bool {
        if !error.is_finite() {
            self.shrink();
            return false;
        }
        let inverse = 1.0 / (error + SMALL);
        let [_, last, before] = self.inverses.unwrap_or([inverse; 3]);
        let inverses = [inverse, last, before];
        let powers = inverses.iter().zip(self.exponents);
        let product: f64 = powers
            .map(|(base, power)| libm::pow(*base, power))
            .product();
        // Between 1 − π/4 and 1 + π/2.
        let factor = 1.0 + libm::atan(product - 1.0);
        self.step *= factor;
        let accepted = factor >= self.safety;
        self.inverses = Some(if accepted {
            [inverse, inverse, last]
        } else {
            inverses
        });
        accepted
    }
}
