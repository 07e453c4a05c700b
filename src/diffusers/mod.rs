//! The configuration files of diffusers' schedulers (feature `diffusers`).
//!
//! A published checkpoint says in its `scheduler_config.json` how its authors sample from it.
//! [`sampler`] reads the text of such a file and gives that sampler, ready to run:
//!
//! ```
//! use diffusion_sampler::diffusers::{self, Request};
//!
//! let text = r#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
//!     "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "steps_offset": 1,
//!     "set_alpha_to_one": false, "skip_prk_steps": true}"#;
//! let configured = diffusers::sampler(text, &Request::steps(50))?;
//! assert_eq!(configured.sampler().plan().evaluations(), 50);
//! println!("{configured}");
//! # Ok::<(), diffusion_sampler::Error>(())
//! ```
//!
//! The file does not say everything. What only the caller knows (the number of steps, the size of
//! the image, a list of σ, a strength, what the pipeline around the network passes) is a
//! [`Request`]. For known models [`pipelines`] has it by name, and
//! [the guide](crate::guide::models) shows the whole program.
//!
//! Every field of a class is honoured, or refused by name with the reason and the nearest thing
//! that is here. Fields without an effect are listed in the [`Report`], and so are the known
//! [defects](Defect) of the library: they are not reproduced, unless the request asks for one of
//! them or for all ([`Request::as_published`]).

mod adams;
mod betas;
mod classes;
mod cogvideox;
mod common;
mod config;
mod configured;
mod consistency;
mod cosine_dpm;
mod ddim;
mod ddim_inverse;
mod ddpm;
mod defect;
mod deis;
mod dpm_multistep;
mod dpm_singlestep;
mod edm;
mod edm_dpm;
mod edm_euler;
mod ends;
mod euler;
mod euler_ancestral;
mod fields;
mod flow_list;
mod flow_match;
mod grouped_noise;
mod heun;
mod ipndm;
mod json;
mod kdpm2;
mod knots;
mod last_noise;
mod lms;
mod minimax;
mod multistep;
mod network;
pub mod pipelines;
mod pndm;
mod published_churn;
mod ramp;
mod reading;
mod recipe;
mod repaint;
mod report;
mod request;
mod retimed;
mod rhos;
mod sa_solver;
mod sde;
mod times;
mod uni_pc;
mod value;
mod wuerstchen;

pub use classes::classes;
pub use config::SchedulerConfig;
pub use configured::Configured;
pub use defect::Defect;
pub use report::{FieldRead, Ignored, Report};
pub use request::Request;
pub use value::Value;

use crate::error::Error;

/// The sampler that the text of a configuration file and a request describe:
/// [`SchedulerConfig::from_json`], then [`SchedulerConfig::sampler`].
///
/// It takes the text of the file, not its path. [`Configured::sampler`] of the result is what runs;
/// the model must predict what [`Configured::prediction`] says.
///
/// # Errors
///
/// [`Error::ConfigurationSyntax`] for a text that is no JSON of an object, and those of
/// [`SchedulerConfig::sampler`].
#[doc(alias("scheduler_config.json", "from_pretrained"))]
pub fn sampler(text: &str, request: &Request) -> Result<Configured, Error> {
    SchedulerConfig::from_json(text)?.sampler(request)
}
