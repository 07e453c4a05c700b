//! Another tensor than the one announced is an error before anything is drawn, or NaN where nothing
//! can be refused; never other noise.

use diffusion_sampler::{
    Error,
    forward::fill_normal,
    noise::{Demand, NoiseKey, NoiseSource, Stream, TorchCpu, TorchNoise},
    solver::{DpmSolverPlusPlus, FirstOrder},
};
use ndarray::Array2;

use crate::common::{KIND, model, sampler};

fn noise(shape: &[usize]) -> TorchNoise<TorchCpu> {
    TorchNoise::new(TorchCpu::new(0), shape).unwrap()
}

const fn wrong(name: &'static str, expected: usize, found: usize) -> Error {
    Error::WrongLength {
        name,
        expected,
        found,
    }
}

#[test]
fn a_run_on_another_batch_is_refused() {
    let sampler = sampler(&FirstOrder::ddpm());
    let start = |shape, source| sampler.start::<f32, _, _>(shape, KIND, source).err();
    assert_eq!(start((2, 20), noise(&[2, 4, 5])), None);
    let batch = "batch of torch's noise";
    assert_eq!(start((1, 20), noise(&[2, 20])), Some(wrong(batch, 2, 1)));
    assert_eq!(start((3, 20), noise(&[2, 20])), Some(wrong(batch, 2, 3)));
    let sample = "sample of torch's noise";
    assert_eq!(start((2, 21), noise(&[2, 20])), Some(wrong(sample, 20, 21)));
    // As many elements, but of other samples.
    assert_eq!(start((4, 10), noise(&[2, 20])), Some(wrong(batch, 2, 4)));
    let each = || TorchNoise::per_sample([0, 1].map(TorchCpu::new), &[2, 20]).unwrap();
    assert_eq!(start((2, 20), each()), None);
    assert_eq!(start((1, 20), each()), Some(wrong(batch, 2, 1)));
    assert_eq!(start((3, 20), each()), Some(wrong(batch, 2, 3)));
    assert_eq!(start((2, 19), each()), Some(wrong(sample, 20, 19)));
}

/// A restarted run, a run from a state, a call outside a run.
#[test]
fn every_entry_refuses_another_batch() {
    let sampler = sampler(&DpmSolverPlusPlus::sde());
    let refused = wrong("batch of torch's noise", 3, 2);
    let mut run = sampler
        .start::<f32, _, _>((2, 4), KIND, noise(&[2, 4]))
        .unwrap();
    assert_eq!(run.restart(noise(&[3, 4])), Err(refused.clone()));
    run.complete(&mut model(4))
        .map_err(|_| "the run failed")
        .unwrap();
    let x = Array2::<f32>::zeros((2, 4));
    let run = sampler.start_from(x.clone(), KIND, noise(&[3, 4]));
    assert_eq!(run.err(), Some(refused.clone()));
    let mut x = x;
    let filled = fill_normal(&mut x, &mut noise(&[3, 4]), 0, Stream::User(0));
    assert_eq!(filled, Err(refused.clone()));
    let mut flat = [0.0f32; 8];
    let key = NoiseKey::new(0, 0, Stream::Start);
    assert_eq!(noise(&[3, 4]).fill_batch(key, 2, &mut flat), Err(refused));
    assert_eq!(flat, [0.0; 8]);
}

#[test]
fn a_part_of_a_batch_has_no_tensor_of_a_shared_generator() {
    let check = |source: &TorchNoise<TorchCpu>, demand| NoiseSource::<f32>::check(source, &demand);
    let row = |row| Demand::row(row, 4, 0..1, Stream::Step(0));
    let refused = Err(wrong("batch of torch's noise", 3, 1));
    assert_eq!(check(&noise(&[3, 4]), row(0)), refused);
    let generators = [0, 1, 2].map(TorchCpu::new);
    let each = TorchNoise::per_sample(generators, &[3, 4]).unwrap();
    assert_eq!(check(&each, row(2)), Ok(()));
    assert_eq!(
        check(&each, row(3)),
        Err(wrong("batch of torch's noise", 3, 4))
    );
    // A shard that begins elsewhere.
    let mut shard = [0.0f32; 12];
    let key = NoiseKey::new(3, 0, Stream::Start);
    let refused = Err(Error::InvalidParameter {
        name: "first row of torch's noise",
        value: 3.0,
        requirement: "0, where the tensor begins",
    });
    assert_eq!(noise(&[3, 4]).fill_batch(key, 3, &mut shard), refused);
}

#[test]
fn shapes_and_lists_that_fit_nothing_are_refused() {
    let of = |shape: &[usize]| TorchNoise::new(TorchCpu::new(0), shape).err();
    assert_eq!(of(&[]), Some(Error::NoSampleAxis));
    let shape = vec![2, usize::MAX, 3];
    assert_eq!(
        of(&shape),
        Some(Error::TooLarge {
            shape: shape.clone()
        })
    );
    assert_eq!(of(&[0, 4]), None);
    let list = |count| TorchNoise::per_sample((0..count).map(TorchCpu::new), &[2, 4]).err();
    assert_eq!(list(2), None);
    for count in [0, 1, 3] {
        let found = count as usize;
        assert_eq!(list(count), Some(wrong("list of generators", 2, found)));
    }
}

#[test]
fn an_empty_batch_needs_no_tensor() {
    let sampler = sampler(&FirstOrder::ddpm());
    for shape in [(0, 4), (3, 0)] {
        let mut source = noise(&[shape.0, shape.1]);
        let mut run = sampler
            .start::<f32, _, _>(shape, KIND, &mut source)
            .unwrap();
        while run.ask().unwrap().is_some() {
            run.tell(&Array2::<f32>::zeros(shape)).unwrap();
        }
        drop(run);
        assert_eq!(source.generators().next(), Some(&TorchCpu::new(0)));
    }
}

/// Going back, another type, beyond the row or the batch.
#[test]
fn pieces_that_a_tensor_does_not_have_are_nan_and_draw_nothing() {
    let key = |row| NoiseKey::new(row, 0, Stream::Step(0));
    let mut source = noise(&[2, 20]);
    let mut piece = [0.0f32; 10];
    source.fill(key(0), 0, &mut piece);
    assert!(piece.iter().all(|z| z.is_finite()));
    let half = source.clone();
    let places = [(0, 1), (0, 9), (1, 11), (2, 0), (u64::MAX, u64::MAX)];
    for (row, first) in places {
        piece.fill(0.0);
        source.fill(key(row), first, &mut piece);
        assert!(piece.iter().all(|z| z.is_nan()), "{row} {first}");
        assert_eq!(source, half);
    }
    for row in [0, 1] {
        let mut double = [0.0f64; 10];
        source.fill(key(row), 0, &mut double);
        assert!(double.iter().all(|z| z.is_nan()));
        assert_eq!(source, half);
    }
    let mut rest = [0.0f32; 10];
    source.fill(key(0), 10, &mut rest);
    let mut second = [0.0f32; 20];
    source.fill(key(1), 0, &mut second);
    let mut whole = [0.0f32; 40];
    TorchCpu::new(0).randn(&mut whole);
    assert_eq!((&whole[10..20], &whole[20..]), (&rest[..], &second[..]));
}
