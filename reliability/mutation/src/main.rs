//! Mutation testing in one build: every mutant of cargo-mutants' set stands in one copy of the crate
//! behind a switch that a test program reads when it starts. `--help` prints the usage.

mod campaign;
mod equivalent;
mod glob;
mod mutants;
mod process;
mod rewrite;
mod tree;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use campaign::{Limits, Results};
use mutants::{Fixed, Mutant};
use tree::{Mutants, Tree};

const USAGE: &str = include_str!("../USAGE.txt");

#[derive(Debug)]
struct Options {
    command: String,
    files: Vec<String>,
    within: Vec<String>,
    targets: Vec<String>,
    only: Option<PathBuf>,
    out: PathBuf,
    optimisation: String,
    build: Option<PathBuf>,
    jobs: usize,
    nice: u8,
    budget: f64,
    seconds: Option<f64>,
    seed: u64,
    fresh: bool,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let day = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |t| t.as_secs() / 86_400);
        let mut options = Self {
            command: "run".into(),
            files: Vec::new(),
            within: Vec::new(),
            targets: Vec::new(),
            only: None,
            out: "target/mutation".into(),
            optimisation: "1".into(),
            build: None,
            jobs: 2,
            nice: 19,
            budget: 40.0,
            seconds: None,
            seed: day,
            fresh: false,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            fn number<T: std::str::FromStr>(text: String) -> Result<T, String> {
                text.parse().map_err(|_| format!("not a number: {text}"))
            }
            match name.as_str() {
                "--files" => options.files.push(value()?),
                "--in" => options.within.push(value()?),
                "--targets" => options
                    .targets
                    .extend(value()?.split(',').map(str::to_owned)),
                "--only" => options.only = Some(value()?.into()),
                "--out" => options.out = value()?.into(),
                "--build" => options.build = Some(value()?.into()),
                "--opt" => options.optimisation = value()?,
                "--jobs" => options.jobs = number(value()?)?,
                "--nice" => options.nice = number(value()?)?,
                "--budget" => options.budget = number(value()?)?,
                "--seconds" => options.seconds = Some(number(value()?)?),
                "--seed" => options.seed = number(value()?)?,
                "--fresh" => options.fresh = true,
                command if !command.starts_with('-') => options.command = command.to_owned(),
                _ => return Err(format!("unknown: {name}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

/// Runs the compiler where this program stands before it: the first argument is its path then.
fn compiler() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next()?;
    if Path::new(&rustc).file_stem()? != "rustc" {
        return None;
    }
    let mut rustc = Command::new(rustc);
    let status = rustc
        .args(arguments)
        .args(["--cap-lints", "allow"])
        .status();
    let done = status.is_ok_and(|status| status.success());
    Some(if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    if let Some(code) = compiler() {
        return code;
    }
    if std::env::args().any(|argument| argument == "--help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Options::read(std::env::args().skip(1)).and_then(|options| work(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn repository() -> Result<PathBuf, String> {
    let shown = Command::new("git")
        .args(["rev-parse", "--show-toplevel"])
        .output()
        .map_err(|e| format!("git: {e}"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&shown.stdout).trim()))
}

/// The test targets of the crate, those aside whose tests read the sources or are no oracles.
fn all_targets(root: &Path) -> Result<Vec<String>, String> {
    const LEFT_OUT: [&str; 4] = ["architecture", "data", "claims", "migrating"];
    let mut targets = vec!["lib".to_owned()];
    for entry in fs::read_dir(root.join("tests")).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = name.strip_suffix(".rs").map(str::to_owned);
        let target = target.or(entry.path().join("main.rs").is_file().then_some(name));
        targets.extend(target.filter(|target| !LEFT_OUT.contains(&target.as_str())));
    }
    targets.sort();
    Ok(targets)
}

fn shown(mutant: &Mutant) -> String {
    let place = format!(
        "{}:{}:{}: {}",
        mutant.file, mutant.line, mutant.column, mutant.change
    );
    let function = if mutant.function.is_empty() {
        "a constant"
    } else {
        &mutant.function
    };
    format!("{place} in {function}\t{}", mutant.key)
}

/// The part of the crate that a file belongs to.
fn group(file: &str) -> &str {
    let path = file.strip_prefix("src/").unwrap_or(file);
    path.split_once('/')
        .map_or(path.trim_end_matches(".rs"), |(first, _)| first)
}

/// The parts that decide the numbers of every run come first.
const ORDER: [&str; 13] = [
    "src/level*",
    "src/schedule/**",
    "src/grid/**",
    "src/prediction*",
    "src/posterior*",
    "src/posterior/**",
    "src/guidance/**",
    "src/clip*",
    "src/plan/**",
    "src/solver/**",
    "src/fold*",
    "src/diffusers/**",
    "src/run/**",
];

fn position(patterns: &[String], file: &str) -> Option<usize> {
    patterns
        .iter()
        .position(|pattern| glob::matches(pattern, file))
}

fn work(options: &Options) -> Result<bool, String> {
    let root = repository()?;
    let mutants = Mutants::read(&root, &options.files)?;
    if options.command == "list" {
        mutants
            .all
            .iter()
            .for_each(|mutant| println!("{}", shown(mutant)));
        return Ok(true);
    }
    if options.command == "compare" {
        let path = options.only.as_ref().ok_or("compare needs --only FILE")?;
        return compare(&mutants.all, path);
    }
    let out = root.join(&options.out);
    fs::create_dir_all(&out).map_err(|e| e.to_string())?;
    let path = out.join("results.jsonl");
    if options.fresh {
        let _ = fs::remove_file(&path);
    }
    let results = Mutex::new(Results::read(path, &mutants.all));
    let mut argued = BTreeSet::new();
    for file in mutants
        .all
        .iter()
        .map(|m| m.file.as_str())
        .collect::<BTreeSet<_>>()
    {
        let source = fs::read_to_string(root.join(file)).map_err(|e| e.to_string())?;
        argued.extend(equivalent::find(file, &source, &mutants.all)?);
    }
    let tree = Tree::new(&root, &out, &options.optimisation, options.build.clone());
    let unviable = match options.command.as_str() {
        "table" => tree.known_unviable(&mutants),
        "check" | "run" => tree.check(&mutants)?,
        other => return Err(format!("unknown: {other}\n\n{USAGE}")),
    };
    let mut chosen: Vec<u32> = (0u32..)
        .zip(&mutants.all)
        .filter(|(id, mutant)| mutant.fixed.is_none() && !unviable.contains(id))
        .map(|(id, _)| id)
        .collect();
    if let Some(only) = &options.only {
        let text = fs::read_to_string(only).map_err(|e| format!("{}: {e}", only.display()))?;
        let keys: BTreeSet<&str> = text
            .lines()
            .map(|line| line.rsplit_once('\t').map_or(line, |(_, key)| key).trim())
            .collect();
        chosen.retain(|id| keys.contains(mutants.all[*id as usize].key.as_str()));
    }
    if !options.within.is_empty() {
        chosen.retain(|id| glob::chosen(&options.within, &mutants.all[*id as usize].file));
    }
    if options.command == "run" {
        let targets = match &options.targets[..] {
            [] => all_targets(&root)?,
            some => some.to_vec(),
        };
        let start = Instant::now();
        let programs = tree.build(&targets)?;
        eprintln!(
            "{} programs, {:.0} s",
            programs.len(),
            start.elapsed().as_secs_f64()
        );
        process::limit(options.nice)?;
        let suite = campaign::record(&out, programs, &mutants.all, options.jobs)?;
        for test in &suite.broken {
            println!("fails without a mutant, left out: {test}");
        }
        eprintln!(
            "{} tests, {} mutants to try",
            suite.tests.len(),
            chosen.len()
        );
        let mut end = None;
        if let Some(seconds) = options.seconds {
            println!("seed {}", options.seed);
            shuffle(&mut chosen, options.seed);
            end = Some(Instant::now() + Duration::from_secs_f64(seconds));
        } else {
            let order: &[String] = if options.within.is_empty() {
                &ORDER.map(str::to_owned)
            } else {
                &options.within
            };
            chosen.sort_by_key(|id| {
                position(order, &mutants.all[*id as usize].file).unwrap_or(usize::MAX)
            });
        }
        // Cheap tests first for all, so that there are early figures.
        for budget in [options.budget.min(2.0), options.budget] {
            let limits = Limits {
                jobs: options.jobs,
                budget,
                end,
            };
            campaign::run(&suite, &mutants.all, &chosen, &limits, &results)?;
        }
    }
    let results = results.into_inner().map_err(|e| e.to_string())?;
    let some = options.only.is_some() || !options.within.is_empty();
    let only = some.then(|| chosen.iter().copied().collect());
    Ok(report(
        &mutants.all,
        &unviable,
        &argued,
        &results,
        only.as_ref(),
        &out,
    ))
}

/// Compares the list with that of `cargo mutants --list --json`: file, place, kind, replacement.
fn compare(mutants: &[Mutant], path: &Path) -> Result<bool, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let listed: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let plain = |text: &str| {
        text.split_whitespace()
            .collect::<String>()
            .replace(",)", ")")
    };
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for mutant in mutants {
        let place = format!("{}:{}:{}", mutant.file, mutant.line, mutant.column);
        let name = format!("{place} {:?} {}", mutant.genre, plain(&mutant.replacement));
        counts.entry(name).or_default()[0] += 1;
    }
    for other in listed.as_array().into_iter().flatten() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let start = &other["span"]["start"];
        let place = format!(
            "{}:{}:{}",
            text(&other["file"]),
            start["line"],
            start["column"]
        );
        let replacement = plain(&text(&other["replacement"]));
        let name = format!("{place} {} {replacement}", text(&other["genre"]));
        counts.entry(name).or_default()[1] += 1;
    }
    let different: Vec<_> = counts
        .iter()
        .filter(|(_, [own, other])| own != other)
        .collect();
    for (name, [own, other]) in &different {
        println!("{own} here, {other} there: {name}");
    }
    println!("{} mutants, {} different", mutants.len(), different.len());
    Ok(different.is_empty())
}

fn shuffle(list: &mut [u32], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    for last in (1..list.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        list.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

/// Prints the table; tells whether nothing was missed.
fn report(
    mutants: &[Mutant],
    unviable: &BTreeSet<u32>,
    argued: &BTreeSet<u32>,
    results: &Results,
    only: Option<&BTreeSet<u32>>,
    out: &Path,
) -> bool {
    const COLUMNS: [&str; 9] = [
        "mutants",
        "caught",
        "timeout",
        "unviable",
        "equivalent",
        "constant",
        "missed",
        "unfinished",
        "untried",
    ];
    let mut table: BTreeMap<&str, [usize; 9]> = BTreeMap::new();
    let mut missed = Vec::new();
    let mut constants = Vec::new();
    let mut wrong = Vec::new();
    for (id, mutant) in (0u32..).zip(mutants) {
        if only.is_some_and(|only| !only.contains(&id)) {
            continue;
        }
        let outcome = results.by_key.get(&mutant.key);
        let what = outcome.map_or("untried", |outcome| outcome.what.as_str());
        let column = match (mutant.fixed, what) {
            (Some(Fixed::Constant), _) => 5,
            (Some(Fixed::Unviable), _) => 3,
            _ if unviable.contains(&id) => 3,
            (None, "caught") => 1,
            (None, "timeout") => 2,
            _ if argued.contains(&id) => 4,
            (None, "missed" | "unreached") => 6,
            (None, "unfinished") => 7,
            (None, _) => 8,
        };
        if argued.contains(&id) && column < 3 {
            let by = outcome.map_or("", |outcome| outcome.by.as_str());
            wrong.push(format!(
                "argued equivalent, caught by {by}: {}",
                shown(mutant)
            ));
        }
        for name in [group(&mutant.file), "total"] {
            let row = table.entry(name).or_default();
            row[0] += 1;
            row[column] += 1;
        }
        if column == 5 {
            constants.push(shown(mutant));
        }
        if column == 6 || column == 7 {
            let tests = outcome.map_or((0, 0), |outcome| outcome.tests);
            missed.push(format!(
                "{what} ({} of {} tests) {}",
                tests.1,
                tests.0,
                shown(mutant)
            ));
        }
    }
    let total = table.remove("total").unwrap_or_default();
    print!("{:16}", "");
    COLUMNS.iter().for_each(|name| print!(" {name:>10}"));
    println!();
    for (name, row) in table
        .iter()
        .map(|(name, row)| (*name, row))
        .chain([("total", &total)])
    {
        print!("{name:16}");
        row.iter().for_each(|count| print!(" {count:>10}"));
        println!();
    }
    let listed = fs::write(out.join("constants.txt"), constants.join("\n") + "\n").is_ok();
    if !listed {
        constants
            .iter()
            .for_each(|line| println!("constant {line}"));
    }
    let text = missed.join("\n") + "\n";
    if fs::write(out.join("survivors.txt"), &text).is_err() || missed.len() <= 40 {
        print!("{text}");
    } else {
        println!(
            "{} in {}",
            missed.len(),
            out.join("survivors.txt").display()
        );
    }
    wrong.iter().for_each(|line| println!("{line}"));
    missed.is_empty() && wrong.is_empty()
}
