//! What crosses between host and device, counted.

use std::cell::Cell;

use diffusion_sampler::tensor::{RowProducts, Scale, TensorOps};

/// The numbers of tensors that went to the device and came from it.
#[derive(Debug, Default)]
pub struct Traffic {
    pub uploads: Cell<usize>,
    pub downloads: Cell<usize>,
}

/// The same operations, with their traffic counted.
#[derive(Clone, Copy, Debug)]
pub struct Counting<'c, O> {
    pub ops: O,
    pub traffic: &'c Traffic,
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

impl<O: TensorOps> TensorOps for Counting<'_, O> {
    type Tensor = O::Tensor;
    type Element = O::Element;
    type Error = O::Error;

    fn shape(&self, tensor: &O::Tensor) -> impl AsRef<[usize]> {
        self.ops.shape(tensor)
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &O::Tensor)]) -> Result<O::Tensor, O::Error> {
        self.ops.linear_combination(terms)
    }

    fn upload(&self, values: Vec<O::Element>, like: &O::Tensor) -> Result<O::Tensor, O::Error> {
        count(&self.traffic.uploads);
        self.ops.upload(values, like)
    }

    fn download(&self, tensor: &O::Tensor) -> Result<Vec<O::Element>, O::Error> {
        count(&self.traffic.downloads);
        self.ops.download(tensor)
    }

    fn clamp(
        &self,
        tensor: &O::Tensor,
        low: f64,
        high: f64,
    ) -> Result<Option<O::Tensor>, O::Error> {
        self.ops.clamp(tensor, low, high)
    }

    fn products(&self, tensors: &[&O::Tensor]) -> Result<Option<Vec<RowProducts>>, O::Error> {
        self.ops.products(tensors)
    }

    fn all_finite(&self, tensor: &O::Tensor) -> Result<Option<bool>, O::Error> {
        self.ops.all_finite(tensor)
    }
}
