//! Latents between two others.

use diffusion_sampler::{
    Error, KeyedNoise,
    editing::{lerp_preserving_variance, slerp},
    forward::fill_normal,
    noise::Stream,
};
use ndarray::{Array, Array2, Array3, ArrayD, IxDyn, array};

use crate::Outcome;

fn norm<'a>(x: impl IntoIterator<Item = &'a f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn the_arc_is_followed_at_a_constant_rate_and_beyond_its_ends() -> Outcome {
    for angle in [1e-9f64, 1e-3, 0.4, 1.5, 3.0, 3.12] {
        let (a, b) = (
            array![[2.0, 0.0]],
            array![[2.0 * angle.cos(), 2.0 * angle.sin()]],
        );
        for w in [-0.7, 0.0, 0.2, 0.5, 1.0, 1.6] {
            let found = slerp(&a, &b, &[w])?;
            let exact = array![[2.0 * (w * angle).cos(), 2.0 * (w * angle).sin()]];
            // Near opposition the angle itself is known to the rounding of b over its distance.
            let tolerance = 1e-15 * (4.0 + 8.0 / (std::f64::consts::PI - angle));
            for (x, y) in found.iter().zip(&exact) {
                assert!((x - y).abs() < tolerance, "{angle} {w}: {x} {y}");
            }
        }
    }
    Ok(())
}

#[test]
fn each_sample_has_its_own_angle_and_weight_in_any_dimension() -> Outcome {
    let mut a = Array3::<f64>::zeros((5, 7, 3));
    let mut b = a.clone();
    fill_normal(&mut a, &mut KeyedNoise::new(1), 0, Stream::User(0))?;
    fill_normal(&mut b, &mut KeyedNoise::new(2), 0, Stream::User(0))?;
    let weights = [0.0, 0.25, 0.5, 0.9, 1.0];
    let whole = slerp(&a, &b, &weights)?;
    for (sample, w) in weights.into_iter().enumerate() {
        let row = |x: &Array3<f64>| {
            let row = x.index_axis(ndarray::Axis(0), sample).to_owned();
            row.insert_axis(ndarray::Axis(0))
        };
        assert_eq!(slerp(&row(&a), &row(&b), &[w])?, row(&whole));
        // Against the textbook form with the arc cosine.
        let (u, v) = (norm(&row(&a)), norm(&row(&b)));
        let cosine = row(&a)
            .iter()
            .zip(&row(&b))
            .map(|(a, b)| a * b)
            .sum::<f64>()
            / (u * v);
        let theta = cosine.acos();
        for ((x, a), b) in row(&whole).iter().zip(&row(&a)).zip(&row(&b)) {
            let exact = (((1.0 - w) * theta).sin() * a + (w * theta).sin() * b) / theta.sin();
            assert!((x - exact).abs() < 1e-14);
        }
    }
    // A transposed view, an array of dynamic dimension and f32 are as good.
    let (t, u) = (
        a.view().permuted_axes([0, 2, 1]),
        b.view().permuted_axes([0, 2, 1]),
    );
    let turned = slerp(&t, &u, &weights)?;
    let expected = whole.view().permuted_axes([0, 2, 1]);
    assert!(
        turned
            .iter()
            .zip(&expected)
            .all(|(x, y)| (x - y).abs() < 1e-14)
    );
    let dynamic = slerp(&a.clone().into_dyn(), &b.clone().into_dyn(), &weights)?;
    assert_eq!(dynamic, whole.clone().into_dyn());
    let single = slerp(&a.mapv(|x| x as f32), &b.mapv(|x| x as f32), &weights)?;
    assert!(
        single
            .iter()
            .zip(&whole)
            .all(|(x, y)| (f64::from(*x) - y).abs() < 1e-6)
    );
    Ok(())
}

