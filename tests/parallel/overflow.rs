//! Guesses that guidance cannot combine.

use std::convert::Infallible;

use diffusion_sampler::denoiser::{Guided, PerRow, from_query_fn};
use diffusion_sampler::guidance::{
    ClassifierFree, Combination, Evaluation, Guidance, Products, Projected, Rescaled, ZeroStar,
};
use diffusion_sampler::{Denoiser, Error, KeyedNoise, Prediction, Query};
use ndarray::{ArrayRef, Ix2};

use crate::common::{Rows, bits, ddim};

/// A run whose model gives finite answers, but at a wrong state so large ones that their inner
/// products are not.
fn overflows<G: Guidance + Clone>(guidance: G) {
    let (sampler, name) = (ddim(8), guidance.name());
    let mut model = Guided::new(Rows::new(Prediction::Noise), guidance.clone());
    let mut states = Vec::new();
    let mut run = sampler
        .start::<f64, _, _>((1, 4), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    while !run.is_finished() {
        states.push(run.state().iter().copied().collect::<Vec<_>>());
        run.advance(&mut model).unwrap();
    }
    let mut rows = Rows::new(Prediction::Noise);
    let huge = move |x: &ArrayRef<f64, Ix2>, query: &Query<'_>, out: &mut ArrayRef<f64, Ix2>| {
        rows.denoise(x, query, out)?;
        for (row, mut out) in out.outer_iter_mut().enumerate() {
            let row = row % x.nrows();
            if x.row(row).to_vec() != states[query.step_of(row).unwrap()] {
                out.fill(1e200);
            }
        }
        Ok::<_, Infallible>(())
    };
    let mut model = Guided::new(PerRow(from_query_fn(Prediction::Noise, 2, huge)), guidance);
    let parallel = sampler.parallel(8, 0.0).unwrap();
    let (found, _) = parallel.sample::<f64, _, _>(&mut model, (1, 4), 1).unwrap();
    assert_eq!(bits(&found), bits(&run.into_state()), "{name}");
}

#[test]
fn what_a_guess_makes_overflow_is_no_error() {
    let free = ClassifierFree::with_scale(3.0).unwrap();
    overflows(Rescaled::new(free, 0.7).unwrap());
    overflows(ZeroStar::with_scale(3.0).unwrap());
    overflows(Projected::with_scale(3.0).unwrap());
    overflows(Picky(ClassifierFree::with_scale(3.0).unwrap()));
}

/// Refuses outputs that are too long.
#[derive(Clone, Debug)]
struct Picky(ClassifierFree);

impl Guidance for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn needs_products(&self, _: &Evaluation) -> bool {
        true
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        let guidance = self.name();
        let products = products.ok_or(Error::ProductsMissing { guidance })?;
        if products.inner(0, 0) > 1e100 {
            return Err(Error::NotPerPosition { name: "picky" });
        }
        self.0.combine(at, None)
    }
}
