//! Solvers for models that were distilled to few steps, as diffusers' schedulers publish them.

use diffusion_sampler::{
    Error, Grid, NoiseLevel, Prediction, Sampler,
    posterior::Kappa,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{FirstOrder, Lcm, Path, Solver, Tcd},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const START: f64 = 0.7;

fn table() -> Result<TableSchedule, Error> {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012)
}

/// The states of x' = f(step, x, from, to, D).
fn recurrence(
    path: &Path<'_>,
    step: impl Fn(usize, f64, &NoiseLevel, &NoiseLevel, f64) -> f64,
) -> Vec<f64> {
    let mut x = START;
    let advance = |(k, (from, to)): (usize, (NoiseLevel, NoiseLevel))| {
        x = step(k, x, &from, &to, denoise(x, &from));
        x
    };
    path.edges().enumerate().map(advance).collect()
}

/// diffusers' `LCMScheduler`: the last listed time returns the estimate without noise.
fn lcm(path: &Path<'_>, scaling: f64) -> Vec<f64> {
    let last = path.grid().steps() - 1;
    recurrence(path, |k, x, from, to, d| {
        let scaled = scaling * from.model_time();
        let skip = 0.25 / (scaled * scaled + 0.25);
        let out = scaled / (scaled * scaled + 0.25).sqrt();
        let y = out * d + skip * x;
        if k == last {
            return y;
        }
        // ᾱ and 1 − ᾱ.
        let product = to.alpha() * to.alpha();
        product.sqrt() * y + (1.0 - product).sqrt() * normal(k as u32, 0)
    })
}

#[test]
fn lcm_is_the_published_recurrence() -> Outcome {
    let table = table()?;
    for steps in [1, 2, 5, 12, 50] {
        let grid = Grid::lcm(&table, steps, 50)?;
        let path = Path::new(&table, &grid)?;
        // The first indices too, where the boundary is felt.
        let late = Grid::from_indices(&table, &[3.0, 1.0, 0.0])?;
        for path in [path, Path::new(&table, &late)?] {
            for scaling in [10.0, 0.1] {
                let solver = Lcm::new().with_timestep_scaling(scaling)?;
                let ours = states(&path, &solver, START)?;
                assert_close(&ours, &lcm(&path, scaling), 1e-12, "LCM");
            }
            assert_eq!(
                states(&path, &Lcm::new(), START)?,
                states(&path, &Lcm::new().with_timestep_scaling(10.0)?, START)?
            );
        }
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = Lcm::new().with_timestep_scaling(bad);
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })));
    }
    Ok(())
}

#[test]
fn lcm_misses_the_mean_by_its_boundary_scalings_alone() -> Outcome {
    let table = table()?;
    let grid = Grid::lcm(&table, 4, 50)?;
    let path = Path::new(&table, &grid)?;
    let plain = Lcm::new().without_boundary().plan(&path)?;
    assert!(
        plain
            .mean_defect()
            .unwrap()
            .iter()
            .all(|defect| *defect == 0.0)
    );
    assert_eq!(plain, FirstOrder::new(Kappa::Fresh).plan(&path)?);
    let scaled = Lcm::new().plan(&path)?.mean_defect().unwrap();
    // y misses by |c_out + c_skip α − 1|, of which the data's share c_out is nearly all.
    for (defect, (from, _)) in scaled.iter().zip(path.edges()) {
        let time = 10.0 * from.model_time();
        let skip = 0.25 / (time * time + 0.25);
        let miss = (time / (time * time + 0.25).sqrt() + skip * from.alpha() - 1.0).abs();
        assert!((defect / miss - 1.0).abs() < 1e-3, "{defect:e} {miss:e}");
    }
    Ok(())
}

