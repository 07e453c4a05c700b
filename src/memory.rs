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
//!
//! Lists whose length comes from the caller are made by the same rules: [`repeated`], [`Listed`],
//! [`push`]. Where their entries own memory of their own (the steps of a plan), each few hundred of
//! them are only begun where memory for all of them can be had: such a list is filled by [`push`],
//! never by `Vec::push`. Beside every array that is reserved from 4 KiB on there is room for what is
//! small: boxed names, lists of axes, errors.

use ndarray::{Array, ArrayRef, Dimension};

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
    if std::mem::needs_drop::<T>() && len >= FEW {
        leave(len.min(GROUP) * OWNED, shape)?;
    } else if bytes >= LARGE {
        leave(BESIDE, shape)?;
    }
    Ok(elements)
}

/// Smaller arrays are as good as none.
const LARGE: usize = 4 << 10;

/// Room that is left beside a larger array for what is small.
const BESIDE: usize = 64 << 10;

/// Looks whether so much more can be had, and gives it back.
fn leave(bytes: usize, shape: &[usize]) -> Result<(), Error> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(bytes)
        .map_err(|_| too_large(shape))?;
    // An allocation that nothing looks at may be left out of the program.
    drop(std::hint::black_box(room));
    Ok(())
}

/// Memory that cannot be had. Where not even the shape's list can, it is left empty.
#[cold]
pub(crate) fn too_large(shape: &[usize]) -> Error {
    let mut axes = Vec::new();
    if axes.try_reserve_exact(shape.len()).is_ok() {
        axes.extend_from_slice(shape);
    }
    Error::TooLarge { shape: axes }
}

/// A list of `len` copies of one value, whose clones own no memory.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn repeated<T: Clone>(value: T, len: usize) -> Result<Vec<T>, Error> {
    let mut list = reserve(&[len])?;
    list.resize(len, value);
    Ok(list)
}

/// An array of the elements that `element` gives for their places.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn square_of<A: Real>(
    (rows, columns): (usize, usize),
    mut element: impl FnMut((usize, usize)) -> A,
) -> Result<ndarray::Array2<A>, Error> {
    let mut array = zeros(ndarray::Dim([rows, columns]))?;
    for (place, value) in array.indexed_iter_mut() {
        *value = element(place);
    }
    Ok(array)
}

/// Appends one entry.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn push<T>(list: &mut Vec<T>, entry: T) -> Result<(), Error> {
    make_room(list, 1)?;
    list.push(entry);
    Ok(())
}

/// Appends copies of entries that own no memory.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn append<T: Copy>(list: &mut Vec<T>, entries: &[T]) -> Result<(), Error> {
    make_room(list, entries.len())?;
    list.extend_from_slice(entries);
    Ok(())
}

/// Makes a list this long, with `value` for what is new.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn resize<T: Clone>(list: &mut Vec<T>, len: usize, value: T) -> Result<(), Error> {
    make_room(list, len.saturating_sub(list.len()))?;
    list.resize(len, value);
    Ok(())
}

/// Appends all entries of an iterator.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn extend<T>(
    list: &mut Vec<T>,
    entries: impl IntoIterator<Item = T>,
) -> Result<(), Error> {
    let entries = entries.into_iter();
    make_room(list, entries.size_hint().0)?;
    for entry in entries {
        push(list, entry)?;
    }
    Ok(())
}

/// Entries that own memory are made in groups of so many at most, in smaller ones at first.
const GROUP: usize = 512;

/// So few entries that own memory are as good as none.
const FEW: usize = 16;

/// More than an entry that owns memory owns: a plan's step of four stages has less than 2 KiB.
const OWNED: usize = 4 << 10;

/// Room for so many more entries.
fn make_room<T>(list: &mut Vec<T>, more: usize) -> Result<(), Error> {
    let len = list.len().saturating_add(more);
    if list.capacity() < len {
        let bytes = len.saturating_mul(size_of::<T>());
        if !can_be_had(bytes) || list.try_reserve(more).is_err() {
            return Err(too_large(&[len]));
        }
    }
    let held = list.len();
    let begins = held.is_multiple_of(GROUP) || held.is_power_of_two();
    if std::mem::needs_drop::<T>() && held >= FEW && begins {
        leave(held.min(GROUP) * OWNED, &[len])?;
    }
    Ok(())
}

