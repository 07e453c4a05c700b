//! Which instruction set the kernels run on, and its conversions of f16; with one call in
//! `memory.rs`, the crate's only `unsafe`.
//!
//! A kernel is one safe body, written once and generic over nothing but data: a [`Task`] whose
//! `run` is `#[inline(always)]`. [`dispatch`] calls it from inside a function that may use AVX2 (or
//! AVX-512), into which it is inlined, so the compiler vectorises the same source for each
//! instruction set. The bodies use only `+`, `−`, `×`, `÷`, `sqrt` and integer operations, each of
//! which is exactly rounded on every instruction set (never `mul_add`), so the bits do not depend
//! on the level; the tests force each level and compare with `==`.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

/// The instruction set of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdLevel {
    /// What the compilation target guarantees: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// 256-bit vectors on x86, and F16C, which every processor with AVX2 has.
    Avx2,
    /// 512-bit vectors on x86 (F, VL, BW and DQ).
    Avx512,
}

/// The level in use as 1 + rank; 0 until it is requested. Never above what [`detect`] finds:
/// [`avx2`] and [`avx512`] rely on it.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl SimdLevel {
    fn code(self) -> u8 {
        match self {
            Self::Portable => 1,
            Self::Avx2 => 2,
            Self::Avx512 => 3,
        }
    }
}

/// The instruction set in use: the best that this machine has, unless [`force_simd_level`] asked
/// for less.
#[inline]
pub fn simd_level() -> SimdLevel {
    match LEVEL.load(Ordering::Relaxed) {
        1 => SimdLevel::Portable,
        2 => SimdLevel::Avx2,
        3 => SimdLevel::Avx512,
        _ => detect_and_store(),
    }
}

/// Forces the instruction set for the whole process, `None` for the best that there is; for tests
/// and benches.
///
/// More than the machine has is lowered to what it has. No result depends on the level, so a change
/// while others compute does no harm.
pub fn force_simd_level(level: Option<SimdLevel>) {
    let most = detect();
    let level = match level {
        Some(wanted) if wanted.code() < most.code() => wanted,
        _ => most,
    };
    LEVEL.store(level.code(), Ordering::Relaxed);
}

