//! What λ and the class do to every row.

use std::collections::HashMap;

use ndarray::{Array2, Axis, linalg::general_mat_mul};

use crate::activation::silu_with_bias;
use crate::architecture::{FREQUENCIES, LAMBDA_LIMIT};
use crate::error::Error;
use crate::weights::{Linear, Weights};

/// The layers that turn λ and the class into scales and shifts.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    first: Linear,
    second: Linear,
    classes: Array2<f32>,
    /// The modulations of all blocks, then the output's.
    modulations: Vec<Linear>,
}

/// Scales and shifts of the different conditions of a batch.
#[derive(Debug)]
pub(crate) struct Modulations {
    /// For each block and the output: a row for each different condition.
    pub(crate) tables: Vec<Array2<f32>>,
    /// Which condition each row of the batch has.
    pub(crate) of: Vec<usize>,
}

impl Condition {
    pub(crate) fn read(weights: &Weights<'_>, blocks: usize) -> Result<Self, Error> {
        let names = (0..blocks).map(|block| format!("blocks.{block}.modulation"));
        let names = names.chain(std::iter::once("output.modulation".to_owned()));
        Ok(Self {
            first: weights.linear("time.first")?,
            second: weights.linear("time.second")?,
            classes: weights.matrix("classes")?,
            modulations: names
                .map(|name| weights.linear(&name))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The modulations of rows with these λ and classes, which are checked. A condition that many
    /// rows share, as all of a digit do in a run, is computed once.
    pub(crate) fn modulations(&self, lambdas: &[f32], classes: &[usize]) -> Modulations {
        let mut places = HashMap::new();
        let mut different = Vec::new();
        let conditions = lambdas.iter().zip(classes);
        let of = conditions.map(|(&lambda, &class)| {
            *places.entry((lambda.to_bits(), class)).or_insert_with(|| {
                different.push((lambda, class));
                different.len() - 1
            })
        });
        let of = of.collect();
        let embedded = self.embed(&different);
        let tables = self.modulations.iter();
        let tables = tables.map(|layer| layer.of(&embedded)).collect();
        Modulations { tables, of }
    }

    /// silu(second(silu(first(features of λ))) + class).
    fn embed(&self, conditions: &[(f32, usize)]) -> Array2<f32> {
        let features = Array2::from_shape_fn((conditions.len(), 2 * FREQUENCIES), |(row, k)| {
            feature(conditions.get(row).map_or(0.0, |(lambda, _)| *lambda), k)
        });
        let mut inner = Array2::zeros((conditions.len(), self.first.bias.len()));
        general_mat_mul(1.0, &features, &self.first.weight, 0.0, &mut inner);
        activate(&mut inner, &self.first.bias);
        let mut embedded = self.second.of(&inner);
        let rows = conditions.iter().map(|(_, class)| *class);
        for (mut row, class) in embedded.outer_iter_mut().zip(rows) {
            row += &self.classes.index_axis(Axis(0), class);
        }
        let none = vec![0.0; embedded.ncols()];
        activate(&mut embedded, &none);
        embedded
    }
}

/// sin(ωλ) for all frequencies ω, then cos(ωλ), with λ clamped. The sines are those of f64, rounded
/// once: the same on all platforms.
fn feature(lambda: f32, k: usize) -> f32 {
    let lambda = f64::from(lambda.clamp(-LAMBDA_LIMIT, LAMBDA_LIMIT));
    let frequency = |k: usize| 0.25 * (k + 1) as f64;
    if k < FREQUENCIES {
        libm::sin(frequency(k) * lambda) as f32
    } else {
        libm::cos(frequency(k - FREQUENCIES) * lambda) as f32
    }
}

fn activate(rows: &mut Array2<f32>, bias: &[f32]) {
    if let Some(rows) = rows.as_slice_mut() {
        silu_with_bias(rows, bias);
    }
}

impl Linear {
    /// x·W + b.
    fn of(&self, x: &Array2<f32>) -> Array2<f32> {
        let mut out = Array2::zeros((x.nrows(), self.bias.len()));
        general_mat_mul(1.0, x, &self.weight, 0.0, &mut out);
        for mut row in out.outer_iter_mut() {
            for (out, bias) in row.iter_mut().zip(&self.bias) {
                *out += bias;
            }
        }
        out
    }
}
