//! What a plan gives on Gaussian data, to thirty digits, with a bound on what rounding can make of
//! it.
//!
//! Along one direction of the data, of mean m and variance v, everything is affine: D = gx + o. So
//! the result is computed from the plan's scalars in [`Double`]s, and so is its derivative by every
//! number on the way: by the state after each stage, by each slot that is written, by each estimate.
//! These derivatives are found in one sweep backwards.
//!
//! An operation of a run that rounds to a unit u is off by u times the sum of the sizes of its terms,
//! for each of its operations. What that makes of the result is the derivative times it. The sum over
//! all operations is the bound; nothing in it is fitted. Sizes are those of the run's own numbers:
//! the exact ones and the errors so far.

use diffusion_sampler::plan::{Kept, MAX_SLOTS, Plan};
use diffusion_sampler::{NoiseLevel, Prediction};

use super::double::Double;

/// A unit of rounding: half the distance of 1 to the next number, and the least number above 0.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Half the distance of 1 to the next number.
    pub half: f64,
    /// What a product that underflows is off by.
    pub least: f64,
    /// The largest number.
    pub largest: f64,
}

impl Unit {
    /// That of f64.
    pub const DOUBLE: Self = Self {
        half: 1.110_223_024_625_156_5e-16,
        least: 5e-324,
        largest: f64::MAX,
    };
    /// That of f32.
    pub const SINGLE: Self = Self {
        half: 5.960_464_477_539_063e-8,
        least: 1.401_298_464_324_817e-45,
        largest: 3.402_823_466_385_288_6e38,
    };
}

/// One direction of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// The mean.
    pub mean: f64,
    /// The variance.
    pub variance: f64,
}

/// A start and the noise of every draw: the mean, a state beside it, and one with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// x_T.
    pub start: f64,
    /// What seeds the noise, each −1 or 1; 0 for none.
    pub noise: u64,
}

/// The noise of a row at a draw: −1, 0 or 1.
pub fn noise(row: u64, step: usize, stage: usize) -> f64 {
    if row == 0 {
        return 0.0;
    }
    let mut z = row ^ ((step as u64) << 20) ^ ((stage as u64) << 50) ^ 0x5851_F42D_4C95_7F2D;
    z = (z ^ (z >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    if z >> 63 == 0 { 1.0 } else { -1.0 }
}

/// The scalars of a stage along one direction.
#[derive(Clone, Debug)]
struct Scalars {
    state: f64,
    data: f64,
    history: Vec<(usize, f64)>,
    noise: f64,
    /// (slot, on the state, on D).
    store: Option<(usize, Double, Double)>,
    /// g and o.
    gain: Double,
    offset: Double,
    level: Option<NoiseLevel>,
    step: usize,
    stage: usize,
}

/// The derivatives of the result by what a stage writes.
#[derive(Clone, Copy, Debug, Default)]
struct Derivatives {
    state: f64,
    stored: f64,
    estimate: f64,
    slots: [f64; MAX_SLOTS],
}

/// The result of one row.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The state.
    pub state: Double,
    /// The first-order bound of a run in f64, and of one in f32.
    pub bounds: [f64; 2],
    /// The largest number on the way, of a run in f64 and of one in f32.
    pub largest: [f64; 2],
}

/// The state and the slots.
const ROWS: usize = MAX_SLOTS + 1;

/// The sizes of what a stage reads.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    state: f64,
    slots: [f64; MAX_SLOTS],
    noise: f64,
}

/// The errors of a run on the way.
///
/// How far the state and the slots themselves are off matters where that is more than their exact
/// values: what is rounded then is the error. It is at most Σ |derivative × rounding| over the n
/// roundings so far, and so at most √n times the root of the sum of squares (Cauchy and Schwarz); the
/// sums of squares are carried exactly, as a covariance is.
#[derive(Clone, Copy, Debug)]
struct Errors {
    unit: Unit,
    bound: f64,
    count: f64,
    squares: [[f64; ROWS]; ROWS],
}

impl Errors {
    fn new(unit: Unit) -> Self {
        Self {
            unit,
            bound: 0.0,
            count: 0.0,
            squares: [[0.0; ROWS]; ROWS],
        }
    }

    /// How far the state (0) or a slot can be off.
    fn of(&self, row: usize) -> f64 {
        // Squares that underflow are of no more than this.
        (self.count * self.squares[row][row].max(f64::MIN_POSITIVE)).sqrt()
    }

