//! The edge matrix and the cheapest strides.

use diffusion_sampler::{
    Error, Grid, Prediction,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, Elbo, Likelihood, Measurement},
    oracle::{Gaussian, Oracle},
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::{Edm, NoiseSchedule, RectifiedFlow},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::common::{Outcome, gaussian, table};

const POSTERIOR: EdgeVariance = EdgeVariance::Policy(ReverseVariance::Posterior);

const BEST: Decoder = Decoder::GaussianOptimal;

/// The levels of T uniform knots of the table.
fn fine(knots: usize) -> Result<Grid, Error> {
    Grid::trailing(&table()?, knots)
}

#[test]
fn the_bound_of_a_grid_is_the_sum_of_the_matrix() -> Outcome {
    let schedules: [(&dyn NoiseSchedule, f64); 3] = [
        (&table()?, 0.9),
        (&RectifiedFlow::new(), 1.0),
        (&Edm::default(), 0.8),
    ];
    let mut rng = SmallRng::seed_from_u64(1);
    for (schedule, first) in schedules {
        let last = schedule.last_time();
        let times: Vec<f64> = (0..=20)
            .map(|i| first * last * (1.0 - f64::from(i) / 20.0))
            .collect();
        let grid = Grid::from_times(schedule, &times)?;
        let errors = DataErrors::of_gaussian(&gaussian()?, &grid)?;
        for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.7), Kappa::Fresh] {
            let fixed = ReverseVariance::Explicit(0.02);
            for variance in [
                POSTERIOR,
                EdgeVariance::Policy(ReverseVariance::FixedLarge),
                EdgeVariance::Policy(fixed),
                EdgeVariance::Optimal,
            ] {
                let costs = EdgeCosts::new(&grid, kappa, variance, &errors, BEST)?;
                for decoder in [
                    Decoder::GaussianOptimal,
                    Decoder::Gaussian(0.01),
                    Decoder::Density(-3.0),
                    Decoder::Mass(7.5),
                ] {
                    let costs = costs.clone().with_decoder(decoder)?;
                    let mut path: Vec<usize> = (0..20).filter(|_| rng.random()).collect();
                    path.push(20 - 1);
                    path.dedup();
                    let stride = costs.grid_of(&path)?;
                    assert_eq!(stride.steps(), path.len());
                    let start = schedule.start_variance(&stride.start());
                    assert_eq!(stride.start_variance(), start);
                    let bound = Elbo::new(&stride, kappa, variance)?.evaluate(
                        3,
                        &errors.along(&stride)?,
                        errors.second_moment(),
                        decoder,
                    )?;
                    assert_eq!(costs.bound(&path)?, bound);
                    // The same by hand.
                    let mut sum = costs.prior(path[0]).ok_or("no prior")?;
                    for pair in path.windows(2) {
                        sum += costs.edge(pair[0], pair[1]).ok_or("no edge")?;
                    }
                    sum += costs.decoder(19).ok_or("no decoder")?;
                    assert!((sum - bound.nats()).abs() < 1e-12 * sum.abs().max(1.0));
                    let mass = matches!(decoder, Decoder::Mass(_));
                    assert_eq!(bound.likelihood == Likelihood::Mass, mass);
                }
            }
        }
    }
    Ok(())
}

/// All paths from `start` to the last edge among `count` levels, with exactly `steps` edges.
fn all_paths(start: usize, count: usize, steps: usize) -> Vec<Vec<usize>> {
    let free = count - start - 1;
    (0..1u32 << free)
        .filter(|set| set.count_ones() as usize == steps - 1)
        .map(|set| {
            let chosen = (0..free).filter(|bit| set >> bit & 1 == 1);
            std::iter::once(start)
                .chain(chosen.map(|bit| start + 1 + bit))
                .collect()
        })
        .collect()
}

