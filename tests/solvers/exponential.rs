//! Multistep solvers of the exponential family against their published recurrences.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::Kappa,
    schedule::RectifiedFlow,
    solver::{
        DpmSolver, DpmSolverPlusPlus, ExponentialAdams, FirstOrder, Path, SecondOrderForm, Solver,
    },
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const START: f64 = 0.7;
/// e^h − 1 − h and its like lose three digits on the shortest steps of these grids.
const LOOSE: f64 = 1e-10;

/// Every path of 1, 2, 5 and 12 steps, onto a clean end and not.
pub(crate) fn each(
    mut check: impl FnMut(&Path<'_>, &str) -> Outcome,
) -> Result<(), Box<dyn StdError>> {
    for steps in [1, 2, 5, 12] {
        for clean in [true, false] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                check(
                    &path,
                    &format!("{schedule:?}, {steps} steps, clean {clean}"),
                )?;
            }
        }
    }
    Ok(())
}

/// ∫ from a to b by Gauss–Legendre with five nodes on 64 panels.
pub(crate) fn integral(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    const NODES: [(f64, f64); 5] = [
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.906_179_845_938_664, 0.236_926_885_056_189_08),
        (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
    ];
    let width = (b - a) / 64.0;
    (0..64)
        .flat_map(|panel| NODES.map(|(x, w)| (a + width * (f64::from(panel) + 0.5 + 0.5 * x), w)))
        .map(|(x, w)| 0.5 * width * w * f(x))
        .sum()
}

/// The Lagrange polynomial of the node `j`.
pub(crate) fn lagrange(nodes: &[f64], j: usize, at: f64) -> f64 {
    let others = nodes.iter().enumerate().filter(|(i, _)| *i != j);
    others
        .map(|(_, node)| (at - node) / (nodes[j] - node))
        .product()
}

/// The settings of dpm-solver's and diffusers' multistep code.
#[derive(Clone, Copy, Debug)]
struct Published {
    order: usize,
    noise_form: bool,
    tau: f64,
    heun: bool,
    lower_order_final: bool,
    /// 1 as published, 2 corrected.
    second_difference: f64,
}

impl Published {
    /// The states, as diffusers computes them.
    fn states(&self, path: &Path<'_>) -> Vec<f64> {
        let edges: Vec<_> = path.edges().collect();
        let mut x = START;
        let (mut outputs, mut lambdas) = (Vec::new(), Vec::new());
        let mut states = Vec::new();
        for (index, (t, s)) in edges.iter().enumerate() {
            let d = denoise(x, t);
            outputs.push(if self.noise_form {
                (x - t.alpha() * d) / t.sigma()
            } else {
                d
            });
            lambdas.push(t.lambda());
            let mut order = self.order.min(index + 1);
            if self.lower_order_final {
                order = order.min(edges.len() - index);
            }
            x = if s.is_clean() {
                s.alpha() * d
            } else {
                let noise = normal(index as u32, 0);
                self.step((t, s), x, &outputs, &lambdas, order, noise)
            };
            states.push(x);
        }
        states
    }

    fn step(
        &self,
        (t, s): (&NoiseLevel, &NoiseLevel),
        x: f64,
        outputs: &[f64],
        lambdas: &[f64],
        order: usize,
        noise: f64,
    ) -> f64 {
        let n = outputs.len();
        let h = s.lambda() - t.lambda();
        let rate = 1.0 + self.tau * self.tau;
        let z = rate * h;
        let (mut first, mut second) = (0.0, 0.0);
        if order >= 2 {
            first = (outputs[n - 1] - outputs[n - 2]) / ((lambdas[n - 1] - lambdas[n - 2]) / h);
        }
        if order >= 3 {
            let r0 = (lambdas[n - 1] - lambdas[n - 2]) / h;
            let r1 = (lambdas[n - 2] - lambdas[n - 3]) / h;
            let before = (outputs[n - 2] - outputs[n - 3]) / r1;
            second = (first - before) / (r0 + r1);
            first += r0 * second;
        }
        let heun = self.heun || order == 3;
        if self.noise_form {
            let whole = h.exp_m1();
            let slope = if heun { whole / h - 1.0 } else { whole / 2.0 };
            let curve = (whole - h) / (h * h) - 0.5;
            let sum =
                whole * outputs[n - 1] + slope * first + self.second_difference * curve * second;
            s.alpha() / t.alpha() * x - rate * s.sigma() * sum
                + self.tau * s.sigma() * (2.0 * h).exp_m1().sqrt() * noise
        } else {
            let whole = -(-z).exp_m1();
            let slope = if heun { 1.0 - whole / z } else { whole / 2.0 };
            let curve = 0.5 - slope / z;
            let sum =
                whole * outputs[n - 1] + slope * first + self.second_difference * curve * second;
            let decay = self.tau * self.tau * h;
            s.sigma() / t.sigma() * (-decay).exp() * x
                + s.alpha() * sum
                + s.sigma() * (-(-2.0 * decay).exp_m1()).sqrt() * noise
        }
    }
}

