//! Values of schedules against references of 50 digits.

#![allow(clippy::excessive_precision)] // The references as mpmath prints them.

use diffusion_sampler::{
    NoiseLevel,
    schedule::{
        NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
    },
};

use super::common::Outcome;

/// A level against (α, σ, λ) of the reference.
fn check(name: &str, level: &NoiseLevel, expected: (f64, f64, f64), tolerance: f64) {
    let (alpha, sigma, lambda) = expected;
    let errors = [
        (level.alpha() / alpha - 1.0).abs(),
        (level.sigma() / sigma - 1.0).abs(),
        (level.lambda() - lambda).abs(),
    ];
    for error in errors {
        assert!(
            error < tolerance,
            "{name} at {}: {level:?} is not {expected:?}: {errors:?}",
            level.time()
        );
    }
}

/// (knot, α, σ, λ).
type Reference = (f64, f64, f64, f64);

// The references were computed from the definitions with mpmath at 50 digits, the parameters being
// the decimal numbers (1e-4 and so on), ln α² as the sum of ln(1 − β) over all betas, σ² =
// −expm1(ln α²).
#[rustfmt::skip]
const LINEAR: [Reference; 6] = [
    (1.0, 0.9999499987499375, 0.01, 4.6051201834879247),
    (2.0, 0.99989003999043418, 0.014829292900469932, 4.2110408382593543),
    (10.0, 0.99905215318612602, 0.043529245504205344, 3.1333739600406973),
    (500.0, 0.28033416288739808, 0.95990247271179678, -1.230849357905236),
    (999.0, 0.0064173153562361671, 0.99997940881981096, -5.0487348261556019),
    (1000.0, 0.0063528180875700221, 0.99997982064756999, -5.0588365916505161),
];

#[rustfmt::skip]
const SCALED: [Reference; 6] = [
    (1.0, 0.99957490964909678, 0.029154759474226502, 3.5347119235125365),
    (2.0, 0.99914765066953513, 0.04127919768537891, 3.1865438811272203),
    (10.0, 0.9956510877483951, 0.093160675531243542, 2.3690711864135562),
    (500.0, 0.52694368812660411, 0.84990019975496663, -0.47802524135565022),
    (999.0, 0.068678227262180766, 0.99763886306625217, -2.6759591260311197),
    (1000.0, 0.068264914217167521, 0.99766722983514035, -2.6820238501492505),
];

#[rustfmt::skip]
const COSINE: [Reference; 6] = [
    (1.0, 0.99997935767453631, 0.0064252801356655106, 5.0474944057310334),
    (2.0, 0.99995628700827119, 0.0093500840975885697, 4.6723262273803218),
    (10.0, 0.99968430937054248, 0.025125317875432343, 3.6835635204541948),
    (500.0, 0.70274005894116902, 0.71144670184024487, -0.012313441405757272),
    (999.0, 0.0015584501618705901, 0.99999878561580912, -6.4640622231504561),
    (1000.0, 4.9282521313691616e-5, 0.99999999878561655, -9.9179410758120694),
];

#[rustfmt::skip]
const SIGMOID: [Reference; 6] = [
    (1.0, 0.99992539461660987, 0.012214958076761132, 4.4050193982230587),
    (2.0, 0.99985049823433784, 0.017291072278675778, 4.0574154509932834),
    (10.0, 0.99924042248139992, 0.038968937362897177, 3.2442305619401791),
    (500.0, 0.54948253530225611, 0.83550520249595386, -0.41905958437235691),
    (999.0, 0.0063631454490338264, 0.99997975498506691, -5.0572122112102683),
    (1000.0, 0.0062993507526833333, 0.99998015889321257, -5.0672888647211996),
];

// √ᾱ' = √ᾱ₁ (√ᾱ − √ᾱ_T)/(√ᾱ₁ − √ᾱ_T) of the tables above.
#[rustfmt::skip]
const ZERO_LINEAR: [Reference; 6] = [
    (1.0, 0.9999499987499375, 0.01, 4.6051201834879247),
    (2.0, 0.99988965662874668, 0.014855119213492231, 4.2093003954977099),
    (10.0, 0.99904641258052786, 0.043660800610819036, 3.1303505482567513),
    (500.0, 0.27573311470897855, 0.96123423235592545, -1.2487846952120575),
    (998.0, 0.00013041199204794427, 0.99999999149635613, -8.9448119406386115),
    (999.0, 6.4909648474537713e-5, 0.99999999789336877, -9.6425142764094641),
];

