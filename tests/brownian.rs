//! The Brownian path: one path for every number of steps.

use std::error::Error as StdError;

use diffusion_sampler::{
    Denoiser, Error, Grid, NoiseLevel, Prediction, Sampler, from_fn,
    noise::{BrownianPath, Demand, Interval, KeyedNoise, NoiseKey, NoiseSource, Stream},
    oracle::{Gaussian, GaussianMixture, Oracle},
    plan::{Stage, Step, Update},
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::VariancePreserving,
    solver::{
        Churn, Dpm2, DpmSolverPlusPlus, ExponentialRungeKutta, FirstOrder, Path, Solver, catalogue,
    },
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, array, concatenate};

type Outcome = Result<(), Box<dyn StdError>>;

fn draw(mut path: BrownianPath, from: f64, to: f64, count: usize) -> Vec<f64> {
    let key = NoiseKey::new(5, 0, Stream::Step(0)).with_interval(Interval::new(from, to));
    let mut out = vec![0.0; count];
    path.fill(key, 0, &mut out);
    out
}

/// κ² and 1 − κ² of a step, by its definition.
fn kappa_squared(tau: f64, from: f64, to: f64) -> [f64; 2] {
    let exponent = -2.0 * tau * tau * (to - from);
    [exponent.exp(), -exponent.exp_m1()]
}

#[test]
fn the_noise_of_two_steps_is_the_noise_of_their_union() -> Outcome {
    for tau in [0.3, 1.0, 1.7] {
        let path = BrownianPath::new(3).with_tau(tau)?;
        for (from, middle, to) in [
            (-4.4, 0.1, 6.2),
            (-4.4, -4.399, 6.2),
            (-0.300_07, -0.3, -0.2999),
            (-16.0, 0.0, 16.0),
            (f64::NEG_INFINITY, -2.0, 1.0),
            (1.0, 2.0, f64::INFINITY),
            (f64::NEG_INFINITY, 0.3, f64::INFINITY),
        ] {
            let (one, two) = (draw(path, from, middle, 99), draw(path, middle, to, 99));
            let [_, fresh] = kappa_squared(tau, from, middle);
            let [kept, second] = kappa_squared(tau, middle, to);
            let deviation = kappa_squared(tau, from, to)[1].sqrt();
            for ((one, two), all) in one.iter().zip(two).zip(draw(path, from, to, 99)) {
                let sum = (kept * fresh).sqrt() * one + second.sqrt() * two;
                assert!(
                    (sum / deviation - all).abs() < 1e-12,
                    "{tau} {from} {middle} {to}: {sum} {all}"
                );
            }
        }
    }
    Ok(())
}

