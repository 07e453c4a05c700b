//! Sums and inner products of every sample: what guidance by norms, projections and rescaling
//! reads.
//!
//! One pass over up to 8 arrays, accumulated in f64. The order is fixed: element i of a sample goes
//! to lane i mod 8, each lane is summed in ascending order, and the lanes are summed as ((0 + 4) +
//! (2 + 6)) + ((1 + 5) + (3 + 7)). So a result depends on the sample's own elements alone: not on
//! the other samples, the other arrays, the layout or the SIMD level.
//!
//! Three arrays need nine sums, that is eighteen additions of vectors for eight elements: the pass
//! is bound by arithmetic, not by memory. It runs on AVX2: with AVX-512, four arrays took 25 times
//! as long (the compiler takes the lanes apart).
#![expect(
    clippy::needless_range_loop,
    reason = "indices on both sides read like the formula"
)]

use ndarray::iter::Iter;
use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::real::Real;
use crate::simd::{Task, dispatch};

/// The most arrays of one pass.
pub(crate) const MAX_GRAM: usize = 8;

/// The lanes of every sum.
const LANES: usize = 8;

/// More than four arrays are read in blocks of this length, which stay in L1; whole lanes.
const BLOCK: usize = 512;

/// Elements of other layouts are gathered in blocks of this length; whole lanes.
const GATHER: usize = 64;

/// The element sums and inner products of one sample's arrays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gram {
    /// The elements of the sample.
    pub(crate) elements: usize,
    /// Σ_i a_j[i]; 0 beyond the last array.
    pub(crate) sums: [f64; MAX_GRAM],
    /// Σ_i a_j[i]·a_k[i], symmetric; 0 beyond the last array.
    pub(crate) inner: [[f64; MAX_GRAM]; MAX_GRAM],
}

impl Gram {
    pub(crate) const ZERO: Self = Self {
        elements: 0,
        sums: [0.0; MAX_GRAM],
        inner: [[0.0; MAX_GRAM]; MAX_GRAM],
    };
}

/// The sums and inner products of slices of equal length that hold `samples` rows each, into the
/// first `samples` of `out`. Arrays beyond the eighth are not read.
pub(crate) fn gram_slices<A: Real>(samples: usize, arrays: &[&[A]], out: &mut [Gram]) {
    debug_assert!(arrays.len() <= MAX_GRAM && out.len() == samples);
    debug_assert!(arrays.windows(2).all(|two| two[0].len() == two[1].len()));
    A::gram(samples, arrays, out);
}

/// Reached by [`Real::gram`], which is compiled once.
pub(crate) fn gram_loops<A: Real>(samples: usize, arrays: &[&[A]], out: &mut [Gram]) {
    let len = arrays.iter().map(|array| array.len()).min().unwrap_or(0);
    let row = len / samples.max(1);
    match *arrays {
        [a, b] => dispatch(Rows {
            row,
            arrays: [a, b],
            out,
        }),
        [a, b, c] => dispatch(Rows {
            row,
            arrays: [a, b, c],
            out,
        }),
        [a, b, c, d] => dispatch(Rows {
            row,
            arrays: [a, b, c, d],
            out,
        }),
        _ => dispatch(ManyRows { row, arrays, out }),
    }
}

/// The same of arrays of any layout, with the same bits as in standard layout.
///
/// # Errors
///
/// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`], [`Error::TooManyTerms`] for more than eight
/// arrays, [`Error::WrongLength`] unless `out` has an entry per sample.
pub(crate) fn gram<A: Real, D: Dimension>(
    arrays: &[&ArrayRef<A, D>],
    out: &mut [Gram],
) -> Result<(), Error> {
    let Some(first) = arrays.first() else {
        out.fill(Gram::ZERO);
        return Ok(());
    };
    let samples = check(first.shape(), arrays, out)?;
    let mut slices: [&[A]; MAX_GRAM] = [&[]; MAX_GRAM];
    let mut standard = true;
    for (slice, array) in slices.iter_mut().zip(arrays) {
        match array.as_slice() {
            Some(elements) => *slice = elements,
            None => standard = false,
        }
    }
    if standard {
        gram_slices(samples, &slices[..arrays.len()], out);
    } else {
        gathered(first.len() / samples.max(1), arrays, out);
    }
    Ok(())
}

