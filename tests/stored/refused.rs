//! Values that are none: each is refused with the text of the crate's own error.

use ciborium::Value as Cbor;
use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Sampler,
    grid::Spacing,
    guidance::{
        ClassifierFree, Combination, Composed, GuidanceWeight, OnInterval, PlusPlus, Projected,
        Rescaled, WeightedSum,
    },
    noise::BrownianPath,
    plan::Update,
    schedule::{
        Edm, LambdaRange, RectifiedFlow, Sublevels, TableSchedule, UnitVariance, VarianceExploding,
        VariancePreserving,
    },
    solver::{
        CfgPlusPlusSinglestep, Deis, DpmPlusPlusSde, DpmSolver, DpmSolverPlusPlus,
        DpmSolverPlusPlusSinglestep, ErNoise, ErSde, ExponentialAdams, ExponentialRungeKutta,
        GradientEstimation, HeavyBall, Ipndm, LinearMultistep, Pndm, RePaint, SaSolver, UniPc,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::formats::{cbor, of_cbor, of_json};
use crate::hostile::{binary, bytes};
use crate::specimens::sampler;

/// The tree of a value with other values at some places.
pub(crate) fn edited<T: Serialize>(value: &T, edits: &[(&str, Value)]) -> Value {
    let mut tree = serde_json::to_value(value).unwrap();
    for (path, other) in edits {
        *tree.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = other.clone();
    }
    tree
}

/// The same in binary.
pub(crate) fn edited_binary<T: Serialize>(value: &T, edits: &[(&str, Value)]) -> Vec<u8> {
    let mut tree: Cbor = ciborium::from_reader(&*cbor(value)).unwrap();
    for (path, other) in edits {
        let node = path
            .split('/')
            .skip(1)
            .fold(&mut tree, |node, key| match node {
                Cbor::Array(list) => &mut list[key.parse::<usize>().unwrap()],
                Cbor::Map(map) => {
                    let entry = map.iter_mut().find(|(name, _)| name.as_text() == Some(key));
                    &mut entry.unwrap().1
                }
                _ => panic!("{path}"),
            });
        let float = match node {
            Cbor::Float(_) => true,
            Cbor::Array(list) => list.first().is_some_and(Cbor::is_float),
            _ => false,
        };
        // An infinite number in the place of a finite one is no string either.
        *node = binary(other, float);
    }
    bytes(&tree)
}

/// The edited value is refused with the text of the crate's error, in text and in binary.
pub(crate) fn refused<T: Serialize + DeserializeOwned>(
    value: &T,
    edits: &[(&str, Value)],
    error: Error,
) {
    let tree = edited(value, edits);
    let texts = [
        of_json::<T>(&tree.to_string()).map(drop).unwrap_err(),
        serde_json::from_value::<T>(tree)
            .map(drop)
            .unwrap_err()
            .to_string(),
        of_cbor::<T>(&edited_binary(value, edits))
            .map(drop)
            .unwrap_err(),
    ];
    // CBOR's errors show their text escaped.
    for text in texts.map(|text| text.replace("\\\"", "\"")) {
        assert!(text.contains(&error.to_string()), "{text} is not {error}");
    }
}

pub(crate) fn parameter(name: &'static str, value: f64, requirement: &'static str) -> Error {
    Error::InvalidParameter {
        name,
        value,
        requirement,
    }
}

#[test]
fn levels_that_are_none_are_refused_with_their_values() {
    let level = NoiseLevel::new(1.5, 0.6, 0.8).unwrap();
    let invalid = |alpha: f64, sigma: f64| Error::InvalidLevel {
        time: 1.5,
        alpha,
        sigma,
    };
    refused(&level, &[("/alpha", json!(-0.6))], invalid(-0.6, 0.8));
    refused(&level, &[("/sigma", json!(-1e300))], invalid(0.6, -1e300));
    let both = [("/alpha", json!(0)), ("/sigma", json!(0))];
    refused(&level, &both, invalid(0.0, 0.0));
    let contradicts = |name, log, value| Error::StoredLogarithm {
        name,
        log,
        value,
        time: 1.5,
    };
    // Other logarithms, logarithms of the other, and the infinite one of 0.
    refused(
        &level,
        &[("/log_alpha", json!(-0.5))],
        contradicts("log_alpha", -0.5, 0.6),
    );
    refused(
        &level,
        &[("/log_sigma", json!("-inf"))],
        contradicts("log_sigma", f64::NEG_INFINITY, 0.8),
    );
    refused(
        &level,
        &[("/log_sigma", json!("inf"))],
        contradicts("log_sigma", f64::INFINITY, 0.8),
    );
    let own = level.log_sigma();
    refused(
        &level,
        &[("/sigma", json!(0.0))],
        contradicts("log_sigma", own, 0.0),
    );
    refused(
        &level,
        &[("/sigma", json!(0.81))],
        contradicts("log_sigma", own, 0.81),
    );
    let large = [("/alpha", json!(1e300)), ("/sigma", json!(1e300))];
    refused(
        &level,
        &large,
        contradicts("log_alpha", level.log_alpha(), 1e300),
    );
    let near = level.log_alpha() * (1.0 + 1e-8);
    refused(
        &level,
        &[("/log_alpha", json!(near))],
        contradicts("log_alpha", near, 0.6),
    );
    // The bound is relative to the logarithm's size: 1e-10 of it, where that is more than 1.
    let small = NoiseLevel::new(1.5, 1.0, 1e-200).unwrap();
    let with = |share: f64| small.log_sigma() * (1.0 + share);
    let near = edited(&small, &[("/log_sigma", json!(with(0.9e-10)))]);
    let kept: NoiseLevel = of_json(&near.to_string()).unwrap();
    assert_eq!(kept.log_sigma(), with(0.9e-10));
    let far = with(1.1e-10);
    refused(
        &small,
        &[("/log_sigma", json!(far))],
        contradicts("log_sigma", far, 1e-200),
    );
}

#[test]
fn schedules_that_are_none_are_refused_with_their_values() {
    let table = TableSchedule::linear(3, 0.1, 0.3).unwrap();
    let entry = |index, value| Error::InvalidEntry {
        name: "log_alpha_squared",
        index,
        value,
        requirement: "such that noise grows strictly",
    };
    let list = |list: Value| [("/log_alpha_squared", list)];
    refused(
        &table,
        &list(json!([])),
        Error::EmptyList {
            name: "log_alpha_squared",
        },
    );
    refused(&table, &list(json!([0])), entry(0, 0.0));
    refused(&table, &list(json!([0.5])), entry(0, 0.5));
    refused(&table, &list(json!(["inf"])), entry(0, f64::INFINITY));
    refused(&table, &list(json!([-1, -1])), entry(1, -1.0));
    refused(&table, &list(json!([-2, -1, -3])), entry(1, -1.0));
    refused(&table, &list(json!(["-inf", -3])), entry(1, -3.0));
    refused(&table, &list(json!([-1e300, -1e301])), entry(1, -1e301));
    refused(
        &VariancePreserving::default(),
        &[("/beta_min", json!(0))],
        parameter("beta_min", 0.0, "positive and finite"),
    );
    refused(
        &VariancePreserving::default(),
        &[("/beta_max", json!(0.05))],
        parameter("beta_max", 0.05, "finite and at least beta_min"),
    );
    let exploding = VarianceExploding::new(0.01, 50.0).unwrap();
    refused(
        &exploding,
        &[("/lambda_noisy", json!(-1e3))],
        parameter("lambda_noisy", -1e3, "such that sigma does not overflow"),
    );
    refused(
        &exploding,
        &[("/lambda_clean", json!(1e3))],
        parameter("lambda_clean", 1e3, "such that sigma does not vanish"),
    );
    refused(
        &exploding,
        &[("/lambda_clean", json!(-4.5))],
        parameter(
            "clean end of the lambda range",
            -4.5,
            "greater than the noisy end",
        ),
    );
    refused(
        &Edm::default(),
        &[("/sigma_min", json!(81))],
        parameter("smallest rho", 81.0, "positive and less than the largest"),
    );
    refused(
        &RectifiedFlow::new(),
        &[("/shift", json!(-1))],
        parameter("shift", -1.0, "positive and finite"),
    );
    refused(
        &RectifiedFlow::new(),
        &[("/model_time/factor", json!(0))],
        parameter("factor of the model time", 0.0, "positive and finite"),
    );
    refused(
        &UnitVariance::of(Edm::default()),
        &[("/inner/sigma_min", json!(81))],
        parameter("smallest rho", 81.0, "positive and less than the largest"),
    );
    refused(
        &LambdaRange::new(-1.0, 1.0).unwrap(),
        &[("/noisy", json!("inf"))],
        parameter(
            "clean end of the lambda range",
            1.0,
            "greater than the noisy end",
        ),
    );
}

#[test]
fn spacings_and_tables_that_are_none_are_refused_with_what_they_are() {
    let count = |steps| Error::StepCount {
        steps,
        min: 1,
        max: 1 << 24,
    };
    let levels = Sublevels::of(RectifiedFlow::new(), 1000).unwrap();
    refused(&levels, &[("/count", json!(0))], count(0));
    let most = (1 << 24) + 1;
    refused(&levels, &[("/count", json!(most))], count(most));
    refused(
        &levels,
        &[("/inner/shift", json!(0))],
        parameter("shift", 0.0, "positive and finite"),
    );
    refused(
        &Spacing::Karras,
        &[("", json!("karas"))],
        Spacing::named("karas").unwrap_err(),
    );
}

#[test]
fn grids_that_are_none_are_refused_with_their_values() {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4).unwrap();
    let tree = serde_json::to_value(&grid).unwrap();
    let knot = |index: usize| tree["levels"][index].clone();
    let not_decreasing = |knot: usize, before: usize, after: usize| Error::NoiseNotDecreasing {
        knot,
        lambda_before: grid.levels()[before].lambda(),
        lambda: grid.levels()[after].lambda(),
    };
    refused(&grid, &[("/levels/2", knot(1))], not_decreasing(2, 1, 1));
    refused(&grid, &[("/levels/1", knot(3))], not_decreasing(2, 3, 2));
    let lengths = |expected, found| Error::WrongLength {
        name: "start_variances",
        expected,
        found,
    };
    refused(&grid, &[("/start_variances", json!([1, 1]))], lengths(5, 2));
    refused(&grid, &[("/levels", json!([]))], lengths(0, 5));
    let count = |steps| Error::StepCount {
        steps,
        min: 1,
        max: usize::MAX,
    };
    let empty = [("/levels", json!([])), ("/start_variances", json!([]))];
    refused(&grid, &empty, count(0));
    let single = [
        ("/levels", json!([knot(0)])),
        ("/start_variances", json!([1])),
    ];
    refused(&grid, &single, count(0));
    let variance = |index, value| Error::InvalidEntry {
        name: "start_variances",
        index,
        value,
        requirement: "finite and at least 0",
    };
    refused(
        &grid,
        &[("/start_variances/3", json!(-1))],
        variance(3, -1.0),
    );
}

