//! Whole random configurations: a run by a model, one asked and told, one of flat vectors and one
//! that is stored and resumed give the same bits; what the model breaks is the documented error.

use diffusion_sampler::denoiser::{Guided, from_query_fn};
use diffusion_sampler::guidance::Guidance;
use diffusion_sampler::noise::{
    BrownianPath, Demand, Interval, NoiseKey, NoiseSource, NormalElement, PureNoise,
};
use diffusion_sampler::run::{Snapshot, TensorError};
use diffusion_sampler::solver::Path;
use diffusion_sampler::stored::Element;
use diffusion_sampler::tensor::{Flat, FlatOps};
use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel, Prediction, Query, Real, RunError, Sampler, Trajectory,
};
use ndarray::{Array2, ArrayRef2, Axis, Ix2};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::grids::{check_grid, check_plan};
use crate::guided;
use crate::input::{Input, bits, is_readable};
use crate::setups;

/// A model of up to six outputs: smooth and bounded, and broken where it is told to be.
#[derive(Clone, Copy, Debug)]
struct Model {
    prediction: Prediction,
    /// The size of the outputs.
    size: f64,
    /// At which evaluation it breaks, in which element, and how.
    breaks: Option<(usize, usize, f64)>,
}

impl Model {
    fn at<A: Real>(&self, output: usize, x: A, level: &NoiseLevel) -> A {
        let x = x.widen();
        let y = x / (1.0 + x.abs()) * (0.9 - 0.2 * output as f64);
        A::cast(self.size * (y + 0.05 * level.sigma().min(9.0)))
    }

    /// The outputs at an evaluation, one behind the other.
    fn outputs<A: Real>(
        &self,
        count: usize,
        x: &ArrayRef2<A>,
        level: &NoiseLevel,
        evaluation: usize,
    ) -> Array2<A> {
        let (samples, elements) = x.dim();
        let mut out = Array2::zeros((count * samples, elements));
        for output in 0..count {
            for (row, values) in x.outer_iter().enumerate() {
                for (column, &value) in values.iter().enumerate() {
                    out[[output * samples + row, column]] = self.at(output, value, level);
                }
            }
        }
        if let Some((at, element, value)) = self.breaks
            && at == evaluation
            && !out.is_empty()
        {
            let element = element % out.len();
            if let Some(slot) = out.iter_mut().nth(element) {
                *slot = A::cast(value);
            }
        }
        out
    }
}

/// The noise of a run, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Noise {
    Keyed(KeyedNoise),
    Path(BrownianPath),
}

impl<A: NormalElement> NoiseSource<A> for Noise {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        match self {
            Self::Keyed(noise) => noise.fill(key, first, out),
            Self::Path(noise) => noise.fill(key, first, out),
        }
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        match self {
            Self::Keyed(noise) => NoiseSource::<A>::check(noise, demand),
            Self::Path(noise) => NoiseSource::<A>::check(noise, demand),
        }
    }

    fn reads_intervals(&self) -> bool {
        matches!(self, Self::Path(_))
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        match self {
            Self::Keyed(noise) => noise.as_pure(),
            Self::Path(noise) => noise.as_pure(),
        }
    }
}

/// A run with such noise.
type Run<A> = Trajectory<A, Ix2, Noise>;

/// What a run is made of.
struct Setup<A> {
    sampler: Sampler,
    model: Model,
    guidance: Box<dyn Guidance>,
    start: Option<Array2<A>>,
    shape: (usize, usize),
}

fn again<T: Serialize + DeserializeOwned>(value: &T, binary: bool) -> T {
    if binary {
        let bytes = postcard::to_stdvec(value).expect("it can be stored");
        return postcard::from_bytes(&bytes).expect("what was stored can be read");
    }
    let text = serde_json::to_string(value).expect("it can be stored");
    serde_json::from_str(&text).expect("what was stored can be read")
}

fn start<A: Real>(setup: &Setup<A>, sampler: &Sampler, noise: Noise) -> Result<Run<A>, Error> {
    let prediction = setup.model.prediction;
    match &setup.start {
        Some(x) => {
            let history = vec![x.clone(); sampler.plan().given()];
            sampler.start_with(x.clone(), history, prediction, noise)
        }
        None => sampler.start(setup.shape, prediction, noise),
    }
}

