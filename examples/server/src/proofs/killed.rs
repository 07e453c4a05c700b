//! A server that is killed while it works: another one goes on to the same samples.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use diffusion_sampler_server::{Digits, Request, Server, Settings, Store, checksum};

use super::probe::{Probe, Verdict};
use super::{Result, alone};

/// The word that makes the program a server.
pub(crate) const SERVE: &str = "serve";

/// A network takes its time.
const CALL_TIME: Duration = Duration::from_millis(4);

/// Ticks between snapshots.
const EVERY: usize = 3;

/// The server in a process of its own: goes on with what the folder holds, begins what it does not,
/// and says what it does, line by line.
pub(crate) async fn serve(network: Digits, folder: &Path) -> Result<()> {
    let store = Store::new(folder)?;
    let loaded = store.load()?;
    for error in &loaded.refused {
        println!("refused {error}");
    }
    let slow = Probe::new(&network, |_| {
        sleep(CALL_TIME);
        Verdict::Pass
    });
    let settings = Settings {
        rows: 24,
        store: Some((store, EVERY)),
        ..Settings::default()
    };
    let server = Server::start(slow, settings)?;
    let mut known = loaded.done;
    let mut handles = Vec::new();
    for stored in loaded.running {
        println!("resumed {} {}", stored.request.id, stored.snapshot.step);
        known.push(stored.request.id);
        handles.push(server.client().resume(stored).await?);
    }
    for request in alone::requests()? {
        if !known.contains(&request.id) {
            println!("begun {}", request.id);
            handles.push(server.client().submit(request).await?);
        }
    }
    let answers = handles.into_iter().map(|handle| {
        tokio::spawn(async move {
            let id = handle.id();
            handle.samples().await.map(|_| println!("done {id}"))
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        answer.await??;
    }
    match &server.drain().await?.store_errors[..] {
        [] => Ok(()),
        [first, ..] => Err(first.clone().into()),
    }
}

pub(crate) async fn prove(network: &Digits) -> Result<()> {
    // From the test suite of FNV's authors.
    assert_eq!(checksum(*b"foobar"), 0x8594_4171_f739_67e8);
    let requests = alone::requests()?;
    // A machine that is very busy may let a server come to its end before it is killed.
    for _ in 0..10 {
        let folder = Folder::new("killed")?;
        if kill_twice(&folder.0, &requests)? {
            let store = Store::new(&folder.0)?;
            for request in &requests {
                let hash = alone::hash(&store.samples(request.id)?);
                assert_eq!(hash, alone::hash_of(network, request)?, "{request:?}");
            }
            println!(
                "  all {} hashes are those of undisturbed runs",
                requests.len()
            );
            return Ok(());
        }
    }
    Err("no server could be killed while it worked".into())
}

/// Kills two servers at random moments, damages files behind the second, and lets the third come to
/// its end. `false` if one was too fast.
fn kill_twice(folder: &Path, requests: &[Request]) -> Result<bool> {
    println!("killed and resumed:");
    let store = Store::new(folder)?;
    let mut steps = Vec::new();
    for number in 1..=2 {
        let said = kill_one(folder, random(3) as usize + 2)?;
        check_said(&said, &steps, &[]);
        let loaded = store.load()?;
        let (running, done) = (loaded.running.len(), loaded.done.len());
        assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
        if running < 4 || done + running > requests.len() {
            return Ok(false);
        }
        steps = loaded
            .running
            .iter()
            .map(|s| (s.request.id, s.snapshot.step))
            .collect();
        assert!(steps.iter().any(|(_, step)| *step > 0), "{steps:?}");
        println!("  server {number} was killed with {done} requests done, {running} under way");
    }
    let (hurt, whole) = steps.split_at(2);
    let refused = damage(folder, hurt)?;
    fs::write(
        folder.join("77.tmp"),
        "what a killed server had begun to write",
    )?;
    let mut server = Process::start(folder)?;
    let said = server.lines()?;
    assert!(server.0.wait()?.success());
    check_said(&said, whole, &refused);
    for (id, _) in hurt {
        assert!(said.contains(&format!("begun {id}")), "{said:#?}");
    }
    let finished = store.load()?;
    assert!(finished.running.is_empty() && finished.refused.is_empty());
    assert_eq!(finished.done.len(), requests.len());
    assert!(!folder.join("77.tmp").exists());
    Ok(true)
}

/// Starts a server, waits until it has said so many times that a request is done, and a random time
/// more, and kills it. What it said.
fn kill_one(folder: &Path, target: usize) -> Result<Vec<String>> {
    let mut server = Process::start(folder)?;
    let (mut said, mut done) = (Vec::new(), 0);
    while done < target
        && let Some(line) = server.1.next()
    {
        let line = line?;
        if let Some(id) = line.strip_prefix("done ") {
            // Its result was on the disk before.
            assert!(folder.join(format!("{id}.samples")).exists(), "{line}");
            done += 1;
        }
        said.push(line);
    }
    sleep(CALL_TIME * random(8) as u32);
    let status = server.kill()?;
    assert!(was_killed(status) || status.success(), "{status}");
    Ok(said)
}

/// A server goes on where the files are, begins none of those anew, and names what it refuses.
fn check_said(said: &[String], resumed: &[(u64, usize)], refused: &[PathBuf]) {
    let of = |word: &'static str| said.iter().filter(move |line| line.starts_with(word));
    let expected = resumed
        .iter()
        .map(|(id, step)| format!("resumed {id} {step}"));
    assert!(of("resumed").cloned().eq(expected), "{said:#?}");
    for (id, _) in resumed {
        assert!(!said.contains(&format!("begun {id}")));
    }
    assert_eq!(of("refused").count(), refused.len());
    for path in refused {
        let named = |line: &String| line.contains(&*path.to_string_lossy());
        let line = of("refused").find(|line| named(line));
        assert!(line.is_some(), "{} is not named", path.display());
        let name = path.file_name().unwrap_or_default();
        println!("  a damaged {} is named and refused", name.display());
    }
}

/// Cuts the first file short, and turns one digit of the second's.
fn damage(folder: &Path, steps: &[(u64, usize)]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (place, (id, _)) in steps.iter().enumerate() {
        let path = folder.join(format!("{id}.run"));
        let mut bytes = fs::read(&path)?;
        match place {
            0 => bytes.truncate(bytes.len() / 2),
            _ => {
                let seed = format!("\"seed\":{}", 1000 + id).into_bytes();
                let at = bytes.windows(seed.len()).position(|window| window == seed);
                let last = at.ok_or("no seed in the file")? + seed.len() - 1;
                let digit = bytes.get_mut(last).ok_or("the file has no such byte")?;
                *digit ^= 1;
            }
        }
        fs::write(&path, bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

/// A server process and what it says, ended with its owner.
struct Process(Child, Lines<BufReader<ChildStdout>>);

impl Process {
    fn start(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE).arg(folder).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the server has no output")?;
        Ok(Self(child, BufReader::new(output).lines()))
    }

    fn lines(&mut self) -> Result<Vec<String>> {
        Ok(self.1.by_ref().collect::<std::io::Result<_>>()?)
    }

    fn kill(&mut self) -> Result<ExitStatus> {
        self.0.kill()?;
        Ok(self.0.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is gone when its owner is.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let name = format!("server-{name}-{}", std::process::id());
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