    /// Over a stage: the state becomes `form` of state and slots, and is rounded by `of_state`;
    /// `kept` is the slot written, its factor on the state, and its rounding.
    fn advance(&mut self, form: &[f64], of_state: f64, kept: Option<(usize, f64, f64)>) {
        let rows = form.len();
        let old = self.squares;
        let mut with = [0.0; ROWS];
        for (row, with) in with.iter_mut().enumerate().take(rows) {
            *with = (0..rows).map(|k| form[k] * old[k][row]).sum();
        }
        let own: f64 = (0..rows).map(|k| form[k] * with[k]).sum();
        // Rounding of this sum itself.
        let terms: f64 = (0..rows)
            .map(|k| form[k].abs() * old[k][k].max(0.0).sqrt())
            .sum();
        let own = own.max(0.0) + 1e-15 * terms * terms;
        let squares = &mut self.squares;
        squares[0][0] = own + of_state * of_state;
        for row in 1..rows {
            squares[0][row] = with[row];
            squares[row][0] = with[row];
        }
        if let Some((slot, factor, rounding)) = kept {
            for row in 1..rows {
                squares[slot][row] = factor * old[0][row];
                squares[row][slot] = squares[slot][row];
            }
            squares[slot][slot] = factor * factor * old[0][0] + rounding * rounding;
            squares[0][slot] = factor * with[0];
            squares[slot][0] = squares[0][slot];
        }
        self.count += 4.0;
    }
}

/// What a plan gives along one direction.
#[derive(Clone, Debug)]
pub struct Reference {
    stages: Vec<Scalars>,
    derivatives: Vec<Derivatives>,
    slots: usize,
    direction: Direction,
    /// dx_K/dx_0.
    pub response: Double,
    /// Σ (dx_K/dz)² over all draws.
    pub noise: Double,
    /// What one unit of the model's error (in units of wσ/s, as [`Plan::stability`] has them) at
    /// every evaluation adds up to in the result, divided by s there.
    pub model_error: f64,
}

/// αv/(α²v + σ²) and mσ²/(α²v + σ²).
fn estimate(direction: &Direction, level: &NoiseLevel) -> (Double, Double) {
    let (alpha, sigma) = (Double::of(level.alpha()), Double::of(level.sigma()));
    let (v, mean) = (Double::of(direction.variance), Double::of(direction.mean));
    let noise = sigma * sigma;
    let sum = alpha * alpha * v + noise;
    if sum.value() == 0.0 {
        return (Double::ZERO, mean);
    }
    (alpha * v / sum, mean * noise / sum)
}

/// √(α²w² + σ²).
fn unit(level: &NoiseLevel, scale: f64) -> f64 {
    (level.alpha() * scale).hypot(level.sigma())
}

impl Reference {
    /// Along a direction.
    pub fn new(plan: &Plan, direction: Direction) -> Self {
        let mut stages = Vec::new();
        for (step, of_step) in plan.steps().iter().enumerate() {
            for (stage, of_stage) in of_step.stages.iter().enumerate() {
                let level = of_stage.evaluate;
                let (gain, offset) = match &level {
                    Some(level) => estimate(&direction, level),
                    None => (Double::ZERO, Double::ZERO),
                };
                let update = &of_stage.update;
                let store = update.store.map(|store| {
                    let (state, data) = match (store.kept, &level) {
                        (Kept::Data, _) => (Double::ZERO, Double::of(1.0)),
                        (Kept::State, _) => (Double::of(1.0), Double::ZERO),
                        (Kept::Linear { state, data }, _) => (Double::of(state), Double::of(data)),
                        (Kept::Noise, Some(level)) => {
                            let sigma = Double::of(level.sigma());
                            let alpha = Double::of(level.alpha());
                            (Double::of(1.0) / sigma, -alpha / sigma)
                        }
                        // No plan keeps anything else.
                        _ => (Double::of(f64::NAN), Double::of(f64::NAN)),
                    };
                    (store.slot, state, data)
                });
                stages.push(Scalars {
                    state: update.state,
                    data: update.data,
                    history: update.history.clone(),
                    noise: update.noise,
                    store,
                    gain,
                    offset,
                    level,
                    step,
                    stage,
                });
            }
        }
        let scale = direction.variance.sqrt();
        let (mut state, mut held) = (Double::of(1.0), [Double::ZERO; MAX_SLOTS]);
        let mut derivatives = vec![Derivatives::default(); stages.len()];
        let (mut noise, mut model_error) = (Double::ZERO, 0.0);
        for (of_stage, found) in stages.iter().zip(&mut derivatives).rev() {
            let stored = of_stage
                .store
                .map_or(Double::ZERO, |(slot, _, _)| held[slot]);
            found.state = state.value();
            found.stored = stored.value();
            found.slots = held.map(Double::value);
            let drawn = state * Double::of(of_stage.noise);
            noise += drawn * drawn;
            let mut on_estimate = state * Double::of(of_stage.data);
            let mut on_state = state * Double::of(of_stage.state);
            if let Some((slot, by_state, by_data)) = of_stage.store {
                held[slot] = Double::ZERO;
                on_estimate += stored * by_data;
                on_state += stored * by_state;
            }
            found.estimate = on_estimate.value();
            if let Some(level) = of_stage.level.filter(|level| level.sigma() > 0.0) {
                let size = scale * level.sigma() / unit(&level, scale);
                model_error += (found.estimate * size).abs();
            }
            for &(slot, weight) in &of_stage.history {
                held[slot] += state * Double::of(weight);
            }
            state = on_state + on_estimate * of_stage.gain;
        }
        let end = unit(&plan.end(), scale);
        Self {
            stages,
            derivatives,
            slots: plan.slots(),
            direction,
            response: state,
            noise,
            model_error: if model_error == 0.0 {
                0.0
            } else {
                model_error / end
            },
        }
    }

