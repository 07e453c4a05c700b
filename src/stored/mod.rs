//! Stored forms (feature `serde`): settings, plans and snapshots as plain data, checked on the way
//! in.
//!
//! `serde::Serialize` and `Deserialize` are there for the types below, in any format: every value
//! comes back bit for bit, through JSON and through binary formats, those without field names too.
//! What is read goes through the checks of the public constructors. So hostile or damaged input is
//! the format's error with the text of the crate's [`Error`](crate::Error) in it, never a panic,
//! never a plan that [`Plan::new`](crate::plan::Plan::new) would refuse, and memory grows with the
//! bytes that are really there, not with a length that they declare.
//!
//! ```
//! use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, run::Snapshot};
//! use diffusion_sampler::oracle::{Gaussian, Oracle};
//! use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
//! use ndarray::Array2;
//!
//! let schedule = TableSchedule::cosine(1000)?;
//! let grid = Grid::trailing(&schedule, 6)?;
//! let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde())?;
//! let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Data);
//! let noise = KeyedNoise::new(5);
//! let mut run = sampler.start::<f32, _, _>((3, 2), Prediction::Data, noise)?;
//! run.advance(&mut model)?;
//! let stored = serde_json::to_string(&(&sampler, noise, run.snapshot()?))?;
//!
//! // In another process:
//! type Stored = (Sampler, KeyedNoise, Snapshot<Array2<f32>>);
//! let (sampler, noise, snapshot): Stored = serde_json::from_str(&stored)?;
//! let mut resumed = sampler.resume(snapshot, Prediction::Data, noise)?;
//! run.complete(&mut model)?;
//! resumed.complete(&mut model)?;
//! assert_eq!(run.state(), resumed.state());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/killed_and_resumed.rs` does it in processes of which one is killed.
//!
//! # Reading numbers
//!
//! `serde_json` reads numbers exactly with its feature `float_roundtrip` only; without it some come
//! back one rounding off. Plans, samplers and snapshots carry a checksum, so that this is an error
//! and not another result; the other types do not. `u64`s (fingerprints, seeds, checksums) are JSON
//! integers of up to 64 bits: readers that take every number for an `f64` lose their last digits.
//!
//! NaN is refused on the way out and on the way in, and so is every infinite number but those of
//! the fields marked ∞ below. These are f64 infinities in binary formats, and the strings `"inf"`
//! and `"-inf"` in text formats.
//!
//! # Layout
//!
//! Versions stand in the forms that have one; only those below are read. Structures are maps with
//! these fields, in this order (formats without names rely on it); no field may be missing but, in
//! text, `checksum`, and none may be added. Enumerations are tagged from outside: `"ddim"`,
//! `{"eta": 0.5}`. *Number* is a finite f64, T? is a T or null.
//!
//! | type | stored as |
//! |---|---|
//! | [`NoiseLevel`](crate::NoiseLevel) | `time`, `model_time` ∞, `alpha`, `sigma`, `log_alpha` ∞, `log_sigma` ∞: numbers. The logarithms are stored because α and σ do not give them back to the bit, and must be those of α and σ to rounding |
//! | [`TableSchedule`](crate::schedule::TableSchedule) | `log_alpha_squared`: list of ln α² ∞ at the knots 1..=T |
//! | [`VariancePreserving`](crate::schedule::VariancePreserving) | `beta_min`, `beta_max`: numbers |
//! | [`VarianceExploding`](crate::schedule::VarianceExploding) | `lambda_noisy` = −ln σ_max, `lambda_clean` = −ln σ_min: numbers |
//! | [`Edm`](crate::schedule::Edm) | `sigma_min`, `sigma_max`: numbers |
//! | [`RectifiedFlow`](crate::schedule::RectifiedFlow) | `shift`: number; `model_time` |
//! | [`ModelTime`](crate::schedule::ModelTime) | `reversed`: boolean; `factor`: number; `truncated`: boolean |
//! | [`Sublevels`](crate::schedule::Sublevels) | `inner`: a schedule; `count`: integer |
//! | [`UnitVariance`](crate::schedule::UnitVariance) | `inner`: a schedule; `edm_noise`: boolean |
//! | [`LambdaRange`](crate::schedule::LambdaRange) | `noisy` ∞, `clean` ∞: numbers |
//! | [`Grid`](crate::Grid) | `levels`: list of levels; `start_variances`: list of as many numbers, v_T of a run that starts there |
//! | [`Spacing`](crate::grid::Spacing) | its [name](crate::grid::Spacing::name); read as by [`named`](crate::grid::Spacing::named), other spellings and aliases too |
//! | [`Kappa`](crate::posterior::Kappa) | `"ddim"`, `"ddpm"`, `"fresh"`, or a number under `eta`, `tau`, `gamma`, `capped_eta`, `flow_eta` or `ancestral`: `{"eta": number}` |
//! | [`ReverseVariance`](crate::posterior::ReverseVariance) | `"posterior"`, `"fixed_large"` or `{"explicit": number}` |
//! | [`FirstOrder`](crate::solver::FirstOrder) | `kappa`: `{"same": κ}` or `{"per_edge": [κ, …]}`; `reverse_variance`: a `ReverseVariance`, or `{"analytic": …}` with its table |
//! | [`DpmSolverPlusPlus`](crate::solver::DpmSolverPlusPlus) | `order`: 1, 2 or 3; `tau`: number; `form`: `"midpoint"` or `"exact"`; `published`, `warmed_up`: booleans; `bounds` |
//! | [`DpmSolver`](crate::solver::DpmSolver) | `order`: 1, 2 or 3; `tau`: number; `form`: `"midpoint"` or `"exact"`; `published`, `warmed_up`: booleans; `bounds` |
//! | its `bounds`, and those of the solvers below | `guarded`, `unbounded`, `lower_order_final`: booleans |
//! | [`ExponentialAdams`](crate::solver::ExponentialAdams) | `estimate`: `"data"` or `"noise"`; `order`: 1 to 4; `kappa`; `warmed_up`: boolean; `bounds` |
//! | [`UniPc`](crate::solver::UniPc), [`Basis`](crate::solver::Basis) | `order`: 1, 2 or 3; `basis`: `"bh1"` or `"bh2"`; `estimate`: `"data"` or `"noise"`; `corrected`: boolean; `without`: list of integers; `bounds` |
//! | [`SaSolver`](crate::solver::SaSolver) | `predictor`: 1 to 4; `corrector`: 0 to 4; `tau`: number; `within`: `"all"`, or two numbers ∞ under `end_rho` or `start_time`: `{"end_rho": [low, high]}`, or two fractions under `end` or `start`; `estimate`: `"data"` or `"noise"`; `simple`, `evaluates_twice`, `before_clean_end`: booleans; `bounds` |
//! | [`CfgPlusPlus`](crate::solver::CfgPlusPlus) | `rule`: `"multistep"` or `"res"`; `kappa`; `bounds` |
//! | [`ErSde`](crate::solver::ErSde), [`ErNoise`](crate::solver::ErNoise) | `order`: 1, 2 or 3; `noise`: `"ode"`, `"sde"`, `{"power": number}`, `"reciprocal"`, `"logarithmic"` or `"exponential"`; `s_noise`: number; `published`: boolean |
//! | [`Deis`](crate::solver::Deis) | `order`: 1 to 4; `flow_time`: boolean |
//! | [`LinearMultistep`](crate::solver::LinearMultistep) | `order`: 1 to 4; `flow_time`, `extrapolated_end`: booleans |
//! | [`Ipndm`](crate::solver::Ipndm) | `order`: 1 to 4; `steps`: `"even"`, `"variable"` or `"variable_as_published"`; `flow_time`, `extrapolated_end`: booleans |
//! | [`Pndm`](crate::solver::Pndm) | `runge_kutta_steps`: 0 or 3; `extrapolated_end`: boolean |
//! | [`GradientEstimation`](crate::solver::GradientEstimation) | `gamma`: number; `flow_time`: boolean |
//! | [`HeavyBall`](crate::solver::HeavyBall) | `order`: 1 to 4; `beta`: number; `generalised`: boolean |
//! | [`DpmPlusPlusSde`](crate::solver::DpmPlusPlusSde) | `node`, `eta`, `noise_scale`: numbers |
//! | [`DpmSolverPlusPlusSinglestep`](crate::solver::DpmSolverPlusPlusSinglestep) | `order`: 2 or 3; `nodes`: list of order − 1 numbers; `kappa`; `noise_scale`: number |
//! | [`ExponentialRungeKutta`](crate::solver::ExponentialRungeKutta) | `order`: 2 or 3; `nodes`: list of order − 1 numbers; `form`: `"midpoint"` or `"exact"`; `tau`, `noise_scale`: numbers |
//! | [`CfgPlusPlusSinglestep`](crate::solver::CfgPlusPlusSinglestep) | `kappa`; `noise_scale`: number |
//! | [`Lcm`](crate::solver::Lcm), [`Tcd`](crate::solver::Tcd) | `{"timestep_scaling": number}` or `"without_boundary"`; `gamma`: number |
//! | [`Belm`](crate::solver::Belm), [`BelmInversion`](crate::solver::BelmInversion) | `{"belm": {"pair": boolean}}`, `{"belm_inversion": {"pair": boolean}}` |
//! | [`Restart`](crate::solver::Restart) | `inner`: a solver; `intervals`: list of {`rho_min`, `rho_max`: numbers, `repeats`, `steps`: integers}; `least_steps`: integer |
//! | [`RePaint`](crate::solver::RePaint) | `inner`: a solver; `jump_length`, `resamplings`: integers |
//! | [`DdimInversion`](crate::solver::DdimInversion) | `"ddim_inversion"` |
//! | [`Heun`](crate::solver::Heun) | `"heun"`, or `{"heun_with": {"flow_time": boolean, "churn": churn?}}` |
//! | [`Churn`](crate::solver::Churn) | `amount`, `least`: numbers; `most` ∞: number; `noise`: number |
//! | [`Euler`](crate::solver::Euler) | `churn`: churn? |
//! | [`HeunPlusPlus`](crate::solver::HeunPlusPlus) | `flow_time`: boolean; `churn`: churn? |
//! | [`Dpm2`](crate::solver::Dpm2) | `flow_time`: boolean; `kappa`; `churn`: churn? |
//! | [`DpmSolverSinglestep`](crate::solver::DpmSolverSinglestep) | `order`: 1, 2 or 3; `kappa` |
//! | [`DpmFast`](crate::solver::DpmFast) | `evaluations`: integer?; `kappa` |
//! | [`GroupedSinglestep`](crate::solver::GroupedSinglestep) | `order`: 1, 2 or 3; `form`: `"midpoint"` or `"exact"`; `noise`, `lower_order_final`: booleans |
//! | [`Plan`](crate::plan::Plan) | `version`: 1; `slots`, `given`: integers; `steps`: list of steps; `checksum`: integer? |
//! | [`Step`](crate::plan::Step) | `from`, `to`: levels; `stages`: list of stages |
//! | [`Stage`](crate::plan::Stage) | `evaluate`: level?; `update` |
//! | [`Update`](crate::plan::Update) | `state`, `data`: numbers; `history`: list of {`slot`: integer, `weight`: number}; `noise`: number; `store`: {`slot`: integer, `kept`: `"data"`, `"noise"`, `"state"` or `{"linear": {"state": number, "data": number}}`}? |
//! | [`Prediction`](crate::Prediction) | `"noise"`, `"data"`, `"velocity"`, `"score"`, `"flow"`, `{"edm": {"data_std": number}}`, `{"edm_velocity": {"data_std": number}}` or `{"linear": {"data": number, "noise": number}}` |
//! | [`Clip`](crate::Clip) | `range`: `{"static": {"low": number, "high": number}}` or `{"dynamic": {"ratio": number, "max": number}}`; `noise`: `"recompute"` or `"keep"` |
//! | [`Sampler`](crate::Sampler) | `version`: 1; `plan`; `start_variance`: number; `clip`: clip?; `checksum`: integer? |
//! | [`Snapshot`](crate::run::Snapshot) | `version`: 2; `plan`: its fingerprint, an integer; `prediction`; `clip`: clip?; `noise`: integer?, the [fingerprint](crate::noise::NoiseSource::fingerprint) of the source; `step`, `stage`: integers; `level`; `state`: array; `history`: list of arrays; `memory`: array?; `checksum`: integer? |
//! | its arrays ([`StoredArray`]) | `element`: `"f32"` or `"f64"`; `shape`: list of integers; `elements`: list of numbers in row-major order |
//! | [`KeyedNoise`](crate::KeyedNoise) | `seed`, `first_sample`: integers |
//! | [`BrownianPath`](crate::noise::BrownianPath) | `normals`: keyed noise; `interval`; `tau_squared`: number |
//! | [`SampleNoise`](crate::noise::SampleNoise) | `source`: a source of noise; `sample`, `joined`, `taken`: integers |
//! | [`PerSample`](crate::noise::PerSample) | `samples`: list of samples' noise |
//! | [`TorchCpu`](crate::noise::TorchCpu) | `words`: list of the 624 integers of MT19937's state; `used`: how many of them were given out, 624 where new ones are due; `kept`: number?, the sine that comes next |
//! | [`TorchCuda`](crate::noise::TorchCuda) | `seed`, `tensors`: integers |
//! | [`TorchNoise`](crate::noise::TorchNoise) | `generators`: list of {`generator`; `next_step`: integer}, one or one for each sample; `samples`, `elements`: integers; `every_step`: boolean. Refused on the way out within a tensor |
//! | [`Interval`](crate::noise::Interval) | `from` ∞, `to` ∞: numbers |
//! | [`NoiseKey`](crate::noise::NoiseKey) | `row`, `step`: integers; `stream`: `"start"`, `{"step": n}`, `"forward"` or `{"user": n}`; `interval`: interval?; `path`: integer |
//! | [`GuidanceWeight`](crate::guidance::GuidanceWeight) | `{"constant": number}` or `{"interval": {"weight": number, "rho_low": number, "rho_high": number ∞}}`; one by a function is refused on the way out |
//! | [`Unguided`](crate::guidance::Unguided) | `"unguided"` |
//! | [`ClassifierFree`](crate::guidance::ClassifierFree) | `weight`: guidance weight |
//! | [`ClassifierGuidance`](crate::guidance::ClassifierGuidance) | `inner`: a form; `weight`: guidance weight |
//! | [`OnInterval`](crate::guidance::OnInterval) | `inner`: a form; `rho_low`: number; `rho_high` ∞: number |
//! | [`Rescaled`](crate::guidance::Rescaled) | `inner`: a form; `phi`: number |
//! | [`Projected`](crate::guidance::Projected) | `weight`, `eta`: numbers; `radius`: number, +∞ for none; `momentum`: number |
//! | [`ZeroStar`](crate::guidance::ZeroStar) | `scale`: number; `zero_steps`: integer; `space`: prediction |
//! | [`PlusPlus`](crate::guidance::PlusPlus), [`Tangential`](crate::guidance::Tangential) | `lambda`; `scale`: number |
//! | [`PerpendicularNegative`](crate::guidance::PerpendicularNegative) | `scale`, `negative`: numbers |
//! | [`Composed`](crate::guidance::Composed), [`WeightedSum`](crate::guidance::WeightedSum) | `scales`; `weights`: list of numbers |
//! | [`Perturbed`](crate::guidance::Perturbed) | `scale`: number; `weight`: guidance weight |
//! | [`Combination`](crate::guidance::Combination) | `models`: list of numbers; `noise`: list of numbers?; `gradients`: list of numbers; `memory`: number; `space`: prediction? |
//! | [`Memory`](crate::guidance::Memory) | `decay`: number |
//!
//! A `checksum` is FNV-1a (64 bits) over little-endian words of 64 bits, numbers by their bits as
//! f64:
//!
//! - *a plan's*: its fingerprint, then the six numbers of every level, for each step `from`, `to`
//!   and what its stages evaluate;
//! - *a sampler's*: the plan's fingerprint, the plan's checksum, `start_variance`, then 0 without a
//!   clip; with one 1 for a static and 2 for a dynamic range, the range's two numbers in the order
//!   of its fields, 0 to recompute and 1 to keep the noise;
//! - *a snapshot's*: `plan`; the prediction's place in the list above from 1 (`"noise"`) to 8
//!   (`linear`) and its numbers, filled up with 0 to two; 0 without a clip and with one the words
//!   that a sampler's has; 1 and `noise`, or twice 0 without; `step`, `stage`, the six numbers of
//!   `level`, the number of history slots, 1 with a memory and 0 without, then `state`, `history`
//!   and `memory`, each as the number of axes, the axes, the elements.
//!
//! It is not secret: it finds damage and readers that round, and no forger. In text it may be left
//! out or null, for files written by hand; then nothing is compared. In binary formats (those that
//! serde calls not human readable) it may not: there one flipped bit can end a form early, and the
//! rest would go unread.
//!
//! # What a snapshot is bound to
//!
//! [`Sampler::resume`](crate::Sampler::resume) refuses a snapshot of another plan, prediction or
//! clip and, where the plan draws noise, of another source of it: each with an error that names
//! both. A source without a fingerprint (a closure, a generator of `rand`) is taken for any other
//! without one. The network, its condition and its guidance are not told apart: keep a number of
//! your own for them beside the snapshot.
//!
//! [`write_file`] writes a file, of any of the formats, so that a process that is killed leaves the
//! old one or the new one; [`read_file`] refuses a file that is torn or has flipped bits, and says
//! so.
//!
//! A model's [`Denoiser`](crate::Denoiser), a [custom solver](crate::solver::Solver) or schedule
//! and a `rand` generator are code or belong to others: store what they are made from.

