//! The network as a model: two outputs in one call, on levels of any schedule.

use std::error::Error as StdError;

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::schedule::{NoiseSchedule, RectifiedFlow, TableSchedule};
use diffusion_sampler::{
    Denoiser, KeyedNoise, Levels, NoiseLevel, Query, forward::fill_normal, noise::Stream, registry,
};
use digits_network::{Error, NO_CLASS, Network, PIXELS, PREDICTION};
use ndarray::{Array2, s};

fn rows(count: usize) -> Result<Array2<f32>, diffusion_sampler::Error> {
    let mut x = Array2::zeros((count, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(6), 0, Stream::User(0))?;
    Ok(x)
}

#[test]
fn the_outputs_are_with_the_class_and_without() -> Result<(), Box<dyn StdError>> {
    let (network, classes) = (Network::trained()?, [2, 9, NO_CLASS]);
    let mut model = network.denoiser(&classes)?;
    assert_eq!(model.prediction(), PREDICTION);
    assert_eq!(Denoiser::outputs(&model), Some(2));
    let levels = [-1.0, 0.25, 2.0].map(|lambda: f64| {
        let log_alpha_squared = -(1.0 + (-2.0 * lambda).exp()).ln();
        NoiseLevel::variance_preserving(0.5, log_alpha_squared)
    });
    let levels = levels.into_iter().collect::<Result<Vec<_>, _>>()?;
    let x = rows(3)?;
    let mut both = Array2::zeros((6, PIXELS));
    let query = Query::per_sample(&levels)?;
    model.denoise(&x, &query.with_outputs(2), &mut both)?;
    let lambdas: Vec<f32> = levels.iter().map(|level| level.lambda() as f32).collect();
    let mut expected = Array2::zeros((3, PIXELS));
    for (first, classes) in [(0, classes), (3, [NO_CLASS; 3])] {
        network.forward(x.view(), &lambdas, &classes, expected.view_mut())?;
        let found = both.slice(s![first..first + 3, ..]);
        let worst = (&found - &expected).fold(0.0_f32, |worst, d| worst.max(d.abs()));
        // α² + σ² is 1 to a rounding of f64 only.
        assert!(worst < 1e-6, "{worst:e}");
    }
    // The third sample has no class.
    assert_eq!(both.row(2), both.row(5));
    model.denoise(&x, &query, &mut expected)?;
    assert_eq!(expected, both.slice(s![..3, ..]));
    Ok(())
}

#[test]
fn a_level_of_a_flow_is_that_of_its_lambda() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let (x, level) = (rows(2)?, RectifiedFlow::new().level(0.3)?);
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let norm = (alpha * alpha + sigma * sigma).sqrt();
    let same = NoiseLevel::new(0.3, alpha / norm, sigma / norm)?;
    let (mut flow, mut preserving) = (Array2::zeros((2, PIXELS)), Array2::zeros((2, PIXELS)));
    let mut model = network.denoiser(&[4, 7])?;
    model.denoise(&x.mapv(|x| x * norm as f32), &Query::new(&level), &mut flow)?;
    model.denoise(&x, &Query::new(&same), &mut preserving)?;
    // αε − σx₀ is linear in (α, σ).
    let scaled = preserving.mapv(|v| v * norm as f32);
    let worst = (&flow - &scaled).fold(0.0_f32, |worst, d| worst.max(d.abs()));
    assert!(worst < 1e-5, "{worst:e}");
    Ok(())
}

#[test]
fn pure_noise_is_a_level_too() -> Result<(), Box<dyn StdError>> {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let sampler = registry::sampler("DDIM trailing")?.sampler(&table, 4)?;
    let network = Network::trained()?;
    let guidance = ClassifierFree::with_scale(2.0)?;
    let mut model = Guided::new(network.denoiser(&[0, 1])?, guidance);
    let samples: Array2<f32> = sampler.sample(&mut model, (2, PIXELS), 1)?;
    assert!(samples.iter().all(|value| value.is_finite()));
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let (x, level) = (rows(2)?, RectifiedFlow::new().level(0.3)?);
    let mut out = Array2::zeros((2, PIXELS));
    let found = network
        .denoiser(&[1, 2, 3])?
        .denoise(&x, &Query::new(&level), &mut out);
    assert!(matches!(
        &found,
        Err(Error::WrongClasses {
            classes: 3,
            rows: 2
        })
    ));
    let text = found.err().map(|error| error.to_string());
    assert_eq!(
        text.as_deref(),
        Some("the denoiser has 3 classes, x has 2 rows")
    );
    let mut model = network.denoiser(&[1, 2])?;
    let found = model.denoise(&x, &Query::new(&level).with_outputs(3), &mut out);
    assert!(matches!(found, Err(Error::TooManyOutputs { found: 3 })));
    let levels = [level; PIXELS];
    let query = Query::along(Levels::along(1, &levels), &[2, PIXELS])?;
    let found = model.denoise(&x, &query, &mut out);
    assert!(matches!(found, Err(Error::LevelsWithinSamples { axis: 1 })));
    let found = network.denoiser(&[1, 11]).map(drop);
    assert!(matches!(
        found,
        Err(Error::UnknownClass { row: 1, class: 11 })
    ));
    Ok(())
}

#[test]
fn rows_that_belong_to_samples_have_their_classes() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let (x, flow) = (rows(4)?, RectifiedFlow::new());
    let levels = [
        flow.level(0.3)?,
        flow.level(0.6)?,
        flow.level(0.3)?,
        flow.level(0.1)?,
    ];
    let samples = [1, 1, 0, 1];
    let query = Query::per_sample(&levels)?.with_outputs(2);
    let (mut out, mut expected) = (Array2::zeros((8, PIXELS)), Array2::zeros((8, PIXELS)));
    let mut model = network.denoiser(&[7, 2])?;
    model.denoise(&x, &query.with_samples(&samples), &mut out)?;
    let mut each = network.denoiser(&[2, 2, 7, 2])?;
    each.denoise(&x, &query, &mut expected)?;
    assert_eq!(out, expected);
    // A sample that has no class.
    let refused = model.denoise(&x, &query.with_samples(&[0, 1, 2, 0]), &mut out);
    let wrong = Error::WrongClasses {
        classes: 2,
        rows: 3,
    };
    assert_eq!(
        refused.err().map(|error| error.to_string()),
        Some(wrong.to_string())
    );
    Ok(())
}

#[test]
fn a_parallel_run_is_the_sequential_one_with_its_classes() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = registry::sampler("DPM++ 2M trailing")?.sampler(&schedule, 12)?;
    let guidance = ClassifierFree::with_scale(2.0)?;
    let mut model = Guided::new(network.denoiser(&[3, 1, 4])?, guidance);
    let sequential: Array2<f32> = sampler.sample(&mut model, (3, PIXELS), 5)?;
    let (parallel, report) = sampler
        .parallel(6, 0.0)?
        .sample(&mut model, (3, PIXELS), 5)?;
    assert_eq!(sequential, parallel);
    assert!(report.sweeps() <= 12);
    Ok(())
}
