//! What names mean.

use std::collections::HashMap;

use diffusion_sampler::{
    Error, Grid, Sampler,
    grid::{Spacing, spacings},
    plan::Plan,
    posterior::Kappa,
    registry::{self, entries},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{
        Basis, CfgPlusPlusSinglestep, DpmSolverPlusPlus, ErSde, ExponentialAdams, FirstOrder, Heun,
        LinearMultistep, Path, SaSolver, SecondOrderForm, Solver, UniPc,
    },
};

fn name_of(name: &str) -> Option<&'static str> {
    Some(registry::sampler(name).ok()?.entry.name)
}

#[test]
fn every_listed_name_means_its_own_entry() {
    for entry in entries() {
        for name in entry.all_names() {
            assert_eq!(name_of(name), Some(entry.name), "{name}");
        }
    }
}

/// candle-transformers' types and functions, and what they are here.
const CANDLE: [(&str, &str); 12] = [
    ("DDIMScheduler", "DDIM"),
    ("DDIMSchedulerConfig", "DDIM"),
    ("DDPMScheduler", "DDPM"),
    ("DDPMSchedulerConfig", "DDPM"),
    ("DDPMWScheduler", "DDPM"),
    ("DDPMWSchedulerConfig", "DDPM"),
    ("EdmDpmMultistepScheduler", "UniPC 2, bh1"),
    ("EulerAncestralDiscreteScheduler", "Euler a"),
    ("EulerAncestralDiscreteSchedulerConfig", "Euler a"),
    ("FlowMatchEulerDiscreteScheduler", "DDIM"),
    ("UniPCSchedulerConfig", "UniPC 2, bh1"),
    ("euler_sample", "DDIM"),
];

/// diffusers-rs' types, which are diffusers' classes, and what they are here.
const DIFFUSERS_RS: [(&str, &str); 20] = [
    ("DDIMScheduler", "DDIM"),
    ("DDIMSchedulerConfig", "DDIM"),
    ("DDPMScheduler", "DDPM"),
    ("DDPMSchedulerConfig", "DDPM"),
    ("DPMSolverMultistepScheduler", "DPM++ 2M"),
    ("DPMSolverMultistepSchedulerConfig", "DPM++ 2M"),
    ("EulerAncestralDiscreteScheduler", "Euler a"),
    ("EulerAncestralDiscreteSchedulerConfig", "Euler a"),
    ("EulerDiscreteScheduler", "DDIM"),
    ("EulerDiscreteSchedulerConfig", "DDIM"),
    ("HeunDiscreteScheduler", "Heun"),
    ("HeunDiscreteSchedulerConfig", "Heun"),
    ("KDPM2AncestralDiscreteScheduler", "DPM2 a"),
    ("KDPM2AncestralDiscreteSchedulerConfig", "DPM2 a"),
    ("KDPM2DiscreteScheduler", "DPM2"),
    ("KDPM2DiscreteSchedulerConfig", "DPM2"),
    ("LMSDiscreteScheduler", "LMS"),
    ("LMSDiscreteSchedulerConfig", "LMS"),
    // diffusers' meaning; without its skip_prk_steps this library's is PLMS.
    ("PNDMScheduler", "PNDM"),
    ("PNDMSchedulerConfig", "PNDM"),
];

#[test]
fn rust_libraries_types_are_found_with_and_without_config() {
    for (name, ours) in CANDLE.into_iter().chain(DIFFUSERS_RS) {
        assert_eq!(name_of(name), Some(ours), "{name}");
    }
    // The suffix alone is no name, and none is left of a spacing's.
    assert_eq!(
        (name_of("Config"), name_of("SchedulerConfig")),
        (None, None)
    );
}

#[test]
fn entries_have_different_names_and_different_solvers() {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for entry in entries() {
        let solver = format!("{:?}, CFG++: {}", entry.solver().unwrap(), entry.plus_plus);
        let before = seen.insert(solver, entry.name);
        assert_eq!(before, None, "the same solver as {}", entry.name);
        assert!(!entry.source.is_empty() && !entry.names.is_empty());
    }
    let mut names: Vec<&str> = entries().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), seen.len());
}

#[test]
fn plus_plus_is_said_of_the_names_that_have_it() {
    let mut found = 0;
    for entry in entries() {
        for name in entry.all_names() {
            let named = ["cfg_pp", "CFG++"].iter().any(|part| name.contains(part));
            assert_eq!(entry.plus_plus, named, "{name}");
            found += usize::from(name.ends_with("cfg_pp"));
        }
    }
    // ComfyUI's seven and stable-diffusion.cpp's two.
    assert_eq!(found, 9);
}

