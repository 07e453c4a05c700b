//! Several models as one with several outputs.

use ndarray::{ArrayRef, Axis, Dimension, Slice};

use super::{Denoiser, Query};
use crate::error::Error;
use crate::guidance::{Guidance, Unguided};
use crate::prediction::Prediction;
use crate::real::Real;

/// Two to six models as one model with as many outputs, for [`Guided`](super::Guided): a tuple of
/// models with one error type, which all make the same prediction.
///
/// Only the models whose outputs are wanted are called. A model inside may be guided itself: it
/// gives its guided answer. For one output it is the first model.
///
/// ```
/// use diffusion_sampler::{Prediction, denoiser::{Guided, Models}, from_fn, guidance::Composed};
/// use ndarray::Ix2;
///
/// let constant = |value| from_fn::<f32, Ix2>(Prediction::Data, move |_, _, out| out.fill(value));
/// let models = Models((constant(1.0), constant(2.0), constant(0.0)));
/// let model = Guided::new(models, Composed::new(&[3.0, 1.5])?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Models<T>(pub T);

/// The rows of output `j`.
pub(super) fn rows(j: usize, samples: usize) -> Slice {
    Slice::from(j * samples..(j + 1) * samples)
}

macro_rules! models {
    ($(($first:ident $first_index:tt $(, $model:ident $index:tt)+))*) => {$(
        impl<A, D, $first, $($model),+> Denoiser<A, D> for Models<($first, $($model),+)>
        where
            A: Real,
            D: Dimension,
            $first: Denoiser<A, D>,
            $($model: Denoiser<A, D, Error = $first::Error>),+
        {
            type Error = $first::Error;

            fn prediction(&self) -> Prediction {
                self.0.$first_index.prediction()
            }

            fn denoise(
                &mut self,
                x: &ArrayRef<A, D>,
                query: &Query<'_>,
                out: &mut ArrayRef<A, D>,
            ) -> Result<(), Self::Error> {
                let samples = x.shape().first().copied().unwrap_or(0);
                let single = query.combined();
                if query.outputs() == 1 {
                    return self.0.$first_index.denoise(x, &single, out);
                }
                let mut part = out.slice_axis_mut(Axis(0), rows($first_index, samples));
                self.0.$first_index.denoise(x, &single, &mut part)?;
                $(
                    if query.outputs() > $index {
                        let mut part = out.slice_axis_mut(Axis(0), rows($index, samples));
                        self.0.$index.denoise(x, &single, &mut part)?;
                    }
                )+
                Ok(())
            }

            fn outputs(&self) -> Option<usize> {
                Some([$first_index, $($index),+].len())
            }

            fn reads_positions(&self) -> bool {
                self.0.$first_index.reads_positions() $(&& self.0.$index.reads_positions())+
            }

            fn reads_rows(&self) -> bool {
                self.0.$first_index.reads_rows() $(&& self.0.$index.reads_rows())+
            }

            fn guidance(&self) -> Result<&dyn Guidance, Error> {
                let expected = self.0.$first_index.prediction();
                self.0.$first_index.guidance()?;
                $(
                    same($index, expected, self.0.$index.prediction())?;
                    self.0.$index.guidance()?;
                )+
                Ok(&Unguided)
            }
        }
    )*};
}

models! {
    (M0 0, M1 1)
    (M0 0, M1 1, M2 2)
    (M0 0, M1 1, M2 2, M3 3)
    (M0 0, M1 1, M2 2, M3 3, M4 4)
    (M0 0, M1 1, M2 2, M3 3, M4 4, M5 5)
}

fn same(model: usize, expected: Prediction, found: Prediction) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ModelsDisagree {
        model,
        expected: expected.name(),
        found: found.name(),
    })
}
