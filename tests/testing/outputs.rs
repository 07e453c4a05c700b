//! What is made of outputs: conversions and guidance.

use diffusion_sampler::{
    NoiseLevel, Prediction, Query,
    denoiser::{Denoiser, Guided, Models},
    from_fn,
    guidance::{ClassifierFree, Guidance, GuidanceWeight, Projected, Rescaled, Tangential},
    testing::{
        Failure, GuidanceLaw, check_conversion, check_guidance, check_round_trip,
        proptest::prelude::*,
        strategies::{levels, predictions},
    },
};
use ndarray::{Array2, Ix2};

use super::common::{config, row};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// This crate's conversion as a black box.
fn convert(
    level: NoiseLevel,
    from: Prediction,
    to: Prediction,
) -> impl Fn(&[f64], &[f64], &mut [f64]) {
    move |x, output, out| {
        let mut array = row(output);
        from.convert_in_place(&mut array, &row(x), to, &[level])
            .unwrap();
        out.copy_from_slice(array.as_slice().unwrap());
    }
}

#[test]
fn the_crates_conversions_pass_at_every_level() {
    proptest!(config(500), |(level in levels(), from in predictions(), to in predictions())| {
        prop_assume!(from.convert_to(to, &level).is_ok() && to.convert_to(from, &level).is_ok());
        prop_assume!(from.target(&level).is_ok() && to.target(&level).is_ok());
        check_conversion(&level, from, to, 1e-11, convert(level, from, to))?;
        let (there, back) = (convert(level, from, to), convert(level, to, from));
        check_round_trip(&level, from, to, 1e-11, there, back)?;
    });
}

#[test]
fn a_wrong_sign_or_swapped_scales_of_a_conversion_are_found() {
    proptest!(config(200), |(level in levels())| {
        let (a, s) = (level.alpha(), level.sigma());
        prop_assume!(a > 1e-3 && s > 1e-3 && (a - s).abs() > 1e-3);
        let form = |on_x: f64, on_output: f64| move |x: &[f64], o: &[f64], out: &mut [f64]| {
            for i in 0..out.len() {
                out[i] = on_x * x[i] + on_output * o[i];
            }
        };
        let (v, data) = (Prediction::Velocity, Prediction::Data);
        let n = a * a + s * s;
        check_conversion(&level, v, data, 1e-9, form(a / n, -s / n))?;
        for planted in [form(a / n, s / n), form(s / n, -a / n)] {
            let failure = check_conversion(&level, v, data, 1e-9, planted);
            prop_assert!(matches!(failure, Err(Failure::Conversion { .. })), "{:?}", failure);
        }
        let slightly = form(a / n * (1.0 + 1e-6), -s / n * (1.0 + 1e-6));
        let failure = check_conversion(&level, v, data, 1e-9, slightly);
        prop_assert!(matches!(failure, Err(Failure::Conversion { .. })), "{:?}", failure);
        // x₀ − ε for ε − x₀: v of a flow in the other direction, the same both ways.
        let flow = Prediction::Flow;
        let (there, back) = (form(-1.0 / (a + s), s / (a + s)), form(1.0 / s, (a + s) / s));
        let failure = check_conversion(&level, flow, data, 1e-9, there);
        prop_assert!(matches!(failure, Err(Failure::Conversion { .. })), "{:?}", failure);
        check_round_trip(&level, flow, data, 1e-6, there, back)?;
        let (there, back) = (form(1.0 / (a + s), -s / (a + s)), form(1.01 / s, -(a + s) / s));
        let failure = check_round_trip(&level, flow, data, 1e-9, there, back);
        prop_assert!(matches!(failure, Err(Failure::Conversion { .. })), "{:?}", failure);
        let failure = check_round_trip(&level, flow, data, 1e-9, form(1.0, 1.0), form(1.0, 1.0));
        prop_assert!(matches!(failure, Err(Failure::Conversion { .. })), "{:?}", failure);
    });
}

#[test]
fn conversions_that_are_not_defined_are_refused() -> Outcome {
    let noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
    let (from, to) = (Prediction::Noise, Prediction::Data);
    let failure = check_conversion(&noise, from, to, 1e-9, |_, _, out: &mut [f64]| {
        out.fill(0.0)
    });
    assert!(matches!(failure, Err(Failure::Setup(_))));
    let level = NoiseLevel::new(1.0, 0.6, 0.8)?;
    let failure = check_conversion(&level, from, to, 1e-9, |_, _, _: &mut [f64]| ());
    assert_eq!(failure, Err(Failure::NotWritten { index: 0 }));
    Ok(())
}

/// This crate's guidance on two outputs of ε, as a black box.
fn guided<G: Guidance>(form: G, c: &[f64], u: &[f64], out: &mut [f64]) {
    let constant = |values: &[f64]| {
        let values = row(values);
        from_fn::<f64, Ix2>(Prediction::Noise, move |_, _, out| out.assign(&values))
    };
    let mut model = Guided::new(Models((constant(c), constant(u))), form);
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let mut array = Array2::zeros((1, c.len()));
    let x = Array2::zeros((1, c.len()));
    Denoiser::denoise(&mut model, &x, &Query::new(&level), &mut array).unwrap();
    out.copy_from_slice(array.as_slice().unwrap());
}

