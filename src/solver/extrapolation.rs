//! From which earlier estimates a step may extrapolate: one policy for every multistep solver.

use super::exponential::Slope;
use super::history::History;
use crate::error::Error;

/// The largest step and the largest ratio of neighbouring steps that a guarded solver extrapolates
/// over.
///
/// Neither is a border between good and bad: beyond the step, second order was measured to lose to
/// first by up to a factor of 1.6 on separated narrow modes, and to win by up to a factor of 4 on
/// Gaussian data (docs/choosing.md). 1.5 is on the cautious side. The ratio hardly matters: it
/// binds after the very long first step of the cosine and flow schedules, where the extrapolation
/// is small anyway.
const GUARD_STEP: f64 = 1.5;
const GUARD_RATIO: f64 = 2.0;

/// The shortest distance, in steps, from which an estimate is extrapolated; where the last knot is
/// nearer, the one before it serves. A difference quotient over a distance q amplifies the rounding
/// of D, and what a network adds to it, by 1/(2q): over 3e-16 of a step nothing else is left.
///
/// Measured by tests/core/ratios.rs: a knot put 3e-16 to 3/4 of a step above another, on five
/// schedules with K from 5 to 50, against the exact flow of Gaussians and of two modes, and by
/// exact moments. Without noise any bound from 1/32 to 1/2 leaves at most 0.999 of first order's
/// error (1e8 times it without a bound, in f32) and nearly the same mean. This one changes little of
/// the published method, and the quotient makes at most 5e-7 of D of f32's rounding.
pub(super) const MIN_RATIO: f64 = 1.0 / 16.0;

/// The same with noise, for weights that use half of the slope and for all others. D and D₋₁ then
/// differ by noise of size τ√(2qh) too, which the quotient turns into more, the shorter the step.
/// The largest share of first order's error at τ = 1:
///
/// | bound | 1/16 | 1/8 | 1/4 | 1/3 | 1/2 |
/// |---|---|---|---|---|---|
/// | midpoint | 1.93 | 1.06 | 1.00 | 1.00 | 1.00 |
/// | exact | 3.41 | 2.08 | 1.27 | 1.06 | 1.00 |
pub(super) const MIN_RATIO_WITH_NOISE: [f64; 2] = [0.25, 0.5];

/// The policy. Steps have sizes z on the solver's axis, +∞ where nothing can be extrapolated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extrapolation {
    /// The most estimates that a step uses, its own included.
    pub(super) order: usize,
    /// The least distance between two estimates, in steps; 0 takes any.
    pub(super) min_ratio: f64,
    /// Nothing over long steps, nor over uneven ones.
    pub(super) guarded: bool,
    /// At most as many estimates as steps are left.
    pub(super) lower_order_final: bool,
}

impl Extrapolation {
    /// The older estimates that a step uses, the newest first, as (slot, place in steps: negative).
    ///
    /// `held` is what there is, with distances from the step's start; `left` the number of steps
    /// that are left, this one included.
    pub(super) fn older(&self, size: f64, held: &[(usize, f64)], left: usize) -> Vec<(usize, f64)> {
        let mut most = self.order.saturating_sub(1);
        if self.lower_order_final {
            most = most.min(left.saturating_sub(1));
        }
        if !size.is_finite() || (self.guarded && size > GUARD_STEP) {
            return Vec::new();
        }
        let mut last = 0.0;
        let mut used = Vec::with_capacity(most);
        for &(slot, position) in held {
            let place = position / size;
            let gap: f64 = last - place;
            if used.len() == most || (self.guarded && gap.max(1.0 / gap) > GUARD_RATIO) {
                break;
            }
            if place.is_finite() && gap > 0.0 && gap >= self.min_ratio {
                used.push((slot, place));
                last = place;
            }
        }
        used
    }

    /// For each step, given their sizes, whether the estimate at its start is kept: not where it
    /// would be too near to the next step, nor in a run of tiny steps before a long one. What was
    /// kept before then serves that step.
    pub(super) fn kept(&self, sizes: &[f64]) -> Result<Vec<bool>, Error> {
        let mut kept = crate::memory::repeated(false, sizes.len())?;
        if self.order < 2 {
            return Ok(kept);
        }
        // The least of (distance of the D − what is needed) over all later steps. By the smaller
        // bound: a larger one would leave D stale over many steps for the sake of one.
        let mut spare = f64::INFINITY;
        for (index, pair) in sizes.windows(2).enumerate().rev() {
            if pair[1].is_finite() {
                spare = spare.min(-self.min_ratio.min(MIN_RATIO) * pair[1]);
            }
            spare += pair[0];
            let serves_next = pair[0] >= self.min_ratio * pair[1];
            kept[index] = serves_next && spare >= 0.0 && spare.is_finite();
        }
        Ok(kept)
    }

    /// A history for this policy.
    pub(super) fn history(&self) -> History {
        History::new(0, self.order.saturating_sub(1))
    }
}

/// The options of the policy that every solver of the family has.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Bounds {
    pub(super) guarded: bool,
    pub(super) unbounded: bool,
    pub(super) lower_order_final: bool,
}

