//! Spacings by name: the list, its names, and every spacing on every schedule.

use std::collections::HashMap;

use diffusion_sampler::{
    Error, Grid,
    grid::{AlignYourSteps, SigmaRange, Spacing, spacings},
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::{Outcome, TABLE, is_sound};

/// A schedule and its name.
type Named = (&'static str, Box<dyn NoiseSchedule>);

fn schedules() -> Result<Vec<Named>, Error> {
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    Ok(vec![
        ("zero terminal SNR", Box::new(table.zero_terminal_snr()?)),
        ("Stable Diffusion", Box::new(table)),
        ("cosine", Box::new(TableSchedule::cosine(TABLE)?)),
        ("VP", Box::new(VariancePreserving::default())),
        ("VE", Box::new(VarianceExploding::new(0.002, 700.0)?)),
        ("EDM", Box::new(Edm::new(0.002, 700.0)?)),
        ("flow", Box::new(RectifiedFlow::new())),
        ("shifted flow", Box::new(RectifiedFlow::shifted(3.0)?)),
    ])
}

/// What a spacing may be refused for: what the schedule lacks, or a count that cannot be had.
fn is_a_reason(error: &Error) -> bool {
    matches!(
        error,
        Error::StepCount { .. }
            | Error::SpacingImpossible { .. }
            | Error::NoiseNotDecreasing { .. }
            | Error::UnboundedLambda { .. }
            | Error::LambdaOutOfRange { .. }
    )
}

#[test]
fn every_spacing_gives_exactly_its_steps_or_says_why_not() -> Outcome {
    for (name, schedule) in schedules()? {
        let mut had = 0;
        for entry in spacings() {
            for steps in [1, 2, 4, 5, 10, 20, 50] {
                match entry.spacing.grid(&*schedule, steps) {
                    Ok(grid) => {
                        is_sound(&grid, steps);
                        had += 1;
                    }
                    Err(error) => {
                        assert!(is_a_reason(&error), "{name}, {}: {error}", entry.name);
                        // At the steps that people take, only tables with an infinite end, a cut
                        // that the table does not reach, few-step lists, and σ above 1 refuse.
                        let ours = ["Stable Diffusion", "flow", "shifted flow"].contains(&name);
                        let few = entry.spacing == Spacing::Turbo
                            || entry.spacing == Spacing::Laplace && name.contains("flow");
                        let ends = matches!(
                            error,
                            Error::UnboundedLambda { .. } | Error::LambdaOutOfRange { .. }
                        );
                        assert!(!ours || few || ends || steps == 1 || steps == 50, "{error}");
                    }
                }
            }
        }
        assert!(had > 100, "{name}: {had}");
    }
    Ok(())
}

#[test]
fn every_name_has_the_options_that_its_definition_says() -> Outcome {
    use Spacing as Of;
    for schedule in [
        &TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)? as &dyn NoiseSchedule,
        &RectifiedFlow::shifted(3.0)?,
        &Edm::new(0.002, 800.0)?,
    ] {
        let table = Sublevels::of(schedule, 1000)?;
        let range = SigmaRange::of(&table)?;
        let table = &table;
        let ays = |kind| Grid::align_your_steps(schedule, 9, kind);
        for (spacing, expected) in [
            (Of::Trailing, Grid::trailing(schedule, 9)),
            (Of::Leading, Grid::leading(table, 9, 0)),
            (Of::Linspace, Grid::linspace(table, 9)),
            (Of::Quadratic, Grid::quadratic(schedule, 9)),
            (Of::DdimQuadratic, Grid::ddim_quadratic(table, 9)),
            (
                Of::UniformLambda,
                Grid::uniform_lambda(schedule, 9, range.lambdas()),
            ),
            (Of::Karras, Grid::karras(schedule, 9, range, 7.0)),
            (Of::Exponential, Grid::exponential(schedule, 9, range, 1.0)),
            (Of::Normal, Grid::normal(table, 9)),
            (Of::SgmUniform, Grid::sgm_uniform(table, 9)),
            (Of::Simple, Grid::simple(table, 9)),
            (Of::DdimUniform, Grid::ddim_uniform(table, 9)),
            (Of::BetaIndices, Grid::beta_indices(table, 9, (0.6, 0.6))),
            (Of::Beta57, Grid::beta_indices(table, 9, (0.5, 0.7))),
            (
                Of::BetaSigmas,
                Grid::beta_sigmas(schedule, 9, range, (0.6, 0.6)),
            ),
            (Of::KlOptimal, Grid::kl_optimal(schedule, 9, range)),
            (Of::Arctan, Grid::arctan(schedule, 9, 1.0)),
            (Of::Laplace, Grid::laplace(schedule, 9, range, 0.0, 0.5)),
            (
                Of::LinearQuadratic,
                Grid::linear_quadratic(schedule, 9, range, 0.025),
            ),
            (Of::BongTangent, Grid::bong_tangent(schedule, 9, range)),
            (Of::Smoothstep, Grid::smoothstep(table, 9)),
            (Of::Lcm, Grid::lcm(table, 9, 50)),
            (Of::Turbo, Grid::turbo(table, 9, 10)),
            (Of::EdmVp, Grid::edm_vp(schedule, 9, range, 1e-3)),
            (Of::Iddpm, Grid::iddpm(schedule, 9, range)),
            (Of::AlignYourStepsSd15, ays(AlignYourSteps::Sd15)),
            (Of::AlignYourStepsSdxl, ays(AlignYourSteps::Sdxl)),
            (Of::AlignYourStepsSvd, ays(AlignYourSteps::Svd)),
            (Of::Sway, Grid::sway(schedule, 9, -1.0)),
            (Of::SwayInTime, Grid::sway_in_time(schedule, 9, 1.0)),
        ] {
            // Also the errors are the same: a cut that the schedule does not reach.
            match (spacing.grid(schedule, 9), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{spacing}"),
                (Err(found), Err(expected)) => assert_eq!(found, expected, "{spacing}"),
                (found, expected) => panic!("{spacing}: {found:?} for {expected:?}"),
            }
        }
    }
    Ok(())
}

#[test]
fn counts_that_cannot_be_are_errors_for_every_spacing() -> Outcome {
    for (name, schedule) in schedules()? {
        for entry in spacings() {
            let place = format!("{name}, {}", entry.name);
            for steps in [0, usize::MAX] {
                let refused = entry.spacing.grid(&*schedule, steps);
                assert!(
                    matches!(
                        refused,
                        Err(Error::StepCount { .. } | Error::UnboundedLambda { .. })
                    ),
                    "{place}: {refused:?}"
                );
            }
            for steps in [999, 1000] {
                if let Ok(grid) = entry.spacing.grid(&*schedule, steps) {
                    is_sound(&grid, steps);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_spacing_composes() -> Outcome {
    for (name, schedule) in schedules()? {
        for entry in spacings() {
            let Ok(grid) = entry.spacing.grid(&*schedule, 10) else {
                continue;
            };
            let place = format!("{name}, {}", entry.name);
            let (noisy, clean) = (grid.section(0..4)?, grid.section(4..10)?);
            assert_eq!(noisy.then(&clean)?, grid, "{place}");
            let without = grid.without_clean_end()?;
            assert_eq!(without.steps(), 9, "{place}");
            assert!(!without.end().is_clean());
            // Joined to another spacing from there down.
            let rest = Grid::from_levels(vec![without.end(), grid.end()], 1.0)?;
            assert_eq!(without.then(&rest)?.levels(), grid.levels());
            let start = grid.levels()[3];
            let late = grid.clone().starting_at(&*schedule, start)?;
            assert_eq!(late.levels(), &grid.levels()[3..], "{place}");
            assert_eq!(late.start_variance(), schedule.start_variance(&start));
        }
    }
    Ok(())
}

#[test]
fn every_name_and_alias_is_one_spacing_in_any_spelling() -> Outcome {
    let mut known: HashMap<String, Spacing> = HashMap::new();
    for entry in spacings() {
        assert_eq!(entry.spacing.name(), entry.name);
        assert_eq!(entry.spacing.to_string(), entry.name);
        assert_eq!(format!("{:>22}|", entry.spacing).len(), 23);
        assert!(!entry.definition.is_empty() && !entry.source.is_empty());
        for name in std::iter::once(&entry.name).chain(entry.aliases) {
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            let taken = known.insert(plain.to_lowercase(), entry.spacing);
            assert_eq!(taken, None, "{name} names two");
            for spelling in [
                name.to_string(),
                name.to_uppercase(),
                name.replace('_', " "),
                name.replace('_', ""),
                format!("  {} ", name.replace('_', "-")),
            ] {
                assert_eq!(Spacing::named(&spelling)?, entry.spacing, "{spelling}");
                assert_eq!(spelling.parse::<Spacing>()?, entry.spacing);
            }
        }
    }
    Ok(())
}

#[test]
fn names_of_other_libraries_resolve() -> Outcome {
    for (name, spacing) in [
        // ComfyUI.
        ("normal", Spacing::Normal),
        ("simple", Spacing::Simple),
        ("karras", Spacing::Karras),
        ("exponential", Spacing::Exponential),
        ("sgm_uniform", Spacing::SgmUniform),
        ("ddim_uniform", Spacing::DdimUniform),
        ("beta", Spacing::BetaIndices),
        ("linear_quadratic", Spacing::LinearQuadratic),
        ("kl_optimal", Spacing::KlOptimal),
        // AUTOMATIC1111.
        ("Uniform", Spacing::Normal),
        ("Karras", Spacing::Karras),
        ("Polyexponential", Spacing::Exponential),
        ("SGM Uniform", Spacing::SgmUniform),
        ("SGMUniform", Spacing::SgmUniform),
        ("KL Optimal", Spacing::KlOptimal),
        ("DDIM", Spacing::DdimUniform),
        // stable-diffusion.cpp.
        ("discrete", Spacing::Normal),
        ("smoothstep", Spacing::Smoothstep),
        ("bong_tangent", Spacing::BongTangent),
        ("lcm", Spacing::Lcm),
        // diffusers.
        ("leading", Spacing::Leading),
        ("linspace", Spacing::Linspace),
        ("trailing", Spacing::Trailing),
        ("use_karras_sigmas", Spacing::Karras),
        ("use_exponential_sigmas", Spacing::Exponential),
        ("use_beta_sigmas", Spacing::BetaSigmas),
        ("use_lu_lambdas", Spacing::UniformLambda),
        ("StableDiffusionXLSigmas", Spacing::AlignYourStepsSdxl),
        // EDM.
        ("vp", Spacing::EdmVp),
        ("ve", Spacing::Exponential),
        ("iddpm", Spacing::Iddpm),
        ("edm", Spacing::Karras),
    ] {
        assert_eq!(Spacing::named(name)?, spacing, "{name}");
    }
    Ok(())
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    for (name, first) in [
        ("karas", "karras"),
        ("exponentail", "exponential"),
        ("sgm", "sgm_uniform"),
        ("kloptimal2", "kl_optimal"),
        // The table depends on the checkpoint: none is taken silently.
        ("ays", "ays_sd15"),
        ("Align Your Steps", "align_your_steps_sd15"),
    ] {
        match Spacing::named(name) {
            Err(Error::UnknownName {
                kind: "spacing",
                name: asked,
                nearest,
            }) => {
                assert_eq!(asked, name);
                assert_eq!(nearest.first(), Some(&first), "{nearest:?}");
                assert_eq!(nearest.len(), 3);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for name in ["", "gits", "logit_normal", "automatic"] {
        let error = Spacing::named(name).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("no spacing is called {name:?}; the nearest are")));
    }
}

#[test]
fn a_schedule_with_sub_levels_keeps_them() -> Outcome {
    // Flux in ComfyUI: 10000 levels, and a linspace that ends at the least noisy of them.
    let flow = RectifiedFlow::shifted_by_mu(1.15)?;
    let fine = Sublevels::of(flow, 10_000)?;
    let grid = Spacing::Normal.grid(&fine, 5)?;
    assert_eq!(grid.levels()[4].time(), 1e-4);
    assert_eq!(Spacing::Normal.grid(&flow, 5)?.levels()[4].time(), 1e-3);
    let karras = Spacing::Karras.grid(&fine, 5)?;
    assert!((karras.levels()[4].time() - 1e-4).abs() < 1e-15);
    assert_eq!(karras.start().alpha(), 0.0);
    // In ρ there is no such start.
    assert!(matches!(
        Spacing::UniformLambda.grid(&flow, 5),
        Err(Error::UnboundedLambda { .. })
    ));
    Ok(())
}