#[test]
fn samplers_that_are_none_are_refused_with_their_values() {
    let sampler: Sampler = sampler(&DpmSolverPlusPlus::new());
    let error = parameter("start_variance", -1.0, "finite and at least 0");
    refused(&sampler, &[("/start_variance", json!(-1))], error);
    refused(
        &sampler,
        &[("/version", json!(3))],
        Error::StoredVersion { found: 3, known: 1 },
    );
    let clip = json!({"range": {"static": {"low": 1.0, "high": -1.0}}, "noise": "keep"});
    let error = parameter(
        "high end of the clip",
        -1.0,
        "finite and greater than the low end",
    );
    refused(&sampler, &[("/clip", clip)], error);
    let error = Error::TooManySlots { found: 9, max: 8 };
    refused(&sampler, &[("/plan/slots", json!(9))], error);
}

#[test]
fn settings_out_of_range_are_refused_with_their_values() {
    refused(
        &DpmSolverPlusPlus::new(),
        &[("/order", json!(4))],
        parameter("order", 4.0, "1, 2 or 3"),
    );
    refused(
        &DpmSolverPlusPlus::new(),
        &[("/tau", json!(-1))],
        parameter("tau", -1.0, "finite and at least 0"),
    );
    refused(
        &Clip::dynamic(0.5, 2.0).unwrap(),
        &[("/range/dynamic/ratio", json!(1.5))],
        parameter("thresholding ratio", 1.5, "in [0, 1]"),
    );
    let noise = KeyedNoise::new(1);
    let first = (1u64 << 53) as f64;
    refused(
        &noise,
        &[("/first_sample", json!(1u64 << 53))],
        parameter("first_sample", first, "less than 2^53"),
    );
    let path = BrownianPath::new(1);
    refused(
        &path,
        &[("/tau_squared", json!(0))],
        parameter("tau squared", 0.0, "from 1e-12 to 1e4"),
    );
    refused(
        &path,
        &[("/interval/to", json!("inf"))],
        parameter("end of the path", f64::INFINITY, "from -1000 to 1000"),
    );
    refused(
        &path,
        &[("/interval/to", json!(-20))],
        parameter("length of the path", -4.0, "at least 1e-3"),
    );
}

