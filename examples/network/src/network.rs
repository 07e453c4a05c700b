//! The network's forward pass.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice, s};

use crate::activation::silu_with_bias;
use crate::architecture::{BLOCKS, HIDDEN, NO_CLASS, PIXELS, WIDTH};
use crate::condition::{Condition, Modulations};
use crate::denoiser::ByClass;
use crate::error::Error;
use crate::norm::modulated;
use crate::weights::{Linear, Weights};

/// The weights that `examples/training` made.
const TRAINED: &[u8] = include_bytes!("../weights/digits.safetensors");

/// Rows that go through the layers together: so many that packing a matrix counts for little, so
/// few that what they become stays in the cache.
const TILE: usize = 256;

/// The network: a residual multilayer perceptron whose rows are scaled and shifted by λ and the
/// class. Its README gives the formulas.
///
/// ```
/// use ndarray::Array2;
///
/// let network = digits_network::Network::trained()?;
/// let x = Array2::zeros((2, digits_network::PIXELS));
/// let mut velocity = Array2::zeros((2, digits_network::PIXELS));
/// network.forward(x.view(), &[0.0, -1.0], &[3, digits_network::NO_CLASS], velocity.view_mut())?;
/// # Ok::<(), digits_network::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    condition: Condition,
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
}

/// h ← h + down(silu(up(modulated h))).
#[derive(Clone, Debug)]
struct Block {
    up: Linear,
    down: Linear,
}

/// What a tile of rows becomes on its way.
#[derive(Debug)]
struct Scratch {
    x: Array2<f32>,
    stream: Array2<f32>,
    modulated: Array2<f32>,
    hidden: Array2<f32>,
}

impl Scratch {
    fn new(rows: usize) -> Self {
        let array = |columns| Array2::zeros((rows, columns));
        Self {
            x: array(PIXELS),
            stream: array(WIDTH),
            modulated: array(WIDTH),
            hidden: array(HIDDEN),
        }
    }
}

impl Network {
    /// The network with the weights that are compiled in.
    ///
    /// # Errors
    ///
    /// None with the file of this package; otherwise as
    /// [`from_safetensors`](Self::from_safetensors).
    pub fn trained() -> Result<Self, Error> {
        Self::from_safetensors(TRAINED)
    }

