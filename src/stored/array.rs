//! Arrays as plain data.

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use ndarray::{Array, Dimension, IxDyn};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::checksum::Checksum;
use crate::error::{Error, require_length, require_size};
use crate::memory::Listed;
use crate::real::Real;

/// An element type that can be stored: `f32` and `f64`.
///
/// ```
/// use diffusion_sampler::stored::Element;
///
/// assert_eq!((f32::NAME, f64::NAME), ("f32", "f64"));
/// ```
pub trait Element: Real + Serialize + DeserializeOwned {
    /// The type's name in a stored form.
    const NAME: &'static str;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
}

impl Element for f64 {
    const NAME: &'static str = "f64";
}

/// An array type whose snapshots can be stored: `ndarray`'s, [`Flat`](crate::tensor::Flat), and your
/// own. Tensors of another library are stored as one of these:
/// [`Snapshot::try_map`](crate::run::Snapshot::try_map).
///
/// ```
/// use std::borrow::Cow;
/// use diffusion_sampler::{Error, stored::StoredArray};
///
/// /// A tensor of another library.
/// struct Tensor {
///     shape: Vec<usize>,
///     values: Vec<f32>,
/// }
///
/// impl StoredArray for Tensor {
///     type Element = f32;
///     type Error = Error;
///
///     fn shape(&self) -> Vec<usize> {
///         self.shape.clone()
///     }
///     fn elements(&self) -> Result<Cow<'_, [f32]>, Error> {
///         Ok(Cow::Borrowed(&self.values))
///     }
///     fn of_elements(shape: &[usize], values: Vec<f32>) -> Result<Self, Error> {
///         let shape = shape.to_vec();
///         Ok(Self { shape, values })
///     }
/// }
/// ```
pub trait StoredArray: Sized {
    /// The type of the elements.
    type Element: Element;
    /// What an array of another library can refuse; [`Error`] otherwise.
    type Error: Display;

    /// The length of every axis.
    fn shape(&self) -> Vec<usize>;

    /// The elements in row-major order.
    ///
    /// # Errors
    ///
    /// The library's own.
    fn elements(&self) -> Result<Cow<'_, [Self::Element]>, Self::Error>;

    /// The array of these elements, finite, in row-major order, as many as `shape` says.
    ///
    /// # Errors
    ///
    /// A shape that this type cannot have, and the library's own.
    fn of_elements(shape: &[usize], elements: Vec<Self::Element>) -> Result<Self, Self::Error>;
}

impl<A: Element, D: Dimension> StoredArray for Array<A, D> {
    type Element = A;
    type Error = Error;

    fn shape(&self) -> Vec<usize> {
        (**self).shape().to_vec()
    }

    fn elements(&self) -> Result<Cow<'_, [A]>, Error> {
        Ok(match self.as_slice() {
            Some(elements) => Cow::Borrowed(elements),
            None => Cow::Owned(self.iter().copied().listed()?),
        })
    }

    fn of_elements(shape: &[usize], elements: Vec<A>) -> Result<Self, Error> {
        let axes = shape.len();
        let too_large = |_| Error::TooLarge {
            shape: shape.to_vec(),
        };
        let array = Array::from_shape_vec(IxDyn(shape), elements).map_err(too_large)?;
        array.into_dimensionality().map_err(|_| Error::WrongLength {
            name: "shape",
            expected: D::NDIM.unwrap_or(axes),
            found: axes,
        })
    }
}

/// An array as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(serialize = "A: Element", deserialize = "A: Element")
)]
pub(crate) struct Form<'a, A: Element> {
    element: Tag<A>,
    shape: Vec<usize>,
    #[serde(deserialize_with = "crate::stored::lent")]
    elements: Cow<'a, [A]>,
}

/// The name of the element type, which is read before the elements.
struct Tag<A>(PhantomData<A>);

impl<A: Element> Serialize for Tag<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match A::NAME {
            "f32" => Name::F32,
            _ => Name::F64,
        };
        name.serialize(serializer)
    }
}

impl<'de, A: Element> Deserialize<'de> for Tag<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = match Name::deserialize(deserializer)? {
            Name::F32 => f32::NAME,
            Name::F64 => f64::NAME,
        };
        if found == A::NAME {
            return Ok(Self(PhantomData));
        }
        Err(D::Error::custom(Error::StoredElement {
            expected: A::NAME,
            found,
        }))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    F32,
    F64,
}

impl<'a, A: Element> Form<'a, A> {
    /// The form of an array whose elements are finite; the error is the format's.
    pub(crate) fn of<T, E>(array: &'a T) -> Result<Self, E>
    where
        T: StoredArray<Element = A>,
        E: serde::ser::Error,
    {
        let form = Self {
            element: Tag(PhantomData),
            shape: array.shape(),
            elements: array.elements().map_err(E::custom)?,
        };
        form.check().map_err(E::custom)?;
        Ok(form)
    }

    /// The array, of a form that [`check`](Self::check) has taken.
    pub(crate) fn into_array<T: StoredArray<Element = A>>(self) -> Result<T, T::Error> {
        T::of_elements(&self.shape, self.elements.into_owned())
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Refuses a shape that does not go with the elements, and elements that are not finite.
    pub(crate) fn check(&self) -> Result<(), Error> {
        require_size::<A>(&self.shape)?;
        let expected = match self.shape.contains(&0) {
            true => 0,
            false => self.shape.iter().product(),
        };
        require_length("elements", expected, self.elements.len())?;
        match self.elements.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Error::InvalidEntry {
                name: "elements",
                index,
                value: self.elements[index].widen(),
                requirement: "finite",
            }),
        }
    }

    /// The number of axes, the axes, the elements as `f64`.
    pub(crate) fn add_to(&self, checksum: &mut Checksum) {
        checksum.word(self.shape.len() as u64);
        for &axis in &self.shape {
            checksum.word(axis as u64);
        }
        for &element in &*self.elements {
            checksum.number(element.widen());
        }
    }
}
