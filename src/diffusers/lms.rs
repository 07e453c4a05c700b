//! The linear multistep method in ρ.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::classes::Class;
use super::euler::predicted;
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rhos::{self, Rules};
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Step, Store, Update};
use crate::solver::{LinearMultistep, Path, Solver};

pub(super) const CLASS: Class = Class {
    names: &["LMSDiscreteScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::RAMPS,
        &["prediction_type"],
    ],
    read,
};

const RULES: Rules = Rules {
    ramps: true,
    ends_of_karras: false,
    rounded_karras: false,
    takes_times: false,
};

/// The most slopes that enter.
const ORDER: usize = 4;

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LINEAR)?;
    let prediction = predicted(reading, true)?;
    rhos::recipe(reading, table, RULES, prediction, |grid| {
        solver(reading, grid)
    })
}

fn solver(reading: &Reading<'_>, grid: &Grid) -> Result<Arc<dyn Solver>, Error> {
    let all = grid.levels();
    let first = grid.steps() - reading.kept_by_strength(grid.steps());
    let before = first > 0 && reading.defect(Defect::SlopesBeforeTheStart);
    let free = close(all.get(first..).unwrap_or(all)) && reading.defect(Defect::ExtrapolatesFreely);
    if free || before {
        return Ok(Arc::new(Published {
            before: match before {
                true => all.iter().take(first).map(NoiseLevel::rho).collect(),
                false => Vec::new(),
            },
        }));
    }
    // Onto the clean end too: that is nearer to the data than the estimate alone.
    Ok(Arc::new(LinearMultistep::order(ORDER)?.extrapolated_end()))
}

/// Whether two knots that one step weighs lie nearer to one another than a 16th of it.
fn close(levels: &[NoiseLevel]) -> bool {
    let rhos: Vec<f64> = levels.iter().map(NoiseLevel::rho).collect();
    (2..=rhos.len()).any(|end| {
        let from = end.saturating_sub(ORDER + 1);
        let spans = rhos.get(from..end).unwrap_or_default().windows(2);
        let spans: Vec<f64> = spans.map(|pair| pair[0] - pair[1]).collect();
        let step = spans.last().copied().unwrap_or(0.0);
        spans.iter().any(|span| 16.0 * span < step)
    })
}

/// The same without a bound on the distance of knots. With knots `before` the start, the order is
/// that of a run that began with them, though their slopes do not enter.
#[derive(Clone, Debug)]
struct Published {
    before: Vec<f64>,
}

impl Solver for Published {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut rhos = self.before.clone();
        let mut steps = crate::memory::reserve(&[path.edges().len()])?;
        for (place, (from, to)) in path.edges().enumerate() {
            rhos.push(from.rho());
            let order = rhos.len().min(ORDER);
            let past: Vec<f64> = rhos.iter().rev().take(order).copied().collect();
            let weights = integrals(&past, to.rho());
            let first = weights.first().copied().unwrap_or(0.0) / from.sigma();
            // The slope of place p is in slot p mod 3, from one step later on.
            let earlier = weights.iter().enumerate().skip(1).take(place);
            let slot = |back: usize| (place - back) % (ORDER - 1);
            let update = Update {
                state: to.alpha() * (1.0 / from.alpha() + first),
                data: -to.alpha() * from.alpha() * first,
                history: earlier
                    .map(|(back, weight)| (slot(back), to.alpha() * weight))
                    .collect(),
                ..Update::default()
            };
            let update = update.storing(Store::noise(place % (ORDER - 1)));
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
        }
        if let Some(stage) = steps.last_mut().and_then(|step| step.stages.last_mut()) {
            stage.update.store = None;
        }
        Plan::of_steps(steps)
    }

    fn order(&self) -> usize {
        2
    }
}

/// The integrals from the first node to `end` of the Lagrange basis on the nodes: of degree 3 at
/// most, which Gauss's two points integrate exactly.
fn integrals(nodes: &[f64], end: f64) -> Vec<f64> {
    let start = nodes.first().copied().unwrap_or(end);
    let (middle, half) = (0.5 * (end + start), 0.5 * (end - start));
    let offset = half / 3f64.sqrt();
    let basis = |own: usize, x: f64| -> f64 {
        let others = nodes.iter().enumerate().filter(|&(place, _)| place != own);
        let node = nodes.get(own).copied().unwrap_or(x);
        others
            .map(|(_, other)| (x - other) / (node - other))
            .product()
    };
    let integral = |own| half * (basis(own, middle - offset) + basis(own, middle + offset));
    (0..nodes.len()).map(integral).collect()
}

#[cfg(test)]
mod tests {
    use super::close;
    use crate::error::Error;
    use crate::level::NoiseLevel;

    /// A step weighs the slopes of four knots: of those five with its end, none may be nearer than a
    /// 16th of it to the next.
    #[test]
    fn knots_are_close_where_one_step_weighs_both() -> Result<(), Error> {
        for (rhos, expected) in [
            (&[50.0, 49.0, 45.0, 29.0, 12.0][..], true),
            (&[50.0, 49.0, 45.0, 29.0, 13.0], false),
            (&[54.0, 53.0, 49.0, 45.0, 29.0, 12.0], false),
            (&[3.0, 2.0], false),
            (&[20.0, 19.0, 2.0], true),
            (&[20.0, 19.0, 3.0], false),
        ] {
            let levels = rhos.iter().map(|&rho| NoiseLevel::new(rho, 1.0, rho));
            let levels = levels.collect::<Result<Vec<_>, Error>>()?;
            assert_eq!(close(&levels), expected, "{rhos:?}");
        }
        Ok(())
    }
}
