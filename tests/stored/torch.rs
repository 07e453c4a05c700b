//! Torch's generators and the noise from them.

use diffusion_sampler::{
    Error, Grid, Prediction, Sampler,
    noise::{NoiseKey, NoiseSource, Stream, TorchCpu, TorchCuda, TorchNoise},
    oracle::{Gaussian, Oracle},
    run::Snapshot,
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::Array2;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::formats::{assert_returns, json as text, of_json, of_postcard, postcard};

/// A generator after tensors of these lengths.
fn used(seed: u64, lengths: &[usize]) -> TorchCpu {
    let mut generator = TorchCpu::new(seed);
    for &length in lengths {
        generator.randn(&mut vec![0.0f64; length]);
    }
    generator
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn generators_return_and_so_does_their_noise(
        seed: u64,
        tensors: u64,
        lengths in prop::collection::vec(0usize..400, 0..4),
        shape in (1usize..4, 0usize..40),
    ) {
        let (cpu, card) = (used(seed, &lengths), TorchCuda::new(seed).after(tensors));
        assert_returns(&cpu);
        assert_returns(&card);
        let sizes = [shape.0, shape.1];
        assert_returns(&TorchNoise::new(cpu.clone(), &sizes).unwrap());
        let list = vec![cpu; shape.0];
        assert_returns(&TorchNoise::per_sample(list, &sizes).unwrap().at_every_step());
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let noise = TorchNoise::new(TorchCuda::new(7).after(2), &[3, 4, 5]).unwrap();
    let stored = r#"{"generators":[{"generator":{"seed":7,"tensors":2},"next_step":0}],"#;
    let stored = format!(r#"{stored}"samples":3,"elements":20,"every_step":false}}"#);
    assert_eq!(text(&noise), stored);
    let cpu: Value = of_json(&text(&used(5489, &[1]))).unwrap();
    // The seed is the first word of the state; a pair takes four, and its sine is kept.
    let mut words: Value = of_json(&text(&TorchCpu::new(5489))).unwrap();
    assert_eq!(
        (&words["words"][0], &words["used"]),
        (&json!(5489), &json!(624))
    );
    assert_eq!(words["kept"], Value::Null);
    assert_eq!(words["words"].as_array().unwrap().len(), 624);
    let mut next = [0.0f64; 1];
    used(5489, &[1]).randn(&mut next);
    assert_eq!((&cpu["used"], &cpu["kept"]), (&json!(4), &json!(next[0])));
    words["used"] = json!(625);
    let refused = of_json::<TorchCpu>(&words.to_string()).unwrap_err();
    assert!(
        refused.contains("625") && refused.contains("at most 624"),
        "{refused}"
    );
}

#[test]
fn what_fits_nothing_is_refused() {
    let generator: Value = of_json(&text(&TorchCpu::new(1))).unwrap();
    let edited = |edit: fn(&mut Value)| {
        let mut edited = generator.clone();
        edit(&mut edited);
        of_json::<TorchCpu>(&edited.to_string())
    };
    assert_eq!(edited(|_| ()), Ok(TorchCpu::new(1)));
    assert!(edited(|form| form["words"] = json!([1, 2])).is_err());
    assert!(edited(|form| form["words"].as_array_mut().unwrap().push(json!(1))).is_err());
    assert!(edited(|form| form["words"][0] = json!(1u64 << 32)).is_err());
    assert!(edited(|form| form["kept"] = json!("inf")).is_err());
    assert!(edited(|form| form["more"] = json!(1)).is_err());
    assert!(edited(|form| drop(form.as_object_mut().unwrap().remove("kept"))).is_err());

    type Noise = TorchNoise<TorchCuda>;
    let generators = [TorchCuda::new(1), TorchCuda::new(2)];
    let noise = text(&TorchNoise::per_sample(generators, &[2, 4]).unwrap());
    assert!(of_json::<Noise>(&noise).is_ok());
    let wrong = Error::WrongLength {
        name: "list of generators",
        expected: 3,
        found: 2,
    };
    let refused = of_json::<Noise>(&noise.replace(r#""samples":2"#, r#""samples":3"#)).unwrap_err();
    assert!(refused.contains(&wrong.to_string()), "{refused}");
    let large = noise.replace(r#""elements":4"#, &format!(r#""elements":{}"#, usize::MAX));
    assert!(of_json::<Noise>(&large).is_err());
    // A list that says it is longer than the input.
    let long = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    assert!(of_postcard::<Noise>(&long).is_err());
    assert!(of_postcard::<TorchCpu>(&long).is_err());
}

#[test]
fn a_source_within_a_tensor_is_not_stored() {
    let mut noise = TorchNoise::new(TorchCpu::new(1), &[2, 20]).unwrap();
    noise.fill(NoiseKey::new(0, 0, Stream::Start), 0, &mut [0.0f32; 20]);
    let refused = serde_json::to_string(&noise).unwrap_err().to_string();
    assert!(refused.contains("half-drawn tensors"), "{refused}");
    noise.fill(NoiseKey::new(1, 0, Stream::Start), 0, &mut [0.0f32; 20]);
    assert_returns(&noise);
}

/// Through binary, between any two steps.
#[test]
fn a_run_and_its_noise_are_stored_and_go_on_to_the_same_bits() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm()).unwrap();
    let (shape, kind) = ((3, 7), Prediction::Noise);
    let data = Gaussian::isotropic(&[0.5; 7], 0.3).unwrap();
    let mut model = data.denoiser(kind);
    let mut noise = TorchNoise::new(TorchCpu::new(9), &[3, 7]).unwrap();
    let mut whole = sampler
        .start::<f32, _, _>(shape, kind, noise.clone())
        .unwrap();
    whole.complete(&mut model).unwrap();
    let run = sampler.start::<f32, _, _>(shape, kind, &mut noise).unwrap();
    let mut snapshot = run.snapshot().unwrap();
    drop(run);
    for _ in 0..5 {
        type Stored = (TorchNoise<TorchCpu>, Snapshot<Array2<f32>>);
        let stored = postcard(&(noise, snapshot));
        let (mut read, stands): Stored = of_postcard(&stored).unwrap();
        let mut run = sampler.resume(stands, kind, &mut read).unwrap();
        run.advance(&mut model).unwrap();
        snapshot = run.snapshot().unwrap();
        drop(run);
        noise = read;
    }
    let end = sampler.resume(snapshot, kind, noise).unwrap();
    assert_eq!(end.state(), whole.state());
}
