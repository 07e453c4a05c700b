//! A sampler as a configuration describes it.

use std::fmt;
use std::sync::Arc;

use ndarray::{Array, IntoDimension};

use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::NetworkTime;
use super::{
    Report,
    retimed::{Retimed, Told},
};
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::noise::{KeyedNoise, LearnedNoise};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::sampler::Sampler;
use crate::schedule::NoiseSchedule;
use crate::solver::{Path, Solver};

/// A sampler as a configuration and a request describe it, and all of which it is made.
///
/// [`sampler`](Self::sampler) is ready to run: its clipping and initial distribution are the
/// configuration's, and so are the levels and the times that the network sees. The network must
/// predict what [`prediction`](Self::prediction) says. `Display` prints what was read, what was
/// ignored and what differs from the library.
///
/// ```
/// use diffusion_sampler::{diffusers::{self, Request}, from_fn};
/// use ndarray::{Array2, Ix2};
///
/// let text = r#"{"_class_name": "DDIMScheduler", "skip_prk_steps": true}"#;
/// let configured = diffusers::sampler(text, &Request::steps(10))?;
/// let mut model = from_fn::<f32, Ix2>(configured.prediction(), |x, level, noise| {
///     let time = level.model_time();
///     noise.zip_mut_with(x, |e, &x| *e = x * (1.0 + time as f32).recip());
/// });
/// let samples: Array2<f32> = configured.sample(&mut model, (4, 8), 42)?;
/// println!("{configured}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Configured {
    sampler: Sampler,
    schedule: Option<Arc<dyn NoiseSchedule>>,
    grid: Grid,
    solver: Arc<dyn Solver>,
    prediction: Prediction,
    state: State,
    init_noise_sigma: f64,
    times: Vec<f64>,
    from_image: bool,
    learned: bool,
    report: Report,
}

impl Configured {
    pub(super) fn new(recipe: Recipe, reading: Reading<'_>) -> Result<Self, Error> {
        let mut grid = reading.cut(&recipe.grid)?;
        if reading.request().strength.is_some() {
            reading.uses("strength");
        }
        let init = recipe.init_noise_sigma;
        // A run from an image starts at a level of the schedule, not from the library's pure noise.
        if reading.request().strength.is_none() {
            let variance = recipe.state.start_variance(init, &grid.start());
            grid = grid.with_start_variance(variance)?;
        }
        let planned = |schedule: &dyn NoiseSchedule, grid: &Grid| {
            let path = match recipe.bare {
                true => Path::without_schedule(grid),
                false => Path::new(schedule, grid)?,
            };
            Sampler::along(&path, &recipe.solver)
        };
        let mut schedule = recipe.schedule;
        let mut sampler = planned(&schedule, &grid)?;
        // A network that says nothing at a level is refused here, and not when a run is started.
        for level in sampler.plan().stages().filter_map(|stage| stage.evaluate) {
            let said = recipe.prediction.data(&level);
            said.map_err(|error| reading.where_nothing_is_said(error))?;
        }
        let times = evaluated(sampler.plan());
        let map = reading.request().time;
        if map != NetworkTime::Listed {
            reading.uses("network_time");
            let table = reading.training_times(usize::MAX)? as f64;
            let told = Told::Listed { map, table };
            grid = grid.with_model_times(|level| told.of(*level).model_time());
            schedule = Arc::new(Retimed {
                inner: schedule,
                told,
            });
            sampler = planned(&schedule, &grid)?;
        }
        if let Some(clip) = recipe.clip {
            sampler = sampler.with_clip(clip);
        }
        Ok(Self {
            sampler,
            schedule: (!recipe.bare).then_some(schedule),
            grid,
            solver: recipe.solver,
            prediction: recipe.prediction,
            state: recipe.state,
            init_noise_sigma: init,
            times,
            from_image: reading.request().strength.is_some(),
            learned: reading.has_learned_variance(),
            report: reading.into_report(),
        })
    }

    /// The sampler, ready to run.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The noise schedule of the knots; `None` where they belong to none (the lists of iPNDM and
    /// Würstchen, and knots of a multistep scheduler beyond its table).
    pub fn schedule(&self) -> Option<&dyn NoiseSchedule> {
        self.schedule.as_deref()
    }

    /// The knots.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The solver.
    pub fn solver(&self) -> &dyn Solver {
        &self.solver
    }

    /// What the network predicts. Of EDM's kind it also says by what the input is to be multiplied
    /// ([`Prediction::input_scale`]); all other networks are given the state as it is.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The clipping or thresholding of x₀, if any.
    pub fn clip(&self) -> Option<Clip> {
        self.sampler.clip()
    }

    /// Whether the network has two outputs, the second its variance (`learned_range`).
    ///
    /// [`sample`](Self::sample) then takes a model of both. In a run by hand the noise is a
    /// [`LearnedNoise`](crate::noise::LearnedNoise); with any other source [`sampler`](Self::sampler)
    /// samples what `fixed_small` does.
    #[doc(alias = "variance_type")]
    pub fn learned_variance(&self) -> bool {
        self.learned
    }

    /// σ at each knot, from the noisy end, the end included, as the library means it: ρ = σ/α, or
    /// the σ of a flow.
    pub fn sigmas(&self) -> Vec<f64> {
        let levels = self.grid.levels().iter();
        match self.state {
            State::Flow => levels.map(NoiseLevel::sigma).collect(),
            State::Same | State::OverAlpha => levels.map(NoiseLevel::rho).collect(),
        }
    }

