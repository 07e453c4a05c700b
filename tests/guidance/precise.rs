//! Forms asked directly, without a run: names, what they need, and weights to the last digits.

use diffusion_sampler::{
    Error, NoiseLevel, Prediction,
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, Evaluation, Guidance,
        GuidanceWeight, Memory, OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Products,
        Projected, Rescaled, Tangential, Unguided, WeightedSum, ZeroStar,
    },
};

/// ρ = 2.
fn at() -> Evaluation {
    Evaluation::new(NoiseLevel::new(0.5, 0.5, 1.0).unwrap(), Prediction::Data)
}

fn cfg() -> ClassifierFree {
    ClassifierFree::with_scale(4.0).unwrap()
}

fn weight(value: f64) -> GuidanceWeight {
    GuidanceWeight::constant(value).unwrap()
}

fn boxed(form: impl Guidance + 'static) -> Box<dyn Guidance> {
    Box::new(form)
}

#[test]
fn every_form_is_called_by_its_name() {
    let names = [
        (boxed(Unguided), "no guidance"),
        (boxed(cfg()), "classifier-free guidance"),
        (
            boxed(ClassifierGuidance::new(weight(1.0))),
            "classifier guidance",
        ),
        (
            boxed(Perturbed::new(2.0, weight(1.0)).unwrap()),
            "perturbed guidance",
        ),
        (boxed(WeightedSum::new(&[1.0]).unwrap()), "a weighted sum"),
        (
            boxed(OnInterval::new(cfg(), 1.0, 3.0).unwrap()),
            "classifier-free guidance",
        ),
        (
            boxed(PerpendicularNegative::new(4.0, 0.5).unwrap()),
            "perpendicular negative guidance",
        ),
        (boxed(PlusPlus::new(0.5).unwrap()), "CFG++"),
        (boxed(Projected::new(3.0).unwrap()), "projected guidance"),
        (
            boxed(Rescaled::new(cfg(), 0.5).unwrap()),
            "rescaled guidance",
        ),
        (boxed(Tangential::with_scale(3.0).unwrap()), "TCFG"),
        (boxed(ZeroStar::with_scale(3.0).unwrap()), "CFG-Zero*"),
    ];
    for (form, name) in names {
        assert_eq!(form.name(), name);
    }
    let composed = Composed::new(&[1.0, 2.0]).unwrap();
    assert_eq!(composed.name(), "composed guidance");
}

#[test]
fn products_are_asked_for_where_a_form_reads_them_and_nowhere_else() {
    let rescaled = || Rescaled::new(cfg(), 0.5).unwrap();
    let forms = [
        (boxed(Unguided), false),
        (boxed(cfg()), false),
        (boxed(ClassifierGuidance::around(cfg(), weight(1.0))), false),
        (
            boxed(ClassifierGuidance::around(rescaled(), weight(1.0))),
            true,
        ),
        (boxed(rescaled()), true),
        (boxed(Rescaled::new(cfg(), 0.0).unwrap()), false),
        (
            boxed(Rescaled::new(WeightedSum::new(&[2.0]).unwrap(), 0.5).unwrap()),
            false,
        ),
        (boxed(OnInterval::new(rescaled(), 1.0, 2.0).unwrap()), true),
        (boxed(OnInterval::new(rescaled(), 2.0, 3.0).unwrap()), false),
        (boxed(OnInterval::new(cfg(), 1.0, 2.0).unwrap()), false),
        (boxed(Projected::new(3.0).unwrap()), true),
        (boxed(Projected::new(0.0).unwrap()), false),
        (boxed(Tangential::with_scale(3.0).unwrap()), true),
        (boxed(PerpendicularNegative::new(4.0, 0.5).unwrap()), true),
        (boxed(ZeroStar::with_scale(3.0).unwrap()), true),
    ];
    for (form, needs) in forms {
        assert_eq!(form.needs_products(&at()), needs, "{form:?}");
    }
    let zero = ZeroStar::with_scale(3.0).unwrap().zero_steps(1);
    let clean = NoiseLevel::clean();
    assert!(!zero.needs_products(&at().in_step(0, clean)));
    assert!(zero.needs_products(&at().in_step(1, clean)));
    assert!(zero.needs_products(&at()));
}

