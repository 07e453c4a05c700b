//! The digits' network, to be served.

use std::sync::Arc;

use diffusion_sampler::schedule::VariancePreserving;
use digits_network::{CLASSES, Error, LAMBDA_LIMIT, NO_CLASS, PIXELS, PREDICTION};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::checksum::checksum;
use crate::network::{Model, Network, Row};

/// The network of handwritten digits in `examples/network`.
#[derive(Clone, Debug)]
pub struct Digits {
    network: digits_network::Network,
    model: Model,
    lambdas: Vec<f32>,
    classes: Vec<usize>,
}

impl Digits {
    /// The network with the weights that are compiled in.
    ///
    /// # Errors
    ///
    /// Those of [`digits_network::Network::trained`].
    pub fn trained() -> Result<Self, Error> {
        let network = digits_network::Network::trained()?;
        let model = Model {
            prediction: PREDICTION,
            schedule: Arc::new(VariancePreserving::default()),
            elements: PIXELS,
            classes: CLASSES,
            fingerprint: fingerprint(&network)?,
        };
        Ok(Self {
            network,
            model,
            lambdas: Vec::new(),
            classes: Vec::new(),
        })
    }

    /// The network alone.
    pub fn network(&self) -> &digits_network::Network {
        &self.network
    }
}

/// Of what the network makes of one row of each class: another if any weight that counts is
/// another.
fn fingerprint(network: &digits_network::Network) -> Result<u64, Error> {
    let classes: Vec<usize> = (0..=NO_CLASS).collect();
    let lambdas: Vec<f32> = classes.iter().map(|&class| class as f32 - 5.0).collect();
    let x = |(row, j): (usize, usize)| ((row + 1) * (j + 3) % 17) as f32 / 8.0 - 1.0;
    let x = Array2::from_shape_fn((classes.len(), PIXELS), x);
    let mut out = Array2::zeros(x.dim());
    network.forward(x.view(), &lambdas, &classes, out.view_mut())?;
    Ok(checksum(out.iter().flat_map(|value| value.to_le_bytes())))
}

impl Network for Digits {
    type Error = Error;

    fn model(&self) -> Model {
        self.model.clone()
    }

    fn forward(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &[Row],
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Error> {
        // The network takes finite λ only, and clamps beyond its limit anyway.
        let limit = f64::from(LAMBDA_LIMIT);
        let lambda = |row: &Row| row.level.lambda().clamp(-limit, limit) as f32;
        self.lambdas.clear();
        self.lambdas.extend(rows.iter().map(lambda));
        self.classes.clear();
        let class = |row: &Row| row.class.unwrap_or(NO_CLASS);
        self.classes.extend(rows.iter().map(class));
        self.network.forward(x, &self.lambdas, &self.classes, out)
    }
}
