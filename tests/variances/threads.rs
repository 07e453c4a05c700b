//! Threads change no bit of scaled and learned noise.

use diffusion_sampler::{
    KeyedNoise, Prediction, Sampler, from_fn,
    noise::{LearnedNoise, NoiseScales, ScaledNoise},
    posterior::Kappa,
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array2, Ix2};
use rayon::ThreadPoolBuilder;

use crate::common::{Outcome, linear};

/// Enough for threads, and no multiple of a piece.
const SHAPE: (usize, usize) = (5, 70_001);

#[test]
fn pools_of_one_and_four_threads_give_the_same_bits() -> Outcome {
    let schedule = linear()?;
    let grid = diffusion_sampler::Grid::trailing(&schedule, 2)?;
    let plan = FirstOrder::new(Kappa::Ddpm).plan(&Path::new(&schedule, &grid)?)?;
    let sampler = Sampler::from_plan(plan, 1.0)?;
    let factor = |place: usize| 0.5 + (place % 7) as f64;
    let scales = NoiseScales::new(SHAPE.1, (0..2 * SHAPE.1).map(factor).collect())?;
    let scaled = || -> Result<Array2<f32>, String> {
        let noise = ScaledNoise::new(KeyedNoise::new(3), scales.clone());
        let run = sampler.start(SHAPE, Prediction::Noise, noise);
        let mut run = run.map_err(|error| error.to_string())?;
        let mut model = from_fn::<f32, Ix2>(Prediction::Noise, |x, _, out| out.assign(x));
        run.complete(&mut model)
            .map_err(|error| error.to_string())?;
        Ok(run.into_state())
    };
    let learned = || -> Result<Array2<f32>, String> {
        let noise = LearnedNoise::new(KeyedNoise::new(3));
        let run = sampler.start(SHAPE, Prediction::Noise, noise);
        let mut run = run.map_err(|error| error.to_string())?;
        while let Some(question) = run.ask().map_err(|error| error.to_string())? {
            let x = question.x.to_owned();
            let f = x.mapv(|x: f32| 0.3 * x);
            run.tell_learned(&x, &f)
                .map_err(|error| error.to_string())?;
        }
        Ok(run.into_state())
    };
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build();
    let (one, four) = (pool(1)?, pool(4)?);
    assert!(one.install(scaled)? == four.install(scaled)?);
    assert!(one.install(learned)? == four.install(learned)?);
    Ok(())
}
