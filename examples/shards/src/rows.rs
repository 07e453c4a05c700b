//! Rows of the result: which are a shard's, which are finished, which are missing.

use std::ops::Range;

use crate::misuse::Misuse;

/// One of several equal parts of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// The whole job.
    pub(crate) const WHOLE: Self = Self { index: 0, count: 1 };

    /// Shard `index` of `count`, counted from 0.
    pub(crate) fn new(index: u64, count: u64) -> Result<Self, Misuse> {
        if index < count {
            return Ok(Self { index, count });
        }
        Err(Misuse::NoSuchShard { index, count })
    }

    /// From "i/n".
    pub(crate) fn parse(text: &str) -> Result<Self, Misuse> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, count) = numbers.ok_or_else(|| Misuse::InvalidValue {
            option: "--shard",
            value: text.to_owned(),
            allowed: "i/n, two whole numbers with i below n",
        })?;
        Self::new(index, count)
    }

    /// Its rows, ⌊iN/n⌋ to ⌊(i + 1)N/n⌋: the shares of any two shards differ by one row at most.
    pub(crate) fn rows(self, samples: u64) -> Range<u64> {
        let bound = |shard: u64| {
            let rows = u128::from(shard) * u128::from(samples) / u128::from(self.count);
            // At most `samples`, since `shard` is at most `count`.
            u64::try_from(rows).unwrap_or(samples)
        };
        bound(self.index)..bound(self.index + 1)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A set of rows, as ranges in order that do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowSet(Vec<Range<u64>>);

impl FromIterator<Range<u64>> for RowSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|rows| !rows.is_empty()).collect();
        ranges.sort_by_key(|rows| rows.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for rows in ranges {
            match joined.last_mut() {
                Some(last) if rows.start <= last.end => last.end = last.end.max(rows.end),
                _ => joined.push(rows),
            }
        }
        Self(joined)
    }
}

impl RowSet {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|rows| rows.end - rows.start).sum()
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// What `all` has and this set does not.
    pub(crate) fn missing(&self, all: Range<u64>) -> Self {
        let mut missing = Vec::new();
        let mut next = all.start;
        for rows in &self.0 {
            missing.push(next..rows.start.min(all.end));
            next = next.max(rows.end);
        }
        missing.push(next..all.end);
        missing.into_iter().collect()
    }

    /// The same rows in batches of at most `batch`.
    pub(crate) fn batches(&self, batch: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let batch = batch.max(1);
        self.0.iter().flat_map(move |rows| {
            let count = (rows.end - rows.start).div_ceil(batch);
            (0..count).map(move |index| {
                let start = rows.start + index * batch;
                start..rows.end.min(start.saturating_add(batch))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_of_a_job_have_every_row_once_and_differ_by_one_row() {
        for samples in [0, 1, 2, 7, 64, 1000, u64::MAX] {
            for count in [1, 2, 3, 4, 7, 65, 999] {
                let mut next = 0;
                for index in 0..count {
                    let rows = Shard::new(index, count).unwrap().rows(samples);
                    assert_eq!(rows.start, next);
                    let share = rows.end - rows.start;
                    assert!(share == samples / count || share == samples / count + 1);
                    next = rows.end;
                }
                assert_eq!(next, samples);
            }
        }
    }

    #[test]
    fn a_shard_that_is_none_is_refused() {
        let refused = Misuse::NoSuchShard { index: 4, count: 4 };
        assert_eq!(Shard::parse("4/4"), Err(refused));
        assert!(Shard::parse("0/0").is_err() && Shard::parse("3/4").is_ok());
        for text in [
            "",
            "1",
            "1/",
            "/2",
            "-1/2",
            "1/2/3",
            "a/b",
            "1.0/2",
            "0/99999999999999999999",
        ] {
            let Err(Misuse::InvalidValue { value, .. }) = Shard::parse(text) else {
                panic!("{text}");
            };
            assert_eq!(value, text);
        }
    }

    /// Every set of rows below 8, as a mask.
    fn set(mask: u32) -> RowSet {
        (0..8)
            .filter(|row| mask >> row & 1 == 1)
            .map(|row| row..row + 1)
            .collect()
    }

    fn members(set: &RowSet) -> u32 {
        let rows = set.ranges().iter().cloned().flatten();
        rows.fold(0, |mask, row| mask | 1 << row)
    }

    #[test]
    fn what_is_missing_is_what_is_not_there() {
        for mask in 0..256 {
            let rows = set(mask);
            assert_eq!(members(&rows), mask);
            assert_eq!(rows.len(), u64::from(mask.count_ones()));
            for start in 0..=8u64 {
                for end in start..=8 {
                    let within = (1 << end) - (1 << start);
                    assert_eq!(members(&rows.missing(start..end)), within & !mask);
                }
            }
        }
    }

    #[test]
    fn batches_are_the_rows_in_pieces() {
        for mask in 0..256 {
            for batch in 1..=9 {
                let batches: Vec<_> = set(mask).batches(batch).collect();
                assert!(
                    batches
                        .iter()
                        .all(|rows| rows.end - rows.start <= batch && !rows.is_empty())
                );
                let total: u64 = batches.iter().map(|rows| rows.end - rows.start).sum();
                assert_eq!(total, set(mask).len());
                assert_eq!(batches.into_iter().collect::<RowSet>(), set(mask));
            }
        }
    }
}
