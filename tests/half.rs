//! Half outputs and the half copy of the state: conversions against the crate `half`, runs against
//! the same runs told the outputs widened.

// clippy.toml's permission does not reach helpers.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, ModelElement, NoiseLevel, Prediction, Sampler, Trajectory,
    forward::fill_normal,
    guidance::{
        ClassifierFree, Combination, Guidance, Projected, Rescaled, Tangential, WeightedSum,
        ZeroStar,
    },
    kernel::{SimdLevel, force_simd_level, narrow, simd_level, widen},
    noise::Stream,
    plan::{Stage, Step, Update},
    posterior::Kappa,
    run::{DdimStep, Instruction, Machine},
    schedule::{NoiseSchedule, TableSchedule},
    solver::{FirstOrder, Solver, catalogue},
};
use half::{bf16, f16};
use ndarray::{Array, Array1, Array2, Array3, ArrayRef, Axis, Ix3, Slice, s};
use proptest::prelude::*;

/// A type of halves with the crate `half`'s own conversions, the oracle of ours.
trait Half: ModelElement<f32> {
    fn of_bits(bits: u16) -> Self;
    fn bits(self) -> u16;
    fn theirs(self) -> f32;
    fn rounded(value: f32) -> Self;
}

impl Half for f16 {
    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }

    fn bits(self) -> u16 {
        self.to_bits()
    }

    fn theirs(self) -> f32 {
        self.to_f32()
    }

    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Half for bf16 {
    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }

    fn bits(self) -> u16 {
        self.to_bits()
    }

    fn theirs(self) -> f32 {
        self.to_f32()
    }

    fn rounded(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// One test at a time forces the level.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at_each_level(mut body: impl FnMut()) {
    let _guard = alone();
    for level in [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512] {
        force_simd_level(Some(level));
        if simd_level() == level {
            body();
        }
    }
    force_simd_level(None);
}

fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
}

fn every_half_is_widened_exactly<H: Half>() {
    let halves = Array1::from_shape_fn(1 << 16, |bits| H::of_bits(bits as u16));
    for &half in &halves {
        assert!(same(half.widened(), half.theirs()), "{half:?}");
    }
    at_each_level(|| {
        let mut wide = Array1::zeros(1 << 16);
        widen(&halves, &mut wide).unwrap();
        for (half, wide) in halves.iter().zip(&wide) {
            assert!(same(*wide, half.theirs()), "{half:?}: {wide}");
        }
    });
}

#[test]
fn every_half_of_the_65536_is_widened_exactly_at_every_level() {
    every_half_is_widened_exactly::<f16>();
    every_half_is_widened_exactly::<bf16>();
}

fn is_rounded<H: Half>(values: &Array1<f32>) {
    let check = |value: f32, found: H| {
        let expected = H::rounded(value);
        let nan = value.is_nan() && found.theirs().is_nan() && expected.theirs().is_nan();
        let equal = found.bits() == expected.bits();
        assert!(equal || nan, "{value:e}: {found:?} for {expected:?}");
    };
    for &value in values {
        check(value, H::narrowed(value));
    }
    at_each_level(|| {
        let mut halves = Array1::from_elem(values.len(), H::default());
        narrow(values, &mut halves).unwrap();
        for (&value, &half) in values.iter().zip(&halves) {
            check(value, half);
        }
    });
}

/// Every half, every midpoint between two of them, and what lies beside either: all exponents, ties,
/// subnormals, the threshold of infinity, NaN.
fn ties<H: Half>() -> Array1<f32> {
    let mut values = Vec::new();
    for bits in 0..=u16::MAX {
        let half = H::of_bits(bits).theirs();
        let next = H::of_bits(bits.wrapping_add(1)).theirs();
        // Exact: both have far fewer bits than f64.
        let mut middle = ((f64::from(half) + f64::from(next)) / 2.0) as f32;
        if next.is_infinite() && half.is_finite() {
            // Where the next value would be, were there one: beyond the midpoint is infinity.
            let before = H::of_bits(bits - 1).theirs();
            middle = (f64::from(half) + (f64::from(half) - f64::from(before)) / 2.0) as f32;
        }
        for value in [half, middle] {
            values.extend([value, value.next_up(), value.next_down()]);
        }
    }
    values.into()
}

#[test]
fn every_tie_and_its_neighbours_are_rounded_to_nearest_even() {
    is_rounded::<f16>(&ties::<f16>());
    is_rounded::<bf16>(&ties::<bf16>());
}

