//! Every form of guidance on any outputs: a typed error or finite numbers, by each way in the same
//! bits, and on tame ones the published formula, written out in f64, within the rounding of both.

use diffusion_sampler::denoiser::{Guided, from_query_fn};
use diffusion_sampler::guidance::{
    ClassifierFree, ClassifierGuidance, Composed, Guidance, GuidanceWeight, OnInterval,
    PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential, Unguided,
    WeightedSum, ZeroStar,
};
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::solver::Path;
use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Real, RunError, Sampler, Trajectory,
};
use half::bf16;
use ndarray::{Array2, Axis, Ix2};

use crate::input::{Input, Mix, bits, is_readable};
use crate::setups;

/// What the tests know of a form, to compute it anew.
#[derive(Debug)]
enum Naive {
    /// Fixed weights of the model's own outputs.
    Weights(Vec<f64>),
    /// The weights, φ.
    Rescaled(Vec<f64>, f64),
    /// w, η, the radius.
    Projected(f64, f64, f64),
    /// s.
    ZeroStar(f64),
    /// λ.
    PlusPlus(f64),
    /// s.
    Tangential(f64),
    /// s, w_n.
    Perpendicular(f64, f64),
    /// w of a gradient behind one output.
    Classifier(f64),
    /// No formula here: nested, with a memory.
    Unknown,
}

type Form = (Box<dyn Guidance>, Naive);

fn scale(input: &mut Input<'_>, wild: bool) -> f64 {
    match wild {
        true => input.number(),
        false => input.tame(),
    }
}

fn weight(input: &mut Input<'_>, wild: bool) -> Result<GuidanceWeight, Error> {
    match input.below(4) {
        0 => GuidanceWeight::interval(scale(input, wild), input.unit(), setups::positive(input)),
        1 => {
            let number = input.number();
            Ok(GuidanceWeight::by_level(move |level| {
                number * level.sigma()
            }))
        }
        _ => GuidanceWeight::constant(scale(input, wild)),
    }
}

