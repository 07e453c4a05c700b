//! Configurations of all classes that were made for this test: each field in turn, fields at random,
//! and those of further checkpoints.

use super::common::{Run, numbers, runs};
use super::compare::{difference, error_of_times};

/// Runs that differ, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "ddim-inverse-v-clip",
        "the clip of a clean start is the network's, at the level above it",
    ),
    ("ddpm-bad-variance", "an unknown word is refused"),
    (
        "pndm-skip-img2img",
        "the library cuts its list of calls in the middle of a step",
    ),
    ("unipc-order4", "UniPC ends at order 3"),
    (
        "edm-euler-sigmas-are-a-ramp",
        "the list is one of places on a ramp",
    ),
    (
        "flow-lcm-invert",
        "noise is added where it should be taken away",
    ),
    ("random-flow-31", "as flow-lcm-invert"),
    (
        "ltx-rf-sigmas",
        "the library adds 1e-12 to a divisor; 9e-10 here",
    ),
    (
        "random-ddim-7",
        "noise prediction at a signal-to-noise ratio of 0, clipped from infinity",
    ),
    ("random-ddim-10", "as random-ddim-7"),
    ("random-lcm-22", "as random-ddim-7"),
];

fn tolerance(run: &Run) -> f64 {
    // Where a change of 1e-15 in σ moves the library's own states.
    let rounding = run.whole["f64"]["rounding"].as_f64().unwrap_or(0.0);
    (30.0 * rounding).max(1e-10)
}

#[test]
fn runs_of_many_configurations_are_the_librarys() {
    let runs = runs(include_str!("../data/schedulers/more.json"));
    assert!(runs.len() > 700);
    let mut wrong = Vec::new();
    for run in &runs {
        if DIFFERENT.iter().any(|(name, _)| *name == run.name) {
            continue;
        }
        let place = format!("{} ({}) in {} steps", run.name, run.class, run.steps);
        let configured = match run.configured(&run.request().as_published()) {
            Ok(configured) => configured,
            Err(error) => {
                wrong.push(format!("{place}: {error}"));
                continue;
            }
        };
        let times = error_of_times(run, &configured);
        if times > 1e-9 {
            wrong.push(format!("{place}: times {times:e}"));
            continue;
        }
        let states = run.states(&configured);
        let (_, ours) = states.last().expect("a step");
        let theirs = numbers(&run.whole["f64"]["last"]);
        let size = theirs.iter().fold(1.0f64, |size, x| size.max(x.abs()));
        let scaled = |list: &[f64]| list.iter().map(|x| x / size).collect::<Vec<_>>();
        let error = difference(&scaled(ours), &scaled(&theirs));
        if error.is_nan() || error > tolerance(run) {
            wrong.push(format!("{place}: {error:e}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
