//! The exact distribution of a sampler's result in one and two dimensions, by quadrature: what the
//! moments of Gaussian data are blind to.
//!
//! [`Sampler::modes`](crate::Sampler::modes) pushes weighted points through the real plan and the
//! real model, guidance, non-linear forms and clips included, and reports how much of the result
//! lies in each mode of the data. Nothing is drawn:
//!
//! | plan | d | how |
//! |---|---|---|
//! | deterministic: any solver, stages and history | 1 | Gauss–Legendre panels of x_T ~ N(0, v_T), whose nodes run to the end; halved where the map bends, as between modes |
//! | the same | 2 | the trapezoid rule on x_T ~ N(0, v_T I) |
//! | stochastic, no history after a noise | 1, 2 | after every noise the density on a new grid, Σ w_i N(y; f(x_i), g²) |
//! | stochastic, one history slot after a noise (2M SDE, two-stage SDE solvers) | 1 | the same for the joint of the state and what the slot holds |
//!
//! Points are doubled until moments and masses stand still.

mod density;
mod line;
mod mixture;
mod panels;
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

/// How a plan is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    /// Panels of x_T, refined where the map bends.
    Panels,
    /// An even grid of x_T, with these numbers of intervals along an axis, least and most.
    Grid(usize, usize),
    /// A new grid after every noise.
    Densities(usize, usize),
}

/// The report of a sampler with a model, beside the truth.
pub(crate) fn report<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    truth: &GaussianMixture,
    tolerance: f64,
) -> Result<ModeReport, RunError<M::Error>> {
    require_positive("tolerance", tolerance)?;
    let dim = truth.dim();
    let method = method_of(sampler, model.guidance()?, dim)?;
    let (mut intervals, most) = match method {
        Method::Panels => return refined(sampler, model, truth, tolerance),
        Method::Grid(least, most) | Method::Densities(least, most) => (least, most),
    };
    let mut last: Option<ModeReport> = None;
    loop {
        let points = match method {
            Method::Densities(..) => pushed_with_noise(sampler, model, (dim, intervals))?,
            _ => {
                let start = Points::of_normal(dim, intervals, sampler.start_variance().sqrt());
                let x = pushed(sampler, model, start.x.clone())?;
                Points { x, ..start }
            }
        };
        let mut report = ModeReport::new(&points, truth, &sampler.plan().end())?;
        if let Some(last) = &last {
            report.compare(last);
        }
        if report.error() <= tolerance || 2 * intervals > most {
            return Ok(report);
        }
        last = Some(report);
        intervals *= 2;
    }
}

/// The same by panels, once coarsely and once to the tolerance.
fn refined<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    truth: &GaussianMixture,
    tolerance: f64,
) -> Result<ModeReport, RunError<M::Error>> {
    let end = sampler.plan().end();
    let deviation = sampler.start_variance().sqrt();
    let mut at = |tolerance: f64| -> Result<ModeReport, RunError<M::Error>> {
        let (points, error) = panels::refine(deviation, (truth, &end), tolerance, |z| {
            let x = Array2::from_shape_fn((z.len(), 1), |(i, _)| z[i]);
            let x = pushed(sampler, model, x)?;
            Ok::<_, RunError<M::Error>>(x.iter().copied().collect())
        })?;
        Ok(ModeReport::new(&points, truth, &end)?.with_error(error))
    };
    let coarse = at(100.0 * tolerance)?;
    let mut report = at(tolerance)?;
    let error = report.error();
    report.compare(&coarse);
    Ok(report.with_error(error))
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
        return Ok(match dim {
            1 if sampler.start_variance() > 0.0 => Method::Panels,
            _ => Method::Grid(32, 512),
        });
    }
    if guidance.is_stateful() {
        return refuse("guidance memories of a stochastic plan", 1, "none");
    }
    let live = plan.stages().zip(plan.live_after());
    let noisy = live.filter(|(stage, _)| stage.update.noise != 0.0);
    let kept = |live: Vec<bool>| live.into_iter().filter(|live| *live).count();
    let slots = noisy.map(|(_, live)| kept(live)).max().unwrap_or(0);
    match (dim, slots) {
        (1, 0) => Ok(Method::Densities(256, 1 << 14)),
        (1, 1) => Ok(Method::Densities(64, 1024)),
        (2, 0) => Ok(Method::Densities(32, 256)),
        (1, found) => refuse("history slots that outlive a noise", found, "at most 1"),
        (_, found) => refuse(
            "history slots that outlive a noise in 2 dimensions",
            found,
            "none",
        ),
    }
}

/// The states from x_T on, run to the end by a plan that draws nothing.
fn pushed<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    x: Array2<f64>,
) -> Result<Array2<f64>, RunError<M::Error>> {
    let mut run = sampler.start_from(x, model.prediction(), Silent)?;
    run.complete(model)?;
    Ok(run.into_state())
}

/// The points of the result where noise is added: a new grid after every noise.
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