#[test]
fn values_of_every_exponent_are_rounded_to_nearest_even() {
    let values: Array1<f32> = (0..=u32::MAX).step_by(4099).map(f32::from_bits).collect();
    is_rounded::<f16>(&values);
    is_rounded::<bf16>(&values);
}

#[test]
fn rounding_to_nearest_is_to_nearest() {
    // By the definition, not by another implementation.
    fn nearest<H: Half>(largest: f64) {
        for bits in (0..0x7F80_0000u32).step_by(7919) {
            let value = f64::from(f32::from_bits(bits));
            let found = H::narrowed(f32::from_bits(bits));
            let near = |bits: u16| (f64::from(H::of_bits(bits).theirs()) - value).abs();
            if value <= largest {
                let error = near(found.bits());
                assert!(found.bits() == 0 || near(found.bits() - 1) >= error);
                assert!(error <= near(found.bits() + 1));
            }
        }
    }
    nearest::<f16>(65504.0);
    nearest::<bf16>(f64::from(bf16::MAX.to_f32()));
    let ties = [
        (1.0 + 1.0 / 2048.0, 1.0),
        (1.0 + 3.0 / 2048.0, 1.0 + 4.0 / 2048.0),
    ];
    for (value, even) in ties {
        assert_eq!(<f16 as ModelElement<f32>>::narrowed(value).theirs(), even);
    }
    assert_eq!(<f16 as ModelElement<f32>>::narrowed(65519.996), f16::MAX);
    assert_eq!(<f16 as ModelElement<f32>>::narrowed(65520.0), f16::INFINITY);
    assert!(<f16 as ModelElement<f32>>::narrowed(f32::NAN).is_nan());
    assert!(<bf16 as ModelElement<f32>>::narrowed(f32::NAN).is_nan());
}

proptest! {
    #[test]
    fn any_bits_are_rounded_and_what_is_widened_comes_back(
        bits in prop::collection::vec(any::<u32>(), 0..200),
    ) {
        let values: Array1<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        is_rounded::<f16>(&values);
        is_rounded::<bf16>(&values);
        for bits in bits {
            let half = <f16 as Half>::of_bits(bits as u16);
            let back: f16 = ModelElement::narrowed(half.widened());
            prop_assert!(back.bits() == half.bits() || half.is_nan() && back.is_nan());
            let half = <bf16 as Half>::of_bits(bits as u16);
            let back: bf16 = ModelElement::narrowed(half.widened());
            prop_assert!(back.bits() == half.bits() || half.is_nan() && back.is_nan());
        }
    }
}

#[test]
fn copies_of_every_layout_hold_the_same_values_and_shapes_are_checked() {
    let values = Array3::from_shape_fn((3, 5, 40), |(i, j, k)| (i * 200 + j * 40 + k) as f32);
    let expected = values.mapv(f16::from_f32);
    let mut turned = Array3::<f16>::default((40, 5, 3)).reversed_axes();
    narrow(&values, &mut turned).unwrap();
    assert_eq!(turned, expected);
    let mut also_turned = Array3::<f32>::zeros((40, 5, 3)).reversed_axes();
    widen(&turned, &mut also_turned).unwrap();
    assert_eq!(also_turned, values);
    let backwards = values.slice(s![.., ..;-1, ..;-1]);
    let mut straight = Array3::<f16>::default((3, 5, 40));
    narrow(&backwards, &mut straight).unwrap();
    assert_eq!(straight, expected.slice(s![.., ..;-1, ..;-1]));

    let mut short = Array3::<f16>::from_elem((3, 5, 39), f16::ONE);
    let refused = Error::ShapeMismatch {
        name: "output",
        expected: vec![3, 5, 40],
        found: vec![3, 5, 39],
    };
    assert_eq!(narrow(&values, &mut short), Err(refused));
    assert!(short.iter().all(|&v| v == f16::ONE));
    assert!(widen(&short, &mut Array3::<f32>::zeros((3, 5, 40))).is_err());
}

const SHAPE: (usize, usize, usize) = (3, 5, 31);
const KIND: Prediction = Prediction::Velocity;

type Run = Trajectory<f32, Ix3>;

/// Plain, clipped both ways, and thresholded.
fn samplers(solver: &dyn Solver) -> Vec<Sampler> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let sampler = Sampler::new(&schedule, &grid, solver).unwrap();
    let clip = Clip::new(-1.0, 1.0).unwrap();
    let dynamic = Clip::dynamic(0.9, 3.0).unwrap();
    let mut all = vec![sampler.clone()];
    for clip in [clip, clip.keeping_noise(), dynamic, dynamic.keeping_noise()] {
        all.push(sampler.clone().with_clip(clip));
    }
    all
}

