//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts `contents` in the place of a file, so that whatever ends the process or the machine, the
/// file is the old one or the new one, whole: it is written beside (the name with `.new` behind),
/// given to the disk, and renamed.
///
/// One writer at a time for a path. What a killed writer leaves beside is overwritten by the next.
///
/// ```
/// use diffusion_sampler::stored::replace_file;
///
/// let path = std::env::temp_dir().join(format!("replaced-{}.json", std::process::id()));
/// replace_file(&path, b"[1]")?;
/// replace_file(&path, b"[1, 2]")?;
/// assert_eq!(std::fs::read(&path)?, b"[1, 2]");
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of the file system; the file is then the old one. [`io::ErrorKind::InvalidInput`] for a path
/// without a file name.
pub fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a file to replace has no file name",
        ));
    };
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = path.with_file_name(beside);
    let mut file = File::create(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    sync_folder(path)
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
