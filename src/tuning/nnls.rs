//! Least squares with coefficients that are not negative.

use crate::linalg::{axpy, dot};

/// A column whose part outside the others' span is below this share of its length depends on them.
const DEPENDENT: f64 = 1e-9;
/// A gradient below this share of |column| |b| counts as 0.
const FLAT: f64 = 1e-13;

/// x ≥ 0 that minimises |Ax − b|², A given by its columns, which are not zero.
///
/// Lawson and Hanson 1974, "Solving Least Squares Problems", chapter 23: columns enter one by one,
/// and leave where their coefficient would be negative. A column that depends on those that are in
/// is passed over until the set changes.
pub(super) fn nnls(columns: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; columns.len()];
    let mut inside: Vec<usize> = Vec::new();
    let mut passed = vec![false; columns.len()];
    let size = dot(b, b).sqrt();
    for _ in 0..3 * columns.len() {
        let residual = residual(columns, &x, b);
        let gradient = |j: usize| dot(&columns[j], &residual);
        let steep = |j: &usize| {
            let length = dot(&columns[*j], &columns[*j]).sqrt();
            gradient(*j) > FLAT * length * size
        };
        let outside = (0..columns.len()).filter(|j| !inside.contains(j) && !passed[*j]);
        let steepest = outside
            .filter(steep)
            .max_by(|a, b| gradient(*a).total_cmp(&gradient(*b)));
        let Some(entering) = steepest else { break };
        inside.push(entering);
        if settle(columns, b, &mut inside, &mut x) {
            passed.fill(false);
        } else {
            inside.retain(|&j| j != entering);
            x[entering] = 0.0;
            passed[entering] = true;
        }
    }
    x
}

/// Least squares on the columns that are in, of which those leave that would be negative. `false`,
/// with nothing changed but the last column's coefficient, where the last one cannot stay.
fn settle(columns: &[Vec<f64>], b: &[f64], inside: &mut Vec<usize>, x: &mut [f64]) -> bool {
    let mut first = true;
    while !inside.is_empty() {
        let Some(z) = solve(columns, inside, b) else {
            return !first;
        };
        if first && z.last().is_none_or(|last| *last <= 0.0) {
            return false;
        }
        first = false;
        // How far x may go towards z until a coefficient is 0.
        let mut share = 1.0;
        for (&j, &z) in inside.iter().zip(&z) {
            if z <= 0.0 {
                share = f64::min(share, x[j] / (x[j] - z));
            }
        }
        for (&j, &z) in inside.iter().zip(&z) {
            x[j] += share * (z - x[j]);
        }
        if share == 1.0 {
            break;
        }
        let pairs: Vec<(usize, f64)> = inside.iter().copied().zip(z).collect();
        for (j, z) in pairs {
            if z <= 0.0 && x[j] <= 1e-15 {
                x[j] = 0.0;
            }
        }
        inside.retain(|&j| x[j] > 0.0);
    }
    true
}

/// Least squares by Gram–Schmidt, each column made orthogonal twice; `None` where one depends on
/// those before it.
fn solve(columns: &[Vec<f64>], inside: &[usize], b: &[f64]) -> Option<Vec<f64>> {
    let n = inside.len();
    let (mut q, mut r): (Vec<Vec<f64>>, _) = (Vec::with_capacity(n), vec![0.0; n * n]);
    for (k, &j) in inside.iter().enumerate() {
        let mut column = columns[j].clone();
        let before = dot(&column, &column).sqrt();
        for _ in 0..2 {
            for (i, own) in q.iter().enumerate() {
                let share = dot(own, &column);
                r[i * n + k] += share;
                axpy(-share, own, &mut column);
            }
        }
        let length = dot(&column, &column).sqrt();
        if length <= DEPENDENT * before {
            return None;
        }
        r[k * n + k] = length;
        column.iter_mut().for_each(|value| *value /= length);
        q.push(column);
    }
    let mut z: Vec<f64> = q.iter().map(|own| dot(own, b)).collect();
    for k in (0..n).rev() {
        for i in k + 1..n {
            z[k] -= r[k * n + i] * z[i];
        }
        z[k] /= r[k * n + k];
    }
    Some(z)
}

fn residual(columns: &[Vec<f64>], x: &[f64], b: &[f64]) -> Vec<f64> {
    let mut residual = b.to_vec();
    for (column, &x) in columns.iter().zip(x).filter(|(_, x)| **x != 0.0) {
        axpy(-x, column, &mut residual);
    }
    residual
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_satisfies_the_conditions_of_karush_kuhn_and_tucker() {
        // Columns and right side from a small congruential generator.
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.4
        };
        for (rows, count) in [(1, 1), (4, 2), (12, 8), (10, 30), (40, 25)] {
            let mut vector = || (0..rows).map(|_| next()).collect::<Vec<f64>>();
            let columns: Vec<_> = (0..count).map(|_| vector()).collect();
            let b = vector();
            let x = nnls(&columns, &b);
            let left = residual(&columns, &x, &b);
            for (column, &x) in columns.iter().zip(&x) {
                let gradient = dot(column, &left);
                assert!(x >= 0.0);
                assert!(
                    gradient < 1e-10,
                    "{rows}×{count}: could be smaller by {gradient:e}"
                );
                assert!(x == 0.0 || gradient.abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_column_that_depends_on_another_is_passed_over() {
        let columns = vec![vec![1.0, 1.0], vec![2.0, 2.0], vec![0.0, 1.0]];
        let x = nnls(&columns, &[1.0, 3.0]);
        let left = residual(&columns, &x, &[1.0, 3.0]);
        assert!(left.iter().all(|r| r.abs() < 1e-12));
    }
}
