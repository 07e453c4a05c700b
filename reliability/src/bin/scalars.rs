//! Every scalar entry with extreme arguments: no panic, no NaN out of `Ok` or out of an entry that
//! cannot fail, infinity only where the documentation names it, identities to rounding; and every
//! solver that documents no restriction plans on every valid grid.
//!
//! `scalars [--calls N] [--seed S] [--threads N] [--grids N] [--batch N]`

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use diffusion_sampler::grid::{FlowSigmas, SigmaRange, spacings};
use diffusion_sampler::guidance::{
    ClassifierFree, Composed, Evaluation, Guidance, GuidanceWeight, OnInterval,
    PerpendicularNegative, Perturbed, PlusPlus, Products, Projected, Rescaled, Tangential,
    WeightedSum, ZeroStar,
};
use diffusion_sampler::likelihood::discretised_gaussian_nats;
use diffusion_sampler::moments::AffineEstimate;
use diffusion_sampler::noise::{BrownianPath, Interval as Span, NoiseKey, NoiseSource, Stream};
use diffusion_sampler::oracle::Gaussian;
use diffusion_sampler::posterior::{Kappa, ReverseVariance, StridedPosterior, Transition};
use diffusion_sampler::schedule::{
    Edm, LambdaRange, ModelTime, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule,
    UnitVariance, VarianceExploding, VariancePreserving, mu,
};
use diffusion_sampler::solver::{
    Churn, DpmPlusPlusSde, DpmSolver, DpmSolverPlusPlus, ErNoise, ErSde, ExponentialAdams,
    GradientEstimation, HeavyBall, Lcm, Path, SaSolver, Solver, Tcd,
};
use diffusion_sampler::training::LossWeight;
use diffusion_sampler::tuning::Spectrum;
use diffusion_sampler::{Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction};
use reliability::accuracy::grids;
use reliability::accuracy::random::Random;
use reliability::accuracy::solvers::{self, Listed};

/// Where infinity is a result: the entry, the file, and the words of its documentation.
const INFINITE: &[(&str, &str, &str)] = &[
    ("NoiseLevel::log_alpha", LEVEL, "ln α; −∞ at α = 0"),
    ("NoiseLevel::log_sigma", LEVEL, "ln σ; −∞ at σ = 0"),
    (
        "NoiseLevel::lambda",
        LEVEL,
        "half the log signal-to-noise ratio; +∞ when clean, −∞ at α = 0",
    ),
    (
        "NoiseLevel::rho",
        LEVEL,
        "0 when clean, +∞ at α = 0 and where σ/α overflows",
    ),
    (
        "NoiseLevel::snr",
        LEVEL,
        "+∞ when clean and where it overflows",
    ),
    (
        "NoiseLevel::marginal_variance",
        LEVEL,
        "+∞ where it overflows",
    ),
    (
        "Prediction::edm_noise",
        PREDICTION,
        "−∞ when clean, +∞ at α = 0",
    ),
    (
        "Prediction::data_weight",
        PREDICTION,
        "At σ = 0, and where it overflows, the weight is +∞",
    ),
    (
        "StridedPosterior::step_size",
        POSTERIOR,
        "+∞ onto σ_s = 0 and from α_t = 0",
    ),
    (
        "StridedPosterior::variance",
        POSTERIOR,
        "+∞ where it overflows",
    ),
    (
        "LambdaRange",
        SCHEDULE,
        "ends may be infinite, grids refuse those",
    ),
    (
        "NoiseSchedule::start_variance",
        SCHEDULE,
        "+∞ where it overflows",
    ),
];
const LEVEL: &str = include_str!("../../../src/level.rs");
const PREDICTION: &str = include_str!("../../../src/prediction.rs");
const POSTERIOR: &str = include_str!("../../../src/posterior.rs");
const SCHEDULE: &str = include_str!("../../../src/schedule/mod.rs");

/// The documentation of a file as running words.
fn words(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let documentation = lines.filter_map(|line| line.strip_prefix("///"));
    let text: Vec<&str> = documentation.flat_map(str::split_whitespace).collect();
    text.join(" ")
}

/// ln of a schedule's parameters and times, whose differences ln α and ln σ may be: up to e^±745 each.
const SCHEDULE_LOGS: f64 = 1500.0;

/// Half a unit in the last place of 1.
const U: f64 = 1.110_223_024_625_156_5e-16;

/// What a batch of calls found.
#[derive(Clone, Debug, Default)]
struct Tally {
    calls: BTreeMap<&'static str, u64>,
    refusals: u64,
    infinite: BTreeMap<&'static str, u64>,
    findings: BTreeMap<String, (u64, String)>,
}

impl Tally {
    fn join(&mut self, other: Self) {
        for (entry, count) in other.calls {
            *self.calls.entry(entry).or_default() += count;
        }
        for (entry, count) in other.infinite {
            *self.infinite.entry(entry).or_default() += count;
        }
        self.refusals += other.refusals;
        for (what, (count, example)) in other.findings {
            let own = self.findings.entry(what).or_insert((0, example));
            own.0 += count;
        }
    }

    fn finding(&mut self, batch: u64, what: String, arguments: &[f64]) {
        let example = || format!("batch {batch}, arguments {arguments:?}");
        let own = self.findings.entry(what).or_insert_with(|| (0, example()));
        own.0 += 1;
    }
}

/// The calls of one batch.
struct Probe {
    random: Random,
    batch: u64,
    tally: Tally,
}

/// Numbers at which something may happen.
const SPECIAL: [f64; 30] = [
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    f64::MIN_POSITIVE,
    2.225_073_858_507_201e-308,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1.0,
    -1.0,
    0.999_999_999_999_999_9,
    1.000_000_000_000_000_2,
    0.5,
    2.0,
    1e-16,
    1e-8,
    1e8,
    1e154,
    1e-154,
    1.4e154,
    1e-162,
    1e300,
    1e-300,
    745.2,
    -745.2,
    709.9,
    std::f64::consts::LN_2,
];

impl Probe {
    fn new(seed: u64, batch: u64) -> Self {
        Self {
            random: Random::new(seed ^ batch.wrapping_mul(0xD6E8_FEB8_6659_FD93)),
            batch,
            tally: Tally::default(),
        }
    }

    /// Any number: special ones, any bits, any decade, near the ends of usual domains.
    fn any(&mut self) -> f64 {
        let random = &mut self.random;
        match random.below(8) {
            0 => *random.pick(&SPECIAL),
            1 => f64::from_bits(random.word()),
            2 => random.sign() * random.decade(-323.0, 308.0),
            3 => {
                let near = *random.pick(&SPECIAL);
                let bits = near.to_bits().wrapping_add(random.below(5) as u64);
                f64::from_bits(bits.wrapping_sub(2))
            }
            4 => random.between(-10.0, 10.0),
            5 => 1.0 - random.decade(-17.0, 0.0),
            6 => random.decade(-20.0, 5.0),
            _ => random.unit(),
        }
    }

    /// A number that is likely to be in the domain: positive and finite.
    fn positive(&mut self) -> f64 {
        match self.random.below(6) {
            0 => self.any(),
            1 => self.random.decade(-300.0, 300.0),
            _ => self.random.decade(-12.0, 12.0),
        }
    }

    /// A number that is likely to lie from 0 to 1.
    fn share(&mut self) -> f64 {
        match self.random.below(6) {
            0 => self.any(),
            1 => self.random.decade(-323.0, 0.0),
            2 => 1.0 - self.random.decade(-16.5, 0.0),
            3 => *self.random.pick(&[0.0, 1.0, 0.5]),
            _ => self.random.unit(),
        }
    }