fn all_bits<A: Real>(state: &ArrayRef2<A>) -> Vec<u64> {
    state.iter().map(|&x| bits(x)).collect()
}

/// By a model: the state, or the error.
fn by_model<A: Real>(setup: &Setup<A>, mut run: Run<A>) -> Result<Array2<A>, Error> {
    let mut evaluation = 0;
    let answer = |x: &ArrayRef2<A>, query: &Query<'_>, out: &mut ArrayRef2<A>| {
        let outputs = setup
            .model
            .outputs(query.outputs(), x, &query.level(), evaluation);
        evaluation += 1;
        out.assign(&outputs);
        Ok::<(), Error>(())
    };
    let model = from_query_fn::<A, Ix2, Error>(setup.model.prediction, 6, answer);
    match run.complete(&mut Guided::new(model, &setup.guidance)) {
        Ok(()) => Ok(run.into_state()),
        Err(RunError::Sampler(error)) => Err(error),
        Err(RunError::Denoiser(error)) => panic!("{error:?}"),
    }
}

/// Asked and told, and once on the way handed to `at`, between two evaluations.
fn told<A: Real>(
    setup: &Setup<A>,
    mut run: Run<A>,
    place: usize,
    at: &dyn Fn(Run<A>) -> Result<Run<A>, Error>,
) -> Result<Array2<A>, Error> {
    let mut evaluation = 0;
    loop {
        if evaluation == place {
            run = at(run)?;
        }
        let Some(question) = run.ask_guided(&setup.guidance)? else {
            return Ok(run.into_state());
        };
        let count = question.query.outputs();
        let level = question.level();
        let outputs = setup.model.outputs(count, question.x, &level, evaluation);
        evaluation += 1;
        if evaluation % 2 == 0 {
            run.tell_stacked(&setup.guidance, &outputs)?;
        } else {
            let samples = setup.shape.0.max(1);
            let parts: Vec<_> = outputs.axis_chunks_iter(Axis(0), samples).collect();
            let list: Vec<_> = parts.iter().map(|part| &**part).collect();
            match setup.shape.0 {
                0 => run.tell_guided(&setup.guidance, &[&outputs])?,
                _ => run.tell_guided(&setup.guidance, &list)?,
            }
        }
    }
}

/// The run's error, or that of flat vectors, which is of the same type.
fn own(error: TensorError<Error>) -> Error {
    match error {
        TensorError::Sampler(error) | TensorError::Tensor(error) => error,
    }
}

/// The same on flat vectors.
fn flat<A: Real>(setup: &Setup<A>, noise: Noise) -> Result<Vec<A>, Error> {
    let shape = [setup.shape.0, setup.shape.1];
    let prediction = setup.model.prediction;
    let sampler = setup.sampler.on(FlatOps::<A>::new());
    let mut run = match &setup.start {
        Some(x) => {
            let x = Flat::new(x.iter().copied().collect(), &shape)?;
            let history = vec![x.clone(); setup.sampler.plan().given()];
            sampler
                .start_with(x, history, prediction, noise)
                .map_err(own)?
        }
        None => sampler
            .start(&Flat::zeros(&shape)?, prediction, noise)
            .map_err(own)?,
    };
    let mut evaluation = 0;
    while let Some(question) = run.ask_guided(&setup.guidance).map_err(own)? {
        let count = question.query.outputs();
        let level = question.level();
        let x = Array2::from_shape_vec(setup.shape, question.x.as_slice().to_vec());
        let x = x.expect("the run's shape");
        let outputs = setup.model.outputs(count, &x, &level, evaluation);
        evaluation += 1;
        let parts: Vec<Flat<A>> = (0..count)
            .map(|output| {
                let rows = outputs.iter().copied().skip(output * x.len()).take(x.len());
                Flat::new(rows.collect(), &shape)
            })
            .collect::<Result<_, _>>()?;
        let list: Vec<&Flat<A>> = parts.iter().collect();
        run.tell_guided(&setup.guidance, &list).map_err(own)?;
    }
    Ok(run.into_state().into_vec())
}

