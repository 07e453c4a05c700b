//! Kills: a worker process that stores its run after every step is killed again and again (SIGKILL)
//! at random moments. After each kill the file is there whole, or not yet, and the run goes on from
//! it; at its end the samples are the bits of a run that nobody disturbed. Then every truncation
//! and every flipped bit of a stored file of each format.
//!
//! `cargo run --release -p reliability --bin kills [KILLS [SEED [FOLDER]]]`

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    denoiser::{Guided, Models},
    guidance::Projected,
    oracle::{Gaussian, Oracle},
    run::Snapshot,
    schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
    stored::{read_file, write_file},
};
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The steps and samples of a run that is killed, and of one whose file is damaged.
const KILLED: (usize, usize) = (40, 4);
const DAMAGED: (usize, usize) = (3, 1);
const KIND: Prediction = Prediction::Noise;
const FORMATS: [&str; 3] = ["json", "postcard", "cbor"];
/// From so many kills on, every bit of a framed file is flipped too.
const WHOLE: usize = 10_000;
/// A worker is killed within this time.
const LONGEST: Duration = Duration::from_millis(4);
/// After so many kills without a new step the next worker is let go on for longer.
const STUCK: usize = 100;

/// All that the run needs to go on, but for the network.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    sampler: Sampler,
    noise: KeyedNoise,
    snapshot: Snapshot<Array2<f32>>,
}

fn bytes_of<T: Serialize>(format: &str, value: &T) -> Outcome<Vec<u8>> {
    Ok(match format {
        "json" => serde_json::to_vec(value)?,
        "postcard" => postcard::to_stdvec(value)?,
        _ => {
            let mut bytes = Vec::new();
            ciborium::into_writer(value, &mut bytes)?;
            bytes
        }
    })
}

fn value_of<T: for<'a> Deserialize<'a>>(format: &str, bytes: &[u8]) -> Outcome<T> {
    Ok(match format {
        "json" => serde_json::from_slice(bytes)?,
        "postcard" => postcard::from_bytes(bytes)?,
        _ => {
            let mut rest = bytes;
            let value = ciborium::from_reader(&mut rest)?;
            if !rest.is_empty() {
                return Err("bytes behind the value".into());
            }
            value
        }
    })
}

/// A run with all that can go wrong: noise, a history slot, and the momentum of the guidance.
fn begin(seed: u64, (steps, samples): (usize, usize)) -> Outcome<Stored> {
    let schedule = TableSchedule::cosine(1000)?;
    let grid = Grid::trailing(&schedule, steps)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde())?;
    let noise = KeyedNoise::new(seed);
    let snapshot = sampler
        .start::<f32, _, _>((samples, 6), KIND, noise)?
        .snapshot()?;
    Ok(Stored {
        sampler,
        noise,
        snapshot,
    })
}

/// Takes the steps that are left; `after` is called after each.
fn go_on(stored: Stored, mut after: impl FnMut(&Stored) -> Outcome) -> Outcome<Vec<u32>> {
    let conditional = Gaussian::isotropic(&[0.5; 6], 0.2)?.denoiser(KIND);
    let unconditional = Gaussian::isotropic(&[0.0; 6], 1.0)?.denoiser(KIND);
    let guidance = Projected::new(1.5)?.with_momentum(-0.5)?;
    let mut model = Guided::new(Models((conditional, unconditional)), guidance);
    let Stored {
        sampler,
        noise,
        mut snapshot,
    } = stored;
    let mut run = sampler.resume(snapshot, KIND, noise)?;
    let mut whole = Stored {
        sampler: sampler.clone(),
        noise,
        snapshot: run.snapshot()?,
    };
    while !run.is_finished() {
        run.advance(&mut model)?;
        snapshot = run.snapshot()?;
        whole.snapshot = snapshot;
        after(&whole)?;
    }
    Ok(run.state().iter().map(|x| x.to_bits()).collect())
}