    /// A number that an entry gave. `named` says whether its documentation names infinity here.
    fn number(&mut self, entry: &'static str, value: f64, named: bool, arguments: &[f64]) {
        *self.tally.calls.entry(entry).or_default() += 1;
        if value.is_nan() {
            self.tally
                .finding(self.batch, format!("{entry}: NaN"), arguments);
        } else if value.is_infinite() {
            let listed = INFINITE.iter().any(|(name, _, _)| *name == entry);
            if named && listed {
                *self.tally.infinite.entry(entry).or_default() += 1;
            } else {
                self.tally
                    .finding(self.batch, format!("{entry}: {value}"), arguments);
            }
        }
    }

    /// The result of an entry: a refusal, or a number.
    fn result(
        &mut self,
        entry: &'static str,
        result: Result<f64, Error>,
        named: bool,
        arguments: &[f64],
    ) -> Option<f64> {
        match result {
            Ok(value) => {
                self.number(entry, value, named, arguments);
                Some(value)
            }
            Err(error) => {
                self.refused(entry, &error);
                None
            }
        }
    }

    /// The result of an entry that makes something: counted, its refusal written out once.
    fn made<T>(&mut self, entry: &'static str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                *self.tally.calls.entry(entry).or_default() += 1;
                Some(value)
            }
            Err(error) => {
                self.refused(entry, &error);
                None
            }
        }
    }

    fn refused(&mut self, entry: &'static str, error: &Error) {
        *self.tally.calls.entry(entry).or_default() += 1;
        self.tally.refusals += 1;
        // Errors show their values; writing them must not fail either.
        if self.random.one_in(4096) && error.to_string().is_empty() {
            self.tally
                .finding(self.batch, format!("{entry}: an error without words"), &[]);
        }
    }

    /// An identity: |off| ≤ allowed.
    fn close(&mut self, what: &'static str, off: f64, allowed: f64, arguments: &[f64]) {
        if !(off.abs() <= allowed) {
            let mut all = vec![off, allowed];
            all.extend(arguments);
            self.tally
                .finding(self.batch, format!("{what} (off, allowed, …)"), &all);
        }
    }

    fn holds(&mut self, what: &'static str, holds: bool, arguments: &[f64]) {
        if !holds {
            self.tally.finding(self.batch, what.to_owned(), arguments);
        }
    }

    /// A level of any kind.
    fn level(&mut self) -> Option<NoiseLevel> {
        match self.random.below(6) {
            0 => {
                let (time, alpha, sigma) = (self.any(), self.any(), self.any());
                let level = self.made("NoiseLevel::new", NoiseLevel::new(time, alpha, sigma))?;
                self.check_level(&level, &[time, alpha, sigma]);
                Some(level)
            }
            1 => {
                let (time, alpha, sigma) = (self.share(), self.positive(), self.positive());
                let level = self.made("NoiseLevel::new", NoiseLevel::new(time, alpha, sigma))?;
                self.check_level(&level, &[time, alpha, sigma]);
                Some(level)
            }
            2 => {
                let (time, alpha, sigma) = (self.share(), -self.positive(), self.any());
                let made = NoiseLevel::from_logs(time, alpha, sigma);
                let level = self.made("NoiseLevel::from_logs", made)?;
                self.check_level(&level, &[time, alpha, sigma]);
                Some(level)
            }
            3 => Some(NoiseLevel::clean()),
            _ => {
                let (time, log) = (self.share(), -self.positive());
                let made = NoiseLevel::variance_preserving(time, log);
                let level = self.made("NoiseLevel::variance_preserving", made)?;
                self.check_level(&level, &[time, log]);
                let sum = level.alpha() * level.alpha() + level.sigma() * level.sigma();
                // exp, expm1 and the root: one unit each, squared.
                self.close(
                    "α² + σ² of a variance-preserving level",
                    sum - 1.0,
                    8.0 * U,
                    &[log],
                );
                Some(level)
            }
        }
    }

    fn check_level(&mut self, level: &NoiseLevel, arguments: &[f64]) {
        self.check_level_of(level, 0.0, arguments);
    }

    /// `logarithms` is the size of the logarithms whose differences the level's are.
    fn check_level_of(&mut self, level: &NoiseLevel, logarithms: f64, arguments: &[f64]) {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        self.number("NoiseLevel::alpha", alpha, false, arguments);
        self.number("NoiseLevel::sigma", sigma, false, arguments);
        self.number("NoiseLevel::time", level.time(), false, arguments);
        self.number(
            "NoiseLevel::model_time",
            level.model_time(),
            false,
            arguments,
        );
        self.number(
            "NoiseLevel::log_alpha",
            level.log_alpha(),
            alpha == 0.0,
            arguments,
        );
        self.number(
            "NoiseLevel::log_sigma",
            level.log_sigma(),
            sigma == 0.0,
            arguments,
        );
        let end = alpha == 0.0 || sigma == 0.0;
        self.number("NoiseLevel::lambda", level.lambda(), end, arguments);
        self.number("NoiseLevel::rho", level.rho(), true, arguments);
        self.number("NoiseLevel::snr", level.snr(), true, arguments);
        let variance = self.positive().abs();
        if variance.is_finite() {
            let value = level.marginal_variance(variance);
            self.number(
                "NoiseLevel::marginal_variance",
                value,
                true,
                &[alpha, sigma, variance],
            );
            self.holds(
                "a negative variance",
                value >= 0.0,
                &[alpha, sigma, variance],
            );
        }
        let ends = (alpha == 0.0) == (level.lambda() == f64::NEG_INFINITY)
            && level.is_clean() == (level.lambda() == f64::INFINITY);
        self.holds("ends of α, σ and λ are the same", ends, arguments);
        self.holds("not both are 0", alpha + sigma > 0.0, arguments);
        if !end && alpha >= f64::MIN_POSITIVE && sigma >= f64::MIN_POSITIVE {
            let off = (level.log_alpha() - alpha.ln()).abs();
            // At α = 1 − k·2⁻⁵³ the logarithm keeps what α has lost.
            self.close(
                "ln α",
                off,
                4.0 * U * (1.0 + logarithms + level.log_alpha().abs()),
                arguments,
            );
            let off = (level.log_sigma() - sigma.ln()).abs();
            self.close(
                "ln σ",
                off,
                4.0 * U * (1.0 + logarithms + level.log_sigma().abs()),
                arguments,
            );
        }
    }

    fn prediction(&mut self) -> Prediction {
        match self.random.below(9) {
            0 => Prediction::Noise,
            1 => Prediction::Data,
            2 => Prediction::Velocity,
            3 => Prediction::Score,
            4 => Prediction::Flow,
            5 => Prediction::Edm {
                data_std: self.positive(),
            },
            6 => Prediction::EdmVelocity {
                data_std: self.positive(),
            },
            _ => Prediction::Linear {
                data: self.any(),
                noise: self.any(),
            },
        }
    }

    fn kappa(&mut self) -> Kappa {
        match self.random.below(10) {
            0 | 1 => Kappa::Ddim,
            2 => Kappa::Ddpm,
            3 => Kappa::Eta(self.share()),
            4 => Kappa::Tau(self.positive()),
            5 => Kappa::Gamma(self.positive()),
            6 => Kappa::Fresh,
            7 => Kappa::CappedEta(self.positive()),
            8 => Kappa::FlowEta(self.share()),
            _ => Kappa::Ancestral(self.share()),
        }
    }

    fn predictions(&mut self) {
        let (Some(level), kind, other) = (self.level(), self.prediction(), self.prediction())
        else {
            return;
        };
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let at = [alpha, sigma];
        if let Some(linear) = self.made("Prediction::data", kind.data(&level)) {
            self.number("Prediction::data", linear.x, false, &at);
            self.number("Prediction::data", linear.output, false, &at);
        }
        let target = self.made("Prediction::target", kind.target(&level));
        if let Some(target) = target {
            self.number("Prediction::target", target.data, false, &at);
            self.number("Prediction::target", target.noise, false, &at);
        }
        if let Some(both) = self.made("Prediction::conversion", kind.conversion(&level)) {
            for value in [
                both.data.x,
                both.data.output,
                both.noise.x,
                both.noise.output,
            ] {
                self.number("Prediction::conversion", value, false, &at);
            }
            // c_skip and c_out are products of data_std and ρ: beyond these they lose digits.
            let plain = match kind {
                Prediction::Edm { data_std } | Prediction::EdmVelocity { data_std } => {
                    (1e-60..1e60).contains(&data_std) && (1e-60..1e60).contains(&level.rho())
                }
                Prediction::Linear { data, noise } => {
                    let ordinary = |x: f64| x == 0.0 || (1e-150..1e150).contains(&x.abs());
                    ordinary(data) && ordinary(noise)
                }
                _ => true,
            };
            if let Some(target) = target.filter(|_| plain) {
                let (d, e) = (
                    self.random.between(-2.0, 2.0),
                    self.random.between(-2.0, 2.0),
                );
                let x = alpha * d + sigma * e;
                let o = target.data * d + target.noise * e;
                let sizes = alpha.abs() * 2.0 + sigma.abs() * 2.0;
                let size = (target.data.abs() + target.noise.abs()) * 2.0;
                for (form, exact) in [(both.data, d), (both.noise, e)] {
                    // Forms of x and o, each the sum of two products.
                    let terms = form.x.abs() * sizes + form.output.abs() * size;
                    if terms < 1e290 && terms > 1e-290 && x.abs() > 1e-290 && o.abs() > 1e-290 {
                        let off = form.of(x, o) - exact;
                        let arguments = [alpha, sigma, d, e, target.data, target.noise];
                        self.close(
                            "x₀ and ε out of a prediction",
                            off,
                            32.0 * U * terms,
                            &arguments,
                        );
                    }
                }
            }
        }
        if let Some(linear) = self.made("Prediction::convert_to", kind.convert_to(other, &level)) {
            self.number("Prediction::convert_to", linear.x, false, &at);
            self.number("Prediction::convert_to", linear.output, false, &at);
        }
        self.result(
            "Prediction::input_scale",
            kind.input_scale(&level),
            false,
            &at,
        );
        let end = alpha == 0.0 || sigma == 0.0;
        self.number(
            "Prediction::edm_noise",
            Prediction::edm_noise(&level),
            end,
            &at,
        );
        self.result(
            "Prediction::data_weight",
            kind.data_weight(&level),
            true,
            &at,
        );
        let weight = match self.random.below(4) {
            0 => LossWeight::Simple,
            1 => LossWeight::Snr,
            2 => LossWeight::MinSnr(self.positive()),
            _ => LossWeight::Omega(self.positive()),
        };
        let value = weight.on_data(kind, &level);
        self.result("LossWeight::on_data", value, false, &at);
        let value = weight.on_output(kind, &level);
        self.result("LossWeight::on_output", value, false, &at);
        let (mean, variance) = (self.any(), self.positive().abs());
        if mean.abs() <= 1e30
            && (variance == 0.0 || (1e-60..=1e60).contains(&variance))
            && at.iter().all(|&x| x == 0.0 || (1e-30..=1e30).contains(&x))
        {
            let estimate = AffineEstimate::of_gaussian(mean, variance, &level);
            let arguments = [alpha, sigma, mean, variance];
            self.number(
                "AffineEstimate::of_gaussian",
                estimate.gain,
                false,
                &arguments,
            );
            self.number(
                "AffineEstimate::of_gaussian",
                estimate.offset,
                false,
                &arguments,
            );
            // The mean at the mean: m = gαm + o.
            let off = estimate.gain * alpha * mean + estimate.offset - mean;
            self.close(
                "the estimate at the mean",
                off,
                8.0 * U * mean.abs() + 1e-320,
                &arguments,
            );
        }
    }

    fn posteriors(&mut self) {
        let (Some(from), Some(to)) = (self.level(), self.level()) else {
            return;
        };
        let kappa = self.kappa();
        let (from, to) = match self.random.below(4) {
            // Beside one another.
            0 => {
                let share = 1.0 - self.random.decade(-17.0, -1.0);
                let made = NoiseLevel::new(0.0, from.alpha(), from.sigma() * share);
                match self.made("NoiseLevel::new", made) {
                    Some(to) => (from, to),
                    None => return,
                }
            }
            _ if from.lambda() > to.lambda() => (to, from),
            _ => (from, to),
        };
        let ends = [from.alpha(), from.sigma(), to.alpha(), to.sigma()];
        let made = StridedPosterior::new(from, to, kappa);
        let Some(q) = self.made("StridedPosterior::new", made) else {
            return;
        };
        let end = to.is_clean() || from.alpha() == 0.0 || to.alpha() == 0.0;
        self.number("StridedPosterior::step_size", q.step_size(), end, &ends);
        self.number("StridedPosterior::kappa", q.kappa(), false, &ends);
        self.number("StridedPosterior::gamma", q.gamma(), false, &ends);
        self.number("StridedPosterior::variance", q.variance(), true, &ends);
        self.number(
            "StridedPosterior::state_coefficient",
            q.state_coefficient(),
            false,
            &ends,
        );
        self.number(
            "StridedPosterior::data_coefficient",
            q.data_coefficient(),
            false,
            &ends,
        );
        if q.step_size() >= 0.0 {
            self.number("StridedPosterior::ratio", q.ratio(), false, &ends);
        }
        let (k, g) = (q.kappa(), q.gamma());
        self.holds("κ from 0 to 1", (0.0..=1.0 + 4.0 * U).contains(&k), &ends);
        self.holds(
            "γ from 0 to σ_s",
            g >= 0.0 && g <= to.sigma() * (1.0 + 8.0 * U),
            &ends,
        );
        if to.sigma() > 1e-290 {
            let ratio = g / to.sigma();
            // κ is rounded to √u where it is small.
            let off = k * k + ratio * ratio - 1.0;
            self.close("κ² + γ²/σ_s²", off, 16.0 * U, &ends);
        }
        // c_t α_t + c_0 = α_s: what a point keeps.
        let (state, data) = (q.state_coefficient(), q.data_coefficient());
        let terms = state.abs() * from.alpha() + data.abs() + to.alpha();
        let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
        let logs = |l: &NoiseLevel| finite(l.log_alpha()) + finite(l.log_sigma());
        let units = 8.0 + logs(&from) + logs(&to);
        if terms < 1e290 && terms > 1e-290 {
            let off = state * from.alpha() + data - to.alpha();
            self.close(
                "c_t α_t + c_0 = α_s",
                off,
                units * U * terms + 5e-324 * from.alpha() + 1e-300,
                &ends,
            );
        }
        let policy = match self.random.below(3) {
            0 => ReverseVariance::Posterior,
            1 => ReverseVariance::FixedLarge,
            _ => ReverseVariance::Explicit(self.any()),
        };
        self.result(
            "StridedPosterior::forward_variance",
            q.forward_variance(),
            false,
            &ends,
        );
        let variance = q.reverse_variance(policy);
        let variance = self.result("StridedPosterior::reverse_variance", variance, false, &ends);
        if let Some(variance) = variance {
            self.holds("a negative reverse variance", variance >= 0.0, &ends);
        }
        if let Some(omega) = self.result(
            "StridedPosterior::elbo_weight",
            q.elbo_weight(),
            false,
            &ends,
        ) {
            self.holds("a negative ω", omega >= 0.0, &ends);
        }
        let (error, own) = (self.positive(), self.positive());
        let dim = self.random.below(1000);
        let kl = q.kl(dim, error, variance.unwrap_or(own));
        if let Some(kl) = self.result("StridedPosterior::kl", kl, false, &ends) {
            // The bracket is at least 0; it is a difference of numbers of the size of 1 + its logarithm.
            self.holds("a negative KL", kl >= -1e-9 * (dim as f64 + 1.0), &ends);
        }
        let f = match self.random.below(3) {
            0 => self.any(),
            _ => self.random.between(-1.0, 1.0),
        };
        self.result(
            "StridedPosterior::learned_variance",
            q.learned_variance(f),
            false,
            &ends,
        );
        if let Some(step) = self.made("StridedPosterior::forward_step", q.forward_step()) {
            for value in [step.state, step.data, step.noise] {
                self.number("StridedPosterior::forward_step", value, false, &ends);
            }
        }
        let step = Transition::forward_step(&to, &from);
        if let Some(step) = self.made("Transition::forward_step", step) {
            for value in [step.state, step.data, step.noise] {
                self.number("Transition::forward_step", value, false, &ends);
            }
        }
        if let Some(third) = self.level() {
            let next = StridedPosterior::new(to, third, self.kappa());
            if let Some(next) = self.made("StridedPosterior::new", next)
                && let Some(both) = self.made("StridedPosterior::compose", q.compose(&next))
            {
                for value in [
                    both.kappa(),
                    both.gamma(),
                    both.state_coefficient(),
                    both.data_coefficient(),
                ] {
                    self.number("StridedPosterior::compose", value, false, &ends);
                }
                let product = q.kappa() * next.kappa();
                self.close("κ multiplies", both.kappa() - product, 4.0 * U, &ends);
            }
        }
    }

    /// A schedule of any valid parameters, or a refusal.
    fn schedule(&mut self) -> Option<Box<dyn NoiseSchedule>> {
        let (a, b) = (self.positive(), self.positive());
        let (low, high) = (a.min(b), a.max(b));
        Some(match self.random.below(12) {
            0 | 1 => Box::new(self.made(
                "VariancePreserving::new",
                VariancePreserving::new(low, high),
            )?),
            2 | 3 => {
                Box::new(self.made("VarianceExploding::new", VarianceExploding::new(low, high))?)
            }
            4 | 5 => Box::new(self.made("Edm::new", Edm::new(low, high))?),
            6 => Box::new(self.made("RectifiedFlow::shifted", RectifiedFlow::shifted(a))?),
            7 => {
                let mu = self.any();
                Box::new(self.made(
                    "RectifiedFlow::shifted_by_mu",
                    RectifiedFlow::shifted_by_mu(mu),
                )?)
            }
            8 => {
                let edm = self.made("Edm::new", Edm::new(low, high))?;
                let plain = UnitVariance::of(edm);
                Box::new(plain)
            }
            9 => {
                let flow = self.made("RectifiedFlow::shifted", RectifiedFlow::shifted(a))?;
                let count = 1 + self.random.below(50);
                Box::new(self.made("Sublevels::of", Sublevels::of(flow, count))?)
            }
            _ => Box::new(self.table()?),
        })
    }

    fn table(&mut self) -> Option<TableSchedule> {
        let steps = 1 + self.random.below(8);
        let (first, last) = (self.share(), self.share());
        let table = match self.random.below(6) {
            0 => self.made(
                "TableSchedule::linear",
                TableSchedule::linear(steps, first, last),
            )?,
            1 => self.made(
                "TableSchedule::scaled_linear",
                TableSchedule::scaled_linear(steps, first, last),
            )?,
            2 => self.made(
                "TableSchedule::sigmoid",
                TableSchedule::sigmoid(steps, first, last),
            )?,
            3 => self.made("TableSchedule::cosine", TableSchedule::cosine(steps))?,
            4 => {
                let betas: Vec<f64> = (0..steps).map(|_| self.share()).collect();
                self.made(
                    "TableSchedule::from_betas",
                    TableSchedule::from_betas(&betas),
                )?
            }
            _ => {
                let mut list: Vec<f64> = (0..steps).map(|_| self.share()).collect();
                list.sort_by(|a, b| b.total_cmp(a));
                let made = TableSchedule::from_alphas_cumprod(&list);
                self.made("TableSchedule::from_alphas_cumprod", made)?
            }
        };
        match self.random.below(5) {
            0 => self.made(
                "TableSchedule::zero_terminal_snr",
                table.zero_terminal_snr(),
            ),
            1 => {
                let scale = self.positive();
                self.made("TableSchedule::snr_shifted", table.snr_shifted(scale))
            }
            2 => {
                let last = self.share();
                let made = table.with_last_alpha_cumprod(last);
                self.made("TableSchedule::with_last_alpha_cumprod", made)
            }
            _ => Some(table),
        }
    }

    fn schedules(&mut self) {
        let Some(schedule) = self.schedule() else {
            return;
        };
        let last = schedule.last_time();
        self.number("NoiseSchedule::last_time", last, false, &[]);
        let range = schedule.lambda_range();
        self.number("LambdaRange", range.noisy(), true, &[last]);
        self.number("LambdaRange", range.clean(), true, &[last]);
        // A table of one knot has its λ alone.
        let single = schedule.table_len() == Some(1) && range.noisy() == range.clean();
        self.holds(
            "an empty range of λ",
            single || range.noisy() < range.clean(),
            &[range.noisy(), range.clean()],
        );
        for _ in 0..6 {
            let time = match self.random.below(4) {
                0 => self.any(),
                _ => self.share() * last,
            };
            let Some(level) = self.made("NoiseSchedule::level", schedule.level(time)) else {
                let valid = (0.0..=last).contains(&time);
                self.holds("a time of the schedule is refused", !valid, &[time, last]);
                continue;
            };
            self.holds(
                "a time beyond the schedule",
                (0.0..=last).contains(&time),
                &[time, last],
            );
            self.check_level_of(&level, SCHEDULE_LOGS, &[time, last]);
            let variance = schedule.start_variance(&level);
            self.number(
                "NoiseSchedule::start_variance",
                variance,
                true,
                &[time, last],
            );
            let later = schedule.level(time.next_up().min(last));
            if let Some(later) = self.made("NoiseSchedule::level", later) {
                // Neighbours in f64 differ by rounding of λ; further apart than that they must fall.
                let slack = 8.0 * U * (1.0 + level.lambda().abs());
                let falls =
                    later.lambda() == level.lambda() || later.lambda() <= level.lambda() + slack;
                let arguments = [time, last, level.lambda(), later.lambda()];
                self.holds("λ rises with the time", falls, &arguments);
            }
            let lambda = level.lambda();
            let reached = schedule.time_of_lambda(lambda);
            match self.result(
                "NoiseSchedule::time_of_lambda",
                reached,
                false,
                &[lambda, time, last],
            ) {
                Some(found) => {
                    self.inverse(&*schedule, lambda, found);
                }
                None => {
                    let inside = lambda >= range.noisy() && lambda <= range.clean();
                    self.holds(
                        "λ of the schedule's range is refused",
                        !inside,
                        &[lambda, time, last],
                    );
                }
            }
        }
        let lambda = self.any();
        let time = schedule.time_of_lambda(lambda);
        if let Some(time) = self.result(
            "NoiseSchedule::time_of_lambda",
            time,
            false,
            &[lambda, last],
        ) {
            self.inverse(&*schedule, lambda, time);
        }
        let sigma = self.share();
        let time = schedule.time_of_flow_sigma(sigma);
        let time = self.result(
            "NoiseSchedule::time_of_flow_sigma",
            time,
            false,
            &[sigma, last],
        );
        if let Some(time) = time {
            let inside = (0.0..=last).contains(&time);
            self.holds(
                "a time of σ beyond the schedule",
                inside,
                &[sigma, time, last],
            );
        }
        if let Some(knots) = schedule.table_len() {
            let levels = (0..=knots.min(60)).map(|knot| schedule.knot_level(knot as f64));
            if let Some(levels) = self.made(
                "NoiseSchedule::knot_level",
                levels.collect::<Result<Vec<_>, _>>(),
            ) {
                let falls = levels
                    .windows(2)
                    .all(|pair| pair[1].lambda() < pair[0].lambda() || pair[1].alpha() == 0.0);
                self.holds("knots of a table with one λ", falls, &[knots as f64]);
            }
            let knot = self.share() * knots as f64;
            let time = schedule.knot_time(knot);
            if let Some(time) = self.result("NoiseSchedule::knot_time", time, false, &[knot]) {
                self.holds(
                    "a knot's time beyond the schedule",
                    (0.0..=last).contains(&time),
                    &[knot],
                );
            }
            if let Some(level) = self.made("NoiseSchedule::knot_level", schedule.knot_level(knot)) {
                self.check_level_of(&level, SCHEDULE_LOGS, &[knot, last]);
            }
        }
    }

    /// The level at a time found for λ has this λ, or λ lies between those of the times beside it.
    fn inverse(&mut self, schedule: &dyn NoiseSchedule, lambda: f64, time: f64) {
        let last = schedule.last_time();
        let arguments = [lambda, time, last];
        self.holds(
            "a time of λ beyond the schedule",
            (0.0..=last).contains(&time),
            &arguments,
        );
        // Sixteen units of time, or two subnormal ones.
        let sooner = (time * (1.0 - 16.0 * U)).min(time.next_down().next_down());
        let later = (time * (1.0 + 16.0 * U)).max(time.next_up().next_up());
        let beside = |time: f64| schedule.level(time.clamp(0.0, last));
        let (sooner, later) = (beside(sooner), beside(later));
        let (Some(sooner), Some(later)) = (
            self.made("NoiseSchedule::level", sooner),
            self.made("NoiseSchedule::level", later),
        ) else {
            self.holds("a time of λ is refused", false, &arguments);
            return;
        };
        // λ may be a difference of the logarithms of time, of the last one, and of a shift.
        let log = |x: f64| if x > 0.0 { x.ln().abs() } else { 0.0 };
        let slack = 32.0 * U * (1.0 + lambda.abs() + log(time) + log(last));
        let between = sooner.lambda() >= lambda - slack && later.lambda() <= lambda + slack;
        let arguments = [lambda, time, last, sooner.lambda(), later.lambda()];
        // Beyond e^±350 squares underflow: the level nearest to such a λ is clean, or pure noise.
        let holds = between || lambda.abs() > 350.0;
        self.holds("the time of λ has another λ", holds, &arguments);
    }

    fn small(&mut self) {
        let (a, b, c) = (self.any(), self.any(), self.any());
        let (p, q) = (self.positive(), self.positive());
        let n = self.random.below(1 << 20);
        let m = self.random.below(5000);
        self.result(
            "mu::linear",
            mu::linear(n, (m, a), (256, b)),
            false,
            &[a, b],
        );
        self.result(
            "mu::square_root",
            mu::square_root(n, m, a, b),
            false,
            &[a, b],
        );
        let tokens = match self.random.below(4) {
            0 => usize::MAX - n,
            _ => n,
        };
        self.number(
            "mu::qwen_layered",
            mu::qwen_layered(tokens),
            false,
            &[tokens as f64],
        );
        self.number(
            "mu::flux2",
            mu::flux2(tokens, m),
            false,
            &[tokens as f64, m as f64],
        );
        let made = RectifiedFlow::shifted_for_tokens(n, (m, a), (256, b));
        if let Some(flow) = self.made("RectifiedFlow::shifted_for_tokens", made) {
            self.number("RectifiedFlow::shift", flow.shift(), false, &[a, b]);
        }
        let made = RectifiedFlow::shifted_linearly(p);
        self.made("RectifiedFlow::shifted_linearly", made);
        let time = match self.random.below(2) {
            0 => ModelTime::sigma(),
            _ => ModelTime::one_minus_sigma(),
        };
        if let Some(time) = self.made("ModelTime::times", time.times(p)) {
            let sigma = self.random.unit();
            self.number("ModelTime::at", time.at(sigma), false, &[p, sigma]);
            self.number(
                "ModelTime::at",
                time.truncated().at(sigma),
                false,
                &[p, sigma],
            );
        }
        for range in [
            self.made("LambdaRange::new", LambdaRange::new(a, b)),
            self.made("LambdaRange::up_to_clean", LambdaRange::up_to_clean(a)),
            self.made("LambdaRange::of_rhos", LambdaRange::of_rhos(p, q)),
        ]
        .into_iter()
        .flatten()
        {
            self.number("LambdaRange", range.noisy(), true, &[a, b, p, q]);
            self.number("LambdaRange", range.clean(), true, &[a, b, p, q]);
            let holds = range.check(c).is_ok() == (c >= range.noisy() && c <= range.clean());
            self.holds(
                "LambdaRange::check",
                holds,
                &[c, range.noisy(), range.clean()],
            );
        }
        for range in [
            self.made("SigmaRange::rhos", SigmaRange::rhos(p, q)),
            self.made("SigmaRange::flow", SigmaRange::flow(p, q)),
        ]
        .into_iter()
        .flatten()
        {
            let range = range.lambdas();
            self.number("LambdaRange", range.noisy(), true, &[p, q]);
            self.number("LambdaRange", range.clean(), true, &[p, q]);
        }
        for clip in [
            self.made("Clip::new", Clip::new(a, b)),
            self.made("Clip::dynamic", Clip::dynamic(p, q)),
        ]
        .into_iter()
        .flatten()
        {
            if let Some((low, high)) = clip.range() {
                self.number("Clip::range", low, false, &[a, b]);
                self.number("Clip::range", high, false, &[a, b]);
                self.holds("an empty range of a clip", low < high, &[low, high]);
            }
        }
        let value = self.random.between(-1.1, 1.1);
        let nats = discretised_gaussian_nats(value, a, p, m);
        if let Some(nats) = self.result(
            "discretised_gaussian_nats",
            nats,
            false,
            &[value, a, p, m as f64],
        ) {
            self.holds("a mass above 1", nats >= -1e-9, &[value, a, p, m as f64]);
        }
        let variances = vec![self.positive(), self.positive(), 0.0];
        let shares = vec![self.share(), self.share(), self.share()];
        if let Some(spectrum) = self.made("Spectrum::new", Spectrum::new(variances, shares)) {
            self.number(
                "Spectrum::mean",
                spectrum.mean(),
                false,
                spectrum.variances(),
            );
            let made = spectrum.tilted(a);
            self.made("Spectrum::tilted", made);
            let made = spectrum.clone().with_mean(p);
            self.made("Spectrum::with_mean", made);
            if let Some(level) = self.level()
                && [level.alpha(), level.sigma()]
                    .iter()
                    .all(|&x| x == 0.0 || (1e-30..=1e30).contains(&x))
            {
                let error = spectrum.data_error(&level);
                let arguments = [level.alpha(), level.sigma()];
                self.number("Spectrum::data_error", error, false, &arguments);
                self.holds("a negative M_t", error >= 0.0, &arguments);
            }
        }
        self.made(
            "Churn::new",
            Churn::new(p).and_then(|c| c.between(q, a)?.with_noise(b)),
        );
        self.made("Tcd::new", Tcd::new(a));
        self.made(
            "Lcm::with_timestep_scaling",
            Lcm::new().with_timestep_scaling(p),
        );
        self.made("SaSolver::new", SaSolver::new(2, 2, a));
        self.made(
            "GradientEstimation::with_gamma",
            GradientEstimation::new().with_gamma(a),
        );
        self.made(
            "HeavyBall::with_beta",
            HeavyBall::order(2).and_then(|h| h.with_beta(a)),
        );
        self.made("Gaussian::diagonal", Gaussian::diagonal(&[a], &[p]));
    }

    fn guidance(&mut self) {
        let Some(level) = self.level() else { return };
        let (a, b, c) = (self.any(), self.share(), self.positive());
        let scale = match self.random.below(3) {
            0 => a,
            _ => self.random.between(-20.0, 20.0),
        };
        let (low, high) = (b.min(c), b.max(c));
        let weight = match self.random.below(4) {
            0 => self.made("GuidanceWeight::constant", GuidanceWeight::constant(scale)),
            1 => self.made(
                "GuidanceWeight::from_scale",
                GuidanceWeight::from_scale(scale),
            ),
            2 => {
                let made = GuidanceWeight::interval(scale, low, high);
                self.made("GuidanceWeight::interval", made)
            }
            _ => Some(GuidanceWeight::by_level(move |level| scale * level.rho())),
        };
        let Some(weight) = weight else { return };
        let at = [level.alpha(), level.sigma(), scale];
        self.result("GuidanceWeight::at", weight.at(&level), false, &at);
        let form: Option<Box<dyn Guidance>> = match self.random.below(10) {
            0 => Some(Box::new(ClassifierFree::new(weight))),
            1 => self
                .made(
                    "Rescaled::new",
                    Rescaled::new(ClassifierFree::new(weight), b),
                )
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            2 => {
                let made = Projected::with_scale(scale).and_then(|form| {
                    let form = form.with_eta(b)?;
                    if c > 1.0 {
                        form.with_radius(c)
                    } else {
                        Ok(form)
                    }
                });
                self.made("Projected", made)
                    .map(|form| Box::new(form) as Box<dyn Guidance>)
            }
            3 => self
                .made("Tangential::with_scale", Tangential::with_scale(scale))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            4 => self
                .made("ZeroStar::with_scale", ZeroStar::with_scale(scale))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            5 => self
                .made(
                    "PerpendicularNegative::new",
                    PerpendicularNegative::new(scale, a),
                )
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            6 => self
                .made("PlusPlus::new", PlusPlus::new(scale))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            7 => self
                .made(
                    "OnInterval::new",
                    OnInterval::new(ClassifierFree::new(weight), low, high),
                )
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            8 if self.random.one_in(2) => self
                .made("WeightedSum::new", WeightedSum::new(&[scale, a]))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            8 => self
                .made("Composed::new", Composed::new(&[scale, a]))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
            _ => self
                .made("Perturbed::new", Perturbed::new(scale, weight))
                .map(|form| Box::new(form) as Box<dyn Guidance>),
        };
        let Some(form) = form else { return };
        let kind = self.prediction();
        let evaluation = Evaluation::new(level, kind);
        let Some(wanted) = self.made("Guidance::wanted", form.wanted(&evaluation)) else {
            return;
        };
        // Products of vectors, as a run makes them: of any size that their squares allow.
        let arrays = wanted + 1 + usize::from(form.memory(&evaluation).is_some());
        let size = match self.random.below(3) {
            0 => self.random.decade(-150.0, 150.0),
            _ => 1.0,
        };
        let alike = self.random.one_in(4);
        let vectors: Vec<[f64; 3]> = (0..arrays)
            .map(|k| {
                if alike && k > 0 {
                    [size; 3]
                } else {
                    [0; 3].map(|_| size * self.random.between(-1.0, 1.0))
                }
            })
            .collect();
        let sums: Vec<f64> = vectors.iter().map(|v| v.iter().sum()).collect();
        let inner: Vec<Vec<f64>> = vectors
            .iter()
            .map(|v| {
                let dot = |w: &[f64; 3]| v.iter().zip(w).map(|(a, b)| a * b).sum();
                vectors.iter().map(dot).collect()
            })
            .collect();
        let rows: Vec<&[f64]> = inner.iter().map(Vec::as_slice).collect();
        let Some(products) = self.made("Products::new", Products::new(3, wanted, &sums, &rows))
        else {
            return;
        };
        let combined = form.combine(&evaluation, Some(&products));
        if let Some(combined) = self.made("Guidance::combine", combined) {
            let noise = combined.noise().unwrap_or(&[]);
            let all = combined
                .models()
                .iter()
                .chain(noise)
                .chain(combined.gradients());
            for &value in all.chain(std::iter::once(&combined.memory())) {
                self.number("Guidance::combine", value, false, &at);
            }
        }
    }

    fn noises(&mut self) {
        let word = self.random.word();
        let key = NoiseKey::new(
            self.random.word() >> 20,
            self.random.word() as u32,
            Stream::Step(0),
        );
        let first = self.random.word() >> 8;
        let mut double = [0.0f64; 16];
        KeyedNoise::new(word).fill(key, first, &mut double);
        let mut single = [0.0f32; 16];
        KeyedNoise::new(word).fill(key, first, &mut single);
        for (k, value) in double.into_iter().chain(single.map(f64::from)).enumerate() {
            self.number("KeyedNoise", value, false, &[word as f64, k as f64]);
            // √(2 ln 2⁵³) is 8.6.
            self.holds(
                "a normal beyond what 53 bits can make",
                value.abs() < 8.7,
                &[value],
            );
        }
        let (from, to, tau) = (self.any(), self.any(), self.share());
        let path = self.made(
            "BrownianPath::with_tau",
            BrownianPath::new(word).with_tau(tau),
        );
        if let Some(mut path) = path
            && from < to
        {
            let key = key.with_interval(Span::new(from, to));
            let demand_ok = NoiseSource::<f64>::check(
                &path,
                &diffusion_sampler::noise::Demand::batch(1, 4, 0..1, Stream::Step(0))
                    .with_intervals(&[Span::new(from, to)]),
            );
            if self.made("BrownianPath::check", demand_ok).is_some() {
                let mut out = [0.0f64; 4];
                path.fill(key, 0, &mut out);
                for value in out {
                    self.number("BrownianPath", value, false, &[from, to, tau]);
                }
            }
        }
    }

    /// Spacings with extreme options.
    fn spacings(&mut self) {
        let Some(schedule) = self.schedule() else {
            return;
        };
        let schedule = &*schedule;
        let steps = 1 + self.random.below(6);
        let (a, b, c) = (self.positive(), self.share(), self.any());
        let sigmas = SigmaRange::of(schedule);
        let range = match self.made("SigmaRange::of", sigmas) {
            Some(range) if self.random.one_in(2) => range,
            _ => {
                let (p, q) = (self.positive(), self.positive());
                let made = SigmaRange::rhos(p.max(q), p.min(q));
                match self.made("SigmaRange::rhos", made) {
                    Some(range) => range,
                    None => return,
                }
            }
        };
        let lambdas = range.lambdas();
        let (name, grid) = match self.random.below(16) {
            0 => ("Grid::karras", Grid::karras(schedule, steps, range, a)),
            1 => (
                "Grid::exponential",
                Grid::exponential(schedule, steps, range, a),
            ),
            2 => (
                "Grid::uniform_lambda",
                Grid::uniform_lambda(schedule, steps, lambdas),
            ),
            3 => ("Grid::sway", Grid::sway(schedule, steps, c)),
            4 => ("Grid::sway_in_time", Grid::sway_in_time(schedule, steps, c)),
            5 => ("Grid::arctan", Grid::arctan(schedule, steps, a)),
            6 => ("Grid::laplace", Grid::laplace(schedule, steps, range, c, a)),
            7 => (
                "Grid::beta_sigmas",
                Grid::beta_sigmas(schedule, steps, range, (a, b)),
            ),
            8 => (
                "Grid::linear_quadratic",
                Grid::linear_quadratic(schedule, steps, range, b),
            ),
            9 => ("Grid::edm_vp", Grid::edm_vp(schedule, steps, range, b)),
            10 => ("Grid::kl_optimal", Grid::kl_optimal(schedule, steps, range)),
            11 => (
                "Grid::bong_tangent",
                Grid::bong_tangent(schedule, steps, range),
            ),
            12 => ("Grid::iddpm", Grid::iddpm(schedule, steps, range)),
            13 => (
                "Grid::from_rhos",
                Grid::from_rhos(schedule, &[a.max(b), a.min(b), 0.0]),
            ),
            14 => (
                "Grid::from_lambdas",
                Grid::from_lambdas(schedule, &[c, self.any()]),
            ),
            _ => {
                let entry = *self.random.pick(spacings());
                ("Spacing::grid", entry.spacing.grid(schedule, steps))
            }
        };
        let Some(grid) = self.made(name, grid) else {
            return;
        };
        let wanted = match name {
            "Grid::from_rhos" => 2,
            "Grid::from_lambdas" => 1,
            _ => steps,
        };
        self.holds(
            "a grid of another number of steps",
            grid.steps() == wanted,
            &[wanted as f64],
        );
        for level in grid.levels() {
            self.check_level_of(level, SCHEDULE_LOGS, &[a, b, c]);
        }
        let falls = grid.edges().all(|(from, to)| from.lambda() < to.lambda());
        self.holds("a grid whose noise does not fall", falls, &[a, b, c]);
    }

    fn flow_sigmas(&mut self) {
        let steps = 1 + self.random.below(8);
        let table = self.random.below(1001);
        let (a, b, c) = (self.positive(), self.share(), self.share());
        let list = match self.random.below(8) {
            0 => FlowSigmas::linspace(b, c, steps),
            1 => FlowSigmas::uniform(steps),
            2 => FlowSigmas::euler(steps, table),
            3 => FlowSigmas::euler_shifted_twice(steps, table, a),
            4 => FlowSigmas::down_to(b, steps, table),
            5 => FlowSigmas::uni_pc(steps, table),
            6 => FlowSigmas::dpm_solver(steps, table),
            _ => FlowSigmas::new(vec![b, c]),
        };
        let Some(list) = self.made("FlowSigmas", list) else {
            return;
        };
        let list = match self.random.below(7) {
            0 => list.shifted(a),
            1 => {
                let mu = self.any();
                list.shifted_by_mu(mu)
            }
            2 => list.shifted_linearly(a),
            3 => list.stretched_to(c),
            4 => list.starting_below(b),
            5 => Ok(list.in_f32()),
            _ => Ok(list),
        };
        let Some(list) = self.made("FlowSigmas", list) else {
            return;
        };
        for &value in list.values() {
            self.number("FlowSigmas::values", value, false, &[a, b, c]);
            self.holds(
                "a flow's σ beyond 0 to 1",
                (0.0..=1.0).contains(&value),
                &[value, a, b, c],
            );
        }
    }

    /// The weights of rules: moments of the Lagrange basis, φ functions and their recurrence, as a
    /// plan shows them.
    fn weights(&mut self) {
        let mut lambda = self.random.between(-3.0, 0.0);
        let mut lambdas = vec![lambda];
        let scale = self.random.decade(-6.0, 0.5);
        for _ in 0..4 {
            lambda += scale * self.random.between(0.3, 1.0);
            lambdas.push(lambda);
        }
        let levels: Result<Vec<NoiseLevel>, Error> = lambdas
            .iter()
            .enumerate()
            .map(|(k, &lambda)| grids::preserving((5 - k) as f64, lambda))
            .collect();
        let Ok(grid) = levels.and_then(|levels| Grid::from_levels(levels, 1.0)) else {
            return;
        };
        let order = 2 + self.random.below(3);
        let plan = ExponentialAdams::data(order)
            .and_then(|solver| solver.plan(&Path::without_schedule(&grid)));
        let Some(plan) = self.made("ExponentialAdams::plan", plan) else {
            return;
        };
        let step = &plan.steps()[3];
        let update = &step.stages[0].update;
        let h = step.to.lambda() - step.from.lambda();
        // D's slots are filled in turn: the estimate of step k is in slot k mod (order − 1).
        let place = |slot: usize| -> Option<f64> {
            let held = (0..3).rev().find(|k| k % (order - 1) == slot)?;
            let from: &NoiseLevel = &plan.steps()[held].from;
            Some((from.lambda() - step.from.lambda()) / h)
        };
        let weights: Vec<(f64, f64)> = update
            .history
            .iter()
            .filter_map(|&(slot, w)| Some((place(slot)?, w / step.to.alpha())))
            .collect();
        let first = update.data / step.to.alpha();
        let arguments = [h, scale, order as f64];
        let mut size: f64 = first.abs();
        weights.iter().for_each(|(_, w)| size += w.abs());
        for k in 0..order {
            // k! z φ_{k+1}(−z), by the recurrence upwards in z where it loses nothing, else a series.
            let exact = moment(k, h);
            let power = |u: f64| (0..k).map(|_| u).product::<f64>();
            let found: f64 = weights.iter().map(|&(u, w)| w * power(u)).sum::<f64>()
                + if k == 0 { first } else { 0.0 };
            let terms: f64 = weights
                .iter()
                .map(|&(u, w)| (w * power(u)).abs())
                .sum::<f64>()
                + size;
            // λ's of neighbours are differences of logarithms: off by units of λ.
            let off = found - exact;
            let units = 64.0 + 16.0 / h;
            self.close(
                "moments of the exponential rule",
                off,
                units * U * terms,
                &arguments,
            );
        }
        *self.tally.calls.entry("moments of rules").or_default() += order as u64;
        let q = self.share();
        for solver in [DpmSolverPlusPlus::multistep(2).and_then(|s| s.with_tau(q))] {
            let plan = solver.and_then(|s| s.plan(&Path::without_schedule(&grid)));
            if let Some(plan) = self.made("DpmSolverPlusPlus::plan", plan) {
                for defect in plan.mean_defect().into_iter().flatten() {
                    self.number("Plan::mean_defect", defect, false, &arguments);
                    self.close("the mean of a plan", defect, 1e-13, &arguments);
                }
            }
        }
        let tau = self.positive();
        let plan = DpmSolver::multistep(2)
            .and_then(|s| s.with_tau(tau))
            .and_then(|s| s.plan(&Path::without_schedule(&grid)));
        self.made("DpmSolver::plan", plan);
        let noise = match self.random.below(4) {
            0 => ErNoise::Power(tau),
            1 => ErNoise::Reciprocal,
            2 => ErNoise::Logarithmic,
            _ => ErNoise::Exponential,
        };
        let plan = ErSde::order(3)
            .and_then(|s| s.with_noise(noise))
            .and_then(|s| s.plan(&Path::without_schedule(&grid)));
        self.made("ErSde::plan", plan);
        let plan = DpmPlusPlusSde::new()
            .with_eta(q)
            .and_then(|s| s.with_node(0.5))
            .and_then(|s| s.plan(&Path::without_schedule(&grid)));
        self.made("DpmPlusPlusSde::plan", plan);
    }

    fn run(&mut self) {
        for _ in 0..64 {
            self.predictions();
            self.posteriors();
            self.guidance();
            self.small();
            self.noises();
        }
        for _ in 0..32 {
            self.schedules();
            self.flow_sigmas();
        }
        for _ in 0..8 {
            self.spacings();
            self.weights();
        }
    }
}