/// Plans on a table of 1000 and on a flow, onto the clean end and to one above it.
fn plans(solver: &dyn Solver, steps: usize) -> Result<Vec<Plan>, Error> {
    let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let flow = RectifiedFlow::shifted(3.0)?;
    let mut plans = Vec::new();
    for schedule in [&table as &dyn NoiseSchedule, &flow] {
        let grid = Grid::trailing(schedule, steps)?;
        let end = schedule.level(0.05 * schedule.last_time())?;
        let above = grid.clone().ending_at(end)?;
        for grid in [grid, above] {
            plans.push(solver.plan(&Path::new(schedule, &grid)?)?);
        }
    }
    Ok(plans)
}

#[test]
fn options_that_libraries_have_by_default_are_on() {
    let unipc = |order, basis| UniPc::order(order).unwrap().with_basis(basis);
    let sa = SaSolver::new(3, 4, 1.0).unwrap();
    let sa = sa.ending_within(0.2, 0.8).unwrap();
    let sa_2 = SaSolver::new(2, 2, 1.0).unwrap().simple();
    let sa_2 = sa_2.starting_within(0.2, 0.8).unwrap();
    let ancestral = Kappa::CappedEta(1.0);
    let cases: [(&str, Box<dyn Solver>); 10] = [
        ("uni_pc", Box::new(unipc(3, Basis::Bh1).lower_order_final())),
        ("UniPC", Box::new(unipc(3, Basis::Bh1).lower_order_final())),
        (
            "uni_pc_bh2",
            Box::new(unipc(3, Basis::Bh2).lower_order_final()),
        ),
        (
            "UniPCMultistepScheduler",
            Box::new(unipc(2, Basis::Bh2).lower_order_final()),
        ),
        ("sa_solver", Box::new(sa.lower_order_before_clean_end())),
        ("SASolverScheduler", Box::new(sa_2.lower_order_final())),
        (
            "res_multistep_ancestral",
            Box::new(ExponentialAdams::data(2).unwrap().with_kappa(ancestral)),
        ),
        (
            "dpmpp_2s_ancestral_cfg_pp",
            Box::new(CfgPlusPlusSinglestep::new(Kappa::Ancestral(1.0))),
        ),
        (
            "er_sde as published",
            Box::new(ErSde::order(3).unwrap().as_published()),
        ),
        (
            "dpmpp_3m_sde as published",
            Box::new(
                DpmSolverPlusPlus::multistep(3)
                    .and_then(|solver| solver.as_published().with_tau(1.0))
                    .unwrap(),
            ),
        ),
    ];
    for (name, solver) in cases {
        let named = registry::sampler(name).unwrap().solver;
        // At 8 steps the lowered orders show.
        assert!(plans(&named, 8) == plans(&solver, 8), "{name}");
    }
    let named = |name: &str| plans(&registry::sampler(name).unwrap().solver, 8);
    assert_ne!(named("uni_pc"), plans(&unipc(3, Basis::Bh1), 8));
    let flow_form = ExponentialAdams::data(2).unwrap();
    let flow_form = flow_form.with_kappa(Kappa::Ancestral(1.0));
    assert_ne!(named("res_multistep_ancestral"), plans(&flow_form, 8));
    for name in ["ipndm_v", "er_sde", "dpmpp_3m_sde"] {
        let published = named(&format!("{name} as published"));
        assert!(published.is_ok());
        assert_ne!(named(name), published, "{name}");
    }
}

#[test]
fn libraries_sigma_is_that_of_the_flow() {
    // Also shifted, from α = 0, and with all knots near an end of the schedule.
    let lms = LinearMultistep::order(4).unwrap();
    let named = registry::sampler("lms").unwrap().solver;
    for shift in [1.0, 3.0, 12.0] {
        let flow = RectifiedFlow::shifted(shift).unwrap();
        let noisy = [1.0, 0.999_999, 0.999_99, 0.999];
        let clean = [1e-3, 1e-5, 1e-8, 0.0];
        for times in [noisy, clean, [1.0, 0.7, 0.2, 0.0]] {
            let grid = Grid::from_times(&flow, &times).unwrap();
            let path = Path::new(&flow, &grid).unwrap();
            assert_eq!(
                named.plan(&path),
                lms.in_flow_time().plan(&path),
                "{times:?}"
            );
        }
    }
    // The ends of a table with zero terminal SNR lie on a flow, and decide nothing.
    let table = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let table = table.zero_terminal_snr().unwrap();
    for steps in [1, 2, 5] {
        let grid = Grid::trailing(&table, steps).unwrap();
        let path = Path::new(&table, &grid).unwrap();
        assert_eq!(named.plan(&path), lms.plan(&path));
    }
}

