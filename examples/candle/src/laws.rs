//! What an implementation of `TensorOps` must keep, checked on a few rows.

use std::fmt::{Debug, Display};

use diffusion_sampler::tensor::{Scale, TensorOps};

use crate::runs::Result;

/// Checks every method on tensors like `like`, which has two samples of three elements.
pub fn check<O>(ops: &O, like: &O::Tensor) -> Result<()>
where
    O: TensorOps<Element = f32>,
    O::Error: Debug + Display + 'static,
{
    let up = |values: [f32; 6]| ops.upload(values.to_vec(), like).map_err(text);
    let down = |tensor: &O::Tensor| ops.download(tensor).map_err(text);
    assert_eq!(ops.shape(like).as_ref().first(), Some(&2));
    let (a, b) = (
        [1.0, -2.0, 0.5, 4.0, 3.0, -8.0],
        [2.0, 0.25, 1.0, -1.0, 5.0, 0.5],
    );
    let (x, y) = (up(a)?, up(b)?);
    assert_eq!((down(&x)?, down(&y)?), (a.to_vec(), b.to_vec()));

    // Exact in every element type: small integers and powers of two.
    let scales = [2.0, -0.5];
    let terms = [(Scale::Same(0.5), &x), (Scale::PerSample(&scales), &y)];
    let sum = ops.linear_combination(&terms).map_err(text)?;
    let wanted = (0..6).map(|i| 0.5 * a[i] + scales[i / 3] as f32 * b[i]);
    assert_eq!(down(&sum)?, wanted.collect::<Vec<f32>>());
    assert_eq!(down(&x)?, a, "the terms stay as they are");

    let odd = up([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -3.0, 0.25, 3.0])?;
    let clamped = ops
        .clamp(&odd, -1.0, 2.0)
        .map_err(text)?
        .ok_or("no clamp")?;
    let clamped = down(&clamped)?;
    assert!(clamped[0].is_nan(), "NaN stays NaN");
    assert_eq!(clamped[1..], [2.0, -1.0, -1.0, 0.25, 2.0]);

    let products = ops
        .products(&[&x, &y])
        .map_err(text)?
        .ok_or("no products")?;
    for (sample, rows) in products.iter().enumerate() {
        let row = [&a[3 * sample..][..3], &b[3 * sample..][..3]];
        for j in 0..2 {
            assert_eq!(rows.sums[j], row[j].iter().sum::<f32>() as f64);
            for k in 0..2 {
                let inner: f32 = row[j].iter().zip(row[k]).map(|(a, b)| a * b).sum();
                assert_eq!(rows.inner[j][k], inner as f64);
            }
        }
    }

    let finite = |tensor: &O::Tensor| ops.all_finite(tensor).map_err(text);
    assert_eq!(finite(&x)?, Some(true));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = a;
        values[4] = bad;
        assert_eq!(finite(&up(values)?)?, Some(false));
    }
    Ok(())
}

fn text(error: impl Display) -> String {
    error.to_string()
}