/// The number of samples, if everything fits together.
fn check<A, D: Dimension>(
    shape: &[usize],
    arrays: &[&ArrayRef<A, D>],
    out: &[Gram],
) -> Result<usize, Error> {
    let samples = *shape.first().ok_or(Error::NoSampleAxis)?;
    if arrays.len() > MAX_GRAM {
        return Err(Error::TooManyTerms {
            found: arrays.len(),
            max: MAX_GRAM,
        });
    }
    if let Some(other) = arrays.iter().find(|array| array.shape() != shape) {
        return Err(Error::ShapeMismatch {
            name: "input",
            expected: shape.to_vec(),
            found: other.shape().to_vec(),
        });
    }
    if out.len() != samples {
        return Err(Error::WrongLength {
            name: "inner products",
            expected: samples,
            found: out.len(),
        });
    }
    Ok(samples)
}

/// Row by row in row-major order, gathered into blocks.
#[inline(never)]
fn gathered<A: Real, D: Dimension>(row: usize, arrays: &[&ArrayRef<A, D>], out: &mut [Gram]) {
    let mut readers: [Option<Iter<'_, A, D>>; MAX_GRAM] =
        std::array::from_fn(|j| arrays.get(j).map(|array| array.iter()));
    let mut blocks = [[0.0; GATHER]; MAX_GRAM];
    for gram in out {
        let mut lanes = Lanes::<MAX_GRAM>::new();
        for start in (0..row).step_by(GATHER) {
            let len = GATHER.min(row - start);
            let mut slices: [&[f64]; MAX_GRAM] = [&[]; MAX_GRAM];
            for ((block, reader), slice) in blocks
                .iter_mut()
                .zip(readers.iter_mut().flatten())
                .zip(&mut slices)
            {
                for (value, from) in block[..len].iter_mut().zip(reader) {
                    *value = from.widen();
                }
                *slice = &block[..len];
            }
            add_gathered(&mut lanes, &slices[..arrays.len()]);
        }
        lanes.finish(row, arrays.len(), gram);
    }
}

/// One lane's sum each; of `inner`, the upper triangle.
struct Lanes<const N: usize> {
    sums: [[f64; LANES]; N],
    inner: [[[f64; LANES]; N]; N],
}

impl<const N: usize> Lanes<N> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            sums: [[0.0; LANES]; N],
            inner: [[[0.0; LANES]; N]; N],
        }
    }

    /// Sums the lanes of the first `arrays`. A call of its own: inlined, the tree's order of lanes
    /// is what the compiler vectorises by, two lanes at a time, and the pass takes three times as
    /// long.
    #[inline(never)]
    fn finish(&self, elements: usize, arrays: usize, gram: &mut Gram) {
        *gram = Gram::ZERO;
        gram.elements = elements;
        for j in 0..arrays.min(N) {
            gram.sums[j] = tree(&self.sums[j]);
            for k in j..arrays.min(N) {
                let inner = tree(&self.inner[j][k]);
                gram.inner[j][k] = inner;
                gram.inner[k][j] = inner;
            }
        }
    }
}

#[inline(always)]
fn tree(l: &[f64; LANES]) -> f64 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// All rows of N arrays, all lanes in registers.
struct Rows<'s, A, const N: usize> {
    row: usize,
    arrays: [&'s [A]; N],
    out: &'s mut [Gram],
}