fn compare<A: Element>(input: &mut Input<'_>, setup: &Setup<A>, noise: Noise) -> Result<(), Error> {
    let (place, binary) = (input.below(16), input.flag());
    let whole = by_model(setup, start(setup, &setup.sampler, noise.clone())?);
    if let Ok(state) = &whole {
        assert!(state.iter().all(|x| x.is_finite()), "{state:?}");
    }
    let run = start(setup, &setup.sampler, noise.clone())?;
    let in_pieces = told(setup, run, usize::MAX, &Ok);
    let run = start(setup, &setup.sampler, noise.clone())?;
    let resumed = told(setup, run, place, &|run| {
        let sampler: Sampler = again(&setup.sampler, binary);
        assert_eq!(sampler, setup.sampler);
        let snapshot = run.snapshot()?;
        let stored: Snapshot<Array2<A>> = again(&snapshot, binary);
        assert_eq!(format!("{stored:?}"), format!("{snapshot:?}"));
        let noise: Noise = again(&noise, binary);
        sampler.resume(stored, setup.model.prediction, noise)
    });
    for other in [in_pieces, resumed] {
        match (&whole, &other) {
            (Ok(whole), Ok(other)) => assert_eq!(all_bits(whole), all_bits(other)),
            // An empty batch asks no model, and so no guidance.
            (Ok(whole), Err(_)) if whole.is_empty() => {}
            (Err(_), Err(_)) => {}
            (whole, other) => panic!("{whole:?} and {other:?}"),
        }
    }
    if let Some((_, _, value)) = setup.model.breaks
        && !value.is_finite()
        && let Err(error) = &whole
    {
        assert!(!error.to_string().is_empty());
    }
    match (&whole, flat(setup, noise)) {
        (Ok(whole), Ok(flat)) => {
            let flat: Vec<u64> = flat.into_iter().map(bits).collect();
            assert_eq!(all_bits(whole), flat, "flat vectors");
        }
        (Ok(whole), Err(_)) if whole.is_empty() => {}
        (Err(_), Err(_)) => {}
        (whole, flat) => panic!("{whole:?} and {flat:?}"),
    }
    whole.map(drop)
}

fn check<A: Element>(input: &mut Input<'_>) -> Result<(), Error> {
    let schedule = setups::schedule(input)?;
    let (grid, _) = setups::grid(input, &*schedule)?;
    let grid = setups::part(input, grid, &*schedule)?;
    check_grid(&grid);
    let path = match input.flag() {
        true => Path::new(&*schedule, &grid)?,
        false => Path::without_schedule(&grid),
    };
    let sampler = setups::with_solver(input, |solver| Sampler::along(&path, &solver))??;
    check_plan(sampler.plan());
    if sampler.plan().evaluations() > 200 {
        return Ok(());
    }
    let sampler = match setups::clip(input)? {
        Some(clip) => sampler.with_clip(clip),
        None => sampler,
    };
    let guidance = guided::any(input)?;
    let shape = (input.below(4), input.below(6));
    let from = input.byte();
    let start = (from & 3 == 0 || sampler.plan().given() > 0).then(|| {
        let value = || A::cast(f64::from(input.byte()) / 32.0 - 4.0);
        Array2::from_shape_simple_fn(shape, value)
    });
    let model = Model {
        prediction: setups::prediction(input),
        size: if from & 4 != 0 { 1.0 } else { input.number() },
        breaks: (from & 24 == 24).then(|| {
            let value = *input.choose(&[f64::NAN, f64::INFINITY, -1e300, 1e30]);
            (input.below(16), input.word(), value)
        }),
    };
    let setup = Setup {
        sampler,
        model,
        guidance,
        start,
        shape,
    };
    let seed = input.long();
    if from & 32 == 0 {
        return compare(input, &setup, Noise::Keyed(KeyedNoise::new(seed)));
    }
    let path = BrownianPath::new(seed);
    let ends = Interval::new(-100.0, 100.0);
    let path = if from & 64 == 0 {
        path
    } else {
        path.with_interval(ends)?
    };
    compare(input, &setup, Noise::Path(path))
}

/// A whole random configuration.
pub fn whole_run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let outcome = match input.flag() {
        true => check::<f64>(&mut input),
        false => check::<f32>(&mut input),
    };
    if let Err(error) = outcome {
        let message = error.to_string();
        assert!(is_readable(&message), "{message}");
    }
}
