//! A network, solvers, forms of guidance, and runs of them as trajectories.

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Real, Sampler,
    denoiser::Guided,
    guidance::{
        ClassifierFree, ClassifierGuidance, Composed, Guidance, GuidanceWeight, OnInterval,
        PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential, WeightedSum,
        ZeroStar,
    },
    plan::{Plan, Stage, Step, Store, Update},
    posterior::Kappa,
    schedule::{NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver, catalogue},
};
use ndarray::{Array3, ArrayRef, Axis, Ix3};

pub(crate) const SHAPE: (usize, usize, usize) = (3, 2, 7);
pub(crate) const SIZES: [usize; 3] = [3, 2, 7];
pub(crate) const PREDICTIONS: [Prediction; 4] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Flow,
];

/// What output `j` of the network says of one element.
pub(crate) fn answer<A: Real>(j: usize, x: A, level: &NoiseLevel) -> A {
    let (x, j) = (x.widen(), j as f64);
    let value = (x * (1.0 + 0.31 * j) + 0.5 * j).sin() + 0.2 * j - 0.3 * level.sigma() * x + 0.1;
    A::cast(value)
}

/// A network with as many outputs as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(pub(crate) Prediction);

impl<A: Real> Denoiser<A, Ix3> for Network {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.0
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix3>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix3>,
    ) -> Result<(), Infallible> {
        let level = query.level();
        for (j, mut out) in out.axis_chunks_iter_mut(Axis(0), x.shape()[0]).enumerate() {
            out.zip_mut_with(x, |out, &x| *out = answer(j, x, &level));
        }
        Ok(())
    }
}

/// The outputs of the network, element by element.
pub(crate) fn outputs<A: Real>(x: &[A], query: &Query<'_>) -> Vec<Vec<A>> {
    (0..query.outputs())
        .map(|j| x.iter().map(|&x| answer(j, x, &query.level())).collect())
        .collect()
}

pub(crate) fn sampler(schedule: &dyn NoiseSchedule, steps: usize, solver: &dyn Solver) -> Sampler {
    let grid = Grid::trailing(schedule, steps).unwrap();
    Sampler::new(schedule, &grid, solver).unwrap()
}

/// Every solver of the catalogue that runs from noise, and some more, on a few steps.
pub(crate) fn samplers() -> Vec<(String, Sampler)> {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap();
    let mut solvers: Vec<(String, Box<dyn Solver>)> = catalogue()
        .into_iter()
        .filter(|entry| !entry.inverts)
        .map(|entry| (entry.name.to_owned(), entry.solver))
        .collect();
    solvers.push(("three slots".to_owned(), Box::new(ThreeSlots)));
    let named = solvers.iter().map(|(name, solver)| {
        let sampler = sampler(&schedule, 6, solver.as_ref());
        (name.clone(), sampler)
    });
    let single = sampler(&VariancePreserving::default(), 1, &FirstOrder::ddim());
    named.chain([("one step".to_owned(), single)]).collect()
}

/// Steps that read and write three slots in turn, of every kind, with noise and a stage without the
/// model.
#[derive(Debug)]
struct ThreeSlots;

impl Solver for ThreeSlots {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let step = |(k, (from, to)): (usize, (NoiseLevel, NoiseLevel))| {
            let store = match k % 3 {
                0 => Store::data(0),
                1 => Store::noise(1),
                _ => Store::linear(2, 0.3, -0.4),
            };
            let history = match k {
                0 => vec![],
                1 => vec![(0, 0.2)],
                2 => vec![(1, -0.1), (0, 0.3)],
                _ => vec![(2, 0.15), (0, -0.2), (1, 0.1)],
            };
            let update = Update {
                state: 0.8,
                data: 0.3,
                history,
                noise: 0.1,
                ..Update::default()
            };
            let evaluating = Stage::evaluating(from, update.storing(store));
            let history = vec![(0, 0.05)];
            let after = Update {
                state: 0.9,
                history,
                noise: 0.2,
                ..Update::default()
            };
            let stages = vec![evaluating, Stage::without_model(after)];
            Step { from, to, stages }
        };
        Plan::new(path.edges().enumerate().map(step).collect(), 3)
    }

    fn order(&self) -> usize {
        1
    }
}

