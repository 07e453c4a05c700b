//! The claims that the crate makes: each measured against an exact oracle and held to a threshold.
//!
//! One list serves two readers: `tests/verification.rs` asserts every claim, and
//! `examples/verification.rs` prints them and writes `docs/verification.md`.

use std::error::Error;
use std::fmt;

pub(crate) mod brownian;
pub(crate) mod convergence;
pub(crate) mod digits;
pub(crate) mod distributions;
pub(crate) mod edges;
pub(crate) mod editing;
mod forms;
pub(crate) mod guidance;
pub(crate) mod laws;
pub(crate) mod likelihood;
pub(crate) mod names;
pub(crate) mod noise;
pub(crate) mod parallel;
pub(crate) mod tables;
pub(crate) mod tensors;
pub(crate) mod tuning;
pub(crate) mod variances;

/// What a measured value has to satisfy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept {
    /// Less than this.
    Below(f64),
    /// At least this.
    AtLeast(f64),
    /// In this closed range.
    Within(f64, f64),
}

/// One measured claim.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// What is claimed, as a short sentence.
    pub(crate) claim: String,
    /// What it is measured against.
    pub(crate) oracle: &'static str,
    /// The measured value.
    pub(crate) measured: f64,
    /// What it has to satisfy.
    pub(crate) accept: Accept,
}

impl Claim {
    /// A measured claim.
    pub(crate) fn new(
        claim: impl Into<String>,
        oracle: &'static str,
        measured: f64,
        accept: Accept,
    ) -> Self {
        Self {
            claim: claim.into(),
            oracle,
            measured,
            accept,
        }
    }

    /// Whether the measured value satisfies the claim; NaN never does.
    pub(crate) fn holds(&self) -> bool {
        match self.accept {
            Accept::Below(limit) => self.measured < limit,
            Accept::AtLeast(limit) => self.measured >= limit,
            Accept::Within(low, high) => (low..=high).contains(&self.measured),
        }
    }
}

impl Accept {
    /// Within this relative tolerance of the expected value.
    pub(crate) fn near(expected: f64, tolerance: f64) -> Self {
        Self::Within(expected * (1.0 - tolerance), expected * (1.0 + tolerance))
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Below the least normal number there is only 0.
            Self::Below(limit) if *limit <= 1e-300 => write!(f, "exactly 0"),
            Self::AtLeast(limit) if *limit > 0.0 && *limit <= 1e-300 => write!(f, "> 0"),
            Self::Within(low, high) if low == high => write!(f, "exactly {}", number(*low)),
            Self::Below(limit) => write!(f, "< {}", number(*limit)),
            Self::AtLeast(limit) => write!(f, "≥ {}", number(*limit)),
            Self::Within(low, high) => write!(f, "{} to {}", number(*low), number(*high)),
        }
    }
}

/// Five significant digits, in scientific notation where the number is small.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() < 1e-3 {
        format!("{value:.1e}")
    } else {
        format!("{value:.5}")
    }
}

/// The claims of one topic.
pub(crate) type Topic = fn() -> Result<Vec<Claim>, Box<dyn Error>>;

/// All topics, with their titles.
pub(crate) const TOPICS: &[(&str, Topic)] = &[
    ("Edges: the strided posterior", edges::claims),
    ("The two tables", tables::claims),
    ("Orders of convergence", convergence::claims),
    ("Samplers by name", names::claims),
    ("Guidance", guidance::claims),
    ("Predicted and sampled distributions", laws::claims),
    ("Exact distributions and modes", distributions::claims),
    ("Likelihood: strides and plans", likelihood::claims),
    ("Noise and bits", noise::claims),
    ("Brownian paths", brownian::claims),
    ("Any tensor", tensors::claims),
    ("Parallel in time", parallel::claims),
    (
        "Reverse variances and the probability flow",
        variances::claims,
    ),
    ("Editing and stability", editing::claims),
    ("Choosing without the network", tuning::claims),
    ("Shape of DDIM's Table 1", digits::claims),
];
