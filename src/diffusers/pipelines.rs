//! What the pipelines of known models pass beside the configuration file.
//!
//! A `scheduler_config.json` does not say which list of σ the code around it passes, what the
//! network is told as its time, and with which sign it answers. Here that is one call by the
//! model's name. It gives a [`Request`], to which the rest can be added: a strength, an η, μ
//! itself.
//!
//! ```
//! use diffusion_sampler::diffusers::{self, pipelines};
//!
//! let text = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler",
//!     "use_dynamic_shifting": true, "base_image_seq_len": 256, "base_shift": 0.5,
//!     "max_image_seq_len": 4096, "max_shift": 1.15}"#;
//! let tokens = pipelines::image_tokens(1024, 1024);
//! let flux = diffusers::sampler(text, &pipelines::flux(28, tokens))?;
//! // The network is told σ.
//! assert_eq!(flux.network_times()[0], 1.0);
//! # Ok::<(), diffusion_sampler::Error>(())
//! ```
//!
//! | function | σ before the file's shift | μ | time | output |
//! |---|---|---|---|---|
//! | [`flux`], [`qwen_image`] | 1 to 1/K | by tokens | σ | noise − data |
//! | [`qwen_image_layered`] | 1 to 1/K | √(tokens/256) | σ | noise − data |
//! | [`flux2`] | 1 to 1/K | by tokens and steps | σ | noise − data |
//! | [`ltx_video`] | 1 to 1/K | by tokens | 1000σ | noise − data |
//! | [`hunyuan_video`] | 1 to 1/K | | 1000σ | noise − data |
//! | [`stable_diffusion_3`] | the scheduler's own | | 1000σ | noise − data |
//! | [`aura_flow`] | the scheduler's own | | σ | noise − data |
//! | [`z_image`], [`lumina2`] | 1 to 1/K | | 1 − σ | data − noise |
//! | [`hidream`] | the scheduler's own | | 1000σ | data − noise |
//! | [`wan`] | the scheduler's own | | ⌊1000σ⌋ | noise − data |
//! | [`cogview4`] | whole times over 1000 | √tokens | those times | noise − data |
//! | [`mochi`] | linear, then quadratic | | 1000(1 − σ) | data − noise |
//!
//! The list of "the scheduler's own" has the library's defect that these models are run with
//! everywhere: a shift applied twice to its least σ ([`Defect::ShiftedTwice`]), or a first σ a
//! little below one ([`Defect::StartsBelowOne`]).
//!
//! [`Request::steps`] says all that there is to say for Stable Diffusion 1, 2 and XL (Turbo,
//! LCM), PixArt, Sana, CogVideoX, Kandinsky 3, Stable Video Diffusion, Stable Audio and diffusion
//! policies.
//!
//! A network that answers with data − noise is wanted as it is, without the minus that its pipeline
//! puts before the answer: [`Configured::prediction`](super::Configured::prediction) has the sign.
//!
//! Source: the pipelines of diffusers 0.42, each under its model's name.

use super::{Defect, Request};

/// Pixels to a side of a token: a factor of 8 in the autoencoder, and patches of 2 × 2.
const TOKEN: usize = 16;

/// The tokens of an image: one for 16 × 16 pixels (8 in the autoencoder, 2 in the patch). FLUX.1
/// and 2, Qwen-Image, Z-Image, CogView4, Stable Diffusion 3.
///
/// ```
/// assert_eq!(diffusion_sampler::diffusers::pipelines::image_tokens(1024, 1024), 4096);
/// ```
#[doc(alias = "image_seq_len")]
pub fn image_tokens(height: usize, width: usize) -> usize {
    (height / TOKEN).saturating_mul(width / TOKEN)
}

/// The tokens of an LTX video: one for 32 × 32 pixels of 8 frames. The first frame has tokens of
/// its own, so that the number of frames is 8n + 1.
///
/// ```
/// // 13 × 16 × 24.
/// assert_eq!(diffusion_sampler::diffusers::pipelines::ltx_tokens(97, 512, 768), 4992);
/// ```
#[doc(alias = "video_sequence_length")]
pub fn ltx_tokens(frames: usize, height: usize, width: usize) -> usize {
    let frames = frames.saturating_sub(1) / 8 + 1;
    let of_a_frame = (height / 32).saturating_mul(width / 32);
    frames.saturating_mul(of_a_frame)
}

/// FLUX.1: dev, schnell, Fill, Kontext; Chroma, LongCat-Image and Ovis-Image do the same.
///
/// The tokens of the image to be made count, not those of images given beside it. The guidance
/// scale of dev is an input of the network. schnell has a constant shift, and the tokens have no
/// effect.
#[doc(alias("FluxPipeline", "ChromaPipeline"))]
pub fn flux(steps: usize, image_tokens: usize) -> Request {
    uniform(steps)
        .image_tokens(image_tokens)
        .network_time_from_one()
}

/// FLUX.2: dev and klein. μ depends on the number of steps too, whatever the file says.
#[doc(alias("Flux2Pipeline", "Flux2KleinPipeline"))]
pub fn flux2(steps: usize, image_tokens: usize) -> Request {
    flux(steps, image_tokens).mu_of_flux2()
}

/// Qwen-Image, and its editing models.
#[doc(alias("QwenImagePipeline", "QwenImageEditPipeline"))]
pub fn qwen_image(steps: usize, image_tokens: usize) -> Request {
    flux(steps, image_tokens)
}

