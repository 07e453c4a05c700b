//! The trained digits network as a module of burn. The README of the package `digits-network` has
//! its formulas, tensor by tensor.

use burn::module::Module;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor};
use burn_nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use digits_network::{BLOCKS, EMBEDDING, FREQUENCIES, HIDDEN, PIXELS, WIDTH};
use digits_network::{LAMBDA_LIMIT, NO_CLASS, NORM_FLOOR};

use crate::runs::Result;
use crate::weights;

/// The file of that package.
const TRAINED: &[u8] = include_bytes!("../../network/weights/digits.safetensors");

/// The tensors whose names in the file are not their paths in the module.
const RENAMED: [(&str, &str); 3] = [
    ("classes.weight", "classes"),
    ("output.linear.weight", "output.weight"),
    ("output.linear.bias", "output.bias"),
];

/// A residual multilayer perceptron whose rows are scaled and shifted by λ and the class.
#[derive(Module, Debug)]
pub struct Digits {
    time: Time,
    classes: Embedding,
    input: Linear,
    blocks: Vec<Block>,
    output: Output,
}

#[derive(Module, Debug)]
struct Time {
    first: Linear,
    second: Linear,
}

/// h + down(silu(up(modulated h))).
#[derive(Module, Debug)]
struct Block {
    modulation: Linear,
    up: Linear,
    down: Linear,
}

#[derive(Module, Debug)]
struct Output {
    modulation: Linear,
    linear: Linear,
}

impl Digits {
    /// The trained network.
    pub fn trained(device: &Device) -> Result<Self> {
        weights::read(Self::new(device), TRAINED, &RENAMED)
    }

    /// The network with weights that are still to be loaded or trained.
    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let block = |_| Block {
            modulation: linear(EMBEDDING, 2 * WIDTH),
            up: linear(WIDTH, HIDDEN),
            down: linear(HIDDEN, WIDTH),
        };
        Self {
            time: Time {
                first: linear(2 * FREQUENCIES, EMBEDDING),
                second: linear(EMBEDDING, EMBEDDING),
            },
            classes: EmbeddingConfig::new(NO_CLASS + 1, EMBEDDING).init(device),
            input: linear(PIXELS, WIDTH),
            blocks: (0..BLOCKS).map(block).collect(),
            output: Output {
                modulation: linear(EMBEDDING, 2 * WIDTH),
                linear: linear(WIDTH, PIXELS),
            },
        }
    }

    /// The velocity of every row of `x`, \[n, 64\], at λ = ln(α/σ), with `classes`, \[n\].
    pub fn forward(&self, x: Tensor<2>, lambda: f64, classes: Tensor<1, Int>) -> Tensor<2> {
        let condition = self.condition(lambda, classes);
        let mut stream = self.input.forward(x);
        for block in &self.blocks {
            let inner = modulated(&stream, block.modulation.forward(condition.clone()));
            stream = stream + block.down.forward(silu(block.up.forward(inner)));
        }
        let inner = modulated(&stream, self.output.modulation.forward(condition));
        self.output.linear.forward(inner)
    }

    /// The outputs that guidance wants, from one call: with the classes, then without.
    pub fn outputs(
        &self,
        x: &Tensor<2>,
        lambda: f64,
        classes: &Tensor<1, Int>,
        wanted: usize,
    ) -> Vec<Tensor<2>> {
        let mut labels = vec![classes.clone()];
        labels.resize(wanted, classes.full_like(NO_CLASS as i64));
        let rows = Tensor::cat(vec![x.clone(); wanted], 0);
        let outputs = self.forward(rows, lambda, Tensor::cat(labels, 0));
        outputs.chunk(wanted, 0)
    }

    /// silu(second(silu(first(features of λ))) + class), \[n, 64\].
    fn condition(&self, lambda: f64, classes: Tensor<1, Int>) -> Tensor<2> {
        let limit = f64::from(LAMBDA_LIMIT);
        let frequencies = Tensor::<1, Int>::arange(1..FREQUENCIES as i64 + 1, &classes.device());
        let frequencies = frequencies.float().cast(self.input.weight.val().dtype());
        let angles = frequencies * (0.25 * lambda.clamp(-limit, limit));
        let features = Tensor::cat(vec![angles.clone().sin(), angles.cos()], 0);
        let time = silu(self.time.first.forward(features.unsqueeze::<2>()));
        let time = self.time.second.forward(time);
        let classes = self
            .classes
            .forward(classes.unsqueeze_dim(1))
            .squeeze_dim(1);
        silu(time + classes)
    }
}

/// x/√(mean(x²) + floor)·(1 + scale) + shift; a row of `modulation` is scale, then shift.
fn modulated(x: &Tensor<2>, modulation: Tensor<2>) -> Tensor<2> {
    let square = x.clone().powi_scalar(2).mean_dim(1);
    let normalised = x.clone() / (square + NORM_FLOOR).sqrt();
    let [scale, shift] = [0, 1].map(|part| modulation.clone().narrow(1, part * WIDTH, WIDTH));
    normalised * (scale + 1.0) + shift
}