impl Bounds {
    /// The order of convergence of a method of this order: a last step of first order has an error
    /// of order 2.
    pub(super) fn order(&self, order: usize) -> usize {
        if self.lower_order_final {
            order.min(2)
        } else {
            order
        }
    }

    /// The policy of a solver of this order, with noise or without.
    pub(super) fn policy(&self, order: usize, slope: Slope, noisy: bool) -> Extrapolation {
        let [half, full] = MIN_RATIO_WITH_NOISE;
        let min_ratio = match slope {
            _ if self.unbounded => 0.0,
            _ if !noisy => MIN_RATIO,
            Slope::Midpoint if order < 3 => half,
            _ => full,
        };
        Extrapolation {
            order,
            min_ratio,
            guarded: self.guarded,
            lower_order_final: self.lower_order_final,
        }
    }
}

/// The methods of a solver with the field `bounds`.
macro_rules! bounded {
    ($solver:ty) => {
        impl $solver {
            /// Extrapolates over no step of more than 1.5 in λ, nor from one that differs from it by
            /// more than a factor of 2: such a step is first order. Where all steps are longer, as
            /// for 5 steps uniform in λ over a usual range, nothing of a higher order is left.
            #[must_use]
            pub fn guarded(mut self) -> Self {
                self.bounds.guarded = true;
                self
            }

            /// Extrapolates over any step ratio, as published code does. By default no estimate is
            /// used that lies nearer than 1/16 of the step to another; with noise, 1/2, and 1/4 in
            /// the second-order midpoint form. On the usual grids nothing changes without noise;
            /// with noise, the last step before the clean end of a leading or linspace grid is then
            /// of full order, at the cost of up to twice first order's error in distribution.
            /// Starts within a small fraction of a step above a knot are wrong, without bound.
            #[must_use]
            pub fn unbounded(mut self) -> Self {
                self.bounds.unbounded = true;
                self
            }

            /// No step of a higher order than there are steps left: the last is first order, the one
            /// before it at most second. Off by default, because it leaves a method of a higher
            /// order with order 2; onto a clean end the last step is first order anyway. diffusers
            /// and dpm-solver do so for few steps (below 15 and 10).
            #[must_use]
            pub fn lower_order_final(mut self) -> Self {
                self.bounds.lower_order_final = true;
                self
            }
        }
    };
}

pub(super) use bounded;

#[cfg(test)]
mod tests {
    use super::Extrapolation;

    const PLAIN: Extrapolation = Extrapolation {
        order: 3,
        min_ratio: 0.25,
        guarded: false,
        lower_order_final: false,
    };

    #[test]
    fn a_guarded_step_extrapolates_up_to_its_bounds_and_not_beyond() {
        let guarded = Extrapolation {
            guarded: true,
            ..PLAIN
        };
        let (step, ratio) = (super::GUARD_STEP, super::GUARD_RATIO);
        assert_eq!(guarded.older(step, &[(0, -step)], 9), [(0, -1.0)]);
        assert!(guarded.older(step.next_up(), &[(0, -step)], 9).is_empty());
        for place in [-ratio, -1.0 / ratio] {
            assert_eq!(guarded.older(1.0, &[(0, place)], 9), [(0, place)]);
        }
        for place in [(-ratio).next_down(), -0.49] {
            assert!(guarded.older(1.0, &[(0, place)], 9).is_empty(), "{place}");
        }
    }

    #[test]
    fn estimates_that_are_too_near_are_passed_over() {
        let held = [(1, -0.2), (0, -1.0), (2, -1.1), (3, -3.0)];
        assert_eq!(PLAIN.older(1.0, &held, 9), [(0, -1.0), (3, -3.0)]);
        assert_eq!(PLAIN.older(0.5, &held, 9), [(1, -0.4), (0, -2.0)]);
        assert!(PLAIN.older(f64::INFINITY, &held, 9).is_empty());
        let any = Extrapolation {
            min_ratio: 0.0,
            ..PLAIN
        };
        assert_eq!(any.older(1.0, &held, 9), [(1, -0.2), (0, -1.0)]);
        assert!(any.older(1.0, &[(0, 0.0)], 9).is_empty());
    }

    #[test]
    fn the_order_falls_at_the_end_and_over_uneven_steps() {
        let held = [(0, -1.0), (1, -2.0)];
        let last = Extrapolation {
            lower_order_final: true,
            ..PLAIN
        };
        for (left, used) in [(9, 2), (3, 2), (2, 1), (1, 0)] {
            assert_eq!(last.older(1.0, &held, left).len(), used);
        }
        let guarded = Extrapolation {
            guarded: true,
            ..PLAIN
        };
        for (size, used) in [(1.0, 2), (1.4, 2), (1.6, 0), (0.4, 0)] {
            assert_eq!(guarded.older(size, &held, 9).len(), used, "{size}");
        }
        assert_eq!(guarded.older(1.0, &[(0, -1.0), (1, -3.5)], 9).len(), 1);
    }
}