/// The largest distance of the distribution of `draws` from the normal one, times √n.
fn kolmogorov(draws: &[f64]) -> f64 {
    let mut sorted = draws.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distance = sorted.iter().zip(0..).map(|(z, i)| {
        let p = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        (p - f64::from(i) / count).max(f64::from(i + 1) / count - p)
    });
    count.sqrt() * distance.fold(0.0, f64::max)
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

#[test]
fn steps_are_standard_normal_independent_and_overlap_as_the_process_does() -> Outcome {
    const N: usize = 1 << 20;
    let tau = 0.8;
    let path = BrownianPath::new(11).with_tau(tau)?;
    let (a, b, c, d) = (-1.234, -1.1, 0.02, 0.9);
    let one = draw(path, a, b, N);
    let two = draw(path, b, c, N);
    let short = draw(path, b, b + 1e-4, N);
    let start = draw(path, f64::NEG_INFINITY, a, N);
    let end = draw(path, d, f64::INFINITY, N);
    // 1.95 is the Kolmogorov distribution's quantile at 0.1 %; 5/√n is five standard deviations.
    for draws in [&one, &two, &short, &start, &end] {
        assert!(kolmogorov(draws) < 2.1, "{}", kolmogorov(draws));
    }
    let limit = 5.0 / (N as f64).sqrt();
    for (x, y) in [(&one, &two), (&start, &one), (&one, &short), (&two, &end)] {
        assert!(covariance(x, y).abs() < limit);
    }
    // Overlap [b, c] of [a, c] and [b, d], by Itô's isometry in the time e^{2τ²λ}.
    let u = |lambda: f64| (2.0 * tau * tau * lambda).exp();
    let expected = (u(c) - u(b)) / ((u(c) - u(a)) * (u(d) - u(b))).sqrt();
    let found = covariance(&draw(path, a, c, N), &draw(path, b, d, N));
    assert!((found - expected).abs() < limit, "{found} {expected}");
    // The second noise addition of a step is independent of the first.
    let key = NoiseKey::new(5, 0, Stream::Step(1)).with_interval(Interval::new(a, b));
    let mut second = vec![0.0; N];
    let mut source = path;
    source.fill(key, 0, &mut second);
    assert!(covariance(&one, &second).abs() < limit);
    Ok(())
}

fn vp(lambda: f64) -> Result<NoiseLevel, Error> {
    // α² = 1/(1 + e^{−2λ}).
    NoiseLevel::variance_preserving(-lambda, -libm::log1p(libm::exp(-2.0 * lambda)))
}

/// `steps` equal steps in λ over [−3, 3].
fn grid(steps: usize) -> Result<Grid, Error> {
    let lambdas: Vec<f64> = (0..=steps)
        .map(|i| -3.0 + 6.0 * i as f64 / steps as f64)
        .collect();
    Grid::from_lambdas(&VariancePreserving::default(), &lambdas)
}

fn run<M>(
    solver: &dyn Solver,
    steps: usize,
    model: &mut M,
    noise: BrownianPath,
    rows: usize,
) -> Result<Array2<f64>, Box<dyn StdError>>
where
    M: Denoiser<f64, Ix2>,
    M::Error: StdError + 'static,
{
    let sampler = Sampler::new(&VariancePreserving::default(), &grid(steps)?, solver)?;
    let mut run = sampler.start((rows, 3), model.prediction(), noise)?;
    run.complete(model)?;
    Ok(run.into_state())
}

fn rms(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    ((a - b).mapv(|d| d * d).sum() / a.len() as f64).sqrt()
}

#[test]
fn with_the_data_known_any_number_of_steps_gives_the_same_sample() -> Outcome {
    for tau in [0.4, 1.0, 2.0] {
        let solver = FirstOrder::new(Kappa::Tau(tau));
        let path = BrownianPath::new(8).with_tau(tau)?;
        let mut model = from_fn(
            Prediction::Data,
            |_: &ArrayRef<f64, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| out.fill(0.7),
        );
        let one = run(&solver, 1, &mut model, path, 20)?;
        for steps in [2, 7, 14, 100] {
            let many = run(&solver, steps, &mut model, path, 20)?;
            assert!(rms(&one, &many) < 1e-13, "{tau} {steps}");
        }
        // The keyed noise has no such path.
        let other = run(
            &solver,
            1,
            &mut model,
            BrownianPath::new(9).with_tau(tau)?,
            20,
        )?;
        assert!(rms(&one, &other) > 0.01);
    }
    Ok(())
}

/// The slope of the distance between K and 2K steps on one path, from K = 64 to 256.
fn order(
    solver: &dyn Solver,
    tau: f64,
    model: &GaussianMixture,
    rows: usize,
) -> Result<f64, Box<dyn StdError>> {
    let path = BrownianPath::new(21).with_tau(tau)?;
    let mut model = model.clone().denoiser(Prediction::Data);
    let mut sample = |steps| run(solver, steps, &mut model, path, rows);
    let coarse = rms(&sample(64)?, &sample(128)?);
    let fine = rms(&sample(256)?, &sample(512)?);
    Ok((coarse / fine).log2() / 2.0)
}

#[test]
fn stochastic_solvers_converge_strongly_along_the_path() -> Outcome {
    let gaussian = GaussianMixture::new(
        &[1.0],
        vec![Gaussian::diagonal(&[0.5, -1.0, 0.0], &[0.3, 0.1, 0.5])?],
        vec![0],
    )?;
    let mixture = GaussianMixture::new(
        &[1.0, 2.0],
        vec![
            Gaussian::diagonal(&[-0.5, 0.5, 0.0], &[0.3, 0.2, 0.3])?,
            Gaussian::isotropic(&[0.5, 0.0, 0.25], 0.25)?,
        ],
        vec![0, 1],
    )?;
    for (name, model) in [("Gaussian", &gaussian), ("mixture", &mixture)] {
        for tau in [0.5, 1.0] {
            let first = order(&FirstOrder::new(Kappa::Tau(tau)), tau, model, 200)?;
            let multistep = order(&DpmSolverPlusPlus::new().with_tau(tau)?, tau, model, 200)?;
            // Euler–Maruyama with additive noise has strong order 1.
            assert!((0.9..=1.1).contains(&first), "{name} {tau}: {first}");
            assert!(
                (0.9..=1.1).contains(&multistep),
                "{name} {tau}: {multistep}"
            );
        }
    }
    let tau = 0.5;
    for (method, solver) in [
        ("SEEDS-2", ExponentialRungeKutta::seeds(2)?),
        ("SEEDS-3", ExponentialRungeKutta::seeds(3)?),
    ] {
        let found = order(&solver.with_tau(tau)?, tau, &mixture, 200)?;
        assert!((0.9..=1.1).contains(&found), "{method}: {found}");
    }
    Ok(())
}

#[test]
fn solvers_with_one_stage_and_with_more_follow_one_path() -> Outcome {
    let tau = 0.8;
    let path = BrownianPath::new(21).with_tau(tau)?;
    let one = FirstOrder::new(Kappa::Tau(tau));
    let more = [
        ExponentialRungeKutta::seeds(2)?.with_tau(tau)?,
        ExponentialRungeKutta::seeds(3)?.with_tau(tau)?,
        ExponentialRungeKutta::heun().with_tau(tau)?,
    ];
    // With the data known, exactly.
    let mut known = from_fn(
        Prediction::Data,
        |_: &ArrayRef<f64, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| out.fill(0.7),
    );
    let single = run(&one, 1, &mut known, path, 20)?;
    for solver in &more {
        for steps in [1, 2, 9] {
            let multiple = run(solver, steps, &mut known, path, 20)?;
            assert!(rms(&single, &multiple) < 1e-13, "{solver:?} {steps}");
        }
    }
    // Else in the limit.
    let data = Gaussian::diagonal(&[0.5, -1.0, 0.0], &[0.3, 0.1, 0.5])?;
    let mut model = data.denoiser(Prediction::Data);
    let limit = run(&one, 2000, &mut model, path, 50)?;
    for solver in &more {
        let near = rms(&limit, &run(solver, 200, &mut model, path, 50)?);
        assert!(near < 0.01, "{solver:?} {near}");
    }
    Ok(())
}

#[test]
fn the_noises_of_a_step_have_their_parts_where_the_models_levels_lead_down() -> Outcome {
    let (from, middle, to) = (vp(-1.0)?, vp(0.25)?, vp(1.0)?);
    let whole = Interval::new(from.lambda(), to.lambda());
    let noisy = |noise| Update {
        state: 0.5,
        noise,
        ..Update::default()
    };
    let step = |stages: Vec<(Option<NoiseLevel>, f64)>| Step {
        from,
        to,
        stages: stages
            .into_iter()
            .map(|(evaluate, noise)| Stage {
                evaluate,
                update: noisy(noise),
            })
            .collect(),
    };
    let parts = |step: &Step| {
        let all = (0..step.stages.len()).map(|n| (step.interval_of(n), step.path_of(n)));
        all.collect::<Vec<_>>()
    };
    // One noise: the whole step, on path 0, whichever stage adds it.
    let one = step(vec![(Some(from), 0.3), (Some(middle), 0.0)]);
    assert_eq!(parts(&one)[0], (whole, 0));
    let late = step(vec![(Some(from), 0.0), (Some(middle), 0.3)]);
    assert_eq!(parts(&late)[1], (whole, 0));
    // Two, at levels that lead down.
    let two = step(vec![(Some(from), 0.3), (Some(middle), 0.3)]);
    let first = Interval::new(from.lambda(), middle.lambda());
    let second = Interval::new(middle.lambda(), to.lambda());
    assert_eq!(parts(&two), [(first, 0), (second, 0)]);
    // A stage without noise or model between them changes nothing.
    let three = step(vec![(Some(from), 0.3), (None, 0.0), (Some(middle), 0.3)]);
    assert_eq!(parts(&three)[2], (second, 0));
    // No level between, the same level, a level beyond the end: each noise on a path of its own.
    for level in [None, Some(from), Some(to), Some(vp(1.5)?)] {
        let apart = step(vec![(Some(from), 0.3), (level, 0.3)]);
        assert_eq!(parts(&apart), [(whole, 0), (whole, 1)]);
    }
    // Upwards.
    let up = Step {
        from: to,
        to: from,
        stages: late.stages.clone(),
    };
    let upwards = Interval::new(to.lambda(), from.lambda());
    assert_eq!(parts(&up)[1], (upwards, 1));
    Ok(())
}

/// The solvers of the exponential family whose noise has the constant rate τ = 1, added in the first
/// stage of every step: another stage has noise of its own. Additive noise gives strong order 1.
const CONSTANT_RATE: &[&str] = &[
    "DDPM",
    "SDE-DPM-Solver++(2M)",
    "SDE-DPM-Solver++(2M), exact",
    "SDE-DPM-Solver++(3M)",
    "SDE-DPM-Solver++(3M), as published",
    "SDE-DPM-Solver multistep 2",
    "RES multistep, ancestral",
    "SA-Solver 2/2",
    "SA-Solver 2/2, simple",
    "SA-Solver 3/4",
    "SA-Solver 2/2, noise form",
];

#[test]
fn every_solver_of_constant_rate_converges_strongly_along_the_path() -> Outcome {
    let mixture = GaussianMixture::new(
        &[1.0, 2.0],
        vec![
            Gaussian::diagonal(&[-0.5, 0.5, 0.0], &[0.3, 0.2, 0.3])?,
            Gaussian::isotropic(&[0.5, 0.0, 0.25], 0.25)?,
        ],
        vec![0, 1],
    )?;
    let entries: Vec<_> = catalogue()
        .into_iter()
        .filter(|entry| CONSTANT_RATE.contains(&entry.name))
        .collect();
    assert_eq!(entries.len(), CONSTANT_RATE.len(), "a name is not listed");
    for entry in entries {
        let found = order(&entry.solver, 1.0, &mixture, 40)?;
        assert!((0.9..=1.1).contains(&found), "{}: {found}", entry.name);
    }
    Ok(())
}

#[test]
fn a_sample_does_not_depend_on_its_batch_nor_on_pieces() -> Outcome {
    let whole = BrownianPath::new(4);
    let mut model = Gaussian::isotropic(&[0.0; 3], 1.0)?.denoiser(Prediction::Data);
    let all = run(&FirstOrder::ddpm(), 9, &mut model, whole, 7)?;
    let head = run(&FirstOrder::ddpm(), 9, &mut model, whole, 3)?;
    let tail = run(
        &FirstOrder::ddpm(),
        9,
        &mut model,
        whole.with_first_sample(3)?,
        4,
    )?;
    assert_eq!(all, concatenate![Axis(0), head, tail]);

    let key = NoiseKey::new(2, 0, Stream::Step(0)).with_interval(Interval::new(-1.0, 0.3));
    let mut source = whole;
    let mut row = vec![0f32; 1000];
    source.fill(key, 0, &mut row);
    let mut pieces = vec![0f32; 1000];
    for (first, piece) in [(0, 0..1), (1, 1..300), (300, 300..1000)] {
        source.fill(key, first, &mut pieces[piece]);
    }
    assert_eq!(row, pieces);
    Ok(())
}

#[test]
fn rows_outside_a_step_are_those_of_keyed_noise() {
    for stream in [
        Stream::Start,
        Stream::Forward,
        Stream::User(3),
        Stream::Step(2),
    ] {
        let key = NoiseKey::new(1, 4, stream);
        let (mut path, mut keyed) = ([0f32; 40], [0f32; 40]);
        BrownianPath::new(6).fill(key, 0, &mut path);
        KeyedNoise::new(6).fill(key, 0, &mut keyed);
        assert_eq!(path, keyed);
    }
}

#[test]
fn samples_with_levels_of_their_own_get_their_own_intervals() -> Outcome {
    let (from, to) = ([vp(-1.0)?, vp(0.5)?], [vp(0.0)?, vp(0.75)?]);
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddpm)?;
    let start = array![[0.3, 0.1], [0.2, -0.5]];
    let data = array![[0.0, 1.0], [0.5, 0.25]];
    let mut both = Machine::new(start.clone(), 0)?;
    step.tell(
        &mut both,
        Prediction::Data,
        &data,
        &mut BrownianPath::new(2),
        0,
    )?;
    for row in 0..2 {
        let step = DdimStep::new(from[row], to[row], Kappa::Ddpm)?;
        let mut noise = BrownianPath::new(2).with_first_sample(row as u64)?;
        let part =
            |array: &Array2<f64>| array.slice_axis(Axis(0), (row..row + 1).into()).to_owned();
        let mut alone = Machine::new(part(&start), 0)?;
        step.tell(&mut alone, Prediction::Data, &part(&data), &mut noise, 0)?;
        assert_eq!(both.state().row(row), alone.state().row(0));
    }
    Ok(())
}

