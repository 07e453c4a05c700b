//! Against tensors that torch made: `tests/data/torch_randn.json`.

use diffusion_sampler::noise::TorchCpu;
use serde_json::Value;

use crate::common::randn;

fn data() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/torch_randn.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// Calls `check` with torch's tensor and ours, for successive `randn` calls on one generator: short
/// and long tensors, of both types.
fn tensors(data: &Value, mut check: impl FnMut(&[f64], &[f64], bool)) {
    assert_eq!(list(&data["draws"]).len(), 49);
    for draw in list(&data["draws"]) {
        let mut generator = TorchCpu::new(draw["seed"].as_u64().unwrap());
        for tensor in list(&draw["tensors"]) {
            let torchs = list(&tensor[1]).iter().map(|z| z.as_f64().unwrap());
            let torchs: Vec<f64> = torchs.collect();
            let single = tensor[0] == "float32";
            let ours = if single {
                let ours = randn::<f32>(&mut generator, torchs.len());
                ours.into_iter().map(f64::from).collect()
            } else {
                randn::<f64>(&mut generator, torchs.len())
            };
            check(&torchs, &ours, single);
        }
    }
}

#[test]
fn singles_have_torchs_bits() {
    let mut count = 0;
    tensors(&data(), |torchs, ours, single| {
        if !single {
            return;
        }
        for (torchs, ours) in torchs.iter().zip(ours) {
            assert_eq!((*torchs as f32).to_bits(), (*ours as f32).to_bits());
            count += 1;
        }
    });
    assert!(count > 1000, "{count}");
}

/// A million elements meet nearly every rounding that there is.
#[test]
fn long_tensors_of_singles_have_torchs_bits_in_sum() {
    for sum in list(&data()["sums"]) {
        let mut generator = TorchCpu::new(sum["seed"].as_u64().unwrap());
        let length = sum["elements"].as_u64().unwrap() as usize;
        let tensor = randn::<f32>(&mut generator, length);
        let bits: u64 = tensor.iter().map(|z| u64::from(z.to_bits())).sum();
        assert_eq!(bits, sum["sum_of_bits"].as_u64().unwrap(), "{sum}");
    }
}

/// Both call the platform's C library, whose last places differ from another's.
#[test]
fn doubles_have_torchs_bits_on_its_platform() {
    let same = cfg!(all(target_os = "linux", target_env = "gnu"));
    let most = if same { 0 } else { 2 };
    let mut count = 0;
    tensors(&data(), |torchs, ours, single| {
        if single {
            return;
        }
        for (torchs, ours) in torchs.iter().zip(ours) {
            let places = torchs.to_bits().abs_diff(ours.to_bits());
            assert!(places <= most, "{torchs} {ours}");
            count += 1;
        }
    });
    assert!(count > 1000, "{count}");
}

#[test]
fn a_seed_counts_modulo_two_to_the_thirty_second() {
    for seed in [0, 42, u64::from(u32::MAX)] {
        for above in [1 << 32, 7 << 40, (u64::MAX >> 32) << 32] {
            assert_eq!(TorchCpu::new(seed), TorchCpu::new(seed + above));
        }
    }
    assert_ne!(TorchCpu::new(0), TorchCpu::new(1));
}
