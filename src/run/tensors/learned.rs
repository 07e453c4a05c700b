//! A run on tensors of a network that gives the variance beside its prediction.

use super::arrays::{download, require_finite};
use super::{TensorError, TensorRun};
use crate::error::require_shape;
use crate::memory::Copied;
use crate::noise::{LearnedNoise, NoiseSource};
use crate::run::learned::{NAME, factor};
use crate::tensor::TensorOps;

impl<O, S> TensorRun<O, LearnedNoise<O::Element, S>>
where
    O: TensorOps,
    S: NoiseSource<O::Element> + Sync,
{
    /// Takes the network's second output f for the update to come, as
    /// [`Trajectory::interpolate`](crate::Trajectory::interpolate) does; then comes
    /// [`tell`](Self::tell) or one of its kind. f is downloaded, since the normals that it scales
    /// are made on the host: a library with [normals](TensorOps::normals) of its own does not use
    /// it.
    ///
    /// # Errors
    ///
    /// Those of [`Trajectory::interpolate`](crate::Trajectory::interpolate); the library's own.
    pub fn interpolate(&mut self, f: &O::Tensor) -> Result<(), TensorError<O::Error>> {
        self.settle()?;
        let shape = self.ops.shape(self.arrays.state()).as_ref().copy()?;
        require_shape(NAME, &shape, self.ops.shape(f).as_ref())?;
        let (step, range) = (self.driver.step(), self.driver.learned_range());
        let range = range?;
        let values = download(&self.ops, f)?;
        let elements = shape.iter().skip(1).product::<usize>();
        require_finite(&values, elements, step, NAME)?;
        let factors = values.iter().map(|f| factor(*f, range));
        Ok(self.noise.set(step, elements, factors)?)
    }
}