#[test]
fn solvers_out_of_range_are_refused_with_their_values() {
    fn refuses<T: Serialize + DeserializeOwned>(
        solver: Result<T, Error>,
        path: &str,
        value: Value,
        error: Error,
    ) {
        refused(&solver.unwrap(), &[(path, value)], error);
    }
    let order = |requirement| parameter("order", 5.0, requirement);
    let none = |path, name, value: f64| (path, json!(value), parameter(name, value, NOT_NEGATIVE));
    const NOT_NEGATIVE: &str = "finite and at least 0";
    let multistep = || DpmSolver::multistep(3);
    refuses(multistep(), "/order", json!(5), order("1, 2 or 3"));
    let most = parameter("tau", 2e9, "at most 1e9 in noise form");
    refuses(multistep(), "/tau", json!(2e9), most);
    refuses(
        ExponentialAdams::data(2),
        "/order",
        json!(5),
        order("1 to 4"),
    );
    refuses(UniPc::order(2), "/order", json!(5), order("1, 2 or 3"));
    refuses(Deis::tab(2), "/order", json!(5), order("1 to 4"));
    refuses(
        LinearMultistep::order(2),
        "/order",
        json!(5),
        order("1 to 4"),
    );
    refuses(Ipndm::order(2), "/order", json!(5), order("1 to 4"));
    refuses(HeavyBall::order(2), "/order", json!(5), order("1 to 4"));
    refuses(ErSde::order(2), "/order", json!(5), order("1 to 3"));
    let beta = parameter("beta", 1.5, "1e-6 to 1");
    refuses(HeavyBall::order(2), "/beta", json!(1.5), beta);
    let gamma = parameter("gamma", 2e9, "at most 1e9 in magnitude");
    refuses(Ok(GradientEstimation::new()), "/gamma", json!(2e9), gamma);
    let steps = parameter("runge_kutta_steps", 2.0, "0 or 3");
    refuses(Ok(Pndm::new()), "/runge_kutta_steps", json!(2), steps);

    let adams = || SaSolver::new(3, 4, 1.0);
    let predictor = parameter("predictor order", 0.0, "1 to 4");
    refuses(adams(), "/predictor", json!(0), predictor);
    let corrector = parameter("corrector order", 5.0, "0 to 4");
    refuses(adams(), "/corrector", json!(5), corrector);
    let (path, value, error) = none("/tau", "tau", -1.0);
    refuses(adams(), path, value, error);
    let within = adams().and_then(|solver| solver.within_rho(0.5, 2.0));
    let low = parameter("low rho", -1.0, "at least 0");
    refuses(within.clone(), "/within/end_rho/0", json!(-1), low);
    let high = parameter("high rho", 0.25, "at least the low rho");
    refuses(within, "/within/end_rho/1", json!(0.25), high);
    let within = adams().and_then(|solver| solver.within_model_time(0.5, 2.0));
    let high = parameter("high time", f64::NEG_INFINITY, "at least the low time");
    refuses(within, "/within/start_time/1", json!("-inf"), high);

    let powered = ErSde::order(2).and_then(|solver| solver.with_noise(ErNoise::Power(2.0)));
    let power = parameter("power", 0.5, "finite and at least 1");
    refuses(powered, "/noise/power", json!(0.5), power);
    let (path, value, error) = none("/s_noise", "s_noise", -1.0);
    refuses(ErSde::order(2), path, value, error);

    let stages = parameter("order", 1.0, "2 or 3 for a single-step solver");
    let plus_plus = DpmSolverPlusPlusSinglestep::order(3);
    refuses(plus_plus.clone(), "/order", json!(1), stages.clone());
    let exponential = ExponentialRungeKutta::seeds(3);
    refuses(exponential.clone(), "/order", json!(1), stages);
    let nodes = |index, value| Error::InvalidEntry {
        name: "nodes",
        index,
        value,
        requirement: "above the one before, above 0 and at most 1",
    };
    refuses(plus_plus.clone(), "/nodes/1", json!(0.25), nodes(1, 0.25));
    refuses(exponential.clone(), "/nodes/0", json!(0.0), nodes(0, 0.0));
    let lengths = Error::WrongLength {
        name: "nodes",
        expected: 2,
        found: 1,
    };
    refuses(exponential.clone(), "/nodes", json!([0.5]), lengths);
    let (path, value, error) = none("/tau", "tau", -1.0);
    refuses(exponential.clone(), path, value, error);
    let (path, value, error) = none("/noise_scale", "noise scale", -1.0);
    refuses(exponential, path, value.clone(), error.clone());
    refuses(plus_plus, path, value.clone(), error.clone());
    let sde = || Ok(DpmPlusPlusSde::new());
    refuses(sde(), path, value.clone(), error.clone());
    let guided = CfgPlusPlusSinglestep::new(diffusion_sampler::posterior::Kappa::Ddim);
    refuses(Ok(guided), path, value, error);
    let node = parameter("node", 0.0, "above 0 and at most 1");
    refuses(sde(), "/node", json!(0), node);
    let (path, value, error) = none("/eta", "eta", -1.0);
    refuses(sde(), path, value, error);

    let painted = || RePaint::new(Deis::tab(1)?, 10, 5);
    let length = parameter("jump_length", 0.0, "at least 1");
    refuses(painted(), "/jump_length", json!(0), length);
    let count = parameter("resamplings", 0.0, "at least 1");
    refuses(painted(), "/resamplings", json!(0), count);
    refuses(painted(), "/inner/order", json!(5), order("1 to 4"));
}

