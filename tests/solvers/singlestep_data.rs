//! Single-step solvers on D against the recurrences of k-diffusion and ComfyUI, in their variables
//! x/α, ρ and −ln ρ.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, Models},
    from_fn,
    guidance::PlusPlus,
    posterior::Kappa,
    schedule::{NoiseSchedule, RectifiedFlow},
    solver::{
        CfgPlusPlusSinglestep, DpmPlusPlusSde, DpmSolverPlusPlusSinglestep, ExponentialRungeKutta,
        FirstOrder, Path, SecondOrderForm, Solver,
    },
};

use ndarray::{ArrayRef, Ix2, array};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const STEPS: [usize; 4] = [1, 2, 5, 12];
const START: f64 = 0.7;

/// What a recurrence is: the state x/α after a step, from x/α, the levels and the step's number.
type Recurrence<'a> = dyn Fn(f64, &Path<'_>, (NoiseLevel, NoiseLevel), u32) -> f64 + 'a;

fn run(path: &Path<'_>, recurrence: &Recurrence<'_>) -> Vec<f64> {
    let mut x = START / path.grid().start().alpha();
    let mut states = Vec::new();
    for (k, (from, to)) in path.edges().enumerate() {
        x = if to.is_clean() {
            denoise(from.alpha() * x, &from)
        } else {
            recurrence(x, path, (from, to), k as u32)
        };
        states.push(to.alpha() * x);
    }
    states
}

fn check(name: &str, solver: &dyn Solver, recurrence: &Recurrence<'_>, tolerance: f64) -> Outcome {
    for steps in STEPS {
        for clean in [true, false] {
            for (number, (schedule, grid)) in paths(steps, clean)?.into_iter().enumerate() {
                let path = Path::new(&schedule, &grid)?;
                let ours = states(&path, solver, START)?;
                let place = format!("{name}, schedule {number}, K = {steps}");
                assert_close(&ours, &run(&path, recurrence), tolerance, &place);
            }
        }
    }
    Ok(())
}

/// The model on x/α at −ln ρ = t.
fn model(x: f64, t: f64, path: &Path<'_>) -> f64 {
    // A level that is not there fails every comparison.
    let level = path.at_lambda(t);
    level.map_or(f64::NAN, |level| denoise(level.alpha() * x, &level))
}

/// k-diffusion's (σ_down, σ_up).
fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).sqrt());
    ((to * to - up * up).sqrt(), up)
}

fn two_s_ancestral(
    x: f64,
    path: &Path<'_>,
    (from, to): (NoiseLevel, NoiseLevel),
    k: u32,
    (eta, r, s_noise): (f64, f64, f64),
) -> f64 {
    let denoised = denoise(from.alpha() * x, &from);
    let (down, up) = ancestral(from.rho(), to.rho(), eta);
    if down < 1e-12 {
        return denoised + up * s_noise * normal(k, 0);
    }
    let (t, end) = (-from.rho().ln(), -down.ln());
    let h = end - t;
    let s = t + r * h;
    let middle = (-s).exp() / from.rho() * x - (-h * r).exp_m1() * denoised;
    let mixed = (1.0 - 1.0 / (2.0 * r)) * denoised + model(middle, s, path) / (2.0 * r);
    // Drawn by the step's second stage.
    down / from.rho() * x - (-h).exp_m1() * mixed + up * s_noise * normal(k, 1)
}

#[test]
fn two_stages_are_dpmpp_2s_ancestral() -> Outcome {
    for (eta, r, s_noise) in [
        (0.0, 0.5, 1.0),
        (0.0, 0.3, 1.0),
        (0.0, 1.0, 1.0),
        (1.0, 0.5, 1.0),
        (0.6, 0.5, 1.0),
        (0.6, 0.4, 0.8),
    ] {
        let solver = DpmSolverPlusPlusSinglestep::order(2)?
            .with_nodes(&[r])?
            .with_kappa(Kappa::Eta(eta))
            .with_noise_scale(s_noise)?;
        let name = format!("2S, eta {eta}, r {r}");
        let options = (eta, r, s_noise);
        let recurrence =
            |x: f64, path: &Path<'_>, edge: _, k: u32| two_s_ancestral(x, path, edge, k, options);
        check(&name, &solver, &recurrence, 1e-12)?;
    }
    Ok(())
}

