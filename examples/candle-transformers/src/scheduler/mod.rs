//! Any sampler of diffusion-sampler as a scheduler of candle-transformers' pipelines. Copy this
//! folder, and `ops.rs` of `examples/candle`.

mod calls;
mod config;
mod course;
mod refused;

use candle_core::{DType, Error, Tensor};
use candle_transformers::models::stable_diffusion::schedulers::Scheduler;
use diffusion_sampler::noise::KeyedNoise;
use diffusion_sampler::run::TensorRun;
use diffusion_sampler::tensor::{Scale, TensorOps};
use diffusion_sampler::{Clip, Prediction, Sampler};

pub use config::SamplerConfig;
pub use refused::Refused;

use crate::ops::Candle;
use calls::{Call, calls, from_first_call};
use course::Course;

type Result<T> = std::result::Result<T, Refused>;

/// Operations on candle's tensors.
pub trait Ops: TensorOps<Tensor = Tensor, Element = f32, Error = Error> + Copy {}

impl<O: TensorOps<Tensor = Tensor, Element = f32, Error = Error> + Copy> Ops for O {}

/// A sampler as a scheduler: the times of all its calls of the network, and the run that they drive.
///
/// The state stays on candle's tensors. What [`step`](Scheduler::step) returns is the network's next
/// input, and the picture at the end; a new picture may then begin. A sample that is another tensor
/// than the last one returned was edited, and becomes the run's state.
pub struct SamplerScheduler<O: Ops = Candle> {
    timesteps: Vec<usize>,
    calls: Vec<Call>,
    sampler: Sampler,
    course: Course,
    settings: Settings,
    noise: KeyedNoise,
    ops: O,
    /// The pictures begun, each of which has its own noise.
    pictures: u64,
    run: Option<(TensorRun<O>, usize)>,
}

/// What the network predicts, whether its times may be rounded, the clipping.
type Settings = (Prediction, bool, Option<Clip>);

impl<O: Ops> SamplerScheduler<O> {
    fn new(
        (sampler, course): (Sampler, Course),
        settings: Settings,
        noise: KeyedNoise,
        ops: O,
    ) -> Result<Self> {
        let calls = calls(sampler.plan(), settings.0, settings.1)?;
        Ok(Self {
            timesteps: calls.iter().map(|call| call.timestep).collect(),
            calls,
            sampler,
            course,
            settings,
            noise,
            ops,
            pictures: 0,
            run: None,
        })
    }

    /// The call that is expected next in a run that is not over.
    fn next(&self) -> Option<usize> {
        let next = self.run.as_ref().map(|(_, next)| *next)?;
        (next < self.calls.len()).then_some(next)
    }

    /// The call that a timestep means: the expected one, or where no run is under way the first call
    /// of a step.
    fn place(&self, timestep: usize) -> Result<usize> {
        if let Some(next) = self.next() {
            let expected = self.timesteps.get(next).copied().unwrap_or_default();
            return match expected == timestep {
                true => Ok(next),
                false => Err(Refused::WrongTimestep {
                    call: next,
                    expected,
                    found: timestep,
                }),
            };
        }
        let opening =
            |(_, call): &(usize, &Call)| call.opens.is_some() && call.timestep == timestep;
        let mut places = self
            .calls
            .iter()
            .enumerate()
            .filter(opening)
            .map(|(place, _)| place);
        let place = places.next().ok_or(Refused::NoStart { timestep })?;
        // The same time twice, by rounding or by a sampler that goes back up.
        match place > 0 && places.next().is_some() {
            true => Err(Refused::Ambiguous { timestep }),
            false => Ok(place),
        }
    }

    fn call(&self, timestep: usize) -> Result<&Call> {
        let place = self.place(timestep)?;
        self.calls.get(place).ok_or(Refused::NoStart { timestep })
    }

