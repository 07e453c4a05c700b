//! Checksums: none may be missing in binary, and no flipped bit passes one.

use std::fmt::Debug;

use ciborium::Value as Cbor;
use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, Sampler, denoiser::Guided, guidance::Projected, plan::Plan,
    run::Snapshot, schedule::TableSchedule, solver::FirstOrder,
};
use ndarray::Array2;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::formats::{cbor, json, of_cbor, of_json, of_postcard, postcard};
use crate::resumed::{KIND, Network};
use crate::specimens::{plan_by_hand, sampler, snapshot};

fn ddim() -> Sampler {
    let schedule = TableSchedule::linear(8, 0.1, 0.4).unwrap();
    let grid = Grid::trailing(&schedule, 3).unwrap();
    Sampler::new(&schedule, &grid, &FirstOrder::ddim()).unwrap()
}

/// After one step with guidance that remembers.
fn snapshot_with_a_memory() -> Snapshot<Array2<f32>> {
    let guidance = Projected::new(1.5).unwrap().with_momentum(-0.5).unwrap();
    let noise = KeyedNoise::new(3);
    let mut run = ddim().start::<f32, _, _>((2, 3), KIND, noise).unwrap();
    run.advance(&mut Guided::new(Network, guidance)).unwrap();
    let snapshot = run.snapshot().unwrap();
    assert!(snapshot.memory.is_some());
    snapshot
}

fn clipped() -> [Sampler; 3] {
    let [fixed, dynamic] = [Clip::new(-1.0, 1.5), Clip::dynamic(0.995, 10.0)].map(Result::unwrap);
    let noisy = fixed.keeping_noise();
    [fixed, noisy, dynamic].map(|clip| ddim().with_clip(clip))
}

