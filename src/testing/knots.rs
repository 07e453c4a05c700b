//! Checks of grids.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Failure;
use super::probe::require_finite;

/// Checks the knots of a run of `steps` steps: K + 1 of them, finite, strictly decreasing from
/// `noisy` to `clean`.
///
/// A list of K timesteps at which the model is evaluated lacks the last knot, the time that the
/// last step reaches: append it.
///
/// ```
/// use diffusion_sampler::testing::{Failure, check_knots};
///
/// let timesteps = [1000.0, 750.0, 500.0, 250.0];
/// check_knots(&[&timesteps[..], &[0.0]].concat(), 4, 1000.0, 0.0)?;
/// let short = check_knots(&timesteps, 4, 1000.0, 0.0);
/// assert_eq!(short, Err(Failure::KnotCount { steps: 4, found: 4 }));
/// # Ok::<(), Failure>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::KnotCount`], [`Failure::KnotOrder`], [`Failure::KnotEnd`].
pub fn check_knots(knots: &[f64], steps: usize, noisy: f64, clean: f64) -> Result<(), Failure> {
    require_finite("knots", knots)?;
    if steps.checked_add(1) != Some(knots.len()) {
        return Err(Failure::KnotCount {
            steps,
            found: knots.len(),
        });
    }
    for (index, pair) in knots.windows(2).enumerate() {
        if pair[1] >= pair[0] {
            return Err(Failure::KnotOrder {
                knot: index + 1,
                before: pair[0],
                value: pair[1],
            });
        }
    }
    for (knot, found, expected) in [
        ("first", knots[0], noisy),
        ("last", knots[knots.len() - 1], clean),
    ] {
        if found != expected {
            return Err(Failure::KnotEnd {
                knot,
                found,
                expected,
            });
        }
    }
    Ok(())
}

/// Checks a spacing: a function from the number of steps K to K + 1 knots, or an error.
///
/// For every K in `steps` its knots are [checked](check_knots) from `noisy` to `clean`. K = 0 must
/// be refused, not be an empty run, and nothing may panic. (The panic's message still appears on
/// standard error.)
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, testing::check_spacing};
///
/// let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// check_spacing(1..=1000, 1000.0, 0.0, |steps| {
///     let grid = Grid::trailing(&table, steps)?;
///     Ok::<_, diffusion_sampler::Error>(grid.levels().iter().map(|level| level.time()).collect())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_knots`]; [`Failure::Refused`], [`Failure::NoStepsAccepted`],
/// [`Failure::Panicked`].
pub fn check_spacing<E: Display>(
    steps: impl IntoIterator<Item = usize>,
    noisy: f64,
    clean: f64,
    mut spacing: impl FnMut(usize) -> Result<Vec<f64>, E>,
) -> Result<(), Failure> {
    let mut ask = |steps: usize| {
        catch_unwind(AssertUnwindSafe(|| spacing(steps))).map_err(|payload| Failure::Panicked {
            steps,
            message: message(&*payload),
        })
    };
    for steps in steps.into_iter().filter(|steps| *steps > 0) {
        let knots = ask(steps)?.map_err(|error| Failure::Refused {
            steps,
            message: error.to_string(),
        })?;
        check_knots(&knots, steps, noisy, clean)?;
    }
    match ask(0)? {
        Err(_) => Ok(()),
        Ok(knots) => Err(Failure::NoStepsAccepted { knots: knots.len() }),
    }
}

/// What a panic said.
fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Checks that the steps (from, to) of a run lead from each knot to the next: none is left out, and
/// none is computed anew, as by t − T/K.
///
/// ```
/// use diffusion_sampler::testing::{Failure, check_edges};
///
/// let knots = [999.0, 666.0, 333.0, 0.0];
/// // DDIM stepping to t − ⌊T/K⌋, where the last knot is not met.
/// let edges: Vec<(f64, f64)> = knots[..3].iter().map(|&t| (t, t - 1000.0 / 3.0)).collect();
/// let failure = check_edges(&knots, &edges).unwrap_err();
/// assert!(matches!(failure, Failure::Edge { step: 0, end: "reach", expected: 666.0, .. }));
/// ```
///
/// # Errors
///
/// [`Failure::KnotCount`] unless there is one step for each pair of knots; [`Failure::Edge`].
pub fn check_edges(knots: &[f64], edges: &[(f64, f64)]) -> Result<(), Failure> {
    if knots.len() != edges.len() + 1 {
        return Err(Failure::KnotCount {
            steps: edges.len(),
            found: knots.len(),
        });
    }
    for (step, (&(from, to), pair)) in edges.iter().zip(knots.windows(2)).enumerate() {
        for (end, found, expected) in [("leave", from, pair[0]), ("reach", to, pair[1])] {
            if found != expected {
                return Err(Failure::Edge {
                    step,
                    end,
                    found,
                    expected,
                });
            }
        }
    }
    Ok(())
}
