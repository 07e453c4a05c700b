//! Spacings by name.

use super::{AlignYourSteps, Grid, SigmaRange};
use crate::error::Error;
use crate::names::{nearest, normalise};
use crate::schedule::{NoiseSchedule, Sublevels};

/// What is known of one [`Spacing`]: an entry of the list [`spacings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpacingEntry {
    /// The spacing.
    pub spacing: Spacing,
    /// Its name, unique in the list.
    pub name: &'static str,
    /// The knots, and the constructor of [`Grid`] with the options that it is given.
    pub definition: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// Other names, of other libraries.
    pub aliases: &'static [&'static str],
}

/// The enum, its documentation and the list, from one table.
macro_rules! spacings {
    ($($variant:ident $name:literal [$($alias:literal),*] $definition:literal $source:literal;)+) => {
        /// A spacing by name, with its default options: what other libraries call the schedule or
        /// scheduler of a sampler.
        ///
        /// Its options can be chosen with the constructors of [`Grid`]; each says what it is and
        /// where it differs from the library that made the name known.
        ///
        /// Names are those of ComfyUI, AUTOMATIC1111, stable-diffusion.cpp, EDM and diffusers
        /// (values of `timestep_spacing`, and the flags `use_karras_sigmas` …), in any spelling
        /// that has the same letters and digits. "beta" is ComfyUI's; AUTOMATIC1111's is "beta
        /// sigmas".
        ///
        /// A continuous schedule is taken, where the definition speaks of indices or of the least
        /// noisy level, with 1000 [`Sublevels`]; one that has sub-levels already keeps them. Ramps
        /// are laid in ρ = σ/α, on a flow in its σ ([`SigmaRange::of`]).
        ///
        /// ```
        /// use diffusion_sampler::{Error, grid::Spacing, schedule::RectifiedFlow};
        ///
        /// let spacing = Spacing::named("SGM Uniform")?;
        /// assert_eq!(spacing, Spacing::SgmUniform);
        /// assert_eq!(spacing.grid(&RectifiedFlow::shifted(3.0)?, 20)?.steps(), 20);
        ///
        /// let unknown = Spacing::named("karas").unwrap_err();
        /// assert!(matches!(unknown, Error::UnknownName { nearest, .. } if nearest[0] == "karras"));
        /// # Ok::<(), Error>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[doc(alias("scheduler", "timestep_spacing", "sigma schedule"))]
        pub enum Spacing {
            $(#[doc = $definition] $variant,)+
        }

        /// Every spacing.
        const LIST: &[SpacingEntry] = &[$(SpacingEntry {
            spacing: Spacing::$variant,
            name: $name,
            definition: $definition,
            source: $source,
            aliases: &[$($alias),*],
        },)+];
    };
}

spacings! {
    Trailing "trailing" ["time_uniform"]
        "Uniform in time from the last, rounded on a table: [`Grid::trailing`]."
        "Lin, Liu, Li and Yang (2024), trailing";
    Leading "leading" []
        "Indices k⌊T/K⌋: [`Grid::leading`] with offset 0; many checkpoints have 1."
        "Ho, Jain and Abbeel (2020); Song, Meng and Ermon (2021)";
    Linspace "linspace" []
        "Indices round(linspace(T − 1, 0, K)): [`Grid::linspace`]."
        "Nichol and Dhariwal (2021)";
    Quadratic "quadratic" ["time_quadratic"]
        "T (1 − k/K)²: [`Grid::quadratic`]."
        "Song, Meng and Ermon (2021), in the form of equal fractions";
    DdimQuadratic "ddim_quadratic" ["quad"]
        "Indices ⌊linspace(√(0.8 T), 0, K)²⌋: [`Grid::ddim_quadratic`]."
        "Song, Meng and Ermon (2021), their code";
    UniformLambda "uniform_lambda" ["log_snr", "use_lu_lambdas"]
        "Uniform in λ = ln(α/σ): [`Grid::uniform_lambda`]."
        "Lu et al. (2022), DPM-Solver";
    Karras "karras" ["use_karras_sigmas", "edm"]
        "σ^(1/7) uniform: [`Grid::karras`] with exponent 7."
        "Karras, Aittala, Aila and Laine (2022), equation 5";
    Exponential "exponential" ["polyexponential", "use_exponential_sigmas", "ve"]
        "σ geometric: [`Grid::exponential`] with power 1, at which the polyexponential ramp is the same."
        "Crowson (2022), k-diffusion, get_sigmas_exponential";
    Normal "normal" ["uniform", "discrete"]
        "Indices linspace(T − 1, 0, K), not rounded: [`Grid::normal`]."
        "Crowson (2022), k-diffusion, DiscreteSchedule";
    SgmUniform "sgm_uniform" []
        "Indices linspace(T − 1, 0, K + 1) without the last: [`Grid::sgm_uniform`]."
        "Stability AI (2023), generative-models";
    Simple "simple" []
        "Indices T − 1 − ⌊k T/K⌋: [`Grid::simple`]."
        "ComfyUI, simple_scheduler";
    DdimUniform "ddim_uniform" ["ddim"]
        "Indices 1 + k⌊T/K⌋, exactly K of them: [`Grid::ddim_uniform`]."
        "Song, Meng and Ermon (2021); ComfyUI, ddim_scheduler";
    BetaIndices "beta" ["beta_indices"]
        "Indices at the quantiles of Beta(0.6, 0.6): [`Grid::beta_indices`]."
        "Lee et al. (2024), Beta Sampling is All You Need; ComfyUI, beta_scheduler";
    Beta57 "beta57" []
        "Indices at the quantiles of Beta(0.5, 0.7): [`Grid::beta_indices`]."
        "RES4LYF, after Lee et al. (2024)";
    BetaSigmas "beta_sigmas" ["use_beta_sigmas"]
        "σ at the quantiles of Beta(0.6, 0.6) between its ends: [`Grid::beta_sigmas`]."
        "Lee et al. (2024), Beta Sampling is All You Need; diffusers and AUTOMATIC1111";
    KlOptimal "kl_optimal" []
        "arctan σ uniform between the ends, then clean: [`Grid::kl_optimal`]."
        "Sabour, Fidler and Kreis (2024), Align Your Steps";
    Arctan "arctan" []
        "arctan ρ uniform from the noisy end to clean: [`Grid::arctan`] with data of variance 1."
        "Sabour, Fidler and Kreis (2024), Align Your Steps";
    Laplace "laplace" []
        "ln σ at the quantiles of a Laplace distribution: [`Grid::laplace`] with μ = 0, scale ½."
        "Hang et al. (2024), Improved Noise Schedule for Diffusion Training; ComfyUI, LaplaceScheduler";
    LinearQuadratic "linear_quadratic" []
        "σ linear, then quadratic: [`Grid::linear_quadratic`] with threshold 0.025."
        "Genmo (2024), Mochi 1, its inference code";
    BongTangent "bong_tangent" []
        "σ on two arcs of an arctangent: [`Grid::bong_tangent`]."
        "RES4LYF; stable-diffusion.cpp";
    Smoothstep "smoothstep" []
        "Indices (T − 1) u² (3 − 2u): [`Grid::smoothstep`]."
        "stable-diffusion.cpp";
    Lcm "lcm" ["distilled", "original_inference_steps"]
        "K of the 50 indices of a distilled model: [`Grid::lcm`]."
        "Luo et al. (2023), Latent Consistency Models; diffusers, LCMScheduler";
    Turbo "turbo" ["sd_turbo"]
        "The first K of ten indices, T − 1, T − 1 − T/10, …: [`Grid::turbo`]."
        "ComfyUI, SDTurboScheduler";
    EdmVp "edm_vp" ["vp"]
        "EDM's VP discretisation: [`Grid::edm_vp`] with ε = 1e-3."
        "Karras, Aittala, Aila and Laine (2022), Table 1";
    Iddpm "iddpm" []
        "EDM's iDDPM discretisation: [`Grid::iddpm`]."
        "Karras, Aittala, Aila and Laine (2022), Table 1";
    AlignYourStepsSd15 "align_your_steps_sd15" ["ays_sd15", "ays_sd1", "StableDiffusionSigmas"]
        "The published table for Stable Diffusion 1.5: [`Grid::align_your_steps`]."
        "Sabour, Fidler and Kreis (2024), Align Your Steps";
    AlignYourStepsSdxl "align_your_steps_sdxl" ["ays_sdxl", "StableDiffusionXLSigmas"]
        "The published table for Stable Diffusion XL: [`Grid::align_your_steps`]."
        "Sabour, Fidler and Kreis (2024), Align Your Steps";
    AlignYourStepsSvd "align_your_steps_svd" ["ays_svd", "StableDiffusionVideoSigmas"]
        "The published table for Stable Video Diffusion: [`Grid::align_your_steps`]."
        "Sabour, Fidler and Kreis (2024), Align Your Steps";
    Sway "sway" ["sway_sampling"]
        "Time cos(½πk/K): [`Grid::sway`] with c = −1."
        "Chen et al. (2024), F5-TTS";
    SwayInTime "sway_in_time" []
        "Time t + cos(½πt) − 1 + t, t = 1 − k/K: [`Grid::sway_in_time`] with c = 1."
        "VoxCPM (2025), after Chen et al. (2024)";
}

/// Every named spacing, with its definition, source and aliases: the list that the crate's own tests
/// walk along.
///
/// ```
/// use diffusion_sampler::grid::{Spacing, spacings};
///
/// for entry in spacings() {
///     println!("{}: {} ({})", entry.name, entry.definition, entry.source);
///     assert_eq!(Spacing::named(entry.name)?, entry.spacing);
/// }
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn spacings() -> &'static [SpacingEntry] {
    LIST
}

