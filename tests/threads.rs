//! Threads (feature `rayon`) change no bit: pools of 1, 2 and 8 threads against updates that stay
//! with one thread.
//!
//! What stays with one thread: arrays below the lengths that threads are worth (shards of a batch),
//! and noise that does not say that it is a pure function of its key.

use std::error::Error as StdError;

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Real, RunError,
    Sampler,
    denoiser::Guided,
    forward::{diffuse, fill_normal},
    from_fn,
    guidance::{ClassifierFree, GuidanceWeight},
    kernel::linear_combination,
    noise::{
        BrownianPath, Interval, NoiseKey, NoiseSource, PerSample, PureNoise, RngNoise, SampleNoise,
        Stream,
    },
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::{NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver},
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice};
use rand::{SeedableRng, rngs::SmallRng};
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

type Outcome = Result<(), Box<dyn StdError>>;

/// A whole batch is worth threads with noise and without, a sample is worth them in neither case,
/// and no piece ends where a sample or a block of noise does.
const SHAPE: (usize, usize) = (11, 100_003);

const THREADS: [usize; 3] = [1, 2, 8];

/// What comes out in a pool of each size.
fn in_pools<T: Send>(run: impl Fn() -> T + Sync) -> Result<Vec<T>, ThreadPoolBuildError> {
    THREADS
        .into_iter()
        .map(|threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
            Ok(pool.install(&run))
        })
        .collect()
}

/// Any numbers between −2 and 2.
fn numbers<A: Real>(shape: (usize, usize), salt: usize) -> Array2<A> {
    Array2::from_shape_fn(shape, |(i, j)| {
        let mixed = ((i * SHAPE.1 + j) as u64 + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(salt as u32);
        A::cast((mixed >> 40) as f64 / f64::from(1 << 22) - 2.0)
    })
}

/// Not `assert_eq`, which would print millions of numbers. `==` tells all bits apart but those of 0
/// and −0, so signs are compared too.
fn assert_same<A: Real>(got: &Array2<A>, expected: &Array2<A>, what: &str) {
    assert_eq!(got.dim(), expected.dim(), "{what}");
    let differs = |(a, b): (&A, &A)| a != b || a.is_sign_negative() != b.is_sign_negative();
    let first = got.iter().zip(expected).position(differs);
    assert_eq!(first, None, "{what}: the first element that differs");
}

/// A model of two outputs, each one pass over x.
struct Linear {
    prediction: Prediction,
}

impl<A: Real> Denoiser<A, Ix2> for Linear {
    type Error = Error;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix2>,
    ) -> Result<(), Error> {
        for (k, mut out) in out.axis_chunks_iter_mut(Axis(0), x.nrows()).enumerate() {
            let slope = A::cast((0.9 - 0.2 * k as f64) * query.level().sigma());
            out.zip_mut_with(x, |o, &x| *o = slope * x);
        }
        Ok(())
    }
}

/// One sampler on the whole batch in every pool, against each sample of the batch alone.
fn whole_equals_shards<A: Real>(sampler: &Sampler, what: &str) -> Outcome {
    let weight = GuidanceWeight::constant(1.5)?;
    let run = |shape, noise| -> Result<Array2<A>, RunError<Error>> {
        let model = Linear {
            prediction: Prediction::Noise,
        };
        let mut model = Guided::new(model, ClassifierFree::new(weight.clone()));
        let mut run = sampler.start::<A, _, _>(shape, Prediction::Noise, noise)?;
        run.complete(&mut model)?;
        Ok(run.into_state())
    };
    let wholes = in_pools(|| run(SHAPE, KeyedNoise::new(5)).map_err(|e| e.to_string()))?;
    for (threads, whole) in THREADS.into_iter().zip(wholes) {
        let whole = whole?;
        for sample in [0, 4, SHAPE.0 - 1] {
            let noise = KeyedNoise::new(5).with_first_sample(sample as u64)?;
            let shard = run((1, SHAPE.1), noise)?;
            let part = whole.slice_axis(Axis(0), Slice::from(sample..sample + 1));
            assert_same(
                &part.to_owned(),
                &shard,
                &format!("{what}, {threads} threads"),
            );
        }
    }
    Ok(())
}

