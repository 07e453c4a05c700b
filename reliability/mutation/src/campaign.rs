//! Which test reaches which mutant, and which tests catch it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mutants::Mutant;
use crate::process::{self, Ended};

/// No test takes longer alone; what was reached until then is kept.
const LONGEST: Duration = Duration::from_secs(300);
/// Tests of one program are run together up to this sum of their times.
const TOGETHER: f64 = 0.05;

/// One test.
#[derive(Debug)]
pub struct Test {
    program: usize,
    /// Its full name.
    pub name: String,
    seconds: f64,
    reached: Vec<u64>,
    /// How many mutants it reaches.
    breadth: u32,
}

/// All tests of the build.
#[derive(Debug)]
pub struct Suite {
    programs: Vec<(String, PathBuf)>,
    /// Of the programs' contents.
    hashes: Vec<u64>,
    /// Those that pass when no mutant is active.
    pub tests: Vec<Test>,
    /// Those that do not.
    pub broken: Vec<String>,
    directory: PathBuf,
    /// Changes when any program does.
    pub mark: u64,
}

/// The hash of a file's text.
pub fn hash(text: &str) -> u64 {
    fnv(FNV, text.as_bytes())
}

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn bit(set: &[u64], id: u32) -> bool {
    set.get(id as usize / 64)
        .is_some_and(|word| word >> (id % 64) & 1 == 1)
}

/// Runs each test once alone, in recording mode, unless its program did not change since.
pub fn record(
    out: &Path,
    programs: Vec<(String, PathBuf)>,
    mutants: &[Mutant],
    jobs: usize,
) -> Result<Suite, String> {
    let directory = out.join("tree");
    let names = mutants
        .iter()
        .fold(FNV, |hash, mutant| fnv(hash, mutant.key.as_bytes()));
    let mut mark = names;
    let mut suite = Suite {
        programs,
        hashes: Vec::new(),
        tests: Vec::new(),
        broken: Vec::new(),
        directory,
        mark: 0,
    };
    let folder = out.join("record");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    for program in 0..suite.programs.len() {
        let (name, path) = suite.programs[program].clone();
        let content = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let hash = fnv(names, &content);
        mark = fnv(mark, &hash.to_le_bytes());
        suite.hashes.push(hash);
        let cache = folder.join(format!("{name}.json"));
        let cached = fs::read(&cache)
            .ok()
            .and_then(|b| serde_json::from_slice::<Value>(&b).ok());
        let known = match cached.filter(|value| value["hash"].as_u64() == Some(hash)) {
            Some(value) => value,
            None => {
                let start = Instant::now();
                let tests = suite.record_program(program, &folder, jobs)?;
                eprintln!(
                    "{name}: {} tests, {:.0} s",
                    tests.len(),
                    start.elapsed().as_secs_f64()
                );
                let value = json!({ "hash": hash, "tests": tests });
                fs::write(&cache, value.to_string()).map_err(|e| e.to_string())?;
                value
            }
        };
        for test in known["tests"].as_array().into_iter().flatten() {
            let test_name = test["name"].as_str().unwrap_or_default().to_owned();
            if test["passed"] != true {
                suite.broken.push(format!("{name} {test_name}"));
                continue;
            }
            let mut reached = vec![0u64; mutants.len() / 64 + 1];
            for pair in test["reached"].as_array().into_iter().flatten() {
                let at = |place: usize| pair[place].as_u64().unwrap_or(0);
                for id in at(0)..at(0) + at(1) {
                    reached[(id / 64) as usize] |= 1 << (id % 64);
                }
            }
            let seconds = test["seconds"].as_f64().unwrap_or(1.0);
            let breadth = reached.iter().map(|word| word.count_ones()).sum();
            suite.tests.push(Test {
                program,
                name: test_name,
                seconds,
                reached,
                breadth,
            });
        }
    }
    suite.mark = mark;
    Ok(suite)
}

