//! The fuzz targets: each takes any bytes, and panics where it finds something.
//!
//! libFuzzer runs them (`fuzz_targets/`), and `tests/corpus.rs` replays their corpora on any
//! toolchain. README.md has the commands.

mod configuration;
mod grids;
mod guided;
mod input;
mod kernels;
mod names;
mod noises;
mod runs;
mod setups;
mod stored;

pub use configuration::configuration_file;
pub use grids::grid_or_table;
pub use guided::guidance;
pub use kernels::kernel;
pub use names::registry_name;
pub use noises::noise;
pub use runs::whole_run;
pub use stored::stored_form;

/// A target's name, which is that of its folder in `corpus` and `regressions`, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("configuration_file", configuration_file),
    ("grid_or_table", grid_or_table),
    ("guidance", guidance),
    ("kernel", kernel),
    ("noise", noise),
    ("registry_name", registry_name),
    ("stored_form", stored_form),
    ("whole_run", whole_run),
];
