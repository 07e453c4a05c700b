//! What a tensor is made of: the laws of torch's two ways, without torch's numbers.

use diffusion_sampler::{
    forward::diffuse,
    noise::{
        NoiseKey, NoiseSource, NormalElement, Stream, TorchCpu, TorchCuda, TorchGenerator,
        TorchNoise,
    },
    schedule::{NoiseSchedule, RectifiedFlow},
};
use ndarray::Array2;
use proptest::prelude::*;

use crate::common::randn;

/// A batch of `samples` rows of `elements`, asked for in pieces of these lengths in turn.
fn in_pieces<A, G>(
    noise: &mut TorchNoise<G>,
    (samples, elements): (u64, usize),
    pieces: &[usize],
) -> Vec<A>
where
    A: NormalElement + Default,
    G: TorchGenerator<A>,
{
    let mut batch = Vec::new();
    let mut pieces = pieces.iter().cycle();
    for row in 0..samples {
        let mut first = 0;
        while first < elements {
            let length = (*pieces.next().unwrap()).min(elements - first);
            let mut piece = vec![A::default(); length];
            let key = NoiseKey::new(row, 0, Stream::User(0));
            noise.fill(key, first as u64, &mut piece);
            batch.extend(piece);
            first += length;
        }
    }
    batch
}