/// Qwen-Image-Layered: the tokens are those of the image that is taken apart, of one layer.
#[doc(alias = "QwenImageLayeredPipeline")]
pub fn qwen_image_layered(steps: usize, image_tokens: usize) -> Request {
    flux(steps, image_tokens).mu_of_qwen_layered()
}

/// Z-Image, base and Turbo. Its `guidance_scale` is the paper's weight w, not 1 + w.
///
/// A file with `use_dynamic_shifting` also needs [`Request::image_tokens`].
#[doc(alias = "ZImagePipeline")]
pub fn z_image(steps: usize) -> Request {
    uniform(steps).reversed_output().network_time_to_one()
}

/// Lumina-Image 2.0.
///
/// The pipeline of diffusers takes the number of the latent's channels for that of its tokens, so
/// that a file with `use_dynamic_shifting` would be given `Request::image_tokens(16)`; the
/// published one has a constant shift.
#[doc(alias("Lumina2Pipeline", "Lumina2Text2ImgPipeline"))]
pub fn lumina2(steps: usize) -> Request {
    uniform(steps).reversed_output().network_time_to_one()
}

/// Stable Diffusion 3 and 3.5; Kandinsky 5 does the same.
///
/// A file with `use_dynamic_shifting` also needs [`Request::image_tokens`].
#[doc(alias("StableDiffusion3Pipeline", "Kandinsky5T2VPipeline"))]
pub fn stable_diffusion_3(steps: usize) -> Request {
    Request::steps(steps).reproducing(Defect::ShiftedTwice)
}

/// AuraFlow.
#[doc(alias = "AuraFlowPipeline")]
pub fn aura_flow(steps: usize) -> Request {
    stable_diffusion_3(steps).network_time_from_one()
}

/// HiDream-I1: Full (UniPC), Dev and Fast (the LCM of flows).
#[doc(alias = "HiDreamImagePipeline")]
pub fn hidream(steps: usize) -> Request {
    stable_diffusion_3(steps)
        .reproducing(Defect::StartsBelowOne)
        .reversed_output()
}

/// Wan 2.1 and 2.2: the first time is 999, not 1000.
///
/// The shift is the file's `flow_shift`; 3 for 480p and 5 for 720p. Wan 2.2 has two networks, and
/// changes to the second below a time that its `boundary_ratio` says: the business of the closure.
#[doc(alias("WanPipeline", "WanImageToVideoPipeline"))]
pub fn wan(steps: usize) -> Request {
    Request::steps(steps).reproducing(Defect::StartsBelowOne)
}

/// LTX-Video, and LTX-2 with its audio on the same list; by [`ltx_tokens`].
///
/// A distilled LTX-2 is given eight σ in place of the uniform list, [`Request::of_sigmas`], and
/// its file has no dynamic shift and no `shift_terminal`.
#[doc(alias("LTXPipeline", "LTXImageToVideoPipeline", "LTX2Pipeline"))]
pub fn ltx_video(steps: usize, tokens: usize) -> Request {
    uniform(steps).image_tokens(tokens)
}

/// HunyuanVideo, 1.0 and 1.5, and HunyuanImage 2.1. The guidance scale of the distilled networks is
/// an input of theirs, times 1000.
#[doc(alias("HunyuanVideoPipeline", "HunyuanImagePipeline"))]
pub fn hunyuan_video(steps: usize) -> Request {
    uniform(steps)
}

/// CogView4: the times are whole numbers from 1000 to 1, which the network is told as they are,
/// while σ = t/1000 is shifted.
#[doc(alias = "CogView4Pipeline")]
pub fn cogview4(steps: usize, image_tokens: usize) -> Request {
    let intervals = steps.saturating_sub(1).max(1) as f64;
    let fall = (1.0 - 1000.0) / intervals;
    let times: Vec<f64> = (0..steps)
        .map(|i| match i {
            0 => 1000.0,
            i if i + 1 == steps => 1.0,
            i => (i as f64 * fall + 1000.0).trunc(),
        })
        .collect();
    let sigmas: Vec<f64> = times.iter().map(|time| time / 1000.0).collect();
    Request::of_sigmas(&sigmas)
        .with_times(&times)
        .image_tokens(image_tokens)
        .mu_of_cogview4()
}

/// Mochi 1: progress p = 1 − σ grows linearly to 0.025 in the first half of the steps, then as a
/// quadratic.
///
/// With L = ⌊K/2⌋, Q = K − L, p = 0.025 i/L for i ≤ L; beyond it the parabola that goes on with the
/// same slope and reaches 1 at i = K.
#[doc(alias("MochiPipeline", "linear_quadratic_schedule"))]
pub fn mochi(steps: usize) -> Request {
    const THRESHOLD: f64 = 0.025;
    let linear = steps / 2;
    let slope = match linear {
        0 => 0.0,
        linear => THRESHOLD / linear as f64,
    };
    let quadratic = (steps - linear) as f64;
    // p(K) = 1.
    let bend = (1.0 - slope * steps as f64) / (quadratic * quadratic);
    let sigma = |i: usize| {
        let beyond = i.saturating_sub(linear) as f64;
        1.0 - (slope * i as f64 + bend * beyond * beyond)
    };
    Request::of_sigmas(&(0..steps).map(sigma).collect::<Vec<_>>())
}

/// K steps, σ uniform from 1 to 1/K.
fn uniform(steps: usize) -> Request {
    Request::steps(steps).uniform_sigmas()
}