fn begin(sampler: &Sampler) -> Run {
    let mut x = Array::zeros(SHAPE);
    fill_normal(&mut x, &mut KeyedNoise::new(1), 0, Stream::User(0)).unwrap();
    sampler.start_from(x, KIND, KeyedNoise::new(1)).unwrap()
}

/// What the model says of x, as an embedder has it: from a half copy of the state.
fn answers<H: Half>(x: &ArrayRef<f32, Ix3>, level: f64, count: usize) -> Vec<Array3<H>> {
    let mut input = Array3::<H>::default(x.raw_dim());
    narrow(x, &mut input).unwrap();
    (0..count)
        .map(|j| {
            input.mapv(|v| {
                H::narrowed((v.theirs() * (1.0 + j as f32)).sin() * level as f32 + 0.1 * j as f32)
            })
        })
        .collect()
}

fn widened<H: Half>(halves: &[Array3<H>]) -> Vec<Array3<f32>> {
    halves
        .iter()
        .map(|half| half.mapv(|v| v.theirs()))
        .collect()
}

fn views<T>(arrays: &[Array3<T>]) -> Vec<&ArrayRef<T, Ix3>> {
    arrays.iter().map(|array| &**array).collect()
}

fn assert_same(half: &Run, wide: &Run, what: &dyn Debug) {
    let bits =
        |array: &ArrayRef<f32, Ix3>| -> Vec<u32> { array.iter().map(|v| v.to_bits()).collect() };
    assert_eq!(bits(half.state()), bits(wide.state()), "{what:?}");
    for (half, wide) in half.history().iter().zip(wide.history()) {
        assert_eq!(bits(half), bits(wide), "{what:?}");
    }
}

/// One way of telling outputs of a type.
type Tell<'t, T> = dyn Fn(&mut Run, &[&ArrayRef<T, Ix3>]) -> Result<(), Error> + 't;

/// Takes a whole run twice, by `tell` for each of the two kinds of outputs, and compares.
fn compare<H: Half>(
    sampler: &Sampler,
    count: usize,
    what: &dyn Debug,
    half_tell: &Tell<H>,
    wide_tell: &Tell<f32>,
) {
    let (mut half, mut wide) = (begin(sampler), begin(sampler));
    while let Some(question) = half.ask().unwrap() {
        let outputs = answers::<H>(question.x, question.level().sigma(), count);
        assert!(wide.ask().unwrap().is_some());
        assert_eq!(half_tell(&mut half, &views(&outputs)), Ok(()), "{what:?}");
        let outputs = widened(&outputs);
        assert_eq!(wide_tell(&mut wide, &views(&outputs)), Ok(()), "{what:?}");
        assert_same(&half, &wide, what);
    }
    assert!(half.is_finished());
    assert_same(&half, &wide, what);
}

fn plain_runs<H: Half>() {
    for entry in catalogue() {
        for sampler in samplers(&*entry.solver) {
            let what = (entry.name, sampler.clip());
            compare::<H>(
                &sampler,
                1,
                &what,
                &|run, outputs| run.tell(outputs[0]),
                &|run, outputs| run.tell(outputs[0]),
            );
        }
    }
}

#[test]
fn every_solver_and_clip_told_halves_has_the_bits_of_the_widened_outputs() {
    at_each_level(|| {
        plain_runs::<f16>();
        plain_runs::<bf16>();
    });
}

fn guided_runs<H: Half>() {
    let free = || ClassifierFree::with_scale(3.0).unwrap();
    let forms: Vec<(usize, Box<dyn Guidance>)> = vec![
        (2, Box::new(free())),
        (2, Box::new(Rescaled::new(free(), 0.7).unwrap())),
        (2, Box::new(ZeroStar::with_scale(3.0).unwrap())),
        (2, Box::new(Tangential::with_scale(3.0).unwrap())),
        (2, Box::new(Projected::new(2.0).unwrap())),
        (
            2,
            Box::new(Projected::new(2.0).unwrap().with_momentum(-0.5).unwrap()),
        ),
        (
            4,
            Box::new(WeightedSum::new(&[2.0, -0.5, -1.0, 0.5]).unwrap()),
        ),
    ];
    for entry in catalogue() {
        for sampler in samplers(&*entry.solver) {
            for (count, guidance) in &forms {
                let what = (entry.name, sampler.clip(), guidance.name());
                compare::<H>(
                    &sampler,
                    *count,
                    &what,
                    &|run, outputs| run.tell_guided(guidance, outputs),
                    &|run, outputs| run.tell_guided(guidance, outputs),
                );
            }
        }
    }
}