/// ∫₀¹ z e^(−z(1−u)) u^k du = z k! φ_{k+1}(−z).
fn moment(k: usize, z: f64) -> f64 {
    if z > 1.0 {
        // m_k = 1 − (k/z) m_{k−1}.
        return (1..=k).fold(-libm_expm1(-z), |m, j| 1.0 - j as f64 / z * m);
    }
    // Σ_i (−z)^i k! z/(k + 1 + i)!.
    let mut term = z / (k as f64 + 1.0);
    let mut sum = 0.0;
    for i in 0..40 {
        sum += term;
        term *= -z / (k as f64 + 2.0 + f64::from(i));
    }
    sum
}

fn libm_expm1(x: f64) -> f64 {
    x.exp_m1()
}

/// Every solver that documents no restriction plans on every valid grid.
fn plans(number: u64, seed: u64, list: &[Listed], tally: &mut Tally) {
    let mut random = Random::new(seed ^ number.wrapping_mul(0xA076_1D64_78BD_642F));
    let Some(drawn) = (0..64).find_map(|_| grids::any(&mut random)) else {
        tally.finding(number, "no grid in 64 draws".to_owned(), &[]);
        return;
    };
    let path = match &drawn.schedule {
        Some(schedule) => Path::new(schedule, &drawn.grid),
        None => Ok(Path::without_schedule(&drawn.grid)),
    };
    let path = match path {
        Ok(path) => path,
        Err(error) => {
            tally.finding(
                number,
                format!("a path is refused: {error} on {drawn:?}"),
                &[],
            );
            return;
        }
    };
    *tally.calls.entry("valid grids").or_default() += 1;
    for offset in 0..PLANNED {
        let listed = &list[(number as usize * PLANNED + offset) % list.len()];
        *tally.calls.entry("plans on valid grids").or_default() += 1;
        match listed.solver.plan(&path) {
            Ok(plan) => {
                let finite = |stage: &diffusion_sampler::plan::Stage| {
                    let update = &stage.update;
                    let history = update.history.iter().map(|term| term.1);
                    let all = [update.state, update.data, update.noise];
                    all.into_iter().chain(history).all(f64::is_finite)
                };
                if !plan.stages().all(finite) {
                    tally.finding(
                        number,
                        format!("{}: a scalar is not finite", listed.name),
                        &[],
                    );
                }
            }
            Err(error) if listed.may_refuse(&error) => {
                *tally
                    .calls
                    .entry("documented refusals of grids")
                    .or_default() += 1;
            }
            Err(error) => {
                let kind = format!("{error:?}");
                let kind = kind.split([' ', '{']).next().unwrap_or_default();
                let what = format!("{}: refuses a valid grid, {kind}", listed.name);
                tally.finding(number, what, &[]);
            }
        }
    }
}