#[test]
fn what_the_path_cannot_give_is_refused_before_a_run() -> Outcome {
    let path = BrownianPath::new(1);
    let check = |pairs: &[(f64, f64)]| {
        let intervals: Vec<_> = pairs.iter().map(|&(a, b)| Interval::new(a, b)).collect();
        let run = Demand::batch(1, 1, 0..intervals.len() as u64, Stream::Step(0));
        NoiseSource::<f32>::check(&path, &run.with_intervals(&intervals))
    };
    assert_eq!(
        check(&[
            (f64::NEG_INFINITY, -16.0),
            (-16.0, 16.0),
            (16.0, f64::INFINITY)
        ]),
        Ok(())
    );
    let outside = |lambda| {
        Err(Error::KnotOutsidePath {
            lambda,
            noisy: -16.0,
            clean: 16.0,
        })
    };
    assert_eq!(check(&[(-17.0, 0.0)]), outside(-17.0));
    assert_eq!(check(&[(0.0, 16.5)]), outside(16.5));
    assert!(matches!(
        check(&[(f64::NAN, 0.0)]),
        Err(Error::KnotOutsidePath { .. })
    ));
    assert_eq!(
        check(&[(0.1, 0.100_001)]),
        Err(Error::KnotsTooClose {
            from: 0.1,
            to: 0.100_001,
            cell: 32.0 / 1_048_576.0,
        })
    );
    assert!(matches!(
        check(&[(0.0, 0.1), (0.100_001, 1.0)]),
        Err(Error::KnotsTooClose { .. })
    ));
    // A knot on the border of two cells is in neither.
    let half_a_cell = 16.0 / 1_048_576.0;
    assert_eq!(check(&[(0.0, half_a_cell)]), Ok(()));
    // But one that rounding cannot tell from the other is too close, on any side of it.
    for (from, to) in [
        (0.0, 5e-324),
        (-5e-324, 5e-324),
        (0.0, 1e-30),
        (-1e-25, 0.0),
    ] {
        let cell = 2.0 * half_a_cell;
        assert_eq!(
            check(&[(from, to)]),
            Err(Error::KnotsTooClose { from, to, cell })
        );
    }
    assert_eq!(
        check(&[(1.0, 0.0)]),
        Err(Error::PathRetraced { from: 1.0, to: 0.0 })
    );
    assert_eq!(
        check(&[(0.0, 1.0), (0.5, 2.0)]),
        Err(Error::PathRetraced { from: 1.0, to: 0.5 })
    );
    assert!(path.with_tau(0.0).is_err() && path.with_tau(f64::NAN).is_err());
    assert!(path.with_interval(Interval::new(1.0, 1.0)).is_err());
    assert!(
        path.with_interval(Interval::new(f64::NEG_INFINITY, 1.0))
            .is_err()
    );

    // A run asks; without noise it does not matter.
    let short = path.with_interval(Interval::new(-1.0, 1.0))?;
    let start = |solver: &dyn Solver| -> Result<(), Error> {
        let sampler = Sampler::along(&Path::without_schedule(&grid(4)?), solver)?;
        sampler
            .start::<f32, _, _>((1, 1), Prediction::Data, short)
            .map(drop)
    };
    assert!(matches!(
        start(&FirstOrder::ddpm()),
        Err(Error::KnotOutsidePath { .. })
    ));
    assert_eq!(start(&FirstOrder::ddim()), Ok(()));
    Ok(())
}

