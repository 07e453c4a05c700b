//! The ranked list of samplers.

use diffusion_sampler::grid::{Spacing, spacings};
use diffusion_sampler::oracle::{Gaussian, sample_moments};
use diffusion_sampler::schedule::{Edm, RectifiedFlow, TableSchedule};
use diffusion_sampler::tuning::{Choice, Reason, Spectrum};
use diffusion_sampler::{Error, Prediction, registry};
use ndarray::Array2;

fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

#[test]
fn every_candidate_is_what_its_names_say() {
    let schedule = schedule();
    let data = Spectrum::images().gaussian(64).unwrap();
    let total: f64 = data.variances().iter().sum();
    for budget in [4, 9, 12] {
        let ranking = Choice::new(&schedule, Prediction::Noise, budget)
            .rank()
            .unwrap();
        let mut two = 0;
        for candidate in ranking.candidates() {
            let named = registry::sampler(candidate.solver).unwrap();
            let named = named.with_spacing(candidate.spacing);
            let sampler = named.sampler(&schedule, candidate.steps).unwrap();
            assert_eq!(&sampler, candidate.sampler());
            let calls = sampler.plan().evaluations();
            assert!(calls == candidate.evaluations && calls <= budget);
            // The budget pays for no step more, also where only some steps take more evaluations
            // (Restart).
            let far = if candidate.solver == "Restart" {
                budget
            } else {
                1
            };
            for more in candidate.steps + 1..=candidate.steps + far {
                if let Ok(more) = named.sampler(&schedule, more) {
                    assert!(more.plan().evaluations() > budget, "{}", candidate.solver);
                }
            }
            two += usize::from(candidate.steps <= budget / 2 + 1);
            // W₂ from the moments alone.
            let states = sampler.moments(&data).unwrap();
            let last = states.last().unwrap().variances();
            let pairs = last.iter().zip(data.variances());
            let square: f64 = pairs.map(|(a, b)| (a.sqrt() - b.sqrt()).powi(2)).sum();
            let error = 100.0 * (square / total).sqrt();
            assert!(
                (error - candidate.error).abs() <= 1e-12 * error,
                "{}",
                candidate.solver
            );
        }
        assert!(
            two > 100,
            "solvers of two evaluations a step are among them"
        );
        let errors: Vec<f64> = ranking.candidates().iter().map(|c| c.error).collect();
        assert!(errors.windows(2).all(|pair| pair[0] <= pair[1]));
    }
}

#[test]
fn nothing_is_lost() {
    let schedule = schedule();
    let ranking = Choice::new(&schedule, Prediction::Noise, 6).rank().unwrap();
    let never = ranking.refused().iter().filter(|r| r.spacing.is_none());
    let never: Vec<_> = never.map(|refusal| refusal.solver).collect();
    for name in [
        "LCM",
        "TCD",
        "DDIM inversion",
        "RePaint",
        "DDIM CFG++",
        "DPM++ 2M CFG++",
        "ER-SDE, as published",
        "DPM++ 3M SDE, as published",
    ] {
        assert!(never.contains(&name), "{name}");
    }
    let pairs = ranking.candidates().len() + ranking.refused().len() - never.len();
    let entries = registry::entries().count();
    assert_eq!(pairs, (entries - never.len()) * spacings().len());
    // The published table of a checkpoint whose levels this schedule does not have.
    let spacing = Some(Spacing::AlignYourStepsSvd);
    let refused = ranking
        .refused()
        .iter()
        .find(|r| r.spacing == spacing)
        .unwrap();
    assert!(matches!(
        refused.reason,
        Reason::Refused(Error::LambdaOutOfRange { .. })
    ));
    // Heun in ρ blows up within few evaluations: a candidate with warnings, far behind.
    let place = ranking.place("Heun", Spacing::UniformLambda).unwrap();
    let heun = &ranking.candidates()[place];
    assert!(heun.error > 100.0 && !heun.warnings.is_empty());
    assert!(ranking.best().unwrap().warnings.is_empty());
    assert!(
        ranking
            .to_string()
            .contains("candidates within 6 evaluations")
    );
    // One plan under two names, and as many ties as there are equal errors.
    let (exponential, uniform) = (Spacing::Exponential, Spacing::UniformLambda);
    let first = ranking.place("DPM++ 2M", uniform).unwrap();
    let second = ranking.place("DPM++ 2M", exponential).unwrap();
    assert_eq!(ranking.candidates()[second].same_as, Some(first));
    let ties = ranking.ties(first);
    assert!(ties.len() >= 2 && ties.iter().any(|c| c.spacing == exponential));
    assert!(ranking.ties(usize::MAX).is_empty());
}

