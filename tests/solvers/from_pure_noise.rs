//! Every solver on flows from σ = 1 exactly, where α is 0 and λ = −∞.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler,
    grid::FlowSigmas,
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    schedule::RectifiedFlow,
    solver::{
        Basis, Deis, DpmSolverPlusPlus, ExponentialAdams, FirstOrder, Ipndm, Lcm, LinearMultistep,
        Path, SaSolver, SecondOrderForm, Solver, UniPc, catalogue,
    },
};
use ndarray::array;

use crate::common::{Outcome, assert_close, denoise, normal, states};

/// A solver by its name.
type Named = (String, Box<dyn Solver>);

/// The catalogue's solvers that run down, and every order and form of the multistep ones.
fn solvers() -> Result<Vec<Named>, Error> {
    let down = catalogue().into_iter().filter(|entry| !entry.inverts);
    let mut list: Vec<Named> = down
        .map(|entry| (entry.name.to_owned(), entry.solver))
        .collect();
    let mut add = |solver: Box<dyn Solver>| list.push((format!("{solver:?}"), solver));
    for order in 1..=3 {
        let multistep = DpmSolverPlusPlus::multistep(order)?;
        for tau in [0.0, 0.5, 1.0] {
            add(Box::new(multistep.with_tau(tau)?));
        }
        add(Box::new(multistep.with_form(SecondOrderForm::Exact)));
        for basis in [Basis::Bh1, Basis::Bh2] {
            add(Box::new(UniPc::order(order)?.with_basis(basis)));
            let lower = UniPc::order(order)?.with_basis(basis).lower_order_final();
            add(Box::new(lower));
        }
    }
    for order in 1..=4 {
        add(Box::new(Deis::tab(order)?));
        add(Box::new(Deis::tab(order)?.in_flow_time()));
        add(Box::new(LinearMultistep::order(order)?));
        add(Box::new(LinearMultistep::order(order)?.in_flow_time()));
        add(Box::new(Ipndm::order(order)?.variable_steps()));
        add(Box::new(
            Ipndm::order(order)?.variable_steps().in_flow_time(),
        ));
        add(Box::new(ExponentialAdams::data(order)?));
        add(Box::new(ExponentialAdams::noise(order)?));
        for (corrector, tau) in [(0, 0.0), (order, 0.0), (order, 1.0)] {
            add(Box::new(SaSolver::new(order, corrector, tau)?));
        }
    }
    Ok(list)
}

/// The list of K uniform steps from σ = 1, shifted, then clean.
fn grid(flow: &RectifiedFlow, steps: usize, shift: f64) -> Result<Grid, Error> {
    FlowSigmas::uniform(steps)?.shifted(shift)?.grid(flow)
}

/// Solvers that do not converge to the model's distribution: those that draw new noise around the
/// estimate at every step, and one with a wrong weight. Near σ = 1 the steps in ρ keep their ratios
/// however many there are, so that there it is not even consistent.
const NOT_CONVERGING: [&str; 4] = ["fresh noise", "LCM", "TCD", "iPNDM-v 4, as published"];

