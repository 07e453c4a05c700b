//! Every claim of `claims/`, asserted.

mod claims;

use std::error::Error;

use claims::{assert_topic, convergence, digits, edges, guidance, laws, noise, tables};

type Outcome = Result<(), Box<dyn Error>>;

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
fn more_noise_and_fewer_steps_are_worse_on_digits() -> Outcome {
    assert_topic(digits::claims)
}

#[test]
fn noise_has_its_law_and_bits_do_not_depend_on_how_they_are_made() -> Outcome {
    assert_topic(noise::claims)
}