#[test]
fn a_short_list_of_knots_is_taken_as_far_as_it_goes() {
    let schedule = schedule();
    let ranking = Choice::new(&schedule, Prediction::Noise, 12)
        .rank()
        .unwrap();
    for (solver, steps) in [("DPM++ 2M", 10), ("DDPM", 10), ("Heun", 6)] {
        let place = ranking.place(solver, Spacing::Turbo).unwrap();
        assert_eq!(ranking.candidates()[place].steps, steps, "{solver}");
    }
    // A table of four knots, and a budget of seven.
    let tiny = TableSchedule::linear(4, 0.1, 0.5).unwrap();
    let ranking = Choice::new(&tiny, Prediction::Noise, 7).rank().unwrap();
    let place = ranking.place("DDIM", Spacing::Trailing).unwrap();
    assert_eq!(ranking.candidates()[place].steps, 4);
}

#[test]
fn many_directions_keep_the_mean_and_the_total() {
    // From so far away no sampler starts well: it starts from N(0, I), and all miss α_T m.
    let schedule = schedule();
    for d in [3, 100] {
        let far = Gaussian::isotropic(&vec![1e6; d], 1.0).unwrap();
        let choice = Choice::new(&schedule, Prediction::Noise, 4).with_data(&far);
        let ranking = choice.rank().unwrap();
        assert!(ranking.candidates().iter().all(|c| c.error > 100.0));
        assert!(ranking.best().is_none(), "{d}: {ranking}");
    }
    // What is warned of does not depend on how often each direction is there.
    let once = Gaussian::diagonal(&[0.0, 0.1, 3.0], &[2.0, 0.1, 0.01]).unwrap();
    let list = |once: [f64; 3]| -> Vec<f64> { once.into_iter().flat_map(|v| [v; 64]).collect() };
    let (means, variances) = (list([0.0, 0.1, 3.0]), list([2.0, 0.1, 0.01]));
    let often = Gaussian::diagonal(&means, &variances).unwrap();
    let of = |data: &Gaussian| {
        let choice = Choice::new(&schedule, Prediction::Noise, 4).with_data(data);
        let ranking = choice.rank().unwrap();
        let marked = ranking.candidates().iter().map(|c| {
            let spacing = c.spacing.name();
            (c.solver, spacing, c.warnings.len())
        });
        let mut marked: Vec<_> = marked.collect();
        marked.sort_unstable();
        marked
    };
    let (a, b) = (of(&once), of(&often));
    let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert!(a.len() == b.len() && differ <= a.len() / 100, "{differ}");
}

#[test]
fn a_table_keeps_its_columns_whatever_the_errors() {
    // On the cosine table some samplers miss by 10¹² %.
    let cosine = TableSchedule::cosine(1000).unwrap();
    let ranking = Choice::new(&cosine, Prediction::Velocity, 6)
        .rank()
        .unwrap();
    let worst = ranking.candidates().last().unwrap();
    assert!(worst.error > 1e9);
    let all = ranking.table(usize::MAX).to_string();
    let ends: Vec<usize> = all.lines().map(|line| line.chars().count()).collect();
    let (last, rows) = ends.split_last().unwrap();
    assert!(*last < 100 && rows.len() == ranking.candidates().len() + 1);
    let column = "      solver                       spacing                steps calls    error %";
    assert_eq!(all.lines().next(), Some(column));
    for (line, candidate) in all.lines().skip(1).zip(ranking.candidates()) {
        let error: String = line.chars().skip(70).take(10).collect();
        let error: f64 = error.trim().parse().unwrap();
        let near = (error - candidate.error).abs() <= 1e-3 * candidate.error + 1e-4;
        assert!(near, "{line}");
        let marked = line.contains("  unstable");
        assert_eq!(marked, !candidate.warnings.is_empty());
        assert_eq!(line.contains("  as "), candidate.same_as.is_some());
    }
    assert_eq!(ranking.to_string().lines().count(), 22);
}