fn form(input: &mut Input<'_>, wild: bool, depth: usize) -> Result<Form, Error> {
    let plain = |form: ClassifierFree, w: f64| -> Form {
        (Box::new(form), Naive::Weights(vec![1.0 + w, -w]))
    };
    let kind = input.below(if depth == 0 { 12 } else { 16 });
    Ok(match kind {
        0 => {
            let w = scale(input, wild);
            plain(ClassifierFree::with_weight(w)?, w)
        }
        1 => {
            let count = 1 + input.below(5);
            let scales: Vec<f64> = (0..count).map(|_| scale(input, wild)).collect();
            let mut weights = scales.clone();
            weights.push(1.0 - scales.iter().sum::<f64>());
            (Box::new(Composed::new(&scales)?), Naive::Weights(weights))
        }
        2 => {
            let (s, p) = (scale(input, wild), scale(input, wild));
            let form = Perturbed::new(s, GuidanceWeight::constant(p)?)?;
            (Box::new(form), Naive::Weights(vec![s + p, 1.0 - s, -p]))
        }
        3 => {
            let weights: Vec<f64> = (0..1 + input.below(6))
                .map(|_| scale(input, wild))
                .collect();
            (
                Box::new(WeightedSum::new(&weights)?),
                Naive::Weights(weights),
            )
        }
        4 => {
            let (w, phi) = (scale(input, wild), input.unit());
            let form = Rescaled::new(ClassifierFree::with_weight(w)?, phi)?;
            (Box::new(form), Naive::Rescaled(vec![1.0 + w, -w], phi))
        }
        5 | 6 => {
            let w = scale(input, wild);
            let mut form = Projected::new(w)?;
            let (mut eta, mut radius) = (0.0, f64::INFINITY);
            let more = input.byte();
            if more & 1 != 0 {
                eta = scale(input, wild);
                form = form.with_eta(eta)?;
            }
            if more & 2 != 0 {
                radius = setups::positive(input);
                form = form.with_radius(radius)?;
            }
            if more & 12 == 12 {
                form = form.with_momentum(2.0 * input.unit() - 1.0)?;
                return Ok((Box::new(form), Naive::Unknown));
            }
            (Box::new(form), Naive::Projected(w, eta, radius))
        }
        7 => {
            let s = scale(input, wild);
            let form = ZeroStar::with_scale(s)?;
            match input.below(4) {
                0 => (Box::new(form.zero_steps(1)), Naive::Unknown),
                1 => {
                    let space = setups::prediction(input);
                    (Box::new(form.on(space)), Naive::Unknown)
                }
                _ => (Box::new(form), Naive::ZeroStar(s)),
            }
        }
        8 => {
            let lambda = scale(input, wild);
            (Box::new(PlusPlus::new(lambda)?), Naive::PlusPlus(lambda))
        }
        9 => {
            let s = scale(input, wild);
            (Box::new(Tangential::with_scale(s)?), Naive::Tangential(s))
        }
        10 => {
            let (s, n) = (scale(input, wild), scale(input, wild));
            let form = PerpendicularNegative::new(s, n)?;
            (Box::new(form), Naive::Perpendicular(s, n))
        }
        11 => {
            let w = scale(input, wild);
            let form = ClassifierGuidance::new(GuidanceWeight::constant(w)?);
            (Box::new(form), Naive::Classifier(w))
        }
        12 => {
            let (inner, _) = form(input, wild, depth - 1)?;
            (
                Box::new(Rescaled::new(inner, input.unit())?),
                Naive::Unknown,
            )
        }
        13 => {
            let (inner, _) = form(input, wild, depth - 1)?;
            let (low, high) = (input.unit(), setups::positive(input));
            (Box::new(OnInterval::new(inner, low, high)?), Naive::Unknown)
        }
        14 => {
            let (inner, _) = form(input, wild, depth - 1)?;
            let weight = weight(input, wild)?;
            (
                Box::new(ClassifierGuidance::around(inner, weight)),
                Naive::Unknown,
            )
        }
        _ => match input.flag() {
            true => (
                Box::new(ClassifierFree::new(weight(input, wild)?)),
                Naive::Unknown,
            ),
            false => (Box::new(Unguided), Naive::Weights(vec![1.0])),
        },
    })
}

/// Any form, nested ones too.
pub(crate) fn any(input: &mut Input<'_>) -> Result<Box<dyn Guidance>, Error> {
    if input.byte().is_multiple_of(4) {
        return Ok(Box::new(Unguided));
    }
    let wild = input.byte().is_multiple_of(4);
    let form = form(input, wild, 2)?.0;
    // Nested forms can want more outputs at some levels than a run takes, which a model refuses
    // where it is asked, and a run that is told only at those levels.
    Ok(match form.outputs() {
        1..=MOST => form,
        _ => Box::new(Unguided),
    })
}

/// The most outputs that a run takes.
const MOST: usize = 6;

/// Two levels, the second with less noise.
fn levels(input: &mut Input<'_>, wild: bool) -> Result<[NoiseLevel; 2], Error> {
    if wild {
        return Ok([setups::level(input)?, setups::level(input)?]);
    }
    let part = |input: &mut Input<'_>| (1.0 + f64::from(input.byte())) / 257.0;
    let (t, share) = (part(input), part(input));
    let level = |t: f64| match share > 0.5 {
        true => NoiseLevel::new(t, 1.0 - t, t),
        false => NoiseLevel::new(t, (1.0 - t * t).sqrt(), t),
    };
    Ok([level(t)?, level(t * share * 0.9)?])
}

/// A number with a bound of its rounding errors, in units of the element type's.
#[derive(Clone, Copy, Debug)]
struct Weight {
    value: f64,
    /// Of the computation in f64, absolute.
    error: f64,
}

fn exact(value: f64) -> Weight {
    Weight { value, error: 0.0 }
}

