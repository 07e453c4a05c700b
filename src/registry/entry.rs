//! What is known of a name.

use std::fmt;

use crate::error::Error;
use crate::solver::Solver;

/// A sampler that has a name elsewhere.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its name here.
    pub name: &'static str,
    /// How its solver is made: an expression of [`solver`](crate::solver)'s types; two of them where
    /// libraries integrate over another variable on flows.
    pub code: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// Whether it is the method of that name only under CFG++: the model must be guided by
    /// [`PlusPlus`](crate::guidance::PlusPlus), whose λ is the scale there.
    pub plus_plus: bool,
    /// Its names elsewhere.
    pub names: &'static [Names],
    pub(super) make: fn() -> Result<Box<dyn Solver>, Error>,
}

impl Entry {
    /// The solver, with the defaults of the libraries that have it.
    ///
    /// # Errors
    ///
    /// None: every entry's options are valid.
    pub fn solver(&self) -> Result<Box<dyn Solver>, Error> {
        (self.make)()
    }

    /// All its names: its own and those elsewhere. Some are listed for several libraries.
    pub fn all_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let elsewhere = self
            .names
            .iter()
            .flat_map(|names| names.names.iter().copied());
        std::iter::once(self.name).chain(elsewhere)
    }

    /// The same entry, under CFG++.
    pub(super) const fn under_plus_plus(self) -> Self {
        Self {
            plus_plus: true,
            ..self
        }
    }
}

/// The names of a sampler in one library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// The library.
    pub library: Library,
    /// The names.
    pub names: &'static [&'static str],
    /// What differs from that library here, and why; empty where nothing does.
    pub differs: &'static str,
}

/// Where a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Library {
    /// ComfyUI's sampler names.
    ComfyUi,
    /// The labels of AUTOMATIC1111's web UI and its forks.
    Automatic1111,
    /// The scheduler classes of diffusers.
    Diffusers,
    /// The sampling methods of stable-diffusion.cpp.
    StableDiffusionCpp,
    /// The functions of k-diffusion.
    KDiffusion,
    /// The schedulers of candle-transformers.
    Candle,
    /// Names of papers, and what people type.
    Elsewhere,
}

impl Library {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ComfyUi,
        Self::Automatic1111,
        Self::Diffusers,
        Self::StableDiffusionCpp,
        Self::KDiffusion,
        Self::Candle,
        Self::Elsewhere,
    ];
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ComfyUi => "ComfyUI",
            Self::Automatic1111 => "AUTOMATIC1111",
            Self::Diffusers => "diffusers",
            Self::StableDiffusionCpp => "stable-diffusion.cpp",
            Self::KDiffusion => "k-diffusion",
            Self::Candle => "candle",
            Self::Elsewhere => "elsewhere",
        })
    }
}

/// An [`Entry`]: name, solver, source; then for each library its names and what differs. Two solvers
/// are one for all but flows, and one for flows.
macro_rules! entry {
    (
        $name:literal, $solver:expr, on flows $flows:expr, $source:literal;
        $($names:tt)+
    ) => {
        Entry {
            code: concat!(stringify!($solver), ", on flows ", stringify!($flows)),
            make: || Ok(Box::new(OnFlows::new($solver, $flows))),
            ..entry!($name, $solver, $source; $($names)+)
        }
    };
    (
        $name:literal, $solver:expr, $source:literal;
        $($library:ident [$($alias:literal),+ $(,)?] $($differs:literal)?),+ $(,)?
    ) => {
        Entry {
            name: $name,
            code: stringify!($solver),
            source: $source,
            plus_plus: false,
            names: &[$(Names {
                library: Library::$library,
                names: &[$($alias),+],
                differs: concat!("" $(, $differs)?),
            }),+],
            make: || Ok(Box::new($solver)),
        }
    };
}
pub(super) use entry;