#[test]
fn the_crates_forms_keep_their_laws() -> Outcome {
    check_guidance(&GuidanceLaw::ALL, 1e-12, |w, c, u, out| {
        guided(ClassifierFree::with_weight(w).unwrap(), c, u, out);
    })?;
    let three = [
        GuidanceLaw::ZeroWeight,
        GuidanceLaw::EqualOutputs,
        GuidanceLaw::Scaling,
    ];
    check_guidance(&three, 1e-10, |w, c, u, out| {
        let form = ClassifierFree::new(GuidanceWeight::constant(w).unwrap());
        guided(Rescaled::new(form, 0.7).unwrap(), c, u, out);
    })?;
    check_guidance(&three, 1e-10, |w, c, u, out| {
        guided(Tangential::with_scale(1.0 + w).unwrap(), c, u, out);
    })?;
    check_guidance(&three, 1e-10, |w, c, u, out| {
        let form = Projected::new(w).unwrap().with_eta(0.3).unwrap();
        guided(form, c, u, out);
    })?;
    Ok(())
}

#[test]
fn forms_that_are_not_affine_depend_on_the_prediction() {
    let broken = |outcome: Result<(), Failure>| {
        let law = GuidanceLaw::Conversion;
        matches!(outcome, Err(Failure::Guidance { law: found, .. }) if found == law)
    };
    let law = [GuidanceLaw::Conversion];
    assert!(broken(check_guidance(&law, 1e-6, |w, c, u, out| {
        let form = ClassifierFree::with_weight(w).unwrap();
        guided(Rescaled::new(form, 0.7).unwrap(), c, u, out);
    })));
    assert!(broken(check_guidance(&law, 1e-6, |w, c, u, out| {
        guided(Tangential::with_scale(1.0 + w).unwrap(), c, u, out);
    })));
    assert!(broken(check_guidance(&law, 1e-6, |w, c, u, out| {
        guided(Projected::new(w).unwrap(), c, u, out);
    })));
}

#[test]
fn single_precision_passes_at_its_own_tolerance() {
    check_guidance(&GuidanceLaw::ALL, 1e-5, |w, c: &[f32], u, out| {
        for i in 0..out.len() {
            out[i] = u[i] + (1.0 + w as f32) * (c[i] - u[i]);
        }
    })
    .unwrap();
    proptest!(config(300), |(level in levels(), from in predictions(), to in predictions())| {
        let linear = from.convert_to(to, &level);
        prop_assume!(linear.is_ok() && from.target(&level).is_ok() && to.target(&level).is_ok());
        let linear = linear?;
        // What f32 holds.
        let target = from.target(&level)?;
        let values = [linear.x, linear.output, target.data, target.noise];
        prop_assume!(values.iter().all(|v| v.abs() < 1e15));
        check_conversion(&level, from, to, 1e-5, |x: &[f32], output, out| {
            for i in 0..out.len() {
                out[i] = linear.x as f32 * x[i] + linear.output as f32 * output[i];
            }
        })?;
    });
}

#[test]
fn broken_laws_of_guidance_are_found() {
    let broken = |laws: &[GuidanceLaw], form: fn(f64, f64, f64) -> f64| {
        let outcome = check_guidance(laws, 1e-9, |w, c: &[f64], u, out| {
            for i in 0..out.len() {
                out[i] = form(w, c[i], u[i]);
            }
        });
        match outcome {
            Ok(()) => None,
            Err(Failure::Guidance { law, .. }) => Some(law),
            Err(other) => panic!("{other}"),
        }
    };
    let all = &GuidanceLaw::ALL;
    assert_eq!(broken(all, |w, c, u| u + (1.0 + w) * (c - u)), None);
    // Exchanged outputs; the paper's weight for the library's scale.
    assert_eq!(
        broken(all, |w, c, u| c + (1.0 + w) * (u - c)),
        Some(GuidanceLaw::ZeroWeight)
    );
    assert_eq!(
        broken(all, |w, c, u| u + w * (c - u)),
        Some(GuidanceLaw::ZeroWeight)
    );
    // Weights that do not sum to one.
    assert_eq!(
        broken(all, |w, c, u| (1.0 + w) * c + w * u),
        Some(GuidanceLaw::EqualOutputs)
    );
    // A clip, after the guidance.
    assert_eq!(
        broken(&all[2..], |w, c, u| (c + w * (c - u)).clamp(-3.0, 3.0)),
        Some(GuidanceLaw::Scaling)
    );
    // Weights on the outputs that are not affine, and so mean another thing on x₀.
    assert_eq!(
        broken(&[GuidanceLaw::Conversion], |w, c, _| (1.0 + w) * c),
        Some(GuidanceLaw::Conversion)
    );
    // All laws but the formula: w² for w.
    assert_eq!(
        broken(all, |w, c, u| c + w * w * (c - u)),
        Some(GuidanceLaw::ClassifierFree)
    );
}