    /// The result of a row under a prediction, with its bounds.
    pub fn row(&self, row: Row, prediction: Prediction) -> Outcome {
        let mut x = Double::of(row.start);
        let mut slots = [Double::ZERO; MAX_SLOTS];
        let mut largest = [row.start.abs(); 2];
        let mut errors = [Unit::DOUBLE, Unit::SINGLE].map(Errors::new);
        for (of_stage, by) in self.stages.iter().zip(&self.derivatives) {
            let estimate = of_stage.gain * x + of_stage.offset;
            let z = noise(row.noise, of_stage.step, of_stage.stage) * of_stage.noise;
            let mut next = Double::of(of_stage.state) * x + Double::of(of_stage.data) * estimate;
            next += Double::of(z);
            for &(slot, weight) in &of_stage.history {
                next += Double::of(weight) * slots[slot];
            }
            let kept = of_stage
                .store
                .map(|(slot, state, data)| (slot, state * x + data * estimate));
            let sizes = Sizes {
                state: x.value().abs(),
                slots: slots.map(|slot| slot.value().abs()),
                noise: z.abs(),
            };
            for (errors, largest) in errors.iter_mut().zip(&mut largest) {
                let size = self.step(of_stage, by, &sizes, prediction, errors);
                *largest = largest.max(size);
            }
            x = next;
            if let Some((slot, kept)) = kept {
                slots[slot] = kept;
            }
        }
        Outcome {
            state: x,
            bounds: errors.map(|errors| errors.bound),
            largest: largest.map(|largest| largest.max(x.value().abs())),
        }
    }

    /// Adds what a stage's rounding makes of the result to the bound, and carries the errors of state
    /// and slots over it. Returns the largest of the stage's numbers.
    fn step(
        &self,
        of_stage: &Scalars,
        by: &Derivatives,
        sizes: &Sizes,
        prediction: Prediction,
        errors: &mut Errors,
    ) -> f64 {
        // The run's own numbers are off by the errors so far.
        let at = sizes.state + errors.of(0);
        let gain = of_stage.gain.value();
        let d = gain.abs() * at + of_stage.offset.value().abs();
        let mut past = sizes.noise;
        let mut operands = at + d + f64::from(u8::from(sizes.noise != 0.0));
        let mut form = [0.0; ROWS];
        for &(slot, weight) in &of_stage.history {
            let size = sizes.slots[slot] + errors.of(slot + 1);
            past += weight.abs() * size;
            operands += size;
            form[slot + 1] += weight;
        }
        let parts = self.parts(of_stage, (at, d), prediction);
        let all = of_stage.state.abs() * at + of_stage.data.abs() * parts.terms + past;
        let (stored, kept) = match of_stage.store {
            Some((slot, state, data)) => {
                let (state, data) = (state.value(), data.value());
                let size = state.abs() * at + data.abs() * parts.terms;
                (size, Some((slot + 1, state + data * gain, data)))
            }
            None => (0.0, None),
        };
        // Each term: its coefficient is rounded twice (folded, then cast), multiplied and added. The
        // coefficients that take an output to D have up to six roundings of their own (EDM's).
        let own = if prediction == Prediction::Data { 0 } else { 6 };
        let count = (of_stage.history.len() + 4 + 2 + own) as f64;
        let unit = errors.unit;
        let lost = unit.least * count * (1.0 + operands + parts.output);
        let rounded = unit.half * count;
        let of_state = rounded * all + lost;
        let of_slot = rounded * stored + lost;
        let error = parts.model + unit.half * parts.cast + unit.least * (1.0 + parts.weight);
        errors.bound +=
            by.state.abs() * of_state + by.stored.abs() * of_slot + by.estimate.abs() * error;
        form[0] = of_stage.state + of_stage.data * gain;
        let own =
            kept.map(|(slot, on_state, on_data)| (slot, on_state, of_slot.hypot(on_data * error)));
        errors.advance(
            &form[..=self.slots],
            of_state.hypot(of_stage.data * error),
            own,
        );
        all.max(stored).max(d).max(parts.output)
    }

