//! Published configuration files, and some 800 runs of others: knots, times and plans.

use std::collections::BTreeMap;

use diffusion_sampler::Error;
use diffusion_sampler::diffusers::{Configured, SchedulerConfig};

use crate::common::{Run, golden, runs};
use crate::hash::{Hash, Lines};
use crate::plans::plan;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../data/schedulers/", $name, ".json")))),*]
    };
}

const FILES: [(&str, &str); 27] = files![
    "auraflow",
    "cogvideox-5b",
    "cosmos-edm",
    "ddpm-cifar10-32",
    "diffusion-policy-ddim",
    "diffusion-policy-pusht",
    "dpmpp-2m-karras-sd15",
    "euler-karras-zsnr-v",
    "flux-1-dev",
    "flux-1-schnell",
    "flux-2-dev",
    "hunyuan-video",
    "kandinsky-3",
    "lcm-lora-sd15",
    "ltx-video-0.9.1",
    "pixart-sigma-xl-2-1024",
    "qwen-image",
    "sana-1600m",
    "sdxl-base-1.0",
    "sdxl-turbo",
    "stable-diffusion-2-1",
    "stable-diffusion-3-medium",
    "stable-diffusion-v1-5",
    "stable-diffusion-v1-5-ddim",
    "unipc-sd15",
    "wan-2.1-t2v-14b",
    "z-image-turbo",
];

fn configured(hash: &mut Hash, configured: Result<Configured, Error>) {
    let Ok(configured) = configured else {
        hash.word(u64::MAX);
        return;
    };
    hash.grid(configured.grid());
    hash.numbers(&configured.sigmas());
    hash.numbers(configured.times());
    hash.numbers(&configured.network_times());
    hash.number(configured.init_noise_sigma());
    plan(hash, configured.sampler().plan());
}

/// A run as it should be, as the library does it, and in the library's own f32.
fn each_way(hash: &mut Hash, run: &Run) {
    let request = run.request();
    configured(hash, run.configured(&request));
    configured(hash, run.configured(&request.clone().as_published()));
    configured(hash, run.configured(&request.as_published().in_float32()));
}

pub(crate) fn add(lines: &mut Lines) {
    let golden = golden();
    for (name, text) in FILES {
        let run = golden.iter().find(|run| run.name == name);
        let request = run.expect("a run of the file").request();
        lines.add(format!("checkpoint: the file {name}"), |hash| {
            let config = SchedulerConfig::from_json(text).unwrap();
            configured(hash, config.sampler(&request));
        });
    }
    for run in &golden {
        lines.add(
            format!("checkpoint: {} in {} steps", run.name, run.steps),
            |hash| each_way(hash, run),
        );
    }
    let mut classes: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in runs(include_str!("../data/schedulers/more.json")) {
        classes.entry(run.class.clone()).or_default().push(run);
    }
    for (class, runs) in &classes {
        lines.add(format!("checkpoint: {} of {class}", runs.len()), |hash| {
            runs.iter().for_each(|run| each_way(hash, run));
        });
    }
}