/// ComfyUI's `lcm` (x₀ through `noise_scaling`) and diffusers' `FlowMatchLCMScheduler`.
#[test]
fn lcm_without_boundary_draws_anew_around_the_estimate() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let published = recurrence(&path, |k, _, _, to, d| {
                    if to.sigma() > 0.0 {
                        to.sigma() * normal(k as u32, 0) + to.alpha() * d
                    } else {
                        d
                    }
                });
                let ours = states(&path, &Lcm::new().without_boundary(), START)?;
                assert_close(&ours, &published, 1e-12, "LCM without boundary");
            }
        }
    }
    Ok(())
}

#[test]
fn the_lcm_grid_is_the_listed_one() -> Outcome {
    let table = table()?;
    let indices = |original, steps| -> Result<Vec<f64>, Error> {
        let grid = Grid::lcm(&table, steps, original)?;
        assert!(grid.end().is_clean());
        Ok(grid.edges().map(|(from, _)| from.model_time()).collect())
    };
    // As diffusers 0.42 lists them.
    assert_eq!(indices(50, 1)?, [999.0]);
    assert_eq!(indices(50, 2)?, [999.0, 499.0]);
    assert_eq!(indices(50, 3)?, [999.0, 679.0, 339.0]);
    assert_eq!(indices(50, 4)?, [999.0, 759.0, 499.0, 259.0]);
    assert_eq!(
        indices(50, 8)?,
        [999.0, 879.0, 759.0, 639.0, 499.0, 379.0, 259.0, 139.0]
    );
    // ⌊1000/30⌋ = 33: the list starts at 989.
    assert_eq!(indices(30, 2)?, [989.0, 494.0]);
    assert_eq!(indices(1000, 1000)?.len(), 1000);
    for original in [1usize, 7, 50, 999] {
        for steps in 1..=original {
            let ratio = 1000 / original;
            let listed: Vec<f64> = (1..=original)
                .rev()
                .map(|j| (j * ratio - 1) as f64)
                .collect();
            let exact: Vec<f64> = (0..steps).map(|k| listed[k * original / steps]).collect();
            let found = indices(original, steps)?;
            // One entry later where k·(n/K) falls below the integer k·n/K.
            let differing = found.iter().zip(&exact).filter(|(a, b)| a != b).count();
            let allowed = found
                .iter()
                .zip(&exact)
                .all(|(a, b)| a == b || *a == b + ratio as f64);
            assert!(
                allowed && differing <= steps / 4,
                "{original} {steps}: {differing}"
            );
        }
    }
    let steps = |found: Result<Grid, Error>| match found {
        Err(Error::StepCount { steps, min: 1, max }) => (steps, max),
        other => panic!("{other:?}"),
    };
    assert_eq!(steps(Grid::lcm(&table, 0, 50)), (0, 50));
    assert_eq!(steps(Grid::lcm(&table, 51, 50)), (51, 50));
    for trained in [0, 1001] {
        assert!(matches!(
            Grid::lcm(&table, 0, trained),
            Err(Error::InvalidParameter { value, .. }) if value == trained as f64
        ));
    }
    assert!(matches!(
        Grid::lcm(&RectifiedFlow::new(), 4, 50),
        Err(Error::SpacingNeedsTable { .. })
    ));
    Ok(())
}

/// diffusers' `TCDScheduler`: s' the index ⌊(1 − η) i⌋, the last step to index 0, without noise.
fn tcd(path: &Path<'_>, table: &TableSchedule, eta: f64) -> Vec<f64> {
    let last = path.grid().steps() - 1;
    let product = |index: f64| {
        let level = table.level(index + 1.0);
        // NaN agrees with nothing.
        level.map_or(f64::NAN, |level| level.alpha().powi(2))
    };
    recurrence(path, |k, x, from, to, d| {
        let previous = if k == last { 0.0 } else { to.model_time() };
        let (at, next) = (product(from.model_time()), product(previous));
        let below = product(((1.0 - eta) * previous).floor());
        let noise = (x - at.sqrt() * d) / (1.0 - at).sqrt();
        let down = below.sqrt() * d + (1.0 - below).sqrt() * noise;
        if eta > 0.0 && k != last {
            let ratio = next / below;
            ratio.sqrt() * down + (1.0 - ratio).max(0.0).sqrt() * normal(k as u32, 0)
        } else {
            down
        }
    })
}

