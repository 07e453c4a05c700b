//! UniPC and SA-Solver against the loops of their authors' and libraries' code.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    plan::Step,
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, UnitVariance, VariancePreserving,
    },
    solver::{Basis, Path, SaSolver, Solver, UniPc},
};

use crate::common::{Outcome, assert_close, denoise, normal, states};
use crate::exponential::{each, integral, lagrange};

const START: f64 = 0.7;
/// e^h − 1 − h and its like lose three digits on the shortest steps, and the corrector's system more.
const LOOSE: f64 = 1e-9;

/// Solves a small system by elimination with pivots.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()));
        let pivot = pivot.unwrap_or(k);
        a.swap(k, pivot);
        b.swap(k, pivot);
        let (row, value) = (a[k].clone(), b[k]);
        for i in k + 1..n {
            let factor = a[i][k] / row[k];
            a[i].iter_mut()
                .zip(&row)
                .for_each(|(x, y)| *x -= factor * y);
            b[i] -= factor * value;
        }
    }
    for k in (0..n).rev() {
        b[k] = (b[k] - (k + 1..n).map(|j| a[k][j] * b[j]).sum::<f64>()) / a[k][k];
    }
    b
}

/// diffusers' UniPC loop.
#[derive(Clone, Copy, Debug)]
struct Unified<'a> {
    order: usize,
    bh1: bool,
    noise_form: bool,
    corrected: bool,
    disabled: &'a [usize],
    lowered: bool,
}

/// An estimate and where it was made.
#[derive(Clone, Copy)]
struct Known {
    lambda: f64,
    value: f64,
}

impl Unified<'_> {
    fn states(&self, path: &Path<'_>) -> Vec<f64> {
        let edges: Vec<_> = path.edges().collect();
        let mut sample = START;
        let mut known: Vec<Known> = Vec::new();
        let mut last: Option<(f64, usize)> = None;
        let mut states = Vec::new();
        for (index, (t, s)) in edges.iter().enumerate() {
            let d = denoise(sample, t);
            let value = if self.noise_form {
                (sample - t.alpha() * d) / t.sigma()
            } else {
                d
            };
            let new = Known {
                lambda: t.lambda(),
                value,
            };
            if let Some((before, order)) = last
                && self.corrected
                && !self.disabled.contains(&(index - 1))
            {
                sample = self.update(&edges[index - 1], before, &known, order, Some(new));
            }
            known.insert(0, new);
            let mut order = self.order.min(index + 1);
            if self.lowered {
                order = order.min(edges.len() - index);
            }
            last = Some((sample, order));
            sample = if s.is_clean() {
                // In noise form this is a definition: diffusers refuses it.
                s.alpha() * d
            } else {
                self.update(&(*t, *s), sample, &known, order, None)
            };
            states.push(sample);
        }
        states
    }

    /// UniP without `new`, UniC with it.
    fn update(
        &self,
        (t, s): &(NoiseLevel, NoiseLevel),
        x: f64,
        known: &[Known],
        order: usize,
        new: Option<Known>,
    ) -> f64 {
        let h = s.lambda() - t.lambda();
        let hh = if self.noise_form { h } else { -h };
        let first = known[0].value;
        let mut rks = Vec::new();
        let mut differences = Vec::new();
        for old in &known[1..order] {
            let rk = (old.lambda - known[0].lambda) / h;
            rks.push(rk);
            differences.push((old.value - first) / rk);
        }
        if let Some(new) = new {
            rks.push(1.0);
            differences.push(new.value - first);
        }
        let phi1 = hh.exp_m1();
        let b_h = if self.bh1 { hh } else { phi1 };
        // b_i = i! φ_{i+1}·hh/B.
        let mut right = Vec::new();
        let (mut phi, mut factorial) = (phi1 / hh - 1.0, 1.0);
        for i in 1..=rks.len() {
            right.push(phi * factorial / b_h);
            factorial *= (i + 1) as f64;
            phi = phi / hh - 1.0 / factorial;
        }
        let rhos = match (rks.len(), new) {
            (0, _) => vec![],
            (1, _) => vec![0.5],
            (n, _) => {
                let power = |i: usize| rks.iter().map(|rk| rk.powi(i as i32)).collect();
                solve((0..n).map(power).collect(), right)
            }
        };
        let residual: f64 = rhos.iter().zip(&differences).map(|(r, d)| r * d).sum();
        if self.noise_form {
            s.alpha() / t.alpha() * x - s.sigma() * (phi1 * first + b_h * residual)
        } else {
            s.sigma() / t.sigma() * x - s.alpha() * (phi1 * first + b_h * residual)
        }
    }
}

