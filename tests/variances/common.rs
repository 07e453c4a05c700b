//! Grids, policies and numbers that these tests share.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::{DataErrors, Kappa},
    schedule::{NoiseSchedule, TableSchedule},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) fn linear() -> Result<TableSchedule, Error> {
    TableSchedule::linear(1000, 1e-4, 0.02)
}

pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// A grid over `steps` random edges of the linear table, from its noisy end to the clean one.
pub(crate) fn random_grid(rng: &mut SmallRng, steps: usize) -> Result<Grid, Error> {
    let mut knots = vec![1000u32, 0];
    while knots.len() <= steps {
        let knot = rng.random_range(1..1000);
        if !knots.contains(&knot) {
            knots.push(knot);
        }
    }
    knots.sort_unstable_by(|a, b| b.cmp(a));
    let times: Vec<f64> = knots.into_iter().map(f64::from).collect();
    Grid::from_times(&linear()?, &times)
}

pub(crate) fn kappas() -> Vec<Kappa> {
    vec![
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Tau(0.7),
        Kappa::Fresh,
        Kappa::CappedEta(1.3),
    ]
}

/// vσ²/(α²v + σ²), by the precision that data and noise add to: independent of the oracle.
pub(crate) fn posterior_variance(v: f64, level: &NoiseLevel) -> f64 {
    1.0 / (1.0 / v + level.snr())
}

/// M_t of N(·, v) in one dimension at the levels where the steps of a grid start.
pub(crate) fn scalar_errors(v: f64, grid: &Grid) -> Result<DataErrors, Error> {
    let levels = grid.levels()[..grid.steps()].to_vec();
    let errors = levels.iter().map(|level| posterior_variance(v, level));
    DataErrors::new(1, v, levels.clone(), errors.collect())
}

pub(crate) fn knot(time: f64) -> Result<NoiseLevel, Error> {
    linear()?.level(time)
}

#[track_caller]
pub(crate) fn near(found: f64, expected: f64, tolerance: f64) {
    let miss = (found - expected).abs();
    assert!(
        miss <= tolerance * expected.abs(),
        "{found} is not {expected}: relative {}",
        miss / expected.abs()
    );
}

/// The quantile of χ² with n degrees of freedom at z standard normal deviations (Wilson and
/// Hilferty 1931), good to 1e-3 of its distance from n for n ≥ 100.
pub(crate) fn chi_squared(n: f64, z: f64) -> f64 {
    let a = 2.0 / (9.0 * n);
    n * (1.0 - a + z * a.sqrt()).powi(3)
}

/// Two-sided false-alarm rate 1e-6.
pub(crate) const Z_ONE_IN_A_MILLION: f64 = 4.8916;