    /// The sampler from this call on, which has the calls that are listed from there.
    fn sampler_at(&self, place: usize) -> Result<Sampler> {
        let timestep = self.timesteps.get(place).copied().unwrap_or_default();
        let step = self.calls.get(place).and_then(|call| call.opens);
        let step = step.ok_or(Refused::NoStart { timestep })?;
        let start = self.sampler.plan().steps().get(step).filter(|_| step > 0);
        let Some(start) = start else {
            return Ok(self.sampler.clone());
        };
        let (prediction, rounding, clip) = self.settings;
        let sampler = from_first_call(&self.course.from(step, start.from)?)?;
        let own = calls(sampler.plan(), prediction, rounding)?;
        let own = own.iter().map(|call| call.timestep);
        let listed = self.timesteps.get(place..).unwrap_or_default();
        if !own.clone().eq(listed.iter().copied()) {
            let (listed, own) = (listed.len(), own.len());
            return Err(Refused::OtherCalls {
                timestep,
                listed,
                own,
            });
        }
        Ok(match clip {
            Some(clip) => sampler.with_clip(clip),
            None => sampler,
        })
    }

    fn begin(&mut self, timestep: usize, sample: &Tensor) -> Result<()> {
        let place = self.place(timestep)?;
        let noise = self.noise.with_first_sample(self.pictures)?;
        let sampler = self.sampler_at(place)?.on(self.ops);
        let run = sampler.start_from(sample.clone(), self.settings.0, noise)?;
        self.pictures += sample.dims().first().map_or(0, |&batch| batch as u64);
        self.run = Some((run, place));
        Ok(())
    }

    fn take(&mut self, output: &Tensor, timestep: usize, sample: &Tensor) -> Result<Tensor> {
        if self.next().is_some() {
            self.place(timestep)?;
            return self.go_on(output, timestep, sample);
        }
        let pictures = self.pictures;
        self.begin(timestep, sample)?;
        let taken = self.go_on(output, timestep, sample);
        if taken.is_err() {
            // A first call that is refused begins nothing.
            (self.run, self.pictures) = (None, pictures);
        }
        taken
    }

    fn go_on(&mut self, output: &Tensor, timestep: usize, sample: &Tensor) -> Result<Tensor> {
        let Some((run, next)) = &mut self.run else {
            return Err(Refused::NoStart { timestep });
        };
        // A tensor of its own is an edited state, or a copy.
        if sample.id() != run.state().id() {
            let editable = self.calls.get(*next).is_some_and(|call| call.editable);
            if editable {
                run.set_state(sample.clone())?;
            } else if !same(sample, run.state())? {
                return Err(Refused::Edited {
                    call: *next,
                    timestep,
                });
            }
        }
        run.tell(output)?;
        *next += 1;
        // What needs no network comes before its next input.
        run.ask()?;
        Ok(run.state().clone())
    }
}

/// Whether two tensors hold the same numbers; waits for the device.
fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        return Ok(false);
    }
    let differ = a.ne(b)?.to_dtype(DType::F32)?.sum_all()?;
    Ok(differ.to_scalar::<f32>()? == 0.0)
}

impl<O: Ops> Scheduler for SamplerScheduler<O> {
    /// The network's time at each call, in the run's order: more than one to a step where the solver
    /// has several stages.
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    /// αx₀ + σε at the level of a step's first call.
    fn add_noise(
        &self,
        original: &Tensor,
        noise: Tensor,
        timestep: usize,
    ) -> candle_core::Result<Tensor> {
        let level = self.call(timestep)?.level;
        let terms = [
            (Scale::Same(level.alpha()), original),
            (Scale::Same(level.sigma()), &noise),
        ];
        self.ops.linear_combination(&terms)
    }

    fn init_noise_sigma(&self) -> f64 {
        self.sampler.start_variance().sqrt()
    }

    /// c_in of a network of EDM's kind; all others see the state as it is.
    fn scale_model_input(&self, sample: Tensor, timestep: usize) -> candle_core::Result<Tensor> {
        let level = self.call(timestep)?.level;
        match self.settings.0.input_scale(&level).map_err(Refused::from)? {
            1.0 => Ok(sample),
            scale => sample * scale,
        }
    }

    fn step(
        &mut self,
        model_output: &Tensor,
        timestep: usize,
        sample: &Tensor,
    ) -> candle_core::Result<Tensor> {
        Ok(self.take(model_output, timestep, sample)?)
    }
}
