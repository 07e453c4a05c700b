//! Accuracy on random grids: what a run gives, what its f64 twin gives and what the moments say agree
//! within what rounding allows; data that are one point, and data without end, come out exactly; a
//! knot beside another makes no result worse than first order; every option has its order.
//!
//! `accuracy [--grids N] [--seed S] [--solvers N] [--threads N] [--case N]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use diffusion_sampler::oracle::Gaussian;
use diffusion_sampler::plan::Plan;
use diffusion_sampler::schedule::{Edm, NoiseSchedule, RectifiedFlow, VariancePreserving};
use diffusion_sampler::solver::{FirstOrder, Path, Solver};
use diffusion_sampler::testing::AnySchedule;
use diffusion_sampler::{Error, Grid, NoiseLevel, Prediction, RunError, Sampler};
use reliability::accuracy::grids::{self, Drawn};
use reliability::accuracy::random::Random;
use reliability::accuracy::reference::{Direction, Reference, Row, Unit};
use reliability::accuracy::runs::run;
use reliability::accuracy::solvers::{self, First, Listed};

/// How much more than the first-order bound is accepted: what is of second order is less than the
/// first, wherever the bound is small beside the result.
const SECOND_ORDER: f64 = 2.0;

/// A bound above this share of the largest number on the way says that rounding is all there is: an
/// unbounded solver over the next number in f64, a noise form over e^30. It is counted, not compared.
const MEANINGFUL: f64 = 0.1;

/// A mean of 0 is compared too: the bound is then that of underflow.
const NOTHING: f64 = 1e-37;

/// What a knot beside another may make of the result's error: a factor on the larger of first
/// order's error and that of the same solver without the knot.
///
/// Estimates within a sixteenth of a step of one another are never differenced. So a rule on the knots
/// that are left has a weight of at most 1/(2/16) = 8 steps on the change of D over a sixteenth of
/// one, which is half of the change over a whole step: the interpolant is off by no more than that
/// of the knots without it, and by no more than a few changes of D over a step, which is first
/// order's error.
const WORSE: f64 = 4.0;

/// The same where a noise form with noise loses to first order without the knot already: no error of
/// another kind.
const MUCH_WORSE: f64 = 100.0;

/// What a knot beside another may make of the model's errors, by the order of the solver: the sum of
/// |w| of the Adams rule on nodes a sixteenth of a step apart, over that of first order, which is 1.
/// For orders 1 to 4: 1, 1 + 2·8, and so on; see `nearest_weights`.
fn amplified(order: usize) -> f64 {
    let nodes: Vec<f64> = (0..order).map(|k| -(k as f64) / 16.0).collect();
    (0..order).map(|j| lagrange_integral(&nodes, j).abs()).sum()
}

/// ∫₀¹ l_j, by Gauss–Legendre with three nodes, exact to degree five.
fn lagrange_integral(nodes: &[f64], j: usize) -> f64 {
    let x = 0.6f64.sqrt();
    let at = |u: f64| -> f64 {
        let others = nodes.iter().enumerate().filter(|(k, _)| *k != j);
        others
            .map(|(_, node)| (u - node) / (nodes[j] - node))
            .product()
    };
    (5.0 * at(0.5 - 0.5 * x) + 8.0 * at(0.5) + 5.0 * at(0.5 + 0.5 * x)) / 18.0
}

/// What was counted.
#[derive(Clone, Debug, Default)]
struct Tally {
    counts: BTreeMap<&'static str, u64>,
    worst: BTreeMap<&'static str, (f64, String)>,
    /// The solvers that are worse than first order where no knot lies beside another.
    worse: BTreeMap<String, u64>,
    findings: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn ratio(&mut self, what: &'static str, ratio: f64, case: impl FnOnce() -> String) {
        match self.worst.get_mut(what) {
            Some(worst) if ratio <= worst.0 => {}
            Some(worst) => *worst = (ratio, case()),
            None => {
                self.worst.insert(what, (ratio, case()));
            }
        }
    }

    fn join(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (what, (ratio, case)) in other.worst {
            self.ratio(what, ratio, || case);
        }
        for (name, count) in other.worse {
            *self.worse.entry(name).or_default() += count;
        }
        self.findings.extend(other.findings);
    }
}

/// One thing that does not hold: the check, by how much, and the numbers.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    text: String,
}

