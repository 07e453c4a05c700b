//! A step allocates nothing: after the first, runs are watched by a counting allocator.

// The allocator below is the one `unsafe` of the tests; clippy.toml's permission does not reach
// helpers.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Denoiser, Grid, KeyedNoise, Prediction, Query, Real, Sampler, Trajectory,
    denoiser::{Classifier, Guided, Models, WithClassifier},
    editing::Inpaint,
    forward::fill_normal,
    guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight},
    noise::{BrownianPath, NoiseSource, PerSample, PureNoise, SampleNoise, Stream},
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::{NoiseSchedule, TableSchedule},
    solver::{FirstOrder, Solver, catalogue},
};
use ndarray::{Array, ArrayRef, Axis, Dim, Dimension, IntoDimension, Ix2, Ix4, IxDyn, Slice};

/// The system's allocator, which counts what the current thread asks for: tests run side by side.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being torn down has no counter any more, and nothing of it is measured.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` asks for memory.
fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.get();
    let result = work();
    (COUNT.get() - before, result)
}

const KIND: Prediction = Prediction::Velocity;
const STEPS: usize = 8;

/// A model that allocates nothing and answers every output it is asked for.
#[derive(Clone, Copy)]
struct Plain;

impl<A: Real, D: Dimension> Denoiser<A, D> for Plain {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        let samples = x.shape()[0];
        let one = |row: usize| Slice::from(row..row + 1);
        for (row, level) in query.row_levels(samples).enumerate() {
            let factor = A::cast(level.sigma() / (row / samples + 1) as f64);
            let x = x.slice_axis(Axis(0), one(row % samples));
            out.slice_axis_mut(Axis(0), one(row))
                .zip_mut_with(&x, |o, &x| *o = factor * x);
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

impl<A: Real, D: Dimension> Classifier<A, D> for Plain {
    type Error = Infallible;

    fn gradient(
        &mut self,
        x: &ArrayRef<A, D>,
        _: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        out.zip_mut_with(x, |o, &x| *o = -x);
        Ok(())
    }
}

/// Plain, and clipped both ways.
fn samplers(solver: &dyn Solver) -> [Sampler; 3] {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, STEPS).unwrap(),
        solver,
    )
    .unwrap();
    let clip = Clip::new(-1.0, 1.0).unwrap();
    [
        sampler.clone(),
        sampler.clone().with_clip(clip),
        sampler.with_clip(clip.keeping_noise()),
    ]
}

/// A run from a state that every plan can start from, DDIM inversion's too.
fn begin<A: Real, D: Dimension>(sampler: &Sampler, shape: D) -> Trajectory<A, D> {
    begin_with(sampler, shape, KeyedNoise::new(1))
}

fn begin_with<A: Real, D: Dimension, N: NoiseSource<A>>(
    sampler: &Sampler,
    shape: D,
    noise: N,
) -> Trajectory<A, D, N> {
    let mut x = Array::zeros(shape);
    fill_normal(&mut x, &mut KeyedNoise::new(1), 0, Stream::User(0)).unwrap();
    sampler.start_from(x, KIND, noise).unwrap()
}

/// Every step of every solver after the first, with one model.
fn watch<A, D, M>(what: &str, shape: &D, mut model: M)
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D, Error = Infallible>,
{
    for entry in catalogue() {
        let name = entry.name;
        for sampler in samplers(&*entry.solver) {
            let mut run = begin::<A, D>(&sampler, shape.clone());
            let (first, outcome) = allocations(|| run.advance(&mut model));
            outcome.unwrap();
            assert!(first > 0, "the first step makes the buffer of outputs");
            while !run.is_finished() {
                let step = run.step();
                let (count, outcome) = allocations(|| run.advance(&mut model));
                outcome.unwrap();
                assert_eq!(
                    count,
                    0,
                    "{what}, {name}, step {step}, {:?}",
                    sampler.clip()
                );
            }
        }
    }
}

/// All kinds of guidance.
fn watch_all<A: Real, D: Dimension>(shape: impl IntoDimension<Dim = D>) {
    let shape = shape.into_dimension();
    let weight = || GuidanceWeight::constant(1.5).unwrap();
    // The second output is wanted in the middle of the run only.
    let interval = || GuidanceWeight::interval(1.5, 0.3, 5.0).unwrap();
    let by_level = || GuidanceWeight::by_level(|level| level.sigma());
    watch::<A, D, _>("plain", &shape, Plain);
    let pair = |weight| Guided::new(Models((Plain, Plain)), ClassifierFree::new(weight));
    watch::<A, D, _>("two models", &shape, pair(weight()));
    watch::<A, D, _>("two models in an interval", &shape, pair(interval()));
    watch::<A, D, _>("two models by level", &shape, pair(by_level()));
    let batched = |weight| Guided::new(Plain, ClassifierFree::new(weight));
    watch::<A, D, _>("two outputs", &shape, batched(weight()));
    watch::<A, D, _>("two outputs in an interval", &shape, batched(interval()));
    let classified = |weight| {
        let model = WithClassifier::new(Plain, Plain);
        Guided::new(model, ClassifierGuidance::new(weight))
    };
    watch::<A, D, _>("a classifier", &shape, classified(weight()));
    watch::<A, D, _>(
        "a classifier in an interval",
        &shape,
        classified(interval()),
    );
    let both = Guided::new(
        WithClassifier::behind(Models((Plain, Plain)), 2, Plain),
        ClassifierGuidance::around(ClassifierFree::new(interval()), weight()),
    );
    watch::<A, D, _>("two models and a classifier", &shape, both);
}

