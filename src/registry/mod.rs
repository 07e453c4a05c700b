//! Samplers by the names that other libraries give them.
//!
//! [`sampler`] takes a name of ComfyUI, AUTOMATIC1111, diffusers, stable-diffusion.cpp, k-diffusion or
//! candle, alone or followed by the name of a spacing, and gives the same solver here, with that
//! library's defaults:
//!
//! ```
//! use diffusion_sampler::{registry, schedule::TableSchedule};
//!
//! let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
//! let sampler = registry::sampler("DPM++ 2M SDE Karras")?.sampler(&schedule, 20)?;
//! assert_eq!(sampler.plan().evaluations(), 20);
//! # Ok::<(), diffusion_sampler::Error>(())
//! ```
//!
//! Names that are apart, as in ComfyUI, are put together with a space, or the spacing is given by
//! [`Named::with_spacing`]: `sampler("dpmpp_2m")?.with_spacing(Spacing::named("karras")?)`.
//!
//! **CFG++.** Where [`Entry::plus_plus`] is true ("euler_cfg_pp" and all names with "cfg_pp" or
//! "CFG++") the name is kept by the guidance too: with a model that is not guided by
//! [`PlusPlus`](crate::guidance::PlusPlus) it is the sampler without CFG++, and no error. λ is the
//! scale of those samplers elsewhere.
//!
//! ```
//! use diffusion_sampler::denoiser::{Guided, Models};
//! use diffusion_sampler::{Prediction, from_fn, guidance::PlusPlus, registry};
//! use diffusion_sampler::schedule::TableSchedule;
//! use ndarray::{Array2, Ix2};
//!
//! let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
//! let named = registry::sampler("euler_cfg_pp simple")?;
//! assert!(named.entry.plus_plus);
//! let conditional = from_fn::<f32, Ix2>(Prediction::Noise, |x, _, e| e.assign(x));
//! let unconditional = from_fn::<f32, Ix2>(Prediction::Noise, |_, _, e| e.fill(0.0));
//! let mut model = Guided::new(Models((conditional, unconditional)), PlusPlus::new(1.0)?);
//! let samples: Array2<f32> = named.sampler(&schedule, 10)?.sample(&mut model, (2, 3), 42)?;
//! assert_eq!(samples.dim(), (2, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Case, spaces and punctuation do not count, and "+" is "p". "Scheduler" and "Discrete" may be left
//! out, and so may k-diffusion's "sample_" and "k_" and the "Config" of candle's types. Where two
//! libraries mean different things by one name, the full name of the one decides: "LCM" is
//! ComfyUI's, "LCMScheduler" diffusers'.
//!
//! A name gives defaults only. With options of your own take the type: [`Entry::code`] shows how the
//! solver is made. [`Names::differs`] says where the method is not the library's: known defects are
//! not copied. A name of something that is no solver here is an error that names the closest one
//! ([`refused`]), and so is a name that nobody uses: nothing falls back silently.
//!
//! [`entries`] lists all; docs/samplers.md is made from it.

mod entry;
mod few_step;
mod first_order;
mod multistep;
mod on_flows;
mod refused;
mod single_step;

pub use entry::{Entry, Library, Names};
pub use refused::{Refused, refused};

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::error::Error;
use crate::grid::{Spacing, spacings};
use crate::names::{close, nearest, normalise};
use crate::sampler::Sampler;
use crate::schedule::NoiseSchedule;
use crate::solver::Solver;

/// What a name stands for: a solver with its defaults, and a spacing where the name has one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Named {
    /// What is known of the solver.
    pub entry: &'static Entry,
    /// The solver.
    pub solver: Box<dyn Solver>,
    /// The spacing that the name ends with.
    pub spacing: Option<Spacing>,
}

impl Named {
    fn new(entry: &'static Entry, spacing: Option<Spacing>) -> Result<Self, Error> {
        Ok(Self {
            entry,
            solver: entry.solver()?,
            spacing,
        })
    }

