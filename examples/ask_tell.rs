//! Your own loop: the run asks, you evaluate the model wherever it lives, and tell the run the
//! answer.
//!
//! `cargo run --release --example ask_tell`

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, from_fn, schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
};
use ndarray::{Array2, Ix2};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 10)?,
        &DpmSolverPlusPlus::new(),
    )?;

    let mut run = sampler.start((4, 3), Prediction::Noise, KeyedNoise::new(7))?;
    while let Some(question) = run.ask()? {
        println!(
            "the model is asked at time {:.0}",
            question.level().model_time()
        );
        // A call to a server, a session, another thread: here σ x, exact for standard normal data.
        let noise: Array2<f32> = question.x * question.level().sigma() as f32;
        run.tell(&noise)?;
    }
    let told: Array2<f32> = run.into_state();

    // The same model called by the sampler gives the same samples, bit for bit.
    let mut model = from_fn::<f32, Ix2>(Prediction::Noise, |x, level, noise| {
        noise.zip_mut_with(x, |e, &x| *e = x * level.sigma() as f32);
    });
    let called: Array2<f32> = sampler.sample(&mut model, (4, 3), 7)?;
    assert_eq!(told, called);
    println!("{told:.3}");
    Ok(())
}