impl Suite {
    fn record_program(
        &self,
        program: usize,
        folder: &Path,
        jobs: usize,
    ) -> Result<Vec<Value>, String> {
        let path = &self.programs[program].1;
        let listed = Command::new(path)
            .args(["--list", "--format", "terse"])
            .current_dir(&self.directory)
            .output()
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .collect();
        let next = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs)
                .map(|worker| {
                    let (next, done, names) = (&next, &done, &names);
                    scope.spawn(move || -> Result<(), String> {
                        loop {
                            let place = next.fetch_add(1, Ordering::Relaxed);
                            let Some(name) = names.get(place) else {
                                return Ok(());
                            };
                            let file = folder.join(format!("{worker}.bin"));
                            let value = self.record_test(program, name, &file)?;
                            if let Ok(mut done) = done.lock() {
                                done.insert(place, value);
                            }
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|w| w.join().map_err(|_| "a worker died")?)
        })?;
        Ok(done
            .into_inner()
            .map_err(|e| e.to_string())?
            .into_values()
            .collect())
    }

    fn record_test(&self, program: usize, name: &str, file: &Path) -> Result<Value, String> {
        let path = &self.programs[program].1;
        let run = |environment: &[(&str, String)]| {
            process::start(path, &[name], environment, LONGEST, &self.directory)
                .and_then(process::Running::wait)
                .map_err(|e| format!("{name}: {e}"))
        };
        fs::write(file, []).map_err(|e| e.to_string())?;
        let (mut ended, took) = run(&[("MUTATION_RECORD", file.display().to_string())])?;
        let mut seconds = took.as_secs_f64();
        let bytes = fs::read(file).map_err(|e| e.to_string())?;
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let reached: BTreeSet<[u32; 2]> = words
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1]])
            .collect();
        if ended != Ended::Passed {
            let (again, took) = run(&[])?;
            ended = again;
            seconds = took.as_secs_f64();
        }
        Ok(json!({
            "name": name,
            "passed": ended == Ended::Passed,
            "seconds": seconds,
            "reached": reached,
        }))
    }

    /// The places of all tests that reach a mutant.
    fn reaching(&self, id: u32) -> Vec<usize> {
        (0..self.tests.len())
            .filter(|test| bit(&self.tests[*test].reached, id))
            .collect()
    }

    /// Runs tests of one program together, with a mutant or without, for at most `limit` seconds.
    fn run(&self, tests: &[usize], id: Option<u32>, limit: f64) -> Result<(Ended, f64), String> {
        let program = &self.programs[self.tests[tests[0]].program].1;
        let names: Vec<&str> = tests.iter().map(|t| self.tests[*t].name.as_str()).collect();
        let active = id.map(|id| ("MUTATION_ID", id.to_string()));
        let limit = Duration::from_secs_f64(limit);
        process::start(program, &names, active.as_slice(), limit, &self.directory)
            .and_then(process::Running::wait)
            .map(|(ended, took)| (ended, took.as_secs_f64()))
            .map_err(|e| e.to_string())
    }

    /// The same with a mutant and the limit of these tests. Whoever exceeds it on a machine that has become
    /// busy is run again, with a limit from a run without the mutant at the same time.
    fn challenge(&self, tests: &[usize], id: u32) -> Result<(Ended, f64), String> {
        let sum: f64 = tests.iter().map(|test| self.tests[*test].seconds).sum();
        let limit = |seconds: f64| 3.0 + 5.0 * seconds;
        let first = self.run(tests, Some(id), limit(sum))?;
        if first.0 != Ended::TooLong {
            return Ok(first);
        }
        let (_, now) = self.run(tests, None, LONGEST.as_secs_f64())?;
        let (ended, seconds) = self.run(tests, Some(id), limit(now.max(sum)))?;
        Ok((ended, first.1 + seconds))
    }
}

/// How far a mutant got.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// `caught`, `timeout`, `missed`, `unreached`, or `unfinished` where the budget ended first.
    pub what: String,
    /// The tests that caught it.
    pub by: String,
    /// How many tests reach it, and how many were run.
    pub tests: (usize, usize),
    /// Seconds of all its runs.
    pub seconds: f64,
    /// Programs of which no test is left that reaches it.
    done: Vec<u64>,
    mark: u64,
    /// Of its function's text.
    context: u64,
}

/// The results of this and earlier campaigns, by the mutants' names.
#[derive(Debug, Default)]
pub struct Results {
    path: PathBuf,
    /// The newest outcome of each.
    pub by_key: HashMap<String, Outcome>,
}

impl Results {
    /// Reads what was found so far of these mutants where their functions have not changed since.
    pub fn read(path: PathBuf, mutants: &[Mutant]) -> Self {
        let contexts: HashMap<&str, u64> = mutants
            .iter()
            .map(|mutant| (mutant.key.as_str(), mutant.context))
            .collect();
        let mut by_key = HashMap::new();
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let count = |name: &str| {
                value[name]
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(0)
            };
            let outcome = Outcome {
                what: text("what"),
                by: text("by"),
                tests: (count("reaching"), count("run")),
                seconds: value["seconds"].as_f64().unwrap_or(0.0),
                done: value["done"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_u64)
                    .collect(),
                mark: value["mark"].as_u64().unwrap_or(0),
                context: value["context"].as_u64().unwrap_or(0),
            };
            let key = text("mutant");
            if contexts.get(key.as_str()) == Some(&outcome.context) {
                by_key.insert(key, outcome);
            }
        }
        Self { path, by_key }
    }

    fn add(&mut self, key: &str, outcome: Outcome) -> Result<(), String> {
        let line = json!({
            "mutant": key,
            "what": outcome.what,
            "by": outcome.by,
            "reaching": outcome.tests.0,
            "run": outcome.tests.1,
            "seconds": outcome.seconds,
            "done": outcome.done,
            "mark": outcome.mark,
            "context": outcome.context,
        });
        self.by_key.insert(key.to_owned(), outcome);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .map_err(|e| format!("{}: {e}", self.path.display()))?;
        writeln!(file, "{line}").map_err(|e| e.to_string())
    }
}