#[test]
fn limits_are_designed() -> Outcome {
    let zero = array![[0.0, 0.0], [1.0, 2.0], [3.0, 0.0]];
    let other = array![[1.0, 2.0], [0.0, 0.0], [6.0, 0.0]];
    assert_eq!(
        slerp(&zero, &other, &[0.25])?,
        array![[0.25, 0.5], [0.75, 1.5], [3.75, 0.0]]
    );
    let (a, b) = (
        array![[1.0, 0.0], [1.0, 0.0]],
        array![[0.0, 1.0], [-2.0, 0.0]],
    );
    assert!(matches!(
        slerp(&a, &b, &[0.5]),
        Err(Error::InvalidEntry { name: "angle of sample", index: 1, value, .. }) if value > 3.1
    ));
    assert_eq!(slerp(&a, &b, &[0.0])?, a);
    assert_eq!(slerp(&a, &b, &[1.0])?, b);
    // The angle is told from π down to 1e-8 of it.
    for (short, refused) in [(1e-6f64, false), (2e-8, false), (5e-9, true)] {
        let nearly = array![[-short.cos(), short.sin()]];
        let found = slerp(&array![[1.0, 0.0]], &nearly, &[0.5]);
        assert_eq!(found.is_err(), refused, "{short}");
        if let Ok(middle) = found {
            assert!((middle[[0, 1]] - 1.0).abs() < 1e-7, "{short}: {middle}");
        }
    }
    // Lengths whose squares are no f64s have an angle too.
    for length in [1e-300, 1e-170, 1e170, 1e300] {
        let (a, b) = (array![[length, 0.0]], array![[0.0, 3.0 * length]]);
        let middle = slerp(&a, &b, &[0.5])? / length;
        let error = (middle - array![[1.0, 3.0]] * 0.5f64.sqrt()).mapv(f64::abs);
        assert!(error.iter().all(|e| *e < 1e-15), "{length}: {error}");
    }
    let empty = Array2::<f32>::zeros((0, 4));
    assert_eq!(slerp(&empty, &empty, &[0.5])?, empty);
    for bad in [f64::NAN, f64::INFINITY, 1e7] {
        assert!(matches!(
            slerp(&a, &b, &[bad]),
            Err(Error::InvalidEntry {
                name: "weights",
                ..
            })
        ));
    }
    assert_eq!(
        slerp(&a, &b, &[0.1; 3]),
        Err(Error::WrongLength {
            name: "weights",
            expected: 2,
            found: 3
        })
    );
    assert!(matches!(
        slerp(&a, &array![[1.0, 0.0]], &[0.1]),
        Err(Error::ShapeMismatch { .. })
    ));
    let point: ArrayD<f64> = Array::zeros(IxDyn(&[]));
    assert_eq!(slerp(&point, &point, &[0.1]), Err(Error::NoSampleAxis));
    Ok(())
}

#[test]
fn a_mix_of_standard_normals_is_standard_normal() -> Outcome {
    let mut a = Array2::<f64>::zeros((4, 50_000));
    let mut b = a.clone();
    fill_normal(&mut a, &mut KeyedNoise::new(1), 0, Stream::User(0))?;
    fill_normal(&mut b, &mut KeyedNoise::new(2), 0, Stream::User(0))?;
    let weights = [0.1, 0.5, 0.8, 1.3];
    for mixed in [
        lerp_preserving_variance(&a, &b, &weights)?,
        slerp(&a, &b, &weights)?,
    ] {
        for row in mixed.rows() {
            let variance = row.dot(&row) / row.len() as f64;
            // Four standard errors of a mean of 50,000 squares.
            assert!(
                (variance - 1.0).abs() < 4.0 * (2.0f64 / 50_000.0).sqrt(),
                "{variance}"
            );
        }
    }
    let mixed = lerp_preserving_variance(&array![[1.0, 0.0]], &array![[0.0, 1.0]], &[0.25])?;
    let exact = array![[0.75, 0.25]] / 0.625f64.sqrt();
    assert!(mixed.iter().zip(&exact).all(|(x, y)| (x - y).abs() < 1e-15));
    Ok(())
}
