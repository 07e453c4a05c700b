//! Guided models of several outputs.

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::{
    ClassifierFree, Guidance, OnInterval, PlusPlus, Projected, Rescaled, ZeroStar,
};
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Solver};
use diffusion_sampler::{Denoiser, Prediction, Query};
use ndarray::{Array2, ArrayRef, Ix2};

use crate::common::{Rows, bits, sampler};

fn same<G: Guidance + Clone>(guidance: G, solver: &dyn Solver) {
    let sampler = sampler(solver, 14);
    let name = guidance.name();
    let mut model = Guided::new(Rows::new(Prediction::Noise), guidance);
    let expected: Array2<f64> = sampler.sample(&mut model, (3, 4), 2).unwrap();
    for window in [5, 14] {
        let parallel = sampler.parallel(window, 0.0).unwrap();
        let (found, _) = parallel.sample::<f64, _, _>(&mut model, (3, 4), 2).unwrap();
        assert_eq!(bits(&found), bits(&expected), "{name}, window {window}");
    }
}

#[test]
fn every_kind_of_guidance_gives_the_bits_of_the_sequential_run() {
    let free = || ClassifierFree::with_scale(3.0).unwrap();
    for solver in [
        &FirstOrder::ddim() as &dyn Solver,
        &FirstOrder::ddpm(),
        &DpmSolverPlusPlus::new(),
    ] {
        same(free(), solver);
        // Two outputs at some levels, one at others.
        same(OnInterval::new(free(), 0.3, 5.0).unwrap(), solver);
        // Inner products.
        same(Rescaled::new(free(), 0.7).unwrap(), solver);
        // A memory.
        let projected = Projected::with_scale(3.0).unwrap();
        same(projected.with_momentum(-0.5).unwrap(), solver);
        // Two estimates.
        same(PlusPlus::new(0.6).unwrap(), solver);
        // The step's number.
        same(ZeroStar::with_scale(3.0).unwrap().zero_steps(2), solver);
    }
}

/// Hands a guided model's one answer on.
struct Wrapper<M>(M);

impl<M: Denoiser<f64, Ix2>> Denoiser<f64, Ix2> for Wrapper<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), M::Error> {
        self.0.denoise(x, &query.combined(), out)
    }

    fn reads_rows(&self) -> bool {
        self.0.reads_rows()
    }
}

#[test]
fn a_wrapper_that_passes_the_query_on_loses_neither_guidance_nor_the_step() {
    let guidance = ZeroStar::with_scale(3.0).unwrap().zero_steps(2);
    let mut model = Wrapper(Guided::new(Rows::new(Prediction::Flow), guidance));
    let sampler = sampler(&FirstOrder::ddim(), 12);
    let expected: Array2<f64> = sampler.sample(&mut model, (2, 4), 2).unwrap();
    let parallel = sampler.parallel(7, 0.0).unwrap();
    let (found, _) = parallel.sample::<f64, _, _>(&mut model, (2, 4), 2).unwrap();
    assert_eq!(bits(&found), bits(&expected));
}
