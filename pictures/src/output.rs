//! Where the programs write.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The path of `file` in the folder that the first argument names, or in the workspace's `target`
/// without one.
///
/// # Errors
///
/// A message that says what was expected, for more than one argument, an option, something that is
/// not a folder, and a folder in which no file can be made.
pub fn path(file: &str) -> Result<PathBuf, Box<dyn Error>> {
    path_from(std::env::args_os().skip(1), file)
}

/// The same with the arguments that are given.
///
/// # Errors
///
/// As [`path`].
pub fn path_from(
    mut arguments: impl Iterator<Item = OsString>,
    file: &str,
) -> Result<PathBuf, Box<dyn Error>> {
    let folder = match (arguments.next(), arguments.next()) {
        (None, _) => Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"),
        (Some(folder), None) => PathBuf::from(folder),
        (Some(_), Some(second)) => {
            let second = second.display();
            return Err(
                format!("expected at most one argument, FOLDER; found also {second}").into(),
            );
        }
    };
    let shown = folder.display();
    if folder.as_os_str().is_empty() || folder.to_string_lossy().starts_with('-') {
        return Err(format!("expected the folder for {file}, found \"{shown}\"").into());
    }
    if folder.exists() && !folder.is_dir() {
        return Err(format!("{shown} is not a folder: there is no place for {file}").into());
    }
    writable(&folder).map_err(|error| format!("cannot write {file} to {shown}: {error}"))?;
    Ok(folder.join(file))
}

/// Makes the folder and tries a file in it: better refused at once than when all is drawn.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let trial = folder.join(format!(".trial-{}", std::process::id()));
    std::fs::File::create_new(&trial)?;
    std::fs::remove_file(trial)
}
