//! iDDPM's noise levels, as Karras et al. (2022) give them.

use std::f64::consts::PI;

use diffusion_sampler::{Error, Grid, grid::SigmaRange, schedule::Edm};

use super::common::{Outcome, is_sound};

/// The paper's recursion, from u_M = 0 up, as a list from the noisy end.
fn iddpm_table() -> Vec<f64> {
    let alpha_bar = |j: f64| (0.5 * PI * j / 1000.0 / 1.008).sin().powi(2);
    let mut u = vec![0.0f64; 1001];
    for j in (1..=1000).rev() {
        let ratio = (alpha_bar(j as f64 - 1.0) / alpha_bar(j as f64)).max(0.001);
        u[j - 1] = ((u[j].powi(2) + 1.0) / ratio - 1.0).sqrt();
    }
    u
}

#[test]
fn iddpm_takes_the_papers_values_evenly_by_position() -> Outcome {
    let table = iddpm_table();
    let edm = Edm::new(0.002, 200.0)?;
    for (max, min) in [(81.0, 0.002), (80.0, 0.002), (3.0, 0.5)] {
        let within: Vec<f64> = table
            .iter()
            .copied()
            .filter(|u| *u >= min && *u <= max)
            .collect();
        let range = SigmaRange::rhos(max, min)?;
        for steps in [1, 2, 5, 18, 79, within.len()] {
            let grid = Grid::iddpm(&edm, steps, range)?;
            is_sound(&grid, steps);
            for (i, level) in grid.levels()[..steps].iter().enumerate() {
                let place = (within.len() - 1) as f64 / (steps.max(2) - 1) as f64 * i as f64;
                let expected = within[place.round_ties_even() as usize];
                assert!((level.rho() / expected - 1.0).abs() < 1e-12);
            }
        }
        let refused = Grid::iddpm(&edm, within.len() + 1, range);
        let max = within.len();
        assert!(
            matches!(refused, Err(Error::StepCount { min: 1, max: found, .. }) if found == max)
        );
    }
    Ok(())
}

#[test]
fn iddpm_has_the_values_within_its_range() -> Outcome {
    let edm = Edm::default();
    let count = |max: f64, min: f64| -> Result<usize, Error> {
        match Grid::iddpm(&edm, 2000, SigmaRange::rhos(max, min)?) {
            Err(Error::StepCount { max, .. }) => Ok(max),
            other => other.map(|grid| grid.steps()),
        }
    };
    let all = count(80.0, 0.002)?;
    let grid = Grid::iddpm(&edm, all, SigmaRange::rhos(80.0, 0.002)?)?;
    let (max, min) = (grid.start().rho(), grid.levels()[all - 1].rho());
    let near = 1e-9;
    assert_eq!(count(max * (1.0 + near), min * (1.0 - near))?, all);
    assert_eq!(count(max * (1.0 - near), min * (1.0 - near))?, all - 1);
    assert_eq!(count(max * (1.0 + near), min * (1.0 + near))?, all - 1);
    Ok(())
}