#[test]
fn every_form_of_guidance_told_halves_has_the_bits_of_the_widened_outputs() {
    guided_runs::<f16>();
    guided_runs::<bf16>();
}

#[test]
fn the_estimate_kept_of_halves_has_the_bits_of_the_widened_outputs() {
    let guidance = ClassifierFree::with_scale(3.0).unwrap();
    for sampler in samplers(&FirstOrder::ddim()) {
        let keeping = || begin(&sampler).keeping_data().unwrap();
        let (mut half, mut wide) = (keeping(), keeping());
        while let Some(question) = half.ask().unwrap() {
            let outputs = answers::<bf16>(question.x, question.level().sigma(), 2);
            let widened = widened(&outputs);
            half.tell_guided(&guidance, &views(&outputs)).unwrap();
            wide.tell_guided(&guidance, &views(&widened)).unwrap();
            assert!(half.data().unwrap().iter().any(|x| *x != 0.0));
            assert_eq!(half.data(), wide.data());
            assert_same(&half, &wide, &sampler.clip());
        }
    }
}

#[test]
fn combinations_for_each_sample_told_halves_have_the_bits_of_the_widened_outputs() {
    let weights = [[2.0, -1.0], [0.5, 0.5], [-3.0, 4.0]];
    let each = weights.map(|w| Combination::affine(&w).unwrap());
    for entry in catalogue() {
        for sampler in samplers(&*entry.solver) {
            compare::<bf16>(
                &sampler,
                2,
                &entry.name,
                &|run, outputs| run.tell_combined(&each, outputs),
                &|run, outputs| run.tell_combined(&each, outputs),
            );
        }
    }
}

/// The same values in other layouts.
fn layouts<T: Copy + Default>(array: &Array3<T>) -> Vec<Array3<T>> {
    let mut turned = Array3::<T>::default((31, 5, 3)).reversed_axes();
    turned.assign(array);
    let mut backwards = array.clone();
    backwards.invert_axis(Axis(1));
    backwards.assign(array);
    let mut apart = Array3::<T>::default((3, 5, 62));
    apart.slice_axis_inplace(Axis(2), Slice::from(..).step_by(2));
    apart.assign(array);
    vec![turned, backwards, apart]
}

#[test]
fn halves_in_every_layout_have_the_bits_of_the_widened_outputs() {
    for entry in catalogue() {
        for sampler in samplers(&*entry.solver) {
            for layout in 0..3 {
                compare::<f16>(
                    &sampler,
                    1,
                    &(entry.name, layout),
                    &|run, outputs| run.tell(&layouts(&outputs[0].to_owned())[layout]),
                    &|run, outputs| run.tell(outputs[0]),
                );
                let guidance = ClassifierFree::with_scale(2.0).unwrap();
                compare::<bf16>(
                    &sampler,
                    2,
                    &(entry.name, layout),
                    &|run, outputs| {
                        let other = &layouts(&outputs[1].to_owned())[layout];
                        run.tell_guided(&guidance, &[outputs[0], other])
                    },
                    &|run, outputs| run.tell_guided(&guidance, outputs),
                );
            }
        }
    }
}

#[test]
fn single_steps_with_a_level_for_each_sample_take_halves() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let at = |times: [f64; 3]| times.map(|t| schedule.level(t).unwrap());
    let (from, to) = (at([900.0, 500.0, 100.0]), at([700.0, 100.0, 50.0]));
    for kappa in [Kappa::Ddim, Kappa::Ddpm] {
        let step = DdimStep::per_sample(&from, &to, kappa).unwrap();
        let x = begin(&samplers(&FirstOrder::ddim())[0]).into_state();
        let output = answers::<bf16>(&x, 0.5, 1).remove(0);
        let mut half = Machine::new(x.clone(), 0).unwrap();
        let mut wide = Machine::new(x, 0).unwrap();
        let noise = KeyedNoise::new(3);
        step.tell(&mut half, KIND, &output, &mut noise.clone(), 2)
            .unwrap();
        let output = output.mapv(|v| v.to_f32());
        step.tell(&mut wide, KIND, &output, &mut noise.clone(), 2)
            .unwrap();
        assert_eq!(half.state(), wide.state());
    }
}

