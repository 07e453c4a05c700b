//! A tensor library as a user writes one: rows of numbers, one method after the other, which counts
//! what it is asked and can fail.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use diffusion_sampler::{
    Real,
    tensor::{RowProducts, Scale, TensorOps},
};

/// A batch of rows. Its second and third axis lie behind each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows<A> {
    pub(crate) rows: Vec<Vec<A>>,
    pub(crate) sizes: Vec<usize>,
}

impl<A: Real> Rows<A> {
    pub(crate) fn new(values: &[A], sizes: &[usize]) -> Self {
        let per_row: usize = sizes[1..].iter().product();
        Self {
            rows: values.chunks(per_row).map(<[A]>::to_vec).collect(),
            sizes: sizes.to_vec(),
        }
    }

    pub(crate) fn zeros(sizes: &[usize]) -> Self {
        Self::new(&vec![A::zero(); sizes.iter().product()], sizes)
    }

    pub(crate) fn values(&self) -> Vec<A> {
        self.rows.concat()
    }

    pub(crate) fn map(&self, function: impl Fn(A) -> A) -> Self {
        let row = |row: &Vec<A>| row.iter().map(|&x| function(x)).collect();
        Self {
            rows: self.rows.iter().map(row).collect(),
            sizes: self.sizes.clone(),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Broken(pub(crate) &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken", self.0)
    }
}

/// The library. What it overrides of the provided methods is `own`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive<A> {
    pub(crate) own: bool,
    /// The method that fails, and after how many calls of it.
    pub(crate) fails: Cell<Option<(&'static str, usize)>>,
    pub(crate) downloads: Cell<usize>,
    pub(crate) uploads: Cell<usize>,
    element: PhantomData<A>,
}

impl<A: Real> Naive<A> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn overriding() -> Self {
        let own = true;
        Self {
            own,
            ..Self::default()
        }
    }

    fn call(&self, name: &'static str) -> Result<(), Broken> {
        match self.fails.get() {
            Some((method, 0)) if method == name => {
                self.fails.set(None);
                Err(Broken(name))
            }
            Some((method, left)) if method == name => {
                self.fails.set(Some((method, left - 1)));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn count(counter: &Cell<usize>) {
    counter.set(counter.get() + 1);
}

impl<A: Real> TensorOps for Naive<A> {
    type Tensor = Rows<A>;
    type Element = A;
    type Error = Broken;

    fn shape(&self, tensor: &Rows<A>) -> impl AsRef<[usize]> {
        &tensor.sizes
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Rows<A>)]) -> Result<Rows<A>, Broken> {
        self.call("linear combination")?;
        let mut sum: Option<Rows<A>> = None;
        for (scale, tensor) in terms {
            let mut term = (*tensor).clone();
            for (sample, row) in term.rows.iter_mut().enumerate() {
                let scale = A::cast(scale.of(sample));
                row.iter_mut().for_each(|value| *value = scale * *value);
            }
            sum = Some(match sum {
                None => term,
                Some(mut sum) => {
                    for (sum, term) in sum.rows.iter_mut().flatten().zip(term.rows.concat()) {
                        *sum += term;
                    }
                    sum
                }
            });
        }
        sum.ok_or(Broken("an empty sum"))
    }

    fn upload(&self, values: Vec<A>, like: &Rows<A>) -> Result<Rows<A>, Broken> {
        self.call("upload")?;
        count(&self.uploads);
        Ok(Rows::new(&values, &like.sizes))
    }

    fn download(&self, tensor: &Rows<A>) -> Result<Vec<A>, Broken> {
        self.call("download")?;
        count(&self.downloads);
        Ok(tensor.values())
    }

    fn clamp(&self, tensor: &Rows<A>, low: f64, high: f64) -> Result<Option<Rows<A>>, Broken> {
        let (low, high) = (A::cast(low), A::cast(high));
        let clamp = |value: A| {
            if value < low {
                low
            } else if value > high {
                high
            } else {
                value
            }
        };
        Ok(self.own.then(|| tensor.map(clamp)))
    }

    fn products(&self, tensors: &[&Rows<A>]) -> Result<Option<Vec<RowProducts>>, Broken> {
        let of_sample = |sample: usize| {
            let rows = || tensors.iter().map(|tensor| &tensor.rows[sample]);
            let inner = |a: &Vec<A>, b: &Vec<A>| {
                let pairs = a.iter().zip(b);
                pairs.map(|(a, b)| a.widen() * b.widen()).sum()
            };
            RowProducts {
                sums: rows()
                    .map(|row| row.iter().map(|v| v.widen()).sum())
                    .collect(),
                inner: rows()
                    .map(|a| rows().map(|b| inner(a, b)).collect())
                    .collect(),
            }
        };
        let samples = tensors[0].rows.len();
        Ok(self.own.then(|| (0..samples).map(of_sample).collect()))
    }

    fn all_finite(&self, tensor: &Rows<A>) -> Result<Option<bool>, Broken> {
        let finite = || tensor.rows.iter().flatten().all(|value| value.is_finite());
        Ok(self.own.then(finite))
    }
}
