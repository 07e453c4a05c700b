//! LMS, DEIS, iPNDM and gradient estimation against their published recurrences, in k-diffusion's
//! coordinates x/α and ρ and in a flow's.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{Edm, NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{Deis, FirstOrder, GradientEstimation, Ipndm, LinearMultistep, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, paths, states};

/// The weights of the slopes on a step from knot i, given the axis' values at all knots and how many
/// slopes there are: the newest first, as multiples of the step.
type Rule<'a> = &'a dyn Fn(&[f64], usize, usize) -> Vec<f64>;

type Scheduled = (Box<dyn NoiseSchedule>, Grid);

/// What the published loops call x and sigma: x/a and τ = σ/a.
#[derive(Clone, Copy)]
enum Coordinates {
    /// x/α and ρ, k-diffusion's.
    Edm,
    /// x/(α + σ) and σ/(α + σ): a flow's own x and t.
    Flow,
}

impl Coordinates {
    fn scale(self, level: &NoiseLevel) -> f64 {
        match self {
            Self::Edm => level.alpha(),
            Self::Flow => level.alpha() + level.sigma(),
        }
    }
}

/// The published loop: slopes d = (y − D)/τ, y += (τ' − τ) Σ w_j d_j; D onto τ = 0 unless
/// `extrapolated`.
fn recurrence(
    path: &Path<'_>,
    (coordinates, order, extrapolated): (Coordinates, usize, bool),
    rule: Rule<'_>,
    start: f64,
) -> Vec<f64> {
    let levels = path.grid().levels();
    let taus: Vec<f64> = levels
        .iter()
        .map(|level| level.sigma() / coordinates.scale(level))
        .collect();
    let mut y = start / coordinates.scale(&levels[0]);
    let mut slopes: Vec<f64> = Vec::new();
    let mut found = Vec::new();
    for (i, pair) in levels.windows(2).enumerate() {
        let d = denoise(coordinates.scale(&pair[0]) * y, &pair[0]);
        slopes.insert(0, (y - d) / taus[i]);
        slopes.truncate(order);
        y = if taus[i + 1] == 0.0 && !extrapolated {
            d
        } else {
            let weights = rule(&taus, i, slopes.len());
            let mean: f64 = weights.iter().zip(&slopes).map(|(w, d)| w * d).sum();
            y + (taus[i + 1] - taus[i]) * mean
        };
        found.push(coordinates.scale(&pair[1]) * y);
    }
    found
}

/// ∫ of a Lagrange basis polynomial over [from, to], from its antiderivative's coefficients.
fn lagrange_integral(nodes: &[f64], j: usize, from: f64, to: f64) -> f64 {
    let mut coefficients = vec![1.0];
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| *i != j) {
        let mut next = vec![0.0; coefficients.len() + 1];
        for (power, c) in coefficients.iter().enumerate() {
            next[power + 1] += c / (nodes[j] - nodes[i]);
            next[power] -= c * node / (nodes[j] - nodes[i]);
        }
        coefficients = next;
    }
    let at = |x: f64| -> f64 {
        let terms = coefficients.iter().enumerate();
        terms
            .map(|(power, c)| c * x.powi(power as i32 + 1) / (power as f64 + 1.0))
            .sum()
    };
    at(to) - at(from)
}

/// k-diffusion's linear_multistep_coeff.
fn lms(taus: &[f64], i: usize, count: usize) -> Vec<f64> {
    // Relative to the step, where the powers keep their digits.
    let step = taus[i + 1] - taus[i];
    let nodes: Vec<f64> = (0..count).map(|k| (taus[i - k] - taus[i]) / step).collect();
    (0..count)
        .map(|j| lagrange_integral(&nodes, j, 0.0, 1.0))
        .collect()
}

