//! A network that returns the range of its variance.

use diffusion_sampler::denoiser::{from_query_fn, split_channels};
use diffusion_sampler::diffusers::{self, Request};
use diffusion_sampler::noise::{NoiseKey, NoiseSource, Stream};
use diffusion_sampler::{Denoiser, Error, KeyedNoise, RunError, from_fn};
use ndarray::{Array2, Axis, Ix2, concatenate};
use serde_json::json;

/// ε, and f.
fn network(x: f64, time: f64) -> (f64, f64) {
    (
        (x + 1e-3 * time).sin(),
        (0.7 * x - 1e-3 * time).cos() * 1.1 - 0.2,
    )
}

fn two_heads(prediction: diffusion_sampler::Prediction) -> impl Denoiser<f64, Ix2, Error = Error> {
    from_query_fn::<f64, Ix2, Error>(prediction, 2, |x, query, out| {
        let time = query.level().model_time();
        let noise = x.mapv(|x| network(x, time).0);
        let f = x.mapv(|x| network(x, time).1);
        split_channels(&concatenate![Axis(1), noise, f], out)
    })
}

/// DDPMScheduler.step of the library, written out, with this crate's normals.
fn published(steps: usize, (samples, elements): (usize, usize), seed: u64) -> Array2<f64> {
    let mut product = 1.0;
    let bars: Vec<f64> = (0..1000)
        .map(|i| {
            product *= 1.0 - (1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0);
            product
        })
        .collect();
    let mut source = KeyedNoise::new(seed);
    let mut fill = |step: u32, stream| {
        let mut z = vec![0.0; samples * elements];
        let key = NoiseKey::new(0, step, stream);
        NoiseSource::<f64>::fill_batch(&mut source, key, samples, &mut z).expect("normals");
        Array2::from_shape_vec((samples, elements), z).expect("a shape")
    };
    let mut x = fill(0, Stream::Start);
    let stride = 1000 / steps;
    for (step, t) in (0..steps).rev().map(|k| k * stride).enumerate() {
        let z = fill(step as u32, Stream::Step(0));
        let bar = bars[t];
        let before = if t >= stride { bars[t - stride] } else { 1.0 };
        let alpha = bar / before;
        let beta = 1.0 - alpha;
        let variance = ((1.0 - before) / (1.0 - bar) * beta).max(1e-20);
        for (x, z) in x.iter_mut().zip(&z) {
            let (noise, f) = network(*x, t as f64);
            let data = ((*x - (1.0 - bar).sqrt() * noise) / bar.sqrt()).clamp(-1.0, 1.0);
            let frac = (f + 1.0) / 2.0;
            let log = frac * beta.ln() + (1.0 - frac) * variance.ln();
            *x = before.sqrt() * beta / (1.0 - bar) * data
                + alpha.sqrt() * (1.0 - before) / (1.0 - bar) * *x;
            if t > 0 {
                *x += (0.5 * log).exp() * z;
            }
        }
    }
    x
}

#[test]
fn samples_are_those_of_the_librarys_steps() {
    for steps in [4, 20] {
        let text = json!({"_class_name": "DDPMScheduler", "variance_type": "learned_range"});
        let configured =
            diffusers::sampler(&text.to_string(), &Request::steps(steps)).expect("it is read");
        assert!(configured.learned_variance());
        assert!(configured.to_string().contains("LearnedNoise"));
        let mut model = two_heads(configured.prediction());
        let found: Array2<f64> = configured.sample(&mut model, (3, 2), 8).expect("samples");
        let expected = published(steps, (3, 2), 8);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-11, "{steps} steps: {a} and {b}");
        }
    }
}

#[test]
fn unclip_reads_it_and_others_do_not() {
    let read = |class: &str, variance: &str, request: Request| {
        let text = json!({"_class_name": class, "variance_type": variance});
        diffusers::sampler(&text.to_string(), &request)
    };
    let unclip = read("UnCLIPScheduler", "learned_range", Request::steps(5)).expect("it is read");
    assert!(unclip.learned_variance());
    let small = read("DDPMScheduler", "fixed_small", Request::steps(5)).expect("it is read");
    assert!(!small.learned_variance());
    let noted = read(
        "DPMSolverMultistepScheduler",
        "learned_range",
        Request::steps(5),
    )
    .expect("it is read");
    assert!(!noted.learned_variance());
    let refused = read("DDPMScheduler", "learned", Request::steps(5));
    assert!(matches!(refused, Err(Error::UnsupportedField { .. })));
}

#[test]
fn a_model_without_a_variance_is_refused() {
    let text = json!({"_class_name": "DDPMScheduler", "variance_type": "learned_range"});
    let configured = diffusers::sampler(&text.to_string(), &Request::steps(4)).expect("it is read");
    let mut one = from_fn::<f64, Ix2>(configured.prediction(), |_, _, out| out.fill(0.0));
    let refused = configured.sample::<f64, _, _>(&mut one, (2, 3), 1);
    let Err(RunError::Sampler(Error::TooFewOutputs { wanted, found, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((wanted, found), (2, 1));
}

#[test]
fn its_noise_on_the_clean_end_is_not_reproduced() {
    let text = json!({"_class_name": "DDPMScheduler", "variance_type": "learned_range",
        "timestep_spacing": "leading", "steps_offset": 1})
    .to_string();
    let configured = diffusers::sampler(&text, &Request::steps(4)).expect("it is read");
    assert!(configured.learned_variance());
    let refused = diffusers::sampler(&text, &Request::steps(4).as_published());
    let Err(Error::UnsupportedField { field, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(field, "variance_type");
}
