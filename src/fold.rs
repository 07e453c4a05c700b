//! From a plan's update to the kernel's scalars: D is folded into the coefficients of x and of the
//! model's outputs.

use ndarray::{ArrayRef, Axis, Dimension};

use crate::clip::Bounds;
use crate::error::Error;
use crate::guidance::{Combination, Evaluation, Guidance, Products};
use crate::kernel::{self, Clipped, Form, Forms, Gram, MAX_INPUTS, Places, Row};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Kept, Stage, Update, check_stage};
use crate::prediction::Prediction;
use crate::real::Real;

/// The D of one evaluation of one sample, the D that its E belongs to, and how D is clipped.
///
/// The kernel's inputs are the outputs, then the guidance memory, then the history slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    data: Row,
    /// E = (x − αD')/σ with this D', where it is not D itself.
    noise: Option<Row>,
    /// The number of inputs before the history slots.
    inputs: usize,
    alpha: f64,
    sigma: f64,
    clip: Option<Bounds>,
}

impl Estimate {
    /// No evaluation: no outputs, and D enters nowhere.
    const NONE: Self = Self {
        data: Row::ZERO,
        noise: None,
        inputs: 0,
        alpha: 1.0,
        sigma: 1.0,
        clip: None,
    };

    /// The estimate that a combination of `outputs` outputs makes; `memory` says whether the
    /// guidance memory is an input behind them.
    pub(crate) fn new(
        prediction: Prediction,
        level: &NoiseLevel,
        combination: &Combination,
        (outputs, memory): (usize, bool),
        clip: Option<Bounds>,
    ) -> Result<Self, Error> {
        let space = Space::new(prediction, level, combination)?;
        let mut data = space.row(combination.models());
        add_gradients(&mut data, level, combination)?;
        if memory {
            data.inputs[outputs] = combination.memory();
        }
        let noise = match (combination.noise(), clip) {
            (Some(weights), _) => Some(space.row(weights)),
            (None, Some(bounds)) if bounds.keeps_noise => Some(data),
            (None, _) => None,
        };
        Ok(Self {
            data,
            noise,
            inputs: outputs + usize::from(memory),
            alpha: level.alpha(),
            sigma: level.sigma(),
            clip,
        })
    }
}

/// D as a linear form of the state and of weights on the outputs, in the combination's space.
struct Space {
    /// D = back.0·x + back.1·v.
    back: (f64, f64),
    /// v = forth.0·x + forth.1·o.
    forth: (f64, f64),
}

impl Space {
    fn new(
        prediction: Prediction,
        level: &NoiseLevel,
        combination: &Combination,
    ) -> Result<Self, Error> {
        let space = combination.space().unwrap_or(prediction);
        let (back, forth) = (space.data(level)?, prediction.convert_to(space, level)?);
        Ok(Self {
            back: (back.x, back.output),
            forth: (forth.x, forth.output),
        })
    }

    fn row(&self, weights: &[f64]) -> Row {
        let mut row = Row::ZERO;
        let sum: f64 = weights.iter().sum();
        // Weights on the model's own output leave the state's coefficient alone, whatever their
        // sum.
        row.x = self.back.0 + self.back.1 * self.forth.0 * sum;
        for (input, weight) in row.inputs.iter_mut().zip(weights) {
            *input = self.back.1 * self.forth.1 * weight;
        }
        row
    }
}

/// D ← D + Σ w_k (σ²/α) g_k.
fn add_gradients(
    row: &mut Row,
    level: &NoiseLevel,
    combination: &Combination,
) -> Result<(), Error> {
    let gradients = combination.gradients();
    if gradients.is_empty() {
        return Ok(());
    }
    if level.alpha() == 0.0 {
        return Err(Error::PredictionUndefined {
            prediction: "classifier-guided",
            alpha: 0.0,
            sigma: level.sigma(),
            time: level.time(),
        });
    }
    let scale = level.sigma() * (level.sigma() / level.alpha());
    let inputs = &mut row.inputs[combination.models().len()..];
    for (input, weight) in inputs.iter_mut().zip(gradients) {
        *input = scale * weight;
    }
    Ok(())
}

