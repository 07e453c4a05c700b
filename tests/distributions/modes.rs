//! Distributions of results by quadrature: beside moments, closed forms and samples.

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, NoiseLevel, Prediction, RunError, Sampler,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, Projected},
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{LambdaRange, TableSchedule, VariancePreserving},
    solver::{
        DpmPlusPlusSde, DpmSolverPlusPlus, ExponentialRungeKutta, FirstOrder, Heun,
        LinearMultistep, Path, Solver,
    },
};
use ndarray::{Array2, Ix2, array};

use super::common::{Outcome, difference_of};

fn single(data: &Gaussian) -> Result<GaussianMixture, Error> {
    GaussianMixture::new(&[1.0], vec![data.clone()], vec![0])
}

fn two_modes() -> Result<GaussianMixture, Error> {
    let modes = vec![
        Gaussian::isotropic(&[-1.5], 0.05)?,
        Gaussian::isotropic(&[1.0], 0.1)?,
    ];
    GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1])
}

fn sampler(solver: &dyn Solver, steps: usize) -> Result<Sampler, Error> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, steps)?;
    Sampler::new(&schedule, &grid, solver)
}

#[test]
fn of_one_component_it_is_the_moments() -> Outcome {
    let line = Gaussian::isotropic(&[0.7], 0.3)?;
    let plane = Gaussian::new(&[0.7, -0.2], &array![[0.5, 0.2], [0.2, 0.3]])?;
    let sde = DpmSolverPlusPlus::new().with_tau(1.0)?;
    let cases: [(&Gaussian, &dyn Solver); 11] = [
        (&line, &FirstOrder::ddim()),
        (&line, &DpmSolverPlusPlus::new()),
        (&line, &Heun::new()),
        (&line, &LinearMultistep::order(4)?),
        (&line, &FirstOrder::ddpm()),
        (&line, &sde),
        (&line, &DpmPlusPlusSde::new()),
        (&line, &ExponentialRungeKutta::seeds(2)?),
        (&plane, &FirstOrder::ddim()),
        (&plane, &DpmSolverPlusPlus::new()),
        (&plane, &FirstOrder::ddpm()),
    ];
    for (data, solver) in cases {
        let sampler = sampler(solver, 8)?;
        let truth = single(data)?;
        let report = sampler.modes(&mut data.denoiser(Prediction::Noise), &truth, 1e-9)?;
        let state = sampler.moments(data)?.pop().ok_or("a step")?;
        let covariance = report.covariance().to_owned();
        let miss = difference_of(&state, report.mean(), &covariance);
        assert!(miss < 1e-9, "{solver:?}: {miss:e}");
        assert!(report.error() < 1e-9, "{solver:?}: {:e}", report.error());
        assert!((report.masses()[0] - 1.0).abs() < 1e-9);
        let squared = state.wasserstein_squared(data)?;
        assert!((report.frechet() - squared).abs() < 1e-9);
        let Some([first, second]) = report.wasserstein() else {
            continue;
        };
        // W₂ of two Gaussians, and W₁ where one is the other's affine image: E|a + bz|.
        let (a, b) = (
            state.mean()[0] - 0.7,
            state.variances()[0].sqrt() - 0.3f64.sqrt(),
        );
        let folded = b.abs() * (2.0 / std::f64::consts::PI).sqrt() * (-0.5 * (a / b).powi(2)).exp()
            + a * libm::erf(a / (b.abs() * 2f64.sqrt()));
        let tolerance = report.distance_error().max(1e-8);
        assert!(
            (second - squared.sqrt()).abs() < 10.0 * tolerance,
            "{solver:?}: {second}"
        );
        assert!(
            (first - folded).abs() < 10.0 * tolerance,
            "{solver:?}: {first} {folded}"
        );
        assert!(tolerance < 3e-3, "{solver:?} {tolerance:e}");
        if let Some(kl) = report.kl() {
            assert!((kl - state.kl(data)?).abs() < 1e-8, "{solver:?}");
        }
    }
    Ok(())
}