/// A sum of n products rounds by at most this much of the sum of their magnitudes: n + 2 roundings
/// each, in any order, here and there.
fn sum_error(n: usize) -> f64 {
    2.0 * (n as f64 + 4.0) * f64::EPSILON
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn magnitudes(a: &[f64]) -> Vec<f64> {
    a.iter().map(|a| a.abs()).collect()
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The weights of one sample's outputs, in the space in which they are meant; `None` where rounding
/// decides.
fn weights(
    naive: &Naive,
    o: &[Vec<f64>],
    space: impl Fn(usize) -> (Vec<f64>, Vec<f64>),
) -> Option<Vec<Weight>> {
    let n = o.first().map_or(0, Vec::len);
    let e = sum_error(n);
    let product = |a: &[f64], b: &[f64], sizes: (&[f64], &[f64])| Weight {
        value: dot(a, b),
        // A product that underflows has no digits.
        error: e * dot(sizes.0, sizes.1) + n as f64 * f64::MIN_POSITIVE,
    };
    Some(match naive {
        Naive::Weights(weights) => weights.iter().map(|&w| exact(w)).collect(),
        Naive::Rescaled(weights, phi) => {
            if *phi == 0.0 || weights[1] == 0.0 {
                return Some(weights.iter().map(|&w| exact(w)).collect());
            }
            let spread = |list: &[f64], sizes: &[f64]| {
                let mean = list.iter().sum::<f64>() / n as f64;
                let value: f64 = list.iter().map(|o| (o - mean) * (o - mean)).sum();
                Weight {
                    value,
                    error: 4.0 * e * dot(sizes, sizes),
                }
            };
            let sum = |list: &dyn Fn(usize) -> Vec<f64>| {
                let (a, b) = (list(0), list(1));
                a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>()
            };
            let scaled = |j: usize| o[j].iter().map(|o| weights[j] * o).collect::<Vec<_>>();
            let guided = spread(&sum(&scaled), &sum(&|j| magnitudes(&scaled(j))));
            let own = spread(&o[0], &magnitudes(&o[0]));
            // Below that, one is taken for constant.
            if guided.value < 1e-6 * guided.error / e || own.value < 1e-6 * own.error / e {
                return None;
            }
            let ratio = (own.value / guided.value).sqrt();
            let relative = own.error / own.value + guided.error / guided.value;
            let factor = phi * ratio + (1.0 - phi);
            let of = |w: &f64| Weight {
                value: w * factor,
                error: (w * phi * ratio).abs() * relative,
            };
            weights.iter().map(of).collect()
        }
        Naive::Projected(w, eta, radius) => {
            if *w == 0.0 {
                return Some(vec![exact(1.0)]);
            }
            let ((c, c_size), (u, u_size)) = (space(0), space(1));
            let towards = less(&c, &u);
            let size: Vec<f64> = c_size.iter().zip(&u_size).map(|(a, b)| a + b).collect();
            let squared = product(&towards, &towards, (&size, &size));
            let along = product(&towards, &c, (&size, &c_size));
            let conditional = product(&c, &c, (&c_size, &c_size));
            let (mut shrink, mut loss) = (1.0, 0.0);
            if radius.is_finite() {
                let norm = squared.value.sqrt();
                if squared.value <= 1e6 * squared.error {
                    return None;
                }
                loss = squared.error / squared.value;
                shrink = if norm > *radius { radius / norm } else { 1.0 };
            }
            if conditional.value <= 1e6 * conditional.error {
                return None;
            }
            let parallel = shrink * along.value / conditional.value;
            let error = shrink * along.error / conditional.value
                + parallel.abs() * (conditional.error / conditional.value + loss + 4.0 * e);
            let share = w * (1.0 - eta);
            let on_delta = w * shrink;
            let delta_error = on_delta.abs() * (loss + e);
            vec![
                Weight {
                    value: 1.0 - share * parallel + on_delta,
                    error: share.abs() * error + delta_error + e,
                },
                Weight {
                    value: -on_delta,
                    error: delta_error,
                },
            ]
        }
        Naive::ZeroStar(s) => {
            let ((c, c_size), (u, u_size)) = (space(0), space(1));
            let squared = product(&u, &u, (&u_size, &u_size));
            let along = product(&c, &u, (&c_size, &u_size));
            let below = squared.value + 1e-8;
            if below < 1e6 * squared.error {
                return None;
            }
            let a = along.value / below;
            let error = along.error / below + a.abs() * (squared.error / below + e);
            vec![
                exact(*s),
                Weight {
                    value: (1.0 - s) * a,
                    error: (1.0 - s).abs() * error,
                },
            ]
        }
        Naive::PlusPlus(lambda) => vec![exact(*lambda), exact(1.0 - lambda)],
        Naive::Tangential(s) => {
            let size = [magnitudes(&o[0]), magnitudes(&o[1])];
            let gram = |j: usize, k: usize| product(&o[j], &o[k], (&size[j], &size[k]));
            let (cc, cu, uu) = (gram(0, 0), gram(0, 1), gram(1, 1));
            let length = (cc.value - uu.value).hypot(2.0 * cu.value);
            let error = (cc.error + uu.error + 2.0 * cu.error) / length + 8.0 * e;
            if error.is_nan() || error >= 1e-6 {
                return None;
            }
            let angle = 0.5 * (2.0 * cu.value).atan2(cc.value - uu.value);
            let (sine, cosine) = angle.sin_cos();
            let rest = 1.0 - s;
            let of = |value: f64, more: f64| Weight {
                value,
                error: rest.abs() * error + more,
            };
            vec![
                of(s + rest * sine * cosine, e * s.abs()),
                of(rest * sine * sine, 0.0),
            ]
        }
        Naive::Perpendicular(s, w) => {
            let (c, u, negative) = (&o[0], &o[1], &o[2]);
            let (towards, away) = (less(c, u), less(negative, u));
            let add = |a: &[f64], b: &[f64]| {
                let sizes = a.iter().zip(b).map(|(a, b)| a.abs() + b.abs());
                sizes.collect::<Vec<_>>()
            };
            let (size, away_size) = (add(c, u), add(negative, u));
            let squared = product(&towards, &towards, (&size, &size));
            let along = product(&away, &towards, (&away_size, &size));
            if squared.value < 1e-6 * squared.error / e {
                return None;
            }
            let share = along.value / squared.value;
            let error =
                along.error / squared.value + share.abs() * (squared.error / squared.value + e);
            let conditional = s * (1.0 + w * share);
            let error = (s * w).abs() * (error + e * (1.0 + share.abs()));
            vec![
                Weight {
                    value: conditional,
                    error,
                },
                Weight {
                    value: 1.0 - conditional + s * w,
                    error,
                },
                exact(-s * w),
            ]
        }
        Naive::Classifier(_) | Naive::Unknown => return None,
    })
}

/// What DDIM's step should give, and the magnitude of all that it is a sum of, in f64.
fn ddim(
    naive: &Naive,
    prediction: Prediction,
    [t, s]: &[NoiseLevel; 2],
    x: &[f64],
    o: &[Vec<f64>],
) -> Option<Vec<(f64, f64, f64)>> {
    let space = match naive {
        Naive::Projected(..) => Prediction::Data,
        Naive::ZeroStar(_) => Prediction::Flow,
        _ => prediction,
    };
    let into = prediction.convert_to(space, t).ok()?;
    let back = space.data(t).ok()?;
    let in_space = |j: usize| {
        let pairs = x.iter().zip(&o[j]);
        let values = pairs.clone().map(|(x, o)| into.x * x + into.output * o);
        let sizes = pairs.map(|(x, o)| (into.x * x).abs() + (into.output * o).abs());
        (values.collect::<Vec<_>>(), sizes.collect::<Vec<_>>())
    };
    let (gradient, weights) = match naive {
        Naive::Classifier(0.0) => (0.0, vec![exact(1.0)]),
        Naive::Classifier(w) => (w * t.sigma() * t.sigma() / t.alpha(), vec![exact(1.0)]),
        _ => (0.0, weights(naive, o, in_space)?),
    };
    let spaces: Vec<_> = (0..weights.len()).map(in_space).collect();
    let step = |i: usize| {
        let (mut y, mut size, mut error) = (0.0, 0.0, 0.0);
        for (weight, (values, sizes)) in weights.iter().zip(&spaces) {
            y += weight.value * values[i];
            size += weight.value.abs() * sizes[i];
            error += weight.error * sizes[i];
        }
        // D and its size; then x' = α_s D + σ_s (x − α_t D)/σ_t.
        let mut d = back.x * x[i] + back.output * y;
        let mut d_size = (back.x * x[i]).abs() + back.output.abs() * size;
        let d_error = back.output.abs() * error;
        if gradient != 0.0 {
            d += gradient * o[1][i];
            d_size += (gradient * o[1][i]).abs();
        }
        let ratio = s.sigma() / t.sigma();
        let (mut e_data, mut e_size) = (d, d_size);
        if let Naive::PlusPlus(_) = naive {
            // The noise is that of the unconditional output alone.
            e_data = back.x * x[i] + back.output * o[1][i];
            e_size = (back.x * x[i]).abs() + (back.output * o[1][i]).abs();
        }
        let value = s.alpha() * d + ratio * (x[i] - t.alpha() * e_data);
        let total = s.alpha() * d_size + ratio * (x[i].abs() + t.alpha() * e_size);
        (value, total, (s.alpha() + ratio * t.alpha()) * d_error)
    };
    Some((0..x.len()).map(step).collect())
}

fn check<A: Real>(input: &mut Input<'_>) -> Result<(), Error> {
    let wild = input.flag();
    let (guidance, naive) = form(input, wild, 2)?;
    let prediction = setups::prediction(input);
    let [t, s] = levels(input, wild)?;
    let grid = Grid::from_levels(vec![t, s], 1.0)?;
    let plan = Path::without_schedule(&grid);
    let sampler = Sampler::along(&plan, &FirstOrder::ddim())?;
    let clip = setups::clip(input)?;
    let sampler = match clip {
        Some(clip) => sampler.with_clip(clip),
        None => sampler,
    };
    let shape = (input.below(4), input.below(9));
    let mut mix = Mix(input.long());
    let specials = wild && input.flag();
    let mut value = || -> A {
        match specials && mix.next().is_multiple_of(4) {
            true => [
                A::infinity(),
                A::neg_infinity(),
                A::nan(),
                A::zero(),
                A::max_value(),
            ][mix.next() as usize % 5],
            false => A::cast(bf16::from_f64(3.0 * mix.unit()).to_f64()),
        }
    };
    let outputs: Vec<Array2<A>> = (0..7)
        .map(|_| Array2::from_shape_simple_fn(shape, &mut value))
        .collect();
    let x = Array2::from_shape_simple_fn(shape, || A::cast(f64::from(input.byte()) / 64.0 - 2.0));
    let start = || -> Result<Trajectory<A, Ix2>, Error> {
        sampler.start_from(x.clone(), prediction, KeyedNoise::new(1))
    };

    // Told, one by one.
    let mut told = start()?;
    let wanted = match told.ask_guided(&guidance) {
        Ok(question) => question.map_or(0, |question| question.query.outputs()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Err(error);
        }
    };
    assert!(
        (1..=6).contains(&wanted),
        "{wanted} outputs of {guidance:?}"
    );
    let list: Vec<_> = outputs[..wanted].iter().map(|output| &**output).collect();
    let outcome = told.tell_guided(&guidance, &list);
    let state = told.state().to_owned();
    let finite = |array: &Array2<A>| array.iter().all(|x| x.is_finite());
    if outcome.is_ok() {
        assert!(finite(&state), "{guidance:?} of {list:?}: {state:?}");
    }
    let used = outputs[..wanted].iter().all(finite);
    assert!(
        used || outcome.is_err(),
        "{guidance:?} of {list:?} gave {state:?}"
    );

    // In one array, and by a model.
    let stacked = ndarray::concatenate(
        Axis(0),
        &outputs[..wanted]
            .iter()
            .map(|o| o.view())
            .collect::<Vec<_>>(),
    )
    .expect("equal shapes");
    let mut run = start()?;
    run.ask_guided(&guidance)?;
    agree(
        &told,
        &outcome,
        &run.tell_stacked(&guidance, &stacked),
        &run,
    );
    let model = from_query_fn::<A, Ix2, Error>(prediction, MOST, |_, query, out| {
        let samples = shape.0.max(1);
        for (mut part, output) in out.axis_chunks_iter_mut(Axis(0), samples).zip(&outputs) {
            part.assign(output);
        }
        assert_eq!(query.outputs(), wanted);
        Ok(())
    });
    let mut run = start()?;
    let by_model = run.complete(&mut Guided::new(model, &guidance));
    match by_model {
        Err(RunError::Denoiser(error)) => panic!("{error:?}"),
        // An empty batch asks no model, and so no guidance.
        _ if shape.0 * shape.1 == 0 => {}
        // Refused at once, and not only at the levels where it wants so many.
        refused if guidance.outputs() > MOST => assert!(refused.is_err()),
        by_model => {
            let by_model = by_model.map_err(|error| match error {
                RunError::Sampler(error) => error,
                RunError::Denoiser(error) => error,
            });
            // A model that answers NaN is found where it is asked, with the place of the answer.
            assert_eq!(
                by_model.is_ok(),
                outcome.is_ok(),
                "{by_model:?}, {outcome:?}"
            );
            if outcome.is_ok() {
                agree(&told, &outcome, &by_model, &run);
            }
        }
    }

    // By the formula.
    if wild || clip.is_some() || outcome.is_err() {
        return outcome;
    }
    let eps = A::epsilon().widen();
    let least = A::min_positive_value().widen() * eps;
    for sample in 0..shape.0 {
        let row = |array: &Array2<A>| -> Vec<f64> {
            array.row(sample).iter().map(|x| x.widen()).collect()
        };
        let o: Vec<Vec<f64>> = outputs.iter().map(row).collect();
        let Some(expected) = ddim(&naive, prediction, &[t, s], &row(&x), &o) else {
            continue;
        };
        for (i, (found, (value, size, error))) in row(&state).iter().zip(expected).enumerate() {
            // Every term of the sum is rounded some twenty times: as a coefficient (α, σ, the
            // prediction's, the weight's, all in f64, then cast), as a product and in the sum.
            let rounded = 2.0 * error + 24.0 * eps * size;
            // And what underflows: a coefficient of 1e-262 in f32.
            let outputs = o[..wanted].iter().map(|output| output[i].abs());
            let operands = 1.0 + x[[sample, i]].widen().abs() + outputs.sum::<f64>();
            let bound = rounded + 24.0 * least * operands;
            // The formula's own terms overflow: a prediction with coefficients of 1e-309.
            if bound == f64::INFINITY {
                continue;
            }
            assert!(
                (found - value).abs() <= bound,
                "{guidance:?} on {prediction:?} from {t:?} to {s:?}: {found}, not {value}; \
                 bound {bound:e}"
            );
        }
    }
    Ok(())
}

/// Two runs that were told the same have the same outcome and the same bits.
fn agree<A: Real>(
    one: &Trajectory<A, Ix2>,
    outcome: &Result<(), Error>,
    other_outcome: &Result<(), Error>,
    other: &Trajectory<A, Ix2>,
) {
    // Errors hold NaN, which is not itself.
    assert_eq!(format!("{outcome:?}"), format!("{other_outcome:?}"));
    let differ = one
        .state()
        .iter()
        .zip(other.state())
        .any(|(a, b)| bits(*a) != bits(*b));
    assert!(!differ, "{:?} and {:?}", one.state(), other.state());
}

/// Every form of guidance on any outputs.
pub fn guidance(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let outcome = match input.flag() {
        true => check::<f64>(&mut input),
        false => check::<f32>(&mut input),
    };
    if let Err(error) = outcome {
        let message = error.to_string();
        assert!(is_readable(&message), "{message}");
    }
}
