//! The sizes of the network, and the list of its tensors.

use diffusion_sampler::Prediction;

/// Elements of a sample: 8×8 pixels, row by row, from −1 (paper) to 1 (ink).
pub const PIXELS: usize = 64;

/// Digits.
pub const CLASSES: usize = 10;

/// The class that stands for none: the dropped condition of classifier-free guidance.
pub const NO_CLASS: usize = CLASSES;

/// What the output means: the velocity v = αε − σx₀ at a variance-preserving level.
pub const PREDICTION: Prediction = Prediction::Velocity;

/// Channels of the residual stream.
pub const WIDTH: usize = 192;

/// Channels inside a block.
pub const HIDDEN: usize = 384;

/// Residual blocks.
pub const BLOCKS: usize = 3;

/// Channels of the condition.
pub const EMBEDDING: usize = 64;

/// Frequencies (k + 1)/4, k = 0, 1, …, of the features of λ.
pub const FREQUENCIES: usize = 8;

/// Features are of λ clamped to ±this: beyond it, levels look alike.
pub const LAMBDA_LIMIT: f32 = 6.0;

/// Added to the mean square before its root.
pub const NORM_FLOOR: f32 = 1e-6;

/// Name and shape of every tensor of the file, in the order in which the network uses them.
/// Matrices are \[inputs, outputs\]: a row x becomes x·W.
pub fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = Vec::new();
    linear(&mut tensors, "time.first", 2 * FREQUENCIES, EMBEDDING);
    linear(&mut tensors, "time.second", EMBEDDING, EMBEDDING);
    tensors.push(("classes".to_owned(), vec![CLASSES + 1, EMBEDDING]));
    linear(&mut tensors, "input", PIXELS, WIDTH);
    for block in 0..BLOCKS {
        let part = |part: &str| format!("blocks.{block}.{part}");
        linear(&mut tensors, &part("modulation"), EMBEDDING, 2 * WIDTH);
        linear(&mut tensors, &part("up"), WIDTH, HIDDEN);
        linear(&mut tensors, &part("down"), HIDDEN, WIDTH);
    }
    linear(&mut tensors, "output.modulation", EMBEDDING, 2 * WIDTH);
    linear(&mut tensors, "output", WIDTH, PIXELS);
    tensors
}

fn linear(tensors: &mut Vec<(String, Vec<usize>)>, name: &str, inputs: usize, outputs: usize) {
    tensors.push((format!("{name}.weight"), vec![inputs, outputs]));
    tensors.push((format!("{name}.bias"), vec![outputs]));
}
