//! Bad input of the flow is a typed error.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, Grid, NoiseLevel, Prediction, Query, RunError, from_fn,
    likelihood::{FiniteDifferences, FlowLikelihood, JacobianProduct, Probes},
    oracle::{Gaussian, Oracle},
    schedule::RectifiedFlow,
    solver::Path,
};
use ndarray::{Array0, Array2, ArrayRef, Ix2, array};

use crate::common::{Outcome, flow, vp};

#[test]
fn a_path_has_to_end_at_finite_lambdas_and_to_have_a_schedule() -> Outcome {
    let schedule = RectifiedFlow::new();
    let refused = |times: &[f64]| -> Result<Error, Box<dyn std::error::Error>> {
        let grid = Grid::from_times(&schedule, times)?;
        let path = Path::new(&schedule, &grid)?;
        FlowLikelihood::new(&path)
            .err()
            .ok_or_else(|| "accepted".into())
    };
    assert!(matches!(
        refused(&[1.0, 0.5])?,
        Error::DegenerateEdge { from: 1.0, .. }
    ));
    assert!(matches!(
        refused(&[0.9, 0.0])?,
        Error::DegenerateEdge { from: 0.0, .. }
    ));
    let grid = Grid::from_times(&schedule, &[0.9, 0.1])?;
    let bare = FlowLikelihood::new(&Path::without_schedule(&grid));
    assert!(matches!(bare, Err(Error::PathWithoutSchedule { .. })));
    let path = Path::new(&schedule, &grid)?;
    for variance in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = FlowLikelihood::new(&path)?.with_start_variance(variance);
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter {
                name: "start_variance",
                ..
            })
        ));
    }
    Ok(())
}

#[test]
fn samples_that_do_not_fit_are_refused() -> Outcome {
    let (flow, _) = flow(&vp()?, (-3.0, 3.0), 4)?;
    let data = Gaussian::isotropic(&[0.0; 3], 1.0)?;
    let wrong = flow.exact(&data, &array![[0.0, 0.0]]);
    assert!(matches!(
        wrong,
        Err(Error::WrongLength {
            expected: 3,
            found: 2,
            ..
        })
    ));
    let broken = flow.exact(&data, &array![[0.0, f64::NAN, 0.0]]);
    assert!(matches!(
        broken,
        Err(Error::NonFiniteStart { element: 1, .. })
    ));
    let scalar = flow.exact(&data, &Array0::<f64>::zeros(()));
    assert!(matches!(scalar, Err(Error::NoSampleAxis)));
    let far = flow.exact(&data, &array![[0.0, 1e200, 0.0]]);
    assert!(matches!(far, Err(Error::InvalidEntry { .. })));
    let mut model = data.denoiser(Prediction::Noise);
    let probes = Probes::rademacher(2, 1)?;
    let none = flow.estimate(&mut model, &Array2::<f64>::zeros((0, 3)), &probes)?;
    assert!(none.log_densities().is_empty());
    Ok(())
}

#[test]
fn no_elements_have_the_density_1() -> Outcome {
    let (flow, _) = flow(&vp()?, (-3.0, 3.0), 4)?;
    let model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, _| {});
    let mut model = FiniteDifferences::new(model);
    let x = Array2::<f64>::zeros((2, 0));
    let density = flow.estimate(&mut model, &x, &Probes::basis());
    let density = density.map_err(|error| error.to_string())?;
    assert_eq!(density.log_densities(), [0.0, 0.0]);
    assert_eq!(density.bits_per_dimension().unwrap(), [0.0, 0.0]);
    Ok(())
}

#[test]
fn outputs_that_are_no_numbers_are_named() -> Outcome {
    let (flow, grid) = flow(&vp()?, (-3.0, 3.0), 4)?;
    let x = array![[0.1, 0.2], [0.3, 0.4]];
    let probes = Probes::rademacher(1, 1)?;
    let bad: NoiseLevel = grid.levels()[1];
    let model = from_fn::<f64, Ix2>(Prediction::Noise, move |x, level, out| {
        out.assign(x);
        if level.lambda() <= bad.lambda() {
            out[[1, 0]] = f64::NAN;
        }
    });
    let refused = flow.estimate(&mut FiniteDifferences::new(model), &x, &probes);
    let expected = |error: &Error| {
        matches!(
            error,
            Error::NonFinite {
                step: 1,
                sample: 1,
                element: 0,
                array: "model output",
                ..
            }
        )
    };
    assert!(matches!(refused, Err(RunError::Sampler(error)) if expected(&error)));
    // One that forgets to write.
    let model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, _| {});
    let refused = flow.estimate(&mut FiniteDifferences::new(model), &x, &probes);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::NonFinite {
            step: 3,
            array: "model output",
            ..
        }))
    ));
    Ok(())
}

#[test]
fn probes_are_counted() {
    for count in [0, (1 << 16) + 1] {
        assert!(matches!(
            Probes::rademacher(count, 1),
            Err(Error::InvalidParameter { .. })
        ));
        assert!(matches!(
            Probes::gaussian(count, 1),
            Err(Error::InvalidParameter { .. })
        ));
    }
    assert_eq!(Probes::basis().count(), None);
}

#[test]
fn no_samples_keep_their_dimension() -> Outcome {
    let (flow, _) = flow(&vp()?, (-3.0, 3.0), 4)?;
    let data = Gaussian::isotropic(&[0.0; 3], 1.0)?;
    let none = flow.exact(&data, &Array2::<f64>::zeros((0, 3)))?;
    assert_eq!(none.dim(), 3);
    let wrong = flow.exact(&data, &Array2::<f64>::zeros((0, 2)));
    assert!(matches!(
        wrong,
        Err(Error::WrongLength {
            expected: 3,
            found: 2,
            ..
        })
    ));
    let mut model = data.denoiser(Prediction::Noise);
    let none = flow.estimate(&mut model, &Array2::<f64>::zeros((0, 3)), &Probes::basis())?;
    assert_eq!(none.dim(), 3);
    Ok(())
}

#[test]
fn directions_of_another_shape_do_not_panic() -> Outcome {
    let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
    let model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(1.0));
    let mut model = FiniteDifferences::new(model);
    for rows in [0, 1] {
        let x = Array2::zeros((rows, 2));
        let (mut out, mut product) = (x.clone(), Array2::zeros((4, 2)));
        let query = Query::new(&level);
        let v = Array2::ones((3, 2));
        model.denoise_along(&x, &v, &query, &mut out, &mut product)?;
        // No number for rows that are no samples.
        assert!(product.row(3).iter().all(|p: &f64| p.is_nan()));
    }
    Ok(())
}

/// Writes its output, and its product at noisy levels alone.
struct Forgetful(f64);

impl Denoiser<f64, Ix2> for Forgetful {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        _: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        out.assign(x);
        Ok(())
    }
}

impl JacobianProduct<f64, Ix2> for Forgetful {
    fn denoise_along(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        direction: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
        product: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        self.denoise(x, query, out)?;
        if query.level().lambda() > self.0 {
            product.assign(direction);
        }
        Ok(())
    }
}

#[test]
fn a_product_that_is_not_written_is_named() -> Outcome {
    let (flow, grid) = flow(&vp()?, (-3.0, 3.0), 4)?;
    let mut model = Forgetful(grid.levels()[2].lambda());
    let refused = flow.estimate(&mut model, &array![[0.1, 0.2]], &Probes::basis());
    let Err(RunError::Sampler(Error::NonFinite { step, array, .. })) = refused else {
        return Err(format!("{refused:?}").into());
    };
    assert_eq!((step, array), (2, "Jacobian product"));
    Ok(())
}