#[test]
fn dynamic_programming_finds_what_enumeration_finds() -> Outcome {
    let mut rng = SmallRng::seed_from_u64(7);
    for case in 0..40 {
        // Any errors at all: the search must not rely on how M_t falls.
        let grid = fine(7)?;
        let m: Vec<f64> = (0..7).map(|_| rng.random_range(0.01..2.0)).collect();
        let errors = DataErrors::new(3, 3.0, grid.levels()[..7].to_vec(), m)?;
        let kappa = [Kappa::Ddpm, Kappa::Eta(0.4), Kappa::Tau(1.2), Kappa::Fresh][case % 4];
        let variance = [POSTERIOR, EdgeVariance::Optimal][case / 4 % 2];
        let costs = EdgeCosts::new(&grid, kappa, variance, &errors, BEST)?;
        for start in 0..7 {
            let strides = costs.cheapest_from(start, 7 - start)?;
            for steps in 1..=7 - start {
                let paths = all_paths(start, 7, steps);
                let totals = paths.iter().map(|path| costs.bound(path).map(|b| b.nats()));
                let totals: Vec<f64> = totals.collect::<Result<_, _>>()?;
                let least = totals.iter().copied().fold(f64::INFINITY, f64::min);
                let found = strides.path(steps)?;
                assert_eq!(found.len(), steps);
                assert_eq!(found[0], start);
                assert!(paths.contains(&found));
                assert_eq!(
                    strides.bound(steps)?.nats(),
                    least,
                    "{case} {start} {steps}"
                );
                assert_eq!(strides.grid(steps)?, costs.grid_of(&found)?);
            }
        }
    }
    Ok(())
}

#[test]
fn cheapest_strides_fall_with_their_steps_and_are_never_above_a_fixed_one() -> Outcome {
    let schedule = table()?;
    let grid = fine(200)?;
    let variances: Vec<f64> = (1..=16).map(|i| f64::from(i).powi(-2)).collect();
    let data = Gaussian::diagonal(&[0.0; 16], &variances)?;
    let errors = DataErrors::of_gaussian(&data, &grid)?;
    for variance in [POSTERIOR, EdgeVariance::Optimal] {
        let costs = EdgeCosts::new(&grid, Kappa::Ddpm, variance, &errors, BEST)?;
        let strides = costs.cheapest().unwrap();
        assert_eq!(strides.steps(), 200);
        let mut last = f64::INFINITY;
        // Beyond, levels are forced in that do not pay.
        for steps in 1..=150 {
            let nats = strides.bound(steps)?.nats();
            assert!(nats < last, "{steps}: {nats} after {last}");
            last = nats;
        }
        // All levels: there is one path.
        assert_eq!(strides.path(200)?, (0..200).collect::<Vec<_>>());
        for steps in [2, 5, 10, 20, 40, 50, 100] {
            let index = |level: &diffusion_sampler::NoiseLevel| {
                costs
                    .levels()
                    .iter()
                    .position(|own| own.lambda() == level.lambda())
            };
            let uniform = Grid::trailing(&schedule, steps)?;
            let path: Option<Vec<_>> = uniform.levels()[..steps].iter().map(index).collect();
            let path = path.ok_or("a uniform knot is not among the levels")?;
            assert!(strides.bound(steps)?.nats() <= costs.bound(&path)?.nats());
            let quadratic: Vec<usize> = (0..steps)
                .map(|k| 200 - (200 * (steps - k).pow(2)).div_ceil(steps * steps))
                .collect();
            if quadratic.windows(2).all(|pair| pair[0] < pair[1]) {
                assert!(strides.bound(steps)?.nats() <= costs.bound(&quadratic)?.nats());
            }
        }
    }
    Ok(())
}

#[test]
fn the_standard_error_of_a_bound_is_that_of_its_rows() -> Outcome {
    let grid = fine(10)?;
    let truth = gaussian()?;
    let data = truth.sample(60, &mut SmallRng::seed_from_u64(2))?;
    let mut model = truth.denoiser(Prediction::Noise);
    let measured = Measurement::at(&grid).unwrap().of(&data, &mut model)?;
    let path = [0, 3, 4, 8];
    let rows = measured.by_row();
    let squares: Vec<f64> = data.rows().into_iter().map(|row| row.dot(&row)).collect();
    // The bound from the means over some of the rows.
    let bound = |variance, decoder, left_out: Option<usize>| -> Result<f64, Error> {
        let kept: Vec<usize> = (0..60).filter(|row| Some(*row) != left_out).collect();
        let mean = |value: &dyn Fn(usize) -> f64| {
            kept.iter().map(|&row| value(row)).sum::<f64>() / kept.len() as f64
        };
        let m = (0..10)
            .map(|level| mean(&|row| rows[[row, level]]))
            .collect();
        let moment = mean(&|row| squares[row]);
        let errors = DataErrors::new(3, moment, grid.levels()[..10].to_vec(), m)?;
        let costs = EdgeCosts::new(&grid, Kappa::Ddpm, variance, &errors, BEST)?;
        Ok(costs.with_decoder(decoder)?.bound(&path)?.nats())
    };
    for (variance, decoder, tolerance) in [
        // Linear in M_t: the jackknife is exact.
        (POSTERIOR, Decoder::Gaussian(0.05), 1e-9),
        // To first order, which the jackknife has beside others of 1/60.
        (EdgeVariance::Optimal, Decoder::GaussianOptimal, 0.1),
    ] {
        let costs = EdgeCosts::new(&grid, Kappa::Ddpm, variance, measured.errors(), BEST)?;
        let costs = costs.with_decoder(decoder)?;
        let found = measured.standard_error(&costs, &path)?;
        let whole = bound(variance, decoder, None)?;
        assert!((whole - costs.bound(&path)?.nats()).abs() < 1e-10);
        let left_out = (0..60).map(|row| bound(variance, decoder, Some(row)));
        let left_out: Vec<f64> = left_out.collect::<Result<_, _>>()?;
        let mean = left_out.iter().sum::<f64>() / 60.0;
        let squares: f64 = left_out.iter().map(|b| (b - mean).powi(2)).sum();
        let jackknife = (squares * 59.0 / 60.0).sqrt();
        assert!(
            (found / jackknife - 1.0).abs() < tolerance,
            "{found} {jackknife}"
        );
    }
    // Levels that were not measured have no standard error.
    let errors = DataErrors::of_gaussian(&gaussian()?, &fine(20)?)?;
    let other = EdgeCosts::new(&fine(20)?, Kappa::Ddpm, POSTERIOR, &errors, BEST)?;
    assert!(matches!(
        measured.standard_error(&other, &[1]),
        Err(Error::InvalidEntry { index: 0, .. })
    ));
    Ok(())
}

