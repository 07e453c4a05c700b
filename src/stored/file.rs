//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checksum::{Checksum, check};
use crate::error::{Error, require_length};

/// The first bytes of a file.
const MAGIC: u64 = u64::from_le_bytes(*b"diffsamp");

/// The version of the frame.
const KNOWN: u32 = 1;

/// The words before the contents: what the file is, its version, the length, the checksum.
const HEADER: usize = 32;

/// Puts `contents`, of any format, in the place of a file, so that whatever ends the process or the
/// machine, the file is the old one or the new one, whole: it is written beside (the name with
/// `.new` behind), given to the disk, and renamed. [`read_file`] gives them back, and finds all
/// that disks and transfers do to files.
///
/// Before the contents stand four little-endian words of 64 bits: the bytes `diffsamp`, the version
/// 1, the length of the contents, and FNV-1a (64 bits) of their bytes after the version and the
/// length.
///
/// One writer at a time for a path. What a killed writer leaves beside is overwritten by the next.
///
/// ```
/// use diffusion_sampler::stored::{read_file, write_file};
///
/// let path = std::env::temp_dir().join(format!("run-{}.json", std::process::id()));
/// write_file(&path, b"[1]")?;
/// write_file(&path, b"[1, 2]")?;
/// assert_eq!(read_file(&path)?, b"[1, 2]");
/// // A file that was not written to its end:
/// let whole = std::fs::read(&path)?;
/// std::fs::write(&path, &whole[..whole.len() - 1])?;
/// assert!(read_file(&path).is_err());
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of the file system; the file is then the old one. [`io::ErrorKind::InvalidInput`] for a
/// path without a file name.
pub fn write_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a file to write has no file name",
        ));
    };
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = path.with_file_name(beside);
    let mut file = File::create(&beside)?;
    for word in header(contents) {
        file.write_all(&word.to_le_bytes())?;
    }
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// The contents of a file that [`write_file`] wrote.
///
/// # Errors
///
/// Those of the file system, that of a file that does not exist among them;
/// [`io::ErrorKind::InvalidData`] around an [`Error`]: [`Error::StoredFile`] for what is no such
/// file, [`Error::StoredVersion`], [`Error::WrongLength`] for a torn file and
/// [`Error::StoredChecksum`] for a damaged one.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    check_frame(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    bytes.drain(..HEADER);
    Ok(bytes)
}

fn check_frame(bytes: &[u8]) -> Result<(), Error> {
    let word = |index: usize| {
        let bytes = bytes.get(8 * index..8 * index + 8)?;
        <[u8; 8]>::try_from(bytes).ok().map(u64::from_le_bytes)
    };
    let words = [word(0), word(1), word(2), word(3)];
    let [Some(magic), Some(version), Some(length), Some(found)] = words else {
        return require_length("stored file", HEADER, bytes.len());
    };
    if magic != MAGIC {
        return Err(Error::StoredFile {
            expected: MAGIC,
            found: magic,
        });
    }
    if version != u64::from(KNOWN) {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(Error::StoredVersion {
            found,
            known: KNOWN,
        });
    }
    let expected = usize::try_from(length).unwrap_or(usize::MAX);
    let contents = &bytes[HEADER..];
    require_length("contents of a stored file", expected, contents.len())?;
    check("file", checksum(contents), Some(found), true)
}

/// The words before the contents.
fn header(contents: &[u8]) -> [u64; HEADER / 8] {
    let length = contents.len() as u64;
    [MAGIC, u64::from(KNOWN), length, checksum(contents)]
}

fn checksum(contents: &[u8]) -> u64 {
    let mut sum = Checksum::new();
    sum.word(u64::from(KNOWN));
    sum.word(contents.len() as u64);
    sum.bytes(contents);
    sum.value()
}

/// The new name outlives a loss of power once the folder is on the disk too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a file with "seven 7" in it.
    fn framed() -> Vec<u8> {
        let words = header(b"seven 7").map(u64::to_le_bytes);
        [&words.concat()[..], b"seven 7"].concat()
    }

    #[cfg_attr(miri, ignore = "there are no files")]
    #[test]
    fn a_file_is_written_with_its_frame_and_read_without() {
        let path = std::env::temp_dir().join(format!("frame-{}", std::process::id()));
        write_file(&path, b"seven 7").unwrap();
        assert_eq!(fs::read(&path).unwrap(), framed());
        assert_eq!(read_file(&path).unwrap(), b"seven 7");
        fs::remove_file(&path).unwrap();
        assert!(write_file(Path::new("/"), b"").is_err());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_of_a_file_is_an_error() {
        let whole = framed();
        assert_eq!(check_frame(&whole), Ok(()));
        for length in 0..whole.len() {
            let torn = check_frame(&whole[..length]);
            assert!(matches!(torn, Err(Error::WrongLength { .. })), "{length}");
        }
        for bit in 0..8 * whole.len() {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let refused = check_frame(&damaged);
            let right = match bit / 64 {
                0 => matches!(refused, Err(Error::StoredFile { .. })),
                1 => matches!(refused, Err(Error::StoredVersion { known: 1, .. })),
                2 => matches!(refused, Err(Error::WrongLength { .. })),
                _ => matches!(refused, Err(Error::StoredChecksum { name: "file", .. })),
            };
            assert!(right, "bit {bit}: {refused:?}");
        }
        let longer = [&whole[..], b"0"].concat();
        assert!(matches!(
            check_frame(&longer),
            Err(Error::WrongLength { .. })
        ));
    }
}
