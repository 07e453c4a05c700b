//! The run's own arrays: reserved fallibly, and in huge pages where they are large.
//!
//! What cannot be had is [`Error::TooLarge`], never an abort. Reserving is not enough for that on a
//! system that overcommits: it may promise more memory than there is and end the process when the
//! memory is written. So from 1 GiB up, a reservation on Linux is also compared with what the
//! system says can be had (`MemAvailable` and `SwapFree` of `/proc/meminfo`); every array is
//! written at once, so that the next one sees what is left. Others may take the memory between the
//! look and the writing, and limits of a container are not looked at: against those, no library can
//! promise anything.
//!
//! From 4 MiB up, Linux is asked for huge pages before the first touch: a page of 2 MiB needs one
//! entry of the translation buffer instead of 512. Where they are refused or unknown, nothing is
//! lost.

use ndarray::{Array, Dimension};

use crate::error::Error;
use crate::real::Real;

/// Smaller buffers stay on ordinary pages.
#[cfg(target_os = "linux")]
const WORTH_HUGE_PAGES: usize = 4 << 20;

/// The size and alignment of a huge page on x86-64 and, with pages of 4 KiB, on AArch64.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Smaller buffers are not compared with what is free, which a file has to be read for.
#[cfg(target_os = "linux")]
const WORTH_ASKING: usize = 1 << 30;

/// An array of zeros.
///
/// # Errors
///
/// [`Error::TooLarge`] for more memory than can be had.
pub(crate) fn zeros<A: Real, D: Dimension>(shape: D) -> Result<Array<A, D>, Error> {
    filled(shape, A::zero())
}

/// An array of one value.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn filled<A: Real, D: Dimension>(shape: D, value: A) -> Result<Array<A, D>, Error> {
    crate::error::require_size::<A>(shape.slice())?;
    let mut elements = reserve::<A>(shape.slice())?;
    // As many as are reserved: the product did not overflow there.
    elements.resize(shape.slice().iter().product(), value);
    Array::from_shape_vec(shape.clone(), elements).map_err(|_| too_large(shape.slice()))
}

/// An empty vector with room for exactly the elements of this shape.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn reserve<T>(shape: &[usize]) -> Result<Vec<T>, Error> {
    let len = if shape.contains(&0) {
        Some(0)
    } else {
        shape
            .iter()
            .try_fold(1usize, |product, &axis| product.checked_mul(axis))
    };
    let len = len.ok_or_else(|| too_large(shape))?;
    let bytes = len
        .checked_mul(size_of::<T>())
        .ok_or_else(|| too_large(shape))?;
    if !can_be_had(bytes) {
        return Err(too_large(shape));
    }
    let mut elements = Vec::new();
    elements
        .try_reserve_exact(len)
        .map_err(|_| too_large(shape))?;
    huge_pages(&mut elements);
    Ok(elements)
}

#[cold]
fn too_large(shape: &[usize]) -> Error {
    Error::TooLarge {
        shape: shape.to_vec(),
    }
}

/// False if the system says that so many bytes are not to be had.
#[cfg(target_os = "linux")]
fn can_be_had(bytes: usize) -> bool {
    bytes < WORTH_ASKING
        || std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| available(&text))
            .is_none_or(|available| bytes as u64 <= available)
}

#[cfg(not(target_os = "linux"))]
fn can_be_had(_: usize) -> bool {
    true
}

/// The bytes that `/proc/meminfo` calls available, with free swap.
#[cfg(target_os = "linux")]
fn available(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    let swap = field("SwapFree:").unwrap_or(0);
    field("MemAvailable:").map(|memory| memory.saturating_add(swap))
}

/// Asks for huge pages for what is reserved and not yet written.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn huge_pages<T>(elements: &mut Vec<T>) {
    use rustix::mm::{Advice, madvise};

    let room = elements.spare_capacity_mut();
    let bytes = size_of_val(room);
    if bytes < WORTH_HUGE_PAGES {
        return;
    }
    let start = room.as_mut_ptr().cast::<u8>();
    // Only whole huge pages can be huge; they begin and end on a page of any size.
    let before = start.align_offset(HUGE_PAGE);
    let inside = bytes.saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
    if inside == 0 {
        return;
    }
    // SAFETY: the range lies within the reserved room that `elements` owns and lends mutably here.
    let first = unsafe { start.add(before) };
    // Miri has checked the range, and does not have the call.
    if cfg!(miri) {
        return;
    }
    // SAFETY: the range is that room, and `MADV_HUGEPAGE` changes how the system backs it, never what
    // it holds. An error means that it stays as it was.
    let _ = unsafe { madvise(first.cast(), inside, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn huge_pages<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Dim, IxDyn};

    use super::*;

    #[test]
    fn arrays_hold_their_value_below_and_above_the_huge_pages() {
        // Each element is a call in miri; there the huge pages have a test of their own.
        let large = [(4 << 20) / 4 - 1, (9 << 20) / 4 + 3];
        let large = if cfg!(miri) { [2, 3] } else { large };
        for len in [0, 1, 1000].into_iter().chain(large) {
            let array: Array1<f32> = zeros(Dim(len)).unwrap();
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|&v| v == 0.0));
            let array: Array1<f64> = filled(Dim(len), f64::NAN).unwrap();
            assert!(array.iter().all(|v| v.is_nan()));
        }
        let array: Array2<f32> = filled(Dim((3, 5)), 2.0).unwrap();
        assert!(array.is_standard_layout());
        assert_eq!(array.sum(), 30.0);
        assert_eq!(zeros::<f32, _>(IxDyn(&[])).unwrap().len(), 1);
    }

    #[test]
    fn a_reservation_is_exact_and_empty() {
        let elements = reserve::<u8>(&[3, 1000, 1000]).unwrap();
        assert!(elements.is_empty() && elements.capacity() >= 3_000_000);
        assert_eq!(reserve::<f64>(&[usize::MAX, 0, 7]).unwrap().capacity(), 0);
        assert_eq!(reserve::<f64>(&[]).unwrap().capacity(), 1);
    }

    /// With miri this is where the range that is given to the system is checked.
    #[test]
    fn huge_pages_are_asked_for_the_room_alone() {
        for bytes in [4 << 20, (4 << 20) + 1, 9 << 20] {
            let mut elements = reserve::<u8>(&[bytes]).unwrap();
            assert!(elements.is_empty() && elements.capacity() >= bytes);
            elements.push(1);
            huge_pages(&mut elements);
            assert_eq!(elements, [1]);
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[cfg_attr(miri, ignore = "a file says what memory is free")]
    #[test]
    fn more_than_can_be_had_is_refused_and_nothing_is_aborted() {
        // Past the size of an index, past the address space, and past every machine's memory.
        for shape in [[usize::MAX, 2], [1 << 30, 1 << 24], [1 << 20, 1 << 23]] {
            let refused = Error::TooLarge {
                shape: shape.to_vec(),
            };
            let shape = Dim(shape);
            assert_eq!(zeros::<f32, _>(shape), Err(refused.clone()));
            assert_eq!(filled::<f64, _>(shape, f64::NAN), Err(refused.clone()));
            assert_eq!(reserve::<f64>(shape.slice()), Err(refused));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_available_is_read_off_the_system() {
        let text = "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   64 kB\nSwapFree:  16 kB\n";
        assert_eq!(available(text), Some(80 * 1024));
        assert_eq!(
            available("MemTotal: 100 kB\nMemAvailable: 5 kB\n"),
            Some(5 * 1024)
        );
        assert_eq!(available("MemAvailable: many\n"), None);
        assert_eq!(available(""), None);
    }
}