fn adams_bashforth(_: &[f64], _: usize, count: usize) -> Vec<f64> {
    match count {
        1 => vec![1.0],
        2 => vec![1.5, -0.5],
        3 => vec![23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => vec![55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    }
}

/// ipndm_v's published coefficients, term by term.
fn published_variable(t: &[f64], i: usize, count: usize) -> Vec<f64> {
    let h = |k: usize| t[i + 1 - k] - t[i - k];
    match count {
        1 => vec![1.0],
        2 => vec![1.0 + h(0) / h(1) / 2.0, -h(0) / h(1) / 2.0],
        _ => {
            let (h0, h1, h2) = (h(0), h(1), h(2));
            let t1 = (1.0 - h0 / (3.0 * (h0 + h1)) * (h0 * (h0 + h1)) / (h1 * (h1 + h2))) / 2.0;
            let mut c = vec![
                (2.0 + h0 / h1) / 2.0 + t1,
                -(h0 / h1) / 2.0 - (1.0 + h1 / h2) * t1,
                t1 * h1 / h2,
            ];
            if count > 3 {
                let h3 = h(3);
                let t2 = ((1.0 - h0 / (3.0 * (h0 + h1))) / 2.0
                    + (1.0 - h0 / (2.0 * (h0 + h1))) * h0 / (6.0 * (h0 + h1 + h2)))
                    * (h0 * (h0 + h1) * (h0 + h1 + h2))
                    / (h1 * (h1 + h2) * (h1 + h2 + h3));
                let q = h1 * (h1 + h2) / (h2 * (h2 + h3));
                c[0] += t2;
                c[1] -= (1.0 + h1 / h2 + q) * t2;
                c[2] += (h1 / h2 + q * (1.0 + h2 / h3)) * t2;
                // Not h2/h3, with which the weights would sum to one.
                c.push(-t2 * q * h1 / h2);
            }
            c
        }
    }
}

/// T of ρ, as edm2t has it, its constants written out.
struct EdmToTime {
    beta_d: f64,
    beta_min: f64,
}

impl EdmToTime {
    fn new() -> Self {
        let log = |rho: f64| (rho * rho + 1.0).ln();
        let beta_d = 2.0 * (log(0.002) / 1e-3 - log(80.0)) / (1e-3 - 1.0);
        let beta_min = log(80.0) - 0.5 * beta_d;
        Self { beta_d, beta_min }
    }

    fn time(&self, rho: f64) -> f64 {
        let log = (rho * rho).ln_1p();
        ((self.beta_min * self.beta_min + 2.0 * self.beta_d * log).sqrt() - self.beta_min)
            / self.beta_d
    }

    /// dρ/dT.
    fn slope(&self, time: f64) -> f64 {
        let log = 0.5 * self.beta_d * time * time + self.beta_min * time;
        let rho = log.exp_m1().sqrt();
        0.5 * (self.beta_d * time + self.beta_min) * log.exp() / rho
    }

    /// Σ l_j over `count` nodes ending at knot i, by the rule `integrate` of the step in ρ.
    fn weights(
        &self,
        rhos: &[f64],
        i: usize,
        count: usize,
        integrate: impl Fn(&dyn Fn(f64) -> f64) -> f64,
    ) -> Vec<f64> {
        let nodes: Vec<f64> = (0..count).map(|k| self.time(rhos[i - k])).collect();
        let basis = |j: usize, t: f64| -> f64 {
            let others = (0..count).filter(|k| *k != j);
            others
                .map(|k| (t - nodes[k]) / (nodes[j] - nodes[k]))
                .product()
        };
        (0..count)
            .map(|j| integrate(&|t| basis(j, t)) / (rhos[i + 1] - rhos[i]))
            .collect()
    }

    /// By the trapezoidal rule in ln ρ with Romberg's extrapolation.
    fn exact(&self, rhos: &[f64], i: usize, count: usize) -> Vec<f64> {
        let (from, to) = (rhos[i].ln(), rhos[i + 1].ln());
        self.weights(rhos, i, count, |basis| {
            let f = |v: f64| basis(self.time(v.exp())) * v.exp();
            let trapezoidal = |n: usize| {
                let inner: f64 = (1..n)
                    .map(|k| f(from + (to - from) * k as f64 / n as f64))
                    .sum();
                (to - from) / n as f64 * (inner + 0.5 * (f(from) + f(to)))
            };
            let mut row: Vec<f64> = (0..9).map(|level| trapezoidal(8 << level)).collect();
            for column in 1..9 {
                let factor = f64::powi(4.0, column);
                row = row
                    .windows(2)
                    .map(|pair| pair[1] + (pair[1] - pair[0]) / (factor - 1.0))
                    .collect();
            }
            row[0]
        })
    }

    /// ComfyUI's sum of 10,000 terms in T.
    fn sum(&self, rhos: &[f64], i: usize, count: usize) -> Vec<f64> {
        let (from, to) = (self.time(rhos[i]), self.time(rhos[i + 1]));
        self.weights(rhos, i, count, |basis| {
            const N: usize = 10_000;
            let term = |k: usize| {
                let t = from + (to - from) * k as f64 / (N as f64 - 1.0);
                basis(t) * self.slope(t)
            };
            (0..N).map(term).sum::<f64>() * (to - from) / N as f64
        })
    }
}

/// Nearly even steps in flow time, from 0.95 to 0.05 or to 0, on schedules of every kind. On a Karras
/// grid the first steps in flow time are so short that not all knots may enter.
fn even_in_flow_time(steps: usize, clean: bool) -> Result<Vec<Scheduled>, Error> {
    let knots = if clean { steps } else { steps + 1 };
    let lambda = |k: usize| {
        let time = 0.95 - 0.9 * (k as f64 / knots as f64).powf(1.1);
        ((1.0 - time) / time).ln()
    };
    let mut lambdas: Vec<f64> = (0..knots).map(lambda).collect();
    if clean {
        lambdas.push(f64::INFINITY);
    }
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(RectifiedFlow::shifted(3.0)?),
        Box::new(VariancePreserving::default()),
        Box::new(Edm::default()),
    ];
    schedules
        .into_iter()
        .map(|schedule| {
            let grid = Grid::from_lambdas(&schedule, &lambdas)?;
            Ok((schedule, grid))
        })
        .collect()
}

fn check(
    solver: &dyn Solver,
    (coordinates, order, extrapolated): (Coordinates, usize, bool),
    rule: Rule<'_>,
    tolerance: f64,
) -> Outcome {
    for steps in [1, 2, 5, 12] {
        for clean in [true, false] {
            let paths = match coordinates {
                Coordinates::Edm => paths(steps, clean)?,
                Coordinates::Flow => even_in_flow_time(steps, clean)?,
            };
            for (schedule, grid) in paths {
                let path = Path::new(&schedule, &grid)?;
                let start = 0.7 * grid.start().sigma();
                let ours = states(&path, solver, start)?;
                let theirs = recurrence(&path, (coordinates, order, extrapolated), rule, start);
                let place = format!("{solver:?}, {schedule:?}, {steps} steps");
                assert_close(&ours, &theirs, tolerance, &place);
            }
        }
    }
    Ok(())
}

#[test]
fn lms_is_k_diffusions_recurrence() -> Outcome {
    for order in 1..=4 {
        let solver = LinearMultistep::order(order)?;
        check(&solver, (Coordinates::Edm, order, false), &lms, 1e-12)?;
        let flow = solver.in_flow_time();
        check(&flow, (Coordinates::Flow, order, false), &lms, 1e-12)?;
    }
    // k-diffusion's and diffusers' own last step.
    for order in 2..=4 {
        let solver = LinearMultistep::order(order)?.extrapolated_end();
        check(&solver, (Coordinates::Edm, order, true), &lms, 1e-12)?;
    }
    Ok(())
}

#[test]
fn ipndm_is_the_published_recurrence() -> Outcome {
    for order in 1..=4 {
        let solver = Ipndm::order(order)?;
        let edm = (Coordinates::Edm, order, false);
        let flow = (Coordinates::Flow, order, false);
        check(&solver, edm, &adams_bashforth, 1e-12)?;
        check(&solver.in_flow_time(), flow, &adams_bashforth, 1e-12)?;
        let extrapolated = (Coordinates::Edm, order, true);
        check(
            &solver.extrapolated_end(),
            extrapolated,
            &adams_bashforth,
            1e-12,
        )?;
        check(&solver.variable_steps(), edm, &lms, 1e-12)?;
        let published = solver.variable_steps_as_published();
        check(&published, edm, &published_variable, 1e-12)?;
        check(&published.in_flow_time(), flow, &published_variable, 1e-12)?;
    }
    Ok(())
}

#[test]
fn published_variable_steps_are_not_those_of_adams_and_bashforth() {
    // Even steps: order 3 is right, order 4 has 11/24 of the third difference in place of 9/24.
    let even = [5.0, 4.0, 3.0, 2.0, 1.0];
    let third = published_variable(&even, 3, 3);
    for (found, right) in third.iter().zip(adams_bashforth(&even, 3, 3)) {
        assert!((found - right).abs() < 1e-14);
    }
    let fourth = published_variable(&even, 3, 4);
    for (k, difference) in [1.0, -3.0, 3.0, -1.0].into_iter().enumerate() {
        let right = adams_bashforth(&even, 3, 4)[k];
        assert!((fourth[k] - right - difference / 12.0).abs() < 1e-14);
    }
    // Uneven: order 3 is off too.
    let uneven = [8.0, 4.0, 2.0, 1.0, 0.5];
    let off = published_variable(&uneven, 3, 3)[0] - lms(&uneven, 3, 3)[0];
    assert!(off.abs() > 0.1, "{off}");
    let sum = |taus: &[f64]| published_variable(taus, 3, 4).iter().sum::<f64>();
    assert!((sum(&uneven) - 1.0).abs() < 1e-14);
    assert!((sum(&[8.0, 5.0, 3.0, 2.0, 1.0]) - 1.0).abs() > 0.005);
}

#[test]
fn diffusers_ipndm_is_the_same_on_its_own_grid() -> Outcome {
    // Levels σ = sin²(πu/2), α = √(1 − σ²); velocity outputs make E = σx + αv, and
    // x' = α'(x − σE')/α + σ'E'. It divides by max(α, 1e-8) at α = 0, which is left out here.
    let steps = 9;
    let level = |k: usize| {
        let sine = (0.5 * std::f64::consts::PI * (steps - k) as f64 / steps as f64).sin();
        let sigma = sine * sine;
        NoiseLevel::new((steps - k) as f64, (1.0 - sigma * sigma).sqrt(), sigma)
    };
    let levels: Vec<NoiseLevel> = (1..=steps).map(level).collect::<Result<_, _>>()?;
    let grid = Grid::from_levels(levels, 1.0)?;
    let path = Path::without_schedule(&grid);
    let ours = states(&path, &Ipndm::order(4)?.extrapolated_end(), 0.6)?;
    let (mut x, mut slopes, mut theirs) = (0.6, Vec::new(), Vec::new());
    for (i, (from, to)) in path.edges().enumerate() {
        let d = denoise(x, &from);
        let noise = (x - from.alpha() * d) / from.sigma();
        let v = from.alpha() * noise - from.sigma() * d;
        slopes.insert(0, from.sigma() * x + from.alpha() * v);
        let weights = adams_bashforth(&[], i, (i + 1).min(4));
        let e: f64 = weights.iter().zip(&slopes).map(|(w, e)| w * e).sum();
        x = to.alpha() * (x - from.sigma() * e) / from.alpha() + to.sigma() * e;
        theirs.push(x);
    }
    assert_close(&ours, &theirs, 1e-12, "IPNDMScheduler");
    Ok(())
}

#[test]
fn gradient_estimation_is_the_published_recurrence() -> Outcome {
    for gamma in [2.0, 1.0, 1.5, -0.5] {
        let rule = |_: &[f64], _: usize, count: usize| match count {
            1 => vec![1.0],
            _ => vec![gamma, 1.0 - gamma],
        };
        let solver = GradientEstimation::new().with_gamma(gamma)?;
        check(&solver, (Coordinates::Edm, 2, false), &rule, 1e-12)?;
        let flow = solver.in_flow_time();
        check(&flow, (Coordinates::Flow, 2, false), &rule, 1e-12)?;
    }
    Ok(())
}

#[test]
fn deis_is_the_published_integral() -> Outcome {
    let time = EdmToTime::new();
    let exact = |taus: &[f64], i: usize, count: usize| time.exact(taus, i, count);
    for order in 1..=4 {
        let solver = Deis::tab(order)?;
        check(&solver, (Coordinates::Edm, order, false), &exact, 1e-11)?;
        let flow = solver.in_flow_time();
        check(&flow, (Coordinates::Flow, order, false), &exact, 1e-11)?;
    }
    Ok(())
}

#[test]
fn a_sum_of_ten_thousand_terms_is_near_the_integrals_of_deis() -> Outcome {
    let (edm, time) = (Edm::default(), EdmToTime::new());
    let mut worst = 0.0f64;
    for steps in [10, 18, 40] {
        let grid = Grid::karras(&edm, steps, edm.lambda_range(), 7.0)?;
        let rhos: Vec<f64> = grid.levels().iter().map(NoiseLevel::rho).collect();
        for i in 1..steps - 1 {
            let count = (i + 1).min(3);
            let pairs = time.exact(&rhos, i, count);
            let sums = time.sum(&rhos, i, count);
            for (a, b) in pairs.iter().zip(&sums) {
                worst = worst.max((a - b).abs());
            }
        }
    }
    assert!((1e-5..4e-5).contains(&worst), "{worst:e}");
    Ok(())
}

#[test]
fn order_one_is_ddim() -> Outcome {
    let solvers: [Box<dyn Solver>; 5] = [
        Box::new(LinearMultistep::order(1)?),
        Box::new(LinearMultistep::order(1)?.in_flow_time()),
        Box::new(Deis::tab(1)?),
        Box::new(Ipndm::order(1)?),
        Box::new(GradientEstimation::new().with_gamma(1.0)?),
    ];
    for (schedule, grid) in paths(7, true)? {
        let path = Path::new(&schedule, &grid)?;
        let ddim = FirstOrder::ddim().plan(&path)?;
        for solver in &solvers {
            let plan = solver.plan(&path)?;
            for (a, b) in plan.stages().zip(ddim.stages()) {
                assert_eq!(a.update.state, b.update.state);
                assert_eq!(a.update.data, b.update.data);
                assert!(a.update.history.is_empty());
            }
        }
    }
    Ok(())
}

#[test]
fn ipndm_of_order_two_is_gradient_estimation_at_three_halves() -> Outcome {
    for (schedule, grid) in paths(7, true)? {
        let path = Path::new(&schedule, &grid)?;
        let gradient = GradientEstimation::new().with_gamma(1.5)?;
        assert_eq!(Ipndm::order(2)?.plan(&path)?, gradient.plan(&path)?);
        assert_eq!(gradient.order(), 2);
    }
    Ok(())
}

#[test]
fn pure_noise_is_a_knot_in_flow_time_alone() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let path = Path::new(&flow, &grid)?;
    let read = |solver: &dyn Solver| -> Result<Vec<usize>, Error> {
        let plan = solver.plan(&path)?;
        Ok(plan
            .stages()
            .map(|stage| stage.update.history.len())
            .collect())
    };
    assert_eq!(read(&LinearMultistep::order(4)?)?, [0, 0, 1, 0]);
    assert_eq!(
        read(&LinearMultistep::order(4)?.in_flow_time())?,
        [0, 1, 2, 0]
    );
    assert_eq!(
        read(&LinearMultistep::order(4)?.extrapolated_end())?,
        [0, 0, 1, 2]
    );
    Ok(())
}

