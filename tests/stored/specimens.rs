//! One value of every type that can be stored, to be damaged.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, Trajectory,
    grid::Spacing,
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, GuidanceWeight, Memory,
        OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential,
        Unguided, WeightedSum, ZeroStar,
    },
    noise::{BrownianPath, Interval, NoiseKey, SampleNoise, Stream, TorchCuda, TorchNoise},
    plan::{Kept, Plan, Stage, Step, Store, Update},
    posterior::{Kappa, ReverseVariance},
    run::Snapshot,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, UnitVariance,
        VarianceExploding, VariancePreserving,
    },
    solver::{
        Basis, Belm, BelmInversion, CfgPlusPlus, CfgPlusPlusSinglestep, Churn, DdimInversion, Deis,
        Dpm2, DpmFast, DpmPlusPlusSde, DpmSolver, DpmSolverPlusPlus, DpmSolverPlusPlusSinglestep,
        DpmSolverSinglestep, ErNoise, ErSde, Euler, ExponentialAdams, ExponentialRungeKutta,
        FirstOrder, GradientEstimation, GroupedSinglestep, HeavyBall, Heun, HeunPlusPlus, Ipndm,
        Lcm, LinearMultistep, Path, Pndm, RePaint, Restart, SaSolver, SecondOrderForm, Solver, Tcd,
        UniPc, catalogue,
    },
};
use ndarray::{Array2, Ix2, array};
use serde::{Serialize, de::DeserializeOwned};

use crate::formats::{cbor, json, of_cbor, of_json, of_postcard, postcard};

pub(crate) type Again<In, Out> = Box<dyn Fn(&In) -> Result<Out, String>>;

/// A value in every format, and how input of its type is read, checked and written again.
pub(crate) struct Specimen {
    pub(crate) name: &'static str,
    /// The name of its type, without modules.
    pub(crate) type_name: &'static str,
    pub(crate) json: String,
    pub(crate) postcard: Vec<u8>,
    pub(crate) cbor: Vec<u8>,
    pub(crate) json_again: Again<str, String>,
    pub(crate) postcard_again: Again<[u8], Vec<u8>>,
    pub(crate) cbor_again: Again<[u8], Vec<u8>>,
}

