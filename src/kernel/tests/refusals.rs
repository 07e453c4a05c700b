//! What the kernel refuses, and that it leaves x alone then.

use super::*;

#[test]
fn what_does_not_fit_is_refused_and_x_left_alone() {
    let form = plain(2.0, &[1.0; 16]);
    let mut x = Array::<f32, _>::ones((2, 3)).into_dyn();
    let other = Array::<f32, _>::ones((3, 2)).into_dyn();
    let one = x.clone();
    let mismatch = |name| Error::ShapeMismatch {
        name,
        expected: vec![2, 3],
        found: vec![3, 2],
    };
    let same = Forms::Same(&form);
    assert_eq!(
        update(same, &mut x, None, &[&other], None),
        Err(mismatch("input"))
    );
    assert_eq!(
        update(same, &mut x, Some(&mut other.clone()), &[], None),
        Err(mismatch("second output"))
    );
    assert_eq!(
        update(same, &mut x, None, &[&*one; 17], None),
        Err(Error::TooManyTerms { found: 17, max: 16 })
    );
    assert_eq!(
        update(Forms::PerSample(&[form]), &mut x, None, &[&one], None),
        Err(Error::WrongLength {
            name: "levels",
            expected: 2,
            found: 1
        })
    );
    let mut point = Array::<f32, _>::ones(()).into_dyn();
    assert_eq!(
        update(same, &mut point, None, &[], None),
        Err(Error::NoSampleAxis)
    );
    assert_eq!(x, one);
}

#[test]
fn a_linear_combination_checks_its_coefficients() {
    let mut x = Array::<f64, _>::ones(3);
    let e = x.clone();
    assert!(matches!(
        linear_combination(&mut x, f64::NAN, &[]),
        Err(Error::InvalidParameter { .. })
    ));
    assert!(matches!(
        linear_combination(&mut x, 1.0, &[(1.0, &*e), (f64::INFINITY, &*e)]),
        Err(Error::InvalidEntry { index: 1, .. })
    ));
    assert_eq!(
        linear_combination(&mut x, 1.0, &[(1.0, &*e); 17]),
        Err(Error::TooManyTerms { found: 17, max: 16 })
    );
    assert_eq!(x, e);
    for terms in 0..=16 {
        let mut x = e.clone();
        assert_eq!(
            linear_combination(&mut x, 2.0, &vec![(0.5, &*e); terms]),
            Ok(())
        );
        assert_eq!(x[1], 2.0 + 0.5 * terms as f64);
    }
}

#[test]
fn a_coefficient_that_overflows_the_element_type_is_refused_and_x_left_alone() {
    let mut x = Array::<f32, _>::ones(3);
    let e = x.clone();
    let requirement = "finite in the element type";
    assert_eq!(
        linear_combination(&mut x, 1e39, &[]),
        Err(Error::InvalidParameter {
            name: "x_coefficient",
            value: 1e39,
            requirement
        })
    );
    assert_eq!(
        linear_combination(&mut x, 1.0, &[(1.0, &*e), (-1e39, &*e)]),
        Err(Error::InvalidEntry {
            name: "terms",
            index: 1,
            value: -1e39,
            requirement
        })
    );
    let noisy = Form {
        noise: 1e39,
        ..plain(1.0, &[])
    };
    assert_eq!(
        update(
            Forms::PerSample(&[plain(1.0, &[]), noisy, noisy]),
            &mut x,
            None,
            &[],
            None
        ),
        Err(Error::InvalidParameter {
            name: "coefficient of the noise",
            value: 1e39,
            requirement
        })
    );
    assert_eq!(x, e);
    let mut wide = Array::<f64, _>::ones(3);
    assert_eq!(linear_combination(&mut wide, 1e39, &[]), Ok(()));
    assert_eq!(wide[2], 1e39);
}
