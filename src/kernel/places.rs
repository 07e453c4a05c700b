//! Where the positions along an axis lie in a batch, and which entry of a list each has.
//!
//! Axis j of an array in standard layout cuts a sample into (outer, position, inner) blocks: a
//! position's elements lie in `outer` slices of `inner` each. What holds for a position is said by an
//! index, so that a list of forms is as long as there are different ones, not as there are positions.

use crate::error::{Error, require_length};

/// The entry of each position along an axis: the same for every sample, or of each sample's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// Of each position, or of each position of each sample.
    of: &'a [u32],
    /// The positions of a sample.
    positions: usize,
    /// The elements of a position that lie behind one another.
    inner: usize,
    /// What lies between the entries of one sample and of the next: 0 where they are the same.
    stride: usize,
}

impl<'a> Places<'a> {
    /// The places along `axis` of arrays of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::WrongAxis`] unless the axis is one of the shape's and not that of the samples;
    /// [`Error::WrongLength`] unless there is an entry for each position, or for each position of
    /// each sample.
    pub(crate) fn new(shape: &[usize], axis: usize, of: &'a [u32]) -> Result<Self, Error> {
        let positions = positions(shape, axis)?;
        let samples = shape.first().copied().unwrap_or(0);
        let stride = stride(of.len(), samples, positions)?;
        let inner = shape.iter().skip(axis + 1).product();
        Ok(Self {
            of,
            positions,
            inner,
            stride,
        })
    }

    /// The entry of an element of a sample, and how many elements from it on have the same one:
    /// neighbours are joined, up to about `most` elements. `None` beyond the last.
    #[inline]
    pub(crate) fn run(&self, sample: usize, element: usize, most: usize) -> Option<(usize, usize)> {
        let block = element / self.inner.max(1);
        let mut position = block % self.positions.max(1);
        let own = self.of.get(sample * self.stride..)?;
        let entry = *own.get(position)?;
        let mut end = (block + 1) * self.inner;
        while end - element < most {
            position += 1;
            if position == self.positions || own.get(position) != Some(&entry) {
                break;
            }
            end += self.inner;
        }
        Some((entry as usize, end - element))
    }

    /// The entries of the elements of a sample, one by one, from this one on.
    #[inline]
    pub(super) fn walk(&self, sample: usize, element: usize) -> Walk<'a> {
        let inner = self.inner.max(1);
        let start = self.of.len().min(sample * self.stride);
        Walk {
            own: &self.of[start..],
            position: element / inner % self.positions.max(1),
            positions: self.positions,
            inner,
            left: inner - element % inner,
        }
    }
}

/// The entries of elements, without a division for each.
pub(super) struct Walk<'a> {
    own: &'a [u32],
    position: usize,
    positions: usize,
    inner: usize,
    /// The elements of the position that are left.
    left: usize,
}

impl Iterator for Walk<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.left = self.inner;
            self.position += 1;
            if self.position == self.positions {
                self.position = 0;
            }
        }
        self.left -= 1;
        self.own.get(self.position).map(|&entry| entry as usize)
    }
}

#[cfg(test)]
impl Places<'_> {
    /// The entry of an element, by the formula.
    pub(super) fn entry(&self, sample: usize, element: usize) -> usize {
        let position = element / self.inner % self.positions;
        self.of[sample * self.stride + position] as usize
    }
}

/// The length of an axis that is not the samples'.
pub(crate) fn positions(shape: &[usize], axis: usize) -> Result<usize, Error> {
    match shape.get(axis) {
        Some(&positions) if axis > 0 => Ok(positions),
        _ => Err(Error::WrongAxis {
            axis,
            axes: shape.len(),
        }),
    }
}

/// What lies between the entries of one sample and of the next in a list of this length.
pub(crate) fn stride(len: usize, samples: usize, positions: usize) -> Result<usize, Error> {
    if len == positions {
        return Ok(0);
    }
    let all = samples.saturating_mul(positions);
    // The shorter of the two lists that would do is what a message can best name.
    let expected = if len < all { positions } else { all };
    if len != all {
        require_length("levels of the positions", expected, len)?;
    }
    Ok(positions)
}
