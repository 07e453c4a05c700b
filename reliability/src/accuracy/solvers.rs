//! Every solver of the catalogue, and every option that changes the scalars.

use diffusion_sampler::Error;
use diffusion_sampler::posterior::{Kappa, ReverseVariance};
use diffusion_sampler::solver::{
    Basis, Belm, CfgPlusPlus, CfgPlusPlusSinglestep, Churn, Deis, Dpm2, DpmFast, DpmPlusPlusSde,
    DpmSolver, DpmSolverPlusPlus, DpmSolverPlusPlusSinglestep, DpmSolverSinglestep, ErNoise, ErSde,
    Euler, ExponentialAdams, ExponentialRungeKutta, FirstOrder, GradientEstimation,
    GroupedSinglestep, HeavyBall, Heun, HeunPlusPlus, Ipndm, Lcm, LinearMultistep, Pndm, RePaint,
    Restart, SaSolver, SecondOrderForm, Solver, Tcd, UniPc, catalogue,
};

/// What a solver may refuse on a valid grid: each kind stands in the documentation of its `plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A level off the grid of a path without a schedule.
    NoSchedule,
    /// A level beyond the schedule's λ.
    Lambda,
    /// A time beyond the schedule's.
    Time,
    /// More noise than a level has.
    Eta,
    /// A coefficient that f64 cannot hold.
    Overflow,
    /// Too few steps, or not those that a number of evaluations needs.
    Steps,
    /// An interval whose ends are one knot.
    Interval,
    /// An interval with fewer levels in f64 than steps.
    Crowded,
}

impl Refusal {
    /// The kind of an error of `plan`, if it is one.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::PathWithoutSchedule { .. } | Error::TimeWithoutSchedule { .. } => {
                Some(Self::NoSchedule)
            }
            Error::LambdaOutOfRange { .. } => Some(Self::Lambda),
            Error::TimeOutOfRange { .. } => Some(Self::Time),
            Error::EtaOutOfRange { .. } | Error::GammaOutOfRange { .. } => Some(Self::Eta),
            Error::InvalidEntry { .. } | Error::EdgeOverflow { .. } => Some(Self::Overflow),
            Error::StepCount { .. } => Some(Self::Steps),
            Error::InvalidParameter { .. } => Some(Self::Interval),
            Error::NoiseNotDecreasing { .. } => Some(Self::Crowded),
            _ => None,
        }
    }
}

/// The first-order solver of the same family.
#[derive(Debug)]
pub enum First {
    /// Where the solver has no noise: DDIM. Where it has, the checks of noise are left out.
    Ddim,
    /// The first-order solver with the same noise.
    Of(Box<dyn Solver>),
    /// None is to be compared, for this reason.
    Exempt(&'static str),
}

/// One solver with what is promised of it.
#[derive(Debug)]
pub struct Listed {
    /// The catalogue's name, or the options.
    pub name: String,
    /// The solver.
    pub solver: Box<dyn Solver>,
    /// Whether it runs from the clean end up.
    pub inverts: bool,
    /// What it is compared with.
    pub first: First,
    /// What its documentation allows it to refuse.
    pub refuses: Vec<Refusal>,
    /// Whether, for data that are one point, the noise of every level comes out exactly.
    pub keeps_points: bool,
    /// Whether its scalars are sums of terms of the size α_s/α_t: rules on E, or on slopes.
    pub weighs_noise: bool,
}

impl Listed {
    /// Whether the documentation says that, with noise, it is for short steps.
    pub fn is_noise_form(&self) -> bool {
        let debug = format!("{:?}", self.solver);
        let kinds = ["DpmSolver ", "ExponentialAdams ", "SaSolver "];
        kinds.iter().any(|kind| debug.starts_with(kind)) && self.weighs_noise
    }

