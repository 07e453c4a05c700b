//! What the program says. An output that is full or closed is an error, not a panic.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::error::{Error, Result};

/// Writes a line to the standard output, now.
pub(crate) fn say(line: Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    written.map_err(Error::Output)
}

/// Writes a line to the standard error, in one piece: several processes may write there. Where that
/// fails, nobody can be told.
pub(crate) fn complain(line: Arguments<'_>) {
    let line = format!("shards: {line}\n");
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
