//! Every claim of `claims/`, asserted.

mod claims;

use std::error::Error;

use claims::{assert_topic, edges, tables};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn edges_keep_their_laws() -> Outcome {
    assert_topic(edges::claims)
}

#[test]
fn tables_are_reproduced() -> Outcome {
    assert_topic(tables::claims)
}
