//! The classes of schedulers that are read.

use super::reading::Reading;
use super::recipe::Recipe;
use crate::error::Error;
use crate::registry;

/// A class: its names, the fields it knows, and its reader.
pub(super) struct Class {
    /// Its name, then those of classes that are the same here.
    pub(super) names: &'static [&'static str],
    /// In groups.
    pub(super) fields: &'static [&'static [&'static str]],
    pub(super) read: fn(&Reading<'_>) -> Result<Recipe, Error>,
}

/// Every class that is read, in alphabetical order.
#[rustfmt::skip]
pub(super) const CLASSES: &[&Class] = &[
    &super::cogvideox::DDIM,
    &super::cogvideox::DPM,
    &super::consistency::LCM,
    &super::consistency::TCD,
    &super::cosine_dpm::CLASS,
    &super::ddim::CLASS,
    &super::ddim_inverse::CLASS,
    &super::ddpm::DDPM,
    &super::ddpm::UNCLIP,
    &super::deis::CLASS,
    &super::dpm_multistep::CLASS,
    &super::dpm_singlestep::CLASS,
    &super::edm_dpm::CLASS,
    &super::edm_euler::CLASS,
    &super::euler::CLASS,
    &super::euler_ancestral::CLASS,
    &super::flow_match::ANCESTRAL,
    &super::flow_match::EULER,
    &super::flow_match::HEUN,
    &super::flow_match::LCM,
    &super::heun::CLASS,
    &super::ipndm::CLASS,
    &super::kdpm2::ANCESTRAL,
    &super::kdpm2::CLASS,
    &super::lms::CLASS,
    &super::minimax::CLASS,
    &super::pndm::CLASS,
    &super::repaint::CLASS,
    &super::sa_solver::CLASS,
    &super::sde::CLASS,
    &super::uni_pc::CLASS,
    &super::wuerstchen::CLASS,
];

/// The names of all scheduler classes that can be read.
///
/// ```
/// use diffusion_sampler::diffusers;
///
/// assert!(diffusers::classes().any(|name| name == "DDIMScheduler"));
/// ```
pub fn classes() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().flat_map(|class| class.names.iter().copied())
}

/// The error of a class that is known, and no sampler here.
pub(super) fn refused_class(name: &str) -> Option<Error> {
    registry::refused()
        .find(|refused| refused.names.contains(&name))
        .map(|refused| Error::NotASampler {
            name: name.to_owned(),
            closest: refused.closest,
            reason: refused.reason,
        })
}