    /// The sizes of what makes D out of the state and the model's output.
    fn parts(&self, of_stage: &Scalars, (x, d): (f64, f64), prediction: Prediction) -> Parts {
        let Some(level) = &of_stage.level else {
            return Parts::default();
        };
        let (alpha, mean) = (level.alpha(), self.direction.mean.abs());
        // D = m + g(x − αm), in f64: eight operations on terms of these sizes.
        let exact = mean + of_stage.gain.value().abs() * (x + alpha * mean);
        let u = 8.0 * Unit::DOUBLE.half;
        if prediction == Prediction::Data {
            return Parts {
                terms: d,
                model: u * exact,
                cast: d,
                output: d,
                weight: 1.0,
            };
        }
        let (Ok(back), Ok(target)) = (prediction.data(level), prediction.target(level)) else {
            return Parts::default();
        };
        // o = pD + qE, E = (x − αD)/σ.
        let (p, q, sigma) = (target.data.abs(), target.noise.abs(), level.sigma());
        let noise = (x + alpha * exact) / sigma;
        let output = p * exact + q * noise;
        // The oracle takes one of the two from the data and the other from it and x: where σ ≤ α, E
        // from the score and D = (x − σE)/α.
        let summed = if sigma <= alpha {
            (x + sigma * noise) / alpha
        } else {
            exact
        };
        let weight = back.output.abs();
        Parts {
            terms: back.x.abs() * x + weight * output,
            model: 2.0 * u * weight * (p * summed + q * noise),
            cast: weight * output,
            output,
            weight,
        }
    }

