//! Models that answer in halves, and arrays converted to halves and back.

use diffusion_sampler::{
    KeyedNoise, ModelElement, Prediction,
    kernel::{narrow, widen},
    solver::{DpmSolverPlusPlus, FirstOrder, Solver},
};
use half::{bf16, f16};
use ndarray::{Array1, Array2};

use crate::hash::Lines;
use crate::runs::sampler;

fn of<H: ModelElement<f32>>(
    lines: &mut Lines,
    name: &str,
    bits: fn(H) -> u16,
    of_bits: fn(u16) -> H,
    zero: H,
) {
    lines.add(format!("half: {name}, conversions"), |hash| {
        // Every finite half, in its order.
        let all = (0..=u16::MAX).map(of_bits);
        let finite: Array1<H> = all.filter(|half| half.widened().is_finite()).collect();
        let mut wide = Array1::zeros(finite.len());
        widen(&finite, &mut wide).unwrap();
        hash.elements::<f32>(&wide);
        // Numbers between the halves, ties, and beyond the largest.
        let between = |i: u32| f32::from_bits((i + 0x2000).wrapping_mul(0x1_0801));
        let values: Array1<f32> = (0..20_003u32)
            .map(between)
            .filter(|value| value.is_finite())
            .collect();
        let mut halves = Array1::from_elem(values.len(), zero);
        narrow(&values, &mut halves).unwrap();
        halves
            .iter()
            .for_each(|&half| hash.word(u64::from(bits(half))));
    });
    lines.add(format!("half: {name}, runs"), |hash| {
        for solver in [
            &FirstOrder::ddpm() as &dyn Solver,
            &DpmSolverPlusPlus::new(),
        ] {
            let mut run = sampler(solver, 6)
                .start((3, 37), Prediction::Noise, KeyedNoise::new(9))
                .unwrap();
            while let Some(question) = run.ask().unwrap() {
                let wide = question.x.mapv(|x: f32| 0.9 * x / (1.0 + 0.25 * x * x));
                let mut output: Array2<H> = Array2::from_elem((3, 37), zero);
                narrow(&wide, &mut output).unwrap();
                run.tell(&output).unwrap();
            }
            hash.elements::<f32>(run.state());
        }
    });
}

pub(crate) fn add(lines: &mut Lines) {
    of(lines, "f16", f16::to_bits, f16::from_bits, f16::ZERO);
    of(lines, "bf16", bf16::to_bits, bf16::from_bits, bf16::ZERO);
}
