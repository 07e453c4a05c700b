//! Image to image by steps: diffusers' rule.

use diffusion_sampler::{
    Error, Grid,
    schedule::{RectifiedFlow, TableSchedule},
};

use crate::Outcome;

#[test]
fn the_steps_are_those_that_the_rule_keeps() -> Outcome {
    let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    for steps in [1, 7, 20, 30, 50, 100] {
        for grid in [
            Grid::trailing(&table, steps)?,
            Grid::leading(&table, steps, 1)?,
        ] {
            for hundredths in 0..=100 {
                // init_timestep = min(int(K·strength), K); t_start = max(K − init_timestep, 0).
                let strength = f64::from(hundredths) / 100.0;
                let init = ((steps as f64 * strength).floor() as usize).min(steps);
                let t_start = steps.saturating_sub(init);
                let kept = grid.by_strength(strength);
                if init == 0 {
                    assert!(matches!(kept, Err(Error::StepCount { steps: 0, .. })));
                    continue;
                }
                let kept = kept?;
                assert_eq!(kept.levels(), &grid.levels()[t_start..]);
                assert_eq!(kept, grid.section(t_start..steps)?);
            }
        }
    }
    // 100 · 0.29 is 28.999999999999996 here as in Python.
    assert_eq!(Grid::trailing(&table, 100)?.by_strength(0.29)?.steps(), 28);
    Ok(())
}

#[test]
fn no_other_share_of_the_steps_is_taken() -> Outcome {
    let grid = Grid::trailing(&RectifiedFlow::new(), 10)?;
    for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            grid.by_strength(bad),
            Err(Error::InvalidParameter {
                name: "strength",
                ..
            })
        ));
    }
    assert_eq!(grid.by_strength(1.0)?, grid);
    assert_eq!(
        grid.by_strength(0.09),
        Err(Error::StepCount {
            steps: 0,
            min: 1,
            max: 10
        })
    );
    Ok(())
}
