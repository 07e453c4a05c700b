//! With tolerance 0 the result is the sequential one, bit for bit.

use diffusion_sampler::schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule};
use diffusion_sampler::solver::{
    Churn, DpmSolverPlusPlus, FirstOrder, Heun, RePaint, Restart, Solver, catalogue,
};
use diffusion_sampler::{Clip, Grid, KeyedNoise, Prediction, Real, Sampler};
use diffusion_sampler::{noise::BrownianPath, oracle::Oracle};
use ndarray::{Array, Array2, Array3, Ix4};

use crate::common::{Rows, bits, ddim, mixture, on, sampler};

/// Runs both ways; returns the sweeps.
fn same<A: Real>(sampler: &Sampler, prediction: Prediction, window: usize, name: &str) -> usize {
    let shape = (3, 2, 5);
    let sequential: Array3<A> = sampler
        .sample(&mut Rows::new(prediction), shape, 11)
        .unwrap();
    let parallel = sampler.parallel(window, 0.0).unwrap();
    let (found, report) = parallel
        .sample::<A, _, _>(&mut Rows::new(prediction), shape, 11)
        .unwrap();
    assert_eq!(bits(&found), bits(&sequential), "{name}, window {window}");
    assert_eq!(report.evaluations(), sampler.plan().evaluations());
    assert!(report.sweeps() <= report.evaluations(), "{name}: {report}");
    assert!(report.residuals().iter().all(|residual| *residual == 0.0));
    report.sweeps()
}

#[test]
fn every_solver_of_the_catalogue_gives_the_bits_of_the_sequential_run() {
    let mut runs = 0;
    for entry in catalogue().iter().filter(|entry| !entry.inverts) {
        let sampler = sampler(&*entry.solver, 9);
        if sampler.plan().given() > 0 {
            continue;
        }
        for window in [4, 40] {
            same::<f64>(&sampler, Prediction::Data, window, entry.name);
            runs += 1;
        }
    }
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn steps_back_up_churn_and_repaint_are_steps_like_others() {
    let edm = Edm::default();
    let restart = Restart::of_steps(Heun::new(), 24);
    let churn = Heun::new().with_churn(Churn::new(30.0).unwrap());
    let repaint = RePaint::new(FirstOrder::ddpm(), 3, 2).unwrap();
    let solvers: [(&str, &dyn Solver); 3] = [
        ("restart", &restart),
        ("churn", &churn),
        ("RePaint", &repaint),
    ];
    for (name, solver) in solvers {
        let grid = Grid::karras(&edm, 14, edm.lambda_range(), 7.0).unwrap();
        let sampler = Sampler::new(&edm, &grid, solver).unwrap();
        assert!(sampler.plan().is_stochastic());
        same::<f64>(&sampler, Prediction::Edm { data_std: 0.5 }, 8, name);
        same::<f64>(&sampler, Prediction::Noise, 200, name);
    }
}

#[test]
fn every_prediction_and_both_element_types() {
    let predictions = [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Score,
        Prediction::Flow,
        Prediction::Edm { data_std: 0.5 },
        Prediction::EdmVelocity { data_std: 0.5 },
        Prediction::Linear {
            data: 1.0,
            noise: -1.0,
        },
    ];
    let ddpm = sampler(&FirstOrder::ddpm(), 12);
    let multistep = sampler(&DpmSolverPlusPlus::new(), 12);
    for prediction in predictions {
        for sampler in [&ddpm, &multistep] {
            same::<f32>(sampler, prediction, 7, prediction.name());
            same::<f64>(sampler, prediction, 12, prediction.name());
        }
    }
    let flow = on(&RectifiedFlow::new(), &Heun::new(), 8);
    same::<f32>(&flow, Prediction::Flow, 5, "a flow from α = 0");
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let zero = schedule.zero_terminal_snr().unwrap();
    let sampler = on(&zero, &DpmSolverPlusPlus::new(), 8);
    same::<f64>(&sampler, Prediction::Velocity, 8, "zero terminal SNR");
}

#[test]
fn clips_of_every_kind() {
    let clips = [
        Clip::new(-0.5, 0.5).unwrap(),
        Clip::new(-0.5, 0.5).unwrap().keeping_noise(),
        Clip::dynamic(0.8, 1.0).unwrap(),
    ];
    for clip in clips {
        for solver in [
            &FirstOrder::ddpm() as &dyn Solver,
            &DpmSolverPlusPlus::new(),
        ] {
            let sampler = sampler(solver, 10).with_clip(clip);
            same::<f64>(&sampler, Prediction::Noise, 6, "a clip");
        }
    }
}

#[test]
fn any_dimension_and_any_window() {
    let sampler = ddim(6);
    let mut model = Rows::new(Prediction::Noise);
    let expected: Array<f32, Ix4> = sampler.sample(&mut model, (2, 3, 2, 2), 3).unwrap();
    for window in [1, 2, 5, 6, 7, 1000] {
        let parallel = sampler.parallel(window, 0.0).unwrap();
        let (found, report) = parallel
            .sample::<f32, _, _>(&mut model, (2, 3, 2, 2), 3)
            .unwrap();
        assert_eq!(bits(&expected), bits(&found));
        // A window of one is the sequential run.
        assert!(window > 1 || report.sweeps() == 6);
        assert_eq!(window == 1, report.rows() == 12);
    }
    let one: Array<f64, ndarray::Ix1> = sampler.sample(&mut model, 4, 3).unwrap();
    let (found, _) = sampler
        .parallel(3, 0.0)
        .unwrap()
        .sample::<f64, _, _>(&mut model, 4, 3)
        .unwrap();
    assert_eq!(bits(&one), bits(&found));
}

#[test]
fn the_reference_variance_changes_the_sweeps_and_no_bit() {
    let sampler = sampler(&FirstOrder::ddpm(), 16);
    let mut model = mixture().denoiser(Prediction::Noise);
    let expected: Array2<f64> = sampler.sample(&mut model, (3, 4), 5).unwrap();
    for variance in [0.0, 0.1, 1.0, 1e9, f64::INFINITY] {
        let parallel = sampler.parallel(16, 0.0).unwrap();
        let parallel = parallel.with_data_variance(variance).unwrap();
        let (found, _) = parallel.sample::<f64, _, _>(&mut model, (3, 4), 5).unwrap();
        assert_eq!(bits(&expected), bits(&found), "variance {variance}");
    }
}

#[test]
fn a_brownian_path_is_a_pure_source() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let sampler = on(&schedule, &FirstOrder::ddpm(), 12);
    let path = || BrownianPath::new(9);
    let mut model = Rows::new(Prediction::Noise);
    let mut run = sampler
        .start::<f64, _, _>((3, 4), Prediction::Noise, path())
        .unwrap();
    run.complete(&mut model).unwrap();
    let parallel = sampler.parallel(5, 0.0).unwrap();
    let mut swept = parallel
        .start::<f64, _, _>((3, 4), Prediction::Noise, path())
        .unwrap();
    swept.complete(&mut model).unwrap();
    assert_eq!(bits(&swept.into_state()), bits(&run.into_state()));
}

