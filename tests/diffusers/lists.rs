//! The lists of σ and of times, against those of the library in its own `f32`.

use diffusion_sampler::diffusers::{Configured, classes};
use serde_json::Value;

use super::common::{Run, golden};

/// How many `f32` lie between two, at most; entries beyond the shorter list are left out.
fn ulps(ours: &[f64], theirs: &Value) -> Option<u32> {
    let theirs = theirs
        .as_array()?
        .iter()
        .map(|x| x.as_f64().expect("a number"));
    let distance = |(a, b): (&f64, f64)| {
        let (a, b) = (*a as f32, b as f32);
        (a.to_bits() as i64 - b.to_bits() as i64).unsigned_abs() as u32
    };
    ours.iter().zip(theirs).map(distance).max()
}

fn configured(run: &Run, float32: bool) -> Configured {
    let request = run.request().as_published();
    let request = match float32 {
        true => request.in_float32(),
        false => request,
    };
    run.configured(&request).expect("a golden run")
}

#[test]
fn print() {
    for run in golden() {
        if !classes().any(|class| class == run.class) {
            continue;
        }
        let stock = &run.whole["stock_f32"];
        let exact = configured(&run, false);
        let single = configured(&run, true);
        println!(
            "{} {} {}: sigmas {:?} {:?}, times {:?} {:?} ({}), init {} {}",
            run.name,
            run.class,
            run.steps,
            ulps(&exact.sigmas(), &stock["sigmas"]),
            ulps(&single.sigmas(), &stock["sigmas"]),
            ulps(exact.times(), &stock["timesteps"]),
            ulps(single.times(), &stock["timesteps"]),
            stock["timesteps_dtype"],
            exact.init_noise_sigma(),
            stock["init_noise_sigma"],
        );
    }
}
