//! What names mean.

use std::collections::HashMap;

use diffusion_sampler::{
    Grid, Sampler,
    grid::{Spacing, spacings},
    registry::{self, entries},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, SecondOrderForm, Solver},
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
