//! Spectra: of images, of a Gaussian, of a model's errors.

use diffusion_sampler::oracle::{Gaussian, GaussianMixture, Oracle};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Solver};
use diffusion_sampler::tuning::{
    Spectrum, last_gaussian_level, non_gaussian_share, non_gaussian_shares,
};
use diffusion_sampler::{Error, Grid, NoiseLevel, Sampler};

fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

fn levels(count: usize) -> Vec<NoiseLevel> {
    let grid = Grid::quadratic(&schedule(), count).unwrap();
    grid.levels()[..count].to_vec()
}

/// M_t of Gaussian data, from its definition.
fn errors_of(variances: &[f64], count: usize) -> DataErrors {
    let of = |level: &NoiseLevel| -> f64 {
        let (a, s) = (level.alpha() * level.alpha(), level.sigma() * level.sigma());
        variances.iter().map(|v| v * s / (a * v + s)).sum()
    };
    let levels = levels(count);
    let errors = levels.iter().map(of).collect();
    DataErrors::new(variances.len(), variances.iter().sum(), levels, errors).unwrap()
}

/// W₂ of a sampler in percent of the rms.
fn miss(solver: &dyn Solver, steps: usize, data: &Gaussian) -> f64 {
    let schedule = schedule();
    let grid = Grid::trailing(&schedule, steps).unwrap();
    let sampler = Sampler::new(&schedule, &grid, solver).unwrap();
    let states = sampler.moments(data).unwrap();
    let total: f64 = data.variances().iter().sum();
    100.0 * (states[steps - 1].wasserstein_squared(data).unwrap() / total).sqrt()
}

#[test]
fn the_spectrum_of_images_is_that_of_the_two_tables() {
    let spectrum = Spectrum::images();
    assert!((spectrum.mean() - 0.25).abs() < 1e-15);
    let data = spectrum.gaussian(64).unwrap();
    for i in 1..64 {
        let ratio = data.variances()[0] / data.variances()[i];
        assert!((ratio / ((i + 1) * (i + 1)) as f64 - 1.0).abs() < 1e-12);
    }
    // Measured by an independent prototype: DDIM and DDPM in 10 steps.
    assert!((miss(&FirstOrder::ddim(), 10, &data) - 20.4582).abs() < 0.02);
    assert!((miss(&FirstOrder::ddpm(), 10, &data) - 27.2358).abs() < 0.027);
}

#[test]
fn a_known_spectrum_is_recovered_from_its_errors() {
    let few: Vec<f64> = (0..10).map(|i| if i == 0 { 2.0 } else { 0.03 }).collect();
    let steep: Vec<f64> = (1..=100).map(|i| 3.0 / f64::from(i).powf(2.5)).collect();
    let images = Spectrum::images().variances().to_vec();
    let flat: Vec<f64> = (1..=50).map(|i| 0.02 * f64::from(i)).collect();
    for variances in [few, steep, images, flat, vec![0.7]] {
        let d = variances.len();
        let errors = errors_of(&variances, 60);
        let fit = Spectrum::fit(&errors).unwrap();
        assert!(fit.misfit < 2e-3 && fit.worst < 6e-3, "{fit}");
        assert!((fit.spectrum.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // M_t is reproduced, also between the levels.
        let between = errors_of(&variances, 47);
        for (level, error) in between.levels().iter().zip(between.errors()) {
            let found = d as f64 * fit.spectrum.data_error(level);
            assert!(
                (found / error - 1.0).abs() < 0.02,
                "{level}: {found} {error}"
            );
        }
        // And what samplers make of it: the error of every one is that on the true spectrum.
        let truth = Gaussian::diagonal(&vec![0.0; d], &variances).unwrap();
        let fitted = fit.spectrum.gaussian(400).unwrap();
        for (solver, steps) in [
            (&FirstOrder::ddim() as &dyn Solver, 10),
            (&FirstOrder::ddpm(), 10),
            (&DpmSolverPlusPlus::new(), 20),
        ] {
            let (a, b) = (miss(solver, steps, &truth), miss(solver, steps, &fitted));
            assert!((a - b).abs() < 0.05 * a + 0.05, "{a} {b}");
        }
    }
}

#[test]
fn the_gaussian_of_a_spectrum_keeps_its_mean_and_its_errors() {
    let spectrum = Spectrum::new(vec![0.01, 3.0, 0.0, 0.2], vec![5.0, 1.0, 2.0, 2.0]).unwrap();
    for directions in [1, 3, 10, 64, 1000] {
        let data = spectrum.gaussian(directions).unwrap();
        let mean = data.variances().iter().sum::<f64>() / directions as f64;
        assert!((mean - spectrum.mean()).abs() < 1e-12);
        assert!(data.variances().windows(2).all(|pair| pair[0] >= pair[1]));
    }
    // Ten equal shares hold the four exactly.
    let exact = spectrum.gaussian(10).unwrap();
    let mut expected = vec![3.0, 0.2, 0.2];
    expected.extend([0.01; 5]);
    expected.extend([0.0; 2]);
    for (found, expected) in exact.variances().iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-14);
    }
    let back = Spectrum::of(&exact).unwrap();
    for level in levels(5) {
        assert!((back.data_error(&level) - spectrum.data_error(&level)).abs() < 1e-14);
    }
    let tilted = spectrum.tilted(0.3).unwrap();
    assert!((tilted.mean() - spectrum.mean()).abs() < 1e-12);
    let latents = spectrum.clone().with_mean(1.0).unwrap();
    assert!((latents.mean() - 1.0).abs() < 1e-14 && latents.shares() == spectrum.shares());
    for (found, v) in latents.variances().iter().zip(spectrum.variances()) {
        assert!((found - v / spectrum.mean()).abs() < 1e-14);
    }
    let ratio = |s: &Spectrum| s.variances()[1] / s.variances()[3];
    assert!((ratio(&tilted) - ratio(&spectrum).powf(1.3)).abs() < 1e-10);
}

