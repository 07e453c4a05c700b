//! The exact distribution of a sampler's result in one and two dimensions, by quadrature: what the
//! moments of Gaussian data are blind to.
//!
//! [`Sampler::modes`](crate::Sampler::modes) pushes weighted points through the real plan and the
//! real model, guidance, non-linear forms and clips included, and reports how much of the result lies
//! in each mode of the data. Nothing is drawn:
//!
//! | plan | d | how |
//! |---|---|---|
//! | deterministic: any solver, stages and history | 1, 2 | the trapezoid rule on x_T ~ N(0, v_T I), whose points run to the end; it converges exponentially for smooth maps |
//! | stochastic, no history after a noise | 1, 2 | after every noise the density on a new grid, Σ w_i N(y; f(x_i), g²) |
//! | stochastic, one history slot after a noise (2M SDE, two-stage SDE solvers) | 1 | the same for the joint of the state and what the slot holds |
//!
//! The number of points is doubled until moments and masses stand still.

mod density;
mod mixture;
mod points;
mod report;

pub use report::ModeReport;

use ndarray::{Array2, Ix2};

use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_positive};
use crate::guidance::Guidance;
use crate::noise::{NoiseKey, NoiseSource};
use crate::oracle::{GaussianMixture, Oracle};
use crate::run::{Instruction, Machine};
use crate::sampler::Sampler;
use points::Points;

/// Half the width of the grid of x_T, in its deviations: what lies beyond is 2e-19.
const REACH: f64 = 9.0;

/// How a plan is treated: the least and the largest number of intervals along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Method {
    stochastic: bool,
    intervals: (usize, usize),
}

/// The report of a sampler with a model, beside the truth.
pub(crate) fn report<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    truth: &GaussianMixture,
    tolerance: f64,
) -> Result<ModeReport, RunError<M::Error>> {
    require_positive("tolerance", tolerance)?;
    let method = method_of(sampler, model.guidance()?, truth.dim())?;
    let mut last: Option<ModeReport> = None;
    let mut intervals = method.intervals.0;
    loop {
        let points = if method.stochastic {
            pushed_with_noise(sampler, model, (truth.dim(), intervals))?
        } else {
            pushed(sampler, model, (truth.dim(), intervals))?
        };
        let mut report = ModeReport::new(&points, truth, &sampler.plan().end())?;
        if let Some(last) = &last {
            report.compare(last);
            if report.error() <= tolerance {
                return Ok(report);
            }
        }
        if 2 * intervals > method.intervals.1 {
            return Ok(report);
        }
        last = Some(report);
        intervals *= 2;
    }
}

/// Refuses what has no quadrature here.
fn method_of(sampler: &Sampler, guidance: &dyn Guidance, dim: usize) -> Result<Method, Error> {
    let plan = sampler.plan();
    let refuse = |what, found, supported| {
        Err(Error::ModesUnsupported {
            what,
            found,
            supported,
        })
    };
    if !(1..=2).contains(&dim) {
        return refuse("dimensions of the data", dim, "1 or 2");
    }
    if plan.given() > 0 {
        return Err(Error::GivenHistory {
            given: plan.given(),
        });
    }
    plan.require_denoising()?;
    if !plan.is_stochastic() {
        let intervals = if dim == 1 { (64, 1 << 14) } else { (32, 512) };
        return Ok(Method {
            stochastic: false,
            intervals,
        });
    }
    if guidance.is_stateful() {
        return refuse("guidance memories of a stochastic plan", 1, "none");
    }
    let live = plan.stages().zip(plan.live_after());
    let noisy = live.filter(|(stage, _)| stage.update.noise != 0.0);
    let kept = |live: Vec<bool>| live.into_iter().filter(|live| *live).count();
    let slots = noisy.map(|(_, live)| kept(live)).max().unwrap_or(0);
    let intervals = match (dim, slots) {
        (1, 0) => (256, 1 << 14),
        (1, 1) => (64, 512),
        (2, 0) => (32, 256),
        (1, found) => {
            return refuse("history slots that outlive a noise", found, "at most 1");
        }
        (_, found) => {
            return refuse(
                "history slots that outlive a noise in 2 dimensions",
                found,
                "none",
            );
        }
    };
    Ok(Method {
        stochastic: true,
        intervals,
    })
}

/// The points of x_T, run to the end by a plan that draws nothing.
fn pushed<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    (dim, intervals): (usize, usize),
) -> Result<Points, RunError<M::Error>> {
    let start = Points::of_normal(dim, intervals, sampler.start_variance().sqrt());
    let mut run = sampler.start_from(start.x.clone(), model.prediction(), Silent)?;
    run.complete(model)?;
    Ok(Points {
        x: run.into_state(),
        ..start
    })
}

/// The same where noise is added: a new grid after every noise.
fn pushed_with_noise<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    (dim, intervals): (usize, usize),
) -> Result<Points, RunError<M::Error>> {
    let plan = sampler.plan();
    let mut points = Points::of_normal(dim, intervals, sampler.start_variance().sqrt());
    let mut machine = Machine::new(points.x.clone(), plan.slots())?;
    let mut live = plan.live_after().into_iter();
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in 0..step.stages.len() {
            let instruction = Instruction::new(step, stage, index)?.with_clip(sampler.clip());
            machine.take(&instruction, model, &mut Silent)?;
            let live = live.next().unwrap_or_default();
            let noise = step.stages[stage].update.noise;
            if noise == 0.0 {
                continue;
            }
            let (x, mut slots) = machine.into_parts();
            points.x = x;
            match live.iter().position(|live| *live) {
                None => {
                    points = density::spread(&points, noise, intervals);
                    machine = Machine::new(points.x.clone(), plan.slots())?;
                }
                Some(slot) => {
                    let (joint, kept) =
                        density::spread_joint(&points, &slots[slot], noise, intervals);
                    points = joint;
                    slots = vec![Array2::zeros(points.x.raw_dim()); plan.slots()];
                    slots[slot] = kept;
                    machine = Machine::with_history(points.x.clone(), slots, plan.slots())?;
                }
            }
        }
    }
    points.x = machine.into_parts().0;
    Ok(points)
}

/// No noise: a stage's update without its normals.
#[derive(Clone, Copy, Debug)]
struct Silent;

impl NoiseSource<f64> for Silent {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.0);
    }
}