/// One of the two results of an update, as it is put together.
#[derive(Clone, Copy)]
struct Sum {
    row: Row,
    /// The coefficient of the clipped D.
    clipped: f64,
}

impl Sum {
    fn add(&mut self, row: &Row, factor: f64) {
        self.row.x += factor * row.x;
        for (sum, input) in self.row.inputs.iter_mut().zip(&row.inputs) {
            *sum += factor * input;
        }
    }
}

impl Estimate {
    /// state·x + data·D, where x stands for αD + σE if E is not D's own.
    fn linear(&self, state: f64, data: f64) -> Sum {
        let mut sum = Sum {
            row: Row::ZERO,
            clipped: 0.0,
        };
        sum.row.x = state;
        let mut on_data = data;
        if let Some(noise) = &self.noise {
            let moved = state * self.alpha;
            sum.add(noise, -moved);
            on_data += moved;
        }
        match self.clip {
            Some(bounds) => sum.clipped = on_data * bounds.scale,
            None => sum.add(&self.data, on_data),
        }
        sum
    }

    /// E = (x − αD')/σ.
    fn noise(&self) -> Sum {
        let ratio = self.alpha / self.sigma;
        match &self.noise {
            Some(noise) => {
                let mut sum = Sum {
                    row: Row::ZERO,
                    clipped: 0.0,
                };
                sum.row.x = 1.0 / self.sigma;
                sum.add(noise, -ratio);
                sum
            }
            None => self.linear(1.0 / self.sigma, -ratio),
        }
    }

    fn kept(&self, kept: Kept) -> Sum {
        match kept {
            Kept::Data => self.linear(0.0, 1.0),
            Kept::Noise => self.noise(),
            Kept::Linear { state, data } => self.linear(state, data),
            Kept::State => {
                let mut row = Row::ZERO;
                row.x = 1.0;
                Sum { row, clipped: 0.0 }
            }
        }
    }
}

/// The kernel's form of an update. History slots enter behind the outputs in their order in the
/// update, except the slot that is also written, which is the kernel's y.
pub(crate) fn form(update: &Update, estimate: &Estimate) -> Form {
    let mut x = estimate.linear(update.state, update.data);
    let stored = update.store.map(|store| store.slot);
    let mut x_from_y = 0.0;
    let mut position = estimate.inputs;
    for &(slot, weight) in &update.history {
        if Some(slot) == stored {
            x_from_y = weight;
        } else {
            x.row.inputs[position] = weight;
            position += 1;
        }
    }
    let y = update.store.map(|store| estimate.kept(store.kept));
    Form {
        x: x.row,
        x_from_y,
        noise: update.noise,
        y: y.map(|y| y.row),
        clip: estimate.clip.map(|bounds| Clipped {
            data: estimate.data,
            low: bounds.low,
            high: bounds.high,
            into_x: x.clipped,
            into_y: y.map_or(0.0, |y| y.clipped),
        }),
    }
}

/// The form of a stage that needs no model.
pub(crate) fn form_without_model(update: &Update) -> Form {
    form(update, &Estimate::NONE)
}

/// The form that writes D, clipped if `estimate` clips, over a copy of x.
pub(crate) fn data_form(estimate: &Estimate) -> Form {
    let update = Update {
        data: 1.0,
        ..Update::default()
    };
    form(&update, estimate)
}

/// Refuses coefficients that the element type cannot hold, with the step.
pub(crate) fn check_cast<A: Real>(form: &Form, step: usize) -> Result<(), Error> {
    form.require_fits::<A>(MAX_INPUTS)
        .map_err(|error| match error {
            Error::InvalidParameter { value, .. } | Error::InvalidEntry { value, .. } => {
                Error::CoefficientOverflow { step, value }
            }
            other => other,
        })
}

