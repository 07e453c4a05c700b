//! k-diffusion's DPM-2: the midpoint method, with the midpoint at the geometric mean of the noise.

use super::ancestral::Ancestral;
use super::churn::{self, Churn};
use super::coordinate::Coordinate;
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// DPM-2: the midpoint method on dx̂/dρ = E, x̂ = x/α, with the midpoint at ρ_m = √(ρ_t ρ_s). Two
/// evaluations a step, order 2; a plain DDIM step onto σ_s = 0, and in ρ from α_t = 0.
///
/// ```text
/// x̂_m = x̂ + (ρ_m − ρ_t) E      x̂_s = x̂ + (ρ_s − ρ_t) E_m
/// ```
///
/// k-diffusion's `dpm_2`, diffusers' `KDPM2DiscreteScheduler`, and DPM-Solver-2 of Lu et al. (2022)
/// with r₁ = 1/2. In place: x_s is DDIM's step from the midpoint, and α_s(ρ_t/ρ_m − 1)(D_m − D).
///
/// [`with_kappa`](Self::with_kappa) is the ancestral form: the step leads to κρ_s, its midpoint
/// lies between ρ_t and κρ_s, and noise follows. With [`Kappa::Ddpm`] it is `dpm_2_ancestral` and
/// `KDPM2AncestralDiscreteScheduler`; the midpoint is then ρ_s itself. Its order in distribution is
/// 2. [`in_flow_time`](Self::in_flow_time) is what ComfyUI does on flow models.
///
/// ```
/// use diffusion_sampler::{Grid, posterior::Kappa, schedule::{Edm, NoiseSchedule}};
/// use diffusion_sampler::solver::{Dpm2, Path, Solver};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 18, edm.lambda_range(), 7.0)?;
/// let path = Path::new(&edm, &grid)?;
/// assert_eq!(Dpm2::new().plan(&path)?.evaluations(), 35);
/// assert!(Dpm2::new().with_kappa(Kappa::Ddpm).plan(&path)?.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("dpm_2", "dpm_2_ancestral", "DPM2 a"))]
#[doc(alias("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpm2 {
    pub(super) coordinate: Coordinate,
    pub(super) kappa: Kappa,
    pub(super) churn: Option<Churn>,
}

impl Default for Dpm2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Dpm2 {
    /// DPM-2 in ρ, deterministic.
    pub fn new() -> Self {
        Self {
            coordinate: Coordinate::Rho,
            kappa: Kappa::Ddim,
            churn: None,
        }
    }

    /// The same on y = x/(α + σ) and s = σ/(α + σ): the midpoint at √(s_t s_s).
    pub fn in_flow_time() -> Self {
        Self {
            coordinate: Coordinate::FlowTime,
            ..Self::new()
        }
    }

    /// The same solver in ancestral form.
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }

    /// The same with churn.
    #[must_use]
    pub fn with_churn(self, churn: Churn) -> Self {
        Self {
            churn: Some(churn),
            ..self
        }
    }

    /// The stages of a deterministic step between two levels.
    fn stages(
        &self,
        path: &Path<'_>,
        from: NoiseLevel,
        (down, to): (NoiseLevel, NoiseLevel),
    ) -> Result<Vec<Stage>, Error> {
        let straight = |from, to| -> Result<Update, Error> {
            Ok(StridedPosterior::new(from, to, Kappa::Ddim)?
                .transition()
                .into())
        };
        let lambda = self.coordinate.middle(&from, &down);
        if down.is_clean() || !lambda.is_finite() {
            return Ok(vec![Stage::evaluating(from, straight(from, down)?)]);
        }
        let middle = path.near(lambda, to)?;
        let weight = self.coordinate.excess(&from, &middle) * self.coordinate.scale(&down);
        let last = straight(middle, down)?;
        let last = Update {
            data: last.data + weight,
            history: vec![(0, -weight)],
            ..last
        };
        if !last.is_finite() {
            return Ok(vec![Stage::evaluating(from, straight(from, down)?)]);
        }
        Ok(vec![
            Stage::evaluating(from, straight(from, middle)?.storing(Store::data(0))),
            Stage::evaluating(middle, last),
        ])
    }
}

impl Solver for Dpm2 {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`]: the midpoint is no knot; [`Error::LambdaOutOfRange`] where
    /// the midpoint lies beyond the clean end of the schedule, which takes more noise than
    /// [`Kappa::Ddpm`]'s; what [`StridedPosterior::new`] refuses of the policy.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let (mut stages, start) = churn::lift(self.churn, path, from)?;
            let Ancestral { down, noise } = Ancestral::new(start, to, self.kappa)?;
            stages.extend(self.stages(path, start, (down, to))?);
            if let Some(last) = stages.last_mut() {
                last.update.noise = noise;
            }
            Ok(Step { from, to, stages })
        });
        Plan::new(steps.all_listed()?, 1)
    }

    fn order(&self) -> usize {
        2
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Lu et al. 2022, DPM-Solver-2; k-diffusion, dpm_2";
    vec![
        Entry::new("DPM-2", Dpm2::new(), source),
        Entry::new("DPM-2 in flow time", Dpm2::in_flow_time(), "ComfyUI, dpm_2"),
        Entry::new(
            "DPM-2 ancestral",
            Dpm2::new().with_kappa(Kappa::Ddpm),
            "k-diffusion, dpm_2_ancestral",
        ),
    ]
}
