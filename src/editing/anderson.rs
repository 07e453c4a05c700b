//! Anderson acceleration of x ← x + f(x), safeguarded, for one sample.

use crate::error::Error;
use crate::memory::{Copied, Listed};

/// The solution of f(x) = 0 so far, where J = −∂f/∂x is not far from symmetric and positive: f then
/// points downhill, and short steps along it always help.
///
/// Every trial gives a secant of f. The next trial is the point where the secants, taken from the
/// best point found, say that f is least, plus a step along what they leave of f (Anderson 1965,
/// "Iterative Procedures for Nonlinear Integral Equations"; with as many secants as dimensions it is
/// a quasi-Newton method). A trial that is worse than the best point is not accepted, but its secant
/// is kept; after three in a row the secants are dropped, and the step is shortened.
#[derive(Clone, Debug)]
pub(super) struct Anderson {
    depth: usize,
    best: Vec<f64>,
    /// f at the best point.
    force: Vec<f64>,
    norm: f64,
    /// (Δx, Δf), the newest last.
    secants: Vec<(Vec<f64>, Vec<f64>)>,
    damping: f64,
    rejected: usize,
}

/// A secant adds nothing where less than this of it is orthogonal to the newer ones: the rest is
/// rounding.
const DEPENDENT: f64 = 1e-7;

/// The trials in a row without progress after which no more is to be had.
const STALLED: usize = 15;

impl Anderson {
    /// From `start`, with up to `depth` secants; 0 is the damped fixed-point iteration.
    pub(super) fn new(start: Vec<f64>, depth: usize) -> Result<Self, Error> {
        Ok(Self {
            depth,
            force: crate::memory::repeated(0.0, start.len())?,
            best: start,
            norm: f64::INFINITY,
            secants: Vec::new(),
            damping: 1.0,
            rejected: 0,
        })
    }

    /// The best point.
    pub(super) fn best(&self) -> &[f64] {
        &self.best
    }

    /// |f| there, root mean square.
    pub(super) fn norm(&self) -> f64 {
        self.norm
    }

    /// Whether many trials in a row were no better.
    pub(super) fn is_stalled(&self) -> bool {
        self.rejected >= STALLED
    }

    /// Takes f at a trial.
    pub(super) fn take(&mut self, x: &[f64], force: &[f64]) -> Result<(), Error> {
        let square = dot(force, force) / force.len().max(1) as f64;
        let norm = square.sqrt();
        if self.norm < f64::INFINITY {
            let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).listed();
            let secant = (minus(x, &self.best)?, minus(force, &self.force)?);
            self.secants.push(secant);
            if self.secants.len() > self.depth {
                self.secants.remove(0);
            }
        }
        if norm < self.norm {
            self.norm = norm;
            self.best.copy_from_slice(x);
            self.force.copy_from_slice(force);
            self.damping = (2.0 * self.damping).min(1.0);
            self.rejected = 0;
            return Ok(());
        }
        self.rejected += 1;
        if self.depth == 0 || self.rejected.is_multiple_of(3) {
            self.secants.clear();
            self.damping *= 0.25;
        }
        Ok(())
    }

    /// Writes the next trial.
    pub(super) fn propose(&self, out: &mut [f64]) -> Result<(), Error> {
        let mut rest = self.force.copy()?;
        out.copy_from_slice(&self.best);
        // (Δx, Δf) made orthonormal in Δf, the newest first: its error is the least.
        let mut basis: Vec<(Vec<f64>, Vec<f64>)> = crate::memory::reserve(&[self.secants.len()])?;
        for (dx, df) in self.secants.iter().rev() {
            let (mut dx, mut df) = (dx.copy()?, df.copy()?);
            let before = dot(&df, &df).sqrt();
            for (x, f) in &basis {
                let along = dot(f, &df);
                axpy(-along, f, &mut df);
                axpy(-along, x, &mut dx);
            }
            let length = dot(&df, &df).sqrt();
            if length.is_nan() || length <= DEPENDENT * before {
                continue;
            }
            dx.iter_mut().chain(&mut df).for_each(|v| *v /= length);
            let along = dot(&df, &rest);
            axpy(-along, &df, &mut rest);
            axpy(-along, &dx, out);
            basis.push((dx, df));
        }
        axpy(self.damping, &rest, out);
        Ok(())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// y ← y + a·x.
fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::Anderson;

    /// Trials until |f| < 1e-13.
    fn solve(depth: usize, f: impl Fn(&[f64]) -> Vec<f64>, start: &[f64]) -> (usize, Vec<f64>) {
        let mut search = Anderson::new(start.to_vec(), depth).unwrap();
        let mut x = start.to_vec();
        for trial in 1..2000 {
            search.take(&x, &f(&x)).unwrap();
            if search.norm() < 1e-13 {
                return (trial, search.best().to_vec());
            }
            search.propose(&mut x).unwrap();
        }
        panic!("not solved, |f| = {:e}", search.norm());
    }

    #[test]
    fn a_linear_equation_takes_one_trial_for_each_dimension_and_two() {
        let f = |x: &[f64]| vec![1.0 - 0.5 * x[0], 2.0 - 1.7 * x[1], -1.0 - 0.1 * x[2]];
        let (trials, x) = solve(5, f, &[0.0; 3]);
        assert!(trials <= 5, "{trials}");
        for (found, exact) in x.iter().zip([2.0, 2.0 / 1.7, -10.0]) {
            assert!((found - exact).abs() < 1e-11);
        }
        assert!(
            solve(0, f, &[0.0; 3]).0 > 100,
            "the plain iteration is slow"
        );
    }

    #[test]
    fn steep_equations_are_damped_until_they_are_solved() {
        // Slopes far beyond 2, where the plain iteration diverges.
        let f = |x: &[f64]| vec![3.0 - x[0] - 20.0 * (3.0 * x[0]).tanh(), 0.5 - 40.0 * x[1]];
        for depth in [0, 1, 5] {
            let (trials, x) = solve(depth, f, &[5.0, -3.0]);
            println!("depth {depth}: {trials} trials");
            assert!(f(&x).iter().all(|f| f.abs() < 1e-12));
        }
    }

    #[test]
    fn what_has_no_solution_stalls() {
        let mut search = Anderson::new(vec![0.3], 3).unwrap();
        let mut x = vec![0.3];
        let mut trials = 0;
        while !search.is_stalled() {
            search.take(&x, &[1.0 + x[0] * x[0]]).unwrap();
            search.propose(&mut x).unwrap();
            trials += 1;
            assert!(trials < 500);
        }
        assert!(search.norm() >= 1.0);
    }
}
