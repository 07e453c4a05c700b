//! What non-linear guidance knows of the arrays: sums and inner products of one sample.

use super::MAX_OUTPUTS;
use crate::error::Error;
use crate::prediction::Linear;

/// The state, the outputs and the memory: the most arrays that enter.
pub(crate) const MAX_ARRAYS: usize = MAX_OUTPUTS + 2;

/// The share of its terms below which a difference of sums is rounding.
const ROUNDING: f64 = 1e-14;

/// Sums and inner products of one sample's state x, model outputs o_j and guidance memory m, over
/// its elements: what a non-linear [`Guidance`](super::Guidance) turns into weights.
///
/// ```
/// use diffusion_sampler::guidance::Products;
///
/// // Two elements: x = (1, 2), o₀ = (3, 0).
/// let products = Products::new(2, 1, &[3.0, 3.0], &[&[5.0, 3.0], &[3.0, 9.0]])?;
/// assert_eq!(products.inner(0, 0), 9.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Products {
    elements: usize,
    outputs: usize,
    /// Of x, the outputs, the memory, in this order.
    sums: [f64; MAX_ARRAYS],
    inner: [[f64; MAX_ARRAYS]; MAX_ARRAYS],
}

impl Products {
    /// The products of `elements` elements of x and `outputs` outputs, in this order, and of the
    /// memory behind them if `sums` has one entry more.
    ///
    /// # Errors
    ///
    /// [`Error::OutputCount`]; [`Error::WrongLength`] unless there is a sum for each array, and as
    /// many rows and columns of inner products.
    pub fn new(
        elements: usize,
        outputs: usize,
        sums: &[f64],
        inner: &[&[f64]],
    ) -> Result<Self, Error> {
        super::combination::output_count(outputs)?;
        let arrays = sums.len();
        let length = |name, found, expected| {
            if found == expected {
                Ok(())
            } else {
                Err(Error::WrongLength {
                    name,
                    expected,
                    found,
                })
            }
        };
        length("sums", arrays, (outputs + 1).max(arrays.min(outputs + 2)))?;
        length("inner products", inner.len(), arrays)?;
        let mut products = Self {
            elements,
            outputs,
            sums: [0.0; MAX_ARRAYS],
            inner: [[0.0; MAX_ARRAYS]; MAX_ARRAYS],
        };
        products.sums[..arrays].copy_from_slice(sums);
        for (own, row) in products.inner.iter_mut().zip(inner) {
            length("row of inner products", row.len(), arrays)?;
            own[..arrays].copy_from_slice(row);
        }
        Ok(products)
    }

    /// From the kernel's reduction over (x, outputs…, memory).
    pub(crate) fn from_parts(
        elements: usize,
        outputs: usize,
        sums: [f64; MAX_ARRAYS],
        inner: [[f64; MAX_ARRAYS]; MAX_ARRAYS],
    ) -> Self {
        Self {
            elements,
            outputs,
            sums,
            inner,
        }
    }

    /// The number of elements of the sample.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// ⟨o_j, o_k⟩.
    pub fn inner(&self, j: usize, k: usize) -> f64 {
        self.inner[j + 1][k + 1]
    }

    /// Σ o_j.
    pub fn sum(&self, j: usize) -> f64 {
        self.sums[j + 1]
    }

    /// |m|².
    pub fn memory_squared(&self) -> f64 {
        self.inner[self.outputs + 1][self.outputs + 1]
    }

    /// ⟨Σ v_j o_j, Σ w_j o_j⟩.
    pub fn inner_of(&self, v: &[f64], w: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (j, a) in v.iter().enumerate() {
            for (k, b) in w.iter().enumerate() {
                sum += a * b * self.inner(j, k);
            }
        }
        sum
    }

    /// n·Var[Σ w_j o_j] = |Σ w_j o_j|² − (Σ of it)²/n; 0 where it is lost in the rounding of the
    /// terms, as for a constant sum or a single element.
    pub fn spread_of(&self, w: &[f64]) -> f64 {
        let sum: f64 = w.iter().enumerate().map(|(j, w)| w * self.sum(j)).sum();
        let n = self.elements.max(1) as f64;
        let mut size = sum * sum / n;
        for (j, a) in w.iter().enumerate() {
            for (k, b) in w.iter().enumerate() {
                size += (a * b * self.inner(j, k)).abs();
            }
        }
        let spread = self.inner_of(w, w) - sum * sum / n;
        // Equivalent mutant: replace > with >=: a value at the bound of rounding is either, and 0 is 0.
        if spread > ROUNDING * size {
            spread
        } else {
            0.0
        }
    }

    /// ⟨v_j, v_k⟩ of the outputs converted to another space, v_j = a·x + b·o_j.
    pub fn inner_in(&self, space: Linear, j: usize, k: usize) -> f64 {
        let (a, b) = (space.x, space.output);
        let mixed = self.inner[0][j + 1] + self.inner[0][k + 1];
        a * a * self.inner[0][0] + a * b * mixed + b * b * self.inner(j, k)
    }

    /// ⟨v₀ − v₁, v₀⟩ of the first two outputs converted to another space; x cancels in the
    /// difference.
    pub fn difference_in(&self, space: Linear) -> f64 {
        let (a, b) = (space.x, space.output);
        let with_state = self.inner[0][1] - self.inner[0][2];
        b * (a * with_state + b * (self.inner(0, 0) - self.inner(0, 1)))
    }

    /// ⟨m, v_j⟩ of the memory and an output converted to another space.
    pub fn memory_in(&self, space: Linear, j: usize) -> f64 {
        let m = self.outputs + 1;
        space.x * self.inner[m][0] + space.output * self.inner[m][j + 1]
    }
}
