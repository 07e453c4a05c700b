//! Value-stability pins: one hash a line in `tests/data/golden.txt`, which every machine, every
//! instruction set and every set of features must give. The hashes are the crate's own output and
//! prove nothing but that it has not changed and is the same everywhere.
//!
//! `UPDATE=1 cargo test --all-features --test golden` writes the file anew. That is allowed for new
//! lines, and for changed ones only together with a line in the changelog that names the change as
//! value-breaking.
//!
//! `GOLDEN_ONLY` and `GOLDEN_WITHOUT`, beginnings of names, choose lines where a machine is slow, or
//! known to be wrong itself.
//!
//! Not here: torch's normals in f64, which are those of the platform's C library.

// clippy.toml's permission does not reach helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
#[cfg(feature = "diffusers")]
mod checkpoints;
#[cfg(feature = "diffusers")]
#[path = "../diffusers/common.rs"]
#[allow(dead_code)] // Used whole by the tests of configuration files.
mod common;
#[cfg(feature = "serde")]
#[path = "../stored/formats.rs"]
#[allow(dead_code)] // Used whole by the tests of stored forms.
mod formats;
mod guided;
#[cfg(feature = "half")]
mod halves;
mod hash;
mod models;
mod moments;
mod noises;
mod plans;
mod runs;
mod schedules;
#[cfg(feature = "serde")]
#[path = "../stored/specimens.rs"]
#[allow(dead_code)] // Used whole by the tests of stored forms.
mod specimens;
#[cfg(feature = "serde")]
mod stored;

use std::collections::BTreeMap;

use diffusion_sampler::kernel::{SimdLevel, force_simd_level, simd_level};

use hash::{Lines, is_wanted};

const FILE: &str = include_str!("../data/golden.txt");

/// The first words of lines that only a feature has, and whether it is on.
const OF_FEATURES: [(&str, bool); 3] = [
    ("checkpoint", cfg!(feature = "diffusers")),
    ("half", cfg!(feature = "half")),
    ("stored", cfg!(feature = "serde")),
];

/// Every line, computed here and now.
fn computed() -> Lines {
    let mut lines = Lines::default();
    noises::add(&mut lines);
    schedules::add(&mut lines);
    plans::add(&mut lines);
    runs::add(&mut lines);
    guided::add(&mut lines);
    moments::add(&mut lines);
    bounds::add(&mut lines);
    #[cfg(feature = "half")]
    halves::add(&mut lines);
    #[cfg(feature = "diffusers")]
    checkpoints::add(&mut lines);
    #[cfg(feature = "serde")]
    stored::add(&mut lines);
    lines
}

/// The lines of the file whose features are on. The word before the colon is the feature's.
fn expected() -> BTreeMap<&'static str, &'static str> {
    let lines = FILE.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once("  ").expect("a hash and a name"));
    let on = |name: &str| {
        let first = name.split(':').next();
        !OF_FEATURES.contains(&(first.unwrap(), false)) && is_wanted(name)
    };
    let named = pairs.map(|(hash, name)| (name, hash));
    named.filter(|(name, _)| on(name)).collect()
}

fn text(lines: &Lines) -> String {
    let mut text = String::from(
        "# Value-stability pins: written by tests/golden/main.rs, which says when they may change.\n",
    );
    for (name, hash) in lines.all() {
        text.push_str(&format!("{hash}  {name}\n"));
    }
    text
}

/// What differs from the file, a line each.
fn differences(lines: &Lines) -> Vec<String> {
    let mut expected = expected();
    let mut found = Vec::new();
    for (name, hash) in lines.all() {
        match expected.remove(name.as_str()) {
            Some(of_file) if of_file == hash => {}
            Some(of_file) => found.push(format!("{name}: {hash}, in the file {of_file}")),
            None => found.push(format!("{name}: {hash}, not in the file")),
        }
    }
    found.extend(expected.keys().map(|name| format!("{name}: not computed")));
    found
}

#[test]
fn every_hash_is_that_of_the_file_on_every_instruction_set() {
    if std::env::var_os("UPDATE").is_some() {
        for (name, on) in OF_FEATURES {
            assert!(on && is_wanted(name), "lines of {name} are missing");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden.txt");
        std::fs::write(path, text(&computed())).expect("the file is written");
        return;
    }
    let mut levels = 0;
    for level in [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512] {
        force_simd_level(Some(level));
        if simd_level() != level {
            continue;
        }
        levels += 1;
        let lines = computed();
        let found = differences(&lines);
        assert!(
            found.is_empty(),
            "{level:?}: {} of {} lines differ:\n{}",
            found.len(),
            lines.all().count(),
            found.join("\n")
        );
    }
    force_simd_level(None);
    println!("{} lines, {levels} instruction sets", expected().len());
}