#[test]
fn spelling_does_not_count() {
    for name in [
        "dpmpp_2m",
        "DPM++ 2M",
        "dpm++2m",
        "DPM-PP 2M",
        "k_dpmpp_2m",
        "sample_dpmpp_2m",
    ] {
        assert_eq!(name_of(name), Some("DPM++ 2M"), "{name}");
    }
    for name in [
        "HeunDiscreteScheduler",
        "HeunDiscrete",
        "Heun",
        "heun discrete scheduler",
    ] {
        assert_eq!(name_of(name), Some("Heun"), "{name}");
    }
    // Only a class has the word that may be left out.
    assert!(registry::sampler("dpmpp_2m scheduler").is_err());
}

#[test]
fn a_name_gives_the_plan_of_the_type_with_its_defaults() {
    let cases: [(&str, &dyn Solver); 7] = [
        ("euler", &FirstOrder::ddim()),
        ("ddim", &FirstOrder::ddim()),
        ("ddpm", &FirstOrder::ddpm()),
        ("heun", &Heun::new()),
        ("dpmpp_2m", &DpmSolverPlusPlus::new()),
        ("dpmpp_2m_sde", &DpmSolverPlusPlus::sde()),
        (
            "dpmpp_2m_sde_heun",
            &DpmSolverPlusPlus::sde().with_form(SecondOrderForm::Exact),
        ),
    ];
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, 7).unwrap();
    let path = Path::new(&schedule, &grid).unwrap();
    for (name, solver) in cases {
        let named = registry::sampler(name).unwrap();
        assert_eq!(named.solver.plan(&path), solver.plan(&path), "{name}");
        assert_eq!(named.spacing, None);
    }
}

#[test]
fn a_spacing_in_the_name_makes_the_grid() {
    let edm = Edm::default();
    let karras = Grid::karras(&edm, 9, edm.lambda_range(), 7.0).unwrap();
    let expected = Sampler::new(&edm, &karras, &DpmSolverPlusPlus::sde()).unwrap();
    for name in [
        "DPM++ 2M SDE Karras",
        "dpmpp_2m_sde karras",
        "dpmpp_2m_sde_karras",
        "k_dpmpp_2m_sde_ka",
        "DPMSolverMultistepScheduler sde-dpmsolver++ Karras",
    ] {
        let named = registry::sampler(name).unwrap();
        assert_eq!(named.entry.name, "DPM++ 2M SDE", "{name}");
        assert_eq!(named.sampler(&edm, 9).unwrap(), expected, "{name}");
        // Of two spacings the given one counts.
        let other = named.with_spacing(Spacing::named("exponential").unwrap());
        assert_ne!(other.sampler(&edm, 9).unwrap(), expected, "{name}");
    }
    let given = registry::sampler("dpmpp_2m_sde").unwrap();
    let given = given.with_spacing(Spacing::named("karras").unwrap());
    assert_eq!(given.sampler(&edm, 9).unwrap(), expected);
    // A spacing in a name that is listed as a whole counts too.
    let named = registry::sampler("ddim_trailing").unwrap();
    assert_eq!(named.spacing, Some(Spacing::Trailing));
    // The longest sampler counts, not the shortest.
    let named = registry::sampler("DPM++ 2M SDE Heun Karras").unwrap();
    assert_eq!(named.entry.name, "DPM++ 2M SDE Heun");
}

#[test]
fn every_sampler_can_be_followed_by_every_spacing() {
    for entry in entries() {
        for name in entry.all_names() {
            for known in spacings() {
                for spacing in [known.name].iter().chain(known.aliases) {
                    let both = format!("{name} {spacing}");
                    if Spacing::named(&both).is_ok() {
                        // "DDIM uniform", for example.
                        assert!(registry::sampler(&both).is_err(), "{both}");
                        continue;
                    }
                    let named = registry::sampler(&both).unwrap();
                    // "Euler discrete" is a class's name too, without "Scheduler".
                    let class = *spacing == "discrete" && named.spacing.is_none();
                    assert!(class || named.spacing == Some(known.spacing), "{both}");
                    assert_eq!(named.entry.name, entry.name, "{both}");
                }
            }
        }
    }
}

#[test]
fn every_sampler_plans_on_every_kind_of_schedule() {
    let schedules: [Box<dyn NoiseSchedule>; 4] = [
        Box::new(TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap()),
        Box::new(VariancePreserving::default()),
        Box::new(Edm::default()),
        Box::new(RectifiedFlow::new()),
    ];
    for entry in entries() {
        for schedule in &schedules {
            for steps in [1, 2, 10] {
                let grid = Grid::trailing(&**schedule, steps).unwrap();
                let sampler = Sampler::new(&**schedule, &grid, &entry.solver().unwrap());
                assert!(sampler.is_ok(), "{}: {sampler:?}", entry.name);
            }
        }
    }
}
