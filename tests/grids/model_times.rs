//! The network's times between the knots of a table.

use diffusion_sampler::{
    Grid, NoiseLevel,
    schedule::{NoiseSchedule, Sublevels, TableSchedule},
};

use super::common::{Outcome, TABLE, tables};

/// k-diffusion's and diffusers' `sigma_to_t`: the index linear in ln ρ between two entries of the
/// table, clipped to its ends.
fn sigma_to_t(log_rhos: &[f64], log_rho: f64) -> f64 {
    let below = log_rhos.iter().rposition(|&entry| entry <= log_rho);
    let low = below.unwrap_or(0).min(log_rhos.len() - 2);
    let share = (log_rho - log_rhos[low]) / (log_rhos[low + 1] - log_rhos[low]);
    low as f64 + share.clamp(0.0, 1.0)
}

/// ln ρ of every index.
fn log_rhos(table: &TableSchedule) -> Result<Vec<f64>, diffusion_sampler::Error> {
    let log_rho = |knot: usize| Ok(-table.level(knot as f64)?.lambda());
    (1..=TABLE).map(log_rho).collect()
}

#[test]
fn of_a_ramp_of_noise_the_network_is_told_the_index_linear_in_ln_rho() -> Outcome {
    for table in [
        TableSchedule::linear(TABLE, 1e-4, 0.02)?,
        TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?,
        TableSchedule::cosine(TABLE)?,
    ] {
        let log_rhos = log_rhos(&table)?;
        let range = table.lambda_range();
        for steps in 1..=60 {
            for grid in [
                Grid::karras(&table, steps, range, 7.0)?,
                Grid::exponential(&table, steps, range, 1.0)?,
            ] {
                for (from, _) in grid.edges() {
                    let index = sigma_to_t(&log_rhos, -from.lambda());
                    assert!((from.model_time() - index).abs() < 1e-9, "{from}: {index}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn rounded_times_are_those_of_other_libraries() -> Outcome {
    // One of Stable Diffusion's 44 Karras levels lies at index 1.503; its time less 1 is 1.452.
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    let grid = Grid::karras(&table, 44, table.lambda_range(), 7.0)?;
    let level = grid.levels()[41];
    let near = |found: f64, expected: f64| (found - expected).abs() < 1e-3;
    assert!(near(level.model_time(), 1.503), "{}", level.model_time());
    assert!(near(level.time() - 1.0, 1.452), "{level}");
    let rounded = grid.with_rounded_model_times();
    assert_eq!(rounded.levels()[41].model_time(), 2.0);
    Ok(())
}

#[test]
fn the_time_of_a_knot_between_two_knots_is_its_index() -> Outcome {
    for table in tables()? {
        let sublevels = Sublevels::of(&table, 10)?;
        let boxed: Box<dyn NoiseSchedule> = Box::new(table.clone());
        for whole in [0.0, 1.0, 2.0, 37.0, 500.0, 998.0, 999.0] {
            for share in [0.0, 0.125, 0.5, 0.9] {
                let knot = whole + share;
                // Through λ and back, and in the cells at the ends, where λ has no line.
                let level = table.level(table.knot_time(knot)?)?;
                let index = if knot == 0.0 { 0.0 } else { knot - 1.0 };
                assert!((level.model_time() - index).abs() < 1e-9, "{knot}: {level}");
                let exact = level.with_model_time(index);
                let found = [
                    table.knot_level(knot)?,
                    sublevels.knot_level(knot)?,
                    boxed.knot_level(knot)?,
                ];
                assert_eq!(found, [exact; 3]);
            }
        }
        // Down to the clean end, in one direction.
        let times = (0..=40_000).map(|i| table.level(f64::from(i) / 40.0));
        let times: Vec<f64> = times
            .map(|level| level.map(|level| level.model_time()))
            .collect::<Result<_, _>>()?;
        assert!(times[1..].windows(2).all(|pair| pair[0] < pair[1]));
    }
    Ok(())
}

#[test]
fn uniform_indices_are_the_networks_times() -> Outcome {
    for table in tables()? {
        for (steps, intervals) in [(7, 6.0), (30, 29.0), (61, 60.0)] {
            let normal = Grid::normal(&table, steps)?;
            let times = normal.edges().map(|(from, _)| from.model_time());
            for (k, time) in times.enumerate() {
                assert_eq!(time, 999.0 * (intervals - k as f64) / intervals);
            }
            assert_eq!(
                *normal.levels().last().unwrap_or(&normal.start()),
                NoiseLevel::clean()
            );
        }
    }
    Ok(())
}