#[test]
fn guidance_and_levels_that_are_not_clean() -> Outcome {
    let class = Gaussian::isotropic(&[1.0], 0.25)?;
    let all = Gaussian::isotropic(&[0.0], 1.0)?;
    let schedule = VariancePreserving::default();
    let grid = Grid::from_lambdas(&schedule, &[-3.0, -1.0, 0.0, 1.0, 2.0])?;
    let form = ClassifierFree::with_scale(2.0)?;
    for solver in [FirstOrder::ddim(), FirstOrder::ddpm()] {
        let sampler = Sampler::new(&schedule, &grid, &solver)?;
        let models = Models((
            (&class).denoiser(Prediction::Noise),
            (&all).denoiser(Prediction::Noise),
        ));
        let truth = single(&class)?;
        let report = sampler.modes(&mut Guided::new(models, form.clone()), &truth, 1e-10)?;
        let outputs = [class.clone(), all.clone()];
        let states = sampler.guided_moments(&form, Prediction::Noise, &outputs)?;
        let last = states.last().ok_or("a step")?;
        let covariance = report.covariance().to_owned();
        assert!(difference_of(last, report.mean(), &covariance) < 1e-9);
        let marginal = class.at_level(&grid.end())?;
        assert!((report.frechet() - last.wasserstein_squared(&marginal)?).abs() < 1e-9);
        let kl = report.kl().ok_or("one curve")?;
        assert!((kl - last.kl(&marginal)?).abs() < 1e-8, "{solver:?}: {kl}");
    }
    Ok(())
}

/// Masses and moments of a run's samples, in standard errors from the report's, which are to be
/// known to far less than one.
fn standard_errors<M: Denoiser<f64, Ix2, Error = Error>>(
    sampler: &Sampler,
    model: &mut M,
    truth: &GaussianMixture,
    (draws, tolerance): (usize, f64),
) -> Result<f64, Box<dyn std::error::Error>> {
    let report = sampler.modes(model, truth, tolerance)?;
    assert!(report.error() < tolerance, "{:e}", report.error());
    assert!((report.masses().iter().sum::<f64>() - 1.0).abs() < 1e-10);
    assert_eq!(report.wasserstein().is_none(), truth.dim() == 2);
    let x: Array2<f64> = sampler.sample(model, (draws, truth.dim()), 7)?;
    let (points, weights) = report.points();
    let end = sampler.plan().end();
    // Coordinates, squares around the mean, and shares of the modes, with what they should be.
    let values = |row: &[f64]| -> Result<Vec<f64>, Error> {
        let mut values = row.to_vec();
        let squares = row
            .iter()
            .zip(report.mean())
            .map(|(x, m)| (x - m) * (x - m));
        values.extend(squares);
        values.extend(truth.responsibilities(row, &end)?);
        Ok(values)
    };
    let mut expected = report.mean().to_vec();
    expected.extend(report.covariance().diag());
    expected.extend(report.masses());
    let mut variances = vec![0.0; expected.len()];
    for (row, w) in points.rows().into_iter().zip(weights) {
        let all = values(&row.to_vec())?.into_iter().zip(&expected);
        let sums = variances.iter_mut().zip(all);
        sums.for_each(|(sum, (value, mean))| *sum += w * (value - mean).powi(2));
    }
    let mut means = vec![0.0; expected.len()];
    for row in x.rows() {
        let sums = means.iter_mut().zip(values(&row.to_vec())?);
        sums.for_each(|(sum, value)| *sum += value / draws as f64);
    }
    let each = means.iter().zip(&expected).zip(&variances);
    // What never varies has no standard error.
    let each = each.filter(|(_, variance)| **variance > 1e-20);
    let errors = each
        .map(|((found, mean), variance)| (found - mean).abs() / (variance / draws as f64).sqrt());
    Ok(errors.fold(0.0, f64::max))
}

/// Five standard errors: a false alarm once in a million.
const ERRORS: f64 = 5.0;
/// How many samples, beside a quadrature to this tolerance: in one dimension, and in two.
const DRAWS: (usize, f64) = (20_000, 5e-4);
const FEWER: (usize, f64) = (4_000, 2e-3);

