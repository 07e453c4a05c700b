//! Factors of symmetric matrices: what is kept as FFᵀ has no negative eigenvalue.

use super::{MAX_SWEEPS, axpy, dot, identity, rotate_rows, small_tangent};
use crate::error::Error;
use crate::memory::Listed;

/// Rotates the rows of A, of shape \[d, n\], until they are orthogonal; `record`, \[d, d\], is
/// rotated with them. Returns whether anything was.
pub(super) fn orthogonal_rows(
    a: &mut [f64],
    (d, n): (usize, usize),
    mut record: Option<&mut [f64]>,
) -> bool {
    let tolerance = f64::EPSILON * d as f64;
    let row = |k: usize| k * n..(k + 1) * n;
    let mut rotated = false;
    for _ in 0..MAX_SWEEPS {
        let mut quiet = true;
        for p in 0..d {
            for q in p + 1..d {
                let (pp, qq) = (dot(&a[row(p)], &a[row(p)]), dot(&a[row(q)], &a[row(q)]));
                let pq = dot(&a[row(p)], &a[row(q)]);
                if pq.abs() > tolerance * pp.sqrt() * qq.sqrt() {
                    let t = small_tangent((qq - pp) / (2.0 * pq));
                    let c = 1.0 / (t * t + 1.0).sqrt();
                    let (s, tau) = (t * c, t * c / (1.0 + c));
                    rotate_rows(a, n, p, q, s, tau);
                    if let Some(record) = record.as_deref_mut() {
                        rotate_rows(record, d, p, q, s, tau);
                    }
                    quiet = false;
                    rotated = true;
                }
            }
        }
        if quiet {
            break;
        }
    }
    rotated
}

/// The eigenvalues of FFᵀ, for F of shape \[d, n\], as sums of squares, and its unit eigenvectors
/// as rows (`None` where they are the axes themselves): Hestenes' rotations of F, so that small
/// ones keep their digits and none is negative.
pub(crate) fn principal_axes(
    mut factor: Vec<f64>,
    d: usize,
    n: usize,
) -> Result<(Vec<f64>, Option<Vec<f64>>), Error> {
    let mut columns = n;
    if n > d {
        lower_factor(&mut factor, d, n)?;
        let kept = factor.chunks_exact(n).flat_map(|row| &row[..d]);
        factor = kept.copied().listed()?;
        columns = d;
    }
    let mut vectors = identity(d)?;
    let rotated = orthogonal_rows(&mut factor, (d, columns), Some(&mut vectors));
    let values = factor.chunks_exact(columns).map(|row| dot(row, row));
    Ok((values.listed()?, rotated.then_some(vectors)))
}

/// Rotates the columns of M, of shape \[m, n\] with m ≤ n, by Householder reflections until it is
/// lower triangular: MMᵀ stays, and the columns from m on are 0.
pub(crate) fn lower_factor(matrix: &mut [f64], m: usize, n: usize) -> Result<(), Error> {
    for i in 0..m {
        let (head, below) = matrix.split_at_mut((i + 1) * n);
        let row = &mut head[i * n + i..];
        // Divided by the largest first, so that no square overflows or is lost.
        let large = row.iter().fold(0.0, |large: f64, v| large.max(v.abs()));
        if large == 0.0 {
            continue;
        }
        if !large.is_finite() || row.iter().any(|v| v.is_nan()) {
            // Nothing to rotate, and nothing that may be lost with the columns behind.
            row.fill(0.0);
            row[0] = f64::NAN;
            continue;
        }
        let scaled: Vec<f64> = row.iter().map(|v| v / large).listed()?;
        let norm = dot(&scaled, &scaled).sqrt();
        let mut reflector = scaled;
        // Away from cancellation: v = a + sign(a₀)|a|e₀.
        let end = -norm.copysign(reflector[0]);
        reflector[0] -= end;
        let square = dot(&reflector, &reflector);
        row.fill(0.0);
        row[0] = end * large;
        for other in below.chunks_exact_mut(n) {
            let other = &mut other[i..];
            let factor = -2.0 * dot(&reflector, other) / square;
            axpy(factor, &reflector, other);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::*;

    #[test]
    fn principal_axes_rebuild_the_product_and_keep_small_variances() {
        for (d, n) in [(1, 1), (2, 2), (3, 7), (5, 5), (8, 20)] {
            let mut f = matrix(d.max(n), (d + n) as u64);
            f.truncate(d * n);
            // One direction of a millionth of the others' size.
            for v in &mut f[..n] {
                *v *= 1e-9;
            }
            let (values, axes) = principal_axes(f.clone(), d, n).unwrap();
            let axes = axes.unwrap_or_else(|| identity(d).unwrap());
            for i in 0..d {
                for j in 0..d {
                    let expected = dot(&f[i * n..(i + 1) * n], &f[j * n..(j + 1) * n]);
                    let scale = (dot(&f[i * n..(i + 1) * n], &f[i * n..(i + 1) * n])
                        * dot(&f[j * n..(j + 1) * n], &f[j * n..(j + 1) * n]))
                    .sqrt();
                    let found: f64 = (0..d)
                        .map(|k| values[k] * axes[k * d + i] * axes[k * d + j])
                        .sum();
                    assert!(
                        (found - expected).abs() < 1e-13 * scale.max(1e-15),
                        "{i} {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_in_the_columns_that_are_kept() {
        for value in [f64::INFINITY, f64::NAN] {
            let mut f = vec![1.0, 0.5, value, 0.3];
            lower_factor(&mut f, 1, 4).unwrap();
            assert!(!f[0].is_finite() && f[1..] == [0.0; 3], "{f:?}");
        }
    }

    #[test]
    fn a_lower_factor_is_triangular_and_keeps_the_product() {
        for (m, n) in [(1, 3), (3, 3), (4, 9), (6, 12)] {
            let mut f = matrix(n, (m * n) as u64);
            f.truncate(m * n);
            let before = f.clone();
            lower_factor(&mut f, m, n).unwrap();
            for i in 0..m {
                assert!(f[i * n + i + 1..(i + 1) * n].iter().all(|v| *v == 0.0));
                for j in 0..m {
                    let product = |f: &[f64]| dot(&f[i * n..(i + 1) * n], &f[j * n..(j + 1) * n]);
                    assert!((product(&f) - product(&before)).abs() < 1e-14);
                }
            }
        }
    }
}
