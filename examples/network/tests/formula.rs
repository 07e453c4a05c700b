//! The forward pass beside the README's formulas, written anew in f64, number by number.

use std::collections::HashMap;
use std::error::Error;

use diffusion_sampler::{KeyedNoise, forward::fill_normal, noise::Stream};
use digits_network::{NO_CLASS, Network, PIXELS};
use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};

const FILE: &[u8] = include_bytes!("../weights/digits.safetensors");

struct Reference(HashMap<String, Vec<f64>>);

impl Reference {
    fn read() -> Result<Self, Box<dyn Error>> {
        let file = SafeTensors::deserialize(FILE)?;
        let mut tensors = HashMap::new();
        for (name, tensor) in file.iter() {
            assert_eq!(tensor.dtype(), Dtype::F16, "{name}");
            let values = tensor.data().chunks(2).map(|pair| half(pair[0], pair[1]));
            tensors.insert(name.to_owned(), values.collect());
        }
        // The README's number of weights.
        assert_eq!(tensors.values().map(Vec::len).sum::<usize>(), 574_720);
        Ok(Self(tensors))
    }

    /// x·W + b with W in row-major order, [inputs, outputs].
    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = &self.0[&format!("{name}.weight")];
        let bias = &self.0[&format!("{name}.bias")];
        let columns = bias.len();
        assert_eq!(weight.len(), x.len() * columns);
        let product = |j: usize| -> f64 {
            let terms = x.iter().enumerate();
            terms.map(|(i, x)| x * weight[i * columns + j]).sum()
        };
        (0..columns).map(|j| product(j) + bias[j]).collect()
    }

    fn modulated(&self, name: &str, h: &[f64], c: &[f64]) -> Vec<f64> {
        let modulation = self.linear(name, c);
        let (scale, shift) = modulation.split_at(h.len());
        let mean = h.iter().map(|h| h * h).sum::<f64>() / h.len() as f64;
        let normal = h.iter().map(|h| h / (mean + 1e-6).sqrt());
        let both = normal.zip(scale).zip(shift);
        both.map(|((h, scale), shift)| h * (1.0 + scale) + shift)
            .collect()
    }

    fn forward(&self, x: &[f64], lambda: f64, class: usize) -> Vec<f64> {
        let clamped = lambda.clamp(-6.0, 6.0);
        let angles = (0..8).map(|k| (k + 1) as f64 / 4.0 * clamped);
        let features: Vec<f64> = angles
            .clone()
            .map(f64::sin)
            .chain(angles.map(f64::cos))
            .collect();
        let inner = silu(self.linear("time.first", &features));
        let class = &self.0["classes"][class * 64..][..64];
        let second = self.linear("time.second", &inner);
        let c = silu(second.iter().zip(class).map(|(a, b)| a + b).collect());
        let mut h = self.linear("input", x);
        for block in 0..3 {
            let inner = self.modulated(&format!("blocks.{block}.modulation"), &h, &c);
            let hidden = silu(self.linear(&format!("blocks.{block}.up"), &inner));
            let down = self.linear(&format!("blocks.{block}.down"), &hidden);
            h.iter_mut().zip(down).for_each(|(h, down)| *h += down);
        }
        self.linear("output", &self.modulated("output.modulation", &h, &c))
    }
}

fn silu(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| x / (1.0 + (-x).exp())).collect()
}

/// A binary16 number from its bytes, by its definition.
fn half(low: u8, high: u8) -> f64 {
    let bits = u16::from_le_bytes([low, high]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    let size = match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        _ => (1.0 + fraction) * 2.0_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[test]
fn the_forward_pass_is_the_formula() -> Result<(), Box<dyn Error>> {
    let (network, reference) = (Network::trained()?, Reference::read()?);
    let rows = NO_CLASS + 1;
    let mut x = Array2::<f32>::zeros((rows, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(9), 0, Stream::User(0))?;
    let lambdas: Vec<f32> = (0..rows).map(|row| row as f32 * 1.5 - 7.5).collect();
    let classes: Vec<usize> = (0..rows).collect();
    let mut out = Array2::zeros((rows, PIXELS));
    network.forward(x.view(), &lambdas, &classes, out.view_mut())?;
    let largest = out
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.1);
    for (row, class) in classes.into_iter().enumerate() {
        let input: Vec<f64> = x.row(row).iter().map(|x| f64::from(*x)).collect();
        let expected = reference.forward(&input, f64::from(lambdas[row]), class);
        for (found, expected) in out.row(row).iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs() / f64::from(largest);
            assert!(error < 1e-5, "row {row}: {found} instead of {expected}");
        }
    }
    Ok(())
}