proptest! {
    #[test]
    fn pieces_of_any_length_give_the_tensor_of_one_call(
        seed: u64,
        samples in 1u64..4,
        elements in 1usize..70,
        pieces in prop::collection::vec(1usize..40, 1..6),
    ) {
        let (shape, length) = ([samples as usize, elements], samples as usize * elements);
        let mut noise = TorchNoise::new(TorchCpu::new(seed), &shape).unwrap();
        let mut whole = TorchCpu::new(seed);
        // Twice, and in both types: what is left of one tensor is not the next one's.
        for _ in 0..2 {
            let batch: Vec<f32> = in_pieces(&mut noise, (samples, elements), &pieces);
            prop_assert_eq!(batch, randn::<f32>(&mut whole, length));
            let batch: Vec<f64> = in_pieces(&mut noise, (samples, elements), &pieces);
            prop_assert_eq!(batch, randn::<f64>(&mut whole, length));
        }
        prop_assert_eq!(noise.generators().next(), Some(&whole));
    }

    #[test]
    fn each_sample_of_a_list_is_a_tensor_of_its_own(
        seeds in prop::collection::vec(any::<u64>(), 1..4),
        elements in 1usize..70,
        pieces in prop::collection::vec(1usize..40, 1..6),
    ) {
        let mut own: Vec<TorchCpu> = seeds.iter().map(|&seed| TorchCpu::new(seed)).collect();
        let shape = [seeds.len(), elements];
        let mut noise = TorchNoise::per_sample(own.clone(), &shape).unwrap();
        for _ in 0..3 {
            let samples = seeds.len() as u64;
            let batch: Vec<f32> = in_pieces(&mut noise, (samples, elements), &pieces);
            let expected = own.iter_mut().flat_map(|own| randn::<f32>(own, elements));
            prop_assert_eq!(batch, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn pieces_on_a_card_give_the_tensor_of_one_call(
        seed: u64,
        samples in 1u64..4,
        elements in 1usize..70,
        pieces in prop::collection::vec(1usize..40, 1..6),
    ) {
        let (shape, length) = ([samples as usize, elements], samples as usize * elements);
        let mut noise = TorchNoise::new(TorchCuda::new(seed), &shape).unwrap();
        let mut whole = TorchCuda::new(seed);
        for _ in 0..2 {
            let mut expected = vec![0.0f32; length];
            whole.randn(&mut expected);
            prop_assert_eq!(in_pieces::<f32, _>(&mut noise, (samples, elements), &pieces), expected);
        }
    }
}

/// Every sample has its row of the tensor, whichever of the others have noise.
#[test]
fn samples_without_noise_leave_the_others_theirs() {
    let schedule = RectifiedFlow::new();
    let [clean, noisy] = [0.0, 0.5].map(|time| schedule.level(time).unwrap());
    for (samples, elements) in [(3, 4), (4, 33), (3, 2000)] {
        for left_out in 0..1 << samples {
            let is_clean = |row: usize| left_out >> row & 1 == 1;
            let levels = (0..samples).map(|row| if is_clean(row) { clean } else { noisy });
            let levels: Vec<_> = levels.collect();
            let shape = [samples, elements];
            let mut noise = TorchNoise::new(TorchCpu::new(3), &shape).unwrap();
            let mut generator = TorchCpu::new(3);
            // The last call has noise everywhere: it begins where torch's third does.
            for (step, levels) in (0..).zip([&levels[..], &levels[..], &[noisy]]) {
                let drawn = levels.iter().any(|level| level.sigma() != 0.0);
                let mut x = Array2::<f32>::zeros(shape);
                diffuse(&mut x, levels, &mut noise, step).unwrap();
                if !drawn {
                    assert!(x.iter().all(|x| *x == 0.0));
                    continue;
                }
                let tensor = randn::<f32>(&mut generator, samples * elements);
                let tensor = Array2::from_shape_vec(shape, tensor).unwrap();
                for (row, (x, z)) in x.rows().into_iter().zip(tensor.rows()).enumerate() {
                    let sigma = if levels.len() > 1 && is_clean(row) {
                        0.0
                    } else {
                        0.5
                    };
                    assert_eq!(x, z.map(|z| sigma * z), "{levels:?} {row}");
                }
            }
        }
    }
}

/// What the first call has left out of its tensor is dropped, although the second has the same key.
#[test]
fn two_calls_of_one_step_draw_two_tensors() {
    let schedule = RectifiedFlow::new();
    let [clean, noisy] = [0.0, 0.5].map(|time| schedule.level(time).unwrap());
    let mut noise = TorchNoise::new(TorchCpu::new(3), &[2, 20]).unwrap();
    let mut generator = TorchCpu::new(3);
    for _ in 0..3 {
        let mut x = Array2::<f32>::zeros((2, 20));
        diffuse(&mut x, &[noisy, clean], &mut noise, 0).unwrap();
        let tensor = randn::<f32>(&mut generator, 40);
        assert!(x.iter().zip(&tensor[..20]).all(|(x, z)| *x == 0.5 * z));
    }
}

#[test]
fn a_piece_without_elements_draws_nothing() {
    let mut noise = TorchNoise::new(TorchCpu::new(3), &[2, 20]).unwrap();
    let key = NoiseKey::new(0, 0, Stream::User(0));
    noise.fill(key, 0, &mut [] as &mut [f32]);
    let mut batch = [0.0f32; 40];
    noise.fill_batch(key, 2, &mut batch).unwrap();
    let mut generator = TorchCpu::new(3);
    assert_eq!(batch[..], randn::<f32>(&mut generator, 40));
    // Behind a row's end, and behind the tensor's: not the beginning of another.
    for (row, first) in [(0, 20), (1, 20), (1, 7)] {
        let key = NoiseKey::new(row, 0, Stream::User(0));
        noise.fill(key, first, &mut [] as &mut [f32]);
    }
    let next = NoiseKey::new(0, 1, Stream::User(0));
    noise.fill_batch(next, 2, &mut batch).unwrap();
    assert_eq!(batch[..], randn::<f32>(&mut generator, 40));
}

/// Where 16 does not divide the length, all but the last 16 elements are those of the longer tensor
/// of whole blocks.
#[test]
fn a_tensor_of_another_length_differs_in_its_last_sixteen_elements_only() {
    let whole = randn::<f32>(&mut TorchCpu::new(9), 64);
    for length in 49..64 {
        let tensor = randn::<f32>(&mut TorchCpu::new(9), length);
        let (same, last) = tensor.split_at(length - 16);
        assert_eq!(same, &whole[..length - 16]);
        assert!(last.iter().zip(&whole[length - 16..]).all(|(a, b)| a != b));
    }
}

#[test]
fn short_tensors_keep_the_sine_across_long_ones() {
    let together = randn::<f64>(&mut TorchCpu::new(4), 2);
    let mut generator = TorchCpu::new(4);
    let cosine = randn::<f64>(&mut generator, 1);
    let _: Vec<f32> = randn(&mut generator, 40);
    let sine = randn::<f32>(&mut generator, 1);
    assert_eq!(cosine, together[..1]);
    assert_eq!(sine, [together[1] as f32]);
}

#[test]
fn an_empty_tensor_draws_nothing() {
    let (mut generator, mut card) = (TorchCpu::new(4), TorchCuda::new(4));
    assert!(randn::<f32>(&mut generator, 0).is_empty());
    card.randn(&mut []);
    assert_eq!((generator, card), (TorchCpu::new(4), TorchCuda::new(4)));
}

#[test]
fn normals_of_both_types_have_mean_zero_and_variance_one() {
    const N: usize = 1 << 20;
    let single = randn::<f32>(&mut TorchCpu::new(1), N);
    let double = randn::<f64>(&mut TorchCpu::new(2), N / 4);
    for values in [single.into_iter().map(f64::from).collect(), double] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|z| z * z).sum::<f64>() / n;
        // Four deviations of either.
        assert!(mean.abs() < 4.0 / n.sqrt(), "{mean}");
        assert!((square - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{square}");
    }
}
