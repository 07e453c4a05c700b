//! Single-step samplers: several evaluations a step, and no memory.

use super::entry::{Entry, Library, Names, entry};
use crate::solver::Heun;

pub(super) const ENTRIES: &[Entry] = &[entry!(
    "Heun", Heun::new(), "Karras et al. 2022, Algorithm 1";
    ComfyUi["heun"],
    Automatic1111["Heun"],
    Diffusers["HeunDiscreteScheduler"],
    StableDiffusionCpp["heun"],
    KDiffusion["sample_heun"],
)];
