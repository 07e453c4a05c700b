//! Noise that any thread may draw, in any order.

use super::{NoiseKey, NoiseSource};

/// A source that is a pure function of key and element: the same bits for whoever asks, in any
/// order and in any pieces.
///
/// [`KeyedNoise`](super::KeyedNoise), [`BrownianPath`](super::BrownianPath) and
/// [`PerSample`](super::PerSample) are. A source of your own that is one too lets threads (feature
/// `rayon`) draw from it by `as_pure`:
///
/// ```
/// use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, NoiseSource, PureNoise, Stream}};
///
/// /// Keyed noise, upside down.
/// struct Negative(KeyedNoise);
///
/// impl PureNoise<f32> for Negative {
///     fn draw(&self, key: NoiseKey, first: u64, out: &mut [f32]) {
///         self.0.draw(key, first, out);
///         out.iter_mut().for_each(|z| *z = -*z);
///     }
/// }
///
/// impl NoiseSource<f32> for Negative {
///     fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
///         self.draw(key, first, out);
///     }
///
///     fn as_pure(&self) -> Option<&dyn PureNoise<f32>> {
///         Some(self)
///     }
/// }
///
/// let (key, noise) = (NoiseKey::new(3, 0, Stream::Start), Negative(KeyedNoise::new(7)));
/// let (mut z, mut plain) = ([0.0f32; 5], [0.0f32; 5]);
/// noise.draw(key, 0, &mut z);
/// KeyedNoise::new(7).fill_row(key, &mut plain);
/// assert_eq!(z, plain.map(|z| -z));
/// ```
pub trait PureNoise<A>: NoiseSource<A> + Sync {
    /// Writes the normals of the elements `first..first + out.len()` of the row `key` to `out`:
    /// those of [`fill`](NoiseSource::fill).
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]);
}

impl<A, S: PureNoise<A> + ?Sized> PureNoise<A> for &S {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        (**self).draw(key, first, out);
    }
}

impl<A, S: PureNoise<A> + ?Sized> PureNoise<A> for Box<S> {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        (**self).draw(key, first, out);
    }
}
