//! Points of a data distribution, with the same bits on every machine.

use ndarray::Array2;
use rand::Rng;

use crate::error::{Error, require_size};
use crate::noise::{NoiseKey, NoiseSource, RngNoise, Stream};

/// Points drawn from a [`GaussianMixture`](crate::oracle::GaussianMixture) or an
/// [`Empirical`](crate::oracle::Empirical) data set, and where each came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    /// The points, shape \[count, d\].
    pub points: Array2<f64>,
    /// The component, or the row of the data set, that each point was drawn from.
    pub components: Vec<usize>,
    /// The label of each point.
    pub labels: Vec<usize>,
}

impl Draws {
    /// Chooses a component for each of `count` points, then fills a row from each.
    pub(super) fn collect<R: Rng + ?Sized>(
        (count, dim): (usize, usize),
        labels: &[usize],
        rng: &mut R,
        mut choose: impl FnMut(&mut R) -> usize,
        mut fill: impl FnMut(usize, &mut Normals<&mut R>, &mut [f64]),
    ) -> Result<Self, Error> {
        // Both lists are reserved before anything is drawn: a refusal leaves the generator as it
        // was.
        let (mut components, mut own) = (reserved(&[count])?, reserved(&[count])?);
        let rows = reserved_rows(count, dim)?;
        for _ in 0..count {
            let component = choose(rng);
            components.push(component);
            own.push(labels[component]);
        }
        let mut normals = Normals::new(rng, dim)?;
        let points = fill_rows(rows, (count, dim), |index, row| {
            fill(components[index], &mut normals, row);
        })?;
        Ok(Self {
            points,
            components,
            labels: own,
        })
    }
}

/// Standard normals for one point at a time.
pub(super) struct Normals<R> {
    source: RngNoise<R>,
    z: Vec<f64>,
}

impl<R: Rng> Normals<R> {
    pub(super) fn new(rng: R, dim: usize) -> Result<Self, Error> {
        Ok(Self {
            source: RngNoise::new(rng),
            z: crate::memory::repeated(0.0, dim)?,
        })
    }

    /// The next point's.
    pub(super) fn next(&mut self) -> &[f64] {
        // A generator's noise ignores the key.
        let key = NoiseKey::new(0, 0, Stream::User(0));
        self.source.fill(key, 0, &mut self.z);
        &self.z
    }
}

/// An array of shape \[count, dim\], filled row by row.
pub(super) fn with_rows(
    count: usize,
    dim: usize,
    fill: impl FnMut(usize, &mut [f64]),
) -> Result<Array2<f64>, Error> {
    fill_rows(reserved_rows(count, dim)?, (count, dim), fill)
}

fn reserved_rows(count: usize, dim: usize) -> Result<Vec<f64>, Error> {
    reserved(&[count, dim])
}

/// Rows are appended as they are filled: the memory is touched no sooner than it is needed.
fn fill_rows(
    mut values: Vec<f64>,
    (count, dim): (usize, usize),
    mut fill: impl FnMut(usize, &mut [f64]),
) -> Result<Array2<f64>, Error> {
    let mut row = crate::memory::repeated(0.0, dim)?;
    for index in 0..count {
        fill(index, &mut row);
        values.extend_from_slice(&row);
    }
    debug_assert_eq!(values.len(), count * dim, "every row was appended");
    Array2::from_shape_vec((count, dim), values).map_err(|_| Error::TooLarge {
        shape: vec![count, dim],
    })
}

/// An empty list with room for an array of this shape.
fn reserved<T>(shape: &[usize]) -> Result<Vec<T>, Error> {
    require_size::<T>(shape)?;
    let mut values = Vec::new();
    values
        .try_reserve_exact(shape.iter().product())
        .map_err(|_| Error::TooLarge {
            shape: shape.to_vec(),
        })?;
    Ok(values)
}

/// A list of equal values, as long as an array of this shape.
pub(super) fn filled(shape: &[usize], value: f64) -> Result<Vec<f64>, Error> {
    let mut values = reserved(shape)?;
    values.resize(shape.iter().product(), value);
    Ok(values)
}
