//! Static and dynamic thresholding, with and without guidance.

use diffusion_sampler::{
    Clip, Error, KeyedNoise, NoiseLevel, Prediction,
    clip::ClipNoise,
    denoiser::Guided,
    guidance::{Guidance, Unguided},
    solver::FirstOrder,
};
use ndarray::{Array3, Axis, s};

use crate::common::{
    Image, Network, PREDICTIONS, bits, difference, edges, other_layouts, outputs, run, sampler,
    state, step,
};
use crate::formulas::cases;

/// torch.quantile's linear interpolation, by sorting.
fn quantile(values: &[f64], ratio: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|v| v.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = ratio * (sorted.len() - 1) as f64;
    let (below, above) = (rank.floor(), rank.ceil());
    sorted[below as usize] * (1.0 - (rank - below)) + sorted[above as usize] * (rank - below)
}

/// clamp(D, −s, s)/s in every sample, s = the quantile between 1 and `max`.
fn thresholded(data: &Array3<f64>, ratio: f64, max: f64) -> Array3<f64> {
    let mut out = data.clone();
    for mut sample in out.axis_iter_mut(Axis(0)) {
        let values: Vec<f64> = sample.iter().copied().collect();
        let s = quantile(&values, ratio).clamp(1.0, max);
        sample.mapv_inplace(|v| v.clamp(-s, s) / s);
    }
    out
}

fn expected(
    (from, to): (NoiseLevel, NoiseLevel),
    clipped: &Array3<f64>,
    own: &Array3<f64>,
    keeps: bool,
) -> Array3<f64> {
    let recomputed = (state() - clipped * from.alpha()) / from.sigma();
    clipped * to.alpha() + if keeps { own } else { &recomputed } * to.sigma()
}

fn both(clip: Clip) -> [Clip; 2] {
    assert_eq!(clip.noise(), ClipNoise::Recompute);
    [clip, clip.keeping_noise()]
}

/// Forms with one estimate: what CFG++ re-noises with is its own, whatever the clip says.
fn check(clip: Clip, formula: impl Fn(&Array3<f64>) -> Array3<f64>) {
    for case in cases() {
        for prediction in PREDICTIONS {
            for edge in edges() {
                let (d, e) = case.expected(&state(), &[edge.0], prediction);
                let clipped = formula(&d);
                for clip in both(clip) {
                    let keeps = clip.noise() == ClipNoise::Keep || case.name == "CFG++";
                    let (x, data) = step(edge, prediction, &*case.guidance, Some(clip));
                    let worst = difference(&data, &clipped)
                        .max(difference(&x, &expected(edge, &clipped, &e, keeps)));
                    assert!(
                        worst < 1e-12,
                        "{}, {prediction:?}, {clip:?}: {worst}",
                        case.name
                    );
                }
            }
        }
    }
}

#[test]
fn dynamic_thresholding_is_the_sorted_quantile_of_each_sample() {
    for (ratio, max) in [
        (0.0, 1.5),
        (0.5, 10.0),
        (0.83, 3.0),
        (0.995, 100.0),
        (1.0, 1e6),
    ] {
        let clip = Clip::dynamic(ratio, max).unwrap();
        assert_eq!(clip.range(), None);
        check(clip, |data| thresholded(data, ratio, max));
    }
}

#[test]
fn static_thresholding_clamps_the_guided_estimate() {
    let clip = Clip::new(-0.4, 0.25).unwrap();
    assert_eq!(clip.range(), Some((-0.4, 0.25)));
    check(clip, |data| data.mapv(|v| v.clamp(-0.4, 0.25)));
}

#[test]
fn samples_are_never_pooled() {
    let sampler = sampler(&[edges()[1].0, edges()[1].1], &FirstOrder::ddim())
        .with_clip(Clip::dynamic(0.8, 50.0).unwrap());
    for case in cases() {
        let mut whole = run(&sampler, Prediction::Data);
        let mut model = Guided::new(Network::new(Prediction::Data), &case.guidance);
        whole.complete(&mut model).unwrap();
        for i in 0..3 {
            let one = state().slice(s![i..i + 1, .., ..]).to_owned();
            let noise = KeyedNoise::new(3);
            let mut alone = sampler.start_from(one, Prediction::Data, noise).unwrap();
            alone.complete(&mut model).unwrap();
            let row = whole.state().slice(s![i..i + 1, .., ..]);
            assert_eq!(bits(alone.state()), bits(&row), "{}, {i}", case.name);
        }
    }
}

#[test]
fn told_outputs_in_any_layout_are_thresholded_alike() {
    let edge = edges()[1];
    let clip = Clip::dynamic(0.8, 50.0).unwrap();
    let sampler = sampler(&[edge.0, edge.1], &FirstOrder::ddim()).with_clip(clip);
    let (expected, _) = step(edge, Prediction::Data, &Unguided, Some(clip));
    let output = &outputs(1, &state(), &edge.0)[0];
    for stored in other_layouts(output).iter().chain([output]) {
        let mut told = run(&sampler, Prediction::Data);
        told.tell(stored).unwrap();
        assert_eq!(bits(told.state()), bits(&expected));
        let mut guided = run(&sampler, Prediction::Data);
        let outputs: [&Image; 1] = [stored];
        guided
            .tell_guided(&Unguided as &dyn Guidance, &outputs)
            .unwrap();
        assert_eq!(bits(guided.state()), bits(&expected));
    }
}

#[test]
fn outputs_that_are_not_finite_stop_a_thresholded_run() {
    let edge = edges()[0];
    for clip in [Clip::new(-1.0, 1.0), Clip::dynamic(0.9, 5.0)] {
        for bad in [f64::NAN, f64::INFINITY] {
            let sampler = sampler(&[edge.0, edge.1], &FirstOrder::ddim());
            let mut run = run(&sampler.with_clip(clip.clone().unwrap()), Prediction::Data);
            let mut output = outputs(1, &state(), &edge.0).remove(0);
            output[[1, 0, 3]] = bad;
            let error = run.tell(&output);
            assert!(
                matches!(error, Err(Error::NonFinite { .. })),
                "{bad}: {error:?}"
            );
        }
    }
}

#[test]
fn thresholds_out_of_range_are_refused() {
    for (ratio, max) in [(-0.1, 2.0), (1.1, 2.0), (f64::NAN, 2.0), (0.9, 0.5)] {
        assert!(Clip::dynamic(ratio, max).is_err(), "{ratio}, {max}");
    }
    for max in [f64::NAN, f64::INFINITY] {
        assert!(Clip::dynamic(0.9, max).is_err(), "{max}");
    }
}