/// How many solvers plan on each grid.
const PLANNED: usize = 24;

#[derive(Clone, Debug)]
struct Settings {
    calls: u64,
    grids: u64,
    seed: u64,
    threads: usize,
    batch: Option<u64>,
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        calls: 30_000_000,
        grids: 10_000,
        seed: 1,
        threads: 2,
        batch: None,
    };
    reliability::arguments(|name, number| {
        match name {
            "--calls" => settings.calls = number,
            "--grids" => settings.grids = number,
            "--seed" => settings.seed = number,
            "--threads" => settings.threads = (number as usize).clamp(1, 64),
            "--batch" => settings.batch = Some(number),
            _ => return false,
        }
        true
    })?;
    Ok(settings)
}

/// One batch, a panic caught.
fn batch(number: u64, seed: u64) -> Tally {
    let probe = || {
        let mut probe = Probe::new(seed, number);
        probe.run();
        probe.tally
    };
    catch_unwind(AssertUnwindSafe(probe)).unwrap_or_else(|_| {
        let mut tally = Tally::default();
        tally.finding(number, "a panic".to_owned(), &[]);
        tally
    })
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (list, unknown) = match solvers::all() {
        Ok(all) => all,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let mut total = Tally::default();
    for name in unknown {
        total.finding(
            0,
            format!("the catalogue's {name} is unknown to this check"),
            &[],
        );
    }
    for (entry, source, sentence) in INFINITE {
        if !words(source).contains(sentence) {
            let what = format!("{entry}: its documentation does not say \"{sentence}\"");
            total.finding(0, what, &[]);
        }
    }
    if let Some(number) = settings.batch {
        total.join(batch(number, settings.seed));
    } else {
        let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let next_grid = AtomicU64::new(0);
        let work = || {
            let mut tally = Tally::default();
            while done.load(Ordering::Relaxed) < settings.calls {
                let found = batch(next.fetch_add(1, Ordering::Relaxed), settings.seed);
                done.fetch_add(found.calls.values().sum(), Ordering::Relaxed);
                tally.join(found);
            }
            loop {
                let number = next_grid.fetch_add(1, Ordering::Relaxed);
                if number >= settings.grids {
                    return tally;
                }
                plans(number, settings.seed, &list, &mut tally);
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..settings.threads).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(tally) => total.join(tally),
                    Err(_) => total.finding(0, "a panic".to_owned(), &[]),
                }
            }
        });
    }
    for (what, (count, example)) in &total.findings {
        println!("{what}: {count} times; {example}");
    }
    for (entry, count) in &total.calls {
        let infinite = total.infinite.get(entry).copied().unwrap_or_default();
        println!("{count:>12} {entry}, {infinite} of them infinite");
    }
    println!(
        "{} calls, {} refusals, {} findings, {:.1} s, seed {}",
        total.calls.values().sum::<u64>(),
        total.refusals,
        total.findings.len(),
        begun.elapsed().as_secs_f64(),
        settings.seed
    );
    if total.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
