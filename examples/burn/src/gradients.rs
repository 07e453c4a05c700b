//! The same runs on a device that records what it computes for gradients: the state of a run keeps
//! no record, so that memory does not grow from step to step.

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

/// What was seen of a run: whether its state has a record, and by how many bytes the memory in use
/// grew in its second half.
#[derive(Debug)]
struct Seen {
    tracked: bool,
    growth: isize,
}

fn watch<O>(network: &Digits, ops: O, like: &Tensor<2>) -> Result<Seen>
where
    O: TensorOps<Tensor = Tensor<2>, Element = f32>,
{
    let (sampler, guidance) = (sampler("DDIM trailing")?, ClassifierFree::with_scale(2.0)?);
    let labels = labels(&like.device());
    let mut run = sampler
        .on(ops)
        .start(like, PREDICTION, KeyedNoise::new(SEED))?;
    let (half, mut live) = (sampler.plan().steps().len() / 2, 0);
    while !run.is_finished() {
        if run.step() == half {
            live = allocations::live();
        }
        run.advance_guided(&guidance, |x, query| {
            let outputs = network.outputs(x, query.level().lambda(), &labels, query.outputs());
            assert!(outputs.iter().all(Tensor::is_tracked), "the model's outputs have one");
            Ok::<_, std::convert::Infallible>(outputs)
        })?;
    }
    let growth = allocations::live() - live;
    let tracked = run.state().is_tracked();
    Ok(Seen { tracked, growth })
}

/// Runs with and without `detach`; then a gradient through one evaluation, which stays possible.
pub fn check(device: &Device) -> Result<()> {
    let recording = device.clone().autodiff();
    let network = Digits::trained(&recording)?;
    let like = Tensor::zeros([CLASSES.len(), PIXELS], &recording);
    // One array of the network: what a record of one step holds at least.
    let one = (2 * CLASSES.len() * digits_network::HIDDEN * size_of::<f32>()) as isize;
    let (kept, attached) = (
        watch(&network, Burn, &like)?,
        watch(&network, Attached, &like)?,
    );
    println!("\nrecording for gradients, second half of a run: {kept:?}; without detach: {attached:?}");
    assert!(!kept.tracked && kept.growth < one, "{kept:?}");
    assert!(attached.tracked && attached.growth > 6 * one, "{attached:?}");

    // The samples are those of a device that does not record.
    let sampler = sampler("DPM++ 2M quadratic")?;
    let recorded = run(&network, &sampler, Burn, &like)?;
    let plain = Digits::trained(device)?;
    let plain = run(&plain, &sampler, Burn, &like.clone().without_autodiff())?;
    let values = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>();
    assert_eq!(values(recorded)?, values(plain)?);

    // A gradient of the state through one evaluation, as classifier guidance takes it.
    let x = like.require_grad();
    let outputs = network.outputs(&x, 0.0, &labels(&recording), 1);
    let outputs = outputs.into_iter().next().ok_or("no output")?;
    let gradient = x.grad(&outputs.sum().backward()).ok_or("no gradient")?;
    let largest: f32 = gradient.abs().max().try_into_scalar()?;
    assert!(largest > 0.0);
    Ok(())
}