/// The combination of a plain model's one output, which needs nothing but the stage.
pub(crate) fn plain_form(
    stage: &Stage,
    prediction: Prediction,
    clip: Option<Bounds>,
) -> Result<Form, Error> {
    match &stage.evaluate {
        None => Ok(form_without_model(&stage.update)),
        Some(level) => {
            let single = Combination::single();
            let estimate = Estimate::new(prediction, level, &single, (1, false), clip)?;
            Ok(form(&stage.update, &estimate))
        }
    }
}

/// The coefficients of a stage on the state, the model's outputs and the history.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coefficients {
    /// On the state x, for x' and for what is stored.
    pub state: [f64; 2],
    /// On each output of the model, for x' and for what is stored.
    pub outputs: Vec<[f64; 2]>,
    /// On the guidance memory, where the combination reads one.
    pub memory: [f64; 2],
    /// (slot, weight) of the history slots that enter x'.
    pub history: Vec<(usize, f64)>,
    /// The standard deviation of the noise added to x'.
    pub noise: f64,
    /// The slot that is written, if any.
    pub store: Option<usize>,
}

impl Stage {
    /// The folded coefficients of this stage for a model that makes `prediction`, whose outputs
    /// combine by `combination`: all that another tensor library needs to run a plan,
    ///
    /// ```text
    /// x' = state₀·x + Σ outputs_j₀·o_j + Σ weight·H + noise·z       H' = state₁·x + Σ outputs_j₁·o_j
    /// ```
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, guidance::Combination, schedule::RectifiedFlow};
    /// use diffusion_sampler::solver::{FirstOrder, Path, Solver};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::trailing(&schedule, 4)?;
    /// let plan = FirstOrder::ddim().plan(&Path::new(&schedule, &grid)?)?;
    /// let stage = &plan.steps()[1].stages[0];
    /// // Euler's step of a flow from 0.75 to 0.5: x − 0.25 u.
    /// let c = stage.coefficients(Prediction::Flow, &Combination::single())?;
    /// assert!((c.state[0] - 1.0).abs() < 1e-15 && (c.outputs[0][0] + 0.25).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PredictionUndefined`] where the prediction says nothing at the stage's level; what
    /// [`Plan::new`](crate::plan::Plan::new) refuses of a stage.
    pub fn coefficients(
        &self,
        prediction: Prediction,
        combination: &Combination,
    ) -> Result<Coefficients, Error> {
        check_stage(self, 0, 0)?;
        let outputs = combination.outputs();
        let (form, outputs) = match &self.evaluate {
            None => (form_without_model(&self.update), 0),
            Some(level) => {
                let shape = (outputs, true);
                let estimate = Estimate::new(prediction, level, combination, shape, None)?;
                (form(&self.update, &estimate), outputs)
            }
        };
        let y = form.y.unwrap_or(Row::ZERO);
        Ok(Coefficients {
            state: [form.x.x, y.x],
            outputs: (0..outputs)
                .map(|j| [form.x.inputs[j], y.inputs[j]])
                .listed()?,
            memory: match self.evaluate {
                Some(_) => [form.x.inputs[outputs], y.inputs[outputs]],
                None => [0.0; 2],
            },
            history: self.update.history.clone(),
            noise: form.noise,
            store: self.update.store.map(|store| store.slot),
        })
    }
}

/// The products of (x, outputs…, memory) for guidance.
pub(crate) fn products(gram: &Gram, outputs: usize) -> Products {
    Products::from_parts(gram.elements, outputs, gram.sums, gram.inner)
}

/// The guided output in the model's own terms.
fn own_row(
    prediction: Prediction,
    level: &NoiseLevel,
    combination: &Combination,
    outputs: usize,
) -> Result<Row, Error> {
    let is_own = combination.space().is_none_or(|space| space == prediction);
    if is_own && combination.gradients().is_empty() {
        // Nothing to convert, so that it works where D says nothing of o: at σ = 0.
        let mut row = Row::ZERO;
        for (input, weight) in row.inputs.iter_mut().zip(combination.models()) {
            *input = *weight;
        }
        return Ok(row);
    }
    let estimate = Estimate::new(prediction, level, combination, (outputs, false), None)?;
    // D back to what the model predicts: o = (D − p x)/q.
    let own = prediction.data(level)?;
    if own.output == 0.0 {
        return Err(Error::PredictionUndefined {
            prediction: prediction.name(),
            alpha: level.alpha(),
            sigma: level.sigma(),
            time: level.time(),
        });
    }
    let mut row = estimate.data;
    row.x -= own.x;
    row.x /= own.output;
    row.inputs = row.inputs.map(|c| c / own.output);
    Ok(row)
}

