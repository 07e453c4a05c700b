//! The same runs on a device that records what it computes for gradients: the state of a run keeps
//! no record of the evaluations before it.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorReadError};
use diffusion_sampler::KeyedNoise;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::tensor::{Scale, TensorOps};
use digits_network::{PIXELS, PREDICTION};

use crate::allocations;
use crate::digits::Digits;
use crate::ops::Burn;
use crate::runs::Result;
use crate::trained::{CLASSES, SEED, labels, run, sampler};

/// The operations without the `detach` of ops.rs: what this test would find.
#[derive(Clone, Copy, Debug)]
struct Attached;

impl TensorOps for Attached {
    type Tensor = Tensor<2>;
    type Element = f32;
    type Error = TensorReadError;

    fn shape(&self, tensor: &Tensor<2>) -> impl AsRef<[usize]> {
        tensor.dims()
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Tensor<2>)],
    ) -> std::result::Result<Tensor<2>, TensorReadError> {
        // The weights of these runs are the same for all samples.
        let scaled = |(scale, tensor): &(Scale<'_>, &Tensor<2>)| (*tensor).clone() * scale.of(0);
        let rest = terms[1..].iter().map(scaled);
        Ok(rest.fold(scaled(&terms[0]), |sum, term| sum + term))
    }

    fn upload(
        &self,
        values: Vec<f32>,
        like: &Tensor<2>,
    ) -> std::result::Result<Tensor<2>, TensorReadError> {
        Burn.upload(values, like)
    }

    fn download(&self, tensor: &Tensor<2>) -> std::result::Result<Vec<f32>, TensorReadError> {
        Burn.download(tensor)
    }
}

/// Whether a run's state has a record, and by how many bytes the memory in use had grown at its end.
#[derive(Debug)]
struct Seen {
    tracked: bool,
    growth: isize,
}

/// A gradient through the network. burn lets go of records that nobody holds when the next one of
/// their graph is taken, and the weights join all evaluations to one graph.
fn take_a_gradient(network: &Digits, x: Tensor<2>) -> Result<f32> {
    let x = x.require_grad();
    let outputs = network.outputs(&x, 0.0, &labels(&x.device()), 1);
    let output = outputs.into_iter().next().ok_or("no output")?;
    let gradient = x.grad(&output.sum().backward()).ok_or("no gradient")?;
    Ok(gradient.abs().max().try_into_scalar()?)
}

fn watch<O>(network: &Digits, ops: O, like: &Tensor<2>) -> Result<Seen>
where
    O: TensorOps<Tensor = Tensor<2>, Element = f32>,
{
    let (sampler, guidance) = (sampler("DDIM trailing")?, ClassifierFree::with_scale(2.0)?);
    let (device, labels) = (like.device(), labels(&like.device()));
    let tidy = || match device.is_autodiff() {
        true => take_a_gradient(network, like.clone()),
        false => Ok(0.0),
    };
    tidy()?;
    let mut run = sampler
        .on(ops)
        .start(like, PREDICTION, KeyedNoise::new(SEED))?;
    let live = allocations::live();
    run.complete_guided(&guidance, |x, query| {
        let outputs = network.outputs(x, query.level().lambda(), &labels, query.outputs());
        let tracked = outputs.iter().all(Tensor::is_tracked);
        assert_eq!(
            tracked,
            device.is_autodiff(),
            "outputs on such a device have a record"
        );
        Ok::<_, std::convert::Infallible>(outputs)
    })?;
    tidy()?;
    let growth = allocations::live() - live;
    let tracked = run.state().is_tracked();
    Ok(Seen { tracked, growth })
}

/// Runs with and without `detach`; then a gradient through one evaluation, which stays possible.
pub fn check(device: &Device) -> Result<()> {
    let recording = device.clone().autodiff();
    let network = Digits::trained(&recording)?;
    let like = Tensor::zeros([CLASSES.len(), PIXELS], &recording);
    // One array of the network: a record of one step holds several.
    let one = (2 * CLASSES.len() * digits_network::HIDDEN * size_of::<f32>()) as isize;
    let kept = watch(&network, Burn, &like)?;
    let attached = watch(&network, Attached, &like)?;
    let valid = watch(&network.valid(), Burn, &like.clone().without_autodiff())?;
    println!(
        "\nrecording for gradients: {kept:?}; without detach: {attached:?}; valid(): {valid:?}"
    );
    assert!(!kept.tracked && kept.growth < one, "{kept:?}");
    assert!(
        attached.tracked && attached.growth > 12 * one,
        "{attached:?}"
    );
    assert!(!valid.tracked && valid.growth < one, "{valid:?}");

    // The samples are those of a device that does not record.
    let sampler = sampler("DPM++ 2M quadratic")?;
    let recorded = run(&network, &sampler, Burn, &like)?;
    let plain = Digits::trained(device)?;
    let plain = run(&plain, &sampler, Burn, &like.clone().without_autodiff())?;
    let values = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>();
    assert_eq!(values(recorded)?, values(plain)?);

    // A gradient of the state through one evaluation stays possible: classifier guidance takes it.
    assert!(take_a_gradient(&network, like)? > 0.0);
    Ok(())
}