#[test]
fn no_step_after_the_first_allocates_in_f32() {
    watch_all::<f32, Ix4>((3, 2, 5, 7));
}

#[test]
fn no_step_after_the_first_allocates_in_f64() {
    watch_all::<f64, Ix2>((3, 70));
}

#[test]
fn no_step_after_the_first_allocates_with_dynamic_dimensions() {
    watch_all::<f32, IxDyn>(IxDyn(&[3, 2, 5, 7]));
    watch_all::<f64, IxDyn>(IxDyn(&[3, 2, 5, 7]));
}

#[test]
fn no_step_after_the_first_allocates_on_rows_longer_than_a_block() {
    watch::<f32, Ix2, _>("long rows", &(2, 20_000).into_dimension(), Plain);
}

#[test]
fn telling_allocates_nothing() {
    for entry in catalogue() {
        let name = entry.name;
        for sampler in samplers(&*entry.solver) {
            let mut run = begin::<f32, Ix2>(&sampler, Dim([3, 70]));
            let mut output = Array::zeros((3, 70));
            loop {
                let (count, asked) = allocations(|| match run.ask() {
                    Ok(Some(question)) => {
                        output.assign(question.x);
                        Some(question.step())
                    }
                    _ => None,
                });
                assert_eq!(count, 0, "{name}");
                let Some(step) = asked else { break };
                let (count, told) = allocations(|| run.tell(&output));
                told.unwrap();
                assert_eq!(count, 0, "{name}, step {step}, {:?}", sampler.clip());
            }
            assert!(run.is_finished());
        }
    }
}

/// Every step of every solver told halves made from the state: nothing is allocated, and
/// where the outputs are not read beside the update, no copy of them is kept either.
#[cfg(feature = "half")]
fn watch_halves<H: diffusion_sampler::ModelElement<f32>>() {
    use diffusion_sampler::{guidance::ZeroStar, kernel::narrow};

    let free = ClassifierFree::with_scale(3.0).unwrap();
    let products = ZeroStar::with_scale(3.0).unwrap();
    let weights = [diffusion_sampler::guidance::Combination::affine(&[2.0, -1.0]).unwrap()];
    for entry in catalogue() {
        let dynamic = Clip::dynamic(0.9, 2.0).unwrap();
        let mut samplers = Vec::from(samplers(&*entry.solver));
        samplers.push(samplers[0].clone().with_clip(dynamic));
        for (sampler, way) in samplers
            .iter()
            .flat_map(|s| (0..4).map(move |way| (s, way)))
        {
            let thresholded = sampler.clip().is_some_and(|clip| clip.range().is_none());
            let copied = thresholded || way == 3;
            let mut run = begin::<f32, Ix2>(sampler, Dim([3, 70]));
            let mut first = true;
            let mut output = Array::from_elem((3, 70), H::default());
            let mut bounded = Array::zeros((3, 70));
            loop {
                let (count, asked) = allocations(|| match run.ask() {
                    Ok(Some(question)) => {
                        // A state may grow beyond the largest half.
                        bounded.zip_mut_with(question.x, |b: &mut f32, x| *b = x.tanh());
                        narrow(&bounded, &mut output).is_ok()
                    }
                    _ => false,
                });
                assert_eq!(count, 0, "{}", entry.name);
                if !asked {
                    break;
                }
                let two: [&ArrayRef<H, Ix2>; 2] = [&output, &output];
                let (count, told) = allocations(|| match way {
                    0 => run.tell(&output),
                    1 => run.tell_combined(&weights, &two),
                    2 => run.tell_guided(&free, &two),
                    _ => run.tell_guided(&products, &two),
                });
                told.unwrap();
                let room = first && (copied || way > 0);
                assert!(count == 0 || room, "{}, way {way}: {count}", entry.name);
                assert_eq!(run.outputs().is_some(), copied, "{}, way {way}", entry.name);
                first = false;
            }
            assert!(run.is_finished());
        }
    }
}

#[cfg(feature = "half")]
#[test]
fn telling_halves_allocates_nothing_and_copies_nothing_that_is_not_read_twice() {
    watch_halves::<half::f16>();
    watch_halves::<half::bf16>();
}

