//! A candle tensor of one's own, read by a `Trajectory` without a copy.

use candle_core::{Device, Layout, Storage, StorageRef, Tensor};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::ndarray::{ArrayView, Ix4};
use diffusion_sampler::solver::DpmSolverPlusPlus;
use diffusion_sampler::{KeyedNoise, Trajectory};

use crate::network::Network;
use crate::reference::{self, PREDICTION, SHAPE};
use crate::runs::{self, Library, Result};

/// The elements of a contiguous f32 tensor on the CPU where they lie. The borrow of the storage
/// keeps them there.
fn view<'s>(storage: &'s StorageRef<'_>, layout: &Layout) -> Result<ArrayView<'s, f32, Ix4>> {
    let Storage::Cpu(storage) = &**storage else {
        return Err("the tensor is not on the CPU".into());
    };
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or("the tensor is not contiguous")?;
    let values = &storage.as_slice::<f32>()?[start..end];
    Ok(ArrayView::from_shape(layout.shape().dims4()?, values)?)
}

/// A guided run on our own arrays with candle's network: the state is copied into the network, its
/// outputs, two halves of one tensor, are read in place.
pub fn run(network: &Network) -> Result<Vec<f32>> {
    let sampler = runs::sampler(&DpmSolverPlusPlus::new())?;
    let guidance = ClassifierFree::with_scale(4.0)?;
    let noise = KeyedNoise::new(42);
    let mut run: Trajectory<f32, Ix4> = sampler.start(SHAPE, PREDICTION, noise)?;
    let labels = reference::labels(2);
    while let Some(question) = run.ask()? {
        let x = question
            .x
            .as_slice()
            .ok_or("a state is in row-major order")?;
        let x = Tensor::from_slice(x, &SHAPE, &Device::Cpu)?;
        let outputs = network.forward(&x, reference::time(&question.query), &labels)?;
        let (first, second) = (
            outputs[0].storage_and_layout(),
            outputs[1].storage_and_layout(),
        );
        let (with, without) = (view(&first.0, first.1)?, view(&second.0, second.1)?);
        // Two views of one storage: the second begins where the first ends.
        let end = with.as_slice().map(|values| values.as_ptr_range().end);
        assert_eq!(end, Some(without.as_ptr()));
        run.tell_guided(&guidance, &[&with, &without])?;
    }
    Ok(run.into_state().into_raw_vec_and_offset().0)
}