/// A stochastic second-order sampler, which uses every part of a run.
pub(crate) fn stochastic() -> Sampler {
    let schedule = TableSchedule::cosine(1000).unwrap();
    sampler(&schedule, 5, &DpmSolverPlusPlus::sde())
}

/// A sampler between two given levels.
pub(crate) fn one_step() -> Sampler {
    let level = |time, alpha, sigma| NoiseLevel::new(time, alpha, sigma).unwrap();
    let levels = vec![level(0.6, 0.8, 0.6), level(0.3, 0.96, 0.28)];
    let grid = Grid::from_levels(levels, 1.0).unwrap();
    let solver = FirstOrder::new(Kappa::Ddpm);
    Sampler::along(&Path::without_schedule(&grid), &solver).unwrap()
}

pub(crate) fn clips() -> Vec<(&'static str, Clip)> {
    vec![
        ("static", Clip::new(-0.7, 0.4).unwrap()),
        (
            "keeping the noise",
            Clip::new(-0.7, 0.4).unwrap().keeping_noise(),
        ),
        ("dynamic", Clip::dynamic(0.6, 1.3).unwrap()),
        (
            "dynamic, keeping the noise",
            Clip::dynamic(0.6, 1.3).unwrap().keeping_noise(),
        ),
    ]
}

/// Every form of guidance.
pub(crate) fn forms() -> Vec<(&'static str, Box<dyn Guidance>)> {
    let free = || ClassifierFree::with_scale(2.5).unwrap();
    let momentum = Projected::new(1.5).unwrap().with_eta(0.3).unwrap();
    let momentum = momentum.with_radius(2.0).unwrap();
    let weight = |w| GuidanceWeight::constant(w).unwrap();
    let on = OnInterval::new(free(), 0.2, 0.9).unwrap();
    vec![
        ("classifier-free", Box::new(free())),
        ("weight", Box::new(ClassifierFree::new(weight(2.0)))),
        ("on an interval", Box::new(on)),
        ("rescaled", Box::new(Rescaled::new(free(), 0.7).unwrap())),
        ("projected", Box::new(momentum)),
        ("momentum", Box::new(momentum.with_momentum(-0.6).unwrap())),
        ("CFG-Zero*", Box::new(ZeroStar::with_scale(1.5).unwrap())),
        ("CFG++", Box::new(PlusPlus::new(0.6).unwrap())),
        ("tangential", Box::new(Tangential::with_scale(1.5).unwrap())),
        (
            "perpendicular negative",
            Box::new(PerpendicularNegative::new(1.5, 0.5).unwrap()),
        ),
        ("composed", Box::new(Composed::new(&[2.0, 1.0]).unwrap())),
        (
            "perturbed",
            Box::new(Perturbed::new(1.5, weight(0.5)).unwrap()),
        ),
        (
            "weighted",
            Box::new(WeightedSum::new(&[1.4, -0.6, 0.2]).unwrap()),
        ),
        (
            "classifier",
            Box::new(ClassifierGuidance::around(free(), weight(0.4))),
        ),
    ]
}

/// The state and the history at the end of a trajectory.
pub(crate) fn expected<A: Real>(
    sampler: &Sampler,
    prediction: Prediction,
    guidance: Option<&dyn Guidance>,
) -> (Vec<A>, Vec<Vec<A>>) {
    let mut run = sampler
        .start::<A, _, _>(SHAPE, prediction, KeyedNoise::new(11))
        .unwrap();
    match guidance {
        Some(guidance) => run
            .complete(&mut Guided::new(Network(prediction), guidance))
            .unwrap(),
        None => run.complete(&mut Network(prediction)).unwrap(),
    }
    let (state, history) = run.into_parts();
    (flat(&state), history.iter().map(flat).collect())
}

pub(crate) fn flat<A: Real>(array: &Array3<A>) -> Vec<A> {
    array.iter().copied().collect()
}

/// The largest difference, relative to the largest entry (at least 1).
pub(crate) fn difference<A: Real>(a: &[A], b: &[A]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(1.0, |m, v| f64::max(m, v.widen().abs()));
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |m: f64, (a, b)| m.max((a.widen() - b.widen()).abs())) / largest
}