/// The entries in this order; equal ones stay in theirs.
///
/// # Errors
///
/// As [`zeros`].
pub(crate) fn sorted<T: Copy>(
    entries: &[T],
    by: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Result<Vec<T>, Error> {
    // The standard library's stable sort makes a buffer, and cannot say that there is none.
    let mut order = (0..entries.len()).listed()?;
    order.sort_unstable_by(|&a, &b| by(&entries[a], &entries[b]).then(a.cmp(&b)));
    order.iter().map(|&place| entries[place]).listed()
}

/// Iterators to lists.
pub(crate) trait Listed: Iterator + Sized {
    /// All entries.
    ///
    /// # Errors
    ///
    /// As [`zeros`].
    fn listed(self) -> Result<Vec<Self::Item>, Error> {
        self.map(Ok).all_listed()
    }

    /// All entries, or the first error.
    ///
    /// # Errors
    ///
    /// As [`zeros`], and the first of the iterator.
    fn all_listed<T, E: From<Error>>(self) -> Result<Vec<T>, E>
    where
        Self: Iterator<Item = Result<T, E>>,
    {
        let mut list = reserve(&[self.size_hint().0])?;
        for entry in self {
            push(&mut list, entry?)?;
        }
        Ok(list)
    }
}

impl<I: Iterator> Listed for I {}

/// Copies of what is borrowed.
pub(crate) trait Copied {
    /// The copy.
    type Copy;

    /// A copy.
    ///
    /// # Errors
    ///
    /// As [`zeros`].
    fn copy(&self) -> Result<Self::Copy, Error>;
}

impl<T: Copy> Copied for [T] {
    type Copy = Vec<T>;

    fn copy(&self) -> Result<Vec<T>, Error> {
        let mut list = reserve(&[self.len()])?;
        list.extend_from_slice(self);
        Ok(list)
    }
}

impl<T: Copied> Copied for Vec<T> {
    type Copy = Vec<T::Copy>;

    fn copy(&self) -> Result<Vec<T::Copy>, Error> {
        self.iter().map(T::copy).all_listed()
    }
}

impl<A: Copy, D: Dimension> Copied for ArrayRef<A, D> {
    type Copy = Array<A, D>;

    fn copy(&self) -> Result<Array<A, D>, Error> {
        let mut elements = reserve(self.shape())?;
        match self.as_slice() {
            Some(slice) => elements.extend_from_slice(slice),
            None => elements.extend(self.iter().copied()),
        }
        Array::from_shape_vec(self.raw_dim(), elements).map_err(|_| too_large(self.shape()))
    }
}

/// False if the system says that so many bytes are not to be had.
#[cfg(target_os = "linux")]
fn can_be_had(bytes: usize) -> bool {
    // Miri has no files.
    cfg!(miri)
        || bytes < WORTH_ASKING
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

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn lists_grow_as_they_are_filled_and_are_refused_as_arrays_are() {
        assert_eq!((0..5).listed(), Ok(vec![0, 1, 2, 3, 4]));
        assert_eq!(repeated(7u8, 3), Ok(vec![7, 7, 7]));
        let stopped: Result<Vec<i32>, Error> = [Ok(1), Err(Error::NoSampleAxis), Ok(2)]
            .into_iter()
            .all_listed();
        assert_eq!(stopped, Err(Error::NoSampleAxis));
        let mut list = vec![1];
        push(&mut list, 2).unwrap();
        append(&mut list, &[3, 4]).unwrap();
        extend(&mut list, 5..7).unwrap();
        resize(&mut list, 8, 0).unwrap();
        assert_eq!(list, [1, 2, 3, 4, 5, 6, 0, 0]);
        resize(&mut list, 2, 0).unwrap();
        assert_eq!(list[..].copy(), Ok(vec![1, 2]));
        // Entries that own memory are made in groups.
        let owners = (0..3 * GROUP).map(|n| vec![n; 3]).listed().unwrap();
        assert!(owners.iter().enumerate().all(|(n, own)| *own == [n; 3]));
        // What an address can be, but not what a machine has; miri stops where it is asked for that.
        let many = usize::MAX / if cfg!(miri) { 8 } else { 16 };
        let refused = Error::TooLarge { shape: vec![many] };
        assert_eq!(repeated(0.0f64, many), Err(refused.clone()));
        assert_eq!(resize(&mut vec![0.0f64; 0], many, 0.0), Err(refused));
    }

    #[test]
    fn copies_are_in_standard_layout_whatever_is_copied() {
        let array = Array2::from_shape_fn((3, 4), |(i, j)| (10 * i + j) as f64);
        let copy = array.t().copy().unwrap();
        assert_eq!(copy, array.t());
        assert!(copy.is_standard_layout());
        assert_eq!(array.copy().unwrap(), array);
        let rows = square_of((3, 4), |(i, j)| (10 * i + j) as f64).unwrap();
        assert_eq!(rows, array);
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
