//! The floors of the house: a file imports from its own floor or below, scalars know nothing of
//! arrays, and `unsafe` stays in the dispatch and in one call for huge pages. docs/architecture.md
//! says why.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each floor, from the ground up.
const FLOORS: [&[&str]; 6] = [
    &[
        "element", "error", "fnv", "kernel", "linalg", "memory", "names", "noise", "real", "simd",
        "special", "stored",
    ],
    &[
        "clip",
        "grid",
        "guidance",
        "level",
        "posterior",
        "prediction",
        "schedule",
        "training",
    ],
    &["plan", "solver"],
    &[
        "apply",
        "denoiser",
        "fold",
        "forward",
        "guide",
        "moments",
        "on_arrays",
        "oracle",
        "stability",
        "tensor",
    ],
    &[
        "diffusers",
        "editing",
        "likelihood",
        "modes",
        "registry",
        "run",
        "sampler",
        "tuning",
    ],
    &["testing"],
];

/// The floors that hold scalars only.
const SCALAR_FLOORS: [usize; 2] = [1, 2];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// A source file's path, its floor and its code without comments.
type File = (String, usize, String);

/// Every source file but lib.rs.
fn files() -> Result<Vec<File>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths)?;
    let mut files = Vec::new();
    for path in paths {
        let relative = path
            .strip_prefix(&root)?
            .to_string_lossy()
            .replace('\\', "/");
        if relative == "lib.rs" {
            continue;
        }
        let module = relative
            .split(['/', '.'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let floor = floor_of(&module).ok_or(format!("{relative} stands on no floor"))?;
        let code = fs::read_to_string(&path)?
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        files.push((relative, floor, code));
    }
    Ok(files)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The modules that a file names by `crate::`.
fn imports(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .map(|(at, found)| {
            code[at + found.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn files_import_only_from_their_floor_or_below() -> Result<(), Box<dyn Error>> {
    let files = files()?;
    assert!(files.len() > 20, "the sources were not found");
    let mut edges = 0;
    for (path, floor, code) in &files {
        for module in imports(code) {
            let target = floor_of(&module)
                .ok_or(format!("{path} names crate::{module}, which is no module"))?;
            assert!(
                target <= *floor,
                "{path} (floor {floor}) imports {module} (floor {target})"
            );
            edges += 1;
        }
    }
    assert!(edges > 50, "the imports were not found");
    Ok(())
}

#[test]
fn scalar_floors_never_name_arrays() -> Result<(), Box<dyn Error>> {
    for (path, floor, code) in files()? {
        assert!(
            !SCALAR_FLOORS.contains(&floor) || !code.contains("ndarray"),
            "{path} is on a scalar floor and names ndarray"
        );
    }
    Ok(())
}

#[test]
fn unsafe_stays_in_the_dispatch_and_in_the_call_for_huge_pages() -> Result<(), Box<dyn Error>> {
    for (path, _, code) in files()? {
        let names_unsafe = code
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == "unsafe");
        assert!(
            !names_unsafe || ["simd.rs", "memory.rs"].contains(&path.as_str()),
            "{path} holds unsafe code"
        );
    }
    Ok(())
}

#[test]
fn coefficients_use_no_platform_transcendentals() -> Result<(), Box<dyn Error>> {
    // std's exp, ln, cos differ between platforms: `libm` or own polynomials give the same bits
    // everywhere.
    const FORBIDDEN: [&str; 14] = [
        ".exp()",
        ".exp_m1()",
        ".ln()",
        ".ln_1p()",
        ".log10()",
        ".log2()",
        ".powf(",
        ".sin()",
        ".cos()",
        ".tan()",
        ".sinh()",
        ".tanh()",
        ".hypot(",
        ".mul_add(",
    ];
    for (path, _, code) in files()? {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        // Torch calls the C library for its doubles, and its noise is to be the same.
        if path.ends_with("tests.rs") || path.ends_with("torch/double.rs") {
            continue;
        }
        for name in FORBIDDEN {
            assert!(!code.contains(name), "{path} calls {name}");
        }
    }
    Ok(())
}

#[test]
fn the_page_of_wrong_samplers_names_tests_that_exist() -> Result<(), Box<dyn Error>> {
    let page = include_str!("../docs/known-wrong-samplers.md");
    let mut named = 0;
    for line in page.lines().filter(|line| line.contains("`: `")) {
        let mut cell = line.rsplit('|').nth(1).unwrap_or_default().split('`');
        let (file, test) = (
            cell.nth(1).unwrap_or_default(),
            cell.nth(1).unwrap_or_default(),
        );
        let code = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        assert!(
            code.contains(&format!("fn {test}(")),
            "{file} has no test {test}"
        );
        named += 1;
    }
    assert_eq!(named, 24, "every line of the table names a test");
    Ok(())
}
