//! docs/migrating.md: what its tables name here is in the source, and the names of other libraries
//! lead to it when they are searched for.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/migrating.md");

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

/// The text of all of src.
fn source() -> Result<String, Box<dyn Error>> {
    let mut paths = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut paths,
    )?;
    let texts = paths.iter().map(fs::read_to_string);
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// The words that the source declares: public items, and the variants of enums.
fn declared(source: &str) -> BTreeSet<&str> {
    let mut words = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        let public = line.strip_prefix("pub ");
        // A method of a public trait has no "pub" of its own.
        let item = public.or(line.starts_with("fn ").then_some(line));
        let variant = line
            .starts_with(|first: char| first.is_uppercase())
            .then_some(line);
        let Some(item) = item.or(variant) else {
            continue;
        };
        const KEYWORDS: [&str; 7] = ["fn", "const", "struct", "enum", "trait", "mod", "type"];
        let mut parts = item
            .split(|c: char| !is_word(c))
            .filter(|part| !part.is_empty());
        words.extend(parts.find(|part| !KEYWORDS.contains(part)));
    }
    words
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The cells of a table's row.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "");
    row.trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// The code of the columns that speak of this crate.
fn code() -> Vec<String> {
    let mut code = Vec::new();
    let mut ours = Vec::new();
    let mut before = "";
    for line in PAGE.lines() {
        if line.starts_with("|---") {
            let heads = cells(before).into_iter();
            ours = heads
                .map(|head| head == "here" || head == "theirs")
                .collect();
        } else if line.starts_with('|') {
            let spoken = cells(line)
                .into_iter()
                .zip(&ours)
                .filter(|(_, ours)| **ours);
            for (cell, _) in spoken {
                code.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
        before = line;
    }
    code
}

/// The words of a piece of code that must be this crate's: types, and what follows "::" or ".".
fn words(code: &str) -> Vec<String> {
    // Not what stands in a string.
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let mut words = Vec::new();
    let mut before = ' ';
    let mut rest = code.as_str();
    while let Some(start) = rest.find(is_word) {
        before = rest[..start].chars().last().unwrap_or(before);
        let tail = &rest[start..];
        let end = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
        let (word, after) = tail.split_at(end);
        let named = word.starts_with(|first: char| first.is_uppercase()) || ".:".contains(before);
        if named && word.len() > 1 && word.starts_with(|first: char| first.is_alphabetic()) {
            words.push(word.to_owned());
        }
        (rest, before) = (after, 'x');
    }
    words
}

/// What the tables take from Rust itself, and from the package examples/candle-transformers.
const STANDARD: [&str; 6] = [
    "powi",
    "sqrt",
    "ControlFlow",
    "Continue",
    "SamplerConfig",
    "build",
];

#[test]
fn what_the_tables_name_is_there() -> Result<(), Box<dyn Error>> {
    let source = source()?;
    let declared = declared(&source);
    let named: BTreeSet<String> = code().iter().flat_map(|code| words(code)).collect();
    assert!(named.len() > 100, "{named:?}");
    let missing: Vec<&String> = named
        .iter()
        .filter(|word| !declared.contains(word.as_str()) && !STANDARD.contains(&word.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// Names of other libraries that are not those of a sampler, and mean one thing here.
const SEARCHED: &[&str] = &[
    "add_noise",
    "alphas_cumprod",
    "append_zero",
    "betas_for_alpha_bar",
    "BrownianTreeNoiseSampler",
    "c_in",
    "calculate_shift",
    "callback",
    "callback_on_step_end",
    "clip_sample",
    "denoised",
    "disable_corrector",
    "eta",
    "final_alpha_cumprod",
    "final_sigmas_type",
    "flow_shift",
    "from_pretrained",
    "generator",
    "get_ancestral_step",
    "get_sigmas",
    "get_sigmas_exponential",
    "get_sigmas_karras",
    "get_sigmas_polyexponential",
    "get_sigmas_vp",
    "get_velocity",
    "guidance_rescale",
    "guidance_scale",
    "interpolation_type",
    "manual_seed",
    "num_inference_steps",
    "pred_original_sample",
    "prediction_type",
    "prev_sample",
    "quantize",
    "rescale_betas_zero_snr",
    "s_churn",
    "s_noise",
    "s_tmax",
    "s_tmin",
    "scale_model_input",
    "set_alpha_to_one",
    "set_timesteps",
    "shift",
    "sigma_max",
    "sigma_min",
    "sigma_to_t",
    "skip_prk_steps",
    "solver_order",
    "solver_type",
    "squaredcos_cap_v2",
    "SquaredcosCapV2",
    "steps_offset",
    "strength",
    "t_to_sigma",
    "thresholding",
    "time_shift",
    "time_snr_shift",
    "timestep_spacing",
    "timesteps",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
];

#[test]
fn names_of_other_libraries_can_be_searched_for() -> Result<(), Box<dyn Error>> {
    let source = source()?;
    let aliases: String = source
        .split("doc(alias")
        .skip(1)
        .filter_map(|rest| rest.split(")]").next())
        .collect();
    let missing: Vec<&&str> = SEARCHED
        .iter()
        .filter(|name| !aliases.contains(&format!("\"{name}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}
