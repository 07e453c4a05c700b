//! Every claim of `claims/`, asserted.

mod claims;

use std::error::Error;

use claims::{
    TOPICS, Topic, brownian, convergence, digits, distributions, edges, editing, guidance, laws,
    likelihood, names, noise, parallel, tables, tensors, tuning, variances,
};

type Outcome = Result<(), Box<dyn Error>>;

/// Fails with every claim of a topic that does not hold.
fn assert_topic(topic: Topic) -> Result<(), Box<dyn Error>> {
    let claims = topic()?;
    assert!(!claims.is_empty(), "a topic without claims proves nothing");
    let failed: Vec<String> = claims
        .iter()
        .filter(|claim| !claim.holds())
        .map(|claim| {
            format!(
                "{}: measured {}, accepted {} (oracle: {})",
                claim.claim, claim.measured, claim.accept, claim.oracle
            )
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// The topics that the tests below assert.
const ASSERTED: &[Topic] = &[
    edges::claims,
    tables::claims,
    convergence::claims,
    names::claims,
    guidance::claims,
    laws::claims,
    distributions::claims,
    likelihood::claims,
    noise::claims,
    brownian::claims,
    tensors::claims,
    parallel::claims,
    variances::claims,
    editing::claims,
    tuning::claims,
    digits::claims,
];

#[test]
fn every_topic_of_the_report_is_asserted_here() {
    assert_eq!(ASSERTED.len(), TOPICS.len());
    for (title, topic) in TOPICS {
        assert!(
            ASSERTED
                .iter()
                .any(|asserted| std::ptr::fn_addr_eq(*asserted, *topic)),
            "{title} is in the report only"
        );
    }
}

#[test]
fn names_mean_samplers_of_their_order() -> Outcome {
    assert_topic(names::claims)
}

#[test]
fn parallel_runs_are_the_sequential_ones() -> Outcome {
    assert_topic(parallel::claims)
}

#[test]
fn edges_keep_their_laws() -> Outcome {
    assert_topic(edges::claims)
}

#[test]
fn tables_are_reproduced() -> Outcome {
    assert_topic(tables::claims)
}

#[test]
fn solvers_keep_their_orders() -> Outcome {
    assert_topic(convergence::claims)
}

#[test]
fn guidance_is_what_its_formulas_say() -> Outcome {
    assert_topic(guidance::claims)
}

#[test]
fn runs_sample_the_predicted_law() -> Outcome {
    assert_topic(laws::claims)
}

#[test]
fn distributions_and_modes_are_what_closed_forms_and_samples_say() -> Outcome {
    assert_topic(distributions::claims)
}

#[test]
fn likelihoods_are_bounds_and_the_cheapest_strides_are_found() -> Outcome {
    assert_topic(likelihood::claims)
}

#[test]
fn runs_on_any_tensor_are_trajectories() -> Outcome {
    assert_topic(tensors::claims)
}

#[test]
fn analytic_variances_are_exact_and_flows_have_the_density() -> Outcome {
    assert_topic(variances::claims)
}

#[test]
fn inversions_close_and_errors_grow_as_reported() -> Outcome {
    assert_topic(editing::claims)
}

#[test]
fn more_noise_and_fewer_steps_are_worse_on_digits() -> Outcome {
    assert_topic(digits::claims)
}

#[test]
fn noise_has_its_law_and_bits_do_not_depend_on_how_they_are_made() -> Outcome {
    assert_topic(noise::claims)
}

#[test]
fn runs_of_other_numbers_of_steps_follow_one_brownian_path() -> Outcome {
    assert_topic(brownian::claims)
}

#[test]
fn choices_without_the_network_are_what_they_claim() -> Outcome {
    assert_topic(tuning::claims)
}