#[test]
fn guidance_out_of_range_is_refused_with_its_values() {
    let range = "finite and at most 1e9 in magnitude";
    let weight = GuidanceWeight::interval(1.0, 0.5, 2.0).unwrap();
    refused(
        &weight,
        &[("/interval/rho_high", json!(0.5))],
        parameter("rho_high", 0.5, "greater than rho_low"),
    );
    let free = ClassifierFree::new(weight.clone());
    refused(
        &free,
        &[("/weight/interval/rho_low", json!(-1))],
        parameter("rho_low", -1.0, "at least 0"),
    );
    let on = OnInterval::new(PlusPlus::new(0.5).unwrap(), 0.5, 2.0).unwrap();
    refused(
        &on,
        &[("/inner/lambda", json!(2e9))],
        parameter("lambda", 2e9, range),
    );
    refused(
        &on,
        &[("/rho_high", json!("-inf"))],
        parameter("rho_high", f64::NEG_INFINITY, "greater than rho_low"),
    );
    refused(
        &Rescaled::new(free, 0.5).unwrap(),
        &[("/phi", json!(1.5))],
        parameter("phi", 1.5, "in [0, 1]"),
    );
    let projected = Projected::new(1.0).unwrap();
    refused(
        &projected,
        &[("/radius", json!("-inf"))],
        parameter("radius", f64::NEG_INFINITY, "positive and finite"),
    );
    refused(
        &projected,
        &[("/momentum", json!(-1))],
        parameter("momentum", -1.0, "in (-1, 1)"),
    );
    let count = |found| Error::OutputCount { found, max: 6 };
    refused(
        &Composed::new(&[1.0]).unwrap(),
        &[("/scales", json!([]))],
        count(1),
    );
    refused(
        &Composed::new(&[1.0]).unwrap(),
        &[("/scales", json!(vec![0; 6]))],
        count(7),
    );
    refused(
        &WeightedSum::new(&[1.0]).unwrap(),
        &[("/weights", json!(vec![1; 1000]))],
        count(1000),
    );
    let combination = Combination::single();
    refused(
        &combination,
        &[("/gradients", json!(vec![1.0; 6]))],
        count(7),
    );
    refused(
        &combination,
        &[("/noise", json!([1.0, 2.0]))],
        Error::WrongLength {
            name: "noise weights",
            expected: 1,
            found: 2,
        },
    );
}