#[test]
fn a_run_from_data_up_to_noise_and_one_from_a_given_state() {
    let entry = catalogue().into_iter().find(|entry| entry.inverts);
    let entry = entry.unwrap();
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 8).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &*entry.solver).unwrap();
    let x = Array2::from_shape_fn((2, 5), |(i, j)| 0.3 * i as f64 - 0.1 * j as f64);
    let mut model = Rows::new(Prediction::Noise);
    let noise = KeyedNoise::new(1);
    let mut run = sampler
        .start_from(x.clone(), Prediction::Noise, noise)
        .unwrap();
    run.complete(&mut model).unwrap();
    let parallel = sampler.parallel(8, 0.0).unwrap();
    let mut swept = parallel.start_from(x, Prediction::Noise, noise).unwrap();
    swept.complete(&mut model).unwrap();
    assert_eq!(bits(&swept.into_state()), bits(&run.into_state()));
}

#[test]
fn linear_data_of_the_reference_variance_take_few_sweeps() {
    // The outputs carried along are then the exact ones, but for rounding.
    let sampler = ddim(100);
    let data = diffusion_sampler::oracle::Gaussian::isotropic(&[0.0; 6], 0.3).unwrap();
    let mut model = data.denoiser(Prediction::Noise);
    let parallel = sampler.parallel(100, 1e-12).unwrap();
    let parallel = parallel.with_data_variance(0.3).unwrap();
    let (_, report) = parallel.sample::<f64, _, _>(&mut model, (2, 6), 5).unwrap();
    assert!(report.sweeps() <= 3, "{report}");
}
