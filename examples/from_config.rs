//! What a checkpoint's `scheduler_config.json` comes to, and a run of it.
//!
//! `cargo run --release --features diffusers --example from_config [scheduler_config.json [STEPS]]`

use std::error::Error;

use diffusion_sampler::{
    diffusers::{self, Request},
    from_fn,
};
use ndarray::{Array4, Ix4};

/// Stable Diffusion XL's.
const TEXT: &str = r#"{"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "timestep_spacing": "leading",
    "interpolation_type": "linear", "use_karras_sigmas": false, "skip_prk_steps": true}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = match arguments.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => TEXT.to_owned(),
    };
    let steps = arguments.next().map_or(Ok(20), |steps| steps.parse())?;

    // 1024 × 1024 pixels are 4096 tokens, where the file asks for them.
    let request = Request::steps(steps).image_tokens(4096);
    let configured = diffusers::sampler(&text, &request)?;
    print!("{configured}");

    // Your network goes here: `x`, multiplied by `scale`, and the time go in.
    let prediction = configured.prediction();
    let mut network = from_fn::<f32, Ix4>(prediction, |x, level, output| {
        let time = level.model_time() as f32;
        let scale = prediction.input_scale(level).unwrap_or(1.0) as f32;
        output.zip_mut_with(x, |o, &x| *o = (scale * x + 0.001 * time).sin());
    });
    let latents: Array4<f32> = configured
        .sampler()
        .sample(&mut network, (1, 4, 8, 8), 42)?;
    println!(
        "latents of shape {:?}, the first {}",
        latents.shape(),
        latents[[0, 0, 0, 0]]
    );
    Ok(())
}