#[test]
fn tcd_is_the_published_recurrence() -> Outcome {
    let table = table()?;
    for steps in [1, 2, 4, 5, 12, 50] {
        let grid = Grid::lcm(&table, steps, 50)?.ending_at(table.level(1.0)?)?;
        let path = Path::new(&table, &grid)?;
        for gamma in [0.0, 0.1, 0.3, 0.5, 0.9, 1.0] {
            let ours = states(&path, &Tcd::new(gamma)?, START)?;
            // 1 − ᾱ of index 0 by subtraction has lost three digits.
            let place = format!("TCD {gamma}, {steps}");
            assert_close(&ours, &tcd(&path, &table, gamma), 1e-12, &place);
        }
    }
    Ok(())
}

#[test]
fn tcd_goes_from_ddim_to_fresh_noise() -> Outcome {
    for (schedule, grid) in paths(6, true)? {
        let path = Path::new(&schedule, &grid)?;
        let plan = |gamma| -> Result<_, Error> { Tcd::new(gamma)?.plan(&path) };
        assert_eq!(plan(0.0)?, FirstOrder::ddim().plan(&path)?);
        for pair in [0.0, 0.2, 0.5, 0.8, 1.0].windows(2) {
            let (less, more) = (plan(pair[0])?, plan(pair[1])?);
            for (a, b) in less.stages().zip(more.stages()).take(5) {
                // On a table both may stand for the same index.
                let same = schedule.table_len().is_some() && a == b;
                assert!(a.update.noise < b.update.noise || same);
            }
        }
        if schedule.table_len().is_none() && schedule.level(0.0).is_ok_and(|l| l.is_clean()) {
            // s' = 0.
            assert_eq!(plan(1.0)?, FirstOrder::new(Kappa::Fresh).plan(&path)?);
        }
    }
    let vp = VariancePreserving::default();
    let grid = Grid::trailing(&vp, 4)?;
    let path = Path::new(&vp, &grid)?;
    let plan = Tcd::new(0.25)?.plan(&path)?;
    for ((_, to), stage) in path.edges().zip(plan.stages()).take(3) {
        let kappa = vp.level(0.75 * to.time())?.rho() / to.rho();
        let gamma = to.sigma() * (1.0 - kappa * kappa).sqrt();
        assert!((stage.update.noise - gamma).abs() < 1e-14);
    }
    for bad in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(Tcd::new(bad), Err(Error::InvalidParameter { .. })));
    }
    let bare = Path::without_schedule(&grid);
    let refused = Tcd::new(0.5)?.plan(&bare);
    assert_eq!(refused, Err(Error::TimeWithoutSchedule { time: 0.375 }));
    assert_eq!(Tcd::new(0.0)?.plan(&bare)?, FirstOrder::ddim().plan(&bare)?);
    Ok(())
}

#[test]
fn few_step_solvers_start_from_pure_noise() -> Outcome {
    let zero = table()?.zero_terminal_snr()?;
    let grid = Grid::lcm(&zero, 4, 50)?;
    assert_eq!(grid.start().alpha(), 0.0);
    let solvers: [&dyn Solver; 2] = [&Lcm::new(), &Tcd::new(0.3)?];
    for solver in solvers {
        let sampler = Sampler::new(&zero, &grid, solver)?;
        assert!(
            sampler
                .plan()
                .stages()
                .all(|stage| stage.update.state.is_finite())
        );
        let states = states(&Path::new(&zero, &grid)?, solver, START)?;
        assert!(states.iter().all(|x| x.is_finite()));
        let x = ndarray::array![[START]];
        let noise = diffusion_sampler::KeyedNoise::new(0);
        let refused = sampler.start_from(x, Prediction::Noise, noise).map(drop);
        assert!(matches!(refused, Err(Error::PredictionUndefined { .. })));
    }
    Ok(())
}
