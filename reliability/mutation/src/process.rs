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

/// Starts tests of one program, by their full names.
pub fn start(
    program: &Path,
    tests: &[&str],
    environment: &[(&str, String)],
    limit: Duration,
    directory: &Path,
) -> std::io::Result<Running> {
    let mut command = Command::new(program);
    command
        .args(["--exact", "--test-threads", "1"])
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

/// Addresses of one process: no test takes a tenth of it.
const MEMORY: &str = "--as=8589934592";

/// Limits this process, and with it all tests: memory, dumps, and how much of the machine it takes.
pub fn limit(nice: u8) -> Result<(), String> {
    let id = std::process::id().to_string();
    let nice = nice.to_string();
    for (program, arguments) in [
        ("prlimit", ["--pid", &id, MEMORY, "--core=0"]),
        ("renice", ["-n", &nice, "-p", &id]),
    ] {
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        if !status.map_err(|e| format!("{program}: {e}"))?.success() {
            return Err(format!("{program} failed"));
        }
    }
    Ok(())
}

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