    /// The listed time of each call of the network.
    #[doc(alias = "timesteps")]
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// What the network is told at each of its calls: the listed times, but for a request that
    /// says otherwise.
    pub fn network_times(&self) -> Vec<f64> {
        evaluated(self.sampler.plan())
    }

    /// What the library multiplies standard normals by to make its first state. The variance here
    /// is [`Sampler::start_variance`], which differs by [`state_factor`](Self::state_factor).
    pub fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    /// The library's state over the one here, at a level: 1, or 1/α for the classes whose state is
    /// x/α (Euler and its relatives).
    #[doc(alias = "scale_model_input")]
    pub fn state_factor(&self, level: &NoiseLevel) -> f64 {
        self.state.factor(level)
    }

    /// Samples of the given shape, axis 0 being the sample, with the keyed noise of `seed`:
    /// [`Sampler::sample`], for a model that predicts what the configuration says, and of a
    /// [variance](Self::learned_variance) beside it where it says so
    /// ([`Trajectory::complete_learned`](crate::Trajectory::complete_learned)).
    ///
    /// # Errors
    ///
    /// [`Error::RequestRefused`] for a model that predicts something else, and where the request has
    /// a strength: such a run starts from an image
    /// ([`Sampler::start_from`], with the noise of [`grid`](Self::grid)'s start). As
    /// [`Sampler::sample`].
    pub fn sample<A, S, M>(
        &self,
        model: &mut M,
        shape: S,
        seed: u64,
    ) -> Result<Array<A, S::Dim>, RunError<M::Error>>
    where
        A: Real,
        S: IntoDimension,
        M: Denoiser<A, S::Dim> + ?Sized,
    {
        let refused = |what, reason| Error::RequestRefused {
            class: self.report.class,
            what,
            reason,
        };
        if model.prediction() != self.prediction {
            let reason = "the configuration's network predicts what Configured::prediction says";
            return Err(refused("a model of another prediction", reason).into());
        }
        if self.from_image {
            let reason = "with a strength it starts from an image: Sampler::start_from";
            return Err(refused("a run from noise alone", reason).into());
        }
        if self.learned {
            let noise = LearnedNoise::new(KeyedNoise::new(seed));
            let mut run = self.sampler.start(shape, self.prediction, noise)?;
            run.complete_learned(model)?;
            return Ok(run.into_state());
        }
        self.sampler.sample(model, shape, seed)
    }

    /// What was read, what was ignored, and what differs from the library.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl Configured {
    /// The factors on the network's input at its first and last call, where it is scaled.
    fn input_scales(&self) -> Option<(Short, Short)> {
        let levels = self
            .sampler
            .plan()
            .stages()
            .filter_map(|stage| stage.evaluate);
        let scales: Result<Vec<f64>, Error> = levels
            .map(|level| self.prediction.input_scale(&level))
            .collect();
        let scales = scales.ok()?;
        let scaled = scales.iter().any(|&scale| scale != 1.0);
        if scaled { ends(&scales) } else { None }
    }
}

/// The network's time at each evaluation.
fn evaluated(plan: &Plan) -> Vec<f64> {
    let levels = plan.stages().filter_map(|stage| stage.evaluate);
    levels.map(|level| level.model_time()).collect()
}

/// The parts of the sampler, then the report.
impl fmt::Display for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.sampler.plan();
        let (steps, calls) = (plan.steps().len(), plan.evaluations());
        let plural = |count| if count == 1 { "" } else { "s" };
        writeln!(
            f,
            "{}: {steps} step{}, {calls} call{} of the network",
            self.report.class,
            plural(steps),
            plural(calls)
        )?;
        writeln!(f, "  network predicts  {}", described(self.prediction))?;
        if let Some((first, last)) = ends(&self.network_times()) {
            writeln!(f, "  it is told times  {first} to {last}")?;
        }
        match self.input_scales() {
            Some((first, last)) => writeln!(
                f,
                "  its input is      the state times Prediction::input_scale, {first} to {last}"
            )?,
            None => writeln!(f, "  its input is      the state as it is")?,
        }
        if let Some((first, last)) = ends(&self.sigmas()) {
            let meaning = match self.state {
                State::Flow => "",
                State::Same | State::OverAlpha => " (noise over signal)",
            };
            writeln!(f, "  sigma             {first} to {last}{meaning}")?;
        }
        let deviation = Short(self.sampler.start_variance().sqrt());
        match self.from_image {
            true => writeln!(
                f,
                "  start             an image, with noise to the grid's start"
            )?,
            false => writeln!(f, "  start             normals times {deviation}")?,
        }
        writeln!(f, "  solver            {:?}", self.solver)?;
        match self.clip() {
            Some(clip) => writeln!(f, "  estimate of x0    {clip}")?,
            None => writeln!(f, "  estimate of x0    not clipped")?,
        }
        self.report.sections(f)
    }
}

/// The prediction in the field's words.
fn described(prediction: Prediction) -> String {
    match prediction {
        Prediction::Flow => "flow: noise - data".to_owned(),
        Prediction::Linear { data, noise } if (data, noise) == (1.0, -1.0) => {
            "flow, reversed: data - noise".to_owned()
        }
        Prediction::Velocity => "velocity (v)".to_owned(),
        Prediction::Noise => "noise (epsilon)".to_owned(),
        Prediction::Data => "data (x0)".to_owned(),
        other => other.to_string(),
    }
}

/// The first and the last of a list.
fn ends(list: &[f64]) -> Option<(Short, Short)> {
    Some((Short(*list.first()?), Short(*list.last()?)))
}

/// A number to six digits.
#[derive(Clone, Copy)]
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = format!("{:.5e}", self.0).parse();
        write!(f, "{}", rounded.unwrap_or(self.0))
    }
}