mod array;
mod checksum;
mod file;
mod number;
mod version;

pub use array::{Element, StoredArray};
pub use file::{read_file, write_file};

pub(crate) use array::Form as ArrayForm;
pub(crate) use checksum::{Checksum, check};
pub(crate) use number::{Extended, Finite, finite};
pub(crate) use version::Version;

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::memory;

/// Stores a type as a form: `TryFrom<&type>` for the form.
macro_rules! out_as {
    ($type:ty => $form:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let form = <$form>::try_from(self).map_err(serde::ser::Error::custom)?;
                serde::Serialize::serialize(&form, serializer)
            }
        }
    };
}

/// Stores a type as a form and reads it back through the form's checks: `TryFrom<&type>` for the
/// form, `TryFrom<form>` for the type.
macro_rules! through {
    ($($type:ty => $form:ty),+ $(,)?) => {$(
        crate::stored::out_as!($type => $form);

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form: $form = serde::Deserialize::deserialize(deserializer)?;
                Self::try_from(form).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

/// The same for a type called `name` whose form has the type's checksum, which text alone may lack.
macro_rules! with_checksum {
    ($name:literal: $type:ty => $form:ty) => {
        crate::stored::out_as!($type => $form);

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let required = !deserializer.is_human_readable();
                let form: $form = serde::Deserialize::deserialize(deserializer)?;
                let stored = form.checksum;
                let value = Self::try_from(form).map_err(serde::de::Error::custom)?;
                crate::stored::check($name, value.checksum(), stored, required)
                    .map_err(serde::de::Error::custom)?;
                Ok(value)
            }
        }
    };
}

/// Stores a type as the copy of its definition (`#[serde(remote = "…")]`) says.
macro_rules! remote {
    ($($type:ty => $copy:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$copy>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$copy>::deserialize(deserializer)
            }
        }
    )+};
}

pub(crate) use {out_as, remote, through, with_checksum};

/// `#[serde(deserialize_with = "…")]` for a list of any length, whose memory may not be there.
pub(crate) fn listed<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut entries: S) -> Result<Vec<T>, S::Error> {
            // It grows with what is there, and not with the length that is declared.
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                memory::push(&mut list, entry).map_err(S::Error::custom)?;
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Entries(PhantomData))
}

/// The same for a list that is lent when it is stored.
pub(crate) fn lent<'de, 'a, D: Deserializer<'de>, T: Deserialize<'de> + Clone>(
    deserializer: D,
) -> Result<Cow<'a, [T]>, D::Error> {
    listed(deserializer).map(Cow::Owned)
}

/// `#[serde(deserialize_with = "…")]` for a field that may be null, but not be missing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(deserializer)
}
