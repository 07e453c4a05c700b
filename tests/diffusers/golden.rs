//! Every golden run of the library.

use diffusion_sampler::diffusers::{Configured, classes};

use super::common::{Run, golden};
use super::compare::error_of_times;

/// The runs of the classes that are read, with all defects.
fn published() -> Vec<(Run, Configured)> {
    let read = |run: Run| {
        let request = run.request().as_published();
        let configured = run.configured(&request);
        let place = format!("{} in {} steps", run.name, run.steps);
        let configured = configured.unwrap_or_else(|error| panic!("{place}: {error}"));
        (run, configured)
    };
    let mut runs = golden();
    runs.retain(|run| classes().any(|class| class == run.class));
    runs.into_iter().map(read).collect()
}

#[test]
fn the_network_sees_the_times_that_the_library_gives_it() {
    for (run, configured) in published() {
        let error = error_of_times(&run, &configured);
        assert!(
            error < 1e-11,
            "{} in {} steps: {error:e}",
            run.name,
            run.steps
        );
    }
}

#[test]
fn the_states_of_whole_runs_are_the_librarys() {
    for (run, configured) in published() {
        let error = run.error_of_states(&configured);
        println!("{} in {} steps: {error:e}", run.name, run.steps);
        assert!(
            error < 1e-10,
            "{} in {} steps: {error:e}",
            run.name,
            run.steps
        );
    }
}
