//! The layout that the documentation of the module `stored` states, written by hand.

use std::fmt::Debug;

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    clip::ClipNoise,
    grid::{Spacing, spacings},
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, GuidanceWeight, Memory,
        OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential,
        Unguided, WeightedSum, ZeroStar,
    },
    noise::{BrownianPath, Interval, NoiseKey, PerSample, SampleNoise, Stream},
    plan::{Kept, Plan, Stage, Step, Store, Update},
    posterior::{Kappa, ReverseVariance},
    run::Snapshot,
    schedule::{
        Edm, LambdaRange, ModelTime, RectifiedFlow, Sublevels, TableSchedule, UnitVariance,
        VarianceExploding, VariancePreserving,
    },
    solver::{
        Belm, BelmInversion, DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun, Lcm, RePaint,
        Restart, SecondOrderForm, Tcd,
    },
};
use ndarray::{Array2, array};
use serde::{Serialize, de::DeserializeOwned};

use crate::formats::{json, of_json, shown};

/// The value is stored as this text, blanks apart, and the text is read as the value.
pub(crate) fn is_stored_as<T: Serialize + DeserializeOwned + Debug>(value: T, text: &str) {
    let text: String = text.split_whitespace().collect();
    assert_eq!(json(&value), text);
    assert_eq!(shown(&of_json::<T>(&text).unwrap()), shown(&value));
}

/// Time 1, α = σ = 1: the logarithms are 0.
fn level() -> NoiseLevel {
    NoiseLevel::new(1.0, 1.0, 1.0).unwrap()
}

const LEVEL: &str =
    r#"{"time":1.0,"model_time":1.0,"alpha":1.0,"sigma":1.0,"log_alpha":0.0,"log_sigma":0.0}"#;
const CLEAN: &str =
    r#"{"time":0.0,"model_time":0.0,"alpha":1.0,"sigma":0.0,"log_alpha":0.0,"log_sigma":"-inf"}"#;