#[test]
fn samples_of_non_linear_guidance_have_the_reported_masses() -> Outcome {
    let data = two_modes()?;
    let class = data.condition(1)?;
    // In one dimension the norm's bound is what is not linear.
    let bounded = Projected::new(1.0)?.with_eta(1.0)?.with_radius(0.3)?;
    let models = || {
        Models((
            class.clone().denoiser(Prediction::Noise),
            data.clone().denoiser(Prediction::Noise),
        ))
    };
    let mut model = Guided::new(models(), bounded);
    for solver in [FirstOrder::ddim(), FirstOrder::ddpm()] {
        let worst = standard_errors(&sampler(&solver, 8)?, &mut model, &data, DRAWS)?;
        assert!(worst < ERRORS, "{solver:?}: {worst}");
    }
    let mut model = Guided::new(models(), bounded.with_momentum(-0.5)?);
    let multistep = sampler(&DpmSolverPlusPlus::new(), 6)?;
    let worst = standard_errors(&multistep, &mut model, &data, DRAWS)?;
    assert!(worst < ERRORS, "with momentum: {worst}");
    Ok(())
}

#[test]
fn samples_of_clips_and_of_joints_have_the_reported_masses() -> Outcome {
    let data = two_modes()?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    for solver in [FirstOrder::ddim(), FirstOrder::ddpm()] {
        let clipped = sampler(&solver, 8)?.with_clip(Clip::new(-1.7, 1.2)?);
        let worst = standard_errors(&clipped, model, &data, DRAWS)?;
        assert!(worst < ERRORS, "clipped, {solver:?}: {worst}");
    }
    let sde = DpmSolverPlusPlus::new().with_tau(1.0)?;
    let worst = standard_errors(&sampler(&sde, 5)?, model, &data, DRAWS)?;
    assert!(worst < ERRORS, "{worst}");
    Ok(())
}

#[test]
fn two_dimensions_have_masses_too() -> Outcome {
    let modes = vec![
        Gaussian::isotropic(&[1.0, 0.0], 0.06)?,
        Gaussian::new(&[-0.7, 0.8], &array![[0.2, 0.05], [0.05, 0.1]])?,
        Gaussian::diagonal(&[-0.6, -0.9], &[0.1, 0.2])?,
    ];
    let data = GaussianMixture::new(&[0.2, 0.3, 0.5], modes, vec![0, 1, 2])?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    let class = data.condition(1)?;
    let models = Models((
        class.denoiser(Prediction::Noise),
        data.clone().denoiser(Prediction::Noise),
    ));
    let mut projected = Guided::new(models, Projected::new(0.5)?);
    let ddim = sampler(&FirstOrder::ddim(), 5)?;
    let worst = standard_errors(&ddim, &mut projected, &data, FEWER)?;
    assert!(worst < ERRORS, "projected: {worst}");
    for solver in [FirstOrder::ddim(), FirstOrder::ddpm()] {
        let sampler = sampler(&solver, 5)?;
        let worst = standard_errors(&sampler, model, &data, FEWER)?;
        assert!(worst < ERRORS, "{solver:?}: {worst}");
    }
    Ok(())
}

#[test]
fn well_separated_modes_and_the_initial_distributions_limits() -> Outcome {
    // So far apart that the map between the modes is a step: an even grid would miss it.
    let modes = vec![
        Gaussian::isotropic(&[-20.0], 0.01)?,
        Gaussian::isotropic(&[20.0], 0.01)?,
    ];
    let data = GaussianMixture::new(&[0.5, 0.5], modes, vec![0, 1])?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    let far = sampler(&FirstOrder::ddim(), 10)?;
    let report = far.modes(model, &data, 1e-10)?;
    assert!((report.masses()[0] - 0.5).abs() < 1e-10);
    assert!(report.mean()[0].abs() < 1e-9 && report.error() < 1e-9);
    // From one point everything stays one point.
    let point = far.with_start_variance(0.0)?;
    let report = point.modes(model, &data, 1e-10)?;
    assert_eq!((report.points().1.len(), report.masses()[0]), (1, 0.5));
    assert_eq!(report.error(), 0.0);
    Ok(())
}

#[test]
fn ddim_comes_to_the_truth_at_its_order() -> Outcome {
    let data = two_modes()?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    let schedule = VariancePreserving::default();
    let mut mass = |steps: usize| -> Result<f64, RunError<Error>> {
        let range = LambdaRange::new(-5.0, 5.0)?;
        let grid = Grid::uniform_lambda(&schedule, steps, range)?;
        let path = Path::new(&schedule, &grid)?;
        let sampler = Sampler::along(&path, &FirstOrder::ddim())?;
        Ok(sampler.modes(model, &data, 1e-8)?.masses()[0])
    };
    let [coarse, middle, fine] = [mass(100)?, mass(200)?, mass(400)?];
    let slope = ((middle - coarse) / (fine - middle)).log2();
    assert!((slope - 1.0).abs() < 0.1, "{slope}");
    // The limit misses the weight by what N(0, 1) misses of the marginal at λ = −5 alone.
    let limit = 2.0 * fine - middle;
    assert!((limit - 0.3).abs() < 1e-3, "{limit}");
    Ok(())
}

