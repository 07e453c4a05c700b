//! Lists of levels: of a batch, of its samples, of positions along an axis.

use super::NoiseLevel;

/// The levels of a batch: one for all, one for each sample, or one for each position along an axis.
///
/// A level behind `&` is that of the batch. A list of levels (a slice, an array or a vector behind
/// `&`) is that of the samples, or the one of the batch. [`along`](Self::along) is that of positions: of the tokens of an array \[B, tokens,
/// features\], of the frames of \[B, C, frames, H, W\].
///
/// ```
/// use diffusion_sampler::{KeyedNoise, Levels, NoiseLevel, forward::diffuse};
/// use ndarray::Array3;
///
/// // The first of three tokens is given; the others are noised.
/// let (clean, noisy) = (NoiseLevel::clean(), NoiseLevel::new(0.5, 0.8, 0.6)?);
/// let mut x = Array3::<f32>::ones((2, 3, 4));
/// let levels = [clean, noisy, noisy];
/// diffuse(&mut x, Levels::along(1, &levels), &mut KeyedNoise::new(1), 0)?;
/// assert!(x.indexed_iter().all(|((_, token, _), x)| (*x == 1.0) == (token == 0)));
/// assert_eq!(Levels::from(&noisy), Levels::from(&[noisy]));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels<'a> {
    axis: usize,
    list: &'a [NoiseLevel],
}

impl<'a> Levels<'a> {
    /// A level for each position along `axis`, the same for every sample, or for each position of
    /// each sample: the positions of the first sample, then those of the second, and so on.
    ///
    /// Axis 0 is the sample: one level for each.
    pub fn along(axis: usize, list: &'a [NoiseLevel]) -> Self {
        Self { axis, list }
    }

    /// The axis along which the levels differ; 0 where each sample, or the batch, has one.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// The levels.
    pub fn list(&self) -> &'a [NoiseLevel] {
        self.list
    }
}

impl<'a> From<&'a NoiseLevel> for Levels<'a> {
    fn from(level: &'a NoiseLevel) -> Self {
        Self::along(0, std::slice::from_ref(level))
    }
}

impl<'a> From<&'a [NoiseLevel]> for Levels<'a> {
    fn from(list: &'a [NoiseLevel]) -> Self {
        Self::along(0, list)
    }
}

impl<'a> From<&'a Vec<NoiseLevel>> for Levels<'a> {
    fn from(list: &'a Vec<NoiseLevel>) -> Self {
        Self::along(0, list)
    }
}

impl<'a, const N: usize> From<&'a [NoiseLevel; N]> for Levels<'a> {
    fn from(list: &'a [NoiseLevel; N]) -> Self {
        Self::along(0, list)
    }
}
