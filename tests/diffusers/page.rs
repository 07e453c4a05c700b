//! The page docs/checkpoints.md: `cargo run --features diffusers --example checkpoints` writes it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use diffusion_sampler::diffusers::{Configured, Defect};
use serde_json::Value;

use super::common::{Run, golden, numbers};

type Outcome<T> = Result<T, Box<dyn Error>>;

const INTRODUCTION: &str = "\
# Checkpoints: what their configuration files give here

The module `diffusers` (feature of the same name) reads the `scheduler_config.json` of a checkpoint.
This page compares what it makes of 27 published files with what diffusers 0.42.1 computes from
them: the list of times, the list of σ, and the states of whole runs with one network in f64. It is
written by `cargo run --features diffusers --example checkpoints`; a test compares it, and others
assert what it says.

| column | meaning |
|---|---|
| times | of all calls, as the library lists them: the number of f32 steps that they differ by at most; 0 is equality |
| σ | the same, of the f64 list here, rounded once; for tables the relative difference |
| σ in f32 | the same with `Request::in_float32`, which rounds where the library rounds |
| states | the largest difference in a whole run with `Request::as_published`, relative to the largest entry or 1 |
| by default | the difference of the last state without `as_published`, and the defects of the library that make it |

";

const DIFFERENCES: &str = "\
## What differs, and why

