//! Published tables, sway sampling, and grids taken to another schedule.

use std::f64::consts::PI;

use diffusion_sampler::{
    Error, Grid,
    grid::AlignYourSteps,
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
    },
};

use super::common::{Outcome, TABLE, is_sound, times};

const TABLES: [AlignYourSteps; 5] = [
    AlignYourSteps::Sd15,
    AlignYourSteps::Sd15Indices,
    AlignYourSteps::Sdxl,
    AlignYourSteps::SdxlIndices,
    AlignYourSteps::Svd,
];

fn stable_diffusion() -> Result<TableSchedule, Error> {
    TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)
}

/// numpy's interp of ln ρ from the clean end, as the authors' page and ComfyUI do it.
fn interpolated(table: AlignYourSteps, count: usize) -> Vec<f64> {
    let ys: Vec<f64> = table.rhos().iter().rev().map(|rho| rho.ln()).collect();
    let mut list: Vec<f64> = (0..count)
        .map(|i| {
            let x = i as f64 / (count - 1) as f64 * 10.0;
            let below = (x.floor() as usize).min(9);
            (ys[below] + (ys[below + 1] - ys[below]) * (x - below as f64)).exp()
        })
        .collect();
    list.reverse();
    list
}

#[test]
fn align_your_steps_is_the_table_and_its_log_linear_interpolation() -> Outcome {
    let edm = Edm::new(1e-4, 1000.0)?;
    for table in TABLES {
        let ten = Grid::align_your_steps(&edm, 10, table)?;
        for (level, rho) in ten.levels()[..10].iter().zip(table.rhos()) {
            assert!((level.rho() / rho - 1.0).abs() < 1e-14);
        }
        for steps in [1, 2, 3, 7, 10, 11, 20, 33, 100] {
            let grid = Grid::align_your_steps(&edm, steps, table)?;
            is_sound(&grid, steps);
            let expected = interpolated(table, steps + 1);
            for (level, rho) in grid.levels()[..steps].iter().zip(expected) {
                let error = (level.rho() / rho - 1.0).abs();
                assert!(error < 1e-12, "{table:?}, {steps}: {error:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_tables_of_indices_are_stable_diffusions_noise_at_the_published_indices() -> Outcome {
    let schedule = stable_diffusion()?;
    let published = [
        (
            AlignYourSteps::Sd15Indices,
            AlignYourSteps::Sd15,
            [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0],
            0.004,
        ),
        (
            AlignYourSteps::SdxlIndices,
            AlignYourSteps::Sdxl,
            [999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0],
            0.015,
        ),
    ];
    for (exact, listed, indices, apart) in published {
        for ((rho, index), other) in exact.rhos().iter().zip(indices).zip(listed.rhos()) {
            let own = schedule.level(f64::from(index) + 1.0)?.rho();
            // Ten printed digits, of a table in f32.
            assert!((rho / own - 1.0).abs() < 2e-9, "{index}");
            let last = index == 0;
            assert!(last || (other / own - 1.0).abs() < apart, "{index}");
        }
        let list: Vec<f64> = indices[..10].iter().copied().map(f64::from).collect();
        let by_index = Grid::from_indices(&schedule, &list)?;
        let grid = Grid::align_your_steps(&schedule, 10, exact)?;
        for (a, b) in grid.levels().iter().zip(by_index.levels()) {
            assert!((a.time() - b.time()).abs() < 1e-6);
        }
    }
    Ok(())
}

#[test]
fn a_table_starts_at_the_schedules_end_where_its_digits_lie_beyond() -> Outcome {
    let schedule = stable_diffusion()?;
    for table in &TABLES[..4] {
        for steps in [1, 10, 25] {
            let grid = Grid::align_your_steps(&schedule, steps, *table)?;
            is_sound(&grid, steps);
            assert!((grid.start().time() - 1000.0).abs() < 1e-6, "{table:?}");
        }
    }
    // ρ = 700 is no rounding, and a shorter table does not reach 14.6 at all.
    let short = TableSchedule::linear(TABLE, 1e-4, 0.005)?;
    for refused in [
        Grid::align_your_steps(&schedule, 10, AlignYourSteps::Svd),
        Grid::align_your_steps(&short, 10, AlignYourSteps::Sd15),
    ] {
        assert!(matches!(refused, Err(Error::LambdaOutOfRange { .. })));
    }
    for steps in [0, TABLE + 1] {
        let refused = Grid::align_your_steps(&schedule, steps, AlignYourSteps::Sd15);
        assert!(matches!(refused, Err(Error::StepCount { .. })));
    }
    Ok(())
}

#[test]
fn sway_bends_time_as_published() -> Outcome {
    let largest = 2.0 / (PI - 2.0);
    for schedule in [
        &RectifiedFlow::shifted(2.0)? as &dyn NoiseSchedule,
        &stable_diffusion()?,
    ] {
        let last = schedule.last_time();
        for sway in [-1.0, -0.5, 0.0, 1.0, largest] {
            for steps in [1, 2, 7, 32, 1000] {
                let forward = Grid::sway(schedule, steps, sway)?;
                let backward = Grid::sway_in_time(schedule, steps, sway)?;
                is_sound(&forward, steps);
                is_sound(&backward, steps);
                let bent = |t: f64| t + sway * ((0.5 * PI * t).cos() - 1.0 + t);
                for k in 0..=steps {
                    // F5: t from noise at 0 to data at 1. VoxCPM: t from noise at 1 to data at 0.
                    let t = k as f64 / steps as f64;
                    let (f5, vox) = (1.0 - bent(t), bent(1.0 - t));
                    let found = (times(&forward)[k] / last, times(&backward)[k] / last);
                    assert!((found.0 - f5).abs() < 1e-15, "{sway}, {steps}, {k}");
                    assert!((found.1 - vox).abs() < 1e-15, "{sway}, {steps}, {k}");
                }
                if sway == -1.0 {
                    // CosyVoice: t = 1 − cos(½πk/K).
                    for (k, time) in times(&forward).iter().enumerate() {
                        let cosine = (0.5 * PI * k as f64 / steps as f64).cos();
                        assert!((time / last - cosine).abs() < 1e-15);
                    }
                }
            }
        }
    }
    let flow = RectifiedFlow::new();
    for sway in [-1.001, largest + 1e-9, f64::NAN] {
        for refused in [
            Grid::sway(&flow, 4, sway),
            Grid::sway_in_time(&flow, 4, sway),
        ] {
            assert!(matches!(
                refused,
                Err(Error::InvalidParameter { name: "sway", .. })
            ));
        }
    }
    assert!(matches!(
        Grid::sway(&flow, 0, -1.0),
        Err(Error::StepCount { steps: 0, .. })
    ));
    Ok(())
}

#[test]
fn a_grid_on_another_schedule_has_the_same_noise_and_comes_back() -> Outcome {
    let table = stable_diffusion()?;
    let schedules: [Box<dyn NoiseSchedule>; 5] = [
        Box::new(table.clone()),
        Box::new(VariancePreserving::default()),
        Box::new(VarianceExploding::new(1e-3, 1000.0)?),
        Box::new(Edm::new(1e-3, 1000.0)?),
        Box::new(RectifiedFlow::shifted(3.0)?),
    ];
    let grid = Grid::trailing(&table, 20)?;
    for schedule in &schedules {
        let other = grid.on(&**schedule)?;
        is_sound(&other, 20);
        for (a, b) in grid.levels().iter().zip(other.levels()) {
            assert!(a.is_clean() && b.is_clean() || (a.lambda() - b.lambda()).abs() < 2e-12);
            // A level of the other schedule, with its amplitudes and its time for the network.
            assert_eq!(*b, schedule.level(b.time())?);
        }
        assert_eq!(
            other.start_variance(),
            schedule.start_variance(&other.start())
        );
        let back = other.on(&table)?;
        for (a, b) in times(&grid).iter().zip(times(&back)) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        // Sections know the other schedule's initial variance.
        let section = other.section(5..20)?;
        assert_eq!(
            section.start_variance(),
            schedule.start_variance(&section.start())
        );
    }
    Ok(())
}

#[test]
fn a_grid_is_not_taken_where_the_schedule_does_not_reach() -> Outcome {
    let flow = Grid::trailing(&RectifiedFlow::new(), 4)?;
    let refused = flow.on(&Edm::default());
    assert!(matches!(
        refused,
        Err(Error::LambdaOutOfRange { lambda, .. }) if lambda == f64::NEG_INFINITY
    ));
    // Onto another flow it goes, pure noise and all.
    let shifted = flow.on(&RectifiedFlow::shifted(3.0)?)?;
    assert_eq!((shifted.start().time(), shifted.end().time()), (1.0, 0.0));
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 4, edm.lambda_range(), 7.0)?;
    assert!(matches!(
        grid.on(&stable_diffusion()?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    Ok(())
}

#[test]
fn sway_of_minus_one_keeps_its_digits_at_the_clean_end() -> Outcome {
    let steps = 1_000_000;
    let grid = Grid::sway(&RectifiedFlow::new(), steps, -1.0)?;
    for left in [1, 2, 7] {
        let expected = (0.5 * std::f64::consts::PI * left as f64 / steps as f64).sin();
        let error = grid.levels()[steps - left].time() / expected - 1.0;
        assert!(error.abs() < 1e-14, "{left}: {error:e}");
    }
    Ok(())
}
