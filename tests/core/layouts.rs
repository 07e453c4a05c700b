//! What a model is handed is row-major, whatever the caller gave.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Grid, KeyedNoise, Prediction, Query, Sampler,
    denoiser::Guided,
    guidance::ClassifierFree,
    run::{Cursor, Instruction, Machine},
    schedule::TableSchedule,
    solver::{Solver, catalogue},
};
use ndarray::{Array3, ArrayRef, Ix3, ShapeBuilder, s};

use crate::common::{Smooth, bits};

const KIND: Prediction = Prediction::Noise;

/// A model on slices, as networks are: it takes nothing but row-major arrays.
#[derive(Default)]
struct Slices {
    calls: usize,
}

impl Denoiser<f64, Ix3> for Slices {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix3>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix3>,
    ) -> Result<(), Infallible> {
        let level = query.level();
        let x = x.as_slice().unwrap();
        let out = out.as_slice_mut().unwrap();
        assert_eq!(out.len(), x.len() * query.outputs());
        for (out, &x) in out.iter_mut().zip(x.iter().cycle()) {
            *out = Smooth::at(x, &level);
        }
        self.calls += 1;
        Ok(())
    }
}

/// The same values in row-major, column-major, reversed and strided memory.
fn starts() -> Vec<Array3<f64>> {
    let value = |(i, j, k): (usize, usize, usize)| (i * 12 + j * 4 + k) as f64 / 9.0 - 1.0;
    let rows = Array3::from_shape_fn((2, 3, 4), value);
    let columns = Array3::from_shape_fn((2, 3, 4).f(), value);
    let mut reversed = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| value((1 - i, j, 3 - k)));
    reversed.invert_axis(ndarray::Axis(0));
    reversed.invert_axis(ndarray::Axis(2));
    let mut wide = Array3::from_shape_fn((2, 3, 8), |(i, j, k)| value((i, j, k / 2)));
    wide.slice_collapse(s![.., .., ..;2]);
    vec![rows, columns, reversed, wide]
}

#[test]
fn models_see_row_major_arrays_from_any_start_in_every_path() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    let starts = starts();
    assert!(starts[1..].iter().all(|x| !x.is_standard_layout()));
    assert!(starts.iter().all(|x| x == starts[0]));
    for entry in catalogue() {
        let solver: &dyn Solver = &*entry.solver;
        let sampler = Sampler::new(&schedule, &grid, solver).unwrap();
        let mut ends = Vec::new();
        for x in &starts {
            let start = || {
                sampler
                    .start_from(x.clone(), KIND, KeyedNoise::new(2))
                    .unwrap()
            };
            let mut model = Slices::default();
            let mut run = start();
            run.complete(&mut model).unwrap();
            assert_eq!(model.calls, sampler.plan().evaluations());
            ends.push(bits(run.state()));

            let form = ClassifierFree::with_weight(2.0).unwrap();
            let mut guided = start();
            guided
                .complete(&mut Guided::new(Slices::default(), form))
                .unwrap();
            assert!(guided.outputs().unwrap().is_standard_layout());

            let mut asked = start();
            while let Some(question) = asked.ask().unwrap() {
                assert!(question.x.as_slice().is_some());
                let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
                asked.tell(&output).unwrap();
            }
            ends.push(bits(asked.state()));

            let plan = sampler.plan();
            let mut machine = Machine::new(x.clone(), plan.slots()).unwrap();
            let mut cursor = Cursor::default();
            while let Some(step) = cursor.current(plan) {
                let stage = Instruction::new(step, cursor.stage_index(), cursor.step()).unwrap();
                machine
                    .take(&stage, &mut model, &mut KeyedNoise::new(2))
                    .unwrap();
                cursor.advance(plan);
            }
            ends.push(bits(machine.state()));
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{}", entry.name);
    }
}