    /// The standard deviation of the result from one of the start, with the bound of a propagation in
    /// f64 that rotates the normals after each draw, and the largest term on the way.
    pub fn deviation(&self, start: f64) -> (f64, f64, f64) {
        let own = self.response * Double::of(start);
        let deviation = (own * own + self.noise).sqrt().value();
        let rows = self.slots + 1;
        // In f64 a covariance whose terms cancel says nothing of what is left.
        let mut covariance = [[Double::ZERO; ROWS]; ROWS];
        covariance[0][0] = Double::of(start) * Double::of(start);
        let mut bound = own.value().abs() * 4.0 * Unit::DOUBLE.half;
        let (mut errors, mut largest) = (Errors::new(Unit::DOUBLE), start);
        for (of_stage, by) in self.stages.iter().zip(&self.derivatives) {
            let size = |covariance: &[[Double; ROWS]; ROWS], row: usize| {
                covariance[row][row].value().max(0.0).sqrt()
            };
            let (x, gain) = (size(&covariance, 0), of_stage.gain.value());
            let mut sizes = (of_stage.state.abs() + (of_stage.data * gain).abs()) * x;
            let mut form = [Double::ZERO; ROWS];
            form[0] = Double::of(of_stage.state) + Double::of(of_stage.data) * of_stage.gain;
            for &(slot, weight) in &of_stage.history {
                form[slot + 1] += Double::of(weight);
                sizes += weight.abs() * size(&covariance, slot + 1);
            }
            let old = covariance;
            let mut with = [Double::ZERO; ROWS];
            for row in 0..rows {
                for k in 0..rows {
                    if form[k] != Double::ZERO {
                        with[row] += form[k] * old[k][row];
                    }
                }
            }
            let mut variance = Double::of(of_stage.noise) * Double::of(of_stage.noise);
            for k in 0..rows {
                variance += form[k] * with[k];
            }
            covariance[0][0] = variance;
            for row in 1..rows {
                covariance[0][row] = with[row];
                covariance[row][0] = with[row];
            }
            let mut stored = 0.0;
            if let Some((slot, state, data)) = of_stage.store {
                stored = (state.value().abs() + (data.value() * gain).abs()) * x;
                let (slot, factor) = (slot + 1, state + data * of_stage.gain);
                for row in 1..rows {
                    covariance[slot][row] = factor * old[0][row];
                    covariance[row][slot] = covariance[slot][row];
                }
                covariance[slot][slot] = factor * factor * old[0][0];
                covariance[0][slot] = factor * with[0];
                covariance[slot][0] = covariance[0][slot];
            }
            let u = Unit::DOUBLE.half;
            let count = (of_stage.history.len() + 6 + 8) as f64;
            // The propagation's own numbers are off by its errors so far.
            let (at, mut own) = (errors.of(0), (of_stage.data * gain).abs());
            own += of_stage.state.abs();
            sizes += own * at;
            for &(slot, weight) in &of_stage.history {
                sizes += weight.abs() * errors.of(slot + 1);
            }
            largest = largest.max(sizes).max(stored);
            // At most nine rotations of each row, six roundings each.
            let turned = if of_stage.noise == 0.0 { 0.0 } else { 54.0 * u };
            let of_state = u * count * sizes + turned * size(&covariance, 0);
            // The gain is off by four roundings.
            let of_gain = 4.0 * u * gain.abs() * (x + at);
            bound += by.state.abs() * of_state + by.estimate.abs() * of_gain;
            let mut kept = None;
            if let Some((slot, state, data)) = of_stage.store {
                let (state, data) = (state.value(), data.value());
                stored += (state.abs() + (data * gain).abs()) * at;
                let of_slot = u * count * stored + turned * size(&covariance, slot + 1);
                bound += by.stored.abs() * of_slot;
                let both = of_slot.hypot(data * of_gain);
                kept = Some((slot + 1, state + data * gain, both));
            }
            for slot in 0..self.slots {
                if kept.is_none_or(|(written, _, _)| written != slot + 1) {
                    bound += by.slots[slot].abs() * turned * size(&covariance, slot + 1);
                }
            }
            let form = form.map(Double::value);
            let rounding = of_state.hypot(of_stage.data * of_gain);
            errors.advance(&form[..rows], rounding, kept);
        }
        (deviation, bound, largest)
    }

    /// The mean of the result from a start's, and the bound for scalars that are off by units of their
    /// own size and of another one: `scalar` gives, by step, how many units, and what size a factor on
    /// x has at least.
    pub fn mean(&self, start: f64, scalar: impl Fn(usize) -> (f64, f64)) -> (Double, f64) {
        let mut x = Double::of(start);
        let mut slots = [Double::ZERO; MAX_SLOTS];
        let mut bound = 0.0;
        for (of_stage, by) in self.stages.iter().zip(&self.derivatives) {
            let at = x.value().abs();
            let estimate = of_stage.gain * x + of_stage.offset;
            let mut next = Double::of(of_stage.state) * x + Double::of(of_stage.data) * estimate;
            let mut past = 0.0;
            for &(slot, weight) in &of_stage.history {
                next += Double::of(weight) * slots[slot];
                past += weight.abs() * slots[slot].value().abs();
            }
            let d = estimate.value().abs();
            let (units, least) = scalar(of_stage.step);
            let sizes = of_stage.state.abs().max(least) * at + past + of_stage.data.abs() * d;
            bound += Unit::DOUBLE.half * units * by.state.abs() * sizes;
            if let Some((slot, state, data)) = of_stage.store {
                let stored = state.value().abs() * at + data.value().abs() * d;
                bound += Unit::DOUBLE.half * units * by.stored.abs() * stored;
                slots[slot] = state * x + data * estimate;
            }
            x = next;
        }
        (x, bound)
    }
}

/// The sizes of what makes D.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    /// Of the terms that are added up to D.
    terms: f64,
    /// How far the model's own f64 can be off, in D.
    model: f64,
    /// What is rounded to the state's type when the model answers, in D.
    cast: f64,
    /// The model's output.
    output: f64,
    /// The coefficient of the output in D.
    weight: f64,
}