#[test]
fn a_memory_is_kept_by_momentum_that_has_a_weight() {
    let apg = |weight| Projected::new(weight).unwrap();
    let moving = |weight| apg(weight).with_momentum(-0.5).unwrap();
    let memory = Some(Memory { decay: -0.5 });
    assert_eq!(moving(3.0).memory(&at()), memory);
    assert_eq!(moving(0.0).memory(&at()), None);
    assert_eq!(apg(3.0).memory(&at()), None);
    assert_eq!(cfg().memory(&at()), None);
    assert_eq!(
        ClassifierGuidance::around(moving(3.0), weight(1.0)).memory(&at()),
        memory
    );
    let on = |low, high| OnInterval::new(moving(3.0), low, high).unwrap();
    assert_eq!(on(1.0, 2.0).memory(&at()), memory);
    assert_eq!(on(2.0, 3.0).memory(&at()), None);
    let stateful = [
        (boxed(Rescaled::new(moving(3.0), 0.5).unwrap()), true),
        (boxed(Rescaled::new(cfg(), 0.5).unwrap()), false),
        (
            boxed(ClassifierGuidance::around(moving(3.0), weight(1.0))),
            true,
        ),
        (boxed(moving(0.0)), true),
        (boxed(apg(3.0)), false),
    ];
    for (form, expected) in stateful {
        assert_eq!(form.is_stateful(), expected, "{form:?}");
    }
}

#[test]
fn an_evaluation_in_a_step_knows_the_step_and_where_it_leads() {
    let target = NoiseLevel::new(0.25, 0.75, 0.5).unwrap();
    let inside = at().in_step(3, target);
    assert_eq!((inside.step(), inside.target()), (Some(3), Some(&target)));
    assert_eq!(
        (inside.level(), inside.prediction()),
        (at().level(), Prediction::Data)
    );
    assert_eq!((at().step(), at().target()), (None, None));
}

#[test]
fn an_interval_of_rho_has_its_upper_end_and_not_its_lower() {
    for (low, high, on) in [
        (1.0, 2.0, true),
        (2.0, 3.0, false),
        (1.9, 2.1, true),
        (0.0, 1.9, false),
    ] {
        let weight = GuidanceWeight::interval(3.0, low, high).unwrap();
        assert_eq!(weight.at(at().level()), Ok(if on { 3.0 } else { 0.0 }));
        let form = OnInterval::new(cfg(), low, high).unwrap();
        assert_eq!(form.wanted(&at()), Ok(if on { 2 } else { 1 }));
        let models: &[f64] = if on { &[4.0, -3.0] } else { &[1.0] };
        assert_eq!(form.combine(&at(), None).unwrap().models(), models);
    }
}

#[test]
fn large_weights_may_miss_one_by_their_rounding() {
    // Σ|w| = 2e5 and a bit: 1e-12 of it is 2e-7.
    let (a, b) = (1e5 + 0.5, -1e5 + 0.5);
    for (miss, passes) in [
        (0.0, true),
        (1.8e-7, true),
        (2.4e-7, false),
        (-1.8e-7, true),
    ] {
        assert_eq!(
            Combination::affine(&[a, b + miss]).is_ok(),
            passes,
            "{miss}"
        );
    }
    // Small ones by 1e-12, the largest by 1e-6.
    assert!(Combination::affine(&[0.5, 0.5 + 0.9e-12]).is_ok());
    assert!(Combination::affine(&[0.5, 0.5 + 1.2e-12]).is_err());
    assert!(Combination::affine(&[1e8, 1.0 - 1e8 + 2e-6]).is_err());
}

#[test]
fn a_gradient_that_has_no_place_of_its_own_is_refused() {
    let inner = ClassifierGuidance::new(weight(1.0));
    let twice = ClassifierGuidance::around(inner.clone(), weight(2.0));
    let gradients = twice.combine(&at(), None).unwrap();
    assert_eq!(
        (gradients.models(), gradients.gradients()),
        (&[1.0][..], &[1.0, 2.0][..])
    );
    // The middle one is off, so that the gradient of the innermost stands where the middle one's
    // would.
    let off = ClassifierGuidance::around(inner, weight(0.0));
    assert_eq!(off.combine(&at(), None).unwrap().outputs(), 2);
    let outer = ClassifierGuidance::around(off, weight(2.0));
    assert!(matches!(
        outer.combine(&at(), None),
        Err(Error::NestedGuidance {
            outer: "classifier guidance",
            ..
        })
    ));
}

/// Products of outputs of `n` elements, x being 0.
fn products(outputs: &[&[f64]]) -> Products {
    let n = outputs[0].len();
    let zero = vec![0.0; n];
    let arrays: Vec<&[f64]> = std::iter::once(&zero[..])
        .chain(outputs.iter().copied())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let sums: Vec<f64> = arrays.iter().map(|a| a.iter().sum()).collect();
    let inner: Vec<Vec<f64>> = arrays
        .iter()
        .map(|a| arrays.iter().map(|b| dot(a, b)).collect())
        .collect();
    let rows: Vec<&[f64]> = inner.iter().map(|row| &row[..]).collect();
    Products::new(n, outputs.len(), &sums, &rows).unwrap()
}

