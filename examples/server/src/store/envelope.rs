//! A file's first line: the length of the rest and its checksum.
//!
//! A snapshot has a checksum of its own, but the request beside it has none: one digit of a seed
//! that flips on the disk would be another run.

use std::path::Path;

use super::StoreError;
use crate::checksum::checksum;

/// The first line's length: a length of 20 digits, a space, a checksum of 16, a line feed.
const LINE: usize = 20 + 1 + 16 + 1;

/// The content behind its first line.
pub(super) fn close(content: Vec<u8>) -> Vec<u8> {
    let sum = checksum(content.iter().copied());
    let mut file = format!("{:020} {sum:016x}\n", content.len()).into_bytes();
    file.extend(content);
    file
}

/// The content, if it is what was written.
pub(super) fn open<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b [u8], StoreError> {
    let path = || path.to_owned();
    let Some((line, content)) = bytes.split_at_checked(LINE) else {
        return Err(StoreError::NoFirstLine { path: path() });
    };
    let line = std::str::from_utf8(line).ok();
    let numbers = line.and_then(|line| line.strip_suffix('\n')?.split_once(' '));
    let numbers = numbers.and_then(|(length, sum)| {
        let sum = u64::from_str_radix(sum, 16).ok()?;
        Some((length.parse::<usize>().ok()?, sum))
    });
    let Some((expected, sum)) = numbers else {
        return Err(StoreError::NoFirstLine { path: path() });
    };
    if content.len() != expected {
        return Err(StoreError::Torn {
            path: path(),
            expected,
            found: content.len(),
        });
    }
    let found = checksum(content.iter().copied());
    if found != sum {
        return Err(StoreError::Damaged {
            path: path(),
            expected: sum,
            found,
        });
    }
    Ok(content)
}
