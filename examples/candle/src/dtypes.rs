//! The same run on tensors of f64, f16 and bf16.

use candle_core::{DType, Device, Tensor};
use diffusion_sampler::KeyedNoise;
use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::ndarray::Array4;
use diffusion_sampler::noise::{NoiseKey, NoiseSource};
use diffusion_sampler::solver::DpmSolverPlusPlus;

use crate::network::Network;
use crate::ops::Candle;
use crate::reference::{self, PREDICTION, Reference, SHAPE, Weights};
use crate::runs::{self, Library, Result};

/// The state's type and the network's, the rounding unit of the coarser one (half a unit in the
/// last place, relative), and how many of them a run may add up. In half precision the 20 steps
/// round their state once each. In f64 the network's sums count, in another order than ours:
/// 7 · √48 units at guidance scale 4, as for `TOLERANCE`.
const CASES: [(DType, DType, f64, f64); 4] = [
    (DType::F64, DType::F64, 1.1e-16, 50.0),
    (DType::F16, DType::F16, 4.9e-4, 20.0),
    (DType::BF16, DType::BF16, 3.9e-3, 20.0),
    (DType::F32, DType::F16, 4.9e-4, 20.0),
];

/// The noise that the f32 of a candle run becomes in f64.
struct Singles(KeyedNoise);

impl NoiseSource<f64> for Singles {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f64]) {
        let mut singles = vec![0.0_f32; out.len()];
        self.0.fill(key, first, &mut singles);
        for (out, single) in out.iter_mut().zip(singles) {
            *out = f64::from(single);
        }
    }
}

pub fn print() -> Result<()> {
    let weights = Weights::new();
    let sampler = runs::sampler(&DpmSolverPlusPlus::new())?;
    let guidance = ClassifierFree::with_scale(4.0)?;
    let mut ours = sampler.start(SHAPE, PREDICTION, Singles(KeyedNoise::new(42)))?;
    ours.complete(&mut Guided::new(Reference(&weights), &guidance))?;
    let ours: Array4<f64> = ours.into_state();
    for (dtype, inner, unit, most) in CASES {
        let network = Network::new(&weights, inner, &Device::Cpu)?;
        let like = Tensor::zeros(&SHAPE, dtype, &Device::Cpu)?;
        let mut run = sampler
            .on(Candle)
            .start(&like, PREDICTION, KeyedNoise::new(42))?;
        run.complete_guided(&guidance, |x, query| {
            let labels = reference::labels(query.outputs());
            // The outputs may stay in the network's type.
            network.forward(&x.to_dtype(inner)?, reference::time(query), &labels)
        })?;
        let state = run.into_state();
        assert_eq!(state.dtype(), dtype);
        let values = state.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let units = runs::difference(&values, ours.iter().copied()) / unit;
        println!(
            "2M, guided, {} state, {} network: {units:.1} units of rounding",
            dtype.as_str(),
            inner.as_str()
        );
        assert!(units < most);
    }
    Ok(())
}
