//! Levels of every schedule, and every spacing on it.

use diffusion_sampler::{
    Error, Grid, Prediction,
    grid::{AlignYourSteps, FlowSigmas, SigmaRange, spacings},
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow, Sublevels},
    training::LossWeight,
};

use crate::hash::{Hash, Lines};
use crate::models::{schedules, table};

fn grid_or_refusal(hash: &mut Hash, grid: Result<Grid, Error>) {
    match grid {
        Ok(grid) => hash.grid(&grid),
        Err(_) => hash.word(u64::MAX),
    }
}

fn levels(hash: &mut Hash, schedule: &dyn NoiseSchedule) {
    let (last, range) = (schedule.last_time(), schedule.lambda_range());
    hash.number(last);
    hash.numbers(&[range.noisy(), range.clean()]);
    for k in 0..=64 {
        let level = schedule.level(last * f64::from(k) / 64.0).unwrap();
        hash.level(&level);
        hash.number(schedule.start_variance(&level));
    }
    for k in -40..=40 {
        let lambda = f64::from(k) / 4.0;
        if range.check(lambda).is_ok() {
            hash.number(schedule.time_of_lambda(lambda).unwrap());
        }
    }
}

/// The scalars of one edge: posteriors, weights of the loss, conversions.
fn edges(hash: &mut Hash, schedule: &dyn NoiseSchedule) {
    let last = schedule.last_time();
    let at = |part: f64| schedule.level(part * last).unwrap();
    for (from, to) in [(0.9, 0.7), (0.5, 0.499), (0.2, 0.0)] {
        let (from, to) = (at(from), at(to));
        for kappa in [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.3), Kappa::Tau(0.7)] {
            let Ok(posterior) = StridedPosterior::new(from, to, kappa) else {
                hash.word(u64::MAX);
                continue;
            };
            hash.numbers(&[
                posterior.step_size(),
                posterior.ratio(),
                posterior.kappa(),
                posterior.gamma(),
                posterior.variance(),
                posterior.state_coefficient(),
                posterior.data_coefficient(),
            ]);
            for policy in [ReverseVariance::Posterior, ReverseVariance::FixedLarge] {
                let variance = posterior.reverse_variance(policy);
                hash.number(variance.unwrap_or(-1.0));
            }
        }
        for prediction in [
            Prediction::Noise,
            Prediction::Data,
            Prediction::Velocity,
            Prediction::Flow,
            Prediction::Score,
            Prediction::Edm { data_std: 0.5 },
        ] {
            for weight in [LossWeight::Simple, LossWeight::Snr, LossWeight::MinSnr(5.0)] {
                hash.number(weight.on_data(prediction, &from).unwrap_or(-1.0));
                hash.number(weight.on_output(prediction, &from).unwrap_or(-1.0));
            }
        }
    }
}

pub(crate) fn add(lines: &mut Lines) {
    let schedules = schedules();
    for (name, schedule) in &schedules {
        let schedule = &**schedule;
        lines.add(format!("schedule: {name}"), |hash| levels(hash, schedule));
        lines.add(format!("edges: {name}"), |hash| edges(hash, schedule));
    }
    for entry in spacings() {
        lines.add(format!("grid: {}", entry.name), |hash| {
            for (_, schedule) in &schedules {
                for steps in [1, 3, 10, 28] {
                    grid_or_refusal(hash, entry.spacing.grid(&**schedule, steps));
                }
            }
        });
    }
    let table = table();
    lines.add("grid: options", |hash| {
        let range = LambdaRange::new(-4.0, 3.0).unwrap();
        let flow = RectifiedFlow::shifted(1.7).unwrap();
        let sub = Sublevels::of(flow, 1000).unwrap();
        let sigmas = SigmaRange::flow(0.97, 0.04).unwrap();
        for grid in [
            Grid::karras(&table, 12, range, 3.3),
            Grid::exponential(&table, 12, range, 2.5),
            Grid::beta_sigmas(&table, 12, range, (0.4, 1.7)),
            Grid::beta_indices(&table, 12, (0.3, 2.1)),
            Grid::laplace(&table, 12, range, 0.1, 0.6),
            Grid::linear_quadratic(&flow, 12, sigmas, 0.05),
            Grid::arctan(&flow, 12, 0.9),
            Grid::align_your_steps(&table, 17, AlignYourSteps::Sd15),
            Grid::sway(&flow, 12, -0.7),
            Grid::leading(&table, 12, 1),
            Grid::simple(&sub, 12),
        ] {
            grid_or_refusal(hash, grid);
        }
    });
    lines.add("grid: lists of a flow", |hash| {
        let lists = [
            FlowSigmas::uniform(19),
            FlowSigmas::euler(28, 1000),
            FlowSigmas::euler_shifted_twice(28, 1000, 3.0),
            FlowSigmas::uni_pc(20, 1000),
            FlowSigmas::dpm_solver(20, 1000),
            FlowSigmas::uniform(19).and_then(|list| list.shifted_by_mu(1.15)),
            FlowSigmas::uniform(19).and_then(|list| list.shifted(3.0)?.stretched_to(0.1)),
            FlowSigmas::euler(28, 1000).map(FlowSigmas::in_f32),
        ];
        for list in lists {
            let list = list.unwrap();
            hash.numbers(list.values());
            grid_or_refusal(hash, list.grid(&RectifiedFlow::new()));
        }
    });
}
