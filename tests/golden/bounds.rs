//! Likelihoods, costs of edges and cheapest strides, and samplers ranked and searched.

use diffusion_sampler::{
    Grid, Prediction,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, FlowLikelihood, Measurement},
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::VariancePreserving,
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver},
    tuning::{Choice, SpacingSearch, Spectrum, Surrogate},
};
use ndarray::Dim;

use crate::hash::Lines;
use crate::models::{Network, correlated, mixture, state, table};

pub(crate) fn add(lines: &mut Lines) {
    let table = table();
    lines.add("bound: edges and strides", |hash| {
        let grid = Grid::trailing(&table, 24).unwrap();
        let errors = DataErrors::of_gaussian(&correlated(), &grid).unwrap();
        let policy = EdgeVariance::Policy(ReverseVariance::Posterior);
        for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.7)] {
            for variance in [policy, EdgeVariance::Optimal] {
                let decoder = Decoder::GaussianOptimal;
                let costs = EdgeCosts::new(&grid, kappa, variance, &errors, decoder).unwrap();
                for from in 0..24 {
                    hash.number(costs.prior(from).unwrap());
                    hash.number(costs.decoder(from).unwrap());
                    for to in from + 1..24 {
                        hash.number(costs.edge(from, to).unwrap());
                    }
                }
                let strides = costs.cheapest().unwrap();
                for steps in [2, 5, 9] {
                    let path = strides.path(steps).unwrap();
                    path.iter().for_each(|&level| hash.count(level));
                    let bound = strides.bound(steps).unwrap();
                    hash.numbers(&[bound.nats(), bound.bits_per_dimension()]);
                }
            }
        }
    });
    lines.add("bound: measured errors", |hash| {
        let grid = Grid::trailing(&table, 6).unwrap();
        let x = state::<f32, _>(Dim((9, 5)));
        let measured = Measurement::at(&grid)
            .unwrap()
            .with_seed(3)
            .with_draws(2)
            .unwrap()
            .of(&x, &mut Network(Prediction::Noise))
            .unwrap();
        hash.numbers(measured.by_row());
    });
    lines.add("bound: probability flow", |hash| {
        let schedule = VariancePreserving::new(1e-9, 40.0).unwrap();
        let lambdas: Vec<f64> = (0..=40).map(|k| -8.0 + 0.4 * f64::from(k)).collect();
        let grid = Grid::from_lambdas(&schedule, &lambdas).unwrap();
        let flow = FlowLikelihood::new(&Path::new(&schedule, &grid).unwrap()).unwrap();
        let x = state::<f64, _>(Dim((3, 3))) * 0.25;
        for density in [flow.exact(&correlated(), &x), flow.exact(&mixture(), &x)] {
            let density = density.unwrap();
            hash.numbers(density.log_densities());
            hash.numbers(density.latents());
        }
    });
    lines.add("tuning: a ranking", |hash| {
        let ranking = Choice::new(&table, Prediction::Noise, 5).rank().unwrap();
        for candidate in ranking.candidates() {
            hash.bytes(candidate.solver.as_bytes());
            hash.bytes(candidate.spacing.name().as_bytes());
            hash.count(candidate.steps);
            hash.number(candidate.error);
        }
    });
    lines.add("tuning: searched spacings", |hash| {
        let data = Spectrum::images();
        let known = Surrogate::gaussian(&data.gaussian(8).unwrap()).unwrap();
        let other = data.tilted(0.2).and_then(|data| data.gaussian(8)).unwrap();
        let held_out = Surrogate::gaussian(&other).unwrap();
        for solver in [
            &FirstOrder::ddpm() as &dyn Solver,
            &DpmSolverPlusPlus::new(),
        ] {
            let search = SpacingSearch::new(&table, solver, 4).with_evaluations(300);
            let found = search.run(&known, &held_out).unwrap();
            hash.grid(found.searched_grid());
            hash.numbers(&[found.error(), found.held_out_error()]);
        }
    });
}