/// ComfyUI's form for flows, in its own variables: α = 1 − σ, and the noise put back after
/// rescaling.
#[test]
fn on_a_flow_the_ancestral_form_is_the_one_for_flows() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::from_times(&flow, &[0.9, 0.7, 0.45, 0.2])?;
    let path = Path::new(&flow, &grid)?;
    let down = |from: f64, to: f64, eta: f64| to * (1.0 + (to / from - 1.0) * eta);
    for eta in [0.4, 1.0] {
        let mut x = START;
        let mut textbook = Vec::new();
        let mut ours = Vec::new();
        let mut own = START;
        for (from, to) in path.edges() {
            let (i, n) = (from.sigma(), to.sigma());
            let low = down(i, n, eta);
            let (alpha_next, alpha_low) = (1.0 - n, 1.0 - low);
            let renoise = (n * n - (low * alpha_next / alpha_low).powi(2)).sqrt();
            let lambda = |sigma: f64| ((1.0 - sigma) / sigma).ln();
            let s = 1.0 / ((0.5 * (lambda(i) + lambda(low))).exp() + 1.0);
            let u = s / i * x + (1.0 - s / i) * denoise(x, &from);
            let at = denoise(u, &flow.level(s)?);
            x = alpha_next / alpha_low * (low / i * x + (1.0 - low / i) * at)
                + renoise * normal(0, 1);
            textbook.push(x);
            // Its down-level as a policy: γ = σ_s√(1 − κ²), κ = ρ_down/ρ_s.
            let kappa = low / alpha_low / to.rho();
            let gamma = n * (1.0 - kappa * kappa).sqrt();
            let edge = Grid::from_times(&flow, &[i, n])?;
            let solver = DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Gamma(gamma));
            own = states(&Path::new(&flow, &edge)?, &solver, own)?[0];
            ours.push(own);
        }
        assert_close(&ours, &textbook, 1e-12, "flow");
    }
    Ok(())
}

#[test]
fn three_stages_are_dpm_solver_plus_plus_3s() -> Outcome {
    let phi_2 = |z: f64| (z.exp_m1() / z - 1.0) / z;
    let recurrence = |x: f64, path: &Path<'_>, (from, to): (NoiseLevel, NoiseLevel), _: u32| {
        let (t, h) = (from.lambda(), to.lambda() - from.lambda());
        let (c1, c2) = (1.0 / 3.0, 2.0 / 3.0);
        let d = denoise(from.alpha() * x, &from);
        let u1 = (-c1 * h).exp() * x - (-c1 * h).exp_m1() * d;
        let d1 = model(u1, t + c1 * h, path);
        let u2 = (-c2 * h).exp() * x - (-c2 * h).exp_m1() * d
            + c2 / c1 * c2 * h * phi_2(-c2 * h) * (d1 - d);
        let d2 = model(u2, t + c2 * h, path);
        (-h).exp() * x - (-h).exp_m1() * d + h * phi_2(-h) / c2 * (d2 - d)
    };
    check(
        "3S",
        &DpmSolverPlusPlusSinglestep::order(3)?,
        &recurrence,
        1e-12,
    )
}

#[test]
fn dpmpp_sde_reads_both_noises_off_one_tree_in_rho() -> Outcome {
    for (eta, r, s_noise) in [
        (1.0, 0.5, 1.0),
        (0.0, 0.5, 1.0),
        (0.5, 0.5, 1.1),
        (1.0, 0.3, 1.0),
        (1.0, 1.0, 1.0),
    ] {
        let recurrence = |x: f64, path: &Path<'_>, (from, to): (NoiseLevel, NoiseLevel), k: u32| {
            let (t, h) = (from.lambda(), to.lambda() - from.lambda());
            let s = t + h * r;
            let middle = (-s).exp();
            // W at ρ_t − ρ_c and ρ_t − ρ_s from the start, from independent normals.
            let (first, all) = (from.rho() - middle, from.rho() - to.rho());
            let rest = if r == 1.0 { 0.0 } else { all - first };
            let whole = first.sqrt() * normal(k, 0) + rest.sqrt() * normal(k, 1);
            let noises = [normal(k, 0), whole / all.sqrt()];
            let step = |x: f64, to: f64, d: f64, z: f64| {
                let (down, up) = ancestral(from.rho(), to, eta);
                down / from.rho() * x + (1.0 - down / from.rho()) * d + z * s_noise * up
            };
            let d = denoise(from.alpha() * x, &from);
            let x2 = step(x, middle, d, noises[0]);
            let d2 = model(x2, s, path);
            let mixed = (1.0 - 1.0 / (2.0 * r)) * d + d2 / (2.0 * r);
            step(x, to.rho(), mixed, noises[1])
        };
        let solver = DpmPlusPlusSde::new()
            .with_eta(eta)?
            .with_node(r)?
            .with_noise_scale(s_noise)?;
        // √(1 − κ²) by k-diffusion's differences of squares.
        check(
            &format!("SDE, eta {eta}, r {r}"),
            &solver,
            &recurrence,
            1e-12,
        )?;
    }
    Ok(())
}

