//! What the tests of processes share: the program, its files, and the one call that it must equal.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::{ClassifierFree, PlusPlus};
use diffusion_sampler::{registry, schedule::TableSchedule};
use digits_network::{Network, PIXELS};
use ndarray::Array2;
use sha2::{Digest, Sha256};

/// A folder that is gone when its owner is.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A job, and what the program calls it.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    pub(crate) samples: usize,
    pub(crate) sampler: &'static str,
    pub(crate) steps: usize,
    pub(crate) scale: f64,
    pub(crate) seed: u64,
}

impl Job {
    pub(crate) const fn of(samples: usize) -> Self {
        Self {
            samples,
            sampler: "DPM++ 2M SDE trailing",
            steps: 4,
            scale: 2.0,
            seed: 42,
        }
    }

    /// The crate's plain `sample`: all samples in one call.
    pub(crate) fn in_memory(&self) -> Vec<u8> {
        let network = Network::trained().unwrap();
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
        let named = registry::sampler(self.sampler).unwrap();
        let sampler = named.sampler(&schedule, self.steps).unwrap();
        let classes: Vec<usize> = (0..self.samples).map(|row| row % 10).collect();
        let digits = network.denoiser(&classes).unwrap();
        let shape = (self.samples, PIXELS);
        let samples: Array2<f32> = if named.entry.plus_plus {
            let mut model = Guided::new(digits, PlusPlus::new(self.scale).unwrap());
            sampler.sample(&mut model, shape, self.seed).unwrap()
        } else {
            let mut model = Guided::new(digits, ClassifierFree::with_scale(self.scale).unwrap());
            sampler.sample(&mut model, shape, self.seed).unwrap()
        };
        samples.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    /// The command line of this job.
    pub(crate) fn sample(&self, out: &str, rest: &str) -> Command {
        let mut command = shards("sample", out, rest);
        command.args(["--samples", &self.samples.to_string()]);
        command.args(["--sampler", self.sampler]);
        command.args(["--steps", &self.steps.to_string()]);
        command.args(["--scale", &self.scale.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        command
    }

    /// All shards at once, in this order of starting.
    pub(crate) fn share(&self, out: &str, order: &[usize], rest: &str) {
        let count = order.len();
        let start =
            |index| start(&mut self.sample(out, &format!("--shard {index}/{count} {rest}")));
        let children: Vec<Child> = order.iter().map(start).collect();
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
    }
}

/// The program with a command, a file and more words.
pub(crate) fn shards(command: &str, out: &str, rest: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shards"));
    program
        .args([command, "--out", out])
        .args(rest.split_whitespace());
    program
}

pub(crate) fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it says where it succeeds.
pub(crate) fn say(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert!(
        status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}

/// What it says where it refuses.
pub(crate) fn refuse(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert!(
        !status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&stdout)
    );
    assert_eq!(status.code(), Some(1), "{command:?} did not end by itself");
    String::from_utf8(stderr).unwrap()
}

/// The number behind a word of a report.
pub(crate) fn number(report: &str, name: &str) -> f64 {
    let mut words = report.split_whitespace().skip_while(|word| *word != name);
    words
        .nth(1)
        .unwrap_or_else(|| panic!("no {name} in {report}"))
        .parse()
        .unwrap()
}

/// The hash that `check` gives, which must be that of the file.
pub(crate) fn check(out: &str) -> String {
    let said = say(&mut shards("check", out, ""));
    let hash: String = Sha256::digest(fs::read(out).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(said, format!("{hash}  {out}\n"));
    hash
}

/// The elements' bytes of an .npy file, read as its format says.
pub(crate) fn data(out: &str, samples: usize) -> Vec<u8> {
    let bytes = fs::read(out).unwrap();
    let (magic, rest) = bytes.split_at(8);
    assert_eq!(magic, b"\x93NUMPY\x01\x00");
    let (length, rest) = rest.split_at(2);
    let length = u16::from_le_bytes(length.try_into().unwrap()).into();
    assert_eq!((10 + length) % 64, 0);
    let (header, data) = rest.split_at(length);
    let fields = format!("'descr': '<f4', 'fortran_order': False, 'shape': ({samples}, 64)");
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains(&fields), "{header}");
    data.to_vec()
}

/// The finished rows that the logs list, in no order; only whole lines.
pub(crate) fn finished(out: &str) -> Vec<Range<u64>> {
    let mut finished = Vec::new();
    for file in fs::read_dir(format!("{out}.journal")).into_iter().flatten() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = fs::read_to_string(path).unwrap();
            let lines = log
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            finished.extend(lines.map(|line| {
                let mut numbers = line.split(' ').map_while(|word| word.parse().ok());
                numbers.next().unwrap()..numbers.next().unwrap()
            }));
        }
    }
    finished
}
