//! iPNDM, with the schedule that is part of it.

use std::sync::Arc;

use super::Defect;
use super::adams::{Base, Call, Weighted, weights};
use super::classes::Class;
use super::common::signed;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use crate::error::{Error, require_all};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Step};
use crate::prediction::Prediction;
use crate::schedule::VariancePreserving;
use crate::solver::{Ipndm, Path, Solver};

pub(super) const CLASS: Class = Class {
    names: &["IPNDMScheduler"],
    fields: &[&["num_train_timesteps", "trained_betas"]],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    reading.times_are_no_numbers_of_steps()?;
    let sigmas = sigmas(reading)?;
    let within = |_, sigma: f64| (0.0..=1.0).contains(&sigma);
    require_all("trained_betas", &sigmas, within, "between 0 and 1")?;
    let levels = sigmas
        .iter()
        .map(|&sigma| level(sigma))
        .collect::<Result<_, _>>()?;
    let solver: Arc<dyn Solver> = match reading.defect(Defect::IpndmAsWritten) {
        true => Arc::new(AsWritten),
        false => Arc::new(Ipndm::order(4)?),
    };
    Ok(Recipe {
        grid: Grid::from_levels(levels, 1.0)?,
        solver,
        prediction: signed(reading, Prediction::Velocity)?,
        clip: None,
        schedule: Arc::new(VariancePreserving::default()),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: true,
    })
}

/// σ = sin²(πu/2), u from 1 to 0.
fn sigmas(reading: &Reading<'_>) -> Result<Vec<f64>, Error> {
    let Length::Steps(steps) = reading.request().length else {
        return Err(reading.refused("list of sigmas or times", "its schedule is its own"));
    };
    if let Some(sigmas) = reading.numbers("trained_betas")? {
        if sigmas.len() != steps + 1 {
            return Err(Error::WrongLength {
                name: "trained_betas",
                expected: steps + 1,
                found: sigmas.len(),
            });
        }
        return Ok(sigmas.to_vec());
    }
    let sine = |k: usize| {
        let left = (steps - k) as f64 / steps as f64;
        libm::sin(left * std::f64::consts::FRAC_PI_2)
    };
    Ok((0..=steps).map(|k| sine(k) * sine(k)).collect())
}

/// α² + σ² = 1; the network is told the angle, 1 at pure noise.
fn level(sigma: f64) -> Result<NoiseLevel, Error> {
    let alpha = ((1.0 - sigma) * (1.0 + sigma)).sqrt();
    NoiseLevel::new(
        libm::atan2(sigma, alpha) * std::f64::consts::FRAC_2_PI,
        alpha,
        sigma,
    )
}

/// The library's: every step is made with weighted E's, and the first drops D.
#[derive(Clone, Copy, Debug)]
struct AsWritten;

impl Solver for AsWritten {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let base = Base::current();
        let steps = path.edges().enumerate().map(|(i, (from, to))| {
            let held = i.min(3);
            let [weight, rest @ ..] = weights(held + 1) else {
                return Err(Error::EmptyList { name: "weights" });
            };
            // The outputs of the last three calls, newest first; call j is kept in slot j mod 4.
            let slots = (1..=held).map(|back| (i - back) % 4);
            let past: Vec<_> = slots.zip(rest.iter().copied()).collect();
            let call = Call {
                weighted: Weighted::Noise,
                evaluate: from,
                from,
                to,
                base: &base,
                weight: *weight,
                past: &past,
                slot: Some(i % 4),
            };
            Ok(Step {
                from,
                to,
                stages: vec![call.stage()],
            })
        });
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let slots = steps.len().min(4);
        Plan::new(steps, slots)
    }

    fn order(&self) -> usize {
        1
    }
}
