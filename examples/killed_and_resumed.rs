//! A run that is killed while it works, and goes on in another process to the same bits.
//!
//! The program starts itself as a worker, which stores its run after every step. At a random step
//! it kills the worker (SIGKILL on Unix), starts another one, which reads the file and goes on, and
//! compares the result with that of a run which nobody disturbed.
//!
//! Your crate's `serde_json` needs its feature `float_roundtrip`, as here: without it some numbers
//! come back one rounding off, and the checksums refuse what was read.
//!
//! `cargo run --release --features serde --example killed_and_resumed`

use std::error::Error;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    denoiser::{Guided, Models},
    guidance::Projected,
    oracle::{Gaussian, Oracle},
    run::Snapshot,
    schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
    stored::{read_file, write_file},
};
use ndarray::{Array2, Ix2};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const STEPS: usize = 24;
const KIND: Prediction = Prediction::Noise;
/// A network takes its time.
const STEP_TIME: Duration = Duration::from_millis(20);

/// All that the run needs to go on, but for the network's weights.
#[derive(Serialize, Deserialize)]
struct Stored {
    sampler: Sampler,
    noise: KeyedNoise,
    guidance: Projected,
    snapshot: Snapshot<Array2<f32>>,
}

/// A run with all that can go wrong: noise, a history slot, and the momentum of the guidance.
fn begin() -> Outcome<Stored> {
    let schedule = TableSchedule::cosine(1000)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde())?;
    let noise = KeyedNoise::new(2026);
    let snapshot = sampler
        .start::<f32, _, _>((8, 16), KIND, noise)?
        .snapshot()?;
    Ok(Stored {
        sampler,
        noise,
        guidance: Projected::new(1.5)?.with_momentum(-0.5)?,
        snapshot,
    })
}

/// Takes the steps that are left; `stored` is called after each.
fn go_on(stored: Stored, mut after: impl FnMut(&Stored) -> Outcome) -> Outcome<Array2<f32>> {
    let Stored {
        sampler,
        noise,
        guidance,
        snapshot,
    } = stored;
    let conditional = Gaussian::isotropic(&[0.5; 16], 0.2)?.denoiser(KIND);
    let unconditional = Gaussian::isotropic(&[0.0; 16], 1.0)?.denoiser(KIND);
    let mut model = Guided::new(Models((conditional, unconditional)), guidance);
    let mut run: Trajectory<f32, Ix2> = sampler.resume(snapshot, KIND, noise)?;
    while !run.is_finished() {
        run.advance(&mut model)?;
        after(&Stored {
            sampler: sampler.clone(),
            noise,
            guidance,
            snapshot: run.snapshot()?,
        })?;
    }
    Ok(run.into_state())
}

fn store<T: Serialize>(path: &Path, value: &T) -> Outcome {
    Ok(write_file(path, &serde_json::to_vec(value)?)?)
}

fn load<T: for<'a> Deserialize<'a>>(path: &Path) -> Outcome<T> {
    Ok(serde_json::from_slice(&read_file(path)?)?)
}

/// The worker: goes on from the file where there is one, and says after every step that it is
/// stored.
fn work(folder: &Path) -> Outcome {
    let path = folder.join("run.json");
    let stored = if path.exists() {
        load(&path)?
    } else {
        begin()?
    };
    let samples = go_on(stored, |stored| {
        sleep(STEP_TIME);
        store(&path, stored)?;
        println!("{}", stored.snapshot.step);
        Ok(())
    })?;
    store(
        &folder.join("samples.json"),
        &samples.into_raw_vec_and_offset().0,
    )
}

/// A worker process and what it says, ended with its owner.
struct Worker(Child, Lines<BufReader<ChildStdout>>);

impl Worker {
    fn start(folder: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("work").arg(folder).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the worker has no output")?;
        Ok(Self(child, BufReader::new(output).lines()))
    }

    /// Waits until so many steps are stored; the number that the worker said last.
    fn wait_for(&mut self, steps: usize) -> Outcome<usize> {
        let mut said = 0;
        while said < steps
            && let Some(line) = self.1.next()
        {
            said = line?.parse()?;
        }
        Ok(said)
    }

    fn kill(&mut self) -> Outcome<ExitStatus> {
        self.0.kill()?;
        Ok(self.0.wait()?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is gone when its owner is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let name = format!("killed-and-resumed-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A number below `end`, another one each time.
fn random(end: u64) -> u64 {
    RandomState::new().build_hasher().finish() % end
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[cfg(not(unix))]
fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}

/// Kills a worker somewhere in the step after a random one; the number of steps that it had stored,
/// or `None` if it had come to its end before.
fn kill_one(folder: &Path) -> Outcome<Option<usize>> {
    let target = 1 + random(STEPS as u64 - 2) as usize;
    let mut worker = Worker::start(folder)?;
    let said = worker.wait_for(target)?;
    sleep(STEP_TIME * random(100) as u32 / 100);
    let status = worker.kill()?;
    if folder.join("samples.json").exists() || !was_killed(status) {
        return Ok(None);
    }
    let stored: Stored = load(&folder.join("run.json"))?;
    let step = stored.snapshot.step;
    assert!((said..=STEPS).contains(&step));
    println!("worker 1 was killed ({status}) with {step} of {STEPS} steps stored");
    Ok((step < STEPS).then_some(step))
}

/// Runs a worker to its end; the bits of its samples.
fn resume_one(folder: &Path, step: usize) -> Outcome<Vec<u32>> {
    let mut worker = Worker::start(folder)?;
    let first = worker.wait_for(1)?;
    assert_eq!(
        first,
        step + 1,
        "the worker did not go on where the other one was"
    );
    println!("worker 2 went on with step {first}");
    assert_eq!(worker.wait_for(STEPS)?, STEPS);
    assert!(worker.0.wait()?.success());
    let samples: Vec<f32> = load(&folder.join("samples.json"))?;
    Ok(bits(&samples))
}

fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|value| value.to_bits()).collect()
}

fn main() -> Outcome {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [word, folder] = &arguments[..]
        && word == "work"
    {
        return work(Path::new(folder));
    }
    let undisturbed = go_on(begin()?, |_| Ok(()))?;
    let undisturbed = bits(&undisturbed.into_raw_vec_and_offset().0);
    // A machine that is very busy may let a worker come to its end before it is killed.
    for _ in 0..20 {
        let folder = Folder::new()?;
        if let Some(step) = kill_one(&folder.0)? {
            let resumed = resume_one(&folder.0, step)?;
            assert_eq!(resumed, undisturbed, "other samples");
            println!(
                "all {} elements have the bits of an undisturbed run",
                resumed.len()
            );
            return Ok(());
        }
    }
    Err("no worker could be killed while it worked".into())
}
