//! The kernel allocates nothing, whatever the layout, for arrays of up to four axes of dynamic
//! dimension.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use diffusion_sampler::kernel::bench::gram_of_arrays;
use diffusion_sampler::kernel::linear_combination;
use ndarray::{Array, ArrayD, Axis, IxDyn};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's own; the counter beside it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn array() -> ArrayD<f32> {
    Array::from_shape_fn(IxDyn(&[4, 5, 6, 7]), |i| (i[0] + i[1] * i[2] + i[3]) as f32)
}

fn allocations(
    x: &mut ndarray::ArrayRefD<f32>,
    terms: &[(f64, &ndarray::ArrayRefD<f32>)],
) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    assert_eq!(linear_combination(x, 0.5, terms), Ok(()));
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn no_layout_and_no_number_of_inputs_allocates() {
    let standard = array();
    let fortran = {
        let mut transposed = Array::zeros(IxDyn(&[7, 6, 5, 4])).reversed_axes();
        transposed.assign(&standard);
        transposed
    };
    let inverted = {
        let mut inverted = array();
        inverted.invert_axis(Axis(2));
        inverted
    };
    for count in [0, 1, 2, 3, 6, 7, 16] {
        for input in [&standard, &fortran, &inverted] {
            for mut x in [standard.clone(), fortran.clone(), inverted.clone()] {
                let terms = vec![(0.25, &**input); count];
                assert_eq!(allocations(&mut x, &terms), 0);
            }
        }
    }
}

#[test]
fn sums_and_inner_products_allocate_in_no_layout() {
    let standard = array();
    let mut inverted = array();
    inverted.invert_axis(Axis(2));
    for first in [&standard, &inverted] {
        for count in 1..=8 {
            let arrays = vec![&**first; count];
            let before = ALLOCATIONS.with(Cell::get);
            let found = gram_of_arrays(&arrays);
            assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
            assert!(found.is_ok_and(|inner| inner > 0.0));
        }
    }
}
