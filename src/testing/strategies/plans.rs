//! Plans.

use proptest::prelude::*;

use super::grids;
use crate::plan::Plan;
use crate::solver::{Path, catalogue};

/// Plans with the names of their solvers: any of [`catalogue`] along any of [`grids`]. DDIM
/// inversion, which is among them, leads from the clean end up.
///
/// ```
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::plans};
///
/// proptest! {
///     fn steps_meet((name, plan) in plans()) {
///         prop_assert!(plan.steps().windows(2).all(|pair| pair[0].to == pair[1].from), "{}", name);
///     }
/// }
/// steps_meet();
/// ```
pub fn plans() -> BoxedStrategy<(&'static str, Plan)> {
    (0..catalogue().len(), grids())
        .prop_filter_map("plan", |(index, (schedule, grid))| {
            let entry = catalogue().into_iter().nth(index)?;
            let path = Path::new(&schedule, &grid).ok()?;
            Some((entry.name, entry.solver.plan(&path).ok()?))
        })
        .boxed()
}