/// Every bit of every byte flipped: refused, or the same value.
fn no_flipped_bit_passes<T>(value: &T, bytes: &[u8], read: fn(&[u8]) -> Result<T, String>)
where
    T: PartialEq + Debug,
{
    assert_eq!(read(bytes).as_ref(), Ok(value));
    let mut damaged = bytes.to_vec();
    for bit in 0..8 * bytes.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(taken) = read(&damaged) {
            assert_eq!(&taken, value, "bit {} of byte {}", bit % 8, bit / 8);
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

/// In both binary formats.
fn no_flipped_bit_passes_in_binary<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    no_flipped_bit_passes(value, &postcard(value), of_postcard);
    no_flipped_bit_passes(value, &cbor(value), of_cbor);
}

#[test]
fn no_flipped_bit_of_a_snapshot_passes() {
    no_flipped_bit_passes_in_binary(&snapshot_with_a_memory());
    no_flipped_bit_passes_in_binary(&snapshot());
    let without = Snapshot {
        memory: None,
        ..snapshot_with_a_memory()
    };
    no_flipped_bit_passes_in_binary(&without);
}

#[test]
fn no_flipped_bit_of_a_sampler_or_of_its_plan_passes() {
    no_flipped_bit_passes_in_binary(&ddim());
    for sampler in clipped() {
        no_flipped_bit_passes_in_binary(&sampler);
    }
    no_flipped_bit_passes_in_binary(ddim().plan());
    no_flipped_bit_passes_in_binary(&plan_by_hand());
}

/// The stranger's damage: the memory's tag says that there is none, and the tag of its elements is
/// then read as that of a missing checksum.
#[test]
fn a_memory_that_is_lost_is_not_the_snapshots_end() {
    let whole = snapshot_with_a_memory();
    let lost = Snapshot {
        memory: None,
        ..whole.clone()
    };
    let (whole, lost) = (postcard(&whole), postcard(&lost));
    let tag = whole.iter().zip(&lost).take_while(|(a, b)| a == b).count();
    assert_eq!(whole[tag..tag + 2], [1, 0]);
    let mut damaged = whole.clone();
    damaged[tag] = 0;
    assert!(of_postcard::<Snapshot<Array2<f32>>>(&whole).is_ok());
    assert!(of_postcard::<Snapshot<Array2<f32>>>(&damaged).is_err());
}

/// The value without its checksum: null and left out.
fn open_text<T: Serialize>(value: &T) -> [Value; 2] {
    let mut null = serde_json::to_value(value).unwrap();
    let mut left_out = null.clone();
    null["checksum"] = Value::Null;
    left_out
        .as_object_mut()
        .unwrap()
        .remove("checksum")
        .unwrap();
    [null, left_out]
}

fn open_binary<T: Serialize>(value: &T) -> [Cbor; 2] {
    let Cbor::Map(mut fields) = ciborium::from_reader(&*cbor(value)).unwrap() else {
        panic!("no map")
    };
    let (name, _) = fields.pop().unwrap();
    assert_eq!(name.as_text(), Some("checksum"));
    let left_out = Cbor::Map(fields.clone());
    fields.push((name, Cbor::Null));
    [Cbor::Map(fields), left_out]
}

fn may_lack_its_checksum_in_text_alone<T>(name: &'static str, value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let sum = &serde_json::to_value(value).unwrap()["checksum"];
    let expected = sum.as_u64().unwrap();
    for tree in open_text(value) {
        assert_eq!(of_json::<T>(&tree.to_string()).as_ref(), Ok(value));
        assert_eq!(&serde_json::from_value::<T>(tree).unwrap(), value);
    }
    let error = Error::StoredWithoutChecksum { name, expected };
    for tree in open_binary(value) {
        let refused = of_cbor::<T>(&cbor(&tree)).unwrap_err();
        assert!(refused.contains(&error.to_string()), "{refused}");
    }
}

#[test]
fn a_checksum_may_be_missing_in_text_alone() {
    may_lack_its_checksum_in_text_alone("plan", &plan_by_hand());
    may_lack_its_checksum_in_text_alone("sampler", &sampler(&FirstOrder::ddpm()));
    for sampler in clipped() {
        may_lack_its_checksum_in_text_alone("sampler", &sampler);
    }
    may_lack_its_checksum_in_text_alone("snapshot", &snapshot());
    may_lack_its_checksum_in_text_alone("snapshot", &snapshot_with_a_memory());
}

/// Postcard forms that end with 0, no checksum.
#[test]
fn no_postcard_form_ends_without_a_checksum() {
    fn refuses<T: Serialize + DeserializeOwned + Debug>(value: &T) {
        let bytes = postcard(value);
        let sum = &serde_json::to_value(value).unwrap()["checksum"];
        let end = bytes.len() - postcard(&sum.as_u64()).len();
        let open = [&bytes[..end], &[0]].concat();
        assert!(of_postcard::<T>(&bytes).is_ok());
        assert!(of_postcard::<T>(&open).is_err());
    }
    refuses::<Plan>(&plan_by_hand());
    refuses::<Sampler>(&ddim());
    refuses::<Snapshot<Array2<f64>>>(&snapshot());
}

#[test]
fn a_sampler_whose_own_settings_were_changed_is_refused() {
    let [fixed, _, dynamic] = clipped();
    for (sampler, path) in [
        (&fixed, "/start_variance"),
        (&fixed, "/clip/range/static/low"),
        (&fixed, "/clip/range/static/high"),
        (&dynamic, "/clip/range/dynamic/max"),
    ] {
        let mut tree = serde_json::to_value(sampler).unwrap();
        let number = tree.pointer_mut(path).unwrap();
        *number = number.as_f64().unwrap().next_up().into();
        let refused = of_json::<Sampler>(&tree.to_string()).unwrap_err();
        assert!(refused.contains("the stored sampler is not"), "{refused}");
    }
    for (path, other) in [("/clip", Value::Null), ("/clip/noise", "keep".into())] {
        let mut tree = serde_json::to_value(&fixed).unwrap();
        *tree.pointer_mut(path).unwrap() = other;
        assert!(of_json::<Sampler>(&tree.to_string()).is_err(), "{path}");
    }
    // Another plan, valid with its own checksum.
    let mut tree = serde_json::to_value(&fixed).unwrap();
    tree["plan"] = serde_json::to_value(plan_by_hand()).unwrap();
    assert!(of_json::<Sampler>(&tree.to_string()).is_err());
    assert!(of_json::<Sampler>(&json(&fixed)).is_ok());
}
