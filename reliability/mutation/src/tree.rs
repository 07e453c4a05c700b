//! The copy of the repository in which every mutant has its switch, and its builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::glob;
use crate::mutants::{self, Convertible, Form, Found, Mutant};
use crate::rewrite::{self, Rewritten};

/// All mutants of the chosen files, with their numbers.
#[derive(Debug)]
pub struct Mutants {
    /// By number.
    pub all: Vec<Mutant>,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: String,
    source: String,
    found: Found,
    ids: Vec<u32>,
}

impl Mutants {
    /// Reads the sources that the crate in `root` consists of, and numbers the mutants of those
    /// files that one of the patterns matches.
    pub fn read(root: &Path, patterns: &[String]) -> Result<Self, String> {
        let mut queue = vec![("src/lib.rs".to_owned(), "src".to_owned())];
        let mut sources = Vec::new();
        while let Some((path, below)) = queue.pop() {
            let source =
                fs::read_to_string(root.join(&path)).map_err(|e| format!("{path}: {e}"))?;
            for module in mutants::find(&path, &source, &Convertible::default())?.modules {
                let stem = format!("{below}/{}", module.join("/"));
                let candidates = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
                if let Some(file) = candidates.into_iter().find(|c| root.join(c).is_file()) {
                    queue.push((file, stem));
                }
            }
            sources.push((path, source));
        }
        let functions = mutants::convertible(&sources)?;
        let mut files = Vec::new();
        for (path, source) in sources {
            let mut found = mutants::find(&path, &source, &functions)?;
            // The texts of constants that became functions are needed in all files.
            if !glob::chosen(patterns, &path) {
                found.mutants.clear();
                found
                    .sites
                    .retain(|site| matches!(site.form, Form::Text(_)));
            }
            files.push(File {
                path,
                source,
                found,
                ids: Vec::new(),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut all = Vec::new();
        for file in &mut files {
            file.ids = vec![u32::MAX; file.found.mutants.len()];
            let switched = file
                .found
                .sites
                .iter()
                .flat_map(|site| &site.mutants)
                .copied();
            let mut order: Vec<usize> = switched.collect();
            let known: BTreeSet<usize> = order.iter().copied().collect();
            order.extend((0..file.found.mutants.len()).filter(|m| !known.contains(m)));
            for mutant in order {
                file.ids[mutant] = u32::try_from(all.len()).map_err(|e| e.to_string())?;
                all.push(file.found.mutants[mutant].clone());
            }
        }
        Ok(Self { all, files })
    }

    /// Every file with the mutants for which `live` holds.
    fn rewritten(&self, live: &dyn Fn(u32) -> bool) -> BTreeMap<String, Rewritten> {
        self.files
            .iter()
            .map(|file| {
                let live = |mutant: usize| live(file.ids[mutant]);
                let text = rewrite::rewrite(&file.source, &file.found, &file.ids, &live);
                (file.path.clone(), text)
            })
            .collect()
    }
}

/// The copy and its directory of builds.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// Where everything of this tool is.
    pub out: PathBuf,
    /// Optimisation of the build, as cargo's profile says it.
    pub optimisation: String,
    /// A directory of builds that others use too.
    pub shared: Option<PathBuf>,
}

fn write(path: &Path, text: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    }
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

impl Tree {
    /// A copy of the repository in `root`, below `out`.
    pub fn new(root: &Path, out: &Path, optimisation: &str, shared: Option<PathBuf>) -> Self {
        Self {
            root: root.to_owned(),
            out: out.to_owned(),
            optimisation: optimisation.to_owned(),
            shared,
        }
    }

    fn copy(&self) -> PathBuf {
        self.out.join("tree")
    }

    /// Copies what git tracks or would track; files that did not change keep their time.
    pub fn fill(
        &self,
        rewritten: &BTreeMap<String, Rewritten>,
        count: usize,
    ) -> Result<(), String> {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&self.root)
            .output()
            .map_err(|e| format!("git: {e}"))?;
        let listed = String::from_utf8(listed.stdout).map_err(|e| e.to_string())?;
        let mut wanted = BTreeSet::new();
        for name in listed.split('\0').filter(|name| !name.is_empty()) {
            let from = self.root.join(name);
            let Ok(mut text) = fs::read(&from) else {
                continue;
            };
            if let Some(file) = rewritten.get(name) {
                text = file.text.clone().into_bytes();
            }
            if name == "src/lib.rs" {
                text.extend_from_slice(b"\nmod mutation;\n");
            }
            write(&self.copy().join(name), &text)?;
            wanted.insert(PathBuf::from(name));
        }
        write(
            &self.copy().join("src/mutation.rs"),
            rewrite::module(count).as_bytes(),
        )?;
        wanted.insert("src/mutation.rs".into());
        for directory in ["src", "tests"] {
            remove_others(&self.copy(), Path::new(directory), &wanted)?;
        }
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .args(arguments)
            .args([
                "-p",
                "diffusion-sampler",
                "--all-features",
                "--message-format",
                "json",
            ])
            .current_dir(self.copy())
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", &self.optimisation)
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .stdout(Stdio::piped());
        let own = self.out.join("build");
        let target = self.shared.as_ref().map(|shared| self.root.join(shared));
        cargo.env("CARGO_TARGET_DIR", target.unwrap_or(own));
        // This program stands before the compiler of the copy alone: no lint refuses a mutant, the
        // dependencies are those of everybody, and cargo does not take the copy's library for the
        // repository's.
        if let Ok(this) = std::env::current_exe() {
            cargo.env("RUSTC_WORKSPACE_WRAPPER", this);
        }
        cargo
    }

    fn messages(mut cargo: Command) -> Result<(bool, Vec<Value>), String> {
        let child = cargo.spawn().map_err(|e| format!("cargo: {e}"))?;
        let output = child
            .wait_with_output()
            .map_err(|e| format!("cargo: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok((output.status.success(), messages))
    }

    /// The mutants that are known not to compile.
    pub fn known_unviable(&self, mutants: &Mutants) -> BTreeSet<u32> {
        let text = fs::read_to_string(self.out.join("unviable.txt")).unwrap_or_default();
        let known: BTreeSet<&str> = text.lines().collect();
        (0u32..)
            .zip(&mutants.all)
            .filter(|(_, mutant)| known.contains(mutant.key.as_str()))
            .map(|(id, _)| id)
            .collect()
    }

    /// Takes out mutants until the library compiles: the numbers of those that do not, those
    /// without a switch aside.
    pub fn check(&self, mutants: &Mutants) -> Result<BTreeSet<u32>, String> {
        let memory = self.out.join("unviable.txt");
        let mut dead = self.known_unviable(mutants);
        for round in 1.. {
            let rewritten = mutants.rewritten(&|id| !dead.contains(&id));
            self.fill(&rewritten, mutants.all.len())?;
            let (success, messages) = Self::messages(self.cargo(&["check", "--lib"]))?;
            if success {
                break;
            }
            let before = dead.len();
            let mut loose = Vec::new();
            for message in messages.iter().filter(|m| m["message"]["level"] == "error") {
                if !blame(&message["message"], &rewritten, &mut dead) {
                    loose.push(
                        message["message"]["rendered"]
                            .as_str()
                            .unwrap_or("?")
                            .to_owned(),
                    );
                }
            }
            eprintln!(
                "round {round}: {} unviable, {} errors unexplained",
                dead.len(),
                loose.len()
            );
            if dead.len() == before {
                return Err(format!("the copy does not compile:\n{}", loose.join("\n")));
            }
        }
        let mut lines: BTreeSet<String> = fs::read_to_string(&memory)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.extend(dead.iter().map(|id| mutants.all[*id as usize].key.clone()));
        write(
            &memory,
            (lines.into_iter().collect::<Vec<_>>().join("\n") + "\n").as_bytes(),
        )?;
        Ok(dead)
    }

    /// Builds tests; gives the name and the program of each target.
    pub fn build(&self, targets: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
        let mut arguments = vec!["test", "--no-run"];
        for target in targets {
            if target == "lib" {
                arguments.push("--lib");
            } else {
                arguments.extend(["--test", target]);
            }
        }
        let (success, messages) = Self::messages(self.cargo(&arguments))?;
        if !success {
            let texts = messages
                .iter()
                .filter_map(|m| m["message"]["rendered"].as_str());
            return Err(texts.collect());
        }
        let programs = messages
            .iter()
            .filter(|m| m["reason"] == "compiler-artifact");
        Ok(programs
            .filter_map(|message| {
                let program = message["executable"].as_str()?;
                let target = &message["target"];
                let name = target["name"].as_str()?.to_owned();
                let is_lib = target["kind"].as_array()?.iter().any(|kind| kind == "lib");
                Some((
                    if is_lib { "lib".to_owned() } else { name },
                    PathBuf::from(program),
                ))
            })
            .collect())
    }
}

/// Removes from the copy what the repository no longer has.
fn remove_others(copy: &Path, below: &Path, wanted: &BTreeSet<PathBuf>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(copy.join(below)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(|e| e.to_string())?;
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            remove_others(copy, &path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(entry.path()).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// A place that an error of the compiler mentions.
struct Mention {
    file: String,
    range: Range<usize>,
    primary: bool,
}

fn mentions(message: &Value) -> Vec<Mention> {
    let spans = message["spans"].as_array().into_iter().flatten();
    spans
        .filter_map(|span| {
            let number = |name: &str| span[name].as_u64().and_then(|n| usize::try_from(n).ok());
            Some(Mention {
                file: span["file_name"].as_str()?.to_owned(),
                range: number("byte_start")?..number("byte_end")?,
                primary: span["is_primary"] == true,
            })
        })
        .collect()
}

/// Takes out the mutants that an error of the compiler points to.
fn blame(
    message: &Value,
    rewritten: &BTreeMap<String, Rewritten>,
    dead: &mut BTreeSet<u32>,
) -> bool {
    let own = mentions(message);
    let (primary, secondary): (Vec<_>, Vec<_>) = own.iter().partition(|mention| mention.primary);
    let children = message["children"].as_array().into_iter().flatten();
    let remarks: Vec<Mention> = children.flat_map(mentions).collect();
    // The place of the error first; then what else it mentions.
    for list in [primary.clone(), secondary, remarks.iter().collect()] {
        let mut hit = false;
        for mention in list {
            let Some(file) = rewritten.get(&mention.file) else {
                continue;
            };
            for placed in &file.mutants {
                if placed.range.start <= mention.range.start
                    && mention.range.end <= placed.range.end
                {
                    dead.extend(&placed.ids);
                    hit = true;
                }
            }
        }
        if hit {
            return true;
        }
    }
    for mention in primary {
        let Some(file) = rewritten.get(&mention.file) else {
            continue;
        };
        // The type of a function that returns `impl Iterator`: all values but the empty one first.
        let body = file.sites.iter().find(|site| {
            site.opaque
                && site.range.start >= mention.range.start
                && site.range.start < mention.range.start + 300
        });
        if let Some(body) = body {
            let live = body.ids.iter().filter(|id| !dead.contains(id)).count();
            dead.extend(body.ids.iter().skip(usize::from(live > 1)));
            return true;
        }
        let around = file.sites.iter().filter(|site| {
            site.range.start <= mention.range.start
                && mention.range.end <= site.range.end
                && site.range.len() < 4000
        });
        if let Some(site) = around.min_by_key(|site| site.range.len()) {
            let text = message["rendered"].as_str().unwrap_or_default();
            eprintln!("all of a place taken out: {text}");
            let live = site.ids.iter().filter(|id| !dead.contains(id)).count();
            // Of an iterator the empty one first stays: it may be the others' fault.
            let stays = site.opaque && live > 1;
            dead.extend(site.ids.iter().skip(usize::from(stays)));
            return true;
        }
    }
    // An error that counts the others.
    own.is_empty()
}