#[rustfmt::skip]
const ZERO_COSINE: [Reference; 6] = [
    (1.0, 0.99997935767453631, 0.0064252801356655106, 5.0474944057310334),
    (2.0, 0.99995628587121108, 0.0093502057010950373, 4.6723132207221449),
    (10.0, 0.99968429482880132, 0.025125896454499769, 3.6835404784417527),
    (500.0, 0.70272540921471405, 0.71146117198622489, -0.012354627039933128),
    (998.0, 0.0030677652082264317, 0.99999529439724225, -5.7868012220530789),
    (999.0, 0.0015092420213443753, 0.99999886109361195, -6.4961465878983196),
];

#[test]
fn tables_have_the_values_of_their_definitions_to_50_digits_rounded() -> Outcome {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let cosine = TableSchedule::cosine(1000)?;
    let cases: [(&str, TableSchedule, &[Reference], f64); 6] = [
        (
            "scaled linear",
            TableSchedule::scaled_linear(1000, 0.00085, 0.012)?,
            &SCALED,
            1e-13,
        ),
        (
            "sigmoid",
            TableSchedule::sigmoid(1000, 1e-4, 0.02)?,
            &SIGMOID,
            1e-13,
        ),
        // The rescaled knots next to T inherit α_999 − α_T, whose relative error is the error of ln
        // α over α_999/α_T − 1.
        (
            "zero-SNR linear",
            linear.zero_terminal_snr()?,
            &ZERO_LINEAR,
            1e-12,
        ),
        (
            "zero-SNR cosine",
            cosine.zero_terminal_snr()?,
            &ZERO_COSINE,
            1e-12,
        ),
        ("linear", linear, &LINEAR, 1e-13),
        ("cosine", cosine, &COSINE, 1e-13),
    ];
    for (name, schedule, references, tolerance) in cases {
        for &(knot, alpha, sigma, lambda) in references {
            let level = schedule.level(knot)?;
            check(name, &level, (alpha, sigma, lambda), tolerance);
            assert_eq!(
                level.model_time(),
                knot - 1.0,
                "the network expects the index"
            );
        }
    }
    Ok(())
}

#[test]
fn continuous_schedules_have_the_values_of_their_definitions() -> Outcome {
    // mpmath, 50 digits: ln α² = −(0.1 t + 9.95 t²).
    let vp = VariancePreserving::default();
    for (time, alpha, sigma, lambda) in [
        (
            0.001,
            0.99994502651109762,
            0.010485416335094896,
            4.5577149327298977,
        ),
        (
            0.3,
            0.62955000033644882,
            0.77695997134754457,
            -0.21038355313124086,
        ),
        (
            1.0,
            0.006571586494929615,
            0.99997840689233868,
            -5.0249784066592042,
        ),
    ] {
        check("VP", &vp.level(time)?, (alpha, sigma, lambda), 1e-13);
    }
    // mpmath: σ = st/(1 − t + st), α = (1 − t)/(1 − t + st).
    for (shift, time, alpha, sigma, lambda) in [
        (3.0, 0.25, 0.5, 0.5, 0.0),
        (
            3.0,
            0.9,
            0.035714285714285714,
            0.96428571428571429,
            -3.2958368660043291,
        ),
        (
            0.001,
            0.75,
            0.99700897308075773,
            0.0029910269192422732,
            5.8091429903140274,
        ),
    ] {
        let level = RectifiedFlow::shifted(shift)?.level(time)?;
        check("flow", &level, (alpha, sigma, lambda), 1e-13);
    }
    // The noisy end is pure noise for any shift, also one that 1 + (s − 1) would lose.
    let end = RectifiedFlow::shifted(1e-20)?.level(1.0)?;
    assert_eq!((end.alpha(), end.sigma()), (0.0, 1.0));
    let ve = VarianceExploding::new(0.01, 50.0)?;
    for (time, sigma) in [(1.0, 50.0), (0.5, 0.5f64.sqrt()), (1e-300, 0.01)] {
        check("VE", &ve.level(time)?, (1.0, sigma, -f64::ln(sigma)), 1e-14);
    }
    Ok(())
}
