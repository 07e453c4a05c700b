//! Value-stability pins: what a seed gives. These numbers are the crate's own output and prove
//! nothing but that it has not changed; a change of them is value-breaking and has to be marked so
//! in the changelog.

use std::error::Error;

use diffusion_sampler::{
    Denoiser, Grid, Prediction, Real, Sampler,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, GuidanceWeight},
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
};
use ndarray::{Array2, Ix2};

type Outcome = Result<(), Box<dyn Error>>;

/// FNV-1a over the values as they stand in memory, an order-sensitive fingerprint.
fn fingerprint<A: Real>(samples: &Array2<A>) -> u64 {
    samples
        .iter()
        .flat_map(|value| value.widen().to_le_bytes())
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        })
}

fn mixture() -> Result<GaussianMixture, diffusion_sampler::Error> {
    GaussianMixture::new(
        &[1.0, 2.0],
        vec![
            Gaussian::diagonal(&[-1.0, 0.5, 0.0], &[0.1, 0.2, 0.3])?,
            Gaussian::isotropic(&[1.0, 0.0, 0.25], 0.05)?,
        ],
        vec![0, 1],
    )
}

fn run<A: Real>(
    solver: &dyn Solver,
    model: &mut impl Denoiser<A, Ix2, Error = diffusion_sampler::Error>,
) -> Result<u64, Box<dyn Error>> {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 8)?, solver)?;
    Ok(fingerprint(&sampler.sample(model, (5, 3), 2024)?))
}

#[test]
fn values_of_solvers_are_pinned() -> Outcome {
    let mixture = mixture()?;
    let pins: [(&str, Box<dyn Solver>, u64, u64); 5] = [
        (
            "DDIM",
            Box::new(FirstOrder::ddim()),
            0x3DCCD34DD122D2FF,
            0xA855C110262495F9,
        ),
        (
            "DDPM",
            Box::new(FirstOrder::ddpm()),
            0xB97986B736D75D72,
            0xA5814C5F4F892518,
        ),
        (
            "eta 0.5",
            Box::new(FirstOrder::new(Kappa::Eta(0.5))),
            0x1CD56BA2770A031D,
            0x74B24B175A895DA7,
        ),
        (
            "SDE 2M",
            Box::new(DpmSolverPlusPlus::new().with_tau(1.0)?),
            0x43A37E0406E677C0,
            0x6BEDDD31E6812136,
        ),
        (
            "Heun",
            Box::new(Heun::new()),
            0xF9AF02F39B0510ED,
            0x576B876BD5774C81,
        ),
    ];
    for (name, solver, single, double) in pins {
        let found = (
            run::<f32>(&*solver, &mut (&mixture).denoiser(Prediction::Noise))?,
            run::<f64>(&*solver, &mut (&mixture).denoiser(Prediction::Velocity))?,
        );
        assert_eq!(found, (single, double), "{name} (f32, f64)");
    }
    Ok(())
}

#[test]
fn values_of_guided_samples_are_pinned() -> Outcome {
    let mixture = mixture()?;
    let models = Models((
        mixture.condition(0)?.denoiser(Prediction::Noise),
        (&mixture).denoiser(Prediction::Noise),
    ));
    let mut guided = Guided::new(models, ClassifierFree::new(GuidanceWeight::constant(2.0)?));
    assert_eq!(
        run::<f32>(&DpmSolverPlusPlus::new(), &mut guided)?,
        0x246CF662612E4D44
    );
    Ok(())
}
