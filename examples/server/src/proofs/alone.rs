//! Requests of all kinds, and each one's samples when nobody else is there.

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::{Clip, schedule::VariancePreserving};
use diffusion_sampler_server::{Digits, Guide, Request, checksum};
use ndarray::{Array2, ArrayRef2};

use super::Result;

/// One-step, multistep and multi-stage samplers, deterministic and stochastic ones.
pub(crate) const SAMPLERS: [&str; 18] = [
    "DDIM",
    "DDPM",
    "Euler a",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE",
    "DPM++ 3M SDE Exponential",
    "UniPC",
    "Heun",
    "DPM2 a",
    "DPM++ 2S a",
    "DPM++ SDE",
    "DEIS",
    "LMS",
    "ER-SDE",
    "SA-Solver",
    "LCM",
    "Restart",
    "euler_cfg_pp",
];

/// A request without guidance for one sample.
pub(crate) fn request(id: u64, class: usize, steps: usize) -> Request {
    Request {
        seed: 1000 + id,
        ..Request::new(id, class, "DPM++ 2M", steps)
    }
}

/// Requests that differ in everything.
pub(crate) fn requests() -> Result<Vec<Request>> {
    let clips = [
        None,
        Some(Clip::new(-1.0, 1.0)?),
        None,
        Some(Clip::dynamic(0.95, 2.0)?),
        None,
    ];
    let of = |(number, name): (usize, &&str)| Request {
        samples: 1 + number % 4,
        sampler: (*name).to_owned(),
        guide: guide(number, name),
        clip: clips.get(number % clips.len()).copied().flatten(),
        previews: number.is_multiple_of(3),
        ..request(number as u64, number * 3 % 10, 4 + number * 7 % 17)
    };
    let twice = SAMPLERS.iter().chain(&SAMPLERS);
    Ok(twice.enumerate().map(of).collect())
}

fn guide(number: usize, name: &str) -> Guide {
    let scale = 1.5 + 0.25 * (number % 11) as f64;
    if name == "euler_cfg_pp" {
        return Guide::PlusPlus { lambda: 0.6 };
    }
    match number % 5 {
        0 => Guide::None,
        1 => Guide::Free { scale },
        2 => Guide::Rescaled { scale, phi: 0.7 },
        3 => Guide::Interval {
            scale,
            low: 0.3,
            high: 5.0,
        },
        _ => Guide::Projected {
            scale,
            momentum: -0.5,
        },
    }
}

/// What the request gives without a server: the crate's own loop around the network's own denoiser.
pub(crate) fn samples(network: &Digits, request: &Request) -> Result<Array2<f32>> {
    let classes = vec![request.class; request.samples];
    let model = network.network().denoiser(&classes)?;
    let mut model = Guided::new(model, request.guide.form()?);
    let sampler = request.sampler(&VariancePreserving::default())?;
    let shape = (request.samples, digits_network::PIXELS);
    Ok(sampler.sample(&mut model, shape, request.seed)?)
}

/// A hash of the samples' bits.
pub(crate) fn hash(samples: &ArrayRef2<f32>) -> u64 {
    checksum(samples.iter().flat_map(|value| value.to_le_bytes()))
}

/// The hash of the request alone.
pub(crate) fn hash_of(network: &Digits, request: &Request) -> Result<u64> {
    Ok(hash(&samples(network, request)?))
}