fn work(folder: &Path, format: &str, seed: u64) -> Outcome {
    let path = folder.join("run");
    let stored = match read_file(&path) {
        Ok(bytes) => value_of(format, &bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => begin(seed, KILLED)?,
        Err(error) => return Err(error.into()),
    };
    let samples = go_on(stored, |stored| {
        Ok(write_file(&path, &bytes_of(format, stored)?)?)
    })?;
    Ok(write_file(
        &folder.join("samples"),
        &bytes_of(format, &samples)?,
    )?)
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    runs: usize,
    beside: usize,
    findings: usize,
}

impl Tally {
    fn finding(&mut self, text: &str) {
        println!("finding: {text}");
        self.findings += 1;
    }
}

/// Kills workers until they have been killed so often and the last run is at its end.
fn kill(kills: usize, seed: u64, folder: &Path) -> Outcome<Tally> {
    let own = std::env::current_exe()?;
    let mut tally = Tally::default();
    let mut random = SmallRng::seed_from_u64(seed);
    while tally.kills < kills {
        let format = FORMATS[tally.runs % FORMATS.len()];
        let run_seed = random.random();
        let what = format!("run {} (seed {run_seed}, {format})", tally.runs);
        let expected = go_on(begin(run_seed, KILLED)?, |_| Ok(()))?;
        let (mut step, mut stuck) = (0, 0);
        loop {
            let mut worker = Command::new(&own)
                .args([OsStr::new("work"), folder.as_os_str(), OsStr::new(format)])
                .arg(run_seed.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            let longest = if stuck < STUCK { LONGEST } else { 20 * LONGEST };
            std::thread::sleep(random.random_range(Duration::ZERO..longest));
            worker.kill()?;
            let status = worker.wait()?;
            match status.code() {
                Some(0) => break,
                Some(code) => {
                    tally.finding(&format!("{what}: a worker ends with code {code}"));
                    break;
                }
                None => tally.kills += 1,
            }
            tally.beside += usize::from(folder.join("run.new").exists());
            let now = match read_file(&folder.join("run")) {
                Ok(bytes) => value_of::<Stored>(format, &bytes)?.snapshot.step,
                Err(error) if error.kind() == ErrorKind::NotFound && step == 0 => 0,
                Err(error) => {
                    tally.finding(&format!(
                        "{what}: after step {step} the file is lost: {error}"
                    ));
                    break;
                }
            };
            if now < step {
                tally.finding(&format!("{what}: from step {step} back to {now}"));
            }
            stuck = if now > step { 0 } else { stuck + 1 };
            step = now;
        }
        match read_file(&folder.join("samples")) {
            Ok(bytes) if value_of::<Vec<u32>>(format, &bytes)? == expected => {}
            Ok(_) => tally.finding(&format!("{what}: other bits")),
            Err(error) => tally.finding(&format!("{what}: no samples: {error}")),
        }
        tally.runs += 1;
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
    }
    Ok(tally)
}

/// Every truncation and every flipped bit of a stored run in one format: refused, or the same
/// value.
///
/// In their frame so many bits are passed over after each that is flipped: files are slow, and a unit
/// test of the crate flips them all in memory.
fn damage(format: &str, folder: &Path, tally: &mut Tally, stride: usize) -> Outcome {
    let mut whole = None;
    let end = go_on(begin(7, DAMAGED)?, |stored| {
        if stored.snapshot.step == 2 {
            whole = Some(bytes_of(format, stored)?);
        }
        Ok(())
    })?;
    let bytes = whole.ok_or("no snapshot was taken")?;
    let value: Stored = value_of(format, &bytes)?;
    // What is read and resumed goes on; the bits of its end follow from the value alone.
    let taken = |bytes: &[u8]| -> Option<Stored> {
        let stored: Stored = value_of(format, bytes).ok()?;
        let again: Stored = value_of(format, bytes).ok()?;
        let resumed = stored.sampler.resume(stored.snapshot, KIND, stored.noise);
        resumed.is_ok().then_some(again)
    };
    let (mut refused, mut same) = (0usize, 0usize);
    for length in 0..bytes.len() {
        match taken(&bytes[..length]) {
            None => refused += 1,
            Some(_) => tally.finding(&format!("{format}: cut to {length} bytes is taken")),
        }
    }
    let mut damaged = bytes.clone();
    for bit in 0..8 * bytes.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        match taken(&damaged) {
            None => refused += 1,
            Some(read) if read == value => {
                if go_on(read, |_| Ok(()))? != end {
                    tally.finding(&format!("{format}: bit {bit} flipped gives other samples"));
                }
                same += 1;
            }
            Some(_) => {
                tally.finding(&format!("{format}: bit {} of byte {}", bit % 8, bit / 8));
            }
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    // In its frame a file is refused whatever it means.
    let path = folder.join("frame");
    write_file(&path, &bytes)?;
    let framed = fs::read(&path)?;
    let mut framed_refused = 0usize;
    let mut refuses = |bytes: &[u8]| -> Outcome<bool> {
        fs::write(&path, bytes)?;
        let error = read_file(&path).err();
        framed_refused += 1;
        Ok(error.is_some_and(|error| error.kind() == ErrorKind::InvalidData))
    };
    for length in (0..framed.len()).step_by(stride) {
        if !refuses(&framed[..length])? {
            tally.finding(&format!("{format}: a file cut to {length} bytes is taken"));
        }
    }
    let mut damaged = framed.clone();
    for bit in (0..8 * framed.len()).step_by(stride) {
        damaged[bit / 8] ^= 1 << (bit % 8);
        if !refuses(&damaged)? {
            tally.finding(&format!("{format}: a file with bit {bit} flipped is taken"));
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    fs::remove_file(&path)?;
    println!(
        "{format}: {} bytes, {refused} damages refused, {same} without meaning; in its frame all \
         {framed_refused} refused",
        bytes.len()
    );
    Ok(())
}

fn checked(kills: usize, seed: u64, parent: &Path) -> Outcome<usize> {
    let folder: PathBuf = parent.join(format!("kills-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let started = Instant::now();
    let mut tally = kill(kills, seed, &folder)?;
    let killed = started.elapsed();
    for format in FORMATS {
        damage(
            format,
            &folder,
            &mut tally,
            if kills < WHOLE { 61 } else { 1 },
        )?;
    }
    fs::remove_dir_all(&folder)?;
    println!(
        "{} kills in {} runs of {} steps (seed {seed}), {} of them while a file was half \
         written; {} findings; {:.1} s and {:.1} s for the damages",
        tally.kills,
        tally.runs,
        KILLED.0,
        tally.beside,
        tally.findings,
        killed.as_secs_f64(),
        (started.elapsed() - killed).as_secs_f64()
    );
    Ok(tally.findings)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| {
        let word = words.get(index);
        word.and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let outcome = match words.first().map(String::as_str) {
        Some("work") => {
            let folder = words.get(1).map_or("", String::as_str);
            let format = words.get(2).map_or("", String::as_str);
            work(Path::new(folder), format, number(3, 0)).map(|()| 0)
        }
        _ => {
            let parent = words.get(2).map_or_else(std::env::temp_dir, PathBuf::from);
            checked(number(0, 300) as usize, number(1, 1), &parent)
        }
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
