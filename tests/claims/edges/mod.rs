//! Rows 1 to 8 and 16: the strided posterior, predictions and first-order steps, on scalars and
//! through the kernel.

mod ancestral;
mod common;
mod likelihood;
mod limits;
mod marginals;
mod methods;
mod predictions;

use self::ancestral::ancestral_variance;
use self::common::Outcome;
use self::likelihood::{edge_kl, elbo_weight};
use self::limits::limits;
use self::marginals::{composition, marginals};
use self::methods::same_methods;
use self::predictions::{changes_of_variables, predictions};
use super::Claim;

/// The claims of this topic.
pub(crate) fn claims() -> Outcome<Vec<Claim>> {
    let mut claims = marginals()?;
    claims.extend([composition()?]);
    claims.extend(ancestral_variance()?);
    claims.extend(elbo_weight()?);
    claims.extend(edge_kl()?);
    claims.extend(predictions()?);
    claims.extend(changes_of_variables()?);
    claims.extend(same_methods()?);
    claims.extend(limits()?);
    Ok(claims)
}