fn h_phi_2(h: f64) -> f64 {
    (h.exp_m1() - h) / h
}

#[test]
fn two_stages_with_noise_are_seeds_2_and_exponential_heun() -> Outcome {
    for (eta, r, s_noise, exact) in [
        (1.0, 0.5, 1.0, false),
        (1.0, 0.5, 1.0, true),
        (0.3, 0.7, 0.9, false),
        (0.0, 0.5, 1.0, true),
        (0.0, 1.0, 1.0, true),
        (1.0, 1.0, 1.0, true),
        (1.0, 1.0, 1.0, false),
    ] {
        let recurrence = |x: f64, path: &Path<'_>, (from, to): (NoiseLevel, NoiseLevel), k: u32| {
            let (t, h) = (from.lambda(), to.lambda() - from.lambda());
            let scaled = h * (eta + 1.0);
            let s = t + r * h;
            let d = denoise(from.alpha() * x, &from);
            let mut noise = (-(-2.0 * r * h * eta).exp_m1()).sqrt() * normal(k, 0);
            let x2 =
                (-r * scaled).exp() * x - (-r * scaled).exp_m1() * d + noise * (-s).exp() * s_noise;
            let d2 = model(x2, s, path);
            let mixed = if exact {
                let b2 = h_phi_2(-scaled) / r;
                ((-scaled).exp_m1() - b2) * d + b2 * d2
            } else {
                (-scaled).exp_m1() * (d + (d2 - d) / (2.0 * r))
            };
            let segment = (r - 1.0) * h * eta;
            noise = noise * segment.exp() + (-(2.0 * segment).exp_m1()).sqrt() * normal(k, 1);
            (-scaled).exp() * x - mixed + noise * to.rho() * s_noise
        };
        let form = if exact {
            SecondOrderForm::Exact
        } else {
            SecondOrderForm::Midpoint
        };
        let built = if r == 1.0 {
            ExponentialRungeKutta::heun()
        } else {
            ExponentialRungeKutta::seeds(2)?.with_nodes(&[r])?
        };
        let solver = built
            .with_form(form)
            .with_tau(eta.sqrt())?
            .with_noise_scale(s_noise)?;
        check(
            &format!("SEEDS-2, eta {eta}, r {r}, {form:?}"),
            &solver,
            &recurrence,
            1e-12,
        )?;
    }
    Ok(())
}

#[test]
fn three_stages_with_noise_are_seeds_3() -> Outcome {
    for (eta, s_noise) in [(1.0, 1.0), (0.4, 1.2), (0.0, 1.0)] {
        let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
        let recurrence = |x: f64, path: &Path<'_>, (from, to): (NoiseLevel, NoiseLevel), k: u32| {
            let (t, h) = (from.lambda(), to.lambda() - from.lambda());
            let scaled = h * (eta + 1.0);
            let grow = |noise: f64, from: f64, to: f64, n: u8| {
                let segment = (from - to) * h * eta;
                noise * segment.exp() + (-(2.0 * segment).exp_m1()).sqrt() * normal(k, n)
            };
            let d = denoise(from.alpha() * x, &from);
            let noise = grow(0.0, 0.0, r1, 0);
            let (s1, s2) = (t + r1 * h, t + r2 * h);
            let x2 = (-r1 * scaled).exp() * x - (-r1 * scaled).exp_m1() * d
                + noise * (-s1).exp() * s_noise;
            let d2 = model(x2, s1, path);
            let a32 = r2 / r1 * h_phi_2(-r2 * scaled);
            let a31 = (-r2 * scaled).exp_m1() - a32;
            let noise = grow(noise, r1, r2, 1);
            let x3 =
                (-r2 * scaled).exp() * x - (a31 * d + a32 * d2) + noise * (-s2).exp() * s_noise;
            let d3 = model(x3, s2, path);
            let b3 = h_phi_2(-scaled) / r2;
            let b1 = (-scaled).exp_m1() - b3;
            let noise = grow(noise, r2, 1.0, 2);
            (-scaled).exp() * x - (b1 * d + b3 * d3) + noise * to.rho() * s_noise
        };
        let solver = ExponentialRungeKutta::seeds(3)?
            .with_tau(f64::sqrt(eta))?
            .with_noise_scale(s_noise)?;
        check(&format!("SEEDS-3, eta {eta}"), &solver, &recurrence, 1e-12)?;
    }
    Ok(())
}