#[test]
fn what_is_not_finite_is_refused_on_the_way_out() {
    fn refuses<T: Serialize>(value: &T, error: &Error) {
        for text in [
            serde_json::to_string(value).unwrap_err().to_string(),
            ciborium::into_writer(value, Vec::new())
                .unwrap_err()
                .to_string(),
        ] {
            assert!(text.contains(&error.to_string()), "{text} is not {error}");
        }
        assert!(postcard::to_stdvec(value).is_err());
    }
    let number = |value| parameter("a stored number", value, "finite");
    let update = Update {
        state: f64::INFINITY,
        ..Update::default()
    };
    refuses(&update, &number(f64::INFINITY));
    refuses(
        &Update {
            history: vec![(0, f64::NAN)],
            ..Update::default()
        },
        &number(f64::NAN),
    );
    refuses(
        &diffusion_sampler::posterior::Kappa::Eta(f64::NAN),
        &number(f64::NAN),
    );
    let level = NoiseLevel::clean().with_model_time(f64::NAN);
    refuses(
        &level,
        &parameter("a stored number", f64::NAN, "finite or infinite"),
    );
    let interval = diffusion_sampler::noise::Interval::new(f64::NAN, 1.0);
    refuses(
        &interval,
        &parameter("a stored number", f64::NAN, "finite or infinite"),
    );
    let by_level = GuidanceWeight::by_level(|level| level.sigma());
    let function = Error::FunctionNotStored {
        name: "the guidance weight by level",
    };
    refuses(&by_level, &function);
    refuses(&ClassifierFree::new(by_level), &function);
}