#[test]
fn the_matrix_refuses_what_has_no_bound() -> Outcome {
    let grid = fine(5)?;
    let errors = DataErrors::of_gaussian(&gaussian()?, &grid)?;
    for kappa in [
        Kappa::Ddim,
        Kappa::Eta(0.0),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
    ] {
        assert_eq!(
            EdgeCosts::new(&grid, kappa, POSTERIOR, &errors, BEST),
            Err(Error::DeterministicLikelihood {
                from: 1000.0,
                to: 800.0
            })
        );
    }
    let zero = EdgeVariance::Policy(ReverseVariance::Explicit(0.0));
    assert!(matches!(
        EdgeCosts::new(&grid, Kappa::Ddpm, zero, &errors, BEST),
        Err(Error::DeterministicLikelihood { .. })
    ));
    let open = grid.clone().without_clean_end()?;
    assert!(matches!(
        EdgeCosts::new(&open, Kappa::Ddpm, POSTERIOR, &errors, BEST),
        Err(Error::DegenerateEdge { .. })
    ));
    let still = grid.clone().with_start_variance(0.0)?;
    assert!(EdgeCosts::new(&still, Kappa::Ddpm, POSTERIOR, &errors, BEST).is_err());
    let beyond = fine(10)?;
    assert!(matches!(
        EdgeCosts::new(&beyond, Kappa::Ddpm, POSTERIOR, &errors, BEST),
        Err(Error::LambdaOutOfRange { .. })
    ));
    let costs = EdgeCosts::new(&grid, Kappa::Ddpm, POSTERIOR, &errors, BEST)?;
    assert!(costs.clone().with_decoder(Decoder::Gaussian(0.0)).is_err());
    assert!(costs.clone().with_decoder(Decoder::Mass(-0.1)).is_err());
    assert_eq!(
        (costs.edge(2, 2), costs.edge(3, 2), costs.edge(4, 5)),
        (None, None, None)
    );
    assert_eq!((costs.decoder(5), costs.prior(5)), (None, None));
    assert_eq!(costs.bound(&[]), Err(Error::EmptyList { name: "path" }));
    for path in [vec![0, 5], vec![3, 3], vec![2, 1]] {
        assert!(matches!(
            costs.grid_of(&path),
            Err(Error::InvalidEntry { name: "path", index, .. }) if index < 2
        ));
    }
    assert!(costs.cheapest_from(5, 1).is_err());
    for steps in [0, 4] {
        assert_eq!(
            costs.cheapest_from(2, steps),
            Err(Error::StepCount {
                steps,
                min: 1,
                max: 3
            })
        );
        assert!(costs.cheapest_from(2, 3)?.path(steps).is_err());
    }
    // One level: the decoder and the prior alone.
    let one = Grid::trailing(&table()?, 1)?;
    let errors = DataErrors::of_gaussian(&gaussian()?, &one)?;
    let costs = EdgeCosts::new(&one, Kappa::Ddpm, POSTERIOR, &errors, BEST)?;
    let bound = costs.cheapest().unwrap().bound(1)?;
    assert!(bound.edges.is_empty());
    assert_eq!(
        Some(bound.nats()),
        costs.prior(0).zip(costs.decoder(0)).map(|(p, d)| p + d)
    );
    Ok(())
}