#[test]
fn every_solver_runs_from_pure_noise_to_the_same_state_for_flow_and_data_predictions() -> Outcome {
    let flow = RectifiedFlow::new();
    let modes = vec![
        Gaussian::isotropic(&[-0.8, 0.3], 0.2)?,
        Gaussian::isotropic(&[0.9, 0.1], 0.4)?,
    ];
    let data = GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1])?;
    let start = array![[0.3_f64, -1.1], [1.7, 0.2], [-0.4, 0.9]];
    for (name, solver) in solvers()? {
        for shift in [1.0, 3.0] {
            for steps in [1, 2, 3, 4, 5, 20] {
                let place = format!("{name}, shift {shift}, {steps} steps");
                let grid = grid(&flow, steps, shift)?;
                assert_eq!((grid.start().alpha(), grid.start().sigma()), (0.0, 1.0));
                let path = Path::new(&flow, &grid)?;
                let sampler = Sampler::along(&path, &solver)?;
                // LCM's boundary scalings, made for a table's indices, miss the mean.
                let exact = sampler
                    .plan()
                    .mean_defect()
                    .unwrap()
                    .iter()
                    .all(|d| *d < 1e-12);
                assert!(exact || name == "LCM", "{place}");
                let mut ends = Vec::new();
                for prediction in [Prediction::Flow, Prediction::Data] {
                    let noise = KeyedNoise::new(7);
                    let mut run = sampler.start_from(start.clone(), prediction, noise)?;
                    run.complete(&mut data.clone().denoiser(prediction))?;
                    ends.push(run.state().to_owned());
                }
                for (from_flow, from_data) in ends[0].iter().zip(&ends[1]) {
                    assert!(from_flow.is_finite(), "{place}");
                    let error = (from_flow - from_data).abs();
                    assert!(
                        error < 1e-11 * from_data.abs().max(1.0),
                        "{place}: {error:e}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn from_pure_noise_every_solver_converges_to_the_distribution_of_the_data() -> Outcome {
    // At σ = 1 the initial distribution N(0, I) is exact for any data.
    let flow = RectifiedFlow::new();
    let data = Gaussian::diagonal(&[0.7, -0.4, 0.2], &[0.1, 0.5, 2.0])?;
    let mut compared = 0;
    for (name, solver) in solvers()? {
        if NOT_CONVERGING.contains(&name.as_str()) {
            continue;
        }
        for shift in [1.0, 3.0] {
            let error = |steps: usize| -> Result<f64, Box<dyn StdError>> {
                let grid = grid(&flow, steps, shift)?;
                let plan = solver.plan(&Path::new(&flow, &grid)?)?;
                let laws = plan.moments(&data, &data.at_level(&grid.start())?)?;
                let end = laws.last().ok_or("a plan has a step")?;
                for (mean, exact) in end.mean().iter().zip(data.mean()) {
                    assert!((mean - exact).abs() < 1e-13, "{name}, {shift}: {mean}");
                }
                let pairs = end.variances().iter().zip(data.variances());
                Ok(pairs.map(|(v, w)| (v / w - 1.0).abs()).fold(0.0, f64::max))
            };
            // Of first order the error falls to a sixteenth, when it has begun to fall.
            let (coarse, fine) = (error(40)?, error(640)?);
            let place = format!("{name}, shift {shift}: {coarse:e}, then {fine:e}");
            assert!(fine < coarse / 4.0 && fine < 0.06, "{place}");
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
    Ok(())
}

#[test]
fn stochastic_sampling_of_flow_euler_is_the_estimate_with_fresh_noise() -> Outcome {
    // x' = (1 − σ')D + σ'z, which `FlowMatchEulerDiscreteScheduler` has by `stochastic_sampling`.
    let flow = RectifiedFlow::new();
    for steps in [1, 4, 9] {
        let grid = grid(&flow, steps, 3.0)?;
        let path = Path::new(&flow, &grid)?;
        let mut published = Vec::new();
        let mut x = 0.7;
        for (k, (from, to)) in path.edges().enumerate() {
            let d = denoise(x, &from);
            let noise = if to.is_clean() {
                0.0
            } else {
                normal(k as u32, 0)
            };
            x = (1.0 - to.sigma()) * d + to.sigma() * noise;
            published.push(x);
        }
        for solver in [
            &FirstOrder::new(Kappa::Fresh) as &dyn Solver,
            &Lcm::new().without_boundary(),
        ] {
            let ours = states(&path, solver, 0.7)?;
            assert_close(&ours, &published, 1e-14, "stochastic sampling");
        }
    }
    Ok(())
}

#[test]
fn the_ancestral_euler_of_ltx_is_the_flows_eta() -> Outcome {
    // LTXEulerAncestralRFScheduler: down to σ_d = σ'(1 + (σ'/σ − 1)η) by an Euler step, then noise;
    // its 1e-12 beside a divisor is left out.
    let flow = RectifiedFlow::new();
    for eta in [0.0, 0.4, 1.0] {
        for steps in [1, 4, 9] {
            let grid = grid(&flow, steps, 3.0)?;
            let path = Path::new(&flow, &grid)?;
            let mut published = Vec::new();
            let mut x = 0.7;
            for (k, (from, to)) in path.edges().enumerate() {
                let d = denoise(x, &from);
                let (sigma, next) = (from.sigma(), to.sigma());
                if to.is_clean() {
                    x = d;
                } else {
                    let down = next * (1.0 + (next / sigma - 1.0) * eta);
                    let ratio = (1.0 - next) / (1.0 - down);
                    let added = next * next - down * down * ratio * ratio;
                    x = ratio * (down / sigma * x + (1.0 - down / sigma) * d);
                    x += normal(k as u32, 0) * added.max(0.0).sqrt();
                }
                published.push(x);
            }
            let ours = states(&path, &FirstOrder::new(Kappa::FlowEta(eta)), 0.7)?;
            // At η = 0 rounding alone makes `added`, of which the root is taken.
            let tolerance = if eta == 0.0 { 1e-7 } else { 1e-12 };
            assert_close(&ours, &published, tolerance, "LTX ancestral");
        }
    }
    Ok(())
}
