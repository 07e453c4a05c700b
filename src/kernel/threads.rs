//! Threads: long slices cut into pieces for rayon.
//!
//! The pieces go to the caller's pool, or to the global one. An element depends on itself, its form
//! and its noise alone, and noise is shared only if it is a pure function of its place, so neither
//! the cut nor the number of threads changes a bit. Noise that depends on the order in which it is
//! asked for stays with one thread.

use super::Input;
use super::pieces::Run;
use crate::real::Real;

/// The elements from `start` on, in slices: by the threads of the pool where that is worth it, else
/// by this one.
#[inline(always)]
pub(super) fn slices<A: Real, S: Input<A>>(
    run: &mut Run<'_, '_, A>,
    start: usize,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[S],
) {
    #[cfg(feature = "rayon")]
    if let Some(threads) = pool::Threads::worth(run, x.len()) {
        let finite = threads.slices(start, x, y, inputs);
        run.finite &= finite;
        return;
    }
    run.in_order(start, x, y, inputs);
}

#[cfg(feature = "rayon")]
mod pool {
    use super::super::pieces::{Run, with_room};
    use super::super::{Forms, Input, MAX_INPUTS};
    use crate::noise::{PureNoise, StepNoise};
    use crate::real::Real;

    /// Shorter slices without noise stay with one thread: a pool that is called from outside has to
    /// be woken, which takes 10 to 20 µs, up to 1 Mi elements as long as half of the update. (Short
    /// lengths let the tests of the kernels come here.)
    const PLAIN: usize = if cfg!(test) { 128 } else { 1 << 20 };

    /// Shorter slices with noise stay with one thread: a normal takes over ten times as long as the
    /// rest.
    const NOISY: usize = if cfg!(test) { 128 } else { 128 << 10 };

    /// The shortest slices that are worth it are cut into so many pieces.
    const PIECES: usize = 8;

    /// A run that threads share.
    pub(super) struct Threads<'r, A> {
        forms: Forms<'r>,
        per_sample: usize,
        noise: Option<StepNoise<'r, &'r dyn PureNoise<A>>>,
        /// The elements of a piece; a multiple of a block of noise, so that few blocks are made
        /// twice.
        piece: usize,
    }

    impl<'r, A: Real> Threads<'r, A> {
        /// The run for threads, if slices of this length are worth it and the noise can be shared.
        #[inline(always)]
        pub(super) fn worth(run: &'r Run<'_, '_, A>, len: usize) -> Option<Self> {
            let least = if run.noise.is_some() { NOISY } else { PLAIN };
            if len < least {
                return None;
            }
            Self::share(run, least / PIECES)
        }

        #[inline(never)]
        fn share(run: &'r Run<'_, '_, A>, piece: usize) -> Option<Self> {
            let noise = match &run.noise {
                Some(noise) => Some(noise.fill.shared()?),
                None => None,
            };
            (rayon::current_num_threads() > 1).then_some(Self {
                forms: run.forms,
                per_sample: run.per_sample,
                noise,
                piece,
            })
        }

        /// The elements from `start` on, in slices. Returns whether everything is finite.
        #[inline(never)]
        pub(super) fn slices<S: Input<A>>(
            &self,
            start: usize,
            x: &mut [A],
            y: Option<&mut [A]>,
            inputs: &[S],
        ) -> bool {
            self.halves(start, 0, x, y, inputs)
        }

        /// The elements from `at` on of slices that begin with element `start`; `x` and `y` are cut
        /// already, the inputs are not.
        fn halves<S: Input<A>>(
            &self,
            start: usize,
            at: usize,
            x: &mut [A],
            y: Option<&mut [A]>,
            inputs: &[S],
        ) -> bool {
            if x.len() <= self.piece {
                return self.piece(start, at, x, y, inputs);
            }
            let half = x.len().div_ceil(self.piece) / 2 * self.piece;
            let (x, x_rest) = x.split_at_mut(half);
            let (y, y_rest) = match y {
                Some(y) => {
                    let (y, rest) = y.split_at_mut(half);
                    (Some(y), Some(rest))
                }
                None => (None, None),
            };
            let (finite, rest_finite) = rayon::join(
                || self.halves(start, at, x, y, inputs),
                || self.halves(start, at + half, x_rest, y_rest, inputs),
            );
            finite && rest_finite
        }

        fn piece<S: Input<A>>(
            &self,
            start: usize,
            at: usize,
            x: &mut [A],
            mut y: Option<&mut [A]>,
            inputs: &[S],
        ) -> bool {
            let mut parts = [S::EMPTY; MAX_INPUTS];
            for (part, input) in parts.iter_mut().zip(inputs) {
                *part = input.part(at..at + x.len());
            }
            let inputs = &parts[..inputs.len()];
            let (forms, per_sample, start) = (self.forms, self.per_sample, start + at);
            let Some(mut fill) = self.noise else {
                let mut run = Run::new(forms, per_sample, None);
                run.in_order(start, x, y, inputs);
                return run.finite;
            };
            with_room(&mut fill, per_sample, &mut |noise| {
                let mut run = Run::new(forms, per_sample, Some(noise));
                run.in_order(start, x, y.as_deref_mut(), inputs);
                run.finite
            })
        }
    }
}
