//! The little linear algebra that exact denoisers need, with the same bits on every machine.
//!
//! Matrices are row-major slices. Every sum has a fixed order: a product adds whole rows to its
//! result, so that the compiler vectorises across the result and never within a sum; a dot product
//! keeps eight explicit lanes.

mod factor;

use crate::error::Error;
use crate::memory::Listed;
use factor::orthogonal_rows;
pub(crate) use factor::{lower_factor, principal_axes};

/// The most sweeps of a Jacobi iteration. It converges quadratically, in 6 to 10 sweeps at d ≤
/// 1000; the bound only keeps rounding noise in a singular matrix from rotating forever.
const MAX_SWEEPS: usize = 50;

/// y ← y + a·x.
pub(crate) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Adds the rows of `matrix`, each times its coefficient, to `out`: out ← out + Mᵀc.
///
/// Four rows share one pass over `out`; each element still sums its rows in ascending order.
pub(crate) fn add_rows(matrix: &[f64], coefficient: impl Fn(usize) -> f64, out: &mut [f64]) {
    let d = out.len();
    let mut quads = matrix.chunks_exact(4 * d);
    let mut row = 0;
    for quad in &mut quads {
        let (m0, rest) = quad.split_at(d);
        let (m1, rest) = rest.split_at(d);
        let (m2, m3) = rest.split_at(d);
        let c = [
            coefficient(row),
            coefficient(row + 1),
            coefficient(row + 2),
            coefficient(row + 3),
        ];
        for ((((o, &m0), &m1), &m2), &m3) in out.iter_mut().zip(m0).zip(m1).zip(m2).zip(m3) {
            *o = (((*o + c[0] * m0) + c[1] * m1) + c[2] * m2) + c[3] * m3;
        }
        row += 4;
    }
    for last in quads.remainder().chunks_exact(d) {
        axpy(coefficient(row), last, out);
        row += 1;
    }
}