type Named = (&'static str, Box<dyn Solver>);

fn solvers() -> Result<Vec<Named>, Error> {
    Ok(vec![
        ("ddim", Box::new(FirstOrder::ddim())),
        ("ddpm", Box::new(FirstOrder::ddpm())),
        ("2m", Box::new(DpmSolverPlusPlus::new())),
        (
            "noisy 2m",
            Box::new(DpmSolverPlusPlus::new().with_tau(0.7)?),
        ),
        ("heun", Box::new(Heun::new())),
    ])
}

#[test]
fn a_guided_run_by_any_number_of_threads_is_that_of_its_shards() -> Outcome {
    let grid = Grid::trailing(&VariancePreserving::default(), 3)?;
    for (name, solver) in solvers()? {
        let sampler = Sampler::along(&Path::without_schedule(&grid), &*solver)?;
        whole_equals_shards::<f32>(&sampler, name)?;
        whole_equals_shards::<f64>(&sampler, name)?;
        let clipped = sampler.with_clip(Clip::new(-0.5, 0.5)?);
        whole_equals_shards::<f32>(&clipped, &format!("{name}, clipped"))?;
        whole_equals_shards::<f64>(&clipped, &format!("{name}, clipped"))?;
    }
    Ok(())
}

fn combinations_equal_shards<A: Real>() -> Outcome {
    let terms: Vec<Array2<A>> = (0..16).map(|salt| numbers(SHAPE, salt)).collect();
    for count in [0, 1, 2, 3, 7, 16] {
        let run = |samples: Slice| {
            let mut x = numbers::<A>(SHAPE, 20)
                .slice_axis(Axis(0), samples)
                .to_owned();
            let terms: Vec<_> = terms[..count]
                .iter()
                .map(|term| term.slice_axis(Axis(0), samples))
                .collect();
            let terms: Vec<(f64, &ArrayRef<A, Ix2>)> =
                terms.iter().map(|term| (0.3, &**term)).collect();
            linear_combination(&mut x, 0.7, &terms).map(|()| x)
        };
        for whole in in_pools(|| run(Slice::from(..)))? {
            let whole = whole?;
            for sample in 0..SHAPE.0 {
                let samples = Slice::from(sample..sample + 1);
                let part = whole.slice_axis(Axis(0), samples).to_owned();
                assert_same(&part, &run(samples)?, &format!("{count} terms"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_linear_combination_by_any_number_of_threads_is_that_of_its_shards() -> Outcome {
    combinations_equal_shards::<f32>()?;
    combinations_equal_shards::<f64>()
}

#[test]
fn equal_layouts_of_any_axis_order_have_the_bits_of_the_standard_one() -> Outcome {
    let [x, e] = [1, 2].map(|salt| numbers::<f32>(SHAPE, salt));
    let mut expected = x.clone();
    linear_combination(&mut expected, 0.7, &[(0.3, &e)])?;
    let fortran = |array: &Array2<f32>| {
        let mut turned = Array2::zeros((SHAPE.1, SHAPE.0)).reversed_axes();
        turned.assign(array);
        turned
    };
    let e = fortran(&e);
    for got in in_pools(|| {
        let mut x = fortran(&x);
        linear_combination(&mut x, 0.7, &[(0.3, &e)]).map(|()| x)
    })? {
        assert_same(&got?, &expected, "fortran");
    }
    Ok(())
}

/// Pure noise that does not say so.
struct Unsaid<N>(N);

impl<A, N: NoiseSource<A>> NoiseSource<A> for Unsaid<N> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.0.fill(key, first, out);
    }
}

/// Levels of which every third has no noise.
fn levels(samples: usize) -> Result<Vec<NoiseLevel>, Error> {
    let flow = RectifiedFlow::new();
    (0..samples)
        .map(|sample| flow.level((sample % 3) as f64 / 3.0))
        .collect()
}

/// The same with noise that threads may share and with noise that they may not.
fn shared_equals_unshared<A, N, F>(noise: &N, shape: (usize, usize), what: &str, run: F) -> Outcome
where
    A: Real,
    N: PureNoise<A> + Clone,
    F: Fn(&mut Array2<A>, &mut dyn NoiseSource<A>) -> Result<(), Error> + Sync,
{
    let start = numbers::<A>(shape, 3);
    let mut expected = start.clone();
    run(&mut expected, &mut Unsaid(noise.clone()))?;
    for got in in_pools(|| {
        let (mut x, mut noise) = (start.clone(), noise);
        run(&mut x, &mut noise).map(|()| x)
    })? {
        assert_same(&got?, &expected, &format!("{what} {shape:?}"));
    }
    Ok(())
}

/// One source on a batch of this shape.
fn shared_noise_of<A: Real, N: PureNoise<A> + Clone>(noise: &N, shape: (usize, usize)) -> Outcome {
    shared_equals_unshared::<A, _, _>(noise, shape, "fill", |x, mut noise| {
        fill_normal(x, &mut noise, 3, Stream::User(4))
    })?;
    let levels = levels(shape.0)?;
    shared_equals_unshared::<A, _, _>(noise, shape, "one level", |x, mut noise| {
        diffuse(x, &levels[..1].repeat(shape.0), &mut noise, 2)?;
        diffuse(x, &levels[shape.0.min(2) - 1..][..1], &mut noise, 2)
    })?;
    shared_equals_unshared::<A, _, _>(noise, shape, "levels per sample", |x, mut noise| {
        diffuse(x, &levels, &mut noise, 2)
    })?;
    let flow = RectifiedFlow::new();
    let from: Vec<_> = (0..shape.0)
        .map(|sample| flow.level(0.5 + 0.1 * (sample % 4) as f64))
        .collect::<Result<_, _>>()?;
    let to: Vec<_> = levels
        .iter()
        .map(|l| flow.level(l.time() / 2.0))
        .collect::<Result<_, _>>()?;
    let step = DdimStep::per_sample(&from, &to, Kappa::Eta(0.8))?;
    let output = numbers::<A>(shape, 9);
    shared_equals_unshared::<A, _, _>(noise, shape, "steps per sample", |x, mut noise| {
        let mut machine = Machine::new(x.clone(), 0)?;
        step.tell(&mut machine, Prediction::Flow, &output, &mut noise, 7)?;
        x.assign(machine.state());
        Ok(())
    })
}

/// Samples of several seeds in any order, which joined the batch at different steps.
fn mixed(samples: usize) -> Result<PerSample, Error> {
    let sample = |index: usize| {
        let noise = SampleNoise::new(KeyedNoise::new(index as u64 % 3));
        let noise = noise.with_sample(index as u64 * 5 % 7)?;
        Ok(noise
            .joining_at(index as u32 % 3)
            .having_taken(index as u32 % 5))
    };
    Ok(PerSample::new(
        (0..samples).map(sample).collect::<Result<_, Error>>()?,
    ))
}

fn shared_noise_has_the_bits_of_its_source<A: Real>() -> Outcome {
    // Few long samples, one, blocks that fit, samples of a few elements.
    for shape in [
        SHAPE,
        (1, 400_001),
        (2, 1 << 17),
        (150_001, 2),
        (3_001, 300),
    ] {
        shared_noise_of::<A, _>(&KeyedNoise::new(11).with_first_sample(77)?, shape)?;
    }
    for shape in [(11, 20_003), (100_001, 2)] {
        shared_noise_of::<A, _>(&mixed(shape.0)?, shape)?;
    }
    shared_noise_of::<A, _>(&BrownianPath::new(5), (3, 45_003))
}

fn flat_batches_have_the_bits_of_their_rows<A: Real>() -> Outcome {
    let path = BrownianPath::new(3);
    for (samples, length, long) in [(11, 30_011, true), (1, 400_001, true), (70_001, 3, false)] {
        let key = NoiseKey::new(0, 9, Stream::Step(1));
        flat_batch_is_rows::<A, _>(&KeyedNoise::new(7), key, samples, length)?;
        flat_batch_is_rows::<A, _>(&mixed(samples)?, key, samples, length)?;
        if long {
            let key = key.with_interval(Interval::new(-1.0, 0.5));
            flat_batch_is_rows::<A, _>(&path, key, samples, length / 3)?;
        }
    }
    Ok(())
}

fn flat_batch_is_rows<A: Real, N: PureNoise<A> + Clone>(
    noise: &N,
    key: NoiseKey,
    samples: usize,
    length: usize,
) -> Outcome {
    let mut expected = Array2::zeros((samples, length));
    for (row, mut out) in (0..).zip(expected.rows_mut()) {
        let mut key = key;
        key.row += row;
        noise.draw(key, 0, out.as_slice_mut().ok_or("a row in pieces")?);
    }
    for got in in_pools(|| {
        let mut flat = vec![A::zero(); samples * length];
        let filled = noise.clone().fill_batch(key, samples, &mut flat);
        filled.map(|()| flat)
    })? {
        let got = Array2::from_shape_vec((samples, length), got?)?;
        assert_same(&got, &expected, &format!("{samples} rows of {length}"));
    }
    Ok(())
}

#[test]
fn a_flat_batch_by_any_number_of_threads_is_its_rows() -> Outcome {
    flat_batches_have_the_bits_of_their_rows::<f32>()?;
    flat_batches_have_the_bits_of_their_rows::<f64>()
}

#[test]
fn a_batch_of_requests_by_any_number_of_threads_is_each_request_alone() -> Outcome {
    let grid = Grid::trailing(&VariancePreserving::default(), 3)?;
    let sampler = Sampler::along(&Path::without_schedule(&grid), &DpmSolverPlusPlus::sde())?;
    let sources = || (0..SHAPE.0 as u64).map(|index| KeyedNoise::new(index % 4 * 1000));
    let model = || Linear {
        prediction: Prediction::Noise,
    };
    let wholes = in_pools(|| {
        let noise = PerSample::of(sources());
        let run = sampler.start::<f32, _, _>(SHAPE, Prediction::Noise, noise);
        let mut run = run.map_err(|error| error.to_string())?;
        let completed = run.complete(&mut model());
        completed.map_err(|error| error.to_string())?;
        Ok::<_, String>(run.into_state())
    })?;
    for whole in wholes {
        let whole = whole?;
        for (sample, noise) in sources().enumerate() {
            let mut alone = sampler.start((1, SHAPE.1), Prediction::Noise, noise)?;
            alone.complete(&mut model())?;
            let part = whole.slice_axis(Axis(0), Slice::from(sample..sample + 1));
            assert_same(&part.to_owned(), &alone.into_state(), "requests");
        }
    }
    Ok(())
}

#[test]
fn noise_that_threads_share_has_the_bits_of_its_source_in_f32() -> Outcome {
    shared_noise_has_the_bits_of_its_source::<f32>()
}

#[test]
fn noise_that_threads_share_has_the_bits_of_its_source_in_f64() -> Outcome {
    shared_noise_has_the_bits_of_its_source::<f64>()
}

/// Counts how often it is asked itself.
struct Asked {
    noise: KeyedNoise,
    fills: usize,
    said: bool,
}

impl<A> NoiseSource<A> for Asked
where
    KeyedNoise: PureNoise<A>,
{
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.fills += 1;
        self.noise.fill(key, first, out);
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        self.said.then_some(&self.noise)
    }
}

#[test]
fn threads_are_used_where_they_are_worth_it_and_allowed_and_nowhere_else() -> Outcome {
    for (elements, said, threads, shared) in [
        (1 << 20, true, 2, true),
        (1 << 20, true, 1, false),
        (1 << 20, false, 2, false),
        (1 << 16, true, 2, false),
    ] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        let fills = pool.install(|| {
            let mut noise = Asked {
                noise: KeyedNoise::new(1),
                fills: 0,
                said,
            };
            let mut x = Array2::<f32>::zeros((1, elements));
            // A reference forwards what its source says.
            fill_normal(&mut x, &mut &mut noise, 0, Stream::User(0)).map(|()| noise.fills)
        })?;
        assert_eq!(fills == 0, shared, "{elements} {said} {threads}");
    }
    Ok(())
}

#[test]
fn a_generators_noise_keeps_its_order() -> Outcome {
    let run = |mut x: Array2<f64>, noise: &mut RngNoise<SmallRng>| {
        fill_normal(&mut x, noise, 0, Stream::Start).map(|()| x)
    };
    let source = || RngNoise::new(SmallRng::seed_from_u64(3));
    let wholes = in_pools(|| run(Array2::zeros(SHAPE), &mut source()))?;
    let mut shards = source();
    for sample in 0..SHAPE.0 {
        let shard = run(Array2::zeros((1, SHAPE.1)), &mut shards)?;
        for whole in &wholes {
            let whole = whole.as_ref().map_err(Clone::clone)?;
            let part = whole.slice_axis(Axis(0), Slice::from(sample..sample + 1));
            assert_same(&part.to_owned(), &shard, "generator");
        }
    }
    Ok(())
}

#[test]
fn a_value_that_is_not_finite_is_found_and_located_by_any_number_of_threads() -> Outcome {
    let grid = Grid::trailing(&VariancePreserving::default(), 4)?;
    let places = [(0, 0), (6, 77_777), (SHAPE.0 - 1, SHAPE.1 - 1)];
    for (solver, bad) in [
        (FirstOrder::ddim(), f32::NAN),
        (FirstOrder::ddpm(), f32::INFINITY),
    ] {
        let sampler = Sampler::along(&Path::without_schedule(&grid), &solver)?;
        for (sample, element) in places {
            for error in in_pools(|| {
                let mut calls = 0;
                let mut model = from_fn(
                    Prediction::Noise,
                    |x: &ArrayRef<f32, Ix2>, _, out: &mut ArrayRef<f32, Ix2>| {
                        out.assign(x);
                        if calls == 2 {
                            out[[sample, element]] = bad;
                        }
                        calls += 1;
                    },
                );
                sampler.sample(&mut model, SHAPE, 1).err()
            })? {
                match error {
                    Some(RunError::Sampler(Error::NonFinite {
                        step: 2,
                        sample: s,
                        element: e,
                        value,
                        ..
                    })) => {
                        assert_eq!((s, e), (sample, element));
                        assert_eq!(value.is_nan(), bad.is_nan());
                    }
                    other => return Err(format!("{other:?}").into()),
                }
            }
        }
    }
    Ok(())
}