impl<A: Real, const N: usize> Task for Rows<'_, A, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { row, arrays, out } = self;
        for (sample, gram) in out.iter_mut().enumerate() {
            let mut lanes = Lanes::<N>::new();
            let mut chunks: [&[[A; LANES]]; N] = [&[]; N];
            let mut rests: [&[A]; N] = [&[]; N];
            for j in 0..N {
                let elements = &arrays[j][sample * row..(sample + 1) * row];
                (chunks[j], rests[j]) = elements.as_chunks::<LANES>();
            }
            let count = row / LANES;
            for chunk in &mut chunks {
                *chunk = &chunk[..count];
            }
            for k in 0..count {
                let mut wide = [[0.0; LANES]; N];
                for j in 0..N {
                    wide[j] = widen(&chunks[j][k]);
                }
                add(&mut lanes, &wide);
            }
            if row % LANES > 0 {
                // Zeros change no sum (a sum that starts with +0 is never −0).
                let mut wide = [[0.0; LANES]; N];
                for j in 0..N {
                    for (wide, value) in wide[j].iter_mut().zip(rests[j]) {
                        *wide = value.widen();
                    }
                }
                add(&mut lanes, &wide);
            }
            // A copy, so that the lanes of the loop can stay in registers.
            let Lanes { sums, inner } = lanes;
            Lanes { sums, inner }.finish(row, N, gram);
        }
    }
}

#[inline(always)]
fn widen<A: Real>(chunk: &[A; LANES]) -> [f64; LANES] {
    let mut wide = [0.0; LANES];
    for l in 0..LANES {
        wide[l] = chunk[l].widen();
    }
    wide
}

#[inline(always)]
fn add<const N: usize>(lanes: &mut Lanes<N>, wide: &[[f64; LANES]; N]) {
    for j in 0..N {
        for l in 0..LANES {
            lanes.sums[j][l] += wide[j][l];
        }
        for k in j..N {
            for l in 0..LANES {
                lanes.inner[j][k][l] += wide[j][l] * wide[k][l];
            }
        }
    }
}

/// All rows of any number of arrays.
struct ManyRows<'s, A> {
    row: usize,
    arrays: &'s [&'s [A]],
    out: &'s mut [Gram],
}

impl<A: Real> Task for ManyRows<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { row, arrays, out } = self;
        let count = arrays.len().min(MAX_GRAM);
        for (sample, gram) in out.iter_mut().enumerate() {
            let mut lanes = Lanes::<MAX_GRAM>::new();
            for start in (0..row).step_by(BLOCK) {
                let range = sample * row + start..sample * row + row.min(start + BLOCK);
                let mut block: [&[A]; MAX_GRAM] = [&[]; MAX_GRAM];
                for (part, array) in block.iter_mut().zip(arrays) {
                    *part = &array[range.clone()];
                }
                add_block(&mut lanes, &block[..count]);
            }
            lanes.finish(row, count, gram);
        }
    }
}

/// A block of any number of arrays, in f64 already, which changes no bit.
fn add_gathered(lanes: &mut Lanes<MAX_GRAM>, arrays: &[&[f64]]) {
    dispatch(Block { lanes, arrays });
}

struct Block<'s> {
    lanes: &'s mut Lanes<MAX_GRAM>,
    arrays: &'s [&'s [f64]],
}

impl Task for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        add_block(self.lanes, self.arrays);
    }
}

/// Pair by pair, over a block that stays in L1.
#[inline(always)]
fn add_block<A: Real>(lanes: &mut Lanes<MAX_GRAM>, arrays: &[&[A]]) {
    for (j, a) in arrays.iter().enumerate() {
        add_sum(&mut lanes.sums[j], a);
        for (k, b) in arrays.iter().enumerate().skip(j) {
            add_products(&mut lanes.inner[j][k], a, b);
        }
    }
}

#[inline(always)]
fn add_sum<A: Real>(lanes: &mut [f64; LANES], a: &[A]) {
    let mut sum = *lanes;
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            sum[l] += chunk[l].widen();
        }
    }
    for (sum, value) in sum.iter_mut().zip(rest) {
        *sum += value.widen();
    }
    *lanes = sum;
}