#[test]
fn levels_schedules_and_grids() {
    is_stored_as(level(), LEVEL);
    is_stored_as(NoiseLevel::clean(), CLEAN);
    let grid = Grid::from_levels(vec![level(), NoiseLevel::clean()], 2.5).unwrap();
    let text = format!(r#"{{"levels": [{LEVEL}, {CLEAN}], "start_variances": [2.5, 2.5]}}"#);
    is_stored_as(grid, &text);
    // ᾱ = 0 at the only knot.
    let table = TableSchedule::from_alphas_cumprod(&[0.0]).unwrap();
    is_stored_as(table, r#"{"log_alpha_squared": ["-inf"]}"#);
    is_stored_as(
        VariancePreserving::default(),
        r#"{"beta_min": 0.1, "beta_max": 20.0}"#,
    );
    // −ln 1 is −0.
    let text = format!(
        r#"{{"lambda_noisy": -0.0, "lambda_clean": {:?}}}"#,
        -libm::log(0.5)
    );
    is_stored_as(VarianceExploding::new(0.5, 1.0).unwrap(), &text);
    is_stored_as(Edm::default(), r#"{"sigma_min": 0.002, "sigma_max": 80.0}"#);
    let sigma = r#"{"reversed": false, "factor": 1.0, "truncated": false}"#;
    let text = format!(r#"{{"shift": 3.0, "model_time": {sigma}}}"#);
    is_stored_as(RectifiedFlow::shifted(3.0).unwrap(), &text);
    let mochi = ModelTime::one_minus_sigma().times(1000.0).unwrap();
    is_stored_as(
        mochi.truncated(),
        r#"{"reversed": true, "factor": 1000.0, "truncated": true}"#,
    );
    is_stored_as(
        UnitVariance::of(Edm::default()).with_edm_noise(),
        r#"{"inner": {"sigma_min": 0.002, "sigma_max": 80.0}, "edm_noise": true}"#,
    );
    let range = LambdaRange::up_to_clean(-2.0).unwrap();
    is_stored_as(range, r#"{"noisy": -2.0, "clean": "inf"}"#);
    let levels = Sublevels::of(RectifiedFlow::new(), 1000).unwrap();
    let text = format!(r#"{{"inner": {{"shift": 1.0, "model_time": {sigma}}}, "count": 1000}}"#);
    is_stored_as(levels, &text);
    for entry in spacings() {
        is_stored_as(entry.spacing, &format!("{:?}", entry.name));
    }
    let other = of_json::<Spacing>(r#""SGM Uniform""#);
    assert_eq!(other, Ok(Spacing::SgmUniform));
}

#[test]
fn policies_and_solvers() {
    is_stored_as(Kappa::Ddim, r#""ddim""#);
    is_stored_as(Kappa::Ddpm, r#""ddpm""#);
    is_stored_as(Kappa::Fresh, r#""fresh""#);
    is_stored_as(Kappa::Eta(0.5), r#"{"eta": 0.5}"#);
    is_stored_as(Kappa::Tau(0.5), r#"{"tau": 0.5}"#);
    is_stored_as(Kappa::Gamma(0.5), r#"{"gamma": 0.5}"#);
    is_stored_as(Kappa::CappedEta(0.5), r#"{"capped_eta": 0.5}"#);
    is_stored_as(Kappa::FlowEta(0.5), r#"{"flow_eta": 0.5}"#);
    is_stored_as(Kappa::Ancestral(0.5), r#"{"ancestral": 0.5}"#);
    is_stored_as(ReverseVariance::Posterior, r#""posterior""#);
    is_stored_as(ReverseVariance::FixedLarge, r#""fixed_large""#);
    is_stored_as(ReverseVariance::Explicit(0.5), r#"{"explicit": 0.5}"#);
    is_stored_as(
        FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge),
        r#"{"kappa": {"same": "ddpm"}, "reverse_variance": "fixed_large"}"#,
    );
    is_stored_as(
        FirstOrder::per_edge(vec![Kappa::Ddim, Kappa::Eta(1.0)]),
        r#"{"kappa": {"per_edge": ["ddim", {"eta": 1.0}]}, "reverse_variance": "posterior"}"#,
    );
    is_stored_as(
        DpmSolverPlusPlus::sde().with_form(SecondOrderForm::Exact),
        r#"{"order": 2, "tau": 1.0, "form": "exact", "published": false, "warmed_up": false,
            "bounds": {"guarded": false, "unbounded": false, "lower_order_final": false}}"#,
    );
    is_stored_as(SecondOrderForm::Midpoint, r#""midpoint""#);
    is_stored_as(Heun::new(), r#""heun""#);
    is_stored_as(DdimInversion::new(), r#""ddim_inversion""#);
    is_stored_as(Lcm::new(), r#"{"timestep_scaling": 10.0}"#);
    let plain = Lcm::new().without_boundary();
    is_stored_as(plain, r#""without_boundary""#);
    is_stored_as(Tcd::new(0.25).unwrap(), r#"{"gamma": 0.25}"#);
    is_stored_as(Belm::new(), r#"{"belm": {"pair": false}}"#);
    let pair = BelmInversion::new().from_pair();
    is_stored_as(pair, r#"{"belm_inversion": {"pair": true}}"#);
    is_stored_as(
        Restart::of_steps(Heun::new(), 40),
        r#"{"inner": "heun", "intervals": [
            {"rho_min": 0.1, "rho_max": 2.0, "repeats": 2, "steps": 10}
        ], "least_steps": 0}"#,
    );
    is_stored_as(
        RePaint::new(Heun::new(), 10, 5).unwrap(),
        r#"{"inner": "heun", "jump_length": 10, "resamplings": 5}"#,
    );
}

#[test]
fn predictions_clips_and_noise() {
    for (prediction, text) in [
        (Prediction::Noise, r#""noise""#),
        (Prediction::Data, r#""data""#),
        (Prediction::Velocity, r#""velocity""#),
        (Prediction::Score, r#""score""#),
        (Prediction::Flow, r#""flow""#),
        (
            Prediction::Edm { data_std: 0.5 },
            r#"{"edm": {"data_std": 0.5}}"#,
        ),
        (
            Prediction::EdmVelocity { data_std: 1.0 },
            r#"{"edm_velocity": {"data_std": 1.0}}"#,
        ),
        (
            Prediction::Linear {
                data: 1.0,
                noise: -1.0,
            },
            r#"{"linear": {"data": 1.0, "noise": -1.0}}"#,
        ),
    ] {
        is_stored_as(prediction, text);
    }
    is_stored_as(
        Clip::new(-1.0, 1.0).unwrap(),
        r#"{"range": {"static": {"low": -1.0, "high": 1.0}}, "noise": "recompute"}"#,
    );
    is_stored_as(
        Clip::dynamic(0.995, 10.0).unwrap().keeping_noise(),
        r#"{"range": {"dynamic": {"ratio": 0.995, "max": 10.0}}, "noise": "keep"}"#,
    );
    is_stored_as(ClipNoise::Keep, r#""keep""#);
    is_stored_as(
        BrownianPath::new(7).with_tau(0.5).unwrap(),
        r#"{"normals": {"seed": 7, "first_sample": 0},
            "interval": {"from": -16.0, "to": 16.0}, "tau_squared": 0.25}"#,
    );
    is_stored_as(
        NoiseKey::new(3, 4, Stream::Step(5)).with_interval(Interval::new(-1.0, f64::INFINITY)),
        r#"{"row": 3, "step": 4, "stream": {"step": 5}, "interval": {"from": -1.0, "to": "inf"},
            "path": 5}"#,
    );
    is_stored_as(
        NoiseKey::new(3, 0, Stream::Start),
        r#"{"row": 3, "step": 0, "stream": "start", "interval": null, "path": 0}"#,
    );
    is_stored_as(Stream::Forward, r#""forward""#);
    is_stored_as(Stream::User(9), r#"{"user": 9}"#);
}

#[test]
fn guidance() {
    let constant = || GuidanceWeight::constant(6.5).unwrap();
    let interval = GuidanceWeight::interval(2.0, 0.5, f64::INFINITY).unwrap();
    is_stored_as(constant(), r#"{"constant": 6.5}"#);
    is_stored_as(
        interval.clone(),
        r#"{"interval": {"weight": 2.0, "rho_low": 0.5, "rho_high": "inf"}}"#,
    );
    is_stored_as(Unguided, r#""unguided""#);
    let free = ClassifierFree::with_scale(7.5).unwrap();
    is_stored_as(free.clone(), r#"{"weight": {"constant": 6.5}}"#);
    is_stored_as(
        ClassifierGuidance::new(constant()),
        r#"{"inner": "unguided", "weight": {"constant": 6.5}}"#,
    );
    is_stored_as(
        OnInterval::new(Rescaled::new(free, 0.75).unwrap(), 0.25, 5.0).unwrap(),
        r#"{"inner": {"inner": {"weight": {"constant": 6.5}}, "phi": 0.75},
            "rho_low": 0.25, "rho_high": 5.0}"#,
    );
    is_stored_as(
        Projected::new(1.5).unwrap().with_momentum(-0.5).unwrap(),
        r#"{"weight": 1.5, "eta": 0.0, "radius": "inf", "momentum": -0.5}"#,
    );
    is_stored_as(
        ZeroStar::with_scale(4.0).unwrap().zero_steps(2),
        r#"{"scale": 4.0, "zero_steps": 2, "space": "flow"}"#,
    );
    is_stored_as(PlusPlus::new(0.5).unwrap(), r#"{"lambda": 0.5}"#);
    is_stored_as(Tangential::with_scale(7.5).unwrap(), r#"{"scale": 7.5}"#);
    is_stored_as(
        PerpendicularNegative::new(7.5, 1.0).unwrap(),
        r#"{"scale": 7.5, "negative": 1.0}"#,
    );
    is_stored_as(
        Composed::new(&[5.0, 2.5]).unwrap(),
        r#"{"scales": [5.0, 2.5]}"#,
    );
    is_stored_as(
        Perturbed::new(4.0, constant()).unwrap(),
        r#"{"scale": 4.0, "weight": {"constant": 6.5}}"#,
    );
    is_stored_as(
        WeightedSum::new(&[1.5, -0.5]).unwrap(),
        r#"{"weights": [1.5, -0.5]}"#,
    );
    is_stored_as(
        Combination::weighted(&[1.5, -0.5])
            .and_then(|c| {
                c.with_noise(&[0.0, 1.0])?
                    .with_memory(0.5)?
                    .with_gradient(2.0)
            })
            .unwrap()
            .in_space(Prediction::Data),
        r#"{"models": [1.5, -0.5], "noise": [0.0, 1.0], "gradients": [2.0], "memory": 0.5,
            "space": "data"}"#,
    );
    is_stored_as(Memory { decay: -0.5 }, r#"{"decay": -0.5}"#);
}

/// FNV-1a as published, over words.
fn fnv(words: &[u64]) -> u64 {
    words
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .fold(0xcbf29ce484222325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3)
        })
}

/// time, model time, α, σ, ln α, ln σ.
const LEVEL_NUMBERS: [f64; 6] = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
const CLEAN_NUMBERS: [f64; 6] = [0.0, 0.0, 1.0, 0.0, 0.0, f64::NEG_INFINITY];

fn plan() -> Plan {
    let update = Update {
        state: 0.5,
        data: 0.25,
        history: vec![(0, -1.5)],
        noise: 0.0,
        store: Some(Store::linear(1, 1.0, 2.0)),
    };
    let stages = vec![
        Stage::evaluating(level(), update.clone().storing(Store::data(0))),
        Stage::without_model(Update {
            data: 0.0,
            store: None,
            ..update
        }),
    ];
    let step = Step {
        from: level(),
        to: NoiseLevel::clean(),
        stages,
    };
    Plan::with_given(vec![step], 2, 1).unwrap()
}

fn plan_checksum() -> u64 {
    let numbers = [LEVEL_NUMBERS, CLEAN_NUMBERS, LEVEL_NUMBERS];
    let bits = numbers.iter().flatten().map(|number| number.to_bits());
    let words: Vec<u64> = std::iter::once(plan().fingerprint()).chain(bits).collect();
    fnv(&words)
}

fn plan_text() -> String {
    let checksum = plan_checksum();
    format!(
        r#"{{"version": 1, "slots": 2, "given": 1, "steps": [
            {{"from": {LEVEL}, "to": {CLEAN}, "stages": [
                {{"evaluate": {LEVEL}, "update": {{"state": 0.5, "data": 0.25,
                  "history": [{{"slot": 0, "weight": -1.5}}], "noise": 0.0,
                  "store": {{"slot": 0, "kept": "data"}}}}}},
                {{"evaluate": null, "update": {{"state": 0.5, "data": 0.0,
                  "history": [{{"slot": 0, "weight": -1.5}}], "noise": 0.0, "store": null}}}}
            ]}}
        ], "checksum": {checksum}}}"#
    )
}

#[test]
fn plans_and_samplers() {
    is_stored_as(plan(), &plan_text());
    is_stored_as(Kept::State, r#""state""#);
    is_stored_as(Store::noise(3), r#"{"slot": 3, "kept": "noise"}"#);
    is_stored_as(
        Store::linear(1, 1.0, 2.0),
        r#"{"slot": 1, "kept": {"linear": {"state": 1.0, "data": 2.0}}}"#,
    );
    let sampler = || Sampler::from_plan(plan(), 1.5).unwrap();
    is_stored_as(sampler(), &sampler_text("null", &[0]));
    is_stored_as(
        sampler().with_clip(Clip::new(-1.0, 1.0).unwrap()),
        &sampler_text(
            r#"{"range": {"static": {"low": -1.0, "high": 1.0}}, "noise": "recompute"}"#,
            &[1, (-1f64).to_bits(), 1f64.to_bits(), 0],
        ),
    );
    is_stored_as(
        sampler().with_clip(Clip::dynamic(0.995, 10.0).unwrap().keeping_noise()),
        &sampler_text(
            r#"{"range": {"dynamic": {"ratio": 0.995, "max": 10.0}}, "noise": "keep"}"#,
            &[2, 0.995f64.to_bits(), 10f64.to_bits(), 1],
        ),
    );
}

/// A sampler with this clip, whose words are these.
fn sampler_text(clip: &str, words: &[u64]) -> String {
    let own = [plan().fingerprint(), plan_checksum(), 1.5f64.to_bits()];
    let checksum = fnv(&[&own, words].concat());
    let plan = plan_text();
    format!(
        r#"{{"version": 1, "plan": {plan}, "start_variance": 1.5, "clip": {clip},
            "checksum": {checksum}}}"#
    )
}

#[test]
fn snapshots() {
    let array = |numbers: [f64; 2]| -> Array2<f64> { array![[numbers[0], numbers[1]]] };
    let snapshot = Snapshot {
        plan: u64::MAX,
        prediction: Prediction::Edm { data_std: 0.5 },
        clip: Some(Clip::new(-1.0, 1.5).unwrap().keeping_noise()),
        noise: Some(u64::MAX - 1),
        step: 3,
        stage: 1,
        level: NoiseLevel::clean(),
        state: array([1.5, -0.0]),
        history: vec![array([0.1, 2.0])],
        memory: Some(array([3.0, 4.0])),
    };
    let bits = |numbers: [f64; 2]| [2, 1, 2, numbers[0].to_bits(), numbers[1].to_bits()];
    let words = [
        &[u64::MAX, 6, 0.5f64.to_bits(), 0][..],
        &[1, (-1.0f64).to_bits(), 1.5f64.to_bits(), 1],
        &[1, u64::MAX - 1, 3, 1],
        &CLEAN_NUMBERS.map(f64::to_bits),
        &[1, 1],
        &bits([1.5, -0.0]),
        &bits([0.1, 2.0]),
        &bits([3.0, 4.0]),
    ];
    let checksum = fnv(&words.concat());
    let array = |name: &str, numbers: &str| {
        format!(r#"{{"element": "{name}", "shape": [1, 2], "elements": [{numbers}]}}"#)
    };
    let text = format!(
        r#"{{"version": 2, "plan": 18446744073709551615,
            "prediction": {{"edm": {{"data_std": 0.5}}}},
            "clip": {{"range": {{"static": {{"low": -1.0, "high": 1.5}}}}, "noise": "keep"}},
            "noise": 18446744073709551614, "step": 3, "stage": 1, "level": {CLEAN},
            "state": {}, "history": [{}], "memory": {}, "checksum": {checksum}}}"#,
        array("f64", "1.5, -0.0"),
        array("f64", "0.1, 2.0"),
        array("f64", "3.0, 4.0"),
    );
    is_stored_as(snapshot, &text);
    let single: Snapshot<Array2<f32>> = Snapshot {
        plan: 1,
        prediction: Prediction::Velocity,
        clip: None,
        noise: None,
        step: 0,
        stage: 0,
        level: NoiseLevel::clean(),
        state: array![[0.1, 16777216.0]],
        history: vec![],
        memory: None,
    };
    let bits = [f64::from(0.1f32).to_bits(), 16777216f64.to_bits()];
    let words = [
        &[1, 3, 0, 0, 0, 0, 0, 0, 0][..],
        &CLEAN_NUMBERS.map(f64::to_bits),
        &[0, 0, 2, 1, 2],
        &bits,
    ];
    let checksum = fnv(&words.concat());
    let text = format!(
        r#"{{"version": 2, "plan": 1, "prediction": "velocity", "clip": null, "noise": null,
            "step": 0, "stage": 0, "level": {CLEAN},
            "state": {}, "history": [], "memory": null, "checksum": {checksum}}}"#,
        array("f32", "0.1, 16777216.0"),
    );
    is_stored_as(single, &text);
}

#[test]
fn the_noise_of_a_batch_sample_by_sample() {
    let first = SampleNoise::new(KeyedNoise::new(7)).joining_at(5);
    let second = SampleNoise::new(KeyedNoise::new(8)).having_taken(u32::MAX);
    let second = second.with_sample((1 << 53) - 1).unwrap();
    is_stored_as(
        PerSample::new(vec![first, second]),
        r#"{"samples": [
            {"source": {"seed": 7, "first_sample": 0}, "sample": 0, "joined": 5, "taken": 0},
            {"source": {"seed": 8, "first_sample": 0}, "sample": 9007199254740991, "joined": 0,
             "taken": 4294967295}
        ]}"#,
    );
    let path = BrownianPath::new(3);
    let noise = SampleNoise::new(path);
    let text = format!(
        r#"{{"source": {}, "sample": 0, "joined": 0, "taken": 0}}"#,
        json(&path)
    );
    is_stored_as(noise, &text);
    // What the constructors refuse.
    let text = text.replace(r#""sample": 0"#, r#""sample": 9007199254740992"#);
    let refused = of_json::<SampleNoise<BrownianPath>>(&text).unwrap_err();
    let error = Error::InvalidParameter {
        name: "sample",
        value: 9007199254740992.0,
        requirement: "less than 2^53",
    };
    assert!(refused.contains(&error.to_string()), "{refused}");
    assert!(of_json::<PerSample>(r#"{"samples": [], "more": 1}"#).is_err());
    assert!(of_json::<PerSample>("{}").is_err());
}
