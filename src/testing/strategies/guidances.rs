//! Forms of guidance.

use std::ops::Range;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::Error;
use crate::guidance::{
    ClassifierFree, ClassifierGuidance, Composed, Guidance, GuidanceWeight, MAX_OUTPUTS,
    OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential,
    Unguided, WeightedSum, ZeroStar,
};

/// Every form of guidance, with its scales from `scales`: `0.0..15.0` is the usual range, `-1e6..1e6`
/// an extreme one. Up to 1e8 in magnitude every form is valid; where a form multiplies two scales
/// the result may still exceed what one [`Combination`](crate::guidance::Combination) holds, which
/// is an error at that evaluation.
///
/// Shares, radii, momenta and intervals are drawn from their own ranges, their limits among them.
/// Outputs: [`Guidance::outputs`]; where it [is stateful](Guidance::is_stateful) it works in runs
/// only.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, guidance::{Evaluation, MAX_OUTPUTS}};
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::guidances};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// proptest!(|(form in guidances(0.0..15.0))| {
///     let wanted = form.wanted(&Evaluation::new(level, Prediction::Noise))?;
///     prop_assert!((1..=form.outputs()).contains(&wanted) && form.outputs() <= MAX_OUTPUTS);
/// });
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn guidances(scales: Range<f64>) -> BoxedStrategy<Arc<dyn Guidance>> {
    let outer = (0..14usize, vec(scales, MAX_OUTPUTS - 1));
    let shares = prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)];
    let radii = prop_oneof![Just(f64::INFINITY), 0.1..50.0];
    let momenta = prop_oneof![Just(0.0), -0.9..0.9];
    let options = (shares, radii, momenta, 1..MAX_OUTPUTS, 0..3usize);
    (outer, options)
        .prop_filter_map("guidance", |((kind, scales), options)| {
            form(kind, &scales, options).ok()
        })
        .boxed()
}

type Options = (f64, f64, f64, usize, usize);

fn form(
    kind: usize,
    scales: &[f64],
    (share, radius, momentum, count, steps): Options,
) -> Result<Arc<dyn Guidance>, Error> {
    let (scale, second) = (scales[0], scales[1]);
    Ok(match kind {
        0 => Arc::new(ClassifierFree::with_scale(scale)?),
        1 => Arc::new(Unguided),
        2 => Arc::new(ClassifierFree::new(interval(scale, share)?)),
        3 => Arc::new(Composed::new(&scales[..count])?),
        4 => Arc::new(Perturbed::new(scale, interval(second, share)?)?),
        5 => Arc::new(WeightedSum::new(&scales[..count])?),
        6 => Arc::new(Rescaled::new(ClassifierFree::with_scale(scale)?, share)?),
        7 => Arc::new(projected(scale, share, radius, momentum)?),
        8 => Arc::new(PlusPlus::new(scale)?),
        9 => Arc::new(Tangential::with_scale(scale)?),
        10 => Arc::new(PerpendicularNegative::new(scale, second)?),
        11 => Arc::new(ZeroStar::with_scale(scale)?.zero_steps(steps)),
        12 => Arc::new(OnInterval::new(
            ZeroStar::with_scale(scale)?,
            share,
            share + radius,
        )?),
        _ => Arc::new(ClassifierGuidance::around(
            ClassifierFree::with_scale(scale)?,
            GuidanceWeight::constant(second)?,
        )),
    })
}

fn interval(scale: f64, low: f64) -> Result<GuidanceWeight, Error> {
    GuidanceWeight::interval(scale - 1.0, low, low + 5.0)
}

/// The radius bounds the guidance where it is finite.
fn projected(scale: f64, share: f64, radius: f64, momentum: f64) -> Result<Projected, Error> {
    let form = Projected::with_scale(scale)?
        .with_eta(share)?
        .with_momentum(momentum)?;
    if radius.is_finite() {
        form.with_radius(radius)
    } else {
        Ok(form)
    }
}