#[test]
fn products_tell_their_sizes_and_the_spread_of_a_sum() {
    let of = products(&[&[1.0, 2.0, 4.0, 9.0], &[1.0, 1.0, 1.0, 1.0]]);
    assert_eq!((of.elements(), of.outputs()), (4, 2));
    // n Var[(1, 2, 4, 9)] = 102 − 16²/4; a constant has none, and moves none.
    assert_eq!(of.spread_of(&[1.0, 0.0]), 38.0);
    assert_eq!(of.spread_of(&[2.0, -5.0]), 4.0 * 38.0);
    assert_eq!(of.spread_of(&[0.0, 3.0]), 0.0);
    // A spread below 1e-14 of all terms, |Σ|² and (Σ)²/n, is their rounding: those of 1e8, four
    // times, are 8e16, of which that is 800. With d on one of them the spread is ¾d².
    let big = |d: f64| products(&[&[1e8, 1e8, 1e8, 1e8 + d]]).spread_of(&[1.0]);
    assert_eq!(big(28.0), 0.0);
    assert!((big(37.0) - 1026.75).abs() < 32.0);
    // Weights enter squared, whatever their size.
    let one = products(&[&[1.0, -1.0]]);
    assert_eq!(one.spread_of(&[1e-150]), 2e-300);
}

#[test]
fn a_difference_of_the_size_of_rounding_has_no_direction() {
    let form = PerpendicularNegative::new(3.0, 0.5).unwrap();
    let weights = |conditional: &[f64], unconditional: &[f64], negative: &[f64]| {
        let of = products(&[conditional, unconditional, negative]);
        form.combine(&at(), Some(&of)).unwrap().models().to_vec()
    };
    // |δ|² = 1 of |o_c|² + |o_u|² = 1e13 + …: above 1e-14 of it, so that c is 1 for o_n = o_c.
    let (a, b) = ([2e6, 1.0], [2e6, 0.0]);
    assert_eq!(weights(&a, &b, &a), [4.5, 1.0 - 4.5 + 1.5, -1.5]);
    // Of 2·64e12 it is less: nothing is along δ.
    let (a, b) = ([8e6, 1.0], [8e6, 0.0]);
    assert_eq!(weights(&a, &b, &a), [3.0, 1.0 - 3.0 + 1.5, -1.5]);
}

#[test]
fn a_small_share_of_the_unconditional_output_keeps_its_digits() {
    // C = [[cc, cu], [cu, uu]] with cc ≫ uu: the eigenvector's second entry is cu/cc to first
    // order, and its square is what the unconditional output keeps.
    let of = products(&[&[1e5, 0.0], &[1e-5, 1.0]]);
    let form = Tangential::with_scale(3.0).unwrap();
    let weights = form.combine(&at(), Some(&of)).unwrap();
    let (cc, cu) = (1e10, 1.0);
    let share: f64 = (cu / (cc - 1.0)) * (cu / (cc - 1.0));
    assert!(
        (weights.models()[1] / (-2.0 * share) - 1.0).abs() < 1e-9,
        "{weights:?}"
    );
}

#[test]
fn scales_are_weights_and_one() {
    assert_eq!(
        Projected::with_scale(4.0).unwrap(),
        Projected::new(3.0).unwrap()
    );
    let flow = ZeroStar::with_scale(4.0).unwrap();
    assert!(flow.on(Prediction::Noise) != flow);
    assert_eq!(flow.on(Prediction::Flow), flow);
    let text = format!("{:?}", GuidanceWeight::interval(3.0, 1.0, 2.0).unwrap());
    assert_eq!(text, "GuidanceWeight(3 for rho in (1, 2])");
    assert_eq!(format!("{:?}", weight(2.5)), "GuidanceWeight(2.5)");
}

#[test]
fn a_perturbed_model_is_asked_for_no_output_that_has_no_weight() {
    for (scale, value, wanted) in [(1.0, 0.0, 1), (2.0, 0.0, 2), (1.0, 0.5, 3), (2.0, 0.5, 3)] {
        let form = Perturbed::new(scale, weight(value)).unwrap();
        assert_eq!(form.wanted(&at()), Ok(wanted), "{scale}, {value}");
    }
    for (value, wanted) in [(0.0, 2), (1.0, 3)] {
        let form = ClassifierGuidance::around(cfg(), weight(value));
        assert_eq!(form.wanted(&at()), Ok(wanted), "{value}");
    }
}
