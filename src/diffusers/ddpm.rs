//! DDPM's ancestral sampler, and unCLIP's.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::classes::Class;
use super::common::{clip, prediction, static_clip};
use super::fields;
use super::last_noise::LastNoise;
use super::reading::{MAX_TABLE, Reading};
use super::recipe::{Recipe, State};
use super::times::{self, Points};
use crate::clip::Clip;
use crate::error::Error;
use crate::grid::Grid;
use crate::posterior::ReverseVariance;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::solver::{FirstOrder, Solver};

pub(super) const DDPM: Class = Class {
    names: &["DDPMScheduler", "DDPMParallelScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::CLIP,
        fields::THRESHOLDING,
        &["variance_type", "prediction_type", "rescale_betas_zero_snr"],
    ],
    read: read_ddpm,
};

pub(super) const UNCLIP: Class = Class {
    names: &["UnCLIPScheduler"],
    fields: &[
        fields::CLIP,
        &[
            "num_train_timesteps",
            "variance_type",
            "prediction_type",
            "beta_schedule",
        ],
    ],
    read: read_unclip,
};

/// The least variance of the library's.
const LEAST_VARIANCE: f64 = 1e-20;

fn read_ddpm(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let mut table = betas::table(reading, Betas::LINEAR)?;
    if reading.flag("rescale_betas_zero_snr", false)? {
        table = table.zero_terminal_snr()?;
    }
    let times = times::whole(reading, &table, Points::Steps, "leading")?;
    let variance = variance(reading, "fixed_small")?;
    let clip = clip(reading, true)?;
    ancestral(reading, table, &times, variance, clip)
}

fn read_unclip(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let steps = reading.training_times(MAX_TABLE)?;
    reading.choice(
        "beta_schedule",
        "squaredcos_cap_v2",
        &[&["squaredcos_cap_v2"]],
    )?;
    let table = TableSchedule::cosine(steps)?;
    let count = times::steps(reading, &table)?;
    let times = times::spaced(reading, "linspace", (steps, steps), count, Points::Steps)?;
    if count == 1 {
        return Err(Error::StepCount {
            steps: 1,
            min: 2,
            max: steps,
        });
    }
    let times: Vec<f64> = times.into_iter().map(f64::round_ties_even).collect();
    let variance = variance(reading, "fixed_small_log")?;
    let clip = static_clip(reading, true)?;
    ancestral(reading, table, &times, variance, clip)
}

/// `variance_type`.
fn variance(reading: &Reading<'_>, default: &'static str) -> Result<ReverseVariance, Error> {
    let choices: &[&[&str]] = &[
        // Its square root is taken by way of the logarithm.
        &["fixed_small", "fixed_small_log"],
        &["fixed_large"],
        &["fixed_large_log"],
        &["learned"],
        &["learned_range"],
    ];
    match reading.choice("variance_type", default, choices)? {
        "fixed_large" => Ok(ReverseVariance::FixedLarge),
        "fixed_large_log" => Err(reading.unsupported(
            "variance_type",
            "it takes the square root of a negative logarithm",
            "\"fixed_large\"",
        )),
        // The plan has its lower end, γ².
        "learned_range" => {
            reading.learns_variance();
            Ok(ReverseVariance::Posterior)
        }
        "learned" => Err(reading.unsupported(
            "variance_type",
            "the network returns the variance itself, in no range, which no run reads",
            "\"fixed_small\" by SchedulerConfig::with_field, with the first half of the channels",
        )),
        _ => Ok(ReverseVariance::Posterior),
    }
}

/// The ancestral sampler along a list of times, onto the clean end.
fn ancestral(
    reading: &Reading<'_>,
    table: TableSchedule,
    times: &[f64],
    variance: ReverseVariance,
    clip: Option<Clip>,
) -> Result<Recipe, Error> {
    let solver = FirstOrder::ddpm().with_reverse_variance(variance);
    let last = times.last().copied().unwrap_or_default();
    let solver: Arc<dyn Solver> = match last > 0.0 && reading.defect(Defect::NoiseOnTheCleanEnd) {
        true if reading.has_learned_variance() => {
            return Err(reading.unsupported(
                "variance_type",
                "the library's noise onto the clean end is learned from a variance of 1e-20",
                "a request that does not reproduce Defect::NoiseOnTheCleanEnd",
            ));
        }
        true => {
            // The variance of the posterior at the clean end is 0, and β is 1 − ᾱ_t.
            let variance = match variance {
                ReverseVariance::FixedLarge => {
                    let sigma = table.level(last + 1.0)?.sigma();
                    sigma * sigma
                }
                _ => LEAST_VARIANCE,
            };
            Arc::new(LastNoise {
                inner: solver,
                deviation: variance.sqrt(),
            })
        }
        false => Arc::new(solver),
    };
    Ok(Recipe {
        prediction: prediction(reading)?,
        grid: Grid::from_indices(&table, times)?,
        solver,
        clip,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}