#[inline(always)]
fn add_products<A: Real>(lanes: &mut [f64; LANES], a: &[A], b: &[A]) {
    let mut sum = *lanes;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            sum[l] += a[l].widen() * b[l].widen();
        }
    }
    for ((sum, a), b) in sum.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a.widen() * b.widen();
    }
    *lanes = sum;
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array3, ArrayView3, Axis, s};

    use super::*;
    use crate::simd::at_each_level;

    /// Every number of arrays, but in miri, which is slow.
    const IN_MIRI: usize = if cfg!(miri) { 5 } else { 1 };

    /// Tame values of several magnitudes, both signs.
    fn value(seed: usize, i: usize) -> f64 {
        let mixed = ((seed * 7919 + i + 1) as u64).wrapping_mul(6364136223846793005) >> 20;
        let unit = (mixed % (1 << 20)) as f64 / f64::from(1 << 19) - 1.0;
        unit * [1.0, 1e-3, 50.0][i % 3]
    }

    fn arrays<A: Real>(count: usize, len: usize) -> Vec<Vec<A>> {
        (0..count)
            .map(|j| (0..len).map(|i| A::cast(value(j, i))).collect())
            .collect()
    }

    fn gram_of<A: Real>(samples: usize, arrays: &[Vec<A>]) -> Vec<Gram> {
        let slices: Vec<&[A]> = arrays.iter().map(|array| &array[..]).collect();
        let mut out = vec![Gram::ZERO; samples];
        gram_slices(samples, &slices, &mut out);
        out
    }

    fn sums_and_products_are_those_of_the_definition<A: Real>() {
        let shapes = [(1, 0), (3, 1), (2, 7), (2, 8), (3, 519), (1, 2056)];
        let shapes = &shapes[..if cfg!(miri) { 4 } else { 6 }];
        for count in (0..=MAX_GRAM).step_by(IN_MIRI) {
            for &(samples, row) in shapes {
                let arrays = arrays::<A>(count, samples * row);
                for (sample, gram) in gram_of(samples, &arrays).iter().enumerate() {
                    assert_eq!(gram.elements, if count == 0 { 0 } else { row });
                    let row = |j: usize| {
                        arrays
                            .get(j)
                            .map_or(&[][..], |a| &a[sample * row..(sample + 1) * row])
                    };
                    let near = |found: f64, terms: &[f64]| {
                        let scale: f64 = terms.iter().map(|term| term.abs()).sum();
                        let error = (found - terms.iter().sum::<f64>()).abs();
                        assert!(error <= 1e-12 * scale, "{found}: {error} of {scale}");
                    };
                    for j in 0..MAX_GRAM {
                        let a: Vec<f64> = row(j).iter().map(|v| v.widen()).collect();
                        near(gram.sums[j], &a);
                        for k in 0..MAX_GRAM {
                            let terms: Vec<f64> =
                                a.iter().zip(row(k)).map(|(a, b)| a * b.widen()).collect();
                            near(gram.inner[j][k], &terms);
                            assert_eq!(gram.inner[j][k], gram.inner[k][j]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sums_and_products_are_those_of_the_definition_in_f32_and_f64() {
        sums_and_products_are_those_of_the_definition::<f32>();
        sums_and_products_are_those_of_the_definition::<f64>();
    }

    #[test]
    fn every_simd_level_every_batch_and_every_number_of_arrays_gives_the_same_bits() {
        let (samples, row) = if cfg!(miri) { (2, 530) } else { (5, 1237) };
        let all = arrays::<f32>(MAX_GRAM, samples * row);
        let expected = gram_of(samples, &all);
        at_each_level(|level| {
            for count in (1..=MAX_GRAM).step_by(IN_MIRI) {
                let whole = gram_of(samples, &all[..count]);
                for (sample, gram) in whole.iter().enumerate() {
                    let alone: Vec<Vec<f32>> = all[..count]
                        .iter()
                        .map(|a| a[sample * row..(sample + 1) * row].to_vec())
                        .collect();
                    assert_eq!(gram_of(1, &alone)[0], *gram, "sample {sample} at {level:?}");
                    for j in 0..count {
                        assert_eq!(gram.sums[j].to_bits(), expected[sample].sums[j].to_bits());
                        for k in 0..count {
                            assert_eq!(
                                gram.inner[j][k].to_bits(),
                                expected[sample].inner[j][k].to_bits()
                            );
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn every_layout_gives_the_bits_of_the_standard_one() {
        let shape = if cfg!(miri) { (3, 5, 3) } else { (3, 37, 11) };
        for count in (1..=MAX_GRAM).step_by(IN_MIRI) {
            let standard: Vec<Array3<f64>> = (0..count)
                .map(|j| {
                    Array::from_shape_fn(shape, |(n, h, w)| {
                        value(j, (n * shape.1 + h) * shape.2 + w)
                    })
                })
                .collect();
            let mut expected = [Gram::ZERO; 3];
            let views: Vec<_> = standard.iter().map(|a| &**a).collect();
            assert_eq!(gram(&views, &mut expected), Ok(()));
            let slices: Vec<_> = standard.iter().filter_map(|a| a.as_slice()).collect();
            let mut same = [Gram::ZERO; 3];
            gram_slices(3, &slices, &mut same);
            assert_eq!(same, expected);
            // The samples innermost; backwards; every other element of a larger array.
            let buffers: Vec<[Array3<f64>; 3]> = standard
                .iter()
                .map(|a| {
                    let mut inverted = a.clone();
                    inverted.invert_axis(Axis(1));
                    let inverted = inverted.as_standard_layout().into_owned();
                    let mut wide = Array3::zeros((shape.0, shape.1, 2 * shape.2));
                    wide.slice_mut(s![.., .., ..;2]).assign(a);
                    let mut fortran = Array3::zeros((shape.2, shape.1, shape.0)).reversed_axes();
                    fortran.assign(a);
                    [fortran, inverted, wide]
                })
                .collect();
            let views: Vec<[ArrayView3<'_, f64>; 3]> = buffers
                .iter()
                .map(|[fortran, inverted, wide]| {
                    let mut inverted = inverted.view();
                    inverted.invert_axis(Axis(1));
                    [fortran.view(), inverted, wide.slice(s![.., .., ..;2])]
                })
                .collect();
            for layout in 0..4 {
                // The last time, a layout of its own for each array.
                let mixed: Vec<_> = views
                    .iter()
                    .enumerate()
                    .map(|(j, views)| &*views[if layout == 3 { j % 3 } else { layout }])
                    .collect();
                let mut found = [Gram::ZERO; 3];
                assert_eq!(gram(&mixed, &mut found), Ok(()));
                assert_eq!(found, expected, "{count} arrays, layout {layout}");
            }
        }
    }

    #[test]
    fn empty_batches_and_rows_and_values_that_are_not_finite_are_defined() {
        let none = Array::<f32, _>::zeros((0, 4));
        assert_eq!(gram(&[&*none, &*none], &mut []), Ok(()));
        let empty = Array::<f32, _>::zeros((2, 0));
        let mut out = [Gram {
            elements: 9,
            ..Gram::ZERO
        }; 2];
        assert_eq!(gram(&[&*empty, &*empty], &mut out), Ok(()));
        assert_eq!(out, [Gram::ZERO; 2]);
        let mut out = [Gram::ZERO; 2];
        gram_slices(2, &[&[1.0, 2.0, f32::NAN, 4.0][..], &[1.0; 4]], &mut out);
        assert_eq!(out[0].inner[0][1], 3.0);
        assert!(out[1].inner[0][1].is_nan() && out[1].sums[0].is_nan());
        assert_eq!(out[1].sums[1], 2.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let a = Array::<f32, _>::zeros((2, 3)).into_dyn();
        let b = Array::<f32, _>::zeros((3, 2)).into_dyn();
        let mut out = [Gram::ZERO; 2];
        assert_eq!(
            gram(&[&*a, &*b], &mut out),
            Err(Error::ShapeMismatch {
                name: "input",
                expected: vec![2, 3],
                found: vec![3, 2]
            })
        );
        assert_eq!(
            gram(&[&*a; 9], &mut out),
            Err(Error::TooManyTerms { found: 9, max: 8 })
        );
        assert_eq!(
            gram(&[&*a], &mut out[..1]),
            Err(Error::WrongLength {
                name: "inner products",
                expected: 2,
                found: 1
            })
        );
        let point = Array::<f32, _>::zeros(()).into_dyn();
        assert_eq!(gram(&[&*point], &mut out), Err(Error::NoSampleAxis));
    }
}
