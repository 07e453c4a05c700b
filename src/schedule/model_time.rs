//! What a flow's network is told of the noise.

use crate::error::{Error, require_positive};

/// The time that a flow's network expects, as a function of the level's σ, after any shift.
///
/// | constructor | network's time | networks |
/// |---|---|---|
/// | [`sigma()`](Self::sigma) | σ: 1 is pure noise | Flux's own |
/// | `sigma().times(1000.0)?` | 1000σ | Stable Diffusion 3 and most others |
/// | `sigma().times(1000.0)?.truncated()` | trunc(1000σ) | Wan, Sana |
/// | [`one_minus_sigma()`](Self::one_minus_sigma) | 1 − σ: 1 is clean | Lumina, Z-Image |
/// | `one_minus_sigma().times(1000.0)?` | 1000(1 − σ) | Mochi (`invert_sigmas`) |
///
/// Products are rounded as any program's in f64. So an integer can depend on the last digit of σ:
/// trunc(1000σ) of σ = 0.29 is 290, and of the number below it 289.
///
/// ```
/// use diffusion_sampler::schedule::{ModelTime, NoiseSchedule, RectifiedFlow};
///
/// let integers = ModelTime::sigma().times(1000.0)?.truncated();
/// let wan = RectifiedFlow::shifted(3.0)?.with_model_time(integers);
/// // σ = 6/7.
/// assert_eq!(wan.level(2.0 / 3.0)?.model_time(), 857.0);
/// assert_eq!(ModelTime::one_minus_sigma().at(0.75), 0.25);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("num_train_timesteps", "invert_sigmas", "timestep"))]
pub struct ModelTime {
    pub(super) reversed: bool,
    pub(super) factor: f64,
    pub(super) truncated: bool,
}

impl ModelTime {
    /// σ itself: 1 is pure noise, 0 clean.
    pub fn sigma() -> Self {
        Self {
            reversed: false,
            factor: 1.0,
            truncated: false,
        }
    }

    /// 1 − σ: 0 is pure noise, 1 clean.
    pub fn one_minus_sigma() -> Self {
        Self {
            reversed: true,
            ..Self::sigma()
        }
    }

    /// The same multiplied by `factor`: the number of training times, where the network counts
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless the product of all factors is positive and finite.
    pub fn times(self, factor: f64) -> Result<Self, Error> {
        let factor = self.factor * factor;
        require_positive("factor of the model time", factor)?;
        Ok(Self { factor, ..self })
    }

    /// The same, after all factors, without its fraction.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self {
            truncated: true,
            ..self
        }
    }

    /// The network's time at σ.
    pub fn at(self, sigma: f64) -> f64 {
        let base = if self.reversed { 1.0 - sigma } else { sigma };
        let time = self.factor * base;
        if self.truncated { time.trunc() } else { time }
    }
}

/// σ.
impl Default for ModelTime {
    fn default() -> Self {
        Self::sigma()
    }
}

/// As a formula: `trunc(1000 sigma)`.
impl std::fmt::Display for ModelTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let formula = match (self.reversed, self.factor) {
            (false, 1.0) => "sigma".to_owned(),
            (false, factor) => format!("{factor} sigma"),
            (true, 1.0) => "1 - sigma".to_owned(),
            (true, factor) => format!("{factor} (1 - sigma)"),
        };
        f.pad(&match self.truncated {
            true => format!("trunc({formula})"),
            false => formula,
        })
    }
}
