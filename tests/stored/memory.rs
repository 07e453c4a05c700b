//! Memory grows with the bytes that are there, not with the lengths that they declare.

// The allocator below is the one `unsafe` of these tests.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use diffusion_sampler::{
    Grid, NoiseLevel, Sampler,
    guidance::{Combination, Composed},
    plan::Plan,
    run::Snapshot,
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, ArrayD};
use serde::{Serialize, de::DeserializeOwned};

use crate::formats::{of_cbor, of_json, of_postcard};
use crate::mutations::without_checksums;
use crate::specimens::all;

/// The system's allocator, which remembers the largest request of the current thread.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn watch(size: usize) {
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// What serde reserves at most for a length that is only declared, and a little room.
const MOST: usize = (1 << 20) + (1 << 16);

fn largest(work: impl FnOnce()) -> usize {
    LARGEST.set(0);
    work();
    LARGEST.get()
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap()
}

fn refuses<T: DeserializeOwned>(parts: &[Vec<u8>]) {
    let crafted = parts.concat();
    let found = largest(|| assert!(of_postcard::<T>(&crafted).is_err()));
    assert!(found <= MOST, "{found} bytes for {}", crafted.len());
}

const LENGTHS: [u64; 5] = [1 << 24, 1 << 40, 1 << 60, 1 << 63, u64::MAX];

#[test]
fn a_declared_length_reserves_nothing_in_postcard() {
    let level = NoiseLevel::new(1.0, 0.6, 0.8).unwrap();
    // Structures are their fields one after the other, a list its length and its entries.
    let head = bytes(&(1u32, 7u64, 0u64, 0u64, level));
    for length in LENGTHS.map(|length| bytes(&length)) {
        refuses::<Plan>(&[bytes(&(1u32, 3u64, 0u64)), length.clone()]);
        let step = bytes(&(level, level));
        refuses::<Plan>(&[
            bytes(&(1u32, 3u64, 0u64)),
            bytes(&1u64),
            step.clone(),
            length.clone(),
        ]);
        let stage = bytes(&(Some(level), 0.5, 0.5));
        refuses::<Plan>(&[
            bytes(&(1u32, 3u64, 0u64)),
            bytes(&1u64),
            step,
            bytes(&1u64),
            stage,
            length.clone(),
        ]);
        refuses::<Sampler>(&[bytes(&(1u32, 1u32, 3u64, 0u64)), length.clone()]);
        refuses::<Grid>(&[length.clone(), bytes(&level)]);
        refuses::<Grid>(&[bytes(&1u64), bytes(&level), length.clone()]);
        refuses::<TableSchedule>(&[length.clone(), bytes(&-1.0)]);
        refuses::<FirstOrder>(&[bytes(&1u32), length.clone(), bytes(&0u32)]);
        refuses::<Composed>(&[length.clone(), bytes(&1.0)]);
        refuses::<Combination>(&[length.clone(), bytes(&1.0)]);
        // f64 is variant 1 of the element's names: a shape without end, elements without end, a
        // history without end.
        let element = bytes(&1u32);
        let shape = bytes(&vec![1u64 << 30, 1 << 30]);
        let state = bytes(&(1u32, vec![1u64, 1], vec![0.5]));
        for parts in [
            vec![head.clone(), element.clone(), length.clone()],
            vec![head.clone(), element.clone(), shape, length.clone()],
            vec![head.clone(), state, length.clone()],
        ] {
            refuses::<Snapshot<ArrayD<f64>>>(&parts);
            refuses::<Snapshot<Array2<f64>>>(&parts);
        }
    }
}

#[test]
fn a_declared_length_reserves_nothing_in_cbor() {
    let mut cases = 0;
    for mut specimen in all() {
        without_checksums(&mut specimen);
        let whole = specimen.cbor.clone();
        for (index, &byte) in whole.iter().enumerate() {
            // What may be the head of a list, a map or a text: the same with 2⁶⁰ entries.
            let kind = byte >> 5;
            if !(2..=5).contains(&kind) {
                continue;
            }
            let mut crafted = whole[..index].to_vec();
            crafted.push((kind << 5) | 27);
            crafted.extend((1u64 << 60).to_be_bytes());
            crafted.extend(&whole[index + 1..]);
            let found = largest(|| {
                let _ = specimen.try_cbor(&crafted);
            });
            assert!(found <= MOST, "{found} bytes in {}", specimen.name);
            cases += 1;
        }
    }
    assert!(cases > 1000, "{cases}");
}

/// A snapshot whose state has this shape and these elements.
fn with_shape(shape: &str, elements: &str) -> String {
    format!(
        r#"{{"version": 2, "plan": 1, "prediction": "noise",
            "clip": null, "noise": null, "step": 0, "stage": 0, "level": {{"time": 1, "model_time": 1,
            "alpha": 1, "sigma": 1, "log_alpha": 0, "log_sigma": 0}}, "state": {{"element": "f64",
            "shape": {shape}, "elements": {elements}}}, "history": [], "memory": null}}"#
    )
}

#[test]
fn a_declared_shape_reserves_nothing() {
    for (shape, error) in [
        ("[1152921504606846976]", "more elements"),
        ("[1073741824, 1073741824, 1073741824]", "more elements"),
        ("[18446744073709551615, 0]", "more elements"),
        (
            "[4294967296]",
            "elements must have length 4294967296, got 1",
        ),
        ("[2, 3]", "elements must have length 6, got 1"),
        (
            "[0, 1152921504606846975]",
            "elements must have length 0, got 1",
        ),
    ] {
        let text = with_shape(shape, "[0.5]");
        let found = largest(|| {
            let refused = of_json::<Snapshot<ArrayD<f64>>>(&text).unwrap_err();
            assert!(
                refused.contains(error) || error.starts_with("more"),
                "{refused}"
            );
            assert!(of_cbor::<Snapshot<ArrayD<f64>>>(text.as_bytes()).is_err());
        });
        assert!(found <= MOST, "{found} bytes for {shape}");
    }
}