/// Limits of a campaign.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Processes at once.
    pub jobs: usize,
    /// Seconds for a mutant.
    pub budget: f64,
    /// When to stop.
    pub end: Option<Instant>,
}

/// Runs the tests that reach each of the mutants, the quick and narrow ones first, until one fails.
pub fn run(
    suite: &Suite,
    mutants: &[Mutant],
    ids: &[u32],
    limits: &Limits,
    results: &Mutex<Results>,
) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    // How many mutants of a file each test caught.
    let kills: Mutex<HashMap<(String, usize), u32>> = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..limits.jobs)
            .map(|_| {
                scope.spawn(|| -> Result<(), String> {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(id) = ids.get(place) else {
                            return Ok(());
                        };
                        if limits.end.is_some_and(|end| Instant::now() > end) {
                            return Ok(());
                        }
                        let mutant = &mutants[*id as usize];
                        let before = {
                            let results = results.lock().map_err(|e| e.to_string())?;
                            results.by_key.get(&mutant.key).cloned()
                        };
                        if let Some(before) = &before {
                            let same = before.mark == suite.mark;
                            let finished =
                                before.what != "unfinished" || before.seconds >= limits.budget;
                            if before.what == "caught" || same && finished {
                                continue;
                            }
                        }
                        let done = before.map(|before| before.done).unwrap_or_default();
                        let outcome = try_one(suite, mutant, *id, limits.budget, &kills, done)?;
                        results
                            .lock()
                            .map_err(|e| e.to_string())?
                            .add(&mutant.key, outcome)?;
                        if place % 500 == 499 {
                            eprintln!("{} of {}", place + 1, ids.len());
                        }
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().map_err(|_| "a worker died")?)
    })
}

fn try_one(
    suite: &Suite,
    mutant: &Mutant,
    id: u32,
    budget: f64,
    kills: &Mutex<HashMap<(String, usize), u32>>,
    done: Vec<u64>,
) -> Result<Outcome, String> {
    let mut order = suite.reaching(id);
    let reaching = order.len();
    let mut outcome = Outcome {
        tests: (reaching, 0),
        mark: suite.mark,
        context: mutant.context,
        ..Outcome::default()
    };
    if reaching == 0 {
        outcome.what = "unreached".into();
        outcome.done.clone_from(&suite.hashes);
        return Ok(outcome);
    }
    // An unchanged program is not run again.
    order.retain(|test| !done.contains(&suite.hashes[suite.tests[*test].program]));
    {
        let kills = kills.lock().map_err(|e| e.to_string())?;
        let cost = |test: &usize| {
            let count = kills
                .get(&(mutant.file.clone(), *test))
                .copied()
                .unwrap_or(0);
            // A test of little else is a test of this.
            let Test {
                seconds, breadth, ..
            } = suite.tests[*test];
            (0.005 + seconds) * f64::from(100 + breadth) / f64::from(1 + count)
        };
        let mut costs: Vec<(f64, usize)> = order.iter().map(|test| (cost(test), *test)).collect();
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        order = costs.into_iter().map(|(_, test)| test).collect();
    }
    let mut left = order;
    while !left.is_empty() {
        // A test that takes longer than what is left of the budget is not begun.
        let fits = |test: &&usize| suite.tests[**test].seconds <= budget - outcome.seconds;
        let Some(&first) = left.iter().find(fits) else {
            outcome.what = "unfinished".into();
            let is_left = |program| {
                left.iter()
                    .any(|test| suite.tests[*test].program == program)
            };
            let finished = (0..suite.programs.len()).filter(|program| !is_left(*program));
            outcome.done = finished.map(|program| suite.hashes[program]).collect();
            return Ok(outcome);
        };
        let program = suite.tests[first].program;
        let mut sum = 0.0;
        let mut together = Vec::new();
        for test in &left {
            let one = &suite.tests[*test];
            if one.program == program && (together.is_empty() || sum + one.seconds <= TOGETHER) {
                sum += one.seconds;
                together.push(*test);
            }
        }
        left.retain(|test| !together.contains(test));
        let (ended, seconds) = suite.challenge(&together, id)?;
        outcome.seconds += seconds;
        outcome.tests.1 += together.len();
        if ended == Ended::Passed {
            continue;
        }
        outcome.what = if ended == Ended::TooLong {
            "timeout"
        } else {
            "caught"
        }
        .into();
        let names: Vec<&str> = together
            .iter()
            .map(|t| suite.tests[*t].name.as_str())
            .collect();
        outcome.by = format!("{} {}", suite.programs[program].0, names.join(" "));
        let mut kills = kills.lock().map_err(|e| e.to_string())?;
        for test in together {
            *kills.entry((mutant.file.clone(), test)).or_insert(0) += 1;
        }
        return Ok(outcome);
    }
    outcome.what = "missed".into();
    outcome.done.clone_from(&suite.hashes);
    Ok(outcome)
}
