//! Stored forms, read from anything: what is taken keeps its laws, is stored again, comes back to
//! the same bits through every format, and runs.

use std::fmt::Debug;
use std::sync::LazyLock;

use ciborium::Value as Cbor;
use diffusion_sampler::grid::Spacing;
use diffusion_sampler::guidance::{
    ClassifierFree, ClassifierGuidance, Combination, Composed, GuidanceWeight, Memory, OnInterval,
    PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential, Unguided,
    WeightedSum, ZeroStar,
};
use diffusion_sampler::noise::{
    BrownianPath, Interval, NoiseKey, PerSample, SampleNoise, Stream, TorchCpu, TorchCuda,
    TorchNoise,
};
use diffusion_sampler::plan::{Kept, Plan, Stage, Step, Store, Update};
use diffusion_sampler::posterior::{Kappa, ReverseVariance};
use diffusion_sampler::run::Snapshot;
use diffusion_sampler::schedule::{
    Edm, LambdaRange, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, UnitVariance,
    VarianceExploding, VariancePreserving,
};
use diffusion_sampler::solver::{
    Belm, CfgPlusPlus, Churn, Deis, Dpm2, DpmFast, DpmPlusPlusSde, DpmSolver, DpmSolverPlusPlus,
    DpmSolverPlusPlusSinglestep, DpmSolverSinglestep, ErNoise, ErSde, Euler, ExponentialAdams,
    ExponentialRungeKutta, FirstOrder, GradientEstimation, GroupedSinglestep, HeavyBall, Heun,
    HeunPlusPlus, Ipndm, Lcm, LinearMultistep, Path, Pndm, RePaint, Restart, SaSolver, Solver, Tcd,
    UniPc,
};
use diffusion_sampler::{Clip, Error, Grid, KeyedNoise, Prediction, Sampler, Trajectory};
use ndarray::{Array2, ArrayD, Ix2, array};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::grids::{check_grid, check_level, check_plan};
use crate::input::Input;

/// A value of a type in every format, and what is done with input of that type.
struct Specimen {
    json: String,
    /// Without its checksums, which would refuse nearly every damage before anything else.
    open: String,
    postcard: Vec<u8>,
    cbor: Vec<u8>,
    read_json: Box<dyn Fn(&str) -> bool + Send + Sync>,
    read_postcard: Box<dyn Fn(&[u8]) -> bool + Send + Sync>,
    read_cbor: Box<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>,
}

fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("it can be stored");
    bytes
}

/// What was read comes back from every format, and keeps its laws.
fn take<T: Serialize + DeserializeOwned + Debug>(value: &T, check: fn(&T)) {
    let shown = format!("{value:?}");
    let text = serde_json::to_string(value).expect("it can be stored");
    let back: T = serde_json::from_str(&text).expect("what was stored as text can be read");
    assert_eq!(format!("{back:?}"), shown, "text");
    let bytes = postcard::to_stdvec(value).expect("it can be stored");
    let back: T = postcard::from_bytes(&bytes).expect("what was stored without names can be read");
    assert_eq!(format!("{back:?}"), shown, "postcard");
    assert_eq!(postcard::to_stdvec(&back).as_ref(), Ok(&bytes));
    let bytes = cbor(value);
    let back: T = ciborium::from_reader(&*bytes).expect("what was stored with names can be read");
    assert_eq!(format!("{back:?}"), shown, "CBOR");
    check(value);
}