**Times** that are whole numbers are the same everywhere. EDM's ¼ ln σ is rounded from an f32 σ in the
library: five steps of f32 near its zero, under 1e-7 of the largest. Times that are looked up in ln σ
(Euler, Heun, LMS and KDPM2 with Karras's σ; none in this table) differ by up to 2e-3, because the
library searches in f32.

**σ of a flow** is computed here in f64 and rounded once; the library rounds a list that a pipeline
gives to f32 first, and every operation after it. That is one step of f32 for most, up to ten after
a stretch to a terminal σ (LTX-Video, Qwen-Image), where 1 − σ cancels. With `in_float32` nothing
differs.

**σ of a table** (ρ = √((1 − ᾱ)/ᾱ)) suffers in the library from 1 − ᾱ in f32: 2e-5 relative at
index 0, under 6e-6 elsewhere. With `in_float32` one or two steps of f32 are left: the square root
of the torch that computed the lists is itself one bit off for some values. With zero terminal SNR
more are left, since that subtracts nearly equal numbers.

**States** are those of the library run in f64, so that no rounding hides a difference of method.

**Beyond this table** 729 further configurations of all classes, each field in turn and at random,
are compared in the same way (`tests/data/schedulers/more.json`). Those that differ, also as published,
or are refused:

| configuration | difference |
|---|---|
| `variance_type` learned | refused: no run reads such a variance from the network; fixed_small with the first half of the channels runs |
| `variance_type` learned_range, with noise on the clean end | refused as published; by default that end has no noise |
| `variance_type` fixed_large_log | refused: not a number in the library |
| noise prediction with `rescale_betas_zero_snr` | refused where α = 0; as published it runs for Euler, DPM-Solver and UniPC |
| trailing times for some K (61, 103, …) | the library's list has one time more, −1; left out, with a note |
| a strength with PNDM | the library cuts its list of calls within a step; here the last steps are taken |
| a strength with LCM and TCD | the last steps; their own pipelines choose among the first trained steps instead |
| DDIM inversion from clean data, clipped | the first step's clip is not the library's; with `sample` prediction that is not a number there |
| UniPC of order 4 | refused; 3 is the highest |
| one step that ends where it begins (`final_sigmas_type` sigma_min, DEIS on a flow) | refused |
| churn on an end that repeats the last σ | refused |
| a list of σ for EDMEuler | refused: the library reads places on its ramp |
| FlowMatchLCM with `invert_sigmas` or `scale_factors`; `invert_sigmas` with `stochastic_sampling` | refused: noise is added where it should be taken away, or the state changes its size |
| LTX's ancestral flow | the library adds 1e-12 to divisors: 1e-9 |
| KDPM2 on a cosine table | ρ up to 2e4, where the library cancels: 1e-10 |
| flow prediction on a table, velocity on a flow | refused |
| more than 100 000 steps, tables of more than 2^20 | refused |

";

/// The page.
pub(crate) fn text() -> Outcome<String> {
    let mut page = INTRODUCTION.to_owned();
    let mut names: Vec<String> = Vec::new();
    for run in golden() {
        if !names.contains(&run.name) {
            names.push(run.name);
        }
    }
    let mut differing: BTreeMap<Defect, Vec<String>> = BTreeMap::new();
    for name in &names {
        let runs: Vec<Run> = golden()
            .into_iter()
            .filter(|run| run.name == *name)
            .collect();
        section(&mut page, &runs, &mut differing)?;
    }
    page.push_str(DIFFERENCES);
    page.push_str("**By default** these defects of the library are not reproduced:\n\n");
    page.push_str("| defect | the library | here | checkpoints |\n|---|---|---|---|\n");
    for (defect, mut rows) in differing {
        rows.dedup();
        let (does, here) = (defect.description(), defect.instead());
        writeln!(
            page,
            "| `{defect}` | {does} | {here} | {} |",
            rows.join(", ")
        )?;
    }
    Ok(page)
}

fn section(
    page: &mut String,
    runs: &[Run],
    differing: &mut BTreeMap<Defect, Vec<String>>,
) -> Outcome<()> {
    let Some(first) = runs.first() else {
        return Ok(());
    };
    writeln!(page, "## {}\n\n{}\n", first.name, first.class)?;
    writeln!(
        page,
        "```rust,no_run\nuse diffusion_sampler::diffusers::{{self, Request}};\n"
    )?;
    writeln!(
        page,
        "let text = std::fs::read_to_string(\"scheduler_config.json\")?;\n\
         let request = {};\n\
         let configured = diffusers::sampler(&text, &request)?;\n\
         println!(\"{{configured}}\");\n\
         # Ok::<(), Box<dyn std::error::Error>>(())\n```\n",
        chain(&runs[runs.len() - 1])
    )?;
    page.push_str(
        "| K | times | σ | σ in f32 | states | by default |\n|---|---|---|---|---|---|\n",
    );
    for run in runs {
        let published = run.configured(&run.request().as_published())?;
        let single = run.configured(&run.request().as_published().in_float32())?;
        let default = run.configured(&run.request())?;
        let stock = &run.whole["stock_f32"];
        let on_table = !matches!(stock["sigmas"], Value::Null) && !first.class.contains("Flow");
        let sigmas = match on_table && !first.config["use_flow_sigmas"].as_bool().unwrap_or(false) {
            true => relative(&published.sigmas(), &stock["sigmas"]),
            false => steps(&published.sigmas(), &stock["sigmas"]),
        };
        writeln!(
            page,
            "| {} | {} | {sigmas} | {} | {} | {} |",
            run.steps,
            steps(single.times(), &stock["timesteps"]),
            steps(&single.sigmas(), &stock["sigmas"]),
            bound(run.error_of_states(&published)),
            by_default(run, &default, differing)
        )?;
    }
    page.push('\n');
    Ok(())
}

/// The request in Rust.
fn chain(run: &Run) -> String {
    let mut chain = format!("Request::steps({})", run.steps);
    let how = &run.how;
    if how["sigmas"].is_string() {
        chain.push_str(".uniform_sigmas()");
    }
    if let Some(tokens) = how["tokens"].as_u64() {
        chain.push_str(&format!(".image_tokens({tokens})"));
    }
    if how["mu"] == "flux2" {
        chain.push_str(".mu_of_flux2()");
    }
    if how["sign"].as_f64() == Some(-1.0) {
        chain.push_str(".reversed_output()");
    }
    match how["time"].as_str() {
        Some("sigma") => chain.push_str(".network_time_from_one()"),
        Some("one_minus_sigma") => chain.push_str(".network_time_to_one()"),
        _ => {}
    }
    chain
}

/// How many `f32` lie between two entries, at most.
pub(crate) fn float_steps(ours: &[f64], theirs: &Value) -> Option<u64> {
    let theirs = numbers(theirs.as_array().map(|_| theirs)?);
    let distance = |(a, b): (&f64, &f64)| {
        let bits = |x: f64| i64::from((x as f32).to_bits());
        bits(*a).abs_diff(bits(*b))
    };
    ours.iter().zip(&theirs).map(distance).max()
}

fn steps(ours: &[f64], theirs: &Value) -> String {
    match float_steps(ours, theirs) {
        Some(steps) => steps.to_string(),
        None => "–".to_owned(),
    }
}

fn relative(ours: &[f64], theirs: &Value) -> String {
    let theirs = numbers(theirs);
    let error = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(f64::MIN_POSITIVE);
    bound(ours.iter().zip(&theirs).map(error).fold(0.0, f64::max))
}

/// A power of ten that is safely larger.
fn bound(error: f64) -> String {
    match error {
        0.0 => "0".to_owned(),
        error => format!("< 1e{}", (3.0 * error).log10().ceil()),
    }
}

fn by_default(
    run: &Run,
    default: &Configured,
    differing: &mut BTreeMap<Defect, Vec<String>>,
) -> String {
    let states = run.states(default);
    let theirs = run.whole["f64"]["states"].as_array();
    let (Some((_, ours)), Some(theirs)) = (states.last(), theirs.and_then(|list| list.last()))
    else {
        return String::new();
    };
    let theirs = numbers(theirs);
    let size = theirs.iter().fold(1.0f64, |size, x| size.max(x.abs()));
    let error = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / size);
    let error = error.fold(0.0, f64::max);
    let defects = default.report().defects.iter();
    let defects: Vec<String> = defects
        .map(|(defect, _)| {
            differing.entry(*defect).or_default().push(run.name.clone());
            format!("`{defect}`")
        })
        .collect();
    match defects.is_empty() {
        true => "the same".to_owned(),
        false => format!("{error:.0e}: {}", defects.join(", ")),
    }
}

/// The columns of a row whose figures do not depend on the platform's sine.
#[cfg(test)]
fn stable(page: &str) -> Vec<String> {
    let row = |line: &str| match line.split('|').collect::<Vec<_>>().as_slice() {
        ["", k, times, sigmas, single, _, default, ""] => {
            let defects = default.split(':').next_back().unwrap_or_default();
            [*k, *times, *sigmas, *single, defects].join("|")
        }
        _ => line.to_owned(),
    };
    page.lines().map(row).collect()
}

#[test]
fn the_page_says_what_the_runs_give() {
    let written = text().expect("the page");
    let kept = include_str!("../../docs/checkpoints.md");
    for (written, kept) in stable(&written).iter().zip(stable(kept)) {
        assert_eq!(*written, kept, "write the page anew");
    }
    assert_eq!(written.lines().count(), kept.lines().count());
}