#[test]
fn moments_are_blind_where_masses_are_not() -> Outcome {
    // Three modes, and a model that knows their mean and covariance only.
    let modes = [-2.0, 0.0, 2.0].map(|m| Gaussian::isotropic(&[m], 0.02));
    let modes = modes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let data = GaussianMixture::new(&[0.45, 0.1, 0.45], modes, vec![0, 1, 2])?;
    let (mean, covariance) = data.moments().unwrap();
    let blind = Gaussian::new(&mean, &covariance)?;
    let multistep = sampler(&DpmSolverPlusPlus::new(), 50)?;
    let report = multistep.modes(&mut blind.denoiser(Prediction::Noise), &data, 1e-8)?;
    let scale = covariance[[0, 0]].sqrt();
    assert!(
        report.frechet().sqrt() < 2e-3 * scale,
        "{}",
        report.frechet()
    );
    // Of N(0, 3.62) this much is nearer to 0 than to ±2, beside 0.1: the masses are half as far
    // off.
    let middle = libm::erf(1.0 / (2.0 * covariance[[0, 0]]).sqrt());
    assert!((report.masses()[1] - middle).abs() < 0.02, "{report}");
    assert!(report.misplaced() > 0.29, "{report}");
    let [_, second] = report.wasserstein().ok_or("a line")?;
    assert!(second > 0.3 * scale);
    Ok(())
}

#[test]
fn what_has_no_quadrature_is_refused() -> Outcome {
    let data = two_modes()?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    let third = DpmSolverPlusPlus::multistep(3)?.with_tau(1.0)?;
    let refused = sampler(&third, 8)?.modes(model, &data, 1e-6);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ModesUnsupported {
            what: "history slots that outlive a noise",
            found: 2,
            ..
        }))
    ));
    let cube = single(&Gaussian::centred(3, 1.0)?)?;
    let refused =
        sampler(&third, 8)?.modes(&mut cube.clone().denoiser(Prediction::Noise), &cube, 1e-6);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ModesUnsupported { found: 3, .. }))
    ));
    let models = Models((
        data.condition(0)?.denoiser(Prediction::Noise),
        data.clone().denoiser(Prediction::Noise),
    ));
    let mut apg = Guided::new(models, Projected::new(1.0)?.with_momentum(-0.5)?);
    let refused = sampler(&FirstOrder::ddpm(), 8)?.modes(&mut apg, &data, 1e-6);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ModesUnsupported { .. }))
    ));
    for tolerance in [0.0, -1.0, f64::NAN] {
        assert!(sampler(&third, 8)?.modes(model, &data, tolerance).is_err());
    }
    // Points have no responsibilities at the clean end.
    let points = GaussianMixture::new(
        &[0.5, 0.5],
        vec![
            Gaussian::isotropic(&[0.0], 0.0)?,
            Gaussian::isotropic(&[1.0], 0.0)?,
        ],
        vec![0, 1],
    )?;
    let refused = sampler(&FirstOrder::ddim(), 4)?.modes(
        &mut points.clone().denoiser(Prediction::Noise),
        &points,
        1e-6,
    );
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::InvalidParameter {
            name: "sigma",
            ..
        }))
    ));
    assert!(NoiseLevel::clean().is_clean());
    Ok(())
}

#[test]
fn a_report_prints_its_masses() -> Outcome {
    let data = two_modes()?;
    let model = &mut data.clone().denoiser(Prediction::Noise);
    let report = sampler(&FirstOrder::ddim(), 6)?.modes(model, &data, 1e-6)?;
    let text = report.to_string();
    for mass in report.masses() {
        assert!(text.contains(&format!("{mass:.6}")), "{text}");
    }
    assert!(text.contains("in a wrong mode"));
    let (points, weights) = report.points();
    let mean: f64 = points.iter().zip(weights).map(|(x, w)| w * x).sum();
    assert!((mean - report.mean()[0]).abs() < 1e-15);
    Ok(())
}