/// Σ f(a_i, b_i) in eight lanes, which are added pairwise at the end.
fn lanes(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (mut a8, mut b8) = (a.chunks_exact(8), b.chunks_exact(8));
    for (a, b) in (&mut a8).zip(&mut b8) {
        for ((s, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *s += f(a, b);
        }
    }
    for ((s, &a), &b) in sums.iter_mut().zip(a8.remainder()).zip(b8.remainder()) {
        *s += f(a, b);
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
}

/// a·b.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    lanes(a, b, |a, b| a * b)
}

/// |a − s·b|².
pub(crate) fn squared_distance(a: &[f64], s: f64, b: &[f64]) -> f64 {
    lanes(a, b, |a, b| {
        let difference = a - s * b;
        difference * difference
    })
}

/// ln Π f_i of positive factors within 1e±150: one logarithm instead of one each, with the
/// product's binary exponent kept apart so that it cannot overflow.
pub(crate) fn log_product(factors: impl Iterator<Item = f64>) -> f64 {
    // 2^±256.
    const BIG: f64 = f64::from_bits((1023 + 256) << 52);
    const SMALL: f64 = f64::from_bits((1023 - 256) << 52);
    let (mut product, mut blocks) = (1.0, 0i32);
    for factor in factors {
        product *= factor;
        while product > BIG {
            product *= SMALL;
            blocks += 1;
        }
        while product < SMALL && product > 0.0 {
            product *= BIG;
            blocks -= 1;
        }
    }
    libm::log(product) + f64::from(blocks) * 256.0 * std::f64::consts::LN_2
}

/// The d×d identity.
pub(crate) fn identity(d: usize) -> Result<Vec<f64>, Error> {
    (0..d * d)
        .map(|k| if k % (d + 1) == 0 { 1.0 } else { 0.0 })
        .listed()
}

/// A symmetric matrix A = U diag(λ) Uᵀ.
pub(crate) struct Eigen {
    /// λ, in the order in which the iteration leaves them on the diagonal.
    pub(crate) values: Vec<f64>,
    /// Uᵀ, row-major: row k is the unit eigenvector of `values[k]`. `None` when A is diagonal, so
    /// that U = I.
    pub(crate) vectors: Option<Vec<f64>>,
}

/// The eigenvalues and eigenvectors of a symmetric d×d matrix, by cyclic Jacobi rotations.
///
/// Chosen over tridiagonal QR because it is short, deterministic and accurate for small eigenvalues
/// too (Rutishauser 1966, "The Jacobi method for real symmetric matrices", whose update and
/// thresholds these are). O(d³) a sweep.
pub(crate) fn symmetric_eigen(mut a: Vec<f64>, d: usize) -> Result<Eigen, Error> {
    let mut vectors = identity(d)?;
    let mut rotated = false;
    for _ in 0..MAX_SWEEPS {
        let mut quiet = true;
        for p in 0..d {
            for q in p + 1..d {
                let (app, aqq, apq) = (a[p * d + p], a[q * d + q], a[p * d + q]);
                if apq == 0.0 {
                    continue;
                }
                let negligible =
                    |diagonal: f64| diagonal.abs() + 100.0 * apq.abs() == diagonal.abs();
                if !(negligible(app) && negligible(aqq)) {
                    rotate_symmetric(&mut a, &mut vectors, d, p, q);
                    quiet = false;
                    rotated = true;
                }
                a[p * d + q] = 0.0;
                a[q * d + p] = 0.0;
            }
        }
        if quiet {
            break;
        }
    }
    Ok(Eigen {
        values: (0..d).map(|k| a[k * d + k]).listed()?,
        vectors: rotated.then_some(vectors),
    })
}

/// t = tan θ of the smaller rotation with cot 2θ = `cot`.
fn small_tangent(cot: f64) -> f64 {
    1f64.copysign(cot) / (cot.abs() + (cot * cot + 1.0).sqrt())
}

/// One Jacobi rotation in the plane (p, q), except for the entry a_pq itself, which the caller sets
/// to 0.
fn rotate_symmetric(a: &mut [f64], vectors: &mut [f64], d: usize, p: usize, q: usize) {
    let apq = a[p * d + q];
    let t = small_tangent((a[q * d + q] - a[p * d + p]) / (2.0 * apq));
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    let tau = s / (1.0 + c);
    a[p * d + p] -= t * apq;
    a[q * d + q] += t * apq;
    for k in (0..d).filter(|&k| k != p && k != q) {
        let (akp, akq) = (a[p * d + k], a[q * d + k]);
        let (new_p, new_q) = (akp - s * (akq + tau * akp), akq + s * (akp - tau * akq));
        a[p * d + k] = new_p;
        a[k * d + p] = new_p;
        a[q * d + k] = new_q;
        a[k * d + q] = new_q;
    }
    rotate_rows(vectors, d, p, q, s, tau);
}

/// Rows p < q of a matrix with d columns: (p, q) ← (c p − s q, s p + c q), with τ = s/(1+c) to save
/// digits.
fn rotate_rows(matrix: &mut [f64], d: usize, p: usize, q: usize, s: f64, tau: f64) {
    let (upper, lower) = matrix.split_at_mut(q * d);
    let row_p = &mut upper[p * d..(p + 1) * d];
    let row_q = &mut lower[..d];
    for (x, y) in row_p.iter_mut().zip(row_q) {
        let (old_x, old_y) = (*x, *y);
        *x = old_x - s * (old_y + tau * old_x);
        *y = old_y + s * (old_x - tau * old_y);
    }
}

/// The nuclear norm of a d×d matrix, the sum of its singular values, by one-sided Jacobi rotations
/// (Hestenes 1958, "Inversion of matrices by biorthogonalization and related results").
///
/// Σ√eig(AAᵀ) would be the same number with half the digits: an eigenvalue of 0 comes out as 1e-16,
/// its root as 1e-8.
pub(crate) fn nuclear_norm(mut a: Vec<f64>, d: usize) -> f64 {
    orthogonal_rows(&mut a, (d, d), None);
    a.chunks_exact(d).map(|row| dot(row, row).sqrt()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn matrix(d: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        (0..d * d)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
            })
            .collect()
    }

    fn symmetric(d: usize, seed: u64) -> Vec<f64> {
        let m = matrix(d, seed);
        (0..d * d).map(|k| m[k] + m[(k % d) * d + k / d]).collect()
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_rebuild_the_matrix() {
        let sizes = [1, 2, 3, 5, 17, 64];
        for &d in &sizes[..if cfg!(miri) { 4 } else { 6 }] {
            let a = symmetric(d, d as u64);
            let eigen = symmetric_eigen(a.clone(), d).unwrap();
            let ut = eigen.vectors.unwrap_or_else(|| vec![1.0]);
            for i in 0..d {
                for j in 0..d {
                    let inner = dot(&ut[i * d..(i + 1) * d], &ut[j * d..(j + 1) * d]);
                    assert!((inner - f64::from(u8::from(i == j))).abs() < 1e-13);
                    let rebuilt: f64 = (0..d)
                        .map(|k| eigen.values[k] * ut[k * d + i] * ut[k * d + j])
                        .sum();
                    assert!((rebuilt - a[i * d + j]).abs() < 1e-12 * d as f64);
                }
            }
        }
    }

    #[test]
    fn eigenvalues_of_the_second_difference_matrix_are_known() {
        let d = if cfg!(miri) { 8 } else { 32usize };
        let a: Vec<f64> = (0..d * d)
            .map(|k| match (k / d).abs_diff(k % d) {
                0 => 2.0,
                1 => -1.0,
                _ => 0.0,
            })
            .collect();
        let mut values = symmetric_eigen(a, d).unwrap().values;
        values.sort_by(f64::total_cmp);
        for (k, value) in values.iter().enumerate() {
            let angle = (k + 1) as f64 * std::f64::consts::PI / (d + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-13);
        }
    }

    #[test]
    fn a_diagonal_matrix_needs_no_vectors() {
        let eigen = symmetric_eigen(vec![3.0, 0.0, 0.0, 1e-20], 2).unwrap();
        assert_eq!(eigen.values, [3.0, 1e-20]);
        assert!(eigen.vectors.is_none());
    }

    #[test]
    fn nuclear_norm_of_a_symmetric_matrix_is_the_sum_of_absolute_eigenvalues() {
        let sizes = [1, 2, 7, 20];
        for &d in &sizes[..if cfg!(miri) { 3 } else { 4 }] {
            let a = symmetric(d, 100 + d as u64);
            let expected: f64 = symmetric_eigen(a.clone(), d)
                .unwrap()
                .values
                .iter()
                .map(|v| v.abs())
                .sum();
            assert!((nuclear_norm(a, d) - expected).abs() < 1e-12 * d as f64);
        }
    }

    #[test]
    fn nuclear_norm_of_a_rank_one_matrix_is_the_product_of_the_norms() {
        let (u, v) = ([1.0, -2.0, 0.5, 3.0], [0.3, 0.0, -1.0, 2.0]);
        let a: Vec<f64> = (0..16).map(|k| u[k / 4] * v[k % 4]).collect();
        let expected = (dot(&u, &u) * dot(&v, &v)).sqrt();
        assert!((nuclear_norm(a, 4) - expected).abs() < 1e-14 * expected);
    }

    #[test]
    fn add_rows_is_the_naive_sum_bit_for_bit() {
        for (rows, d) in [(1, 3), (4, 4), (7, 5), (64, 64)] {
            let m = matrix(rows.max(d), 5);
            let m = &m[..rows * d];
            let c: Vec<f64> = (0..rows).map(|i| 0.1 * i as f64 - 0.3).collect();
            let mut fast = vec![0.25; d];
            let mut naive = fast.clone();
            add_rows(m, |i| c[i], &mut fast);
            for i in 0..rows {
                axpy(c[i], &m[i * d..(i + 1) * d], &mut naive);
            }
            assert_eq!(fast, naive);
        }
    }

    #[test]
    fn log_product_survives_products_beyond_the_range_of_f64() {
        let factors = [1e-140, 1e-100, 1e140, 3.0, 1e-90, 1e-130, 0.5];
        let expected: f64 = factors.iter().map(|f: &f64| f.ln()).sum();
        assert!((log_product(factors.into_iter()) - expected).abs() < 1e-12 * expected.abs());
        assert_eq!(log_product(std::iter::empty()), 0.0);
    }
}