    /// Whether this refusal is documented.
    pub fn may_refuse(&self, error: &Error) -> bool {
        Refusal::of(error).is_some_and(|refusal| self.refuses.contains(&refusal))
    }
}

/// The list.
#[derive(Debug, Default)]
struct List(Vec<Listed>);

fn kappa(kappa: Kappa) -> First {
    First::Of(Box::new(FirstOrder::new(kappa)))
}

impl List {
    fn add(&mut self, name: &str, solver: impl Solver + 'static, first: First) -> &mut Listed {
        self.add_boxed(name, Box::new(solver), first)
    }

    fn add_boxed(&mut self, name: &str, solver: Box<dyn Solver>, first: First) -> &mut Listed {
        let debug = format!("{solver:?}");
        let refuses = documented(&debug);
        let weighs_noise = weighs_noise(&debug);
        self.0.push(Listed {
            name: name.to_owned(),
            solver,
            inverts: false,
            first,
            refuses,
            keeps_points: true,
            weighs_noise,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

/// Whether the type's formula is in E or a slope: x_s = (α_s/α_t) x_t − …, whose terms cancel where
/// the step is wide.
fn weighs_noise(debug: &str) -> bool {
    const KINDS: [&str; 10] = [
        "LinearMultistep",
        "Deis",
        "Ipndm",
        "Pndm",
        "HeavyBall",
        "GradientEstimation",
        "DpmSolver ",
        "DpmSolverSinglestep",
        "DpmFast",
        "Heun",
    ];
    KINDS.iter().any(|kind| debug.contains(kind))
        || debug.contains("estimate: Noise")
        || debug.contains("noise: true")
}

/// What the documentation of the type's `plan` lets it refuse.
fn documented(debug: &str) -> Vec<Refusal> {
    use Refusal::{Crowded, Eta, Interval, Lambda, NoSchedule, Overflow, Steps, Time};
    let kind = debug.split([' ', '{', '(']).next().unwrap_or_default();
    let mut list = match kind {
        "Dpm2" => vec![NoSchedule, Lambda],
        "DpmSolverSinglestep" => vec![NoSchedule],
        "DpmFast" => vec![NoSchedule, Steps],
        "DpmSolverPlusPlusSinglestep" | "CfgPlusPlusSinglestep" => vec![NoSchedule, Lambda],
        "ExponentialRungeKutta" | "DpmPlusPlusSde" => vec![NoSchedule],
        "Tcd" => vec![NoSchedule, Time],
        "Belm" | "BelmInversion" | "DdimInversion" => vec![Overflow],
        "Pndm" => vec![NoSchedule],
        "Restart" => vec![NoSchedule, Lambda, Interval, Crowded],
        "RePaint" => vec![Overflow],
        _ => Vec::new(),
    };
    if debug.contains("warmed_up: true")
        || debug.contains("Churn")
        || debug.contains("within: End(")
        || debug.contains("within: Start(")
    {
        list.push(NoSchedule);
    }
    // The policies that refuse an η: all but DDIM, DDPM, τ, a capped η and fresh noise.
    let policies = ["Eta(", "FlowEta(", "Ancestral(", "Gamma(", "eta: 1.2"];
    let policy = |name: &&str| debug.contains(*name) && !debug.contains("CappedEta(");
    if policies.iter().any(policy) {
        list.push(Eta);
    }
    list
}

/// The reason: it is of first order itself.
pub const FIRST: &str = "is of first order";
/// The reason: the published form.
pub const PUBLISHED: &str = "as published, or unbounded: documented to be wrong on some grids";
/// The reason: a sampler of distilled models.
pub const DISTILLED: &str = "made for distilled models: does not converge to the exact model";
/// The reason: BELM.
pub const PAIR: &str = "documented to multiply errors where steps do not shrink";
/// The reason: it runs upwards.
pub const UPWARDS: &str = "runs upwards";
/// The reason: other noise.
pub const EXTRA: &str =
    "with noise scaled, or of another kind: marginals are documented to be wrong";

/// The reason: it repeats parts of the path.
pub const REPEATS: &str = "repeats parts of the path";

/// The entry of a catalogue name; `None` for a name that this list does not know.
fn of_catalogue(name: &str) -> Option<(First, bool)> {
    let noisy = |first: First| Some((first, true));
    let ode = Some((First::Ddim, true));
    let one = Some((First::Exempt(FIRST), true));
    let tau = |tau: f64| kappa(Kappa::Tau(tau));
    let noise_form = || -> First {
        match DpmSolver::multistep(1).and_then(|solver| solver.with_tau(1.0)) {
            Ok(solver) => First::Of(Box::new(solver)),
            Err(_) => First::Exempt(FIRST),
        }
    };
    let er = || -> First {
        match ErSde::order(1) {
            Ok(solver) => First::Of(Box::new(solver)),
            Err(_) => First::Exempt(FIRST),
        }
    };
    let churned = || match Churn::new(10.0) {
        Ok(churn) => First::Of(Box::new(Euler::new().with_churn(churn))),
        Err(_) => First::Exempt(FIRST),
    };
    match name {
        "DDIM"
        | "DDPM"
        | "DDIM with eta 0.5"
        | "constant tau 0.7"
        | "churned Euler"
        | "Euler ancestral with eta 1.2, capped"
        | "Euler ancestral of flows"
        | "fresh noise"
        | "ER-SDE 1" => one,
        "LCM" => Some((First::Exempt(DISTILLED), false)),
        "TCD" => noisy(First::Exempt(DISTILLED)),
        "BELM" => noisy(First::Exempt(PAIR)),
        "BELM inversion" | "DDIM inversion" => Some((First::Exempt(UPWARDS), false)),
        "RES multistep, ancestral" | "RES multistep for CFG++, ancestral" | "DPM++ SDE" => {
            noisy(kappa(Kappa::Eta(1.0)))
        }
        "RES multistep, ancestral with eta 0.5" => noisy(kappa(Kappa::Eta(0.5))),
        "DEIS log-rho 2, ancestral" => Some((kappa(Kappa::Ddpm), false)),
        "DPM-2 ancestral" => noisy(kappa(Kappa::Ddpm)),
        "DPM-Solver-fast, ancestral" => noisy(kappa(Kappa::Ddpm)),
        "DPM-Solver++(2S), ancestral"
        | "DPM-Solver++(2S) ancestral"
        | "DPM-Solver++(2S) ancestral for CFG++" => noisy(kappa(Kappa::Ddpm)),
        "SDE-DPM-Solver++(2M)"
        | "SDE-DPM-Solver++(2M), exact"
        | "SDE-DPM-Solver++(3M)"
        | "SEEDS-2"
        | "SEEDS-3"
        | "exponential Heun SDE"
        | "SA-Solver 2/2"
        | "SA-Solver 2/2, simple"
        | "SA-Solver 3/4"
        | "SA-Solver 3/4, PECE" => noisy(tau(1.0)),
        // The noise form's own noise: the marginals of a point are right in the limit only.
        "SDE-DPM-Solver multistep 2" | "SA-Solver 2/2, noise form" => Some((noise_form(), false)),
        "ER-SDE 2" | "ER-SDE 3" => noisy(er()),
        "stochastic Heun" => noisy(churned()),
        // The weights of this one do not sum to one.
        "iPNDM-v 4, as published" => Some((First::Exempt(PUBLISHED), false)),
        _ if name.contains("as published") => Some((First::Exempt(PUBLISHED), true)),
        _ if ODES.contains(&name) => ode,
        _ => None,
    }
}

/// The deterministic ones.
const ODES: [&str; 55] = [
    "DPM-Solver++(2M)",
    "DPM-Solver++(2M), exact",
    "DPM-Solver++(3M)",
    "DPM-Solver++(3M), warmed up",
    "DPM-Solver multistep 2",
    "DPM-Solver multistep 2, exact",
    "DPM-Solver multistep 3",
    "DPM-Solver multistep 3, warmed up",
    "RES multistep",
    "exponential Adams 4",
    "exponential Adams 4, warmed up",
    "DEIS log-rho 2",
    "DEIS log-rho 3",
    "DEIS log-rho 4, warmed up",
    "UniPC-1",
    "UniPC-2",
    "UniPC-2, B1",
    "UniPC-2, noise form",
    "UniPC-3",
    "UniP-2",
    "UniP-3",
    "SA-Solver 2/3, without noise",
    "SA-Solver 2/2, PECE, without noise",
    "LMS 2",
    "LMS 3",
    "LMS 4",
    "LMS 3 in flow time",
    "DEIS tAB2",
    "DEIS tAB3",
    "DEIS tAB 2",
    "DEIS tAB 3",
    "DEIS tAB3 in flow time",
    "DEIS tAB 3 in flow time",
    "iPNDM 2",
    "iPNDM 3",
    "iPNDM 4",
    "PNDM",
    "PLMS",
    "gradient estimation",
    "heavy ball 1",
    "heavy ball 4",
    "generalised heavy ball 2",
    "generalised heavy ball 4",
    "ER-SDE 2, without noise",
    "ER-SDE 3, without noise",
    "Heun",
    "Heun in flow time",
    "Heun++",
    "Heun++ in flow time",
    "DPM-2",
    "DPM-2 in flow time",
    "DPM-Solver-3",
    "DPM-Solver-fast",
    "2M for CFG++",
    "RES multistep for CFG++",
];

/// Every solver. The second list has the catalogue's names that the check does not know: it must be
/// empty.
pub fn all() -> Result<(Vec<Listed>, Vec<String>), Error> {
    let (mut list, mut unknown) = (List::default(), Vec::new());
    for entry in catalogue() {
        let deterministic = [
            "grouped",
            "tAB-DEIS",
            "DPM-Solver++(2S)",
            "DPM-Solver++(3S)",
            "RES-2s",
            "RES-3s",
            "exponential Heun",
            "DEIS",
            "LMS",
        ];
        let known = of_catalogue(entry.name).or_else(|| {
            let plain = !entry.name.contains("ancestral");
            let found = deterministic
                .iter()
                .any(|name| entry.name.starts_with(name));
            (plain && found).then_some((First::Ddim, true))
        });
        let Some((first, keeps_points)) = known else {
            unknown.push(entry.name.to_owned());
            continue;
        };
        let listed = list.add_boxed(entry.name, entry.solver, first);
        listed.inverts = entry.inverts;
        listed.keeps_points = keeps_points;
    }
    first_order(&mut list)?;
    exponential(&mut list)?;
    predictor_corrector(&mut list)?;
    slopes(&mut list)?;
    single_step(&mut list)?;
    others(&mut list)?;
    Ok((list.0, unknown))
}

fn first_order(list: &mut List) -> Result<(), Error> {
    let kappas = [
        Kappa::Eta(0.2),
        Kappa::Eta(1.0),
        Kappa::Tau(0.1),
        Kappa::Tau(2.5),
        Kappa::Tau(1e6),
        Kappa::Gamma(0.0),
        Kappa::CappedEta(0.3),
        Kappa::CappedEta(3.0),
        Kappa::FlowEta(0.4),
        Kappa::FlowEta(1.0),
        Kappa::Ancestral(0.6),
        Kappa::Ancestral(1.0),
    ];
    for kappa in kappas {
        let name = format!("FirstOrder {kappa}");
        list.add(&name, FirstOrder::new(kappa), First::Exempt(FIRST));
    }
    let large = FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge);
    list.add("DDPM, fixed large", large, First::Exempt(FIRST))
        .keeps_points = false;
    for amount in [0.1, 3.0, 80.0] {
        let solver = Euler::new().with_churn(Churn::new(amount)?);
        list.add(
            &format!("Euler, churn {amount}"),
            solver,
            First::Exempt(FIRST),
        );
    }
    let churn = Churn::new(40.0)?.between(0.05, 50.0)?.with_noise(1.003)?;
    list.add(
        "Heun, EDM's churn",
        Heun::stochastic(churn),
        First::Exempt(EXTRA),
    )
    .keeps_points = false;
    Ok(())
}

fn exponential(list: &mut List) -> Result<(), Error> {
    use SecondOrderForm::{Exact, Midpoint};
    for order in 1..=3 {
        for form in [Midpoint, Exact] {
            let name = format!("DPM-Solver++({order}M) {form:?}");
            let plain = DpmSolverPlusPlus::multistep(order)?.with_form(form);
            list.add(
                &format!("{name} lower_order_final"),
                plain.lower_order_final(),
                First::Ddim,
            );
            list.add(&format!("{name} guarded"), plain.guarded(), First::Ddim);
            list.add(
                &format!("{name} unbounded"),
                plain.unbounded(),
                First::Exempt(PUBLISHED),
            );
            for tau in [0.3, 1.0, 2.0] {
                let first = kappa(Kappa::Tau(tau));
                let noisy = plain.with_tau(tau)?;
                list.add(&format!("{name} tau {tau}"), noisy, first);
            }
            let noisy = plain.with_tau(1.0)?.unbounded();
            list.add(
                &format!("{name} tau 1 unbounded"),
                noisy,
                First::Exempt(PUBLISHED),
            );
            let noise = DpmSolver::multistep(order)?.with_form(form);
            let name = format!("DPM-Solver({order}M) {form:?}");
            list.add(
                &format!("{name} lower_order_final"),
                noise.lower_order_final(),
                First::Ddim,
            );
            list.add(&format!("{name} guarded"), noise.guarded(), First::Ddim);
            list.add(
                &format!("{name} unbounded"),
                noise.unbounded(),
                First::Exempt(PUBLISHED),
            );
            for tau in [0.3, 1.0] {
                let first = First::Of(Box::new(DpmSolver::multistep(1)?.with_tau(tau)?));
                list.add(&format!("{name} tau {tau}"), noise.with_tau(tau)?, first)
                    .keeps_points = false;
            }
        }
    }
    for order in 1..=4 {
        for (name, solver) in [
            (
                format!("Adams data {order}"),
                ExponentialAdams::data(order)?,
            ),
            (
                format!("Adams noise {order}"),
                ExponentialAdams::noise(order)?,
            ),
        ] {
            list.add(&name, solver, First::Ddim);
            list.add(&format!("{name} guarded"), solver.guarded(), First::Ddim);
            list.add(
                &format!("{name} final"),
                solver.lower_order_final(),
                First::Ddim,
            );
            list.add(
                &format!("{name} warmed up"),
                solver.warmed_up(),
                First::Ddim,
            );
            list.add(
                &format!("{name} unbounded"),
                solver.unbounded(),
                First::Exempt(PUBLISHED),
            );
            for policy in [
                Kappa::Tau(0.6),
                Kappa::Ddpm,
                Kappa::CappedEta(1.3),
                Kappa::FlowEta(0.7),
                Kappa::Ancestral(1.0),
            ] {
                // In noise form E before differs by its own noise, of a point too.
                let keeps = order == 1 || name.contains("data");
                let name = format!("{name} {policy}");
                list.add(&name, solver.with_kappa(policy), kappa(policy))
                    .keeps_points = keeps;
            }
        }
    }
    Ok(())
}

fn predictor_corrector(list: &mut List) -> Result<(), Error> {
    for order in 1..=3 {
        for basis in [Basis::Bh1, Basis::Bh2] {
            let plain = UniPc::order(order)?.with_basis(basis);
            let name = format!("UniPC {order} {basis:?}");
            list.add(&name, plain.clone(), First::Ddim);
            list.add(
                &format!("{name} noise"),
                plain.clone().in_noise(),
                First::Ddim,
            );
            list.add(
                &format!("{name} final"),
                plain.clone().lower_order_final(),
                First::Ddim,
            );
            list.add(
                &format!("{name} guarded"),
                plain.clone().guarded(),
                First::Ddim,
            );
            let without = plain.clone().without_corrector_at(vec![0, 2, 3]);
            list.add(
                &format!("{name} without corrector at 0, 2, 3"),
                without,
                First::Ddim,
            );
            let unbounded = plain.clone().unbounded();
            list.add(
                &format!("{name} unbounded"),
                unbounded,
                First::Exempt(PUBLISHED),
            );
            list.add(
                &format!("UniP {order} {basis:?}"),
                plain.predictor_only(),
                First::Ddim,
            );
        }
    }
    for (predictor, corrector) in [(1, 1), (1, 2), (2, 0), (2, 4), (3, 3), (4, 0), (4, 4)] {
        for tau in [0.0, 0.4, 1.0] {
            let plain = SaSolver::new(predictor, corrector, tau)?;
            let first = || match tau {
                0.0 => First::Ddim,
                tau => kappa(Kappa::Tau(tau)),
            };
            let name = format!("SA-Solver {predictor}/{corrector} tau {tau}");
            list.add(&name, plain, first());
            list.add(&format!("{name} PECE"), plain.evaluating_twice(), first());
            list.add(&format!("{name} simple"), plain.simple(), first());
            let before = plain.lower_order_before_clean_end();
            list.add(&format!("{name} before clean end"), before, first());
            list.add(&format!("{name} final"), plain.lower_order_final(), first());
            let unbounded = plain.unbounded();
            list.add(
                &format!("{name} unbounded"),
                unbounded,
                First::Exempt(PUBLISHED),
            );
            let first = match tau {
                0.0 => First::Ddim,
                tau => First::Of(Box::new(DpmSolver::multistep(1)?.with_tau(tau)?)),
            };
            list.add(&format!("{name} noise"), plain.in_noise(), first)
                .keeps_points = tau == 0.0;
        }
    }
    let plain = SaSolver::new(3, 4, 1.0)?;
    let parts = "noise on a part of the path: no first-order solver has it";
    let ending = plain
        .ending_within(0.2, 0.8)?
        .lower_order_before_clean_end();
    list.add("SA-Solver ending within", ending, First::Exempt(parts));
    list.add(
        "SA-Solver starting within",
        plain.starting_within(0.2, 0.8)?,
        First::Exempt(parts),
    );
    list.add(
        "SA-Solver within rho",
        plain.within_rho(0.5, 5.0)?,
        First::Exempt(parts),
    );
    Ok(())
}

fn slopes(list: &mut List) -> Result<(), Error> {
    for order in 1..=4 {
        let lms = LinearMultistep::order(order)?;
        list.add(&format!("LMS order {order}"), lms, First::Ddim);
        list.add(
            &format!("LMS order {order} flow"),
            lms.in_flow_time(),
            First::Ddim,
        );
        let end = lms.extrapolated_end();
        list.add(
            &format!("LMS order {order} end"),
            end,
            First::Exempt(PUBLISHED),
        );
        let deis = Deis::tab(order)?;
        list.add(&format!("DEIS order {order}"), deis, First::Ddim);
        list.add(
            &format!("DEIS order {order} flow"),
            deis.in_flow_time(),
            First::Ddim,
        );
        let even = Ipndm::order(order)?;
        list.add(
            &format!("iPNDM order {order} flow"),
            even.in_flow_time(),
            First::Ddim,
        );
        list.add(
            &format!("iPNDM-v order {order}"),
            even.variable_steps(),
            First::Ddim,
        );
        let flow = even.variable_steps().in_flow_time();
        list.add(&format!("iPNDM-v order {order} flow"), flow, First::Ddim);
        let published = even.variable_steps_as_published();
        let name = format!("iPNDM-v order {order} published");
        list.add(&name, published, First::Exempt(PUBLISHED))
            .keeps_points = order < 4;
        let end = even.extrapolated_end();
        list.add(
            &format!("iPNDM order {order} end"),
            end,
            First::Exempt(PUBLISHED),
        );
        for beta in [0.3, 0.8, 1.0] {
            let ball = HeavyBall::order(order)?.with_beta(beta)?;
            list.add(&format!("HB {order} beta {beta}"), ball, First::Ddim);
            list.add(
                &format!("GHVB {order} beta {beta}"),
                ball.generalised(),
                First::Ddim,
            );
        }
    }
    for noise in [
        ErNoise::Ode,
        ErNoise::Sde,
        ErNoise::Power(1.0),
        ErNoise::Power(2.5),
        ErNoise::Reciprocal,
        ErNoise::Logarithmic,
        ErNoise::Exponential,
    ] {
        for order in 1..=3 {
            let solver = ErSde::order(order)?.with_noise(noise)?;
            let first = match order {
                1 => First::Exempt(FIRST),
                _ => First::Of(Box::new(ErSde::order(1)?.with_noise(noise)?)),
            };
            list.add(&format!("ER-SDE order {order} {noise:?}"), solver, first);
        }
        let published = ErSde::order(3)?.with_noise(noise)?.as_published();
        let name = format!("ER-SDE published {noise:?}");
        list.add(&name, published, First::Exempt(PUBLISHED));
    }
    let loud = ErSde::order(2)?.with_s_noise(1.1)?;
    list.add("ER-SDE s_noise", loud, First::Exempt(EXTRA))
        .keeps_points = false;
    list.add(
        "PNDM end",
        Pndm::new().extrapolated_end(),
        First::Exempt(PUBLISHED),
    );
    list.add(
        "PLMS end",
        Pndm::plms().extrapolated_end(),
        First::Exempt(PUBLISHED),
    );
    for gamma in [1.0, 1.5, 3.0] {
        let solver = GradientEstimation::new().with_gamma(gamma)?;
        list.add(&format!("gradient estimation {gamma}"), solver, First::Ddim);
        let flow = solver.in_flow_time();
        list.add(
            &format!("gradient estimation {gamma} flow"),
            flow,
            First::Ddim,
        );
    }
    Ok(())
}

fn single_step(list: &mut List) -> Result<(), Error> {
    use SecondOrderForm::{Exact, Midpoint};
    let policies = [
        Kappa::Ddpm,
        Kappa::CappedEta(1.3),
        Kappa::Eta(0.5),
        Kappa::Ancestral(1.0),
    ];
    for order in 1..=3 {
        let single = DpmSolverSinglestep::order(order)?;
        list.add(&format!("DPM-Solver-{order}"), single, First::Ddim);
        let grouped = GroupedSinglestep::order(order)?;
        for form in [Midpoint, Exact] {
            let name = format!("grouped {order} {form:?}");
            let solver = grouped.with_form(form);
            list.add(&name, solver, First::Ddim);
            list.add(
                &format!("{name} noise"),
                solver.in_noise_form(),
                First::Ddim,
            );
            list.add(
                &format!("{name} final"),
                solver.lower_order_final(),
                First::Ddim,
            );
        }
        for policy in policies {
            let name = format!("DPM-Solver-{order} {policy}");
            list.add(&name, single.with_kappa(policy), kappa(policy));
            if order > 1 {
                let solver = DpmSolverPlusPlusSinglestep::order(order)?.with_kappa(policy);
                list.add(
                    &format!("DPM-Solver++({order}S) {policy}"),
                    solver,
                    kappa(policy),
                );
            }
        }
    }
    let nodes = DpmSolverPlusPlusSinglestep::order(2)?.with_nodes(&[0.8])?;
    list.add("DPM-Solver++(2S) node 0.8", nodes, First::Ddim);
    let nodes = DpmSolverPlusPlusSinglestep::order(3)?.with_nodes(&[0.25, 1.0])?;
    list.add("DPM-Solver++(3S) nodes 0.25 1", nodes, First::Ddim);
    for policy in policies {
        list.add(
            &format!("DPM-2 {policy}"),
            Dpm2::new().with_kappa(policy),
            kappa(policy),
        );
        let flow = Dpm2::in_flow_time().with_kappa(policy);
        list.add(&format!("DPM-2 flow {policy}"), flow, kappa(policy));
        let solver = CfgPlusPlusSinglestep::new(policy);
        list.add(&format!("2S for CFG++ {policy}"), solver, kappa(policy));
        let solver = CfgPlusPlus::res().with_kappa(policy);
        list.add(&format!("RES for CFG++ {policy}"), solver, kappa(policy));
    }
    let unbounded = CfgPlusPlus::multistep().unbounded();
    list.add(
        "2M for CFG++ unbounded",
        unbounded,
        First::Exempt(PUBLISHED),
    );
    let churn = Churn::new(10.0)?;
    let churned = || First::Of(Box::new(Euler::new().with_churn(churn)));
    list.add("DPM-2 churn", Dpm2::new().with_churn(churn), churned());
    list.add(
        "Heun flow churn",
        Heun::in_flow_time().with_churn(churn),
        churned(),
    );
    list.add(
        "Heun++ churn",
        HeunPlusPlus::new().with_churn(churn),
        churned(),
    );
    for tau in [0.0, 0.5, 1.0, 2.0] {
        let first = || match tau {
            0.0 => First::Ddim,
            tau => kappa(Kappa::Tau(tau)),
        };
        for order in [2, 3] {
            let seeds = ExponentialRungeKutta::seeds(order)?.with_tau(tau)?;
            list.add(&format!("SEEDS-{order} tau {tau}"), seeds, first());
            let res = ExponentialRungeKutta::res(order)?.with_tau(tau)?;
            list.add(&format!("RES-{order}s tau {tau}"), res, first());
        }
        let heun = ExponentialRungeKutta::heun().with_tau(tau)?;
        list.add(&format!("exp Heun tau {tau}"), heun, first());
        let name = format!("exp Heun midpoint tau {tau}");
        list.add(&name, heun.with_form(Midpoint), first());
        let nodes = ExponentialRungeKutta::res(3)?.with_nodes(&[0.2, 0.9])?;
        list.add(
            &format!("RES-3s nodes tau {tau}"),
            nodes.with_tau(tau)?,
            first(),
        );
    }
    for (eta, node) in [(0.0, 0.5), (0.4, 0.5), (1.0, 0.3), (1.0, 1.0)] {
        let solver = DpmPlusPlusSde::new().with_eta(eta)?.with_node(node)?;
        let first = match eta {
            0.0 => First::Ddim,
            eta => kappa(Kappa::Eta(eta)),
        };
        list.add(&format!("DPM++ SDE eta {eta} node {node}"), solver, first);
    }
    list.add("DPM fast 7", DpmFast::evaluations(7)?, First::Ddim);
    Ok(())
}

fn others(list: &mut List) -> Result<(), Error> {
    list.add(
        "LCM without boundary",
        Lcm::new().without_boundary(),
        First::Exempt(DISTILLED),
    );
    for gamma in [0.0, 0.7, 1.0] {
        list.add(
            &format!("TCD {gamma}"),
            Tcd::new(gamma)?,
            First::Exempt(DISTILLED),
        );
    }
    list.add("BELM again", Belm::new(), First::Exempt(PAIR));
    let restart = Restart::new(Heun::new()).with_interval(0.1, 2.0, 2, 4)?;
    list.add("Restart of Heun", restart, First::Exempt(REPEATS));
    let restart = Restart::new(DpmSolverPlusPlus::new()).with_interval(0.0, 0.5, 1, 3)?;
    list.add("Restart of 2M", restart, First::Exempt(REPEATS));
    let repaint = RePaint::new(FirstOrder::ddim(), 3, 2)?;
    list.add("RePaint of DDIM", repaint, First::Exempt(REPEATS));
    let repaint = RePaint::new(DpmSolverPlusPlus::new(), 2, 2)?;
    list.add("RePaint of 2M", repaint, First::Exempt(REPEATS));
    Ok(())
}