#[test]
fn near_knots_do_not_both_enter() -> Outcome {
    // A tiny step between long ones: the knot before it serves.
    let levels = [8.0, 4.0, 2.0, 2.0 - 1e-9, 1.0, 0.5]
        .into_iter()
        .enumerate()
        .map(|(k, sigma)| NoiseLevel::new(9.0 - k as f64, 1.0, sigma))
        .collect::<Result<_, _>>()?;
    let grid = Grid::from_levels(levels, 64.0)?;
    let path = Path::without_schedule(&grid);
    let solvers: [Box<dyn Solver>; 3] = [
        Box::new(LinearMultistep::order(3)?),
        Box::new(Deis::tab(3)?),
        Box::new(Ipndm::order(3)?.variable_steps_as_published()),
    ];
    for solver in solvers {
        let plan = solver.plan(&path)?;
        for (k, stage) in plan.stages().enumerate() {
            for (_, weight) in &stage.update.history {
                assert!(weight.abs() < 30.0, "{solver:?}, step {k}: {weight}");
            }
        }
        // Step 3 starts at 2 − 1e-9: of the knots 2 and 4 the former is too near.
        let read = plan.steps()[3].stages[0].update.history.len();
        assert_eq!(read, 1, "{solver:?}");
    }
    Ok(())
}

#[test]
fn options_out_of_range_are_refused() {
    for order in [0, 5, usize::MAX] {
        assert!(LinearMultistep::order(order).is_err());
        assert!(Deis::tab(order).is_err());
        assert!(matches!(
            Ipndm::order(order),
            Err(Error::InvalidParameter { name: "order", .. })
        ));
    }
    for gamma in [f64::NAN, f64::INFINITY, -2e9] {
        assert!(matches!(
            GradientEstimation::new().with_gamma(gamma),
            Err(Error::InvalidParameter { name: "gamma", .. })
        ));
    }
}