/// One solver on one grid with one set of directions.
#[derive(Clone, Debug)]
struct Pair<'a> {
    listed: &'a Listed,
    drawn: Drawn,
    directions: Vec<Direction>,
    prediction: Prediction,
}

fn path(drawn: &Drawn) -> Result<Path<'_>, Error> {
    match &drawn.schedule {
        Some(schedule) => Path::new(schedule, &drawn.grid),
        None => Ok(Path::without_schedule(&drawn.grid)),
    }
}

/// |ln α| + |ln σ|, of what is finite.
fn logarithms(level: &NoiseLevel) -> f64 {
    let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
    finite(level.log_alpha()) + finite(level.log_sigma())
}

impl Pair<'_> {
    /// What does not hold.
    fn check(&self, tally: &mut Tally) -> Vec<Finding> {
        let mut found = Vec::new();
        let path = match path(&self.drawn) {
            Ok(path) => path,
            Err(error) => {
                return vec![Finding {
                    check: "path",
                    text: format!("a grid of its own schedule is refused: {error}"),
                }];
            }
        };
        let plan = match self.listed.solver.plan(&path) {
            Ok(plan) => plan,
            Err(error) if self.listed.may_refuse(&error) => {
                tally.count("documented refusals");
                return found;
            }
            Err(error) => {
                return vec![Finding {
                    check: "refusal",
                    text: format!("not documented: {error}"),
                }];
            }
        };
        tally.count("plans");
        let sampler = match Sampler::from_plan(plan, 1.0) {
            Ok(sampler) => sampler,
            Err(error) => {
                return vec![Finding {
                    check: "sampler",
                    text: error.to_string(),
                }];
            }
        };
        let plan = sampler.plan();
        let start = plan.start();
        // Squares of what lies beyond underflow or overflow, here as there.
        let beyond = |x: f64| x != 0.0 && !(1e-140..=1e140).contains(&x);
        let outside = |level: &NoiseLevel| beyond(level.alpha()) || beyond(level.sigma());
        if self.drawn.grid.levels().iter().any(outside) {
            tally.count("levels beyond 1e-140 to 1e140: planned only");
            return found;
        }
        let references: Vec<Reference> = self
            .directions
            .iter()
            .map(|direction| Reference::new(plan, *direction))
            .collect();
        self.moments(plan, &start, &references, tally, &mut found);
        self.runs(&sampler, &start, &references, tally, &mut found);
        self.exact(plan, &start, &references, tally, &mut found);
        found
    }

    fn data(&self) -> Result<Gaussian, Error> {
        let means: Vec<f64> = self.directions.iter().map(|d| d.mean).collect();
        let variances: Vec<f64> = self.directions.iter().map(|d| d.variance).collect();
        Gaussian::diagonal(&means, &variances)
    }

    fn moments(
        &self,
        plan: &Plan,
        start: &NoiseLevel,
        references: &[Reference],
        tally: &mut Tally,
        found: &mut Vec<Finding>,
    ) {
        let start_variances: Vec<f64> = self
            .directions
            .iter()
            .map(|d| start.marginal_variance(d.variance))
            .map(|v| if v < 1e-60 { 0.0 } else { v })
            .collect();
        let start_means: Vec<f64> = self
            .directions
            .iter()
            .map(|d| start.alpha() * d.mean)
            .collect();
        let (Ok(data), Ok(initial)) = (
            self.data(),
            Gaussian::diagonal(&start_means, &start_variances),
        ) else {
            tally.count("directions out of the oracle's range");
            return;
        };
        let states = match plan.moments(&data, &initial) {
            Ok(states) => states,
            Err(Error::InvalidEntry { value, .. }) if !(value.abs() <= 1e30) => {
                tally.count("moments beyond 1e30");
                return;
            }
            Err(error) => {
                found.push(Finding {
                    check: "moments",
                    text: error.to_string(),
                });
                return;
            }
        };
        for (step, state) in states.iter().enumerate() {
            let bad = |v: &f64| !(v.is_finite() && *v >= 0.0);
            if state.variances().iter().any(bad) || !state.mean().iter().all(|m| m.is_finite()) {
                found.push(Finding {
                    check: "variance",
                    text: format!("step {step}: {:?} {:?}", state.mean(), state.variances()),
                });
            }
        }
        let Some(last) = states.last() else { return };
        for (axis, reference) in references.iter().enumerate() {
            let (deviation, bound, largest) = reference.deviation(start_variances[axis].sqrt());
            let at_mean = Row {
                start: start_means[axis],
                noise: 0,
            };
            let of_mean = reference.row(at_mean, Prediction::Data);
            let (mean, mean_bound) = (of_mean.state, of_mean.bounds[0]);
            if !(deviation.is_finite() && bound.is_finite() && mean.value().is_finite()) {
                tally.count("beyond f64");
                continue;
            }
            if !(bound <= MEANINGFUL * largest + NOTHING
                && mean_bound <= MEANINGFUL * of_mean.largest[0] + NOTHING)
            {
                tally.count("bounds of moments above a tenth of the largest term");
                continue;
            }
            let off = (last.variances()[axis] - deviation * deviation).abs();
            let allowed = 2.0 * deviation * bound + bound * bound + 1e-60;
            tally.ratio("moments, variance", off / allowed, || self.brief(axis));
            if !(off <= SECOND_ORDER * allowed) {
                found.push(Finding {
                    check: "moments, variance",
                    text: format!(
                        "{:e} in place of {:e}: off by {off:e}, bound {allowed:e}",
                        last.variances()[axis],
                        deviation * deviation
                    ),
                });
            }
            let off = mean.less(last.mean()[axis]).abs();
            let allowed = mean_bound + 1e-320;
            tally.ratio("moments, mean", off / allowed, || self.brief(axis));
            if !(off <= SECOND_ORDER * allowed) {
                found.push(Finding {
                    check: "moments, mean",
                    text: format!(
                        "{:e} in place of {:e}: off by {off:e}, bound {allowed:e}",
                        last.mean()[axis],
                        mean.value()
                    ),
                });
            }
        }
        tally.count("moments");
    }

    /// The rows of a run: at the mean, beside it, and with noise; all are f32s.
    fn rows(&self, start: &NoiseLevel) -> Vec<Vec<Row>> {
        let single = |x: f64| f64::from(x as f32);
        [(0.0, 0), (1.0, 0), (-0.5, 7)]
            .iter()
            .map(|&(share, noise)| {
                let row = |d: &Direction| Row {
                    start: single(
                        start.alpha() * d.mean + share * start.marginal_variance(d.variance).sqrt(),
                    ),
                    noise,
                };
                self.directions.iter().map(row).collect()
            })
            .collect()
    }

    fn runs(
        &self,
        sampler: &Sampler,
        start: &NoiseLevel,
        references: &[Reference],
        tally: &mut Tally,
        found: &mut Vec<Finding>,
    ) {
        let rows = self.rows(start);
        let Ok(data) = self.data() else { return };
        if rows.iter().flatten().any(|row| !(row.start.abs() <= 1e30)) {
            tally.count("starts beyond 1e30");
            return;
        }
        let outcomes: Vec<Vec<_>> = rows
            .iter()
            .map(|row| {
                let each = references.iter().zip(row);
                each.map(|(reference, row)| reference.row(*row, self.prediction))
                    .collect()
            })
            .collect();
        let largest = [0, 1].map(|kind| {
            let all = outcomes.iter().flatten().map(|o| o.largest[kind]);
            all.fold(0.0, |most, size| if size <= most { most } else { size })
        });
        let states = [
            run::<f64>(sampler, &data, self.prediction, &rows),
            run::<f32>(sampler, &data, self.prediction, &rows),
        ];
        let names = ["run in f64", "run in f32"];
        let units = [Unit::DOUBLE, Unit::SINGLE];
        for (kind, state) in states.into_iter().enumerate() {
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    if self.explained(&error, sampler.plan(), largest[kind], &units[kind]) {
                        tally.count("runs refused, out of range");
                    } else {
                        found.push(Finding {
                            check: names[kind],
                            text: error.to_string(),
                        });
                    }
                    continue;
                }
            };
            tally.count("runs");
            for ((r, axis), &value) in state.indexed_iter() {
                let outcome = &outcomes[r][axis];
                let (off, allowed) = (outcome.state.less(value).abs(), outcome.bounds[kind]);
                if !value.is_finite() {
                    found.push(Finding {
                        check: names[kind],
                        text: format!("{value} out of a run that is Ok"),
                    });
                }
                if !(outcome.state.value().is_finite() && allowed.is_finite()) {
                    tally.count("beyond f64");
                    continue;
                }
                let meaningful = allowed <= MEANINGFUL * outcome.largest[kind] + NOTHING;
                if !meaningful {
                    tally.count("bounds above a tenth of the largest number");
                    continue;
                }
                tally.ratio(names[kind], off / allowed, || self.brief(axis));
                if !(off <= SECOND_ORDER * allowed) {
                    found.push(Finding {
                        check: names[kind],
                        text: format!(
                            "row {r}: {value:e} in place of {:e}: off by {off:e}, bound {allowed:e}",
                            outcome.state.value()
                        ),
                    });
                }
            }
        }
    }

    /// Whether an error of a run names what is out of range.
    fn explained(&self, error: &RunError<Error>, plan: &Plan, largest: f64, unit: &Unit) -> bool {
        let error = match error {
            RunError::Denoiser(error) | RunError::Sampler(error) => error,
            _ => return false,
        };
        let levels = || plan.stages().filter_map(|stage| stage.evaluate);
        match error {
            Error::InvalidEntry { value, .. } => !(value.abs() <= 1e30),
            Error::InvalidParameter { value, .. } => !(1e-30..=1e30).contains(value),
            Error::PredictionUndefined { .. } | Error::ConversionOverflow { .. } => {
                self.prediction != Prediction::Data
                    && levels().any(|level| !(1e-30..1e30).contains(&level.rho()))
            }
            Error::CoefficientOverflow { value, .. } => !(value.abs() <= unit.largest),
            Error::NonFinite { .. } => !(largest * 8.0 <= unit.largest),
            _ => false,
        }
    }

    /// Data of one point keep the noise of every level; data without end are scaled by α.
    fn exact(
        &self,
        plan: &Plan,
        start: &NoiseLevel,
        references: &[Reference],
        tally: &mut Tally,
        found: &mut Vec<Finding>,
    ) {
        let end = plan.end();
        let unbounded = matches!(self.listed.first, First::Exempt(solvers::PUBLISHED));
        let kept = self.listed.keeps_points && !self.listed.inverts && !unbounded;
        if !kept || start.sigma() == 0.0 {
            return;
        }
        // h is a difference of logarithms, each right to a unit of its own.
        let logs = |step: usize| {
            let step = &plan.steps()[step];
            let inner = step
                .stages
                .iter()
                .filter_map(|stage| stage.evaluate.as_ref());
            let logs = [&step.from, &step.to]
                .into_iter()
                .chain(inner)
                .map(logarithms);
            8.0 + logs.fold(0.0, f64::max)
        };
        let units = |step: usize| {
            let edge = &plan.steps()[step];
            let stretch = edge.to.alpha() / edge.from.alpha();
            let least = if self.listed.weighs_noise && stretch.is_finite() {
                stretch
            } else {
                0.0
            };
            (logs(step), least)
        };
        for (axis, reference) in references.iter().enumerate() {
            let direction = self.directions[axis];
            if direction.variance == 0.0 {
                let (mean, bound) = reference.mean(start.alpha() * direction.mean, units);
                let exact = end.alpha() * direction.mean;
                let off = mean.less(exact).abs();
                let allowed = bound
                    + 4.0
                        * Unit::DOUBLE.half
                        * (exact.abs()
                            + (reference.response.value() * start.alpha() * direction.mean).abs())
                    + 1e-300;
                self.compare(
                    "mean of a point",
                    (mean.value(), exact),
                    off,
                    allowed,
                    axis,
                    tally,
                    found,
                );
                let (deviation, bound, _) = reference.deviation(start.sigma());
                let most = (0..plan.steps().len()).map(logs).fold(0.0, f64::max);
                let off = (deviation - end.sigma()).abs();
                let centred = Direction {
                    mean: 0.0,
                    ..direction
                };
                let (_, scalars) = Reference::new(plan, centred).mean(start.sigma(), units);
                let allowed = bound * most / 8.0 + scalars + 1e-300;
                let values = (deviation, end.sigma());
                self.compare("noise of a point", values, off, allowed, axis, tally, found);
            }
            let far = direction.variance >= 1e56 && start.alpha() > 0.0 && start.rho() < 1e15;
            if far && !plan.is_stochastic() {
                let (response, bound) = {
                    let centred = Direction {
                        mean: 0.0,
                        ..direction
                    };
                    Reference::new(plan, centred).mean(start.alpha(), units)
                };
                let off = response.less(end.alpha()).abs();
                let values = (response.value(), end.alpha());
                let allowed = bound + 1e-300;
                self.compare("data without end", values, off, allowed, axis, tally, found);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn compare(
        &self,
        check: &'static str,
        (value, exact): (f64, f64),
        off: f64,
        allowed: f64,
        axis: usize,
        tally: &mut Tally,
        found: &mut Vec<Finding>,
    ) {
        if !(value.is_finite() && allowed.is_finite()) {
            tally.count("beyond f64");
            return;
        }
        tally.count(check);
        tally.ratio(check, off / allowed, || self.brief(axis));
        if !(off <= SECOND_ORDER * allowed) {
            found.push(Finding {
                check,
                text: format!("{value:e} in place of {exact:e}: off by {off:e}, bound {allowed:e}"),
            });
        }
    }

    fn brief(&self, axis: usize) -> String {
        let d = self.directions[axis];
        format!(
            "{}, {} steps, {}, mean {:e} variance {:e}",
            self.listed.name,
            self.drawn.grid.steps(),
            self.drawn.kind,
            d.mean,
            d.variance
        )
    }

    /// The same with fewer knots and directions, as long as the check fails.
    fn minimised(mut self, check: &'static str) -> (Self, String) {
        let fails = |pair: &Self| {
            let found = pair.check(&mut Tally::default());
            found.into_iter().find(|finding| finding.check == check)
        };
        let mut text = fails(&self).map_or(String::new(), |finding| finding.text);
        for axis in 0..self.directions.len() {
            let one = Self {
                directions: vec![self.directions[axis]],
                ..self.clone()
            };
            if let Some(finding) = fails(&one) {
                text = finding.text;
                self = one;
                break;
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for knot in 0..self.drawn.grid.levels().len() {
                let mut levels = self.drawn.grid.levels().to_vec();
                levels.remove(knot);
                let Ok(grid) = Grid::from_levels(levels, self.drawn.grid.start_variance()) else {
                    continue;
                };
                let drawn = Drawn {
                    grid,
                    ..self.drawn.clone()
                };
                let fewer = Self {
                    drawn,
                    ..self.clone()
                };
                if let Some(finding) = fails(&fewer) {
                    text = finding.text;
                    self = fewer;
                    changed = true;
                    break;
                }
            }
        }
        (self, text)
    }

    fn describe(&self) -> String {
        let levels: Vec<String> = self
            .drawn
            .grid
            .levels()
            .iter()
            .map(|l| format!("({:?}, {:?}, {:?})", l.time(), l.log_alpha(), l.log_sigma()))
            .collect();
        format!(
            "{:?} on {:?}, levels (time, ln α, ln σ) [{}], {:?}, {}",
            self.listed.solver,
            self.drawn.schedule,
            levels.join(", "),
            self.directions,
            self.prediction
        )
    }
}

/// Directions of all sizes beside the grid's levels.
fn directions(random: &mut Random, grid: &Grid) -> Vec<Direction> {
    (0..3)
        .map(|_| {
            let level = grid.levels()[random.below(grid.levels().len())];
            let rho = level.rho();
            let rho = if rho.is_finite() && rho > 0.0 {
                rho
            } else {
                1.0
            };
            let variance = match random.below(8) {
                0 | 1 => 0.0,
                2 => 1e56,
                3 => random.decade(-40.0, 40.0),
                4 => rho * rho * random.decade(-1.0, 1.0),
                5 => rho * rho * random.decade(-8.0, 8.0),
                _ => random.decade(-3.0, 3.0),
            };
            let variance = if variance < 1e-60 {
                0.0
            } else {
                variance.min(1e60)
            };
            let mean = match random.below(4) {
                0 => 0.0,
                1 => random.sign() * random.decade(-12.0, 12.0),
                _ => random.between(-3.0, 3.0),
            };
            Direction { mean, variance }
        })
        .collect()
}

fn prediction(random: &mut Random) -> Prediction {
    match random.below(16) {
        0 => Prediction::Noise,
        1 => Prediction::Velocity,
        2 => Prediction::Flow,
        3 => Prediction::Score,
        4 => Prediction::Edm {
            data_std: random.decade(-1.0, 1.0),
        },
        5 => Prediction::Linear {
            data: 1.0,
            noise: -1.0,
        },
        _ => Prediction::Data,
    }
}

/// One grid on some of the solvers.
fn case(number: u64, settings: &Settings, list: &[Listed], tally: &mut Tally) {
    let mut random = Random::new(
        settings
            .seed
            .wrapping_add(number.wrapping_mul(0x51_7C_C1_B7)),
    );
    let Some(drawn) = (0..64).find_map(|_| grids::any(&mut random)) else {
        tally
            .findings
            .push(format!("case {number}: no grid in 64 draws"));
        return;
    };
    tally.count("grids");
    let directions = directions(&mut random, &drawn.grid);
    let prediction = prediction(&mut random);
    let first = number as usize * settings.solvers;
    for offset in 0..settings.solvers {
        let pair = Pair {
            listed: &list[(first + offset) % list.len()],
            drawn: drawn.clone(),
            directions: directions.clone(),
            prediction,
        };
        let found = pair.check(tally);
        let mut seen: Vec<&str> = Vec::new();
        for finding in found {
            if seen.contains(&finding.check) {
                continue;
            }
            seen.push(finding.check);
            let (least, text) = pair.clone().minimised(finding.check);
            tally.findings.push(format!(
                "case {number}, {}: {}: {text}\n    {}",
                pair.listed.name,
                finding.check,
                least.describe()
            ));
        }
    }
    if number.is_multiple_of(4) {
        for offset in 0..2 {
            let place = (number as usize / 4) * 2 + offset;
            beside_another(number, &list[place % list.len()], &mut random, tally);
        }
    }
    if number.is_multiple_of(14) {
        order(
            number,
            &list[(number as usize / 14) % list.len()],
            &mut random,
            tally,
        );
    }
}

const SPECTRUM: [f64; 4] = [0.05, 0.3, 1.0, 3.0];

/// How far the variances are off, relatively: at the end, and the most at any knot.
fn off(plan: &Plan) -> Result<[f64; 2], Error> {
    let data = Gaussian::diagonal(&[0.0; 4], &SPECTRUM)?;
    let states = plan.moments(&data, &data.at_level(&plan.start())?)?;
    let mut most: f64 = 0.0;
    let mut last = f64::NAN;
    for (state, step) in states.iter().zip(plan.steps()) {
        let exact = data.at_level(&step.to)?;
        let pairs = state.variances().iter().zip(exact.variances());
        last = pairs.map(|(v, w)| (v / w - 1.0).abs()).fold(0.0, f64::max);
        most = most.max(last);
    }
    Ok([last, most])
}

/// The largest sum of the model's errors in the result.
fn amplification(plan: &Plan) -> f64 {
    let of = |&variance: &f64| {
        let direction = Direction {
            mean: 0.0,
            variance,
        };
        Reference::new(plan, direction).model_error
    };
    SPECTRUM.iter().map(of).fold(0.0, f64::max)
}

/// The grid of a list of λ; neighbours that rounding made one knot are one.
fn of_lambdas(schedule: Option<&AnySchedule>, lambdas: &[f64]) -> Result<Drawn, Error> {
    let mut levels: Vec<NoiseLevel> = Vec::with_capacity(lambdas.len());
    for (k, &lambda) in lambdas.iter().enumerate() {
        let level = match schedule {
            Some(schedule) => schedule.level(schedule.time_of_lambda(lambda)?)?,
            None => grids::preserving((lambdas.len() - k) as f64, lambda)?,
        };
        if levels
            .last()
            .is_none_or(|last| level.lambda() > last.lambda())
        {
            levels.push(level);
        }
    }
    Ok(Drawn {
        schedule: schedule.cloned(),
        grid: Grid::from_levels(levels, 1.0)?,
        kind: "easy",
    })
}

/// A knot beside another makes nothing worse than first order.
fn beside_another(number: u64, listed: &Listed, random: &mut Random, tally: &mut Tally) {
    let ddim = FirstOrder::ddim();
    let first: &dyn Solver = match &listed.first {
        First::Exempt(_) => return,
        First::Ddim => &ddim,
        First::Of(solver) => solver,
    };
    let schedule = match random.below(4) {
        0 => None,
        1 => Some(AnySchedule::new(
            "VariancePreserving::default()",
            VariancePreserving::default(),
        )),
        2 => Edm::new(1e-5, 1e5)
            .ok()
            .map(|edm| AnySchedule::new("Edm::new(1e-5, 1e5)?", edm)),
        _ => Some(AnySchedule::new(
            "RectifiedFlow::new()",
            RectifiedFlow::new(),
        )),
    };
    let mut lambdas = grids::easy(random);
    let mut more = grids::degenerate(random, &lambdas);
    if random.one_in(2) {
        lambdas.push(f64::INFINITY);
        more.push(f64::INFINITY);
    }
    let flow = schedule
        .as_ref()
        .is_some_and(|s| s.recipe().starts_with("Rect"));
    if (flow || schedule.is_none()) && random.one_in(3) {
        lambdas.insert(0, f64::NEG_INFINITY);
        more.insert(0, f64::NEG_INFINITY);
    }
    let mut stochastic = false;
    let mut measured = || -> Result<[f64; 6], Error> {
        let (plain, dense) = (
            of_lambdas(schedule.as_ref(), &lambdas)?,
            of_lambdas(schedule.as_ref(), &more)?,
        );
        let own = [
            listed.solver.plan(&path(&plain)?)?,
            listed.solver.plan(&path(&dense)?)?,
        ];
        let base = [first.plan(&path(&plain)?)?, first.plan(&path(&dense)?)?];
        stochastic = own[0].is_stochastic();
        Ok([
            off(&own[0])?[1],
            off(&own[1])?[1],
            off(&base[0])?[1].max(off(&base[1])?[1]),
            amplification(&own[0]),
            amplification(&own[1]),
            amplification(&base[0]).max(amplification(&base[1])),
        ])
    };
    let [plain, dense, base, plain_model, dense_model, base_model] = match measured() {
        Ok(values) => values,
        Err(error) if listed.may_refuse(&error) => {
            tally.count("documented refusals");
            return;
        }
        Err(error) => {
            tally.findings.push(format!(
                "case {number}, {}: beside another: {error} on {schedule:?} {more:?}",
                listed.name
            ));
            return;
        }
    };
    tally.count("knots beside another");
    let describe = || {
        format!(
            "{}: {dense:e}; without the knots {plain:e}, first order {base:e}; model's errors {dense_model:e}, without {plain_model:e}, first order {base_model:e}; {schedule:?} {more:?} against {lambdas:?}",
            listed.name
        )
    };
    if !(plain <= WORSE * base) {
        tally.count("easy grids on which a solver is worse than four times first order");
        *tally.worse.entry(listed.name.clone()).or_default() += 1;
        tally.ratio(
            "easy grid, result beside first order's",
            plain / base,
            describe,
        );
    }
    // A noise form with noise weighs estimates that each hold fresh noise, and more the longer the
    // step: where it loses to first order without the knot, its error is that noise, and another
    // choice of knots another sum of it. Its documentation says so.
    let diverges = stochastic && listed.is_noise_form() && plain > base;
    let allowed = plain.max(base) + 1e-11;
    let (what, worse) = if diverges {
        (
            "knot beside another, noise forms that lose to first order",
            MUCH_WORSE,
        )
    } else {
        ("knot beside another, result", WORSE)
    };
    tally.count(what);
    tally.ratio(what, dense / allowed, describe);
    if !(dense <= worse * allowed) {
        tally.findings.push(format!(
            "case {number}: knot beside another, result: {}",
            describe()
        ));
    }
    let most = amplified(listed.solver.order().clamp(2, 4));
    let ratio = dense_model / (most * plain_model.max(base_model));
    tally.ratio("knot beside another, model's errors", ratio, describe);
    if !(ratio <= 1.0) {
        tally.findings.push(format!(
            "case {number}: knot beside another, model's errors: {}",
            describe()
        ));
    }
}

/// The order of convergence on a random smooth grid whose first steps cost nothing.
fn order(number: u64, listed: &Listed, random: &mut Random, tally: &mut Tally) {
    use solvers::{DISTILLED, EXTRA, PAIR, REPEATS, UPWARDS};
    if let First::Exempt(reason) = listed.first
        && [DISTILLED, EXTRA, PAIR, REPEATS, UPWARDS].contains(&reason)
    {
        return;
    }
    let (noisy, clean) = (random.between(-4.5, -3.5), random.between(1.0, 2.5));
    let share = random.between(0.3, 1.0);
    let schedule = match random.below(3) {
        0 => AnySchedule::new(
            "VariancePreserving::default()",
            VariancePreserving::default(),
        ),
        1 => match Edm::new(1e-5, 1e5) {
            Ok(edm) => AnySchedule::new("Edm::new(1e-5, 1e5)?", edm),
            Err(_) => return,
        },
        _ => AnySchedule::new("RectifiedFlow::new()", RectifiedFlow::new()),
    };
    let error = |steps: usize| -> Result<f64, Error> {
        let lambdas: Vec<f64> = (0..=steps)
            .map(|k| {
                let u = k as f64 / steps as f64;
                let g = u * u * u * (share + (1.0 - share) * u);
                noisy + (clean - noisy) * g
            })
            .collect();
        let drawn = of_lambdas(Some(&schedule), &lambdas)?;
        Ok(off(&listed.solver.plan(&path(&drawn)?)?)?[0])
    };
    // Fresh noise at every step, or nearly: the noise does not fall with the steps.
    if ["fresh noise", "FirstOrder tau 1000000"].contains(&listed.name.as_str()) {
        return;
    }
    let expected = listed.solver.order() as f64;
    let mut best = f64::NEG_INFINITY;
    let mut errors = Vec::new();
    for steps in [60, 120, 240, 480, 960, 1920] {
        match error(steps) {
            Ok(error) => errors.push(error),
            Err(error) if listed.may_refuse(&error) => {
                tally.count("documented refusals");
                return;
            }
            Err(error) => {
                tally
                    .findings
                    .push(format!("case {number}, {}: order: {error}", listed.name));
                return;
            }
        }
        if let [.., coarse, fine] = errors[..] {
            // Rounding is all that is left.
            if fine < 1e-11 {
                best = best.max(expected);
            }
            best = best.max((coarse / fine).log2());
            if best >= expected - 0.25 {
                break;
            }
        }
    }
    tally.count("orders");
    let ratio = (expected - best) / 0.25;
    let describe = || {
        format!(
            "{}: order {best:.2}, documented {expected}; errors {errors:?} on {schedule:?}, λ {noisy} to {clean}, share {share}",
            listed.name
        )
    };
    tally.ratio("order", ratio, describe);
    if !(ratio <= 1.0) {
        tally
            .findings
            .push(format!("case {number}: order: {}", describe()));
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Settings {
    grids: u64,
    seed: u64,
    solvers: usize,
    threads: usize,
    case: Option<u64>,
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        grids: 10_000,
        seed: 1,
        solvers: 12,
        threads: 2,
        case: None,
    };
    reliability::arguments(|name, number| {
        match name {
            "--grids" => settings.grids = number,
            "--seed" => settings.seed = number,
            "--solvers" => settings.solvers = number as usize,
            "--threads" => settings.threads = (number as usize).clamp(1, 64),
            "--case" => settings.case = Some(number),
            _ => return false,
        }
        true
    })?;
    Ok(settings)
}

/// How many findings are printed.
const PRINTED: usize = 60;

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (list, unknown) = match solvers::all() {
        Ok(all) => all,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let mut total = Tally::default();
    for name in unknown {
        total
            .findings
            .push(format!("the catalogue's {name} is unknown to this check"));
    }
    if let Some(number) = settings.case {
        case(number, &settings, &list, &mut total);
    } else {
        let next = AtomicU64::new(0);
        let work = || {
            let mut tally = Tally::default();
            loop {
                let from = next.fetch_add(16, Ordering::Relaxed);
                if from >= settings.grids {
                    return tally;
                }
                for number in from..(from + 16).min(settings.grids) {
                    case(number, &settings, &list, &mut tally);
                }
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..settings.threads).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(tally) => total.join(tally),
                    Err(_) => total.findings.push("a panic".to_owned()),
                }
            }
        });
    }
    for finding in total.findings.iter().take(PRINTED) {
        println!("{finding}");
    }
    println!("{} solvers and options, seed {}", list.len(), settings.seed);
    for (what, count) in &total.counts {
        println!("{count:>12} {what}");
    }
    for (what, (ratio, case)) in &total.worst {
        println!("largest of {what}: {ratio:.3} of what is allowed ({case})");
    }
    let mut worse: Vec<_> = total.worse.iter().collect();
    worse.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (name, count) in worse.into_iter().take(40) {
        println!("{count:>12} easy grids on which {name} is worse than four times first order");
    }
    println!(
        "{} findings, {:.1} s",
        total.findings.len(),
        begun.elapsed().as_secs_f64()
    );
    if total.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
