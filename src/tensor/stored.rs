//! Flat vectors as they are stored: as arrays are.

use std::borrow::Cow;

use super::Flat;
use crate::error::Error;
use crate::stored::{Element, StoredArray};

impl<A: Element> StoredArray for Flat<A> {
    type Element = A;
    type Error = Error;

    fn shape(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn elements(&self) -> Result<Cow<'_, [A]>, Error> {
        Ok(Cow::Borrowed(self.as_slice()))
    }

    fn of_elements(shape: &[usize], elements: Vec<A>) -> Result<Self, Error> {
        Self::new(elements, shape)
    }
}
