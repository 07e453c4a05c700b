//! Fields that several classes know.

/// The table of betas.
pub(super) const TABLE: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
];

/// The list of times.
pub(super) const SPACING: &[&str] = &["timestep_spacing", "steps_offset"];

/// The clip of x₀.
pub(super) const CLIP: &[&str] = &["clip_sample", "clip_sample_range"];

/// Its dynamic thresholding.
pub(super) const THRESHOLDING: &[&str] = &[
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
];

/// Ramps of σ.
pub(super) const RAMPS: &[&str] = &[
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
];

/// A flow's list of σ.
pub(super) const FLOW: &[&str] = &["use_flow_sigmas", "flow_shift"];

/// A shift by μ.
pub(super) const DYNAMIC: &[&str] = &["use_dynamic_shifting", "time_shift_type"];

/// μ by the number of tokens.
pub(super) const TOKENS: &[&str] = &[
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
];
