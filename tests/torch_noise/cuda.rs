//! The published formula of the generator on a card.

use diffusion_sampler::noise::TorchCuda;

fn tensor(generator: &mut TorchCuda, length: usize) -> Vec<f32> {
    let mut tensor = vec![0.0; length];
    generator.randn(&mut tensor);
    tensor
}

/// The numbers that the head of stable-diffusion-webui's `modules/rng_philox.py` prints for seed 0
/// (AUTOMATIC1111 and contributors, 2023), to 8 decimals. An angle there is v·2π/2³², where the
/// code below that text, and cuRAND, round 2π/2³² to f32: by 2.8e-8 of the angle.
#[test]
fn the_first_tensor_of_seed_0_is_the_published_one() {
    let published = [
        -0.924_662_59,
        -0.425_344_15,
        -2.643_845_7,
        0.145_183_88,
        -0.120_866_47,
        -0.579_725_64,
        -0.622_851_22,
        -0.328_387_09,
        -1.074_542_31,
        -0.363_144_07,
        -1.671_050_67,
        2.265_504_97,
    ];
    let found = tensor(&mut TorchCuda::new(0), 12);
    for (found, published) in found.into_iter().zip(published) {
        let error: f64 = f64::from(found) - published;
        // |dz| ≤ r·2π·2.8e-8 with radii to 3, and the f32's own rounding.
        assert!(error.abs() < 6e-7, "{found} {published}");
    }
}

/// Philox4x32-10, as its authors write it.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |m: u32, x: u32| {
            let product = u64::from(m) * u64::from(x);
            ((product >> 32) as u32, product as u32)
        };
        let (first, second) = (product(0xD251_1F53, c[0]), product(0xCD9E_8D57, c[2]));
        c = [
            second.0 ^ c[1] ^ k[0],
            second.1,
            first.0 ^ c[3] ^ k[1],
            first.1,
        ];
        k = [
            k[0].wrapping_add(0x9E37_79B9),
            k[1].wrapping_add(0xBB67_AE85),
        ];
    }
    c
}

#[test]
fn an_element_is_box_mullers_sine_of_its_counters_words() {
    for seed in [0, 7, 1 << 32, u64::MAX] {
        let mut generator = TorchCuda::new(seed);
        for k in 0..3 {
            for (i, found) in (0..).zip(tensor(&mut generator, 20)) {
                let [x, y, ..] = philox([k, 0, i, 0], [seed as u32, (seed >> 32) as u32]);
                let u = (f64::from(x) + 0.5) / 2f64.powi(32);
                let angle = (f64::from(y) + 0.5) / 2f64.powi(32) * std::f64::consts::TAU;
                let expected = (-2.0 * libm::log(u)).sqrt() * libm::sin(angle);
                // As above, with radii to 6.7.
                assert!(
                    (f64::from(found) - expected).abs() < 1.3e-6,
                    "{found} {expected}"
                );
            }
        }
    }
}

#[test]
fn a_tensor_is_the_beginning_of_a_longer_one_and_each_call_has_its_own() {
    let mut generator = TorchCuda::new(11);
    let first = tensor(&mut generator, 7);
    assert_eq!(generator, TorchCuda::new(11).after(1));
    assert_eq!(first, tensor(&mut TorchCuda::new(11), 100)[..7]);
    let second = tensor(&mut generator, 7);
    assert!(first.iter().zip(&second).all(|(a, b)| a != b));
    assert_eq!(second, tensor(&mut TorchCuda::new(11).after(1), 7));
}

/// The counter has 64 bits, and so has the seed.
#[test]
fn neither_the_tensors_nor_the_seed_count_modulo_two_to_the_thirty_second() {
    let first = |generator| tensor(&mut { generator }, 4);
    let low = first(TorchCuda::new(11));
    assert_ne!(low, first(TorchCuda::new(11).after(1 << 32)));
    assert_ne!(low, first(TorchCuda::new(11 + (1 << 32))));
}

#[test]
fn normals_of_a_card_have_mean_zero_and_variance_one() {
    const N: usize = 1 << 18;
    let values = tensor(&mut TorchCuda::new(1), N);
    let mean = values.iter().map(|z| f64::from(*z)).sum::<f64>() / N as f64;
    let square = values.iter().map(|z| f64::from(z * z)).sum::<f64>() / N as f64;
    assert!(mean.abs() < 4.0 / (N as f64).sqrt(), "{mean}");
    assert!(
        (square - 1.0).abs() < 4.0 * (2.0 / N as f64).sqrt(),
        "{square}"
    );
}