#[test]
fn a_churned_ancestral_step_has_two_paths_and_retraces_none() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::from_lambdas(&vp, &[-3.0, -1.0, 1.0, 3.0])?;
    let solver = Dpm2::new()
        .with_kappa(Kappa::Ddpm)
        .with_churn(Churn::new(1.0)?);
    let sampler = Sampler::new(&vp, &grid, &solver)?;
    for step in sampler.plan() {
        let noisy: Vec<usize> = (0..step.stages.len())
            .filter(|&n| step.stages[n].update.noise > 0.0)
            .collect();
        let [churn, last] = noisy[..] else {
            return Err(format!("{noisy:?}").into());
        };
        assert_ne!(step.path_of(churn), step.path_of(last));
        assert_eq!(step.interval_of(churn), step.interval_of(last));
    }
    let run = sampler.start::<f64, _, _>((2, 3), Prediction::Data, BrownianPath::new(3));
    assert!(run.is_ok());
    Ok(())
}

#[test]
fn knots_of_one_place_on_a_border_are_refused() {
    // 0 is the middle of the path, a border of cells; what lies within 1e-17 of it has its place.
    for (from, to) in [(0.0, 1e-17), (-5e-324, 0.0), (0.0, 1e-13), (-1e-12, 1e-12)] {
        let path = BrownianPath::new(3);
        let interval = Interval::new(from, to);
        let demand = Demand::batch(1, 4, 0..1, Stream::Step(0));
        let intervals = [interval];
        let refused = NoiseSource::<f64>::check(&path, &demand.with_intervals(&intervals));
        assert!(
            matches!(refused, Err(Error::KnotsTooClose { .. })),
            "{from:e} {to:e}: {refused:?}"
        );
    }
    // A hundredth of a cell over the border is enough.
    let draws = draw(BrownianPath::new(3), -1.5e-7, 1.5e-7, 4000);
    let mean_square = draws.iter().map(|z| z * z).sum::<f64>() / 4000.0;
    // The deviation of the mean square is √(2/4000) = 0.022.
    assert!((mean_square - 1.0).abs() < 0.12, "{mean_square}");
}
