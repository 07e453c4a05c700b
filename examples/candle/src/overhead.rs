//! What a step on a library's tensors costs, beside the least that can be written by hand in that
//! library, and beside a step on ndarray's arrays.
//!
//! The two sides of a ratio take turns in slices of at most 200 µs whose order flips.

use std::cell::RefCell;
use std::hint::black_box;

use diffusion_sampler::ndarray::{Array4, Ix4};
use diffusion_sampler::run::TensorRun;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::tensor::{Scale, TensorOps};
use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, Trajectory};

use crate::allocations;
use crate::runs::{Library, Result};
use crate::support::compare;

const SIZES: [(&str, [usize; 4]); 3] = [
    ("2", [1, 1, 1, 2]),
    ("64 Ki", [4, 4, 64, 64]),
    ("768 Ki", [12, 4, 128, 128]),
];
const STEPS: usize = 1000;
/// Every element. Not 0: an array of zeros may lie in one page of memory, whatever its length.
const VALUE: f32 = 0.1;
/// Calls in which allocations are counted.
const CALLS: usize = 20;

/// The same operations, but a step does not look for values that are not finite.
#[derive(Clone, Copy, Debug)]
struct Blind<O>(O);

impl<O: TensorOps> TensorOps for Blind<O> {
    type Tensor = O::Tensor;
    type Element = O::Element;
    type Error = O::Error;

    fn shape(&self, tensor: &O::Tensor) -> impl AsRef<[usize]> {
        self.0.shape(tensor)
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &O::Tensor)],
    ) -> std::result::Result<O::Tensor, O::Error> {
        self.0.linear_combination(terms)
    }

    fn upload(
        &self,
        values: Vec<O::Element>,
        like: &O::Tensor,
    ) -> std::result::Result<O::Tensor, O::Error> {
        self.0.upload(values, like)
    }

    fn download(&self, tensor: &O::Tensor) -> std::result::Result<Vec<O::Element>, O::Error> {
        self.0.download(tensor)
    }
}

/// The table of all sizes. `by_hand` is a·x + b·e as a program in this library writes it.
pub fn print<L: Library>(
    library: &L,
    by_hand: impl Fn(&L::Tensor, f64, &L::Tensor, f64) -> std::result::Result<L::Tensor, L::Error>,
) -> Result<()> {
    println!("| n | a step of | ÷ a·x + b·e by hand | ÷ a step on arrays | ns | allocations |");
    println!("|---|---|---|---|---|---|");
    for (size, shape) in SIZES {
        let bench = Bench::new(library, shape)?;
        let hand = |x: &mut L::Tensor| match by_hand(x, 0.7, &bench.output, 0.7) {
            Ok(made) => *x = made,
            Err(error) => panic!("{error}"),
        };
        bench.row(size, "`Sampler::on`", library.ops(), &hand)?;
        bench.row(
            size,
            "`Sampler::on`, not looking",
            Blind(library.ops()),
            &hand,
        )?;
        bench.reference(size, &hand);
    }
    Ok(())
}

/// The two sides that every row is divided by.
struct Bench<L: Library> {
    sampler: Sampler,
    output: L::Tensor,
    arrays: RefCell<Trajectory<f32, Ix4>>,
    start: Trajectory<f32, Ix4>,
    array_output: Array4<f32>,
}

impl<L: Library> Bench<L> {
    fn new(library: &L, shape: [usize; 4]) -> Result<Self> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, STEPS)?;
        let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
        let zeros = library.zeros(shape).map_err(|error| error.to_string())?;
        let noise = KeyedNoise::new(0);
        let array_output = Array4::from_elem(shape, VALUE);
        let start = sampler.start_from(array_output.clone(), Prediction::Velocity, noise)?;
        let values = vec![VALUE; shape.iter().product()];
        let output = library.ops().upload(values, &zeros);
        Ok(Self {
            output: output.map_err(|error| error.to_string())?,
            arrays: RefCell::new(start.clone()),
            start,
            array_output,
            sampler,
        })
    }

    /// A step on arrays, of a run that is begun anew when it is over.
    fn step_on_arrays(&self) {
        let mut run = self.arrays.borrow_mut();
        if run.is_finished() {
            run.clone_from(&self.start);
        }
        assert!(run.tell(black_box(&self.array_output)).is_ok());
    }

    fn row<O>(
        &self,
        size: &str,
        name: &str,
        ops: O,
        by_hand: &impl Fn(&mut L::Tensor),
    ) -> Result<()>
    where
        O: TensorOps<Tensor = L::Tensor, Element = f32, Error = L::Error> + Copy,
    {
        let start = || {
            let sampler = self.sampler.on(ops);
            sampler.start_from(
                self.output.clone(),
                Prediction::Velocity,
                KeyedNoise::new(0),
            )
        };
        let mut run = start()?;
        let step = |run: &mut TensorRun<O>| {
            if run.is_finished()
                && let Ok(again) = start()
            {
                *run = again;
            }
            assert!(run.tell(black_box(&self.output)).is_ok());
        };
        let mut x = self.output.clone();
        let hand = compare(2.0, || step(&mut run), || by_hand(&mut x));
        let arrays = compare(2.0, || step(&mut run), || self.step_on_arrays());
        let mut run = start()?;
        let allocations = counted(|| step(&mut run));
        println!(
            "| {size} | {name} | {:.2} ({:.2} to {:.2}) | {:.2} ({:.2} to {:.2}) | {:.0} | {allocations} |",
            hand.ratio[0],
            hand.ratio[1],
            hand.ratio[2],
            arrays.ratio[0],
            arrays.ratio[1],
            arrays.ratio[2],
            hand.times[0] * 1e9
        );
        Ok(())
    }

    /// By hand beside a step on arrays.
    fn reference(&self, size: &str, by_hand: &impl Fn(&mut L::Tensor)) {
        let mut x = self.output.clone();
        let compared = compare(2.0, || by_hand(&mut x), || self.step_on_arrays());
        let ours = counted(|| self.step_on_arrays());
        let theirs = counted(|| by_hand(&mut x));
        let ([median, low, high], [hand, arrays]) = (compared.ratio, compared.times);
        println!(
            "| {size} | a·x + b·e by hand | 1 | {median:.2} ({low:.2} to {high:.2}) | {:.0} | {theirs} |",
            hand * 1e9
        );
        println!(
            "| {size} | `Trajectory` on arrays | – | 1 | {:.0} | {ours} |",
            arrays * 1e9
        );
        assert_eq!(ours, 0, "a step on arrays allocates nothing");
    }
}

/// Allocations a call, after the first.
fn counted(mut call: impl FnMut()) -> usize {
    call();
    let before = allocations::calls();
    for _ in 0..CALLS {
        call();
    }
    (allocations::calls() - before).div_ceil(CALLS)
}