#[test]
fn telling_outputs_in_one_array_and_keeping_the_estimate_allocates_nothing() {
    let free = ClassifierFree::with_scale(3.0).unwrap();
    for entry in catalogue() {
        for sampler in samplers(&*entry.solver) {
            let run = begin::<f32, Ix2>(&sampler, Dim([3, 70]));
            let mut run = run.keeping_data().unwrap();
            let both = Array::from_elem((6, 70), 0.1f32);
            let mut first = true;
            while run.ask().unwrap().is_some() {
                let (count, told) = allocations(|| run.tell_stacked(&free, &both));
                told.unwrap();
                // The first one makes room for the stage's scalars.
                assert!(count == 0 || first, "{}: {count}", entry.name);
                first = false;
            }
        }
    }
}

#[test]
fn a_restarted_run_allocates_nothing_at_all() {
    for entry in catalogue().iter().filter(|entry| !entry.inverts) {
        let name = entry.name;
        for sampler in samplers(&*entry.solver) {
            let mut run = begin::<f32, Ix2>(&sampler, Dim([3, 70]));
            run.complete(&mut Plain).unwrap();
            let state = run.state().to_owned();
            let (count, ()) = allocations(|| {
                run.restart(KeyedNoise::new(2)).unwrap();
                run.complete(&mut Plain).unwrap();
                run.restart_from(&state, KeyedNoise::new(3)).unwrap();
                run.complete(&mut Plain).unwrap();
            });
            assert_eq!(count, 0, "{name}, {:?}", sampler.clip());
        }
    }
}

/// Three samples with noise of their own.
fn watch_samples<A: Real, S: PureNoise<A>>(what: &str, solver: &dyn Solver, of: impl Fn(u64) -> S) {
    for sampler in samplers(solver) {
        let noise = PerSample::of((0..3).map(&of));
        let mut run = begin_with::<A, Ix2, _>(&sampler, Dim([3, 70]), noise);
        run.advance(&mut Plain).unwrap();
        while !run.is_finished() {
            let (count, outcome) = allocations(|| run.advance(&mut Plain));
            outcome.unwrap();
            assert_eq!(count, 0, "{what}, {:?}", sampler.clip());
        }
    }
}

#[test]
fn no_step_after_the_first_allocates_where_each_sample_has_its_noise() {
    for entry in catalogue() {
        watch_samples::<f32, _>(entry.name, &*entry.solver, KeyedNoise::new);
        watch_samples::<f64, _>(entry.name, &*entry.solver, KeyedNoise::new);
    }
    watch_samples::<f32, _>("paths", &FirstOrder::ddpm(), BrownianPath::new);
}

#[test]
fn steps_of_samples_that_join_and_leave_allocate_nothing_after_the_first() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let level = |time| schedule.level(time).unwrap();
    let from = [level(900.0), level(500.0), level(200.0)];
    let to = [level(800.0), level(400.0), level(0.0)];
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddpm).unwrap();
    let mut machine = Machine::new(Array::<f32, Ix2>::zeros((3, 70)), 0).unwrap();
    let mut noise = PerSample::of((0..3).map(KeyedNoise::new));
    for number in 0..5 {
        let (count, outcome) = allocations(|| {
            noise.samples_mut().swap_remove(0);
            let newcomer = SampleNoise::new(KeyedNoise::new(9)).joining_at(number);
            noise.samples_mut().push(newcomer);
            step.take(&mut machine, &mut Plain, &mut noise, number)
        });
        outcome.unwrap();
        assert!(number == 0 || count == 0, "step {number}: {count}");
    }
}

#[test]
fn an_observed_run_allocates_once_for_its_estimates() {
    for entry in catalogue() {
        let name = entry.name;
        for sampler in samplers(&*entry.solver) {
            let mut run = begin::<f32, Ix2>(&sampler, Dim([3, 70]));
            run.advance(&mut Plain).unwrap();
            let (count, outcome) = allocations(|| {
                run.complete_with(&mut Plain, |_| std::ops::ControlFlow::Continue(()))
            });
            assert!(outcome.unwrap().is_continue());
            assert_eq!(count, 1, "{name}");
        }
    }
}

#[test]
fn blending_the_known_part_in_allocates_nothing() {
    for sampler in samplers(&FirstOrder::ddpm()) {
        let image = Array::<f32, _>::ones((3, 70));
        let mask = Array::from_shape_fn((1, 70), |(_, pixel)| pixel as f32 / 70.0);
        let mut fresh = Inpaint::new(image.clone(), &mask, KeyedNoise::new(0)).unwrap();
        let mut one = Inpaint::with_one_noise(image.clone(), &mask, image).unwrap();
        let mut run = begin::<f32, Ix2>(&sampler, Dim([3, 70]));
        run.advance(&mut Plain).unwrap();
        let (count, outcome) = allocations(|| {
            while !run.is_finished() {
                run.advance(&mut Plain).unwrap();
                fresh.blend(&mut run)?;
                one.blend(&mut run)?;
            }
            Ok::<(), diffusion_sampler::Error>(())
        });
        outcome.unwrap();
        assert_eq!(count, 0);
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| Box::new(3)).0, 1);
    assert_eq!(allocations(|| Vec::<u8>::with_capacity(9)).0, 1);
    assert_eq!(allocations(|| vec![0u8; 9]).0, 1);
    assert_eq!(allocations(|| 3).0, 0);
}