/// What guidance says of each sample, written to `out`: the guided output in the model's own terms.
/// `outputs` arrays lie behind each other in `raw`.
pub(crate) fn combined<A: Real, D: Dimension>(
    guidance: &impl Guidance,
    (at, one): (impl Fn(usize) -> Evaluation, bool),
    x: &ArrayRef<A, D>,
    raw: &ArrayRef<A, D>,
    outputs: usize,
    out: &mut ArrayRef<A, D>,
) -> Result<(), Error> {
    let samples = x.shape().first().copied().unwrap_or(0);
    let parts: Vec<_> = raw
        .axis_chunks_iter(Axis(0), samples.max(1))
        .take(outputs)
        .listed()?;
    let inputs: Vec<&ArrayRef<A, D>> = parts.iter().map(|part| &**part).listed()?;
    let mut grams = Vec::new();
    if (0..samples).any(|sample| guidance.needs_products(&at(sample))) {
        let mut arrays = vec![x];
        arrays.extend(&inputs);
        crate::memory::resize(&mut grams, samples, Gram::ZERO)?;
        kernel::gram(&arrays, &mut grams)?;
    }
    let form = |sample: usize| {
        let at = at(sample);
        let products = grams
            .get(sample)
            .filter(|_| guidance.needs_products(&at))
            .map(|gram| products(gram, outputs));
        combined_form(guidance, &at, products.as_ref(), outputs)
    };
    out.assign(x);
    if one && grams.is_empty() {
        kernel::update(Forms::Same(&form(0)?), out, None, &inputs, None)?;
    } else {
        let forms = (0..samples).map(form).all_listed()?;
        kernel::update(Forms::PerSample(&forms), out, None, &inputs, None)?;
    }
    Ok(())
}

/// The form that writes the guided output in the model's own terms.
fn combined_form(
    guidance: &impl Guidance,
    at: &Evaluation,
    products: Option<&Products>,
    outputs: usize,
) -> Result<Form, Error> {
    let combination = guidance.combine(at, products)?;
    let (prediction, level) = (at.prediction(), at.level());
    if combination.noise().is_some() {
        // One array cannot hold two estimates.
        let guidance = guidance.name();
        return Err(Error::StatefulGuidance { guidance });
    }
    Ok(Form {
        x: own_row(prediction, level, &combination, outputs)?,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    })
}

/// The same where levels differ along an axis: of the `entries` different ones that are asked about.
/// At the other positions, whose output is not looked at, x itself is written.
pub(crate) fn combined_along<A: Real, D: Dimension>(
    guidance: &impl Guidance,
    (at, entries): (impl Fn(usize) -> Evaluation, usize),
    (axis, of): (usize, &[u32]),
    x: &ArrayRef<A, D>,
    (raw, outputs): (&ArrayRef<A, D>, usize),
    out: &mut ArrayRef<A, D>,
) -> Result<(), Error> {
    let samples = x.shape().first().copied().unwrap_or(0);
    let parts = raw.axis_chunks_iter(Axis(0), samples.max(1));
    let parts: Vec<_> = parts.take(outputs).listed()?;
    let inputs: Vec<&ArrayRef<A, D>> = parts.iter().map(|part| &**part).listed()?;
    let form = |entry: usize| {
        let at = at(entry);
        if guidance.needs_products(&at) {
            let name = guidance.name();
            return Err(Error::NotPerPosition { name });
        }
        combined_form(guidance, &at, None, outputs)
    };
    let forms = (0..entries).map(form).all_listed()?;
    let places = Places::new(x.shape(), axis, of)?;
    out.assign(x);
    kernel::update(Forms::Along(&forms, places), out, None, &inputs, None)?;
    Ok(())
}
