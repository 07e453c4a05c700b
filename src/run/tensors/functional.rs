//! The fused update as linear combinations of whole tensors, term by term in the kernel's order.

use super::TensorError;
use super::arrays::download;
use crate::error::{Error, RunError, require_shape};
use crate::kernel::{Form, Row};
use crate::memory::Listed;
use crate::real::Real;
use crate::tensor::{Scale, TensorOps};

/// The forms of a batch, and what they read.
pub(super) struct Operands<'a, O: TensorOps> {
    pub(super) ops: &'a O,
    /// One for the batch, or one for each sample; all of one kind, and at least one.
    pub(super) forms: &'a [Form],
    pub(super) x: &'a O::Tensor,
    pub(super) y: Option<&'a O::Tensor>,
    pub(super) inputs: &'a [&'a O::Tensor],
    pub(super) normals: Option<&'a O::Tensor>,
}

/// What an update makes.
pub(super) struct Updated<T> {
    pub(super) x: T,
    /// There where the forms have one.
    pub(super) y: Option<T>,
}

impl<'a, O: TensorOps> Operands<'a, O> {
    /// The new x and y.
    pub(super) fn apply(&self) -> Result<Updated<O::Tensor>, TensorError<O::Error>> {
        let bounds = self.bounds();
        let data = match self.forms {
            [Form { clip: Some(_), .. }, ..] => Some(self.clipped(bounds)?),
            _ => None,
        };
        let data = data.as_ref().map(|data| (data, bounds));
        let x = self.new_x(data)?;
        let y = match self.forms {
            [Form { y: Some(_), .. }, ..] => Some(self.new_y(data)?),
            _ => None,
        };
        Ok(Updated { x, y })
    }

    fn new_x(
        &self,
        data: Option<(&O::Tensor, Shared)>,
    ) -> Result<O::Tensor, TensorError<O::Error>> {
        let mut sum = Sum::new(self.forms);
        sum.row(self, |form| &form.x)?;
        if let Some((data, bounds)) = data {
            sum.add(data, |form| {
                form.clip
                    .map_or(0.0, |clip| clip.into_x * unit(bounds, clip.high))
            })?;
        }
        if let Some(y) = self.y
            && self.forms.iter().any(|form| form.x_from_y != 0.0)
        {
            sum.add(y, |form| form.x_from_y)?;
        }
        if let Some(normals) = self.normals {
            sum.add(normals, |form| form.noise)?;
        }
        sum.finish(self.ops)
    }

    fn new_y(
        &self,
        data: Option<(&O::Tensor, Shared)>,
    ) -> Result<O::Tensor, TensorError<O::Error>> {
        let mut sum = Sum::new(self.forms);
        sum.row(self, |form| form.y.as_ref().unwrap_or(&Row::ZERO))?;
        if let Some((data, bounds)) = data {
            sum.add(data, |form| {
                form.clip
                    .map_or(0.0, |clip| clip.into_y * unit(bounds, clip.high))
            })?;
        }
        sum.finish(self.ops)
    }

    /// D after its clamp; where samples have bounds of their own, in units of those.
    fn clipped(&self, bounds: Shared) -> Result<O::Tensor, TensorError<O::Error>> {
        let mut sum = Sum::new(self.forms);
        sum.row(self, |form| {
            form.clip.as_ref().map_or(&Row::ZERO, |clip| &clip.data)
        })?;
        for (form, index) in self.forms.iter().zip(0..) {
            let unit = unit(bounds, form.clip.map_or(1.0, |clip| clip.high));
            sum.terms
                .iter_mut()
                .for_each(|(scales, _)| scales[index] /= unit);
        }
        let (low, high) = bounds.unwrap_or((-1.0, 1.0));
        clamp(self.ops, &sum.finish(self.ops)?, low, high)
    }

    fn bounds(&self) -> Shared {
        let mut all = self
            .forms
            .iter()
            .map(|form| form.clip.map(|clip| (clip.low, clip.high)));
        let first = all.next().flatten();
        first.filter(|_| all.all(|other| other == first))
    }
}

/// The bounds of D that all samples share.
type Shared = Option<(f64, f64)>;

/// The unit of D after its clamp for a sample with this upper bound. Bounds that differ are those
/// of dynamic thresholding, −s and s.
fn unit(bounds: Shared, high: f64) -> f64 {
    match bounds {
        Some(_) => 1.0,
        None => high,
    }
}

/// A linear combination as it is put together.
struct Sum<'a, T> {
    forms: &'a [Form],
    terms: Vec<(Vec<f64>, &'a T)>,
}

impl<'a, T> Sum<'a, T> {
    fn new(forms: &'a [Form]) -> Self {
        let terms = Vec::new();
        Self { forms, terms }
    }

    fn add<'b: 'a>(&mut self, tensor: &'b T, scale: impl Fn(&Form) -> f64) -> Result<(), Error> {
        let scales = self.forms.iter().map(scale).listed()?;
        self.terms.push((scales, tensor));
        Ok(())
    }

    fn row<O: TensorOps<Tensor = T>>(
        &mut self,
        operands: &Operands<'a, O>,
        row: fn(&Form) -> &Row,
    ) -> Result<(), Error> {
        self.add(operands.x, |form| row(form).x)?;
        for (j, input) in operands.inputs.iter().enumerate() {
            self.add(input, |form| row(form).inputs[j])?;
        }
        Ok(())
    }

    fn finish<O: TensorOps<Tensor = T>>(&self, ops: &O) -> Result<T, TensorError<O::Error>> {
        let terms: Vec<(Scale<'_>, &T)> = self
            .terms
            .iter()
            .map(|(scales, tensor)| match scales.as_slice() {
                [one] => (Scale::Same(*one), *tensor),
                many => (Scale::PerSample(many), *tensor),
            })
            .listed()?;
        combined(ops, &terms)
    }
}

/// Σ c_j·a_j, which must have the shape of its terms.
pub(super) fn combined<O: TensorOps>(
    ops: &O,
    terms: &[(Scale<'_>, &O::Tensor)],
) -> Result<O::Tensor, TensorError<O::Error>> {
    let sum = ops.linear_combination(terms).map_err(RunError::Tensor)?;
    like(ops, "linear combination", terms[0].1, sum)
}

/// The tensor, where it has the shape of another.
fn like<O: TensorOps>(
    ops: &O,
    name: &'static str,
    expected: &O::Tensor,
    found: O::Tensor,
) -> Result<O::Tensor, TensorError<O::Error>> {
    let shape = ops.shape(expected);
    require_shape(name, shape.as_ref(), ops.shape(&found).as_ref())?;
    drop(shape);
    Ok(found)
}

fn clamp<O: TensorOps>(
    ops: &O,
    tensor: &O::Tensor,
    low: f64,
    high: f64,
) -> Result<O::Tensor, TensorError<O::Error>> {
    if let Some(clamped) = ops.clamp(tensor, low, high).map_err(RunError::Tensor)? {
        return like(ops, "clamped tensor", tensor, clamped);
    }
    let (low, high) = (O::Element::cast(low), O::Element::cast(high));
    let mut values = download(ops, tensor)?;
    for value in &mut values {
        *value = num_traits::clamp(*value, low, high);
    }
    let clamped = ops.upload(values, tensor).map_err(RunError::Tensor)?;
    like(ops, "clamped tensor", tensor, clamped)
}