#[test]
fn known_errors_stand_in_the_list() {
    // Two tables by an independent prototype, and those of docs/choosing.md.
    let schedule = schedule();
    for (budget, names) in [
        (
            10,
            vec![("DDIM", "trailing", 20.4582), ("DDPM", "trailing", 27.2358)],
        ),
        (
            20,
            vec![("DDIM", "trailing", 12.1664), ("DDPM", "trailing", 16.9582)],
        ),
    ] {
        let ranking = Choice::new(&schedule, Prediction::Velocity, budget)
            .rank()
            .unwrap();
        for (solver, spacing, expected) in names {
            let place = ranking
                .place(solver, Spacing::named(spacing).unwrap())
                .unwrap();
            let error = ranking.candidates()[place].error;
            assert!((error / expected - 1.0).abs() < 1e-3, "{solver}: {error}");
        }
    }
}

#[test]
fn without_noise_there_is_none() {
    let flow = RectifiedFlow::shifted(3.0).unwrap();
    let choice = Choice::new(&flow, Prediction::Flow, 8);
    let (all, quiet) = (
        choice.rank().unwrap(),
        choice.without_noise().rank().unwrap(),
    );
    let noisy = |c: &&diffusion_sampler::tuning::Candidate| c.sampler().plan().is_stochastic();
    let stochastic = all.candidates().iter().filter(noisy).count();
    assert!(stochastic > 50);
    assert_eq!(quiet.candidates().iter().filter(noisy).count(), 0);
    let refused = quiet.refused().iter().filter(|r| r.reason == Reason::Noise);
    assert_eq!(refused.count(), stochastic);
}

#[test]
fn what_the_prediction_cannot_do_is_refused_with_the_reason() {
    let schedule = schedule().zero_terminal_snr().unwrap();
    let noise = Choice::new(&schedule, Prediction::Noise, 6).rank().unwrap();
    assert_eq!(noise.place("DDIM", Spacing::Trailing), None);
    let of = |r: &&diffusion_sampler::tuning::Refusal| {
        r.solver == "DDIM" && r.spacing == Some(Spacing::Trailing)
    };
    let refused = noise.refused().iter().find(of).unwrap();
    assert!(
        matches!(
            refused.reason,
            Reason::Refused(Error::PredictionUndefined { alpha: 0.0, .. })
        ),
        "{}",
        refused.reason
    );
    let velocity = Choice::new(&schedule, Prediction::Velocity, 6)
        .rank()
        .unwrap();
    assert!(velocity.place("DDIM", Spacing::Trailing).is_some());
}

#[test]
fn a_sample_is_its_moments_and_the_data_decide() {
    let schedule = schedule();
    let rows = Array2::from_shape_fn((50, 4), |(i, j)| ((i * (j + 2)) as f32 * 0.7).sin());
    let choice = || Choice::new(&schedule, Prediction::Data, 5);
    let of_rows = choice().with_sample(&rows).unwrap().rank().unwrap();
    let (mean, covariance) = sample_moments(&rows).unwrap();
    let data = Gaussian::new(&mean, &covariance).unwrap();
    assert_eq!(of_rows, choice().with_data(&data).rank().unwrap());
    let images = choice().rank().unwrap();
    let order = |r: &diffusion_sampler::tuning::Ranking| -> Vec<_> {
        let first = r.candidates().iter().take(20);
        first.map(|c| (c.solver, c.spacing)).collect()
    };
    assert_ne!(order(&of_rows), order(&images));
    let nan = Array2::from_elem((3, 2), f64::NAN);
    assert!(choice().with_sample(&nan).is_err());
}

#[test]
fn one_evaluation_is_enough_and_none_is_an_error() {
    let edm = Edm::default();
    let ranking = Choice::new(&edm, Prediction::Data, 1).rank().unwrap();
    assert!(ranking.best().is_some_and(|best| best.evaluations == 1));
    for budget in [0, 1001] {
        let refused = Choice::new(&edm, Prediction::Data, budget).rank();
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter { name: "budget", .. })
        ));
    }
    let flat = Gaussian::isotropic(&[1.0], 0.0).unwrap();
    let choice = Choice::new(&edm, Prediction::Data, 4).with_data(&flat);
    assert!(matches!(choice.rank(), Err(Error::InvalidParameter { .. })));
}
