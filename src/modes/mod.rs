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

use crate::memory::Copied;
use ndarray::{Array2, Ix2};

use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_positive};
use crate::guidance::Guidance;
use crate::memory::Listed;
use crate::noise::{NoiseKey, NoiseSource};
use crate::oracle::{GaussianMixture, Oracle};
use crate::run::{Instruction, Machine};
use crate::sampler::Sampler;
use density::{NoDensity, Spread};
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

/// No round of more products than these is begun: about a minute.
const MOST_WORK: f64 = 4e10;
/// As many products as an evaluation of a small model takes.
const EVALUATION: f64 = 64.0;

/// What a round on even grids came to.
enum Even {
    /// The points of the result, and the products that it took.
    Done(Points, f64),
    /// A noise is narrower than the grid can see: so many intervals are as wide as it.
    TooCoarse(usize),
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
        let (points, work) = match evenly(sampler, model, (dim, intervals))? {
            Even::Done(points, work) => (points, work),
            Even::TooCoarse(needed) if needed > most => {
                return Err(too_narrow(needed, most).into());
            }
            Even::TooCoarse(needed) => {
                // Half of them now, all in the next round.
                intervals = (2 * needed.div_ceil(4)).max(intervals + 2);
                last = None;
                continue;
            }
        };
        let mut report = ModeReport::new(&points, truth, &sampler.plan().end())?;
        if let Some(last) = &last {
            report.compare(last);
            report = report.with_unseen(&points, truth, &sampler.plan().end())?;
        }
        let compared = last.is_some();
        let more = 2 * intervals <= most && method.growth(dim) * work <= MOST_WORK;
        let stop = report.error() <= tolerance || !more;
        if compared && stop {
            return Ok(report);
        }
        last = Some(report);
        intervals *= 2;
    }
}

/// The same by panels.
fn refined<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    truth: &GaussianMixture,
    tolerance: f64,
) -> Result<ModeReport, RunError<M::Error>> {
    let end = sampler.plan().end();
    let deviation = sampler.start_variance().sqrt();
    let refined = panels::refine(deviation, (truth, &end), tolerance, |z| {
        let x = crate::memory::square_of((z.len(), 1), |(i, _)| z[i]);
        let x = pushed(sampler, model, x?)?;
        Ok::<_, RunError<M::Error>>(x.iter().copied().listed()?)
    })?;
    let mut report = ModeReport::new(&refined.fine, truth, &end)?;
    report.compare(&ModeReport::new(&refined.coarse, truth, &end)?);
    Ok(report.with_error(refined.error))
}

impl Method {
    /// By how much a round takes more when its intervals are halved.
    fn growth(self, dim: usize) -> f64 {
        match (self, dim) {
            (Self::Densities(..), 2) => 16.0,
            (Self::Densities(_, JOINT), _) => 8.0,
            _ => 4.0,
        }
    }
}

/// The most intervals of the joint with a history slot.
const JOINT: usize = 1024;

fn too_narrow(needed: usize, most: usize) -> Error {
    Error::ModesUnsupported {
        what: "grid intervals as wide as the narrowest noise",
        found: needed,
        supported: match most {
            JOINT => "at most 1024",
            256 => "at most 256",
            _ => "at most 16384",
        },
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
        return Ok(match dim {
            1 if sampler.start_variance() > 0.0 => Method::Panels,
            _ => Method::Grid(128, 512),
        });
    }
    if guidance.is_stateful() {
        return refuse("guidance memories of a stochastic plan", 1, "none");
    }
    let live = plan.stages().zip(plan.live_after()?);
    let noisy = live.filter(|(stage, _)| stage.update.noise != 0.0);
    let kept = |live: Vec<bool>| live.into_iter().filter(|live| *live).count();
    let slots = noisy.map(|(_, live)| kept(live)).max().unwrap_or(0);
    match (dim, slots) {
        (1, 0) => Ok(Method::Densities(256, 1 << 14)),
        (1, 1) => Ok(Method::Densities(64, JOINT)),
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

/// One round with this many intervals along an axis.
fn evenly<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    (dim, intervals): (usize, usize),
) -> Result<Even, RunError<M::Error>> {
    let start = Points::of_normal(dim, intervals, sampler.start_variance().sqrt())?;
    if sampler.plan().is_stochastic() {
        return pushed_with_noise(sampler, model, start, intervals);
    }
    let evaluations = start.weights.len() * sampler.plan().stages().count();
    let x = pushed(sampler, model, start.x.copy()?)?;
    Ok(Even::Done(
        Points { x, ..start },
        EVALUATION * evaluations as f64,
    ))
}

/// The points of the result where noise is added: a new grid after every noise.
fn pushed_with_noise<M: Denoiser<f64, Ix2> + ?Sized>(
    sampler: &Sampler,
    model: &mut M,
    mut points: Points,
    intervals: usize,
) -> Result<Even, RunError<M::Error>> {
    let plan = sampler.plan();
    let mut machine = Machine::new(points.x.copy()?, plan.slots())?;
    let mut live = plan.live_after()?.into_iter();
    let mut work = 0.0;
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in 0..step.stages.len() {
            let instruction = Instruction::new(step, stage, index)?.with_clip(sampler.clip());
            machine.take(&instruction, model, &mut Silent)?;
            work += EVALUATION * points.weights.len() as f64;
            let live = live.next().unwrap_or_default();
            let noise = step.stages[stage].update.noise;
            if noise == 0.0 {
                continue;
            }
            let (x, slots) = machine.into_parts();
            points.x = x;
            let slot = live.iter().position(|live| *live);
            match spread(points, (slots, slot), noise, intervals) {
                Ok(((spread, slots), products)) => {
                    machine = Machine::with_history(spread.x.copy()?, slots, plan.slots())?;
                    points = spread;
                    work += products;
                }
                Err(NoDensity::TooCoarse(needed)) => return Ok(Even::TooCoarse(needed)),
                Err(NoDensity::Refused(error)) => return Err(error.into()),
            }
        }
    }
    points.x = machine.into_parts().0;
    Ok(Even::Done(points, work))
}

/// The points after a noise, with the history slots; at most one of them is `live`.
fn spread(
    points: Points,
    (mut slots, live): (Vec<Array2<f64>>, Option<usize>),
    noise: f64,
    intervals: usize,
) -> Spread<(Points, Vec<Array2<f64>>)> {
    let Some(live) = live else {
        let (points, work) = density::spread(&points, noise, intervals)?;
        return Ok(((points, Vec::new()), work));
    };
    let ((points, kept), work) = density::spread_joint(&points, &slots[live], noise, intervals)?;
    slots.fill(Array2::zeros(points.x.raw_dim()));
    slots[live] = kept;
    Ok(((points, slots), work))
}

/// No noise: a stage's update without its normals.
#[derive(Clone, Copy, Debug)]
struct Silent;

impl NoiseSource<f64> for Silent {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.0);
    }
}