/// The tableau of Hochbruck and Ostermann for any two nodes, as RES programs write it.
#[test]
fn three_stages_at_any_nodes_have_the_tableau_with_gamma() -> Outcome {
    let phi = |k: i32, z: f64| match k {
        1 => z.exp_m1() / z,
        _ => (z.exp_m1() / z - 1.0) / z,
    };
    for (c2, c3) in [(0.5, 1.0), (0.4, 0.9), (0.2, 0.6), (0.8, 0.95)] {
        let gamma = (3.0 * c3 * c3 - 2.0 * c3) / (c2 * (2.0 - 3.0 * c2));
        let recurrence = |x: f64, path: &Path<'_>, (from, to): (NoiseLevel, NoiseLevel), _: u32| {
            let (t, h) = (from.lambda(), to.lambda() - from.lambda());
            let a21 = c2 * phi(1, -h * c2);
            let a32 = gamma * c2 * phi(2, -h * c2) + c3 * c3 / c2 * phi(2, -h * c3);
            let a31 = c3 * phi(1, -h * c3) - a32;
            let b3 = phi(2, -h) / (gamma * c2 + c3);
            let b2 = gamma * b3;
            let b1 = phi(1, -h) - b2 - b3;
            let d1 = denoise(from.alpha() * x, &from);
            let d2 = model((-c2 * h).exp() * x + h * a21 * d1, t + c2 * h, path);
            let third = (-c3 * h).exp() * x + h * (a31 * d1 + a32 * d2);
            let d3 = if c3 == 1.0 {
                denoise(to.alpha() * third, &to)
            } else {
                model(third, t + c3 * h, path)
            };
            (-h).exp() * x + h * (b1 * d1 + b2 * d2 + b3 * d3)
        };
        let solver = ExponentialRungeKutta::res(3)?.with_nodes(&[c2, c3])?;
        check(&format!("RES-3s, {c2}, {c3}"), &solver, &recurrence, 1e-12)?;
    }
    Ok(())
}

#[test]
fn names_of_one_method_make_one_plan() -> Outcome {
    for (schedule, grid) in paths(6, true)? {
        let path = Path::new(&schedule, &grid)?;
        let seeds = |order| ExponentialRungeKutta::seeds(order);
        for order in [2, 3] {
            let single = DpmSolverPlusPlusSinglestep::order(order)?;
            assert_eq!(
                single.plan(&path)?,
                seeds(order)?.with_tau(0.0)?.plan(&path)?
            );
            assert_eq!(single.order(), order);
        }
        let ours = states(&path, &DpmPlusPlusSde::new().with_eta(0.0)?, START)?;
        let two = states(&path, &DpmSolverPlusPlusSinglestep::order(2)?, START)?;
        assert_close(&ours, &two, 1e-13, "DPM++ SDE without noise");
        let res = ExponentialRungeKutta::res(2)?;
        let exact = seeds(2)?.with_tau(0.0)?.with_form(SecondOrderForm::Exact);
        assert_eq!(res.plan(&path)?, exact.plan(&path)?);
        // κ = 0 keeps nothing of the state: one evaluation, and fresh noise.
        let fresh = DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Fresh);
        let first = FirstOrder::new(Kappa::Fresh);
        assert_eq!(fresh.plan(&path)?, first.plan(&path)?);
    }
    Ok(())
}

