//! The figures of docs/distribution.md, measured again.

use diffusion_sampler::{
    Grid, NoiseLevel, Prediction, Sampler,
    guidance::ClassifierFree,
    moments::GuidedGaussian,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
};

use super::common::Outcome;

const PAGE: &str = include_str!("../../docs/distribution.md");

/// Prints the lines, and wants each of them on the page.
fn on_the_page(lines: &[String]) -> Outcome {
    println!("{}", lines.join("\n"));
    for line in lines {
        assert!(PAGE.contains(line.as_str()), "docs/distribution.md: {line}");
    }
    Ok(())
}

fn schedule() -> Result<TableSchedule, diffusion_sampler::Error> {
    TableSchedule::linear(1000, 1e-4, 0.02)
}

#[test]
fn the_table_by_step() -> Outcome {
    let (schedule, data) = (schedule()?, Gaussian::isotropic(&[2.0], 0.25)?);
    let grid = Grid::trailing(&schedule, 5)?;
    let report = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?.moment_report(&data)?;
    let text = report.to_string();
    on_the_page(&text.lines().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn what_guidance_samples() -> Outcome {
    let (class, all) = (
        Gaussian::isotropic(&[1.0], 0.25)?,
        Gaussian::isotropic(&[0.0], 1.0)?,
    );
    let (schedule, clean) = (schedule()?, NoiseLevel::clean());
    let row = |name: &str, g: &Gaussian| {
        format!(
            "| {name} | {:.4} | {:.4} |",
            g.mean()[0],
            g.variances()[0].sqrt()
        )
    };
    let mut lines = vec![row("the class, w = 0", &class)];
    let guided = GuidedGaussian::classifier_free(2.0, class.clone(), all.clone())?;
    let noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
    lines.push(row(
        "guided flow, w = 2",
        &guided.flow(&all, &noise, &clean)?,
    ));
    lines.push(row("tilted, w = 2", &guided.tilted(&clean)?));
    let form = ClassifierFree::with_scale(3.0)?;
    let outputs = [class, all];
    for (name, solver, steps) in [
        ("DDIM", &FirstOrder::ddim() as &dyn Solver, 20),
        ("DPM-Solver++(2M)", &DpmSolverPlusPlus::new(), 20),
        ("DPM-Solver++(2M)", &DpmSolverPlusPlus::new(), 1000),
        ("DDPM", &FirstOrder::ddpm(), 20),
        ("DDPM", &FirstOrder::ddpm(), 1000),
    ] {
        let grid = Grid::trailing(&schedule, steps)?;
        let sampler = Sampler::new(&schedule, &grid, solver)?;
        let states = sampler.guided_moments(&form, Prediction::Noise, &outputs)?;
        let name = format!("{name}, {steps} steps, w = 2");
        lines.push(row(&name, &states[steps - 1]));
    }
    on_the_page(&lines)
}

#[test]
fn masses_beside_moments() -> Outcome {
    let schedule = schedule()?;
    let modes = vec![
        Gaussian::isotropic(&[-1.5], 0.05)?,
        Gaussian::isotropic(&[1.0], 0.1)?,
    ];
    let data = GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1])?;
    let (mean, covariance) = data.moments().unwrap();
    let blind = Gaussian::new(&mean, &covariance)?;
    let grid = Grid::trailing(&schedule, 12)?;
    let mut lines = Vec::new();
    let mut add = |name: &str, report: diffusion_sampler::modes::ModeReport| {
        let [first, second] = report.wasserstein().unwrap_or([f64::NAN; 2]);
        lines.push(format!(
            "| {name} | {:.4} | {:.4} | {first:.3} | {second:.3} | {} |",
            report.masses()[0],
            report.frechet().sqrt(),
            report.kl().map_or("-".to_owned(), |kl| format!("{kl:.3}")),
        ));
    };
    let model = &mut (&data).denoiser(Prediction::Noise);
    for (name, solver) in [
        ("DDIM", &FirstOrder::ddim() as &dyn Solver),
        ("DDPM", &FirstOrder::ddpm()),
        ("DPM-Solver++(2M)", &DpmSolverPlusPlus::new()),
        ("Heun", &Heun::new()),
    ] {
        let sampler = Sampler::new(&schedule, &grid, solver)?;
        add(name, sampler.modes(model, &data, 1e-7)?);
    }
    let fine = Grid::trailing(&schedule, 100)?;
    let sampler = Sampler::new(&schedule, &fine, &FirstOrder::ddim())?;
    add("DDIM, 100 steps", sampler.modes(model, &data, 1e-7)?);
    let fine = Sampler::new(&schedule, &fine, &DpmSolverPlusPlus::new())?;
    let one = &mut (&blind).denoiser(Prediction::Noise);
    add(
        "a model of one Gaussian, 100 steps of 2M",
        fine.modes(one, &data, 1e-7)?,
    );
    on_the_page(&lines)
}