#[test]
fn uni_pc_in_one_stage_is_the_loop_with_two_updates() -> Outcome {
    let mut compared = 0;
    each(|path, place| {
        for order in 1..=3 {
            for (bh1, noise_form) in [(false, false), (true, false), (false, true), (true, true)] {
                for (corrected, disabled) in [(true, vec![]), (false, vec![]), (true, vec![0, 2])] {
                    for lowered in [false, true] {
                        let textbook = Unified {
                            order,
                            bh1,
                            noise_form,
                            corrected,
                            disabled: &disabled,
                            lowered,
                        };
                        let basis = if bh1 { Basis::Bh1 } else { Basis::Bh2 };
                        let mut solver = UniPc::order(order)?
                            .with_basis(basis)
                            .without_corrector_at(disabled.clone())
                            .unbounded();
                        if noise_form {
                            solver = solver.in_noise();
                        }
                        if !corrected {
                            solver = solver.predictor_only();
                        }
                        if lowered {
                            solver = solver.lower_order_final();
                        }
                        let plan = solver.plan(path)?;
                        assert_eq!(plan.evaluations(), plan.steps().len());
                        assert!(plan.slots() <= order);
                        let place = format!("{place}: {textbook:?}");
                        let ours = states(path, &solver, START)?;
                        assert_close(&ours, &textbook.states(path), LOOSE, &place);
                        compared += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    assert!(compared > 2000, "{compared}");
    Ok(())
}

/// ComfyUI's SA-Solver loop, and diffusers' where it differs.
#[derive(Clone, Copy, Debug)]
struct Stochastic {
    predictor: usize,
    corrector: usize,
    tau: f64,
    simple: bool,
    pece: bool,
    noise_form: bool,
    lowering: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Full,
    Diffusers,
    Comfy,
}

impl Stochastic {
    fn tau(&self, to: &NoiseLevel) -> f64 {
        if (0.3..=4.0).contains(&to.rho()) {
            self.tau
        } else {
            0.0
        }
    }

    fn states(&self, path: &Path<'_>) -> Vec<f64> {
        let edges: Vec<_> = path.edges().collect();
        let count = edges.len();
        let clean = edges[count - 1].1.is_clean();
        let (mut x, mut predicted) = (START, START);
        let mut noise = 0.0;
        let mut known: Vec<Known> = Vec::new();
        let mut states = Vec::new();
        let estimate = |x: f64, t: &NoiseLevel| {
            let d = denoise(x, t);
            let value = if self.noise_form {
                (x - t.alpha() * d) / t.sigma()
            } else {
                d
            };
            Known {
                lambda: t.lambda(),
                value,
            }
        };
        for (i, (t, s)) in edges.iter().enumerate() {
            known.insert(0, estimate(predicted, t));
            let mut predicting = self.predictor.min(i + 1);
            // Of the edge before.
            let mut correcting = if i == 0 { 0 } else { self.corrector.min(i + 1) };
            match self.lowering {
                Ending::Full => {}
                Ending::Diffusers => {
                    predicting = predicting.min(count - i);
                    correcting = correcting.min(count - (i.max(1) - 1) + 1);
                }
                Ending::Comfy if clean => {
                    predicting = predicting.min(count - 1 - i);
                    correcting = correcting.min(count - i);
                }
                Ending::Comfy => {}
            }
            if correcting == 0 {
                x = predicted;
            } else {
                x = self.step(&edges[i - 1], x, &known[..correcting], true) + noise;
                if self.pece {
                    known[0] = estimate(x, t);
                }
            }
            predicted = if s.is_clean() {
                // D, on the corrected state only where it is evaluated there.
                s.alpha() * denoise(if self.pece { x } else { predicted }, t)
            } else {
                let (tau, h) = (self.tau(s), s.lambda() - t.lambda());
                // Noise is keyed by the stage, which is the second after a correction of its own.
                let stage = u8::from(self.pece && correcting > 0);
                noise = normal(i as u32, stage)
                    * if self.noise_form {
                        tau * s.sigma() * (2.0 * h).exp_m1().sqrt()
                    } else {
                        s.sigma() * (-(-2.0 * tau * tau * h).exp_m1()).sqrt()
                    };
                self.step(&(*t, *s), x, &known[..predicting], false) + noise
            };
            states.push(predicted);
        }
        states
    }

    /// The Adams step through these estimates, without noise.
    fn step(&self, (t, s): &(NoiseLevel, NoiseLevel), x: f64, known: &[Known], end: bool) -> f64 {
        let (a, b) = (t.lambda(), s.lambda());
        let tau = self.tau(s);
        let rate = 1.0 + tau * tau;
        let kernel = |lambda: f64| {
            if self.noise_form {
                -(b - lambda).exp()
            } else {
                rate * (rate * (lambda - b)).exp()
            }
        };
        let nodes: Vec<f64> = known.iter().map(|known| known.lambda).collect();
        let mut weights: Vec<f64> = (0..nodes.len())
            .map(|j| integral(a, b, |lambda| kernel(lambda) * lagrange(&nodes, j, lambda)))
            .collect();
        if self.simple && nodes.len() == 2 {
            let h = b - a;
            let z = if self.noise_form { -h } else { rate * h };
            let distance = if end { h } else { a - nodes[1] };
            // The slope's weight is z/2 in place of its integral.
            let slope = z / 2.0 * h / distance;
            let whole = weights[0] + weights[1];
            weights = if end {
                vec![slope, whole - slope]
            } else {
                vec![whole + slope, -slope]
            };
        }
        let sum: f64 = weights.iter().zip(known).map(|(w, k)| w * k.value).sum();
        if self.noise_form {
            s.alpha() / t.alpha() * x + rate * s.sigma() * sum
        } else {
            s.sigma() / t.sigma() * (-tau * tau * (b - a)).exp() * x + s.alpha() * sum
        }
    }
}

#[test]
fn sa_solver_in_one_update_is_the_loop_with_two() -> Outcome {
    let mut compared = 0;
    each(|path, place| {
        for (predictor, corrector) in [(1, 1), (1, 2), (2, 2), (3, 4), (4, 4), (3, 1), (2, 0)] {
            for (tau, simple) in [(0.0, false), (1.0, false), (0.8, true)] {
                for (pece, noise_form) in [(false, false), (true, false), (false, true)] {
                    for lowering in [Ending::Full, Ending::Diffusers, Ending::Comfy] {
                        let textbook = Stochastic {
                            predictor,
                            corrector,
                            tau,
                            simple,
                            pece,
                            noise_form,
                            lowering,
                        };
                        let mut solver = SaSolver::new(predictor, corrector, tau)?
                            .within_rho(0.3, 4.0)?
                            .unbounded();
                        if simple {
                            solver = solver.simple();
                        }
                        if pece {
                            solver = solver.evaluating_twice();
                        }
                        if noise_form {
                            solver = solver.in_noise();
                        }
                        solver = match lowering {
                            Ending::Full => solver,
                            Ending::Diffusers => solver.lower_order_final(),
                            Ending::Comfy => solver.lower_order_before_clean_end(),
                        };
                        let ours = states(path, &solver, START)?;
                        let textbook_states = textbook.states(path);
                        let place = format!("{place}: {textbook:?}");
                        assert_close(&ours, &textbook_states, LOOSE, &place);
                        compared += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    assert!(compared > 5000, "{compared}");
    Ok(())
}

#[test]
fn noise_is_where_the_interval_says() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 10)?;
    let path = Path::new(&table, &grid)?;
    let noisy = |solver: SaSolver| -> Result<Vec<bool>, Error> {
        let plan = solver.plan(&path)?;
        let noises = plan.steps().iter().map(|step| {
            let stages = step.stages.iter();
            stages.map(|stage| stage.update.noise).sum::<f64>() > 0.0
        });
        Ok(noises.collect())
    };
    let solver = SaSolver::new(2, 2, 1.0)?;
    // Network times 999, 899, … 99 at the starts.
    let by_time = noisy(solver.within_model_time(200.0, 800.0)?)?;
    let expected: Vec<bool> = (0..10)
        .map(|k| (200..=800).contains(&(999 - 100 * k)))
        .collect();
    assert_eq!(by_time, expected);
    let (low, high) = (grid.levels()[7].rho(), grid.levels()[3].rho());
    let by_rho = noisy(solver.within_rho(low, high)?)?;
    assert_eq!(
        by_rho,
        (0..10)
            .map(|k| (3..=7).contains(&(k + 1)))
            .collect::<Vec<_>>()
    );
    assert_eq!(noisy(solver)?, (0..10).map(|k| k < 9).collect::<Vec<_>>());
    assert!(solver.within_rho(2.0, 1.0).is_err() && solver.within_rho(-1.0, 1.0).is_err());
    assert!(solver.within_model_time(f64::NAN, 1.0).is_err());
    for (low, high) in [(-0.1, 0.5), (0.6, 0.5), (0.2, 1.1), (f64::NAN, 0.5)] {
        assert!(solver.ending_within(low, high).is_err());
        assert!(solver.starting_within(low, high).is_err());
    }
    for (predictor, corrector, tau) in [(0, 2, 1.0), (5, 2, 1.0), (2, 5, 1.0), (2, 2, -1.0)] {
        assert!(SaSolver::new(predictor, corrector, tau).is_err());
    }
    assert!(SaSolver::new(2, 2, f64::NAN).is_err());
    for order in [0, 4] {
        assert!(matches!(
            UniPc::order(order),
            Err(Error::InvalidParameter { name: "order", .. })
        ));
    }
    Ok(())
}

#[test]
fn pure_noise_at_the_start_enters_no_rule() -> Outcome {
    // From α = 0 the first step is D, uncorrected; the second has no history.
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 6)?;
    let path = Path::new(&flow, &grid)?;
    for solver in [
        &UniPc::order(3)? as &dyn Solver,
        &UniPc::order(3)?.in_noise(),
        &SaSolver::new(3, 4, 0.0)?,
    ] {
        let plan = solver.plan(&path)?;
        let read: Vec<usize> = plan
            .stages()
            .map(|stage| stage.update.history.len())
            .collect();
        assert_eq!(read[..2], [0, 0], "{solver:?}");
        assert!(read[3] > 0, "{solver:?}");
        assert!(plan.steps()[0].stages[0].update.store.is_none());
    }
    Ok(())
}

/// Which steps have noise.
fn noisy(solver: SaSolver, path: &Path<'_>) -> Result<Vec<bool>, Error> {
    let plan = solver.plan(path)?;
    let noise = |step: &Step| step.stages.iter().any(|stage| stage.update.noise > 0.0);
    Ok(plan.steps().iter().map(noise).collect())
}

#[test]
fn fractions_are_those_of_the_libraries_on_every_schedule() -> Outcome {
    let solver = SaSolver::new(2, 2, 1.0)?;
    let (ending, starting) = (
        solver.ending_within(0.2, 0.8)?,
        solver.starting_within(0.2, 0.8)?,
    );
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    // Indices 999 − 49.95k: step 3 ends at 799.2 = 0.8 · 999 and step 15 at 0.2 · 999, both within.
    let grid = Grid::sgm_uniform(&table, 20)?;
    let path = Path::new(&table, &grid)?;
    let expected: Vec<bool> = (0..20).map(|k| (3..=15).contains(&k)).collect();
    assert_eq!(noisy(ending, &path)?, expected);
    // Starts at indices 900, 800, … 0, of which diffusers takes 800 to 200, both within.
    let path = Grid::leading(&table, 10, 0)?;
    let path = Path::new(&table, &path)?;
    let expected: Vec<bool> = (0..10).map(|k| (1..=7).contains(&k)).collect();
    assert_eq!(noisy(starting, &path)?, expected);
    // A flow: ComfyUI counts before the shift, diffusers after it.
    let flow = RectifiedFlow::shifted(3.0)?;
    let grid = Grid::trailing(&flow, 10)?;
    let path = Path::new(&flow, &grid)?;
    let expected: Vec<bool> = (0..10).map(|k| (1..=7).contains(&k)).collect();
    assert_eq!(noisy(ending, &path)?, expected);
    let levels = grid.levels();
    let expected: Vec<bool> = (0..10)
        .map(|k| k < 9 && (0.2..=0.8).contains(&levels[k].sigma()))
        .collect();
    assert!(expected.contains(&true) && !expected[0]);
    assert_eq!(noisy(starting, &path)?, expected);
    // EDM: in ln σ from 0.002 to 80.
    let edm = Edm::default();
    let grid = Grid::exponential(&edm, 11, edm.lambda_range(), 1.0)?;
    let path = Path::new(&edm, &grid)?;
    let expected: Vec<bool> = (0..11).map(|k| (2..=8).contains(&(k + 1))).collect();
    assert_eq!(noisy(ending, &path)?, expected);
    // The upper end is to rounding that of the fraction, also where ρ is small.
    let half: Vec<bool> = (0..11).map(|k| (5..=8).contains(&(k + 1))).collect();
    assert_eq!(noisy(solver.ending_within(0.2, 0.5)?, &path)?, half);
    // The same levels scaled to unit variance: their α is not 1, and fractions are those of time.
    let unit = UnitVariance::of(edm);
    let rhos: Vec<f64> = (0..11).map(|k| 80.0 - 7.9 * f64::from(k)).collect();
    let even = Grid::from_times(&unit, &rhos)?;
    let expected: Vec<bool> = rhos[1..]
        .iter()
        .map(|rho| (16.0..=64.0).contains(rho))
        .collect();
    assert_eq!(noisy(ending, &Path::new(&unit, &even)?)?, expected);
    // Without a schedule there are no fractions.
    let bare = Path::without_schedule(&grid);
    for solver in [ending, starting] {
        let refused = solver.plan(&bare);
        assert!(matches!(refused, Err(Error::TimeWithoutSchedule { .. })));
    }
    Ok(())
}

#[test]
fn a_lower_order_at_the_end_is_in_the_order() -> Outcome {
    assert_eq!(UniPc::order(3)?.order(), 4);
    assert_eq!(UniPc::order(3)?.lower_order_final().order(), 2);
    assert_eq!(
        UniPc::order(1)?
            .predictor_only()
            .lower_order_final()
            .order(),
        1
    );
    assert_eq!(SaSolver::new(3, 3, 0.0)?.order(), 3);
    assert_eq!(SaSolver::new(3, 3, 0.0)?.lower_order_final().order(), 2);
    Ok(())
}

#[test]
fn a_corrector_of_two_nodes_takes_back_all_earlier_estimates() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::from_lambdas(&vp, &[-1.0, -0.5, 0.0, 0.5, 1.0])?;
    for predictor in [2, 3] {
        let solver = SaSolver::new(predictor, 2, 0.0)?.evaluating_twice();
        let plan = solver.plan(&Path::without_schedule(&grid))?;
        for pair in plan.steps()[1..].windows(2) {
            let (predicted, corrected) = (pair[0].stages.last(), pair[1].stages.first());
            let (predicted, corrected) = (predicted.unwrap(), corrected.unwrap());
            assert_eq!(corrected.evaluate, Some(pair[1].from));
            assert!(!predicted.update.history.is_empty());
            for (slot, weight) in &predicted.update.history {
                let mut terms = corrected.update.history.iter();
                let back = terms.find(|term| term.0 == *slot).map(|term| term.1);
                assert_eq!(back, Some(-weight), "order {predictor}");
            }
            // The step's own estimate and those that the prediction read.
            let read = corrected.update.history.len();
            assert_eq!(read, 1 + predicted.update.history.len());
        }
    }
    Ok(())
}