fn bad_halves_are_reported<H: Half>() {
    for sampler in samplers(&FirstOrder::ddpm()) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for turned in [false, true] {
                let mut run = begin(&sampler);
                let x = run.ask().unwrap().unwrap().x.to_owned();
                let mut output = answers::<H>(&x, 0.5, 1).remove(0);
                output[[1, 2, 3]] = H::narrowed(bad);
                if turned {
                    output = layouts(&output).remove(0);
                }
                let found = run.tell(&output).unwrap_err();
                let place = (1, 2 * 31 + 3);
                assert!(
                    matches!(found, Error::NonFinite { step: 0, sample, element, array: "model output", value }
                        if (sample, element) == place && same(value as f32, bad)),
                    "{:?}: {found:?}",
                    sampler.clip()
                );
                assert_eq!(run.step(), 0);
            }
        }
    }
}

#[test]
fn a_half_that_is_not_finite_is_reported_with_its_place() {
    bad_halves_are_reported::<f16>();
    bad_halves_are_reported::<bf16>();
}

#[test]
fn halves_of_another_shape_are_refused_and_nothing_moves() {
    for sampler in samplers(&FirstOrder::ddim()) {
        let mut run = begin(&sampler);
        let before = run.state().to_owned();
        for shape in [(3, 5, 30), (2, 5, 31), (0, 5, 31), (31, 5, 3)] {
            let output = Array3::<f16>::default(shape);
            let refused = Error::ShapeMismatch {
                name: "model output",
                expected: vec![3, 5, 31],
                found: vec![shape.0, shape.1, shape.2],
            };
            assert_eq!(run.tell(&output), Err(refused.clone()));
            let one = Combination::single();
            assert_eq!(run.tell_combined(&[one], &[&output]), Err(refused));
        }
        let output = Array3::<f16>::default(SHAPE);
        let guidance = ZeroStar::with_scale(2.0).unwrap();
        assert!(run.tell_guided(&guidance, &[&output]).is_err());
        assert!(run.tell_guided(&guidance, &[&*output; 9]).is_err());
        let none: [&ArrayRef<f16, Ix3>; 0] = [];
        assert!(run.tell_guided(&guidance, &none).is_err());
        assert_eq!((run.step(), run.state()), (0, &*before));
    }
}

#[test]
fn empty_states_take_their_steps_and_finished_runs_say_so() {
    let sampler = &samplers(&FirstOrder::ddim())[0];
    let x = Array2::<f32>::zeros((0, 4));
    let mut run = sampler.start_from(x, KIND, KeyedNoise::new(1)).unwrap();
    while run.ask().unwrap().is_some() {
        run.tell(&Array2::<bf16>::default((0, 4))).unwrap();
    }
    let after = run.tell(&Array2::<bf16>::default((0, 4)));
    assert_eq!(after, Err(Error::RunFinished { steps: 5 }));
}

/// The same after an update that needs no model, whatever it is told, under every clip.
#[test]
fn an_update_without_a_model_reads_no_halves() {
    let level = |time| NoiseLevel::new(time, 1.0, time).unwrap();
    let update = Update {
        state: 0.5,
        ..Update::default()
    };
    let step = Step {
        from: level(2.0),
        to: level(1.0),
        stages: vec![Stage {
            evaluate: None,
            update,
        }],
    };
    let x = Array2::from_elem((2, 3), 4.0f32);
    let output = x.mapv(f16::from_f32);
    let fixed = Clip::new(-1.0, 1.0).unwrap();
    for clip in [None, Some(fixed), Some(Clip::dynamic(0.9, 2.0).unwrap())] {
        let instruction = Instruction::new(&step, 0, 0).unwrap().with_clip(clip);
        let mut machine = Machine::new(x.clone(), 0).unwrap();
        let noise = &mut KeyedNoise::new(0);
        machine.tell(&instruction, KIND, &output, noise).unwrap();
        assert_eq!(machine.state(), &Array2::from_elem((2, 3), 2.0));
        let single = [Combination::single()];
        machine
            .tell_combined(&instruction, KIND, &single, &[&*output], noise)
            .unwrap();
        assert_eq!(machine.state(), &Array2::from_elem((2, 3), 1.0));
    }
}

#[cfg(feature = "rayon")]
#[test]
fn threads_change_no_bit_of_a_run_told_halves() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 2).unwrap();
    for solver in [FirstOrder::ddim(), FirstOrder::ddpm()] {
        let sampler = Sampler::new(&schedule, &grid, &solver).unwrap();
        let x = Array2::from_shape_fn((3, 400_003), |(i, j)| ((i * 7 + j) % 101) as f32 / 50.0);
        let output = x.mapv(bf16::from_f32);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                let mut run = sampler
                    .start_from(x.clone(), KIND, KeyedNoise::new(1))
                    .unwrap();
                while run.ask().unwrap().is_some() {
                    run.tell(&output).unwrap();
                }
                run.into_state()
            })
        };
        assert_eq!(on(1), on(3));
    }
}
