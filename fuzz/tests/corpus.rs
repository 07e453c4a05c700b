//! Every input that is kept, of the corpora and of mended findings, through its target: what the
//! engine found, on any toolchain.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// The files of a target in a folder, in the order of their names.
fn files(folder: &str, name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn replay((name, target): Target, folder: &str) -> usize {
    let files = files(folder, name);
    for file in &files {
        let bytes = fs::read(file).expect("a file of the corpus");
        // Shown where the target panics.
        eprintln!("{}", file.display());
        target(&bytes);
    }
    files.len()
}

#[test]
fn every_corpus_passes() {
    for target in TARGETS {
        assert!(replay(target, "corpus") > 0, "{} has no corpus", target.0);
    }
}

#[test]
fn no_finding_comes_back() {
    for target in TARGETS {
        replay(target, "regressions");
    }
}

/// Inputs that no corpus holds: the first bytes in all their values, and nothing.
#[test]
fn short_inputs_pass() {
    for (_, target) in TARGETS {
        target(&[]);
        for byte in 0..=u8::MAX {
            target(&[byte]);
            target(&[byte; 40]);
        }
    }
}