    /// The same solver on this spacing.
    #[must_use]
    pub fn with_spacing(self, spacing: Spacing) -> Self {
        Self {
            spacing: Some(spacing),
            ..self
        }
    }

    /// The sampler of `steps` steps on the named spacing. On a grid of your own:
    /// [`Sampler::new`]`(&schedule, &grid, &named.solver)`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpacing`] where neither the name nor [`with_spacing`](Self::with_spacing) gave
    /// one; what [`Spacing::grid`] and the solver refuse.
    pub fn sampler(&self, schedule: &dyn NoiseSchedule, steps: usize) -> Result<Sampler, Error> {
        let name = self.entry.name;
        let spacing = self.spacing.ok_or(Error::NoSpacing { name })?;
        Sampler::new(schedule, &spacing.grid(schedule, steps)?, &self.solver)
    }
}

/// Every sampler that has a name, in the order of docs/samplers.md.
///
/// ```
/// use diffusion_sampler::registry;
///
/// let heun = registry::entries().find(|entry| entry.name == "Heun");
/// assert!(heun.is_some_and(|entry| entry.code.starts_with("Heun::new()")));
/// ```
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    [
        first_order::ENTRIES,
        multistep::ENTRIES,
        single_step::ENTRIES,
        few_step::ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// The sampler of this name.
///
/// ```
/// use diffusion_sampler::{Error, Grid, Sampler, registry, schedule::RectifiedFlow};
///
/// let named = registry::sampler("dpmpp_2m")?;
/// assert_eq!(named.entry.name, "DPM++ 2M");
/// let flow = RectifiedFlow::new();
/// let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 8)?, &named.solver)?;
///
/// let unknown = registry::sampler("dpmpp_2n").map(drop);
/// assert!(matches!(unknown, Err(Error::UnknownName { nearest, .. }) if nearest[0] == "DPM++ 2M"));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NotASampler`] for the name of something else, [`Error::UnknownName`] for any other, of
/// kind "spacing" where only the spacing behind a sampler's name is misspelt.
#[doc(alias("sampler_name", "scheduler"))]
pub fn sampler(name: &str) -> Result<Named, Error> {
    let whole = normalise(name);
    let splits = splits(&whole);
    let find = |part: &str| match INDEX.get(&key(part)) {
        Some(Meaning::Refused(refused)) => Err(refused.error(name)),
        Some(Meaning::Solver(entry)) => Ok(Some(*entry)),
        None => Ok(None),
    };
    if let Some(entry) = find(&whole)? {
        let listed = |known: &str| entry.all_names().any(|name| key(name) == key(known));
        // Also of a name that is listed as a whole, such as stable-diffusion.cpp's "ddim_trailing".
        let mut within = splits.iter().filter(|(solver, _)| listed(solver));
        let spacing = within.next().filter(|_| listed(&whole));
        return Named::new(entry, spacing.map(|&(_, spacing)| spacing));
    }
    if splits.iter().any(|(solver, _)| solver.is_empty()) {
        return Err(refused::SPACING.error(name));
    }
    for &(solver, spacing) in &splits {
        if let Some(entry) = find(solver)? {
            return Named::new(entry, Some(spacing));
        }
    }
    if let Some(error) = unknown_spacing(&whole) {
        return Err(error);
    }
    let solver = splits.last().map_or(&*whole, |&(solver, _)| solver);
    Err(Error::UnknownName {
        kind: "sampler",
        name: name.to_owned(),
        nearest: suggestions(solver),
    })
}

/// What a name means.
#[derive(Clone, Copy)]
enum Meaning {
    Solver(&'static Entry),
    Refused(&'static Refused),
}

/// All names, by key. Where names meet, the first counts; and a whole name before a shortened one.
static INDEX: LazyLock<HashMap<String, Meaning>> = LazyLock::new(|| {
    let solvers = entries().flat_map(|entry| {
        let names = entry.all_names();
        names.map(move |name| (key(name), Meaning::Solver(entry)))
    });
    let others = refused().flat_map(|refused| {
        let names = refused.names.iter();
        names.map(move |name| (key(name), Meaning::Refused(refused)))
    });
    let known: Vec<(String, Meaning)> = solvers.chain(others).collect();
    let shortened = known
        .iter()
        .flat_map(|(key, meaning)| shortened(key).map(|key| (key, *meaning)));
    let mut index = HashMap::new();
    for (key, meaning) in known.iter().cloned().chain(shortened) {
        index.entry(key).or_insert(meaning);
    }
    index
});

/// The form in which names are looked up: their normal form without k-diffusion's prefixes and
/// candle's suffix.
fn key(name: &str) -> String {
    let name = normalise(name);
    let stripped = name.strip_prefix("sample").or(name.strip_prefix('k'));
    let stripped = stripped.unwrap_or(&name);
    stripped
        .strip_suffix("config")
        .unwrap_or(stripped)
        .to_owned()
}

/// What is left of a class's key without the words that may be left out.
fn shortened(key: &str) -> [String; 3] {
    let plain = key.replace("scheduler", "");
    [
        key.replace("discrete", ""),
        plain.replace("discrete", ""),
        plain,
    ]
}

/// AUTOMATIC1111's short forms.
const SHORT_SPACINGS: [(&str, Spacing); 2] =
    [("ka", Spacing::Karras), ("exp", Spacing::Exponential)];

/// The ways to read a name in its normal form as a solver and a spacing, the longest solver first.
fn splits(name: &str) -> Vec<(&str, Spacing)> {
    let known = spacings().iter().flat_map(|entry| {
        let names = std::iter::once(&entry.name).chain(entry.aliases);
        names.map(|&name| (name, entry.spacing))
    });
    let mut splits: Vec<(&str, Spacing)> = known
        .chain(SHORT_SPACINGS)
        .filter_map(|(end, spacing)| Some((name.strip_suffix(&normalise(end))?, spacing)))
        .collect();
    splits.sort_by_key(|(solver, _)| std::cmp::Reverse(solver.len()));
    splits
}

/// What a sampler's name with a misspelt spacing behind it is: the spacing's error, not the
/// sampler's.
fn unknown_spacing(name: &str) -> Option<Error> {
    let places = name.char_indices().map(|(place, _)| place);
    let ends = places.skip(1).take(LONGEST_SAMPLER);
    let slips = ends.filter_map(|end| {
        let (solver, rest) = name.split_at(end);
        INDEX.get(&key(solver))?;
        let known = spacings().iter();
        let names = known.flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases));
        let close = close(rest, names.copied());
        Some((close.first()?.0, rest, close))
    });
    let (_, rest, close) = slips.min_by_key(|&(distance, ..)| distance)?;
    let nearest = close.into_iter().map(|(_, name)| name);
    Some(Error::UnknownName {
        kind: "spacing",
        name: rest.to_owned(),
        nearest: nearest.take(SUGGESTIONS).collect(),
    })
}

/// No sampler's name has more characters in its normal form.
const LONGEST_SAMPLER: usize = 64;

/// How many samplers an error suggests.
const SUGGESTIONS: usize = 3;

/// The nearest names, of different samplers.
fn suggestions(name: &str) -> Vec<&'static str> {
    let named = |spelling| entries().find(|entry| entry.all_names().any(|name| name == spelling));
    let mut suggested: Vec<&str> = Vec::new();
    let mut spellings = nearest(name, entries().flat_map(Entry::all_names), usize::MAX);
    spellings.retain(|&spelling| {
        let new = named(spelling).filter(|entry| !suggested.contains(&entry.name));
        suggested.extend(new.map(|entry| entry.name));
        new.is_some()
    });
    spellings.truncate(SUGGESTIONS);
    spellings
}