#[cold]
fn detect_and_store() -> SimdLevel {
    let level = detect();
    // Only over "not yet known", so that a level just forced by another thread is kept.
    let _ = LEVEL.compare_exchange(0, level.code(), Ordering::Relaxed, Ordering::Relaxed);
    level
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn detect() -> SimdLevel {
    if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("f16c") {
        SimdLevel::Portable
    } else if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
    {
        SimdLevel::Avx512
    } else {
        SimdLevel::Avx2
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn detect() -> SimdLevel {
    SimdLevel::Portable
}

/// Work that is compiled once for each instruction set.
pub(crate) trait Task {
    /// What it returns.
    type Output;

    /// Does the work. Must be `#[inline(always)]`, and so must all that is hot in it: code that is
    /// not inlined is compiled for the portable level only.
    fn run(self) -> Self::Output;
}

/// Runs `task` on AVX2 if there is AVX2, on the portable level otherwise.
///
/// For element-wise kernels: 512-bit stores would split cache lines on 16-byte-aligned buffers.
#[inline]
pub(crate) fn dispatch<T: Task>(task: T) -> T::Output {
    match simd_level() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        // SAFETY: `simd_level` never exceeds what `detect` finds, and both levels include AVX2.
        SimdLevel::Avx2 | SimdLevel::Avx512 => unsafe { avx2(task) },
        _ => task.run(),
    }
}

/// Runs `task` on the widest instruction set that there is; for arithmetic that outweighs its
/// stores.
#[inline]
pub(crate) fn dispatch_wide<T: Task>(task: T) -> T::Output {
    match simd_level() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        // SAFETY: `simd_level` never exceeds what `detect` finds: AVX-512 F, VL, BW and DQ.
        SimdLevel::Avx512 => unsafe { avx512(task) },
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        // SAFETY: as above: AVX2.
        SimdLevel::Avx2 => unsafe { avx2(task) },
        _ => task.run(),
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,f16c")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run()
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,f16c,avx512f,avx512vl,avx512bw,avx512dq")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run()
}

/// The processor's own conversions of f16: exact, and to nearest with ties to even.
///
/// Inlined into what [`dispatch`] compiles for AVX2, each is one instruction, where integer
/// operations take eight: too many for a step to hide behind the memory of L3.
#[cfg(feature = "half")]
pub(crate) mod f16c {
    use half::f16;

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    use super::{SimdLevel, simd_level};

    /// The halves as f32; `None` where the level has no instruction for it, and for other lengths
    /// than multiples of eight. One look at the level for a whole chunk: one for every eight, beside
    /// the vectors of the portable way, and the compiler takes the loop around them apart.
    #[inline(always)]
    pub(crate) fn widened<const L: usize>(halves: &[f16; L]) -> Option<[f32; L]> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if L.is_multiple_of(8) && simd_level() != SimdLevel::Portable {
            // SAFETY: `simd_level` never exceeds what `detect` finds, and every level but the
            // portable one includes F16C.
            return Some(unsafe { x86::widen(halves) });
        }
        let _ = halves;
        None
    }

    /// The values as halves; `None` as there.
    #[inline(always)]
    pub(crate) fn narrowed<const L: usize>(values: &[f32; L]) -> Option<[f16; L]> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if L.is_multiple_of(8) && simd_level() != SimdLevel::Portable {
            // SAFETY: as above.
            return Some(unsafe { x86::narrow(values) });
        }
        let _ = values;
        None
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    mod x86 {
        #[cfg(target_arch = "x86")]
        use std::arch::x86 as arch;
        #[cfg(target_arch = "x86_64")]
        use std::arch::x86_64 as arch;
        use std::mem::transmute;

        use half::f16;

        /// Whole eights; what is left stays 0.
        #[target_feature(enable = "f16c")]
        #[inline]
        pub(super) fn widen<const L: usize>(halves: &[f16; L]) -> [f32; L] {
            let mut wide = [0.0; L];
            let eights = wide.as_chunks_mut::<8>().0;
            for (wide, halves) in eights.iter_mut().zip(halves.as_chunks::<8>().0) {
                // SAFETY: equal sizes, and every pattern of bits is a value of either type.
                let halves = unsafe { transmute::<[f16; 8], arch::__m128i>(*halves) };
                // SAFETY: as above.
                *wide =
                    unsafe { transmute::<arch::__m256, [f32; 8]>(arch::_mm256_cvtph_ps(halves)) };
            }
            wide
        }

        /// Whole eights; what is left stays 0.
        #[target_feature(enable = "f16c")]
        #[inline]
        pub(super) fn narrow<const L: usize>(values: &[f32; L]) -> [f16; L] {
            const NEAREST: i32 = arch::_MM_FROUND_TO_NEAREST_INT;
            let mut halves = [f16::ZERO; L];
            let eights = halves.as_chunks_mut::<8>().0;
            for (halves, values) in eights.iter_mut().zip(values.as_chunks::<8>().0) {
                // SAFETY: as above.
                let values = unsafe { transmute::<[f32; 8], arch::__m256>(*values) };
                let packed = arch::_mm256_cvtps_ph::<NEAREST>(values);
                // SAFETY: as above.
                *halves = unsafe { transmute::<arch::__m128i, [f16; 8]>(packed) };
            }
            halves
        }
    }
}

/// Runs `body` at each level that this machine has, one test at a time.
#[cfg(test)]
pub(crate) fn at_each_level(mut body: impl FnMut(SimdLevel)) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for level in [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512] {
        force_simd_level(Some(level));
        if simd_level() == level {
            body(level);
        }
    }
    force_simd_level(None);
}

/// So many cases of a property; a hundredth of them in miri, which is slow and has no files to keep
/// those that failed in.
#[cfg(test)]
pub(crate) fn cases(count: u32) -> proptest::prelude::ProptestConfig {
    let mut config = proptest::prelude::ProptestConfig::with_cases(count);
    if cfg!(miri) {
        config.cases = count.div_ceil(100);
        config.failure_persistence = None;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [f32]);

    impl Task for Sum<'_> {
        type Output = f32;

        #[inline(always)]
        fn run(self) -> f32 {
            self.0.iter().sum()
        }
    }

    #[test]
    fn each_level_gives_the_same_and_none_exceeds_the_machine() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32).sqrt()).collect();
        let expected: f32 = values.iter().sum();
        let mut levels = Vec::new();
        at_each_level(|level| {
            assert!(level.code() <= detect().code());
            assert_eq!(dispatch(Sum(&values)), expected);
            assert_eq!(dispatch_wide(Sum(&values)), expected);
            levels.push(level);
        });
        assert_eq!(levels.len(), usize::from(detect().code()));
    }
}