/// The sub-levels of a continuous schedule: as many as the tables of most networks have.
const SUBLEVELS: usize = 1000;

/// How many names an error proposes.
const PROPOSED: usize = 3;

impl Spacing {
    /// The grid of `steps` steps on a schedule: exactly as many, or an error.
    ///
    /// # Errors
    ///
    /// Those of the constructor that the spacing's documentation names. Ramps in ρ refuse a schedule
    /// whose noisy end is α = 0 ([`Error::UnboundedLambda`]), unless it is a flow.
    pub fn grid(self, schedule: &dyn NoiseSchedule, steps: usize) -> Result<Grid, Error> {
        let table = Sublevels::of(schedule, SUBLEVELS)?;
        let range = || SigmaRange::of(&table);
        match self {
            Self::Trailing => Grid::trailing(schedule, steps),
            Self::Leading => Grid::leading(&table, steps, 0),
            Self::Linspace => Grid::linspace(&table, steps),
            Self::Quadratic => Grid::quadratic(schedule, steps),
            Self::DdimQuadratic => Grid::ddim_quadratic(&table, steps),
            Self::UniformLambda => Grid::uniform_lambda(schedule, steps, range()?.lambdas()),
            Self::Karras => Grid::karras(schedule, steps, range()?, 7.0),
            Self::Exponential => Grid::exponential(schedule, steps, range()?, 1.0),
            Self::Normal => Grid::normal(&table, steps),
            Self::SgmUniform => Grid::sgm_uniform(&table, steps),
            Self::Simple => Grid::simple(&table, steps),
            Self::DdimUniform => Grid::ddim_uniform(&table, steps),
            Self::BetaIndices => Grid::beta_indices(&table, steps, BETA),
            Self::Beta57 => Grid::beta_indices(&table, steps, (0.5, 0.7)),
            Self::BetaSigmas => Grid::beta_sigmas(schedule, steps, range()?, BETA),
            Self::KlOptimal => Grid::kl_optimal(schedule, steps, range()?),
            Self::Arctan => Grid::arctan(schedule, steps, 1.0),
            Self::Laplace => Grid::laplace(schedule, steps, range()?, 0.0, 0.5),
            Self::LinearQuadratic => Grid::linear_quadratic(schedule, steps, range()?, 0.025),
            Self::BongTangent => Grid::bong_tangent(schedule, steps, range()?),
            Self::Smoothstep => Grid::smoothstep(&table, steps),
            Self::Lcm => Grid::lcm(&table, steps, 50),
            Self::Turbo => Grid::turbo(&table, steps, 10),
            Self::EdmVp => Grid::edm_vp(schedule, steps, range()?, 1e-3),
            Self::Iddpm => Grid::iddpm(schedule, steps, range()?),
            Self::AlignYourStepsSd15 => {
                Grid::align_your_steps(schedule, steps, AlignYourSteps::Sd15)
            }
            Self::AlignYourStepsSdxl => {
                Grid::align_your_steps(schedule, steps, AlignYourSteps::Sdxl)
            }
            Self::AlignYourStepsSvd => Grid::align_your_steps(schedule, steps, AlignYourSteps::Svd),
            Self::Sway => Grid::sway(schedule, steps, -1.0),
            Self::SwayInTime => Grid::sway_in_time(schedule, steps, 1.0),
        }
    }