#[test]
fn noisy_errors_are_fitted_as_far_as_they_are_known() {
    let variances = Spectrum::images().variances().to_vec();
    let exact = errors_of(&variances, 40);
    // 3 % of noise, alternating and irregular.
    let noisy = exact.errors().iter().enumerate();
    let noisy: Vec<f64> = noisy
        .map(|(i, e)| e * (1.0 + 0.03 * (7.3 * i as f64).sin()))
        .collect();
    let standard = noisy.iter().map(|e| 0.02 * e).collect();
    let errors = DataErrors::new(64, 16.0, exact.levels().to_vec(), noisy).unwrap();
    let errors = errors.with_standard_errors(standard).unwrap();
    let fit = Spectrum::fit(&errors).unwrap();
    assert!(fit.misfit < 0.03, "{fit}");
    for (level, error) in exact.levels().iter().zip(exact.errors()) {
        let found = 64.0 * fit.spectrum.data_error(level);
        assert!(
            (found / error - 1.0).abs() < 0.06,
            "{level}: {found} {error}"
        );
    }
}

#[test]
fn what_a_gaussian_misses_is_the_gap_of_the_errors() {
    gap_of_the_errors([1.0, 1.0]);
    gap_of_the_errors([4.0, 1.0]);
}

/// Two modes at ±1 with deviation 0.2, by quadrature over x.
fn gap_of_the_errors(weights: [f64; 2]) {
    let (centre, v) = (1.0f64, 0.04f64);
    let modes = [-centre, centre].map(|m| Gaussian::isotropic(&[m], v).unwrap());
    let mixture = GaussianMixture::new(&weights, modes.to_vec(), vec![0, 1]).unwrap();
    let mean = (weights[1] - weights[0]) / (weights[1] + weights[0]);
    let total = centre * centre + v - mean * mean;
    let moments = Gaussian::isotropic(&[mean], total).unwrap();
    let (mut levels, mut errors, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for level in self::levels(12) {
        let (mut error, mut gap, mut mass) = (0.0, 0.0, 0.0);
        for i in 0..=4000 {
            let x = -6.0 + 12.0 * f64::from(i) / 4000.0;
            let p = mixture.log_density(&[x], &level).unwrap().exp();
            let d = mixture.data_estimate(&[x], &level).unwrap()[0];
            let linear = moments.data_estimate(&[x], &level).unwrap()[0];
            let variance = mixture.posterior_covariance(&[x], &level).unwrap()[[0, 0]];
            mass += p;
            error += p * variance;
            gap += p * (d - linear) * (d - linear);
        }
        levels.push(level);
        errors.push(error / mass);
        gaps.push(gap / (mass * total));
    }
    let known = DataErrors::new(1, 1.04, levels.clone(), errors).unwrap();
    let shares = non_gaussian_shares(&moments, &known).unwrap();
    for ((share, gap), level) in shares.iter().zip(&gaps).zip(&levels) {
        assert!((share - gap).abs() < 1e-9, "{level}: {share} {gap}");
        let drawn = non_gaussian_share(&mixture, level, 4000, 3).unwrap();
        // Of 4000 draws of a quantity that is at most a few times its mean.
        assert!(
            (drawn - gap).abs() < 0.08 * gap + 1e-6,
            "{level}: {drawn} {gap}"
        );
    }
    let last = last_gaussian_level(&moments, &known, 0.01)
        .unwrap()
        .unwrap();
    let place = levels.iter().position(|level| *level == last).unwrap();
    assert!(place > 0 && gaps[place] <= 0.01 && gaps[place + 1] > 0.01);
    let later = known.errors()[place + 1..].to_vec();
    let later = DataErrors::new(1, 1.04, levels[place + 1..].to_vec(), later).unwrap();
    assert_eq!(last_gaussian_level(&moments, &later, 0.01).unwrap(), None);
    assert!(last_gaussian_level(&moments, &later, -1.0).is_err());
}

#[test]
fn errors_of_any_size_are_fitted_or_refused() {
    let levels = self::levels(3);
    let fit = |errors: [f64; 3], standard: f64| {
        let errors = DataErrors::new(2, 1.0, levels.clone(), errors.to_vec()).unwrap();
        Spectrum::fit(&errors.with_standard_errors(vec![standard; 3]).unwrap())
    };
    for size in [f64::MIN_POSITIVE / 8.0, 1e-300, 1e60, 1e300, f64::MAX] {
        let refused = fit([size; 3], 0.0);
        let name = "largest data error";
        assert!(
            matches!(refused, Err(Error::InvalidParameter { name: found, .. }) if found == name),
            "{size}: {refused:?}"
        );
    }
    // So far below the noise M_t is the variance at every level.
    let small = fit([2e-40; 3], 0.0).unwrap();
    assert!(
        (small.spectrum.mean() / 1e-40 - 1.0).abs() < 1e-6,
        "{small}"
    );
    // What is lost beside the largest counts as 0.
    let lost = fit([2.0, 1.0, 1e-300], 0.0).unwrap();
    assert_eq!(lost, fit([2.0, 1.0, 0.0], 0.0).unwrap());
    assert!(fit([2.0, 1.0, 0.5], f64::MAX).unwrap().misfit.is_finite());
}

#[test]
fn what_is_no_spectrum_is_a_typed_error() {
    assert!(matches!(
        Spectrum::new(vec![], vec![]),
        Err(Error::EmptyList { .. })
    ));
    let refused = [
        Spectrum::new(vec![-1.0], vec![1.0]),
        Spectrum::new(vec![f64::NAN], vec![1.0]),
        Spectrum::new(vec![1.0], vec![0.0]),
        Spectrum::new(vec![1.0, 2.0], vec![1.0, -0.5]),
        Spectrum::new(vec![1.0, 2.0], vec![1.0, f64::INFINITY]),
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(Error::InvalidEntry { .. })),
            "{refused:?}"
        );
    }
    let one = Spectrum::new(vec![1.0], vec![1.0]).unwrap();
    assert!(one.gaussian(0).is_err() && one.tilted(1.0).is_err());
    let nothing = Spectrum::new(vec![0.0], vec![1.0]).unwrap();
    assert!(nothing.tilted(0.5).is_err());
    let levels = levels(3);
    let zero = DataErrors::new(2, 1.0, levels.clone(), vec![0.0; 3]).unwrap();
    assert!(Spectrum::fit(&zero).is_err());
    let without = DataErrors::new(0, 1.0, levels, vec![1.0; 3]).unwrap();
    assert!(Spectrum::fit(&without).is_err());
    assert!(one.clone().with_mean(0.0).is_err() && one.with_mean(f64::NAN).is_err());
    let zero_mean = Spectrum::new(vec![0.0], vec![1.0]).unwrap();
    assert!(zero_mean.with_mean(1.0).is_err());
    let flat = Gaussian::isotropic(&[0.0, 0.0], 0.0).unwrap();
    assert!(non_gaussian_shares(&flat, &zero).is_err());
    let other = Gaussian::isotropic(&[0.0], 1.0).unwrap();
    assert!(non_gaussian_shares(&other, &zero).is_err());
}
