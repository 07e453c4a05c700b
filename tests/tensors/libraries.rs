//! Libraries that say or return what is not so.

use std::cell::Cell;
use std::convert::Infallible;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler,
    guidance::{ClassifierFree, Projected, Rescaled},
    schedule::RectifiedFlow,
    solver::FirstOrder,
    tensor::{RowProducts, Scale, TensorOps},
};

use crate::common::{SIZES, answer, clips, stochastic};
use crate::naive::{Broken, Naive, Rows};
use crate::refusals::model;

const NOISE: Prediction = Prediction::Noise;

#[test]
fn a_scale_past_the_end_of_its_list_is_no_number() {
    assert_eq!(Scale::PerSample(&[2.0, 3.0]).of(1), 3.0);
    assert!(Scale::PerSample(&[2.0, 3.0]).of(2).is_nan());
}

/// Says that everything is infinite, and that every inner product is NaN.
struct Suspicious(Naive<f64>);

impl TensorOps for Suspicious {
    type Tensor = Rows<f64>;
    type Element = f64;
    type Error = Broken;

    fn shape(&self, tensor: &Rows<f64>) -> impl AsRef<[usize]> {
        self.0.shape(tensor)
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Rows<f64>)]) -> Result<Rows<f64>, Broken> {
        self.0.linear_combination(terms)
    }

    fn upload(&self, values: Vec<f64>, like: &Rows<f64>) -> Result<Rows<f64>, Broken> {
        self.0.upload(values, like)
    }

    fn download(&self, tensor: &Rows<f64>) -> Result<Vec<f64>, Broken> {
        self.0.download(tensor)
    }

    fn all_finite(&self, tensor: &Rows<f64>) -> Result<Option<bool>, Broken> {
        Ok(Some(tensor.rows[0][0] != 0.0))
    }

    fn products(&self, tensors: &[&Rows<f64>]) -> Result<Option<Vec<RowProducts>>, Broken> {
        let row = RowProducts {
            sums: vec![1.0; tensors.len()],
            inner: vec![vec![f64::NAN; tensors.len()]; tensors.len()],
        };
        Ok(Some(vec![row; tensors[0].rows.len()]))
    }
}

#[test]
fn inner_products_that_are_not_finite_are_refused() {
    let start = Rows::new(&[1.0; 42], &SIZES);
    let ops = Suspicious(Naive::new());
    let mut run = stochastic()
        .on(ops)
        .start_from(start, NOISE, KeyedNoise::new(1))
        .unwrap();
    let guidance = Rescaled::new(ClassifierFree::with_scale(2.0).unwrap(), 0.7).unwrap();
    let refused = run.advance_guided(&guidance, |x, query| {
        Ok::<_, Infallible>(vec![model(x, query)?, x.clone()])
    });
    let array = "inner products";
    let infinite = Error::NonFiniteTensor { step: 0, array };
    assert_eq!(refused, Err(RunError::Sampler(infinite)));
}

#[test]
fn a_tensor_that_only_its_library_finds_infinite_is_refused_too() {
    let ops = || Suspicious(Naive::new());
    let zeros = Rows::zeros(&SIZES);
    let array = "start state";
    let refused = stochastic()
        .on(ops())
        .start_from(zeros, NOISE, KeyedNoise::new(1));
    let start = Error::NonFiniteTensor { step: 0, array };
    assert_eq!(refused.unwrap_err(), RunError::Sampler(start));
    // A plan of one step that writes zeros.
    let (schedule, solver) = (RectifiedFlow::new(), FirstOrder::ddim());
    let grid = Grid::trailing(&schedule, 1).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &solver).unwrap();
    let ones = Rows::new(&[1.0; 42], &SIZES);
    let run = sampler
        .on(ops())
        .start_from(ones.clone(), Prediction::Data, KeyedNoise::new(1));
    let mut run = run.unwrap();
    let array = "state";
    let infinite = Error::NonFiniteTensor { step: 0, array };
    assert_eq!(
        run.tell(&Rows::zeros(&SIZES)),
        Err(RunError::Sampler(infinite))
    );
    assert_eq!((run.state(), run.step()), (&ones, 0));
}

/// A library of which one linear combination, or one clamp, loses the last row.
struct Losing {
    library: Naive<f64>,
    left: Cell<usize>,
}

impl Losing {
    fn lose(&self, mut tensor: Rows<f64>) -> Rows<f64> {
        let left = self.left.get();
        self.left.set(left.wrapping_sub(1));
        if left == 0 {
            tensor.rows.pop();
            tensor.sizes[0] -= 1;
        }
        tensor
    }
}

impl TensorOps for Losing {
    type Tensor = Rows<f64>;
    type Element = f64;
    type Error = Broken;

    fn shape(&self, tensor: &Rows<f64>) -> impl AsRef<[usize]> {
        self.library.shape(tensor)
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Rows<f64>)]) -> Result<Rows<f64>, Broken> {
        let sum = self.library.linear_combination(terms)?;
        Ok(self.lose(sum))
    }

    fn upload(&self, values: Vec<f64>, like: &Rows<f64>) -> Result<Rows<f64>, Broken> {
        self.library.upload(values, like)
    }

    fn download(&self, tensor: &Rows<f64>) -> Result<Vec<f64>, Broken> {
        self.library.download(tensor)
    }

    fn clamp(&self, x: &Rows<f64>, low: f64, high: f64) -> Result<Option<Rows<f64>>, Broken> {
        let clamped = self.library.clamp(x, low, high)?;
        Ok(clamped.map(|clamped| self.lose(clamped)))
    }
}

#[test]
fn a_library_that_returns_another_shape_is_refused_at_once_wherever_it_does() {
    let guidance = Projected::new(1.5).unwrap().with_momentum(-0.6).unwrap();
    for (name, clip) in clips() {
        let mut lost = 0;
        loop {
            let library = Naive::overriding();
            let left = Cell::new(usize::MAX);
            let ops = Losing { library, left };
            let run = stochastic().with_clip(clip).on(&ops).start(
                &Rows::zeros(&SIZES),
                NOISE,
                KeyedNoise::new(11),
            );
            let mut run = run.unwrap().keeping_data();
            ops.left.set(lost);
            let outcome = run.complete_guided(&guidance, |x, query| {
                let left = ops.left.get();
                assert!(left <= lost, "{name}: call {lost} went unseen");
                let outputs = (0..query.outputs()).map(|j| x.map(|x| answer(j, x, &query.level())));
                Ok::<_, Infallible>(outputs.collect())
            });
            let all = ops.left.get() <= lost;
            match outcome {
                Ok(()) => break assert!(all && lost > 15, "{name}: {lost}"),
                Err(RunError::Sampler(Error::ShapeMismatch {
                    expected, found, ..
                })) => {
                    assert_eq!((expected, found), (SIZES.to_vec(), vec![2, 2, 7]), "{name}");
                }
                Err(other) => panic!("{name}, call {lost}: {other}"),
            }
            lost += 1;
        }
    }
}
