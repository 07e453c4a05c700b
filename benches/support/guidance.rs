//! Guided steps of a run against the passes over memory that they are made of.

use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    guidance::{ClassifierFree, Guidance, Projected, Tangential, ZeroStar},
    kernel::bench::gram_of_slices,
    kernel::linear_combination,
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, ArrayRef2, Ix2};

use crate::Report;
use crate::support::compare;

const SAMPLES: usize = 4;
const SIZES: [(&str, usize); 2] = [("64 Ki", 1 << 16), ("768 Ki", 3 << 18)];

type Run = Trajectory<f32, Ix2>;

/// A run of 1000 steps, begun anew when it is over.
struct Endless {
    start: Run,
    run: Run,
}

impl Endless {
    fn new(x: Array2<f32>) -> Result<Self, Box<dyn Error>> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, 1000)?;
        let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
        let start = sampler.start_from(x, Prediction::Velocity, KeyedNoise::new(1))?;
        let run = start.clone();
        Ok(Self { start, run })
    }

    fn step(&mut self, guidance: &dyn Guidance, outputs: [&Array2<f32>; 2]) {
        if self.run.is_finished() {
            self.run.clone_from(&self.start);
        }
        let outputs: [&ArrayRef2<f32>; 2] = [outputs[0], outputs[1]];
        let told = self.run.tell_guided(guidance, black_box(&outputs));
        assert_eq!(told, Ok(()));
    }
}

/// Values that are not alike, so that no inner product vanishes.
fn array(len: usize, period: usize) -> Array2<f32> {
    Array2::from_shape_fn((SAMPLES, len / SAMPLES), |(row, i)| {
        ((row * 31 + i) % period) as f32 / period as f32 - 0.5
    })
}

/// What a form costs beside the reduction (where it needs one) and the update of the same arrays.
pub(crate) fn steps(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let zero_star = ZeroStar::with_scale(3.0)?;
    let projected = Projected::new(2.0)?;
    let tangential = Tangential::with_scale(3.0)?;
    let linear = ClassifierFree::with_scale(3.0)?;
    for (size, len) in SIZES {
        let forms: [(&dyn Guidance, bool); 4] = [
            (&zero_star, true),
            (&projected, true),
            (&tangential, true),
            (&linear, false),
        ];
        for (guidance, reduces) in forms {
            let (e, f) = (array(len, 97), array(len, 101));
            let x = RefCell::new(array(len, 89));
            let mut run = Endless::new(x.borrow().clone())?;
            let parts = if reduces {
                "(its reduction + the update)"
            } else {
                "its update"
            };
            report.at_most(
                &format!("guided step ÷ {parts}, {}, {size} f32", guidance.name()),
                (1.15, 1.3),
                |seconds| {
                    compare(
                        seconds,
                        || run.step(guidance, [&e, &f]),
                        || {
                            let mut x = x.borrow_mut();
                            if let (true, Some(x), Some(e), Some(f)) =
                                (reduces, x.as_slice(), e.as_slice(), f.as_slice())
                            {
                                black_box(gram_of_slices(SAMPLES, black_box(&[x, e, f])));
                            }
                            drop(linear_combination(
                                black_box(&mut *x),
                                0.5,
                                &[(0.75, &*e), (-0.25, &*f)],
                            ));
                        },
                    )
                },
            );
        }
    }
    Ok(())
}