    /// The spacing of a name or alias, in any spelling.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] with the nearest names. A name that stands for several spacings ("ays",
    /// whose table depends on the checkpoint) is unknown, and those are the nearest.
    pub fn named(name: &str) -> Result<Self, Error> {
        let wanted = normalise(name);
        let spelled = |known: &str| normalise(known) == wanted;
        let found = LIST.iter().find(|entry| names(entry).any(spelled));
        match found {
            Some(entry) => Ok(entry.spacing),
            None => Err(Error::UnknownName {
                kind: "spacing",
                name: name.to_owned(),
                nearest: proposals(&wanted),
            }),
        }
    }

    /// Its name in [`spacings`].
    pub fn name(self) -> &'static str {
        let entry = LIST.iter().find(|entry| entry.spacing == self);
        entry.map_or("", |entry| entry.name)
    }
}

/// α and β of the Beta distribution that all libraries have.
const BETA: (f64, f64) = (0.6, 0.6);

fn names(entry: &SpacingEntry) -> impl Iterator<Item = &'static str> + use<> {
    std::iter::once(entry.name).chain(entry.aliases.iter().copied())
}

/// The names that begin with what was typed, then those spelled most like it.
fn proposals(wanted: &str) -> Vec<&'static str> {
    let all = || LIST.iter().flat_map(names);
    let mut proposed: Vec<&'static str> = all()
        .filter(|known| !wanted.is_empty() && normalise(known).starts_with(wanted))
        .take(PROPOSED)
        .collect();
    for known in nearest(wanted, all(), PROPOSED) {
        if proposed.len() < PROPOSED && !proposed.contains(&known) {
            proposed.push(known);
        }
    }
    proposed
}

/// The spacing's name.
impl std::fmt::Display for Spacing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// As [`Spacing::named`].
impl std::str::FromStr for Spacing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::named(name)
    }
}