/// With a linear D, all noise of a step as a linear form in its normals: the variance that it adds
/// is that of one path of the diffusion.
#[test]
fn the_noise_of_a_step_has_the_variance_of_the_diffusions() -> Outcome {
    for (schedule, grid) in paths(4, false)? {
        let path = Path::new(&schedule, &grid)?;
        for (name, solver) in [
            ("SEEDS-2", ExponentialRungeKutta::seeds(2)?.with_tau(0.8)?),
            ("SEEDS-3", ExponentialRungeKutta::seeds(3)?.with_tau(0.8)?),
            ("Heun", ExponentialRungeKutta::heun().with_tau(0.8)?),
        ] {
            let plan = solver.plan(&path)?;
            for step in plan.steps() {
                // D ≡ 0: x_s = Π f x_t + Σ (Π later f) noise z.
                let variance = step.stages.iter().fold(0.0, |v, stage| {
                    v * stage.update.state.powi(2) + stage.update.noise.powi(2)
                });
                let h = step.to.lambda() - step.from.lambda();
                let expected = step.to.sigma().powi(2) * -(-2.0 * 0.64 * h).exp_m1();
                assert!((variance / expected - 1.0).abs() < 1e-12, "{name}");
            }
        }
        for eta in [0.3, 1.0] {
            let plan = DpmPlusPlusSde::new().with_eta(eta)?.plan(&path)?;
            for step in plan.steps() {
                let [first, second] = &step.stages[..] else {
                    return Err("two stages".into());
                };
                let (f, noises) = (
                    second.update.state,
                    (first.update.noise, second.update.noise),
                );
                let variance = (f * noises.0).powi(2) + noises.1.powi(2);
                let h = step.to.lambda() - step.from.lambda();
                let expected = (step.to.sigma() * eta).powi(2) * -(-2.0 * h).exp_m1();
                assert!((variance / expected - 1.0).abs() < 1e-12, "DPM++ SDE");
            }
        }
    }
    Ok(())
}

/// The guided run, with D = U + 0.6 (C − U).
fn guided_states(
    path: &Path<'_>,
    solver: &dyn Solver,
) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let model = |shift: f64| {
        from_fn::<f64, Ix2>(
            Prediction::Data,
            move |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                out.zip_mut_with(x, |o, &x| *o = denoise(x, level) + shift * (1.0 + 0.1 * x));
            },
        )
    };
    let guidance = PlusPlus::new(0.6)?;
    let mut model = Guided::new(Models((model(0.4), model(0.0))), guidance);
    let sampler = Sampler::along(path, solver)?;
    let mut run = sampler.start_from(array![[START]], Prediction::Data, KeyedNoise::new(5))?;
    let mut states = Vec::new();
    while !run.is_finished() {
        run.advance(&mut model)?;
        states.push(run.state()[[0, 0]]);
    }
    Ok(states)
}

#[test]
fn for_cfg_plus_plus_two_stages_are_comfyuis() -> Outcome {
    for (eta, s_noise) in [(0.0, 1.0), (1.0, 1.0), (0.5, 0.8)] {
        for steps in STEPS {
            for (number, (schedule, grid)) in paths(steps, true)?.into_iter().enumerate() {
                let path = Path::new(&schedule, &grid)?;
                let solver =
                    CfgPlusPlusSinglestep::new(Kappa::Eta(eta)).with_noise_scale(s_noise)?;
                let ours = guided_states(&path, &solver)?;
                let mut x = START / grid.start().alpha();
                let mut textbook = Vec::new();
                for (k, (from, to)) in path.edges().enumerate() {
                    let state = from.alpha() * x;
                    let unconditional = denoise(state, &from);
                    let vector = 0.6 * 0.4 * (1.0 + 0.1 * state);
                    let (down, up) = ancestral(from.rho(), to.rho(), eta);
                    if to.is_clean() {
                        x = unconditional + vector;
                    } else {
                        let (t, end) = (-from.rho().ln(), -down.ln());
                        let (h, s) = (end - t, t + 0.5 * (end - t));
                        let middle =
                            (-s).exp() / from.rho() * x - (-0.5 * h).exp_m1() * unconditional;
                        x = down / from.rho() * x - (-h).exp_m1() * model(middle, s, &path)
                            + up * s_noise * normal(k as u32, 3)
                            + vector;
                    }
                    textbook.push(to.alpha() * x);
                }
                // D − U comes from (αD + σE − x)/α, which is off by ρ_t roundings of x.
                assert_close(
                    &ours,
                    &textbook,
                    1e-11,
                    &format!("schedule {number}, K = {steps}"),
                );
            }
        }
    }
    // One estimate: the plain solver.
    for (schedule, grid) in paths(7, false)? {
        let path = Path::new(&schedule, &grid)?;
        let own = CfgPlusPlusSinglestep::new(Kappa::Ddim);
        let plain = DpmSolverPlusPlusSinglestep::order(2)?;
        let (ours, theirs) = (states(&path, &own, START)?, states(&path, &plain, START)?);
        assert_close(&ours, &theirs, 1e-12, "without guidance");
    }
    Ok(())
}
