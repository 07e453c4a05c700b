//! One run of a test program, with limits of time and memory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All tests passed.
    Passed,
    /// A test failed, or the process died.
    Failed,
    /// It was stopped.
    TooLong,
}

/// A test program that is running.
#[derive(Debug)]
pub struct Running {
    child: Child,
    start: Instant,
    limit: Duration,
}

/// Starts tests of one program, by their full names. Memory is limited to `gigabytes` of addresses.
pub fn start(
    program: &Path,
    tests: &[&str],
    environment: &[(&str, String)],
    limit: Duration,
    directory: &Path,
) -> std::io::Result<Running> {
    let mut command = Command::new("nice");
    command
        .args([
            "-n",
            NICE,
            "sh",
            "-c",
            "ulimit -v 8388608; ulimit -c 0; exec \"$0\" \"$@\"",
        ])
        .arg(program)
        .args(["--exact", "--test-threads", "1", "--include-ignored"])
        .args(tests)
        .current_dir(directory)
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("PROPTEST_RNG_SEED", "1")
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_MANIFEST_DIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in environment {
        command.env(name, value);
    }
    Ok(Running {
        child: command.spawn()?,
        start: Instant::now(),
        limit,
    })
}

const NICE: &str = "19";

impl Running {
    /// Waits for the end.
    pub fn wait(mut self) -> std::io::Result<(Ended, Duration)> {
        let mut pause = Duration::from_micros(500);
        loop {
            if let Some(status) = self.child.try_wait()? {
                let ended = if status.success() {
                    Ended::Passed
                } else {
                    Ended::Failed
                };
                return Ok((ended, self.start.elapsed()));
            }
            if self.start.elapsed() > self.limit {
                self.child.kill()?;
                self.child.wait()?;
                return Ok((Ended::TooLong, self.start.elapsed()));
            }
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_millis(20));
        }
    }
}
