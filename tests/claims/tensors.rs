//! Runs on tensors of another library against trajectories.

use std::convert::Infallible;
use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Query, Real, Sampler,
    denoiser::{Guided, from_query_fn},
    guidance::{ClassifierFree, Guidance, Projected, Rescaled, Unguided},
    schedule::TableSchedule,
    solver::catalogue,
    tensor::{Scale, TensorOps},
};
use ndarray::{Array2, Axis, Ix2};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = Vec::new();
    for (name, guidance) in forms()? {
        for (element, differing) in [
            ("f32", differing::<f32>(guidance.as_ref())?),
            ("f64", differing::<f64>(guidance.as_ref())?),
        ] {
            claims.push(Claim::new(
                format!("elements of another library's tensors with other bits, {name}, {element}"),
                "a trajectory, every solver that runs from noise, 7 steps",
                differing as f64,
                Accept::Within(0.0, 0.0),
            ));
        }
    }
    Ok(claims)
}

type Form = (&'static str, Box<dyn Guidance>);

fn forms() -> Result<Vec<Form>, Box<dyn Error>> {
    let free = ClassifierFree::with_scale(4.0)?;
    let momentum = Projected::new(3.0)?.with_radius(4.0)?.with_momentum(-0.5)?;
    Ok(vec![
        ("no guidance", Box::new(Unguided)),
        ("classifier-free guidance", Box::new(free.clone())),
        ("rescaled guidance", Box::new(Rescaled::new(free, 0.7)?)),
        ("projected guidance with momentum", Box::new(momentum)),
    ])
}

const SHAPE: (usize, usize) = (3, 19);

/// What output `j` of a model says of one element.
fn answer<A: Real>(j: usize, x: A, query: &Query<'_>) -> A {
    let (x, j) = (x.widen(), j as f64);
    A::cast((x + 0.4 * j).sin() - 0.3 * query.level().sigma() * x + 0.2 * j)
}

/// Lists of rows: a library that knows nothing but sums and products of elements.
struct Lists<A>(std::marker::PhantomData<A>);

impl<A: Real> TensorOps for Lists<A> {
    type Tensor = Vec<Vec<A>>;
    type Element = A;
    type Error = Infallible;

    fn shape(&self, tensor: &Vec<Vec<A>>) -> impl AsRef<[usize]> {
        [tensor.len(), tensor.first().map_or(0, Vec::len)]
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Vec<Vec<A>>)],
    ) -> Result<Vec<Vec<A>>, Infallible> {
        let element = |row: usize, column: usize| {
            let term = |(scale, tensor): &(Scale<'_>, &Vec<Vec<A>>)| {
                A::cast(scale.of(row)) * tensor[row][column]
            };
            terms.iter().map(term).reduce(|sum, term| sum + term)
        };
        let row = |row| {
            (0..SHAPE.1)
                .filter_map(|column| element(row, column))
                .collect()
        };
        Ok((0..SHAPE.0).map(row).collect())
    }

    fn upload(&self, values: Vec<A>, _: &Vec<Vec<A>>) -> Result<Vec<Vec<A>>, Infallible> {
        Ok(values.chunks(SHAPE.1).map(<[A]>::to_vec).collect())
    }

    fn download(&self, tensor: &Vec<Vec<A>>) -> Result<Vec<A>, Infallible> {
        Ok(tensor.concat())
    }
}

/// The elements at the end of all runs whose bits are not a trajectory's.
fn differing<A: Real>(guidance: &dyn Guidance) -> Result<usize, Box<dyn Error>> {
    let schedule = TableSchedule::cosine(1000)?;
    let grid = Grid::trailing(&schedule, 7)?;
    let (prediction, noise) = (Prediction::Velocity, KeyedNoise::new(23));
    let mut differing = 0;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let sampler = Sampler::new(&schedule, &grid, &entry.solver)?;
        let like = vec![vec![A::zero(); SHAPE.1]; SHAPE.0];
        let mut lists = sampler
            .on(Lists(Default::default()))
            .start(&like, prediction, noise)?;
        lists.complete_guided(guidance, |x, query| {
            let row = |j: usize, row: &Vec<A>| row.iter().map(|&x| answer(j, x, query)).collect();
            let output = |j| x.iter().map(|values| row(j, values)).collect();
            Ok::<_, Infallible>((0..query.outputs()).map(output).collect())
        })?;
        let model =
            from_query_fn::<A, Ix2, Infallible>(prediction, guidance.outputs(), |x, query, out| {
                for (j, mut out) in out.axis_chunks_iter_mut(Axis(0), SHAPE.0).enumerate() {
                    out.zip_mut_with(x, |o, &x| *o = answer(j, x, query));
                }
                Ok(())
            });
        let mut run = sampler.start::<A, _, _>(SHAPE, prediction, noise)?;
        run.complete(&mut Guided::new(model, guidance))?;
        let array: Array2<A> = run.into_state();
        let pairs = array.iter().zip(lists.state().iter().flatten());
        differing += pairs
            .filter(|(a, b)| a.widen().to_bits() != b.widen().to_bits())
            .count();
    }
    Ok(differing)
}