#[test]
fn dpm_solver_and_plus_plus_are_the_published_multistep_recurrences() -> Outcome {
    let mut compared = 0;
    each(|path, place| {
        for order in 1..=3 {
            for (heun, published) in [(false, false), (true, true), (true, false), (false, true)] {
                for (tau, lowered) in [(0.0, false), (0.0, true), (1.0, true), (0.6, false)] {
                    let form = if heun {
                        SecondOrderForm::Exact
                    } else {
                        SecondOrderForm::Midpoint
                    };
                    let mut data = DpmSolverPlusPlus::multistep(order)?
                        .with_form(form)
                        .with_tau(tau)?
                        .unbounded();
                    let mut noise = DpmSolver::multistep(order)?
                        .with_form(form)
                        .with_tau(tau)?
                        .unbounded();
                    if published {
                        (data, noise) = (data.as_published(), noise.as_published());
                    }
                    if lowered {
                        (data, noise) = (data.lower_order_final(), noise.lower_order_final());
                    }
                    let solvers: [&dyn Solver; 2] = [&data, &noise];
                    for (solver, noise_form) in solvers.into_iter().zip([false, true]) {
                        let textbook = Published {
                            order,
                            noise_form,
                            tau,
                            heun,
                            lower_order_final: lowered,
                            second_difference: if published { 1.0 } else { 2.0 },
                        };
                        let place = format!("{place}: {textbook:?}");
                        let ours = states(path, solver, START)?;
                        assert_close(&ours, &textbook.states(path), LOOSE, &place);
                        compared += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    assert!(compared > 3000, "{compared}");
    Ok(())
}

#[test]
fn bounds_change_nothing_where_steps_are_even() -> Outcome {
    let flow = RectifiedFlow::shifted(3.0)?;
    let lambdas: Vec<f64> = (0..=9).map(|k| -3.0 + 0.6 * f64::from(k)).collect();
    let grid = Grid::from_lambdas(&flow, &lambdas)?;
    let path = Path::new(&flow, &grid)?;
    for tau in [0.0, 1.0] {
        let plan = |solver: &dyn Solver| solver.plan(&path);
        let third = DpmSolverPlusPlus::multistep(3)?.with_tau(tau)?;
        assert_eq!(plan(&third)?, plan(&third.unbounded())?);
        assert_eq!(plan(&third)?, plan(&third.guarded())?);
        let noise = DpmSolver::multistep(3)?.with_tau(tau)?;
        assert_eq!(plan(&noise)?, plan(&noise.unbounded())?);
        let adams = ExponentialAdams::data(4)?.with_tau(tau)?;
        assert_eq!(plan(&adams)?, plan(&adams.unbounded())?);
        assert_eq!(plan(&adams)?, plan(&adams.guarded())?);
    }
    Ok(())
}

/// Exponential Adams by quadrature of the Lagrange basis in λ.
fn adams(path: &Path<'_>, order: usize, noise_form: bool) -> Vec<f64> {
    let mut x = START;
    let (mut outputs, mut lambdas) = (Vec::new(), Vec::new());
    let step = |(t, s): (NoiseLevel, NoiseLevel)| {
        let d = denoise(x, &t);
        let e = (x - t.alpha() * d) / t.sigma();
        outputs.insert(0, if noise_form { e } else { d });
        lambdas.insert(0, t.lambda());
        let nodes = &lambdas[..order.min(lambdas.len())];
        let (a, b) = (t.lambda(), s.lambda());
        let sum = |kernel: &dyn Fn(f64) -> f64| -> f64 {
            let weight =
                |j: usize| integral(a, b, |lambda| kernel(lambda) * lagrange(nodes, j, lambda));
            (0..nodes.len()).map(|j| weight(j) * outputs[j]).sum()
        };
        x = if s.is_clean() {
            s.alpha() * d
        } else if noise_form {
            s.alpha() / t.alpha() * x - s.sigma() * sum(&|lambda| (b - lambda).exp())
        } else {
            s.sigma() / t.sigma() * x + s.alpha() * sum(&|lambda| (lambda - b).exp())
        };
        x
    };
    path.edges().map(step).collect()
}

#[test]
fn exponential_adams_integrates_the_interpolating_polynomial() -> Outcome {
    each(|path, place| {
        for order in 1..=4 {
            for noise_form in [false, true] {
                let solver = if noise_form {
                    ExponentialAdams::noise(order)?
                } else {
                    ExponentialAdams::data(order)?
                };
                let ours = states(path, &solver.unbounded(), START)?;
                let place = format!("{place}: {order}, noise form {noise_form}");
                assert_close(&ours, &adams(path, order, noise_form), 1e-11, &place);
            }
        }
        Ok(())
    })
}

/// ComfyUI's res_multistep_ancestral, in its own coordinate x/α and with its names, but −λ for ln σ:
/// the two are one where α = 1.
fn res_ancestral(path: &Path<'_>, eta: f64) -> Vec<f64> {
    let mut x = 0.0;
    let mut old: Option<(f64, f64, f64)> = None;
    let step = |(index, (t, s)): (usize, (NoiseLevel, NoiseLevel))| {
        if index == 0 {
            x = START / t.alpha();
        }
        let (sigma, sigma_next) = (t.rho(), s.rho());
        let denoised = denoise(t.alpha() * x, &t);
        let up = eta
            * (sigma_next.powi(2) * (sigma.powi(2) - sigma_next.powi(2)) / sigma.powi(2)).sqrt();
        let up = up.min(sigma_next);
        let down = (sigma_next.powi(2) - up.powi(2)).sqrt();
        x = match old {
            Some((old_sigma, old_down, old_denoised)) if down > 0.0 => {
                let (at, next) = (-sigma.ln(), -down.ln());
                let h = next - at;
                let c2 = (-old_sigma.ln() + old_down.ln()) / h;
                let phi1 = (-h).exp_m1() / -h;
                let phi2 = (phi1 - 1.0) / -h;
                let (b1, b2) = (phi1 - phi2 / c2, phi2 / c2);
                (-h).exp() * x + h * (b1 * denoised + b2 * old_denoised)
            }
            _ => x + (x - denoised) / sigma * (down - sigma),
        };
        x += up * normal(index as u32, 0);
        old = Some((sigma, down, denoised));
        s.alpha() * x
    };
    path.edges().enumerate().map(step).collect()
}

#[test]
fn ancestral_res_is_the_one_that_users_know() -> Outcome {
    each(|path, place| {
        for eta in [0.0, 0.3, 1.0] {
            let solver = ExponentialAdams::data(2)?
                .with_kappa(Kappa::Eta(eta))
                .unbounded();
            let ours = states(path, &solver, START)?;
            // σ² − σ_up² by subtraction costs digits.
            assert_close(
                &ours,
                &res_ancestral(path, eta),
                1e-9,
                &format!("{place}: {eta}"),
            );
        }
        Ok(())
    })
}

/// The first step by 2S (nodes: one, in the middle) or 3S (thirds), as MATHEMATICS has them, in data
/// or noise form.
fn single_step(path: &Path<'_>, order: usize, noise_form: bool) -> Result<f64, Box<dyn StdError>> {
    let (t, s) = path.edges().next().ok_or("no edge")?;
    let h = s.lambda() - t.lambda();
    let estimate = |x: f64, at: &NoiseLevel| {
        let d = denoise(x, at);
        if noise_form {
            (x - at.alpha() * d) / at.sigma()
        } else {
            d
        }
    };
    // x at c of the step: the first-order term and w times a difference.
    let reach = |to: &NoiseLevel, c: f64, first: f64, difference: f64, w: f64| {
        let u = c * h;
        if noise_form {
            let phi2 = (u.exp_m1() - u) / u;
            to.alpha() / t.alpha() * START
                - to.sigma() * (u.exp_m1() * first + w * phi2 * difference)
        } else {
            let phi2 = ((-u).exp_m1() + u) / u;
            to.sigma() / t.sigma() * START
                + to.alpha() * (-(-u).exp_m1() * first + w * phi2 * difference)
        }
    };
    let first = estimate(START, &t);
    let node = |c: f64| path.at_lambda(t.lambda() + c * h);
    if order == 3 {
        let middle = node(0.5)?;
        let at_middle = estimate(reach(&middle, 0.5, first, 0.0, 0.0), &middle);
        return Ok(reach(&s, 1.0, first, at_middle - first, 2.0));
    }
    let (one, two) = (node(1.0 / 3.0)?, node(2.0 / 3.0)?);
    let at_one = estimate(reach(&one, 1.0 / 3.0, first, 0.0, 0.0), &one);
    let at_two = estimate(reach(&two, 2.0 / 3.0, first, at_one - first, 2.0), &two);
    Ok(reach(&s, 1.0, first, at_two - first, 1.5))
}

#[test]
fn a_warm_up_is_a_single_step_method_and_costs_what_it_says() -> Outcome {
    each(|path, place| {
        let (_, to) = path.edges().next().ok_or("no edge")?;
        let third: [(&dyn Solver, usize, bool); 4] = [
            (&DpmSolverPlusPlus::multistep(3)?.warmed_up(), 3, false),
            (&DpmSolver::multistep(3)?.warmed_up(), 3, true),
            (&ExponentialAdams::data(4)?.warmed_up(), 4, false),
            (&ExponentialAdams::noise(4)?.warmed_up(), 4, true),
        ];
        for (solver, order, noise_form) in third {
            let place = format!("{place}: {order}, noise form {noise_form}");
            let plan = solver.plan(path)?;
            let extra = if to.is_clean() { 0 } else { order - 2 };
            assert_eq!(plan.evaluations(), plan.steps().len() + extra, "{place}");
            if extra > 0 {
                let ours = states(path, solver, START)?[0];
                let textbook = single_step(path, order, noise_form)?;
                assert_close(&[ours], &[textbook], LOOSE, &place);
            }
        }
        Ok(())
    })
}

#[test]
fn warm_up_needs_a_schedule_and_leaves_low_orders_and_noise_alone() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 6)?;
    let (bare, path) = (Path::without_schedule(&grid), Path::new(&flow, &grid)?);
    let third = DpmSolverPlusPlus::multistep(3)?;
    assert!(matches!(
        third.warmed_up().plan(&bare),
        Err(Error::PathWithoutSchedule { .. })
    ));
    assert!(third.plan(&bare).is_ok());
    // The first knot of this flow has α = 0: the second step is the first that can be warmed up.
    let plan = third.warmed_up().plan(&path)?;
    let stages: Vec<usize> = plan.steps().iter().map(|step| step.stages.len()).collect();
    assert_eq!(stages, [1, 2, 1, 1, 1, 1]);
    for solver in [DpmSolverPlusPlus::new(), third.with_tau(0.5)?] {
        assert_eq!(solver.plan(&path)?, solver.warmed_up().plan(&path)?);
    }
    let second = ExponentialAdams::data(2)?;
    assert_eq!(second.plan(&path)?, second.warmed_up().plan(&path)?);
    let noisy = DpmSolver::multistep(3)?.with_tau(1.0)?;
    assert_eq!(noisy.plan(&path)?, noisy.warmed_up().plan(&path)?);
    Ok(())
}

#[test]
fn options_out_of_range_are_refused_with_their_value() {
    for order in [0, 4, 7] {
        let value = order as f64;
        for refused in [
            DpmSolverPlusPlus::multistep(order).map(drop),
            DpmSolver::multistep(order).map(drop),
        ] {
            assert!(matches!(
                refused,
                Err(Error::InvalidParameter { name: "order", value: found, .. }) if found == value
            ));
        }
    }
    assert!(ExponentialAdams::data(0).is_err() && ExponentialAdams::data(5).is_err());
    assert!(ExponentialAdams::noise(0).is_err() && ExponentialAdams::noise(5).is_err());
    for tau in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(DpmSolver::new().with_tau(tau).is_err());
        assert!(DpmSolverPlusPlus::new().with_tau(tau).is_err());
    }
    assert!(DpmSolver::new().with_tau(1e10).is_err());
}

#[test]
fn a_long_step_whose_weights_overflow_is_first_order() -> Outcome {
    // e^h with h = 800 does not fit.
    let level = |time, lambda: f64| NoiseLevel::from_logs(time, 0.0, -lambda);
    let levels = vec![level(3.0, -50.0)?, level(2.0, -49.0)?, level(1.0, 680.0)?];
    let grid = Grid::from_levels(levels, 1.0)?;
    let plan = DpmSolver::new()
        .unbounded()
        .plan(&Path::without_schedule(&grid))?;
    for stage in plan.stages() {
        assert!(stage.update.state.is_finite() && stage.update.data.is_finite());
    }
    assert!(plan.steps()[1].stages[0].update.history.is_empty());
    let ddim = FirstOrder::ddim().plan(&Path::without_schedule(&grid))?;
    assert_eq!(plan.steps()[1], ddim.steps()[1]);
    Ok(())
}