    /// The network with the weights of a file in the format of safetensors, in f16 or f32, named
    /// and shaped as [`tensors`](crate::tensors) lists.
    ///
    /// # Errors
    ///
    /// [`Error::Safetensors`], [`Error::MissingTensor`], [`Error::UnknownTensor`],
    /// [`Error::WrongShape`], [`Error::WrongType`], [`Error::WeightNotFinite`].
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let weights = Weights::read(bytes)?;
        let block = |block: usize| {
            Ok(Block {
                up: weights.linear(&format!("blocks.{block}.up"))?,
                down: weights.linear(&format!("blocks.{block}.down"))?,
            })
        };
        Ok(Self {
            condition: Condition::read(&weights, BLOCKS)?,
            input: weights.linear("input")?,
            blocks: (0..BLOCKS).map(block).collect::<Result<_, Error>>()?,
            output: weights.linear("output")?,
        })
    }

    /// The velocity v = αε − σx₀ that the network predicts for each row of `x`, with
    /// λ = ln(α/σ) and α² + σ² = 1.
    ///
    /// `x` and `out` are \[n, 64\]; `lambdas` and `classes` have one entry for each row. The result
    /// for a row does not depend on the other rows, to the last bit.
    ///
    /// # Errors
    ///
    /// [`Error::WrongColumns`], [`Error::WrongLength`]; [`Error::NotFinite`] for λ;
    /// [`Error::UnknownClass`] unless a class is 0 to 9, or [`NO_CLASS`].
    pub fn forward(
        &self,
        x: ArrayView2<'_, f32>,
        lambdas: &[f32],
        classes: &[usize],
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        let rows = x.nrows();
        columns("x", x.ncols())?;
        columns("out", out.ncols())?;
        length("rows of out", rows, out.nrows())?;
        length("lambdas", rows, lambdas.len())?;
        check_classes(classes)?;
        length("classes", rows, classes.len())?;
        let infinite = lambdas.iter().position(|lambda| !lambda.is_finite());
        if let Some((row, &lambda)) = infinite.and_then(|row| Some((row, lambdas.get(row)?))) {
            return Err(Error::NotFinite { row, lambda });
        }
        let modulations = self.condition.modulations(lambdas, classes);
        let mut scratch = Scratch::new(rows.min(TILE));
        let tiles = x.axis_chunks_iter(Axis(0), TILE);
        let outs = out.axis_chunks_iter_mut(Axis(0), TILE);
        let of = modulations.of.chunks(TILE);
        for ((x, out), of) in tiles.zip(outs).zip(of) {
            self.tile(x, of, &modulations, &mut scratch, out);
        }
        Ok(())
    }

    /// The network with a class for each sample, as a model for a run: see [`ByClass`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownClass`] unless a class is 0 to 9, or [`NO_CLASS`].
    pub fn denoiser(&self, classes: &[usize]) -> Result<ByClass<'_>, Error> {
        check_classes(classes)?;
        Ok(ByClass::new(self, classes))
    }

    /// The layers for at most [`TILE`] rows.
    fn tile(
        &self,
        x: ArrayView2<'_, f32>,
        of: &[usize],
        modulations: &Modulations,
        scratch: &mut Scratch,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let part = Slice::from(..x.nrows());
        let mut copy = scratch.x.slice_axis_mut(Axis(0), part);
        copy.assign(&x);
        let mut stream = scratch.stream.slice_axis_mut(Axis(0), part);
        let mut inner = scratch.modulated.slice_axis_mut(Axis(0), part);
        let mut hidden = scratch.hidden.slice_axis_mut(Axis(0), part);
        general_mat_mul(1.0, &copy, &self.input.weight, 0.0, &mut stream);
        add_bias(&mut stream, &self.input.bias);
        for (block, table) in self.blocks.iter().zip(&modulations.tables) {
            modulate(&stream, table, of, &mut inner);
            general_mat_mul(1.0, &inner, &block.up.weight, 0.0, &mut hidden);
            if let Some(hidden) = hidden.as_slice_mut() {
                silu_with_bias(hidden, &block.up.bias);
            }
            general_mat_mul(1.0, &hidden, &block.down.weight, 1.0, &mut stream);
            add_bias(&mut stream, &block.down.bias);
        }
        if let Some(table) = modulations.tables.last() {
            modulate(&stream, table, of, &mut inner);
        }
        general_mat_mul(1.0, &inner, &self.output.weight, 0.0, &mut out);
        add_bias(&mut out, &self.output.bias);
    }
}

/// Every row of `from`, normalised, scaled and shifted by the row of `table` that is its own.
fn modulate(
    from: &ArrayViewMut2<'_, f32>,
    table: &Array2<f32>,
    of: &[usize],
    to: &mut ArrayViewMut2<'_, f32>,
) {
    for ((from, mut to), &condition) in from.outer_iter().zip(to.outer_iter_mut()).zip(of) {
        let modulation = table.slice(s![condition, ..]);
        if let (Some(from), Some(modulation), Some(to)) =
            (from.as_slice(), modulation.as_slice(), to.as_slice_mut())
        {
            modulated(from, modulation, to);
        }
    }
}

fn add_bias(rows: &mut ArrayViewMut2<'_, f32>, bias: &[f32]) {
    for mut row in rows.outer_iter_mut() {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

fn columns(name: &'static str, found: usize) -> Result<(), Error> {
    if found == PIXELS {
        return Ok(());
    }
    Err(Error::WrongColumns { name, found })
}

fn length(name: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::WrongLength {
        name,
        expected,
        found,
    })
}

fn check_classes(classes: &[usize]) -> Result<(), Error> {
    let unknown = classes
        .iter()
        .enumerate()
        .find(|(_, class)| **class > NO_CLASS);
    match unknown {
        Some((row, &class)) => Err(Error::UnknownClass { row, class }),
        None => Ok(()),
    }
}
