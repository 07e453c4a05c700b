//! What the loops are measured against: hand-unrolled passes, four vectors to a round.
#![allow(unsafe_code, dead_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// x ← a·x + b·e
pub(crate) fn triad(x: &mut [f32], e: &[f32], [a, b]: [f32; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { linear_avx2(x, [e], a, [b]) };
    }
    linear(x, [e], a, [b]);
}

/// x ← a·x + b·e + c·f
pub(crate) fn guided(x: &mut [f32], [e, f]: [&[f32]; 2], [a, b, c]: [f32; 3]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { linear_avx2(x, [e, f], a, [b, c]) };
    }
    linear(x, [e, f], a, [b, c]);
}

/// Reads all arrays and does next to nothing with them.
pub(crate) fn read(arrays: &[&[f32]]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { read_avx2(arrays) };
    }
    arrays.iter().copied().flatten().sum()
}

fn linear<const N: usize>(x: &mut [f32], inputs: [&[f32]; N], a: f32, c: [f32; N]) {
    for (i, x) in x.iter_mut().enumerate() {
        let mut sum = a * *x;
        for j in 0..N {
            sum += c[j] * inputs[j][i];
        }
        *x = sum;
    }
}

/// Aligned 256-bit stores, four to a round.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn linear_avx2<const N: usize>(x: &mut [f32], inputs: [&[f32]; N], a: f32, c: [f32; N]) {
    let len = inputs
        .iter()
        .fold(x.len(), |len, input| len.min(input.len()));
    let head = (x.as_ptr().addr().wrapping_neg() % 32 / 4).min(len);
    linear(&mut x[..head], inputs, a, c);
    let (va, vc) = (_mm256_set1_ps(a), c.map(|c| _mm256_set1_ps(c)));
    let mut i = head;
    while i + 32 <= len {
        // SAFETY: i + 32 ≤ len, and x + i is a multiple of 32 bytes.
        unsafe {
            let px = x.as_mut_ptr().add(i);
            let step = |k: usize| {
                let mut sum = _mm256_mul_ps(va, _mm256_load_ps(px.add(k)));
                for j in 0..N {
                    let value = _mm256_loadu_ps(inputs[j].as_ptr().add(i + k));
                    sum = _mm256_add_ps(sum, _mm256_mul_ps(vc[j], value));
                }
                sum
            };
            let (v0, v1, v2, v3) = (step(0), step(8), step(16), step(24));
            _mm256_store_ps(px, v0);
            _mm256_store_ps(px.add(8), v1);
            _mm256_store_ps(px.add(16), v2);
            _mm256_store_ps(px.add(24), v3);
        }
        i += 32;
    }
    linear(&mut x[i..len], inputs.map(|input| &input[i..len]), a, c);
}

/// All arrays side by side, as a reduction reads them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(arrays: &[&[f32]]) -> f32 {
    let len = arrays.iter().map(|array| array.len()).min().unwrap_or(0);
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut i = 0;
    while i + 32 <= len {
        for array in arrays {
            for (k, sum) in sums.iter_mut().enumerate() {
                // SAFETY: i + 32 ≤ len.
                let value = unsafe { _mm256_loadu_ps(array.as_ptr().add(i + 8 * k)) };
                *sum = _mm256_add_ps(*sum, value);
            }
        }
        i += 32;
    }
    let mut lanes = [0.0f32; 8];
    let sum = _mm256_add_ps(
        _mm256_add_ps(sums[0], sums[1]),
        _mm256_add_ps(sums[2], sums[3]),
    );
    // SAFETY: the array holds eight elements.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    lanes.iter().sum()
}