/// The text without checksums.
fn open(text: &str) -> String {
    let mut tree: serde_json::Value = serde_json::from_str(text).expect("a tree");
    fn strip(tree: &mut serde_json::Value) {
        match tree {
            serde_json::Value::Object(map) => {
                map.iter_mut()
                    .for_each(|(key, value)| match key == "checksum" {
                        true => *value = serde_json::Value::Null,
                        false => strip(value),
                    })
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut tree);
    tree.to_string()
}

fn specimen<T>(value: &T, check: fn(&T)) -> Specimen
where
    T: Serialize + DeserializeOwned + Debug + 'static,
{
    let json = serde_json::to_string(value).expect("it can be stored");
    Specimen {
        open: open(&json),
        json,
        postcard: postcard::to_stdvec(value).expect("it can be stored"),
        cbor: cbor(value),
        read_json: Box::new(move |text| {
            let read = serde_json::from_str::<T>(text);
            read.is_ok_and(|value| {
                take(&value, check);
                true
            })
        }),
        read_postcard: Box::new(move |bytes| {
            let read = postcard::from_bytes::<T>(bytes);
            read.is_ok_and(|value| {
                take(&value, check);
                true
            })
        }),
        read_cbor: Box::new(move |bytes| {
            let read: Result<T, _> = ciborium::from_reader(bytes);
            let value = read.map_err(|error| error.to_string())?;
            take(&value, check);
            Ok(())
        }),
    }
}

/// Follows a run to its end or to its first error.
fn follow<A: diffusion_sampler::Real>(mut run: Trajectory<A, Ix2>) {
    while let Ok(Some(question)) = run.ask() {
        let output = question.x.mapv(|x| x / (A::one() + x.abs()));
        if run.tell(&output).is_err() {
            return;
        }
        assert!(run.state().iter().all(|x| x.is_finite()));
    }
}

/// A plan that came in is one that can be made, and one that runs.
fn plan(plan: &Plan) {
    check_plan(plan);
    let again = Plan::with_given(plan.steps().to_vec(), plan.slots(), plan.given());
    assert_eq!(
        again.map(|again| again.fingerprint()),
        Ok(plan.fingerprint())
    );
    for step in plan {
        check_level(&step.from);
        check_level(&step.to);
    }
    let sampler = Sampler::from_plan(plan.clone(), 1.0).expect("a variance of 1");
    let history = vec![array![[0.5, -0.25]]; plan.given()];
    let start = array![[0.5, 1.5]];
    let run = sampler.start_with(start, history, Prediction::Data, KeyedNoise::new(1));
    if let Ok(run) = run {
        follow(run);
    }
}

fn sampler(sampler: &Sampler) {
    let variance = sampler.start_variance();
    assert!(variance.is_finite() && variance >= 0.0);
    plan(sampler.plan());
    let run = sampler.start::<f32, _, _>((2, 3), Prediction::Data, KeyedNoise::new(1));
    if let Ok(run) = run {
        follow(run);
    }
}

fn table() -> TableSchedule {
    TableSchedule::linear(4, 0.1, 0.4).expect("a table")
}

fn sampler_of(solver: &dyn Solver) -> Sampler {
    let grid = Grid::trailing(&table(), 3).expect("three of four knots");
    Sampler::new(&table(), &grid, solver).expect("a grid of the table")
}

/// The sampler whose snapshots are read.
static OWNER: LazyLock<Sampler> = LazyLock::new(|| sampler_of(&DpmSolverPlusPlus::new()));

/// A snapshot that came in is resumed and runs to its end, or is refused.
fn snapshot(snapshot: &Snapshot<Array2<f64>>) {
    assert!(snapshot.state.iter().all(|x| x.is_finite()));
    check_level(&snapshot.level);
    let run = OWNER.resume(snapshot.clone(), Prediction::Noise, KeyedNoise::new(1));
    if let Ok(run) = run {
        assert_eq!(snapshot.plan, OWNER.plan().fingerprint());
        follow(run);
    }
}

fn single(snapshot: &Snapshot<ArrayD<f32>>) {
    assert!(snapshot.state.iter().all(|x| x.is_finite()));
    let run = OWNER.resume(snapshot.clone(), Prediction::Noise, KeyedNoise::new(1));
    if let Ok(mut run) = run {
        while let Ok(Some(question)) = run.ask() {
            let output = question.x.to_owned();
            if run.tell(&output).is_err() {
                return;
            }
        }
    }
}

fn schedule<S: NoiseSchedule>(schedule: &S) {
    let mut before = f64::INFINITY;
    for part in [0.0, 0.3, 1.0] {
        let level = schedule.level(part * schedule.last_time());
        let level = level.expect("a time of the schedule");
        check_level(&level);
        assert!(level.lambda() <= before, "{schedule:?}");
        before = level.lambda();
    }
}

fn grid(grid: &Grid) {
    check_grid(grid);
    let path = Path::without_schedule(grid);
    check_plan(&FirstOrder::ddim().plan(&path).expect("a plan of DDIM"));
}

/// The most repeats that are planned: a plan of millions of steps is what such a form asks for.
const MOST_REPEATS: usize = 10_000;

/// Whether the solver has a count above that.
fn repeats_long(solver: &impl Solver) -> bool {
    let shown = format!("{solver:?}");
    let words = shown.split(|c: char| !(c.is_alphanumeric() || "+-.".contains(c)));
    words
        .filter_map(|word| word.parse::<usize>().ok())
        .any(|count| count > MOST_REPEATS)
}

/// A stored solver plans or refuses.
fn solver<S: Solver>(solver: &S) {
    if repeats_long(solver) {
        return;
    }
    let made = Grid::trailing(&table(), 3).expect("three of four knots");
    let path = Path::new(&table(), &made).map(|path| solver.plan(&path));
    if let Ok(Ok(plan)) = path {
        check_plan(&plan);
    }
    let flow = RectifiedFlow::new();
    let made = Grid::trailing(&flow, 4).expect("four steps");
    if let Ok(Ok(plan)) = Path::new(&flow, &made).map(|path| solver.plan(&path)) {
        check_plan(&plan);
    }
    assert!(solver.order() >= 1);
}

fn nothing<T>(_: &T) {}

/// A plan with every kind of store, given slots, two stages and one without the model.
fn plan_by_hand() -> Plan {
    let level = |time: f64| table().level(time).expect("a knot");
    let update = Update {
        state: 0.5,
        data: -0.25,
        history: vec![(1, 0.125), (0, -0.0)],
        noise: 0.75,
        store: Some(Store::linear(2, 1.5, -2.5)),
    };
    let kept = |store| Stage::evaluating(level(3.0), update.clone().storing(store));
    let alone = Stage::without_model(Update {
        state: 1.0,
        ..Update::default()
    });
    let first = vec![kept(Store::data(0)), kept(Store::noise(1)), alone];
    let second = vec![kept(Store::state(0)), kept(Store::linear(2, 1.5, -2.5))];
    let steps = [(4.0, 3.0, first), (3.0, 0.0, second)].map(|(from, to, stages)| Step {
        from: level(from),
        to: level(to),
        stages,
    });
    Plan::with_given(steps.to_vec(), 3, 2).expect("a plan")
}

/// Of a run of the owner's, after its first step.
fn snapshot_by_hand() -> Result<Snapshot<Array2<f64>>, Error> {
    let start = array![[0.5, -1.5, 0.1], [-0.0, 2.0, 3.0]];
    let mut run = OWNER.start_from(start, Prediction::Noise, KeyedNoise::new(1))?;
    run.ask()?;
    run.tell(&array![[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])?;
    Ok(Snapshot {
        memory: Some(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ..run.snapshot()?
    })
}

static ALL: LazyLock<Vec<Specimen>> = LazyLock::new(|| all().expect("valid specimens"));

fn all() -> Result<Vec<Specimen>, Error> {
    let weight = GuidanceWeight::interval(2.5, 0.5, f64::INFINITY)?;
    let projected = Projected::new(1.5)?.with_momentum(-0.5)?;
    let free = ClassifierFree::with_scale(7.5)?;
    let flow = RectifiedFlow::shifted(3.0)?;
    let path = BrownianPath::new(u64::MAX).with_tau(0.7)?;
    let torch = [1, u64::MAX].map(|seed| TorchCuda::new(seed).after(3));
    let around = OnInterval::new(projected, 0.25, f64::INFINITY)?;
    let churn = Churn::new(0.5)?;
    let clip = Clip::dynamic(0.995, 10.0)?.keeping_noise();
    let combination = Combination::affine(&[2.5, -1.5])?.with_noise(&[0.0, 1.0])?;
    let key = NoiseKey::new(3, 4, Stream::Step(200));
    Ok(vec![
        specimen(&plan_by_hand(), plan),
        specimen(sampler_of(&Heun::new()).plan(), plan),
        specimen(&sampler_of(&FirstOrder::ddpm()).with_clip(clip), sampler),
        specimen(&snapshot_by_hand()?, snapshot),
        specimen(
            &snapshot_by_hand()?.try_map(|x| Ok::<_, Error>(x.mapv(|x| x as f32).into_dyn()))?,
            single,
        ),
        specimen(&plan_by_hand().steps()[0], nothing),
        specimen(&table().level(3.5)?, check_level),
        specimen(&table().zero_terminal_snr()?, schedule),
        specimen(&VariancePreserving::default(), schedule),
        specimen(&VarianceExploding::new(0.01, 50.0)?, schedule),
        specimen(&Edm::default(), schedule),
        specimen(&flow, schedule),
        specimen(&UnitVariance::of(Edm::default()).with_edm_noise(), schedule),
        specimen(&Sublevels::of(flow, 1000)?, schedule),
        specimen(&flow.lambda_range(), |range: &LambdaRange| {
            assert!(range.noisy() < range.clean());
        }),
        specimen(&Grid::trailing(&flow, 3)?, grid),
        specimen(&Spacing::Karras, nothing),
        specimen(&Kappa::Eta(0.5), nothing),
        specimen(&ReverseVariance::Explicit(0.5), nothing),
        specimen(
            &Kept::Linear {
                state: 0.5,
                data: 1.5,
            },
            nothing,
        ),
        specimen(&Prediction::Edm { data_std: 0.5 }, nothing),
        specimen(&Clip::new(-1.0, 1.0)?, nothing),
        specimen(&KeyedNoise::new(1 << 60), nothing),
        specimen(&SampleNoise::new(path).joining_at(3), nothing),
        specimen(
            &PerSample::of([KeyedNoise::new(1), KeyedNoise::new(2)]),
            nothing,
        ),
        specimen(&TorchNoise::per_sample(torch, &[2, 9])?, nothing),
        specimen(&TorchNoise::new(TorchCpu::new(7), &[2, 9])?, nothing),
        specimen(
            &key.with_interval(Interval::new(f64::NEG_INFINITY, 0.5)),
            nothing,
        ),
        specimen(&weight, nothing),
        specimen(&Unguided, nothing),
        specimen(&free, nothing),
        specimen(&projected, nothing),
        specimen(&ZeroStar::with_scale(4.0)?.zero_steps(1), nothing),
        specimen(&PlusPlus::new(0.6)?, nothing),
        specimen(&Tangential::with_scale(7.5)?, nothing),
        specimen(&PerpendicularNegative::new(7.5, 1.0)?, nothing),
        specimen(&Composed::new(&[5.0, 2.5])?, nothing),
        specimen(&Perturbed::new(4.0, weight.clone())?, nothing),
        specimen(&WeightedSum::new(&[1.5, -0.5])?, nothing),
        specimen(&combination.in_space(Prediction::Data), nothing),
        specimen(&Memory { decay: 0.5 }, nothing),
        specimen(&Rescaled::new(free, 0.7)?, nothing),
        specimen(&ClassifierGuidance::around(around, weight), nothing),
        specimen(
            &FirstOrder::per_edge(vec![Kappa::Ddim, Kappa::Tau(0.5), Kappa::Fresh]),
            solver,
        ),
        specimen(&DpmSolverPlusPlus::sde().guarded(), solver),
        specimen(&Heun::stochastic(churn), solver),
        specimen(&Euler::new().with_churn(churn), solver),
        specimen(&HeunPlusPlus::in_flow_time(), solver),
        specimen(&Dpm2::new().with_churn(churn), solver),
        specimen(&DpmSolverSinglestep::order(3)?, solver),
        specimen(&DpmFast::evaluations(9)?, solver),
        specimen(&GroupedSinglestep::order(2)?, solver),
        specimen(&DpmSolver::sde(), solver),
        specimen(&ExponentialAdams::noise(4)?.guarded(), solver),
        specimen(&UniPc::order(3)?.without_corrector_at(vec![0, 7]), solver),
        specimen(
            &SaSolver::new(3, 4, 0.5)?.within_rho(0.05, f64::INFINITY)?,
            solver,
        ),
        specimen(&CfgPlusPlus::res(), solver),
        specimen(&ErSde::order(3)?.with_noise(ErNoise::Power(2.5))?, solver),
        specimen(&Deis::tab(3)?.in_flow_time(), solver),
        specimen(&LinearMultistep::order(4)?, solver),
        specimen(&Ipndm::order(4)?.variable_steps_as_published(), solver),
        specimen(&Pndm::new().extrapolated_end(), solver),
        specimen(&GradientEstimation::new(), solver),
        specimen(&HeavyBall::order(2)?.generalised(), solver),
        specimen(&DpmPlusPlusSde::new(), solver),
        specimen(&DpmSolverPlusPlusSinglestep::order(3)?, solver),
        specimen(&ExponentialRungeKutta::seeds(2)?, solver),
        specimen(&RePaint::new(FirstOrder::ddpm(), 2, 2)?, solver),
        specimen(&Lcm::new(), solver),
        specimen(&Tcd::new(0.3)?, solver),
        specimen(&Belm::new().from_pair(), solver),
        specimen(
            &Restart::new(Heun::new()).with_interval(0.1, 2.0, 1, 2)?,
            solver,
        ),
    ])
}

/// What may stand in the place of a number or a word.
const TOKENS: [&str; 24] = [
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "255",
    "256",
    "4294967296",
    "18446744073709551615",
    "5e-324",
    "-1e-320",
    "1e308",
    "-1.7976931348623157e308",
    "\"inf\"",
    "\"-inf\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"ddim\"",
    "0.5",
    "1e-17",
];

/// The text with some of its tokens replaced, removed or doubled.
fn edited(text: &str, input: &mut Input<'_>) -> String {
    let ends = |c: char| matches!(c, ',' | ':' | '[' | ']' | '{' | '}');
    let mut tokens: Vec<String> = text.split_inclusive(ends).map(str::to_owned).collect();
    for _ in 0..1 + input.below(6) {
        if tokens.is_empty() {
            break;
        }
        let at = input.word() % tokens.len();
        let (value, end) = match tokens[at].char_indices().last() {
            Some((last, c)) if ends(c) => tokens[at].split_at(last),
            _ => (&*tokens[at], ""),
        };
        let new = match input.below(8) {
            0 => String::new(),
            1 => value.to_owned(),
            2 => input.number().to_string(),
            3 => input.long().to_string(),
            _ => (*input.choose(&TOKENS[..])).to_owned(),
        };
        let new = new + end;
        match input.below(8) {
            0 => tokens.insert(at, new),
            1 => drop(tokens.remove(at)),
            _ => tokens[at] = new,
        }
    }
    tokens.concat()
}

/// The bytes with some of them replaced, removed or doubled.
fn damaged(bytes: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + input.below(6) {
        let at = input.word() % (bytes.len() + 1);
        match input.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, input.byte()),
            3 => {
                let number = input.number().to_le_bytes();
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ if at < bytes.len() => bytes[at] = input.byte(),
            _ => bytes.push(input.byte()),
        }
    }
    bytes
}

/// The checksum that a refusal finds missing, in its place.
fn seal(bytes: &[u8], refusal: &str) -> Option<Vec<u8>> {
    fn field<'a>(tree: &'a mut Cbor, name: &str) -> Option<&'a mut Cbor> {
        let mut fields = tree.as_map_mut()?.iter_mut();
        let named = fields.find(|(key, _)| key.as_text() == Some(name));
        named.map(|(_, value)| value)
    }
    let (_, rest) = refusal.split_once("the stored ")?;
    let (name, rest) = rest.split_once(" has no checksum: what was read has ")?;
    let sum: u64 = rest.split_once(',')?.0.parse().ok()?;
    let mut tree: Cbor = ciborium::from_reader(bytes).ok()?;
    let form = match (name, field(&mut tree, "plan")) {
        ("plan", Some(plan)) => plan,
        _ => &mut tree,
    };
    *field(form, "checksum").filter(|sum| sum.is_null())? = Cbor::Integer(sum.into());
    Some(cbor(&tree))
}

/// A text as CBOR; infinite numbers are strings there, and numbers here.
fn tree(text: &str) -> Option<Cbor> {
    fn of(tree: &serde_json::Value) -> Option<Cbor> {
        Some(match tree {
            serde_json::Value::Null => Cbor::Null,
            serde_json::Value::Bool(value) => Cbor::Bool(*value),
            serde_json::Value::String(text) if text == "inf" => Cbor::Float(f64::INFINITY),
            serde_json::Value::String(text) if text == "-inf" => Cbor::Float(f64::NEG_INFINITY),
            serde_json::Value::String(text) => Cbor::Text(text.clone()),
            serde_json::Value::Array(list) => {
                Cbor::Array(list.iter().map(of).collect::<Option<_>>()?)
            }
            serde_json::Value::Object(map) => {
                let pair = |(key, value): (&String, &serde_json::Value)| {
                    Some((Cbor::Text(key.clone()), of(value)?))
                };
                Cbor::Map(map.iter().map(pair).collect::<Option<_>>()?)
            }
            serde_json::Value::Number(number) => match number.as_u64() {
                Some(integer) => Cbor::Integer(integer.into()),
                None => Cbor::Float(number.as_f64()?),
            },
        })
    }
    of(&serde_json::from_str(text).ok()?)
}

/// Reads CBOR with the checksums of what it holds.
fn read_sealed(specimen: &Specimen, mut bytes: Vec<u8>) -> bool {
    loop {
        match (specimen.read_cbor)(&bytes) {
            Ok(()) => return true,
            Err(refusal) => match seal(&bytes, &refusal) {
                Some(sealed) => bytes = sealed,
                None => return false,
            },
        }
    }
}

/// Stored forms, read from anything.
pub fn stored_form(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let specimen = &ALL[input.word() % ALL.len()];
    match input.below(8) {
        0 => {
            (specimen.read_json)(&String::from_utf8_lossy(input.rest()));
        }
        1 => {
            (specimen.read_postcard)(input.rest());
        }
        2 => {
            let _ = (specimen.read_cbor)(input.rest());
        }
        3 => {
            (specimen.read_postcard)(&damaged(&specimen.postcard, &mut input));
        }
        4 => {
            let _ = (specimen.read_cbor)(&damaged(&specimen.cbor, &mut input));
        }
        5 => {
            (specimen.read_json)(&edited(&specimen.json, &mut input));
        }
        6 => {
            let text = edited(&specimen.open, &mut input);
            if let Some(tree) = tree(&text) {
                read_sealed(specimen, cbor(&tree));
            }
        }
        _ => {
            (specimen.read_json)(&edited(&specimen.open, &mut input));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, open, read_sealed, tree};

    #[test]
    fn what_is_not_damaged_is_taken_in_every_format() {
        for specimen in ALL.iter() {
            assert!((specimen.read_json)(&specimen.json), "{}", specimen.json);
            assert!((specimen.read_json)(&open(&specimen.json)));
            assert!((specimen.read_postcard)(&specimen.postcard));
            assert_eq!((specimen.read_cbor)(&specimen.cbor), Ok(()));
            let tree = tree(&specimen.open).expect("a tree");
            assert!(
                read_sealed(specimen, super::cbor(&tree)),
                "{}",
                specimen.open
            );
        }
    }
}