fn specimen<T>(name: &'static str, value: &T, check: fn(&T)) -> Specimen
where
    T: Serialize + DeserializeOwned + 'static,
{
    let checked = move |value: T| {
        check(&value);
        value
    };
    let path = std::any::type_name::<T>();
    let outer = path.split('<').next().unwrap();
    Specimen {
        name,
        type_name: outer.rsplit("::").next().unwrap(),
        json: json(value),
        postcard: postcard(value),
        cbor: cbor(value),
        json_again: Box::new(move |text| Ok(json(&checked(of_json(text)?)))),
        postcard_again: Box::new(move |bytes| Ok(postcard(&checked(of_postcard(bytes)?)))),
        cbor_again: Box::new(move |bytes| Ok(cbor(&checked(of_cbor(bytes)?)))),
    }
}

/// A plan that came in is one that can be made.
pub(crate) fn check_plan(plan: &Plan) {
    let again = Plan::with_given(plan.steps().to_vec(), plan.slots(), plan.given()).unwrap();
    assert_eq!(again.fingerprint(), plan.fingerprint());
    assert!(plan.evaluations() <= plan.stages().count());
    for level in plan.steps().iter().flat_map(|step| [step.from, step.to]) {
        check_level(&level);
    }
    let history = vec![array![[0.5]]; plan.given()];
    let sampler = Sampler::from_plan(plan.clone(), 1.0).unwrap();
    let run = sampler.start_with(array![[0.5]], history, Prediction::Data, KeyedNoise::new(1));
    if let Ok(run) = run {
        follow(run);
    }
}

/// Follows a run to its end or to its first error.
fn follow(mut run: Trajectory<f64, Ix2>) {
    while let Ok(Some(question)) = run.ask() {
        let output = question.x.to_owned();
        if run.tell(&output).is_err() {
            return;
        }
    }
}

/// A snapshot that came in is resumed or refused.
fn check_snapshot(snapshot: &Snapshot<Array2<f64>>) {
    let sampler = sampler(&DpmSolverPlusPlus::new());
    let run = sampler.resume(snapshot.clone(), Prediction::Noise, KeyedNoise::new(1));
    if let Ok(run) = run {
        follow(run);
    }
}

fn check_level(level: &NoiseLevel) {
    NoiseLevel::new(level.time(), level.alpha(), level.sigma()).unwrap();
    assert!(!level.lambda().is_nan() && !level.model_time().is_nan());
}

fn check_grid(grid: &Grid) {
    Grid::from_levels(grid.levels().to_vec(), grid.start_variance()).unwrap();
    let path = Path::without_schedule(grid);
    check_plan(&DpmSolverPlusPlus::new().plan(&path).unwrap());
}

fn check_schedule<S: NoiseSchedule>(schedule: &S) {
    for part in [0.0, 0.3, 1.0] {
        let level = schedule.level(part * schedule.last_time()).unwrap();
        check_level(&level);
    }
}

fn nothing<T>(_: &T) {}

fn schedule() -> TableSchedule {
    TableSchedule::linear(4, 0.1, 0.4).unwrap()
}

/// A plan with every kind of store, given slots, two stages and one without the model.
pub(crate) fn plan_by_hand() -> Plan {
    let level = |time: f64| schedule().level(time).unwrap();
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
    Plan::with_given(steps.to_vec(), 3, 2).unwrap()
}

pub(crate) fn sampler(solver: &dyn Solver) -> Sampler {
    let grid = Grid::trailing(&schedule(), 3).unwrap();
    Sampler::new(&schedule(), &grid, solver).unwrap()
}

/// Of a run of [`sampler`] with DPM-Solver++(2M), after its first step.
pub(crate) fn snapshot() -> Snapshot<Array2<f64>> {
    let sampler = sampler(&DpmSolverPlusPlus::new());
    let start = array![[0.5, -1.5, 0.1], [-0.0, 2.0, 3.0]];
    let mut run = sampler
        .start_from(start, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    run.ask().unwrap().unwrap();
    run.tell(&array![[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).unwrap();
    Snapshot {
        memory: Some(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ..run.snapshot().unwrap()
    }
}

pub(crate) fn all() -> Vec<Specimen> {
    let weight = || GuidanceWeight::interval(2.5, 0.5, f64::INFINITY).unwrap();
    let projected = Projected::new(1.5).unwrap().with_momentum(-0.5).unwrap();
    let free = ClassifierFree::with_scale(7.5).unwrap();
    let clip = Clip::dynamic(0.995, 10.0).unwrap().keeping_noise();
    let single = Snapshot {
        plan: 7,
        prediction: Prediction::Linear {
            data: 0.5,
            noise: -1.0,
        },
        clip: Some(clip),
        noise: Some(3),
        step: 1,
        stage: 0,
        level: NoiseLevel::clean(),
        state: array![[0.1f32, -0.0]],
        history: vec![],
        memory: None,
    };
    let combination = Combination::affine(&[2.5, -1.5]).unwrap();
    let combination = combination.with_noise(&[0.0, 1.0]).unwrap();
    let combination = combination.in_space(Prediction::Data);
    let table = schedule().zero_terminal_snr().unwrap();
    let flow = RectifiedFlow::shifted(3.0).unwrap();
    let trailing = Grid::trailing(&flow, 3).unwrap();
    let path = BrownianPath::new(u64::MAX).with_tau(0.7).unwrap();
    let torch = [1, u64::MAX].map(|seed| TorchCuda::new(seed).after(3));
    let torch = TorchNoise::per_sample(torch, &[2, 9]).unwrap();
    let sample = SampleNoise::new(path).joining_at(3);
    let around = OnInterval::new(projected, 0.25, f64::INFINITY).unwrap();
    let churn = Churn::new(0.5).unwrap();
    vec![
        specimen("level", &table.level(3.5).unwrap(), check_level),
        specimen("level at alpha 0", &flow.level(1.0).unwrap(), check_level),
        specimen("table", &table, check_schedule),
        specimen("VP", &VariancePreserving::default(), check_schedule),
        specimen(
            "VE",
            &VarianceExploding::new(0.01, 50.0).unwrap(),
            check_schedule,
        ),
        specimen("EDM", &Edm::default(), check_schedule),
        specimen("flow", &flow, check_schedule),
        specimen(
            "rescaled schedule",
            &UnitVariance::of(Edm::default()).with_edm_noise(),
            check_schedule,
        ),
        specimen("range", &flow.lambda_range(), |range: &LambdaRange| {
            assert!(range.noisy() < range.clean());
        }),
        specimen(
            "sub-levels",
            &Sublevels::of(flow, 1000).unwrap(),
            check_schedule,
        ),
        specimen("grid", &trailing, check_grid),
        specimen("spacing", &Spacing::Karras, nothing),
        specimen("kappa", &Kappa::Eta(0.5), nothing),
        specimen("kappa without a number", &Kappa::Fresh, nothing),
        specimen("reverse variance", &ReverseVariance::Explicit(0.5), nothing),
        specimen(
            "first order",
            &FirstOrder::per_edge(vec![Kappa::Ddim, Kappa::Tau(0.5)]),
            nothing,
        ),
        specimen("multistep", &DpmSolverPlusPlus::sde().guarded(), nothing),
        specimen("second-order form", &SecondOrderForm::Exact, nothing),
        specimen("Heun", &Heun::new(), nothing),
        specimen("Heun with churn", &Heun::stochastic(churn), nothing),
        specimen("Euler", &Euler::new().with_churn(churn), nothing),
        specimen("Heun++", &HeunPlusPlus::in_flow_time(), nothing),
        specimen("DPM-2", &Dpm2::new().with_churn(churn), nothing),
        specimen(
            "DPM-Solver",
            &DpmSolverSinglestep::order(3).unwrap(),
            nothing,
        ),
        specimen(
            "DPM-Solver-fast",
            &DpmFast::evaluations(9).unwrap(),
            nothing,
        ),
        specimen("grouped", &GroupedSinglestep::order(2).unwrap(), nothing),
        specimen("DPM-Solver, multistep", &DpmSolver::sde(), nothing),
        specimen(
            "Adams",
            &ExponentialAdams::noise(4).unwrap().guarded(),
            nothing,
        ),
        specimen(
            "UniPC",
            &UniPc::order(3).unwrap().without_corrector_at(vec![0, 7]),
            nothing,
        ),
        specimen("basis", &Basis::Bh1, nothing),
        specimen(
            "SA-Solver",
            &SaSolver::new(3, 4, 0.5)
                .and_then(|solver| solver.within_rho(0.05, f64::INFINITY))
                .unwrap(),
            nothing,
        ),
        specimen(
            "SA-Solver in time",
            &SaSolver::new(2, 0, 1.0)
                .and_then(|solver| solver.within_model_time(200.0, 800.0))
                .unwrap(),
            nothing,
        ),
        specimen("CFG++", &CfgPlusPlus::res(), nothing),
        specimen(
            "CFG++, single-step",
            &CfgPlusPlusSinglestep::new(Kappa::Ancestral(1.0)),
            nothing,
        ),
        specimen(
            "ER-SDE",
            &ErSde::order(3)
                .and_then(|solver| solver.with_noise(ErNoise::Power(2.5)))
                .unwrap(),
            nothing,
        ),
        specimen("ER-SDE's noise", &ErNoise::Logarithmic, nothing),
        specimen("DEIS", &Deis::tab(3).unwrap().in_flow_time(), nothing),
        specimen("LMS", &LinearMultistep::order(4).unwrap(), nothing),
        specimen(
            "iPNDM",
            &Ipndm::order(4).unwrap().variable_steps_as_published(),
            nothing,
        ),
        specimen("PNDM", &Pndm::new().extrapolated_end(), nothing),
        specimen("gradient estimation", &GradientEstimation::new(), nothing),
        specimen(
            "heavy ball",
            &HeavyBall::order(2).unwrap().generalised(),
            nothing,
        ),
        specimen("DPM++ SDE", &DpmPlusPlusSde::new(), nothing),
        specimen(
            "DPM-Solver++, single-step",
            &DpmSolverPlusPlusSinglestep::order(3).unwrap(),
            nothing,
        ),
        specimen(
            "Runge-Kutta",
            &ExponentialRungeKutta::seeds(2).unwrap(),
            nothing,
        ),
        specimen(
            "RePaint",
            &RePaint::new(FirstOrder::ddpm(), 10, 5).unwrap(),
            nothing,
        ),
        specimen("inversion", &DdimInversion::new(), nothing),
        specimen("LCM", &Lcm::new(), nothing),
        specimen("plain LCM", &Lcm::new().without_boundary(), nothing),
        specimen("TCD", &Tcd::new(0.3).unwrap(), nothing),
        specimen("BELM", &Belm::new().from_pair(), nothing),
        specimen("BELM inversion", &BelmInversion::new(), nothing),
        specimen("restart", &Restart::of_steps(Heun::new(), 40), nothing),
        specimen("plan", &plan_by_hand(), check_plan),
        specimen("plan of Heun", sampler(&Heun::new()).plan(), check_plan),
        specimen("step", &plan_by_hand().steps()[0], nothing),
        specimen(
            "kept",
            &Kept::Linear {
                state: 0.5,
                data: 1.5,
            },
            nothing,
        ),
        specimen(
            "sampler",
            &sampler(&FirstOrder::ddpm()).with_clip(clip),
            |sampler: &Sampler| check_plan(sampler.plan()),
        ),
        specimen("snapshot", &snapshot(), check_snapshot),
        specimen("snapshot in f32", &single, nothing),
        specimen("prediction", &Prediction::Edm { data_std: 0.5 }, nothing),
        specimen("clip", &Clip::new(-1.0, 1.0).unwrap(), nothing),
        specimen("keyed noise", &KeyedNoise::new(1 << 60), nothing),
        specimen("noise of a sample", &sample, nothing),
        specimen("path", &path, nothing),
        specimen("torch's noise", &torch, nothing),
        specimen(
            "key",
            &NoiseKey::new(3, 4, Stream::Step(200))
                .with_interval(Interval::new(f64::NEG_INFINITY, f64::INFINITY)),
            nothing,
        ),
        specimen("weight", &weight(), nothing),
        specimen("unguided", &Unguided, nothing),
        specimen("classifier-free", &free, nothing),
        specimen("projected", &projected, nothing),
        specimen(
            "zero star",
            &ZeroStar::with_scale(4.0).unwrap().zero_steps(1),
            nothing,
        ),
        specimen("plus plus", &PlusPlus::new(0.6).unwrap(), nothing),
        specimen("tangential", &Tangential::with_scale(7.5).unwrap(), nothing),
        specimen(
            "perpendicular",
            &PerpendicularNegative::new(7.5, 1.0).unwrap(),
            nothing,
        ),
        specimen("composed", &Composed::new(&[5.0, 2.5]).unwrap(), nothing),
        specimen(
            "perturbed",
            &Perturbed::new(4.0, weight()).unwrap(),
            nothing,
        ),
        specimen(
            "weighted sum",
            &WeightedSum::new(&[1.5, -0.5]).unwrap(),
            nothing,
        ),
        specimen("combination", &combination, nothing),
        specimen("memory", &Memory { decay: 0.5 }, nothing),
        specimen("on an interval", &around, nothing),
        specimen(
            "rescaled",
            &Rescaled::new(free.clone(), 0.7).unwrap(),
            nothing,
        ),
        specimen(
            "classifier",
            &ClassifierGuidance::around(around, weight()),
            nothing,
        ),
    ]
}

#[test]
fn every_solver_of_the_catalogue_is_among_them() {
    let stored: Vec<&str> = all().iter().map(|specimen| specimen.type_name).collect();
    for entry in catalogue() {
        let shown = format!("{:?}", entry.solver);
        let name = shown.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        assert!(stored.contains(&name), "{}: {name}", entry.name);
    }
}
